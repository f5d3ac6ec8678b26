//! What the ledger spares the session, and what the session tells the ledger.
//!
//! - A directory that the sink durably has, by its name's record and those above it, is *trusted*:
//!   of a trusted directory only what is in doubt is sent. The root is always listed whole, so
//!   that a sink which was emptied is noticed at once (H2).
//! - A sweep of the termination phase trusts nothing that it can ask: it lists all.

use std::sync::Arc;
use std::time::Duration;

use crate::flow::marks::{Hint, Mark, State};
use crate::flow::session::kin::Lead;
use crate::flow::session::wants::{Bring, Want, Wanted};
use crate::flow::session::{Action, Session, Shared};
use crate::model::entry::{Hash, Identity};
use crate::model::ledger::{Deed, Entered, Entries, Facts, Kind, Moment, Standing};
use crate::model::limits::LIVE_BYTES_MAX;
use crate::model::look::Found;
use crate::model::offer::{Kinship, Offer};
use crate::model::op::{Listed, Op, Version};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{DirKey, Stamp};

/// An entry that is to be sent in a part of a listing.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) listed: Listed,
    /// What the ledger may enter should the sink have it.
    pub(super) facts: Option<Facts>,
    /// Whether the ledger knows nothing of it.
    pub(super) is_unknown: bool,
    /// Whether nothing that the sink may say is news to the ledger but that it is not so.
    pub(super) is_sure: bool,
    /// Another name of its object, if the two should be one at the sink.
    pub(super) beside: Option<Beside>,
    /// Or if this name leads them.
    pub(super) lead: Option<Arc<Lead>>,
    /// Bytes of room that its content takes at the source.
    pub(super) takes: u64,
}

/// Another name of an object.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) identity: Identity,
    /// The directory at the source that the name is in.
    pub(super) home: Identity,
    pub(super) name: Name,
}

/// A name of an object with several that is to become a link to another: it is not compared.
pub(super) type Other = (Name, Identity);

impl Announced {
    fn unknown(listed: Listed, facts: Facts, lead: Option<Arc<Lead>>, takes: u64) -> Announced {
        let (facts, is_unknown, is_sure, beside) = (Some(facts), true, false, None);
        Announced { listed, facts, is_unknown, is_sure, beside, lead, takes }
    }

    /// What the ledger knows of, and either doubts or is sure of, or neither.
    fn known(
        listed: Listed,
        facts: Facts,
        (is_doubted, is_durable): (bool, bool),
        beside: Option<(Identity, Name)>,
        takes: u64,
    ) -> Announced {
        // That it is one with its other names at the sink is seen to as well.
        let identity = facts.identity;
        let beside = beside.filter(|_| facts.has_others);
        let beside = beside.map(|(home, name)| Beside { identity, home, name });
        let is_sure = is_durable && facts.kind != Kind::Dir && !facts.has_others;
        let facts = (!is_doubted).then_some(facts);
        Announced { listed, facts, is_unknown: false, is_sure, beside, lead: None, takes }
    }
}

impl Session {
    /// Of the entries of a part those that are to be sent; what the ledger can tell of the others
    /// becomes work at once.
    pub(super) fn sort_out(
        &mut self,
        id: u64,
        dir: DirKey,
        entries: Vec<Found>,
        shared: &mut Shared,
    ) -> (Vec<Announced>, Vec<Other>) {
        let Some(listing) = self.listings.get_mut(&id) else { return Default::default() };
        let mut others = Vec::new();
        let is_partial = listing.is_partial;
        let is_patrol = is_partial && listing.patrol.is_some();
        listing.names +=
            entries.iter().filter(|found| found.facts.kind != Kind::Dir).count() as u32;
        let mut announced = Vec::with_capacity(if is_partial { 0 } else { entries.len() });
        let mut checks: Vec<(Wanted, Option<Hash>)> = Vec::new();
        for Found { listed, facts, standing, beside, has_writer, takes } in entries {
            if has_writer {
                self.meet_writer(dir, &listed.name);
            }
            if is_patrol && self.is_passed_over(dir, &listed, standing) {
                continue;
            }
            let (facts, standing) = self.as_linked(facts, standing);
            if self.is_to_be_linked(&facts, standing) {
                others.push((listed.name, facts.identity));
                continue;
            }
            let lead = if standing == Standing::Durable { None } else { self.leads.lead(&facts) };
            let is_doubted = match standing {
                Standing::Unknown | Standing::Apart => {
                    self.trust(dir, &listed.name, None, shared);
                    announced.push(Announced::unknown(listed, facts, lead, takes));
                    continue;
                }
                Standing::Undressed if is_patrol => {
                    let key = shared.map.child(dir, &listed.name);
                    key.into_iter().for_each(|key| self.owe_meta(key));
                    false
                }
                Standing::Durable | Standing::Undressed => {
                    let dressed = standing == Standing::Durable;
                    self.trust(dir, &listed.name, Some((&facts, dressed)), shared);
                    false
                }
                // What is on its way is looked at once more at its end.
                Standing::Check { .. } if self.is_transferred(dir, &listed.name) => true,
                Standing::Check { hash, is_retouched } => {
                    if self.marks.get(dir, &listed.name).is_some() {
                        self.doubt_name(dir, &listed.name, Hint::CONTENT, shared);
                    } else {
                        let name = listed.name.clone();
                        let wanted = Wanted { name, bytes: facts.size, lead, takes: None };
                        checks.push((wanted, hash));
                        if is_retouched && facts.size > LIVE_BYTES_MAX {
                            // Reading it takes its time: the attributes do not wait for that.
                            self.doubt_name(dir, &listed.name, Hint::META, shared);
                        }
                    }
                    true
                }
                Standing::Changed => {
                    self.doubt_name(dir, &listed.name, Hint::CONTENT, shared);
                    true
                }
            };
            if is_partial {
                self.count_spared(id, &listed);
            } else {
                let judged = (is_doubted, standing == Standing::Durable);
                announced.push(Announced::known(listed, facts, judged, beside, takes));
            }
        }
        let (checks, hashes) = checks.into_iter().unzip();
        self.check(dir, checks, hashes);
        (announced, others)
    }

