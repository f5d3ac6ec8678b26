//! What looks bring: each becomes operations, waits for the kernel queue, or is taken again.

use std::time::Duration;

use crate::flow::halts::Cause;
use crate::flow::marks::Hint;
use crate::flow::session::flights::{Draft, Errand};
use crate::flow::session::parked::{Parked, ParkedWhat};
use crate::flow::session::wants::{Bring, Want};
use crate::flow::session::{Session, Shared};
use crate::model::entry::{Entry, Sighting};
use crate::model::ledger::Facts;
use crate::model::limits::CLOCK_GRANULE_MS;
use crate::model::look::{LookId, ReadContent, Seen, Sight};
use crate::model::op::{Op, Version};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{DirKey, Lane, Stamp};

/// How long a name waits after its look failed.
const PROBLEM_DELAY: Duration = Duration::from_secs(30);

/// How long a second look waits: until the clock has gone on for certain.
const SECOND_DELAY: Duration = Duration::from_millis(2 * CLOCK_GRANULE_MS);

/// A look under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) lane: Lane,
    /// The directory that it goes through.
    pub(super) dir: DirKey,
    /// The directory's path when the look began: stamp and path are taken in one step (H14).
    pub(super) path: RelPath,
    pub(super) purpose: Purpose,
    pub(super) began: Duration,
}

/// What a look is for.
#[derive(Debug)]
pub(super) enum Purpose {
    Marks { names: Vec<(Name, Hint)>, stamp: Stamp },
    Wants { want: Want, stamp: Stamp },
    OwnMeta { stamp: Stamp },
    Part { listing: u64, stamp: Stamp },
    Removal { removal: u64, stamp: Stamp },
    RenameHash { stamp: Stamp },
    Open { transfer: u64, stamp: Stamp },
    Chunk { transfer: u64 },
    Finish { transfer: u64, stamp: Stamp },
    Probe,
}

impl Session {
    /// Takes what a look brought.
    pub fn look_done(&mut self, id: LookId, seen: Seen, shared: &mut Shared) {
        let Some(Pending { dir, path, purpose, .. }) = self.pending.remove(&id) else { return };
        // A patrol gets on while all else stands still.
        self.looked += u64::from(!self.is_for_patrol(&purpose));
        let moved = shared.map.path(dir).as_ref() != Some(&path);
        match purpose {
            Purpose::Marks { names, stamp } => {
                if moved || self.is_fenced(dir, shared) {
                    self.relook(dir, names, shared.now);
                } else {
                    self.marks_seen(dir, &path, names, stamp, seen, shared);
                }
                self.stamps.release(stamp);
            }
            Purpose::Wants { want, stamp } => {
                if moved || self.is_fenced(dir, shared) || !self.is_wanted(&want, shared) {
                    self.want_again(want);
                } else {
                    self.wants_seen(want, &path, stamp, seen, shared);
                }
                self.stamps.release(stamp);
            }
            Purpose::OwnMeta { stamp } => {
                if moved || self.is_fenced(dir, shared) {
                    self.owe_meta(dir);
                } else {
                    self.own_meta_seen(dir, stamp, seen, shared);
                }
                self.stamps.release(stamp);
            }
            Purpose::Part { listing, stamp } => {
                self.part_seen(listing, stamp, &path, seen, shared);
                self.stamps.release(stamp);
            }
            Purpose::Removal { removal, stamp } => {
                self.removal_seen(removal, stamp, seen, shared);
                self.stamps.release(stamp);
            }
            Purpose::RenameHash { stamp } => {
                self.rename_hashed(stamp, seen, shared);
                self.stamps.release(stamp);
            }
            Purpose::Open { transfer, stamp } => {
                self.transfer_opened(transfer, stamp, seen, moved, shared);
                self.stamps.release(stamp);
            }
            Purpose::Chunk { transfer } => self.chunk_read(transfer, seen, shared),
            Purpose::Probe => self.probe_seen(&path, seen),
            Purpose::Finish { transfer, stamp } => {
                self.transfer_finished(transfer, stamp, seen, shared);
                self.stamps.release(stamp);
            }
        }
        self.idle(dir);
    }

    fn relook(&mut self, dir: DirKey, names: Vec<(Name, Hint)>, now: Duration) {
        for (name, hint) in names {
            self.marks.put_off(dir, &name, hint, now, false);
        }
    }

