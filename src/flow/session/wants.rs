//! What listings found wanting at the sink: batches of names that are read and sent in turn.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::flights::{Cargo, Draft, Errand, Flight};
use crate::flow::session::kin::{Lead, Way};
use crate::flow::session::listings::SentListing;
use crate::flow::session::looks::{Kept, Place, Purpose, Sighted};
use crate::flow::session::transfers::Large;
use crate::flow::session::{Session, Shared};
use crate::model::entry::{Entry, Hash, Sighting};
use crate::model::limits::LIVE_BYTES_MAX;
use crate::model::look::{self, ReadContent, Seen, Sight};
use crate::model::op::{Op, Version};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{DirKey, Stamp};

/// Entries of one directory that the sink needs.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) dir: DirKey,
    pub(super) names: Vec<Wanted>,
    /// What of them.
    pub(super) bring: Bring,
    /// Whether they count for progress.
    pub(super) counted: bool,
    /// As it was of the directory when it was listed: what was offered then is offered at that
    /// place alone.
    pub(super) displaced: u32,
}

/// One name that is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: Name,
    /// As its listing gave them.
    pub(super) bytes: u64,
    /// It leads the names of its object.
    pub(super) lead: Option<Arc<Lead>>,
    /// Bytes of room that its content takes at the source, if nothing stands at its name at the
    /// sink.
    pub(super) takes: Option<u64>,
}

/// What of wanted names is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bring {
    /// All.
    Content,
    /// Attributes alone.
    Attributes,
    /// That their content has these hashes, on both sides, or the same one where none is known.
    Proof(Vec<Option<Hash>>),
    /// That they are one with the other names of their objects.
    Link,
}

impl Bring {
    /// What a look is to bring.
    pub(super) fn want(&self) -> look::Want {
        match self {
            Bring::Content => look::Want::Content,
            Bring::Attributes | Bring::Link => look::Want::Meta,
            Bring::Proof(_) => look::Want::Hash,
        }
    }
}

impl Want {
    /// Keeps so many names, and gives the rest, if there is any.
    pub(super) fn split_off(&mut self, count: usize) -> Option<Want> {
        if count >= self.names.len() {
            return None;
        }
        let names = self.names.split_off(count);
        let bring = match &mut self.bring {
            Bring::Proof(hashes) => Bring::Proof(hashes.split_off(count)),
            other => other.clone(),
        };
        Some(Want { names, bring, ..*self })
    }
}

impl Session {
    /// Names of a part that the sink lacks this of; it has nothing at those that are `absent`.
    pub(super) fn want(
        &mut self,
        sent: &SentListing,
        picked: &[usize],
        absent: &HashSet<usize>,
        bring: Bring,
        shared: &mut Shared,
    ) {
        let mut names = Vec::with_capacity(picked.len());
        if sent.displaced != self.displaced(sent.dir) {
            return picked.iter().for_each(|at| self.done_elsewhere(sent, *at));
        }
        for &at in picked {
            let entry = &sent.entries[at];
            let takes = absent.contains(&at).then_some(entry.takes);
            if entry.is_dir {
                self.mark(sent.dir, &entry.name, Hint::CONTENT, shared.now, Duration::ZERO);
            } else if self.marks.get(sent.dir, &entry.name).is_some() {
                // The look of the mark may be older than this listing, and the event of what came
                // between be lost: its attributes tell, and ask for the content if need be.
                let (name, counted) = (entry.name.clone(), sent.counted.then_some(entry.bytes));
                self.mark(sent.dir, &name, Hint::META, shared.now, Duration::ZERO);
                self.count_when_settled(sent.dir, &name, counted.filter(|_| entry.is_file));
            } else if entry.bytes > LIVE_BYTES_MAX && bring == Bring::Content && !entry.has_others()
            {
                self.marks.begin(sent.dir, &entry.name, Hint::CONTENT, shared.now);
                let counted = sent.counted.then_some(entry.bytes);
                self.count_when_settled(sent.dir, &entry.name, counted);
                let (dir, name) = (sent.dir, entry.name.clone());
                self.large.push_back(Large { dir, name, lead: None, takes, whole: false });
            } else {
                self.busy(sent.dir);
                self.dirs.entry(sent.dir).or_default().wanted += 1;
                let (name, lead) = (entry.name.clone(), entry.lead.clone());
                names.push(Wanted { name, bytes: entry.bytes, lead, takes });
            }
        }
        if !names.is_empty() {
            self.wants_count += names.len();
            let (dir, counted, displaced) = (sent.dir, sent.counted, sent.displaced);
            let want = Want { dir, names, bring, counted, displaced };
            self.wants.push_back(want);
        }
    }

