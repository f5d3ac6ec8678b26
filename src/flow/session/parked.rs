//! What waits for the kernel queue to be read empty, or for the ledger.
//!
//! "Gone" and "elsewhere than the map says" are believed only then (law 2, H14). A removal or a
//! rename leaves only for a name that was once offered (law 9).

use std::time::Duration;

use crate::flow::map::NotMovable;
use crate::flow::marks::Hint;
use crate::flow::session::flights::{Draft, Errand};
use crate::flow::session::renames::Leaving;
use crate::flow::session::selected::{self, Fate};
use crate::flow::session::{Action, Session, Shared};
use crate::model::entry::Identity;
use crate::model::ledger::KinQuery;
use crate::model::op::Op;
use crate::model::path::{Name, RelPath};
use crate::model::session::DeletePolicy;
use crate::model::stamp::{DirKey, Lane, Stamp};

/// How long a name that is gone waits while removals are halted, unless a person ends that before,
/// or while it is not known whether they are too many.
pub(super) const HALTED_DELAY: Duration = Duration::from_secs(10);

/// How long a name that is gone waits while a message with it is under way.
const UNSENT_DELAY: Duration = Duration::from_millis(5);

/// Something that a look found and that is not believed yet.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) ticket: u64,
    pub(super) what: ParkedWhat,
}

/// What the look found.
#[derive(Debug)]
pub(super) enum ParkedWhat {
    /// Names that are gone. Holds the stamp, and keeps the directory busy.
    Gone { dir: DirKey, names: Vec<Name>, stamp: Stamp },
    /// Names below one that is to be cleared, and which of them are gone. Holds the stamp.
    Removal { removal: u64, paths: Vec<(RelPath, bool)>, stamp: Stamp },
    /// The directory is not at its place.
    Elsewhere { dir: DirKey, names: Vec<(Name, Hint)> },
    /// A name holds another directory than the map says, or (no identity) none where one is known.
    Conflict { dir: DirKey, name: Name, identity: Option<Identity> },
}

/// A question to the ledger.
#[derive(Debug)]
pub(super) enum Query {
    /// Names that are gone at the source. Holds the stamp, and keeps the directory busy.
    Gone { dir: DirKey, names: Vec<Name>, stamp: Stamp },
    /// Names that stand in a directory which is to go.
    Removal { removal: u64, dir: RelPath, names: Vec<Name> },
    /// A name that the rename at the head of the queue takes away.
    Rename(Leaving),
    /// Names of one object; whether others wait for the answer.
    Kin { about: KinQuery, releases: bool },
}

impl Session {
    /// The kernel queue was read empty: what was parked before is now believed.
    pub fn drained(&mut self, ticket: u64, shared: &mut Shared) {
        if self.parked.is_empty() {
            return;
        }
        let (due, rest) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition::<Vec<_>, _>(|parked| parked.ticket <= ticket);
        self.parked = rest;
        for Parked { what, .. } in due {
            match what {
                ParkedWhat::Gone { dir, names, stamp } => {
                    self.gone_believed(dir, names, stamp, shared);
                }
                ParkedWhat::Removal { removal, paths, stamp } => {
                    self.removal_believed(removal, stamp, paths, shared);
                    self.stamps.release(stamp);
                }
                ParkedWhat::Elsewhere { dir, names } => {
                    self.ask_place(dir, shared);
                    let later = shared.now + Duration::from_millis(5);
                    for (name, hint) in names {
                        self.marks.put_off(dir, &name, hint, later, false);
                    }
                }
                ParkedWhat::Conflict { dir, name, identity } => {
                    let again = self.marks.get(dir, &name).is_none_or(|mark| mark.again.is_some());
                    if !again && !self.is_name_fenced(dir, &name, shared) {
                        self.settle_conflict(dir, &name, identity, shared);
                    }
                    self.marks.put_off(dir, &name, Hint::META, shared.now, false);
                }
            }
        }
    }

    fn gone_believed(&mut self, dir: DirKey, names: Vec<Name>, stamp: Stamp, shared: &mut Shared) {
        let mut sure = Vec::new();
        for name in names {
            let Some(mark) = self.marks.get(dir, &name) else { continue };
            let is_adrift = shared.map.path(dir).is_none();
            if mark.again.is_some() || is_adrift || self.is_name_fenced(dir, &name, shared) {
                self.marks.put_off(dir, &name, Hint::CONTENT, shared.now, false);
                continue;
            }
            if self.is_announced(dir, &name) {
                // What speaks of it is on its way to the ledger, or read already and not yet sent.
                self.marks.put_off(dir, &name, Hint::CONTENT, shared.now + UNSENT_DELAY, false);
                continue;
            }
            if let Some(key) = shared.map.child(dir, &name) {
                shared.remove_dir(key);
            }
            if self.is_protected(dir, &name, shared) {
                let path = shared.map.path(dir).unwrap_or_default().join(&name);
                self.withheld(dir, &name, &path, shared);
                continue;
            }
            if shared.halts.is_any() {
                self.held_back = true;
                self.marks.withhold(dir, &name, shared.now + HALTED_DELAY);
                continue;
            }
            sure.push(name);
        }
        let path = self.sink_path(dir, shared);
        match path {
            Some(path) if !sure.is_empty() && self.terms.delete != DeletePolicy::Never => {
                let query = self.ask(Query::Gone { dir, names: sure.clone(), stamp });
                let sink = self.id;
                shared.actions.push_back(Action::AskOffered {
                    sink,
                    query,
                    dir: path,
                    names: sure,
                });
            }
            _ => {
                for name in sure {
                    if let Some(path) = self.sink_path(dir, shared) {
                        // Nothing is removed there: from now on it is the sink's alone.
                        let path = path.join(&name);
                        self.foreign.add(path.clone());
                        self.part(path, stamp, shared);
                    }
                    self.marks.settle(dir, &name, shared.now);
                }
                self.stamps.release(stamp);
                self.idle(dir);
            }
        }
    }