    fn marks_seen(
        &mut self,
        dir: DirKey,
        path: &RelPath,
        names: Vec<(Name, Hint)>,
        stamp: Stamp,
        seen: Seen,
        shared: &mut Shared,
    ) {
        let (sights, content) = match seen {
            Seen::Names { sights, content } => (sights, content),
            Seen::Elsewhere => return self.elsewhere(dir, names, shared),
            Seen::Unreadable(text) => {
                for (name, hint) in names {
                    self.problem(path.join(&name), text.clone(), shared);
                    let later = shared.now + self.unseen_delay(dir, &name);
                    self.marks.put_off(dir, &name, hint, later, true);
                }
                return;
            }
            _ => return self.relook(dir, names, shared.now),
        };
        let mut drafts = Vec::new();
        let mut gone = Vec::new();
        let mut kept = Kept::new(content);
        for ((name, hint), (_, sight)) in names.into_iter().zip(sights) {
            let brought = match &sight {
                Sight::There { read: Some(read), .. } if read.brought => read.bytes as usize,
                _ => 0,
            };
            if self.is_name_fenced(dir, &name, shared) {
                // Renamed since the look began: what it saw is out of date.
                self.marks.put_off(dir, &name, hint, shared.now, false);
                kept.next(brought, false);
                continue;
            }
            let keep = match sight {
                Sight::Gone => {
                    gone.push(name);
                    false
                }
                Sight::Withheld if shared.map.child(dir, &name).is_some() => {
                    self.conflict(&Place { dir, path, name: &name, stamp }, None, shared);
                    false
                }
                Sight::Withheld => {
                    self.withheld(dir, &name, &path.join(&name), shared);
                    false
                }
                Sight::Problem(text) => {
                    self.problem(path.join(&name), text, shared);
                    self.marks.put_off(dir, &name, hint, shared.now + PROBLEM_DELAY, true);
                    self.marks.heed_events(dir, &name);
                    false
                }
                Sight::There { sighting, read } => {
                    let at = Place { dir, path, name: &name, stamp };
                    let op =
                        self.sighted(&at, hint, &sighting, read.map(|r| (r.bytes, r.hash)), shared);
                    let is_put = matches!(op, Some(Op::Put { .. }));
                    if is_put {
                        self.look_twice(&at, hint, &sighting, shared);
                    }
                    let facts = Some(Facts::of(&sighting));
                    drafts.extend(op.map(|op| self.draft(op, &at, Errand::Mark, facts)));
                    is_put
                }
            };
            kept.next(brought, keep);
        }
        if !gone.is_empty() {
            self.stamps.hold(stamp);
            let ticket = shared.ask_drain();
            self.busy(dir);
            self.parked.push(Parked { ticket, what: ParkedWhat::Gone { dir, names: gone, stamp } });
        }
        self.post_ops(Lane::Live, drafts, kept.finish(), shared);
    }

    /// An operation on a name, holding its stamp.
    pub(super) fn draft(
        &mut self,
        op: Op,
        at: &Place<'_>,
        errand: Errand,
        facts: Option<Facts>,
    ) -> Draft {
        self.stamps.hold(at.stamp);
        let name = Some(at.name.clone());
        Draft { op, stamp: at.stamp, dir: at.dir, name, errand, facts }
    }

    /// The directory is not where the map says: an event is on its way, or the map is wrong.
    fn elsewhere(&mut self, dir: DirKey, names: Vec<(Name, Hint)>, shared: &mut Shared) {
        let ticket = shared.ask_drain();
        let names = names.into_iter().collect();
        self.parked.push(Parked { ticket, what: ParkedWhat::Elsewhere { dir, names } });
    }

    /// What stands at a marked name becomes an operation, or nothing if it must wait or is settled.
    fn sighted(
        &mut self,
        at: &Place<'_>,
        hint: Hint,
        sighting: &Sighting,
        read: Option<(u64, crate::model::entry::Hash)>,
        shared: &mut Shared,
    ) -> Option<Op> {
        let path = at.path.join(at.name);
        if let Entry::Dir { .. } = sighting.entry {
            return self.dir_sighted(at, hint, sighting, path, shared);
        }
        if shared.map.child(at.dir, at.name).is_some() {
            self.conflict(at, None, shared);
            return None;
        }
        if let Some(text) = self.unfit(at.dir, at.name, &sighting.entry, &path) {
            self.problem(path, text, shared);
            self.marks.settle(at.dir, at.name, shared.now);
            return None;
        }
        self.foreign.clear(&path);
        let attributes = sighting.attributes();
        match &sighting.entry {
            Entry::File { size, meta } if !hint.content => Some(Op::SetMeta {
                path,
                presumes: Version::File { size: *size, mtime: meta.mtime, hash: None },
                attributes,
            }),
            Entry::File { size, .. } if self.is_still_held(at.dir, at.name, *size, shared.now) => {
                None
            }
            Entry::File { .. } => match read {
                Some((size, hash)) => Some(Op::Put { path, size, attributes, hash }),
                None => {
                    self.start_transfer(at.dir, at.name.clone(), false, shared);
                    None
                }
            },
            Entry::Symlink { target, .. } => {
                Some(Op::Symlink { path, target: target.clone(), attributes })
            }
            Entry::Special { kind, device, .. } => {
                Some(Op::Special { path, kind: *kind, device: *device, attributes })
            }
            Entry::Dir { .. } => None,
        }
    }