    /// One wanted name is no longer wanted: it was answered, or became a mark.
    pub(super) fn want_over(&mut self, dir: DirKey) {
        if let Some(state) = self.dirs.get_mut(&dir) {
            state.wanted = state.wanted.saturating_sub(1);
        }
    }

    /// Whether a listing of a directory is open, or names that one found wanting are not yet
    /// answered: another listing would ask for the same again.
    pub(super) fn is_comparing(&self, dir: DirKey) -> bool {
        self.dirs.get(&dir).is_some_and(|state| state.wanted > 0)
            || self.listings.values().any(|listing| listing.dir == dir)
    }

    /// Whether something that a listing found wanting is read, or sent and not yet answered; or,
    /// if asked for, attributes of directories.
    pub(super) fn is_bringing(&self, dirs_too: bool) -> bool {
        let counts = |errand: &Errand| match errand {
            Errand::Want(_) => true,
            Errand::OwnMeta => dirs_too,
            Errand::Mark | Errand::Removal(_) | Errand::Rename => false,
        };
        let brings = |flight: &Flight| match &flight.cargo {
            Cargo::Ops(ops) => ops.iter().any(|op| counts(&op.errand)),
            Cargo::Listing(_) | Cargo::Chunk { .. } | Cargo::Sign { .. } | Cargo::Drop => false,
        };
        let is_looked_at = |purpose: &Purpose| match purpose {
            Purpose::Wants { .. } => true,
            Purpose::OwnMeta { .. } => dirs_too,
            _ => false,
        };
        !self.gathered.is_empty()
            || (dirs_too && !self.metas.is_empty())
            || self.pending.values().any(|look| is_looked_at(&look.purpose))
            || self.flights.iter().flat_map(BTreeMap::values).any(brings)
            || self.ready.iter().flatten().any(|ready| brings(&ready.flight))
    }

    /// A look for wanted names was in vain: they are looked at again, first.
    pub(super) fn want_again(&mut self, want: Want) {
        self.wants_count += want.names.len();
        self.wants.push_front(want);
    }

    /// What was wanted is wanted no more: its directory is gone, or is listed anew elsewhere.
    pub(super) fn want_dropped(&mut self, want: &Want) {
        for _ in &want.names {
            self.want_over(want.dir);
            self.idle(want.dir);
        }
        if want.counted {
            self.tally.files_done += want.names.len() as u64;
            self.tally.bytes_done += want.names.iter().map(|wanted| wanted.bytes).sum::<u64>();
        }
    }

    /// Whether wanted names are still to be sent: their directory is known, and was not displaced.
    pub(super) fn is_wanted(&self, want: &Want, shared: &Shared) -> bool {
        shared.map.get(want.dir).is_some() && want.displaced == self.displaced(want.dir)
    }

    /// Takes what a look at wanted names brought.
    pub(super) fn wants_seen(
        &mut self,
        want: Want,
        path: &RelPath,
        (stamp, pin): (Stamp, Stamp),
        seen: Seen,
        shared: &mut Shared,
    ) {
        let Want { dir, names, bring, counted, displaced } = want;
        let Seen::Names { sights, content, notes } = seen else {
            for Wanted { name, bytes, .. } in names {
                self.idle(dir);
                self.want_marked((dir, &name), counted.then_some(bytes), Hint::CONTENT, shared.now);
            }
            return;
        };
        let mut drafts = Vec::new();
        let mut kept = Kept::new(content);
        let mut notes = notes.into_iter();
        for (index, (wanted, (_, sight))) in names.into_iter().zip(sights).enumerate() {
            let note = notes.next().flatten();
            let Sight::There { sighting, read } = sight else {
                self.idle(dir);
                let bytes = counted.then_some(wanted.bytes);
                self.want_marked((dir, &wanted.name), bytes, Hint::CONTENT, shared.now);
                kept.next(0, false);
                continue;
            };
            let brought = read.filter(|read| read.brought).map_or(0, |read| read.bytes as usize);
            let at = Place { dir, path, name: &wanted.name, stamp, pin };
            let terms = WantTerms { bring: &bring, index, counted, displaced };
            let seen = Sighted { sighting, read, note };
            let draft = self.want_sighted(&at, &terms, &seen, &wanted, shared);
            let is_put = draft.as_ref().is_some_and(|draft| matches!(draft.op, Op::Put { .. }));
            kept.next(brought, is_put);
            drafts.extend(draft);
        }
        self.post_wanted(drafts, kept.finish(), shared);
    }