    pub(super) fn ask(&mut self, query: Query) -> u64 {
        let id = self.next_query;
        self.next_query += 1;
        self.queries.insert(id, query);
        id
    }

    /// The map follows what was seen.
    fn settle_conflict(
        &mut self,
        dir: DirKey,
        name: &Name,
        identity: Option<Identity>,
        shared: &mut Shared,
    ) {
        if shared.map.get(dir).is_none() {
            return;
        }
        let there = shared.map.child(dir, name);
        let known = identity.and_then(|identity| shared.map.by_identity(identity));
        match known {
            Some(key) if there == Some(key) => {}
            Some(key) => {
                let from = shared.map.get(key).and_then(|known| known.place().cloned());
                match shared.map.move_to(key, dir, name) {
                    Ok(displaced) => {
                        if let Some(lost) = displaced {
                            shared.remove_dir(lost);
                        }
                        shared.arm_again(key);
                        selected::found(key, from, shared);
                    }
                    // The map is wrong about more than this: what is below is met anew.
                    Err(NotMovable) => shared.remove_dir(key),
                }
            }
            None => {
                if let Some(lost) = there {
                    let device = |key| Some(shared.map.get(key)?.identity()?.device);
                    if identity.is_some_and(|new| device(dir) != Some(new.device)) {
                        let path = shared.map.path(lost).unwrap_or_default();
                        shared.halt_for_mount(&path);
                    }
                    shared.remove_dir(lost);
                }
            }
        }
    }

    /// The ledger has answered which names were offered.
    pub fn offered(&mut self, query: u64, offered: &[bool], shared: &mut Shared) {
        match self.queries.remove(&query) {
            None | Some(Query::Kin { .. }) => {}
            Some(Query::Removal { removal, dir, names }) => {
                self.removal_offered(removal, &dir, &names, offered, shared);
            }
            Some(Query::Rename(leaving)) => {
                self.rename_offered(leaving, offered == [true], shared);
            }
            Some(Query::Gone { dir, names, stamp }) => {
                self.gone_offered(dir, names, offered, stamp, shared);
                self.stamps.release(stamp);
                self.idle(dir);
            }
        }
    }

    fn gone_offered(
        &mut self,
        dir: DirKey,
        names: Vec<Name>,
        offered: &[bool],
        stamp: Stamp,
        shared: &mut Shared,
    ) {
        let path = self.sink_path(dir, shared);
        let mut leaving = Vec::new();
        for (at, name) in names.into_iter().enumerate() {
            let Some(mark) = self.marks.get(dir, &name) else { continue };
            let extra = mark.hint.extra;
            let fenced = mark.again.is_some() || self.is_name_fenced(dir, &name, shared);
            let path = path.as_ref().filter(|_| !fenced).map(|path| path.join(&name));
            let Some(path) = path else {
                // Renamed since, or at no place for a moment: it is asked again where it is then.
                self.marks.put_off(dir, &name, Hint::CONTENT, shared.now, false);
                continue;
            };
            let was = offered.get(at).copied().unwrap_or_default();
            // What was withheld may stand there though no listing told of it.
            let may_stand = was || extra || shared.selection.bounds().is_any();
            match self.fate(&path, was, false, shared) {
                Fate::Goes(spared) if may_stand => {
                    leaving.push((name, path, spared));
                    continue;
                }
                Fate::Foreign if extra => self.foreign.add(path.clone()),
                Fate::Goes(_) | Fate::Foreign | Fate::Protected => {}
            }
            // What could not be carried is no problem any more.
            self.problems.clear(&path);
            self.marks.settle(dir, &name, shared.now);
        }
        let (excused, counted) = leaving
            .iter()
            .map(|(name, path, _)| (self.is_excused(dir, name, shared.now), path.clone()))
            .partition::<Vec<_>, _>(|(is_excused, _)| *is_excused);
        self.allowance.excuse(excused.iter().map(|(_, path)| path), shared.now);
        let counted: Vec<RelPath> = counted.into_iter().map(|(_, path)| path).collect();
        if !self.may_remove(&counted, shared) {
            let later = shared.now + HALTED_DELAY;
            for (name, ..) in leaving {
                self.marks.withhold(dir, &name, later);
            }
            return;
        }
        let drafts = leaving.into_iter().map(|(name, path, spared)| {
            self.stamps.hold(stamp);
            Draft::new(Op::Remove { path, spared }, stamp, (dir, Some(name)), Errand::Mark)
        });
        let drafts = drafts.collect();
        self.post_ops(Lane::Live, drafts, Vec::new(), shared);
    }
}