    /// Why an entry can't be carried, if so.
    pub(super) fn unfit(
        &self,
        dir: DirKey,
        name: &Name,
        entry: &Entry,
        path: &RelPath,
    ) -> Option<String> {
        if dir == DirKey::ROOT && self.terms.staging_name.as_ref() == Some(name) {
            return Some("It bears the name of the sink's staging directory: rename it".to_owned());
        }
        if let Some(loss) = self.terms.abilities.refuses(name, entry) {
            return Some(format!("The sink can't hold {}", loss.words()));
        }
        (!path.is_sendable()).then(|| "The path is too long to be carried".to_owned())
    }

    fn dir_sighted(
        &mut self,
        at: &Place<'_>,
        hint: Hint,
        sighting: &Sighting,
        path: RelPath,
        shared: &mut Shared,
    ) -> Option<Op> {
        let there = shared.map.child(at.dir, at.name);
        let known = shared.map.by_identity(sighting.identity);
        if known.is_some() && known != there {
            self.conflict(at, Some(sighting.identity), shared);
            return None;
        }
        if let Some(key) = there {
            let same = known == Some(key) || shared.map.identify(key, sighting.identity).is_ok();
            if !same {
                self.conflict(at, Some(sighting.identity), shared);
                return None;
            }
            shared.arm_again(key);
            self.owe_meta(key);
            if !hint.content {
                self.marks.settle(at.dir, at.name, shared.now);
                return None;
            }
        } else {
            if let Some(text) = self.unfit(at.dir, at.name, &sighting.entry, &path) {
                self.problem(path, text, shared);
                self.marks.settle(at.dir, at.name, shared.now);
                return None;
            }
            let key = shared.insert_dir(at.dir, at.name, true)?;
            let _ = shared.map.identify(key, sighting.identity);
            self.owe_meta(key);
        }
        self.foreign.clear(&path);
        Some(Op::MakeDir { path })
    }

    /// The map and the look disagree: believed once the kernel queue was read empty (law 2).
    fn conflict(
        &mut self,
        at: &Place<'_>,
        identity: Option<crate::model::entry::Identity>,
        shared: &mut Shared,
    ) {
        let ticket = shared.ask_drain();
        let (dir, name) = (at.dir, at.name.clone());
        self.parked.push(Parked { ticket, what: ParkedWhat::Conflict { dir, name, identity } });
    }

    fn wants_seen(
        &mut self,
        want: Want,
        path: &RelPath,
        stamp: Stamp,
        seen: Seen,
        shared: &mut Shared,
    ) {
        let dir = want.dir;
        let Seen::Names { sights, content } = seen else {
            for (name, listed) in want.names {
                self.idle(dir);
                self.want_marked(dir, &name, want.counted.then_some(listed), shared.now);
            }
            return;
        };
        let mut drafts = Vec::new();
        let mut kept = Kept::new(content);
        for (index, ((name, listed), (_, sight))) in want.names.into_iter().zip(sights).enumerate()
        {
            let Sight::There { sighting, read } = sight else {
                self.idle(dir);
                self.want_marked(dir, &name, want.counted.then_some(listed), shared.now);
                kept.next(0, false);
                continue;
            };
            let at = Place { dir, path, name: &name, stamp };
            let counted = want.counted.then_some(listed);
            let brought = read.filter(|read| read.brought).map_or(0, |read| read.bytes as usize);
            let op = wanted_op(path.join(&name), &want.bring, index, &sighting, read);
            kept.next(brought, matches!(op, Some(Op::Put { .. })));
            self.idle(dir);
            match op {
                Some(op) => {
                    if matches!(op, Op::Put { .. }) {
                        self.look_twice(&at, Hint::CONTENT, &sighting, shared);
                    }
                    let facts = Some(Facts::of(&sighting));
                    let draft = self.draft(op, &at, Errand::Want(counted), facts);
                    drafts.push(draft);
                }
                None => {
                    // Its content is another, or it is no file any more.
                    self.count_differences(1);
                    self.want_marked(dir, &name, counted, shared.now);
                }
            }
        }
        self.post_ops(Lane::Backlog, drafts, kept.finish(), shared);
    }

    /// A file that changed just before it was read may have changed once more, and bear the same
    /// times. Where no event would tell, it gets one second look (H19).
    fn look_twice(&mut self, at: &Place<'_>, hint: Hint, sighting: &Sighting, shared: &Shared) {
        let watched = shared.map.is_watched(at.dir);
        if sighting.is_young && !hint.second && !watched {
            self.mark(at.dir, at.name, Hint::SECOND, shared.now, SECOND_DELAY);
        }
    }