    /// Where the sink can't link names, each is an object of its own.
    fn as_linked(&self, facts: Facts, standing: Standing) -> (Facts, Standing) {
        let has_others = facts.has_others && self.can_link();
        let standing = match standing {
            Standing::Apart if !has_others => Standing::Unknown,
            other => other,
        };
        (Facts { has_others, ..facts }, standing)
    }

    /// Whether a name is to become a link to another of the same object, now or once that is there.
    fn is_to_be_linked(&self, facts: &Facts, standing: Standing) -> bool {
        let is_led = facts.has_others && self.leads.is_led(&facts.identity);
        standing == Standing::Apart || (is_led && standing != Standing::Durable)
    }

    /// Whether a patrol leaves an entry alone: the sink has it, or a look at it is to come anyway.
    fn is_passed_over(&self, dir: DirKey, listed: &Listed, standing: Standing) -> bool {
        let waits = |mark: &Mark| mark.state == State::Waiting && mark.hint.content;
        standing == Standing::Durable || self.marks.get(dir, &listed.name).is_some_and(waits)
    }

    fn doubt_name(&mut self, dir: DirKey, name: &Name, hint: Hint, shared: &Shared) {
        self.mark(dir, name, hint, shared.now, Duration::ZERO);
    }

    /// Names that the ledger has and the source has no more, as far as the listing tells: each is
    /// looked at by itself.
    pub(super) fn look_for(&mut self, dir: DirKey, missing: &[Name], shared: &Shared) {
        for name in missing {
            if !self.is_protected(dir, name, shared) {
                self.doubt_name(dir, name, Hint::MISSING, shared);
            }
        }
    }

    /// Notes whether the sink durably has a directory, and (`true`) its attributes as well.
    fn trust(&mut self, dir: DirKey, name: &Name, known: Option<(&Facts, bool)>, shared: &Shared) {
        let Some(key) = shared.map.child(dir, name) else { return };
        let identity = shared.map.get(key).and_then(crate::flow::map::Dir::identity);
        let above = dir == DirKey::ROOT || self.dirs.get(&dir).is_some_and(|state| state.trusted);
        let known = known.filter(|(facts, _)| above && identity == Some(facts.identity));
        let state = self.dirs.entry(key).or_default();
        let known = known.filter(|_| !state.doubted);
        state.trusted = known.is_some();
        state.dressed = known.filter(|(_, dressed)| *dressed).map(|(facts, _)| facts.ctime);
        if state.trusted {
            (state.placed, state.confirmed) = (true, true);
        }
    }

    /// The sink had to make a directory. If it should have been there, all that was in it is in
    /// doubt.
    pub(super) fn remade(&mut self, dir: DirKey, path: &RelPath) {
        self.deeds.push(Entered { stamp: Stamp(0), deed: Deed::Lost(path.clone()) });
        self.doubt_dir(dir);
        self.dirs.entry(dir).or_default().made = true;
        if self.dirs.get(&dir).is_some_and(|state| state.spared) {
            self.unclear(dir);
        }
    }

    /// The sink had to make a directory that a listing of the one above told of.
    pub(super) fn made_anew(&mut self, dir: DirKey, name: &Name, path: &RelPath, shared: &Shared) {
        if let Some(key) = shared.map.child(dir, name) {
            self.remade(key, &path.join(name));
        }
    }

    /// The sink has found that a directory there may not be as the ledger has it.
    pub(super) fn doubt_dir(&mut self, dir: DirKey) {
        let state = self.dirs.entry(dir).or_default();
        (state.doubted, state.trusted, state.dressed) = (true, false, None);
    }

    /// Whether of this directory only what is in doubt is to be sent.
    pub(super) fn is_spared(&self, dir: DirKey) -> bool {
        dir != DirKey::ROOT
            && !self.is_sweeping()
            && self.dirs.get(&dir).is_some_and(|state| state.trusted)
    }

