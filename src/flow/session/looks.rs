//! What looks bring: each becomes operations, waits for the kernel queue, or is taken again.

use std::time::Duration;

use crate::flow::halts::Cause;
use crate::flow::marks::Hint;
use crate::flow::session::flights::{Draft, Errand};
use crate::flow::session::kin::{Judged, Way};
use crate::flow::session::parked::{Parked, ParkedWhat};
use crate::flow::session::transfers::Large;
use crate::flow::session::twins;
use crate::flow::session::wants::Want;
use crate::flow::session::{Session, Shared};
use crate::model::entry::{Entry, Sighting};
use crate::model::ledger::{Facts, Note};
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
    /// With where the watermark stood when it began.
    Marks {
        names: Vec<(Name, Hint)>,
        stamp: Stamp,
        pin: Stamp,
    },
    /// Likewise.
    Wants {
        want: Want,
        stamp: Stamp,
        pin: Stamp,
    },
    OwnMeta {
        stamp: Stamp,
    },
    Part {
        listing: u64,
        stamp: Stamp,
    },
    Removal {
        removal: u64,
        stamp: Stamp,
    },
    RenameHash {
        stamp: Stamp,
    },
    Open {
        transfer: u64,
        stamp: Stamp,
    },
    Compare {
        transfer: u64,
    },
    Chunk {
        transfer: u64,
    },
    Finish {
        transfer: u64,
        stamp: Stamp,
    },
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
            Purpose::Marks { names, stamp, pin } => {
                if moved || self.is_fenced(dir, shared) {
                    self.relook(dir, names, shared.now);
                } else {
                    self.marks_seen((dir, &path), names, (stamp, pin), seen, shared);
                }
                self.stamps.unpin(pin);
                self.stamps.release(stamp);
            }
            Purpose::Wants { want, stamp, pin } => {
                if moved || self.is_fenced(dir, shared) || !self.is_wanted(&want, shared) {
                    self.want_again(want);
                } else {
                    self.wants_seen(want, &path, (stamp, pin), seen, shared);
                }
                self.stamps.unpin(pin);
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
            Purpose::Compare { transfer } => self.transfer_compared(transfer, seen, shared),
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
        (dir, path): (DirKey, &RelPath),
        names: Vec<(Name, Hint)>,
        (stamp, pin): (Stamp, Stamp),
        seen: Seen,
        shared: &mut Shared,
    ) {
        let (sights, content, notes) = match seen {
            Seen::Names { sights, content, notes } => (sights, content, notes),
            Seen::Elsewhere => return self.elsewhere(dir, names, shared),
            Seen::Unreadable(text) => {
                return self.unreadable_marks((dir, path), names, &text, shared);
            }
            _ => return self.relook(dir, names, shared.now),
        };
        let mut drafts = Vec::new();
        let mut gone = Vec::new();
        let mut kept = Kept::new(content);
        let mut notes = notes.into_iter();
        for ((name, hint), (_, sight)) in names.into_iter().zip(sights) {
            let note = notes.next().flatten();
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
            let draft = match sight {
                Sight::Gone => {
                    gone.push(name);
                    None
                }
                Sight::Withheld if shared.map.child(dir, &name).is_some() => {
                    let at = Place { dir, path, name: &name, stamp, pin };
                    self.conflict(&at, None, shared);
                    None
                }
                Sight::Withheld => {
                    self.withheld(dir, &name, &path.join(&name), shared);
                    None
                }
                Sight::Problem(text) => {
                    self.problem(path.join(&name), text, shared);
                    self.marks.put_off(dir, &name, hint, shared.now + PROBLEM_DELAY, true);
                    self.marks.heed_events(dir, &name);
                    None
                }
                Sight::There { sighting, read } => {
                    let at = Place { dir, path, name: &name, stamp, pin };
                    self.sighted(&at, hint, &Sighted { sighting, read, note }, shared)
                }
            };
            let is_put = draft.as_ref().is_some_and(|draft| matches!(draft.op, Op::Put { .. }));
            kept.next(brought, is_put);
            drafts.extend(draft);
        }
        if !gone.is_empty() {
            self.stamps.hold(stamp);
            let ticket = shared.ask_drain();
            self.busy(dir);
            self.parked.push(Parked { ticket, what: ParkedWhat::Gone { dir, names: gone, stamp } });
        }
        self.post_ops(Lane::Live, drafts, kept.finish(), shared);
    }

    fn unreadable_marks(
        &mut self,
        (dir, path): (DirKey, &RelPath),
        names: Vec<(Name, Hint)>,
        text: &str,
        shared: &mut Shared,
    ) {
        for (name, hint) in names {
            self.problem(path.join(&name), text.to_owned(), shared);
            let later = shared.now + self.unseen_delay(dir, &name);
            self.marks.put_off(dir, &name, hint, later, true);
        }
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
        let draft = Draft::new(op, at.stamp, (at.dir, Some(at.name.clone())), errand);
        Draft { facts, ..draft }
    }

    /// What a look has seen in a directory, for the ledger.
    pub(super) fn facts(&self, dir: DirKey, sighting: &Sighting, shared: &Shared) -> Facts {
        let home = shared.map.get(dir).and_then(crate::flow::map::Dir::identity);
        let facts = Facts::of(sighting, home);
        Facts { has_others: facts.has_others && self.can_link(), ..facts }
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
        seen: &Sighted,
        shared: &mut Shared,
    ) -> Option<Draft> {
        let path = at.path.join(at.name);
        let sighting = &seen.sighting;
        if self.is_unnameable(at.path) {
            self.marks.settle(at.dir, at.name, shared.now);
            return None;
        }
        let facts = self.facts(at.dir, sighting, shared);
        if let Entry::Dir { .. } = sighting.entry {
            let op = self.dir_sighted(at, hint, sighting, path, shared)?;
            return Some(self.draft(op, at, Errand::Mark, Some(facts)));
        }
        if shared.map.child(at.dir, at.name).is_some() {
            self.conflict(at, None, shared);
            return None;
        }
        if let Some(text) = self.unfit(at.dir, at.name, &sighting.entry, &path, shared) {
            self.problem(path, text, shared);
            self.marks.settle(at.dir, at.name, shared.now);
            return None;
        }
        self.foreign.clear(&path);
        if self.is_linked_otherwise(hint, seen) {
            match self.way_of(at, &facts, seen.note.as_ref(), shared) {
                Way::Ordinary => {}
                Way::Link(op, link) => {
                    return Some(self.draft_link(at, Errand::Mark, facts, (op, link)));
                }
                Way::Wait => {
                    self.wait_marked(at, hint, &facts.identity, shared.now);
                    return None;
                }
                Way::Later(delay) => {
                    self.marks.put_off(at.dir, at.name, hint, shared.now + delay, false);
                    return None;
                }
            }
        }
        if hint.kin && !hint.content {
            match self.judged(at, &facts, seen.note.as_ref()) {
                Judged::There if !hint.touched => {
                    self.marks.settle(at.dir, at.name, shared.now);
                    return None;
                }
                Judged::There => {}
                Judged::Changed => {
                    self.marks.put_off(at.dir, at.name, Hint::CONTENT, shared.now, false);
                    return None;
                }
            }
        }
        self.sent_whole(at, hint, seen, facts, shared)
    }

    /// Whether a name is to be linked to another, if it can be: its own content is sent if it was
    /// written under this name, and is a name of its object at the sink.
    fn is_linked_otherwise(&self, hint: Hint, seen: &Sighted) -> bool {
        let is_apart = seen.note.as_ref().is_none_or(|note| !note.is_copied);
        (is_apart && !hint.alone) || self.leads.is_led(&seen.sighting.identity)
    }

    /// What stands at a name becomes an operation that carries it, or its attributes.
    fn sent_whole(
        &mut self,
        at: &Place<'_>,
        hint: Hint,
        seen: &Sighted,
        facts: Facts,
        shared: &mut Shared,
    ) -> Option<Draft> {
        let path = at.path.join(at.name);
        let attributes = seen.sighting.attributes();
        let op = match &seen.sighting.entry {
            Entry::File { size, meta } if !hint.content => {
                let presumes = Version::File { size: *size, mtime: meta.mtime, hash: None };
                Op::SetMeta {
                    path,
                    presumes,
                    attributes,
                    names: self.names_of(&seen.sighting, false),
                }
            }
            Entry::File { size, .. } if self.is_still_held(at.dir, at.name, *size, shared.now) => {
                return None;
            }
            Entry::File { .. } => match seen.read {
                Some(ReadContent { bytes: size, hash, .. }) => {
                    Op::Put { path, size, attributes, hash }
                }
                None if self.marks.await_calm(at.dir, at.name, shared.now) => return None,
                None => {
                    let (dir, name) = (at.dir, at.name.clone());
                    let lead = self.leads.lead(&facts);
                    let large = Large { dir, name, lead, takes: None, whole: hint.whole };
                    self.start_transfer(large, shared);
                    return None;
                }
            },
            Entry::Symlink { target, .. } => {
                Op::Symlink { path, target: target.clone(), attributes }
            }
            Entry::Special { kind, device, .. } => {
                Op::Special { path, kind: *kind, device: *device, attributes }
            }
            Entry::Dir { .. } => return None,
        };
        let lead = match op {
            Op::Put { .. } | Op::Symlink { .. } | Op::Special { .. } => self.leads.lead(&facts),
            _ => None,
        };
        if matches!(op, Op::Put { .. }) {
            self.look_twice(at, hint, &seen.sighting, shared);
        }
        Some(Draft { lead, ..self.draft(op, at, Errand::Mark, Some(facts)) })
    }

    /// Why an entry can't be carried, if so.
    pub(super) fn unfit(
        &self,
        dir: DirKey,
        name: &Name,
        entry: &Entry,
        path: &RelPath,
        shared: &Shared,
    ) -> Option<String> {
        if let Some(other) = self.twin(dir, name) {
            return Some(twins::words(other));
        }
        if self.is_shadowed(dir, shared) {
            return Some("A directory above it is one with another at the sink".to_owned());
        }
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
        }
        if let Some(text) = self.unfit(at.dir, at.name, &sighting.entry, &path, shared) {
            self.problem(path, text, shared);
            self.marks.settle(at.dir, at.name, shared.now);
            return None;
        }
        if there.is_some() {
            if !hint.content {
                self.marks.settle(at.dir, at.name, shared.now);
                return None;
            }
        } else {
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

    /// A file that changed just before it was read may have changed once more, and bear the same
    /// times. Where no event would tell, it gets one second look (H19).
    pub(super) fn look_twice(
        &mut self,
        at: &Place<'_>,
        hint: Hint,
        sighting: &Sighting,
        shared: &Shared,
    ) {
        let watched = shared.map.is_watched(at.dir);
        if sighting.is_young && !hint.second && !watched {
            self.mark(at.dir, at.name, Hint::SECOND, shared.now, SECOND_DELAY);
        }
    }

    fn own_meta_seen(&mut self, dir: DirKey, stamp: Stamp, seen: Seen, shared: &mut Shared) {
        let (attributes, facts) = match seen {
            Seen::Own(seen) if seen.entry.is_dir() => {
                if dir == DirKey::ROOT {
                    self.count_root_losses(&seen.entry);
                }
                (seen.attributes(), Facts::of(&seen, None))
            }
            Seen::Unreadable(text) => {
                let path = shared.map.path(dir).unwrap_or_default();
                return self.problem(path, text, shared);
            }
            _ => return self.ask_place(dir, shared),
        };
        let Some(path) = self.sink_path(dir, shared) else { return };
        self.stamps.hold(stamp);
        let op = Op::SetMeta { path, presumes: Version::Dir, attributes, names: 0 };
        let draft = Draft::new(op, stamp, (dir, None), Errand::OwnMeta);
        self.gather(Draft { facts: Some(facts), ..draft }, shared);
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
    /// Where the watermark stood when the look began.
    pub(super) pin: Stamp,
}

/// What a look saw at a name, and what the ledger told of it.
pub(super) struct Sighted {
    pub(super) sighting: Sighting,
    pub(super) read: Option<ReadContent>,
    pub(super) note: Option<Note>,
}

/// The content that looks brought, less what no operation carries; copied only if something is
/// left out.
pub(super) struct Kept {
    content: Vec<u8>,
    at: usize,
    holes: Vec<(usize, usize)>,
}

impl Kept {
    pub(super) fn new(content: Vec<u8>) -> Kept {
        Kept { content, at: 0, holes: Vec::new() }
    }

    pub(super) fn next(&mut self, bytes: usize, keep: bool) {
        if !keep && bytes > 0 {
            self.holes.push((self.at, bytes));
        }
        self.at += bytes;
    }

    pub(super) fn finish(self) -> Vec<u8> {
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