    /// A wanted name is not what it was: it is a mark from now on.
    fn want_marked(&mut self, dir: DirKey, name: &Name, counted: Option<u64>, now: Duration) {
        self.want_over(dir);
        self.mark(dir, name, Hint::CONTENT, now, Duration::ZERO);
        self.count_when_settled(dir, name, counted);
    }

    fn own_meta_seen(&mut self, dir: DirKey, stamp: Stamp, seen: Seen, shared: &mut Shared) {
        let (attributes, facts) = match seen {
            Seen::Own(seen) if seen.entry.is_dir() => (seen.attributes(), Facts::of(&seen)),
            Seen::Unreadable(text) => {
                let path = shared.map.path(dir).unwrap_or_default();
                return self.problem(path, text, shared);
            }
            _ => return self.ask_place(dir, shared),
        };
        let Some(path) = self.sink_path(dir, shared) else { return };
        self.stamps.hold(stamp);
        let op = Op::SetMeta { path, presumes: Version::Dir, attributes };
        let (errand, facts) = (Errand::OwnMeta, Some(facts));
        let draft = Draft { op, stamp, dir, name: None, errand, facts };
        self.gather(draft, shared);
    }

    /// A directory is not where the map says: its name, and those of all above it, are looked at,
    /// for any of them may be the one that moved.
    pub(super) fn ask_place(&mut self, dir: DirKey, shared: &mut Shared) {
        let places = shared.map.upwards(dir).filter_map(|at| shared.map.get(at)?.place().cloned());
        for (parent, name) in places.collect::<Vec<_>>() {
            self.mark(parent, &name, Hint::META, shared.now, Duration::ZERO);
        }
        if dir == DirKey::ROOT {
            let text = "The source's directory is no longer where it was: \
                        put it back, or end osync and start it again";
            shared.halt(Cause::Root, text);
        }
    }
}

/// Where an operation of a look goes.
pub(super) struct Place<'a> {
    pub(super) dir: DirKey,
    pub(super) path: &'a RelPath,
    pub(super) name: &'a Name,
    pub(super) stamp: Stamp,
}

/// The operation that brings what is wanted of a name; nothing if it is not what it was.
fn wanted_op(
    path: RelPath,
    bring: &Bring,
    index: usize,
    sighting: &Sighting,
    read: Option<ReadContent>,
) -> Option<Op> {
    let attributes = sighting.attributes();
    match (&sighting.entry, bring) {
        (Entry::File { size, meta }, Bring::Attributes) => {
            let presumes = Version::File { size: *size, mtime: meta.mtime, hash: None };
            Some(Op::SetMeta { path, presumes, attributes })
        }
        (Entry::File { size, meta }, Bring::Proof(hashes)) => {
            let had = hashes.get(index).copied().flatten();
            let hash = read.map(|read| read.hash)?;
            if had.is_some_and(|had| had != hash) {
                return None;
            }
            let presumes = Version::File { size: *size, mtime: meta.mtime, hash: Some(hash) };
            Some(Op::SetMeta { path, presumes, attributes })
        }
        (Entry::File { .. }, Bring::Content) => {
            let ReadContent { hash, bytes: size, .. } = read?;
            Some(Op::Put { path, size, attributes, hash })
        }
        (Entry::Symlink { target, .. }, _) => {
            Some(Op::Symlink { path, target: target.clone(), attributes })
        }
        (Entry::Special { kind, device, .. }, _) => {
            Some(Op::Special { path, kind: *kind, device: *device, attributes })
        }
        (Entry::Dir { .. }, _) => None,
    }
}

/// The content that looks brought, less what no operation carries; copied only if something is
/// left out.
struct Kept {
    content: Vec<u8>,
    at: usize,
    holes: Vec<(usize, usize)>,
}

impl Kept {
    fn new(content: Vec<u8>) -> Kept {
        Kept { content, at: 0, holes: Vec::new() }
    }

    fn next(&mut self, bytes: usize, keep: bool) {
        if !keep && bytes > 0 {
            self.holes.push((self.at, bytes));
        }
        self.at += bytes;
    }

    fn finish(self) -> Vec<u8> {
        if self.holes.is_empty() {
            return self.content;
        }
        let mut whole = Vec::with_capacity(self.content.len());
        let mut from = 0;
        for (at, bytes) in self.holes {
            whole.extend_from_slice(&self.content[from..at.min(self.content.len())]);
            from = (at + bytes).min(self.content.len());
        }
        whole.extend_from_slice(&self.content[from..]);
        whole
    }
}