    /// An entry that is not sent counts as known, and as done.
    fn count_spared(&mut self, id: u64, listed: &Listed) {
        if listed.entry.is_dir() {
            return;
        }
        let bytes = listed.entry.content_bytes();
        let Some(listing) = self.listings.get_mut(&id) else { return };
        listing.census.add_file(bytes);
        if listing.counted {
            self.tally.files_known += 1;
            self.tally.bytes_known += bytes;
            self.tally.files_done += 1;
            self.tally.bytes_done += bytes;
        }
    }

    /// Has the content of files read again, at low priority, against what both sides once had.
    pub(super) fn check(&mut self, dir: DirKey, names: Vec<Wanted>, hashes: Vec<Option<Hash>>) {
        if names.is_empty() {
            return;
        }
        for _ in &names {
            self.busy(dir);
            self.dirs.entry(dir).or_default().wanted += 1;
        }
        self.wants_count += names.len();
        let (bring, displaced) = (Bring::Proof(hashes), self.displaced(dir));
        self.wants.push_back(Want { dir, names, bring, counted: false, displaced });
    }

    /// Hands what this report told to the ledger.
    pub(super) fn tell_ledger(&mut self, durable_through: u64, barrier: u64, shared: &mut Shared) {
        let is_news = durable_through > std::mem::replace(&mut self.durable, durable_through);
        if self.deeds.is_empty() && !is_news {
            return;
        }
        let deeds = std::mem::take(&mut self.deeds);
        let (epoch, report) = (self.terms.epoch, self.reports);
        let entries = Entries { epoch, report, deeds, durable_through, barrier };
        self.entering += 1;
        shared.actions.push_back(Action::Enter { sink: self.id, entries });
    }
}

/// What the ledger must know before an operation leaves: durable is off from then on (H1).
pub(super) fn offer_of(op: &Op, facts: Option<&Facts>, is_own: bool) -> Offer {
    let kin = facts.and_then(Kinship::of);
    match op {
        Op::Link { path, .. } => match kin {
            Some(kin) => Offer::Link { path: path.clone(), kin },
            None => Offer::Name(path.clone()),
        },
        Op::Put { path, .. }
        | Op::Commit { path, .. }
        | Op::Symlink { path, .. }
        | Op::Special { path, .. }
            if let Some(kin) = kin =>
        {
            Offer::Content { path: path.clone(), kin }
        }
        Op::Put { path, .. }
        | Op::Commit { path, .. }
        | Op::Symlink { path, .. }
        | Op::Special { path, .. }
        | Op::Remove { path, .. } => Offer::Name(path.clone()),
        Op::MakeDir { path } => Offer::Dir(path.clone()),
        Op::SetMeta { path, .. } if is_own => Offer::Attributes(path.clone()),
        Op::SetMeta { path, .. } => Offer::Retouched(path.clone()),
        Op::Rename { from, to, .. } => Offer::Moved { from: from.clone(), to: to.clone() },
        Op::Exchange { a, b } => Offer::Exchanged { a: a.clone(), b: b.clone() },
    }
}

/// What the ledger enters once an operation is answered `applied`; `facts` is what its look saw.
pub(super) fn deed_of(
    op: &Op,
    facts: Option<Facts>,
    is_own: bool,
    generation: Option<Moment>,
) -> Option<Deed> {
    let stands =
        |path: &RelPath, hash| facts.map(|facts| Deed::Stands { path: path.clone(), facts, hash });
    match op {
        Op::Put { path, hash, .. } | Op::Commit { path, hash, .. } => stands(path, Some(*hash)),
        Op::Symlink { path, .. } | Op::Special { path, .. } => stands(path, None),
        Op::SetMeta { path, .. } if is_own => {
            facts.map(|facts| Deed::Dressed { dir: path.clone(), facts })
        }
        Op::SetMeta { path, presumes, .. } => match presumes {
            Version::File { hash: Some(hash), .. } => facts.map(|facts| {
                // This was the second look that a young object gets (H19).
                let facts = Facts { is_young: false, ..facts };
                Deed::Stands { path: path.clone(), facts, hash: Some(*hash) }
            }),
            Version::File { hash: None, .. } => stands(path, None),
            Version::Dir | Version::Symlink { .. } | Version::Special { .. } => stands(path, None),
        },
        Op::MakeDir { path } => {
            let facts = Facts::of_any_dir();
            Some(Deed::Stands { path: path.clone(), facts, hash: None })
        }
        Op::Remove { path, .. } => Some(Deed::Gone(path.clone())),
        Op::Link { path, from, .. } => {
            let (facts, generation) = facts.zip(generation)?;
            Some(Deed::Linked { path: path.clone(), from: from.clone(), facts, generation })
        }
        Op::Rename { from, to, presumes } => {
            let hash = match presumes {
                Version::File { hash, .. } => *hash,
                Version::Dir | Version::Symlink { .. } | Version::Special { .. } => None,
            };
            let seen = facts.zip(hash);
            let is_certain = seen.is_some() || *presumes == Version::Dir;
            is_certain.then(|| Deed::Moved { from: from.clone(), to: to.clone(), seen })
        }
        // Which of the two the sink has where is told when both are listed again.
        Op::Exchange { .. } => None,
    }
}