    /// What stands at a wanted name becomes an operation, or a mark if it is not what it was.
    fn want_sighted(
        &mut self,
        at: &Place<'_>,
        terms: &WantTerms<'_>,
        seen: &Sighted,
        wanted: &Wanted,
        shared: &mut Shared,
    ) -> Option<Draft> {
        let (sighting, counted) = (&seen.sighting, terms.counted.then_some(wanted.bytes));
        let facts = self.facts(at.dir, sighting, shared);
        let links = *terms.bring == Bring::Link;
        if links || *terms.bring == Bring::Content {
            let note = seen.note.as_ref();
            let way = match &wanted.lead {
                Some(_) => self.way_to_anchor(at, &facts, note, shared),
                None => self.way_of(at, &facts, note, shared),
            };
            match way {
                Way::Link(op, link) => {
                    self.idle(at.dir);
                    let draft = self.draft_link(at, Errand::Want(counted), facts, (op, link));
                    return Some(Draft { lead: wanted.lead.clone(), ..draft });
                }
                Way::Wait => {
                    let terms = (terms.counted, terms.displaced);
                    self.join_again(at.dir, at.name.clone(), &facts.identity, terms);
                    return None;
                }
                Way::Later(_) => {
                    self.idle(at.dir);
                    self.want_marked((at.dir, at.name), counted, Hint::KIN, shared.now);
                    return None;
                }
                Way::Ordinary => {}
            }
        }
        self.idle(at.dir);
        if links && seen.note.as_ref().is_some_and(|note| note.is_copied && note.anchor.is_none()) {
            // The others are linked to it.
            self.want_over(at.dir);
            self.tally.files_done += u64::from(terms.counted);
            self.tally.bytes_done += counted.unwrap_or_default();
            return None;
        }
        if links {
            self.want_marked((at.dir, at.name), counted, Hint::KIN, shared.now);
            return None;
        }
        let path = at.path.join(at.name);
        let names = self.names_of(sighting, *terms.bring == Bring::Attributes);
        let brought = (terms.bring, terms.index);
        let Some(op) = wanted_op(path, brought, sighting, names, seen.read) else {
            // Its content is another, or it is no file any more.
            self.count_differences(1);
            self.want_marked((at.dir, at.name), counted, Hint::CONTENT, shared.now);
            return None;
        };
        let carries = matches!(op, Op::Put { .. } | Op::Symlink { .. } | Op::Special { .. });
        if matches!(op, Op::Put { .. }) {
            self.look_twice(at, Hint::CONTENT, sighting, shared);
        }
        let lead = wanted.lead.clone();
        let lead = if carries && lead.is_none() { self.leads.lead(&facts) } else { lead };
        Some(Draft { lead, ..self.draft(op, at, Errand::Want(counted), Some(facts)) })
    }

    /// A wanted name is not what it was: it is a mark from now on.
    fn want_marked(
        &mut self,
        (dir, name): (DirKey, &Name),
        counted: Option<u64>,
        hint: Hint,
        now: Duration,
    ) {
        self.want_over(dir);
        self.mark(dir, name, hint, now, Duration::ZERO);
        self.count_when_settled(dir, name, counted);
    }
}

/// What a wanted name was wanted for.
struct WantTerms<'a> {
    bring: &'a Bring,
    /// Its place among the names.
    index: usize,
    counted: bool,
    displaced: u32,
}

/// The operation that brings what is wanted of a name; nothing if it is not what it was.
fn wanted_op(
    path: RelPath,
    (bring, index): (&Bring, usize),
    sighting: &Sighting,
    names: u32,
    read: Option<ReadContent>,
) -> Option<Op> {
    let attributes = sighting.attributes();
    match (&sighting.entry, bring) {
        (Entry::File { size, meta }, Bring::Attributes) => {
            let presumes = Version::File { size: *size, mtime: meta.mtime, hash: None };
            Some(Op::SetMeta { path, presumes, attributes, names })
        }
        (Entry::File { size, meta }, Bring::Proof(hashes)) => {
            let had = hashes.get(index).copied().flatten();
            let hash = read.map(|read| read.hash)?;
            if had.is_some_and(|had| had != hash) {
                return None;
            }
            let presumes = Version::File { size: *size, mtime: meta.mtime, hash: Some(hash) };
            Some(Op::SetMeta { path, presumes, attributes, names })
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
        (Entry::File { .. }, Bring::Link) | (Entry::Dir { .. }, _) => None,
    }
}
