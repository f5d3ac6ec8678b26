//! Renames as fences: an optimisation that spares sending content again (H6).
//!
//! - Renames leave in the order of events, one at a time. The head of the queue leaves when
//!   nothing below either name is under way; nothing below either leaves before its answer.
//! - A file's rename names the content by its hash, so that the sink proves what it moves.
//! - A rename takes a name away at the sink, so that it leaves only for what was once offered
//!   (law 9): a name may have been renamed before it was first listed, and what the sink has there
//!   is its own then, though it is the same content.
//! - Whatever goes wrong, and one rename too many, turns renames into marks and listings.

use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::flights::{Draft, Errand};
use crate::flow::session::looks::{Pending, Purpose};
use crate::flow::session::parked::Query;
use crate::flow::session::{Action, Session, Shared};
use crate::model::entry::Entry;
use crate::model::ledger::Facts;
use crate::model::limits::RENAMES_MAX;
use crate::model::look::{Seen, Sight, Task, Want};
use crate::model::op::{Answer, Op, Version};
use crate::model::path::{Name, RelPath};
use crate::model::session::DeletePolicy;
use crate::model::stamp::{DirKey, Lane, Stamp};

/// Smaller files are sent again rather than renamed: it costs less.
const RENAME_BYTES_MIN: u64 = 4096;

/// A rename, or an exchange, that the sink does not know of yet.
#[derive(Debug)]
pub(super) struct Rename {
    pub(super) from: (DirKey, Name),
    pub(super) to: (DirKey, Name),
    /// The directory that moved to `to`; nothing for a file.
    pub(super) node: Option<DirKey>,
    /// The directory that moved to `from` by an exchange.
    pub(super) other: Option<DirKey>,
    exchange: bool,
    state: RenameState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RenameState {
    Waiting,
    Hashing,
    Asking,
    Sent,
}

/// The rename at the head of the queue, while the ledger is asked for its names. Holds the stamp.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) stamp: Stamp,
    op: Op,
    /// Names that it takes away at the sink, and that are still to be asked for.
    taken: Vec<(RelPath, Name)>,
    /// What the look at a file saw.
    facts: Option<Facts>,
}

impl Session {
    /// A directory was renamed; the map has followed. Unless the rules say of all below it what
    /// they said before, and the sink can hold both names, it does not learn it as a rename.
    pub(super) fn renamed(
        &mut self,
        key: DirKey,
        (from, to): (&(DirKey, Name), &(DirKey, Name)),
        is_alike: bool,
        shared: &mut Shared,
    ) {
        self.owe_meta(from.0);
        self.owe_meta(to.0);
        let is_lost = [from, to].map(|place| self.is_unnameable_at(place, shared));
        let is_alike = is_alike && is_lost == [false; 2];
        let placed = is_lost[0] || self.dirs.get(&key).is_some_and(|state| state.placed);
        if !self.active || !placed || !is_alike || self.terms.delete == DeletePolicy::Never {
            self.mark_both(from, to, shared);
            if placed {
                self.displace(key, shared);
            } else if self.dirs.get(&key).is_none_or(|state| state.clear < self.doubt) {
                self.unclear(key);
            }
            return;
        }
        if let Some(last) = self.renames.back_mut()
            && last.node == Some(key)
            && !last.exchange
            && last.state == RenameState::Waiting
            && last.to == *from
        {
            last.to = to.clone();
            if last.from == last.to {
                self.renames.pop_back();
                self.refresh_place(key);
            }
            // What the sink has at the name between is not what the source had there.
            return self.mark_both(from, to, shared);
        }
        self.hold_rename(from, to, Some(key), None, false, shared);
    }

    /// Two names were exchanged, `key` being at `b` now; the map has followed.
    pub(super) fn exchanged(
        &mut self,
        (key, other): (DirKey, Option<DirKey>),
        (a, b): (&(DirKey, Name), &(DirKey, Name)),
        is_alike: bool,
        shared: &mut Shared,
    ) {
        self.owe_meta(a.0);
        self.owe_meta(b.0);
        let placed = |at: DirKey| self.dirs.get(&at).is_some_and(|state| state.placed);
        let is_lost = [a, b].into_iter().any(|place| self.is_unnameable_at(place, shared));
        let known = placed(key) && other.is_none_or(placed) && is_alike && !is_lost;
        if !self.active || !known || self.terms.delete == DeletePolicy::Never {
            self.mark_both(a, b, shared);
            for each in [Some(key), other].into_iter().flatten() {
                self.displace(each, shared);
            }
            return;
        }
        // The first pair of the exchange was taken for a rename: it is part of this one.
        if let Some(last) = self.renames.back()
            && last.state == RenameState::Waiting
            && !last.exchange
            && last.from == *b
            && last.to == *a
            && last.node == other
            && let Some(Rename { node, .. }) = self.renames.pop_back()
            && let Some(node) = node
        {
            self.refresh_place(node);
        }
        self.hold_rename(a, b, Some(key), other, true, shared);
    }

    /// A name that is no directory was renamed.
    pub fn file_renamed(
        &mut self,
        from: &(DirKey, Name),
        to: &(DirKey, Name),
        shared: &mut Shared,
    ) {
        self.owe_meta(from.0);
        self.owe_meta(to.0);
        let fit = |session: &Session, (dir, name): &(DirKey, Name)| {
            session.marks.get(*dir, name).is_none()
                && !session.is_unnameable_at(&(*dir, name.clone()), shared)
                && shared.map.child(*dir, name).is_none()
                && session.dirs.get(dir).is_some_and(|state| state.clear > 0 && state.confirmed)
        };
        let settled = self.active
            && self.terms.delete != DeletePolicy::Never
            && fit(self, from)
            && fit(self, to)
            && !self.is_flying(from.0, &from.1);
        if settled {
            self.hold_rename(from, to, None, None, false, shared);
        } else {
            self.mark_both(to, from, shared);
        }
    }

    fn hold_rename(
        &mut self,
        from: &(DirKey, Name),
        to: &(DirKey, Name),
        node: Option<DirKey>,
        other: Option<DirKey>,
        exchange: bool,
        shared: &mut Shared,
    ) {
        if let Some(key) = node {
            self.sink_place.entry(key).or_insert_with(|| from.clone());
        }
        if let Some(key) = other {
            self.sink_place.entry(key).or_insert_with(|| to.clone());
        }
        let (from, to) = (from.clone(), to.clone());
        let state = RenameState::Waiting;
        self.renames.push_back(Rename { from, to, node, other, exchange, state });
        if self.renames.len() > RENAMES_MAX {
            self.renames_to_marks(true, shared);
        }
    }

    fn mark_both(&mut self, first: &(DirKey, Name), second: &(DirKey, Name), shared: &Shared) {
        for (dir, name) in [first, second] {
            self.mark(*dir, name, Hint::CONTENT, shared.now, Duration::ZERO);
        }
    }

    /// Gives renames up: their names are looked at, their directories listed again. One that is
    /// under way may be kept, for nothing below it may leave before its answer.
    fn renames_to_marks(&mut self, keep_sent: bool, shared: &mut Shared) {
        let all = std::mem::take(&mut self.renames);
        self.sink_place.clear();
        for rename in all {
            if keep_sent && rename.state != RenameState::Waiting {
                if let Some(key) = rename.node {
                    self.sink_place.insert(key, rename.from.clone());
                }
                if let Some(key) = rename.other {
                    self.sink_place.insert(key, rename.to.clone());
                }
                self.renames.push_back(rename);
                continue;
            }
            self.mark_both(&rename.to, &rename.from, shared);
            for key in rename.node.into_iter().chain(rename.other) {
                if shared.map.get(key).is_some() {
                    self.displace(key, shared);
                }
            }
        }
    }

    /// Whether nothing may leave a directory now: it is at or below a name that a rename fences, or
    /// that the sink may still have another directory at.
    pub(super) fn is_fenced(&self, dir: DirKey, shared: &Shared) -> bool {
        let fenced = |at: DirKey| self.renames.iter().any(|rename| fences(rename, at, shared));
        let taken = |at: DirKey| {
            let place = shared.map.get(at).and_then(|dir| dir.place());
            place.is_some_and(|place| shared.adrift.iter().any(|adrift| adrift.slot == *place))
        };
        (!self.renames.is_empty() && shared.map.upwards(dir).any(fenced))
            || (!shared.adrift.is_empty() && shared.map.upwards(dir).any(taken))
    }

    /// Whether a rename that is not yet answered changes what a directory holds, and so its times.
    pub(super) fn holds_fence(&self, dir: DirKey) -> bool {
        self.renames.iter().any(|rename| rename.from.0 == dir || rename.to.0 == dir)
    }

    /// Whether a name may not be spoken of now.
    pub(super) fn is_name_fenced(&self, dir: DirKey, name: &Name, shared: &Shared) -> bool {
        let is = |place: &(DirKey, Name)| place.0 == dir && place.1 == *name;
        self.renames.iter().any(|rename| is(&rename.from) || is(&rename.to))
            || shared.adrift.iter().any(|adrift| is(&adrift.slot))
            || self.is_fenced(dir, shared)
    }

    /// Sends the head of the queue if nothing below either of its names is under way.
    pub(super) fn pump_renames(&mut self, shared: &mut Shared) {
        let Some(head) = self.renames.front() else { return };
        if head.state != RenameState::Waiting || !shared.adrift.is_empty() {
            // With a directory at no place, this may be the first half of an exchange.
            return;
        }
        let within = |dir: DirKey| shared.map.upwards(dir).any(|at| fences(head, at, shared));
        let (from, to) = (head.from.clone(), head.to.clone());
        let flying = self.flies_within(within)
            || self.is_flying(from.0, &from.1)
            || self.is_flying(to.0, &to.1);
        if flying || !self.lane_room(Lane::Live, 0, shared) {
            return;
        }
        let is_file = head.node.is_none();
        let stamp = self.stamp();
        if is_file {
            self.hash_for_rename(&to, stamp, shared);
        } else {
            self.prepare_rename(stamp, Version::Dir, None, shared);
        }
        self.stamps.release(stamp);
    }

    fn hash_for_rename(&mut self, to: &(DirKey, Name), stamp: Stamp, shared: &mut Shared) {
        let Some(address) = shared.map.address(to.0) else {
            return self.give_up_head(shared);
        };
        if let Some(head) = self.renames.front_mut() {
            head.state = RenameState::Hashing;
        }
        self.stamps.hold(stamp);
        self.busy(to.0);
        let path = address.path.clone();
        let task = Task::Names(vec![(to.1.clone(), Want::Hash)]);
        let id = shared.look(Some(self.id), true, address, task);
        let purpose = Purpose::RenameHash { stamp };
        let began = shared.now;
        self.pending.insert(id, Pending { lane: Lane::Live, dir: to.0, path, purpose, began });
    }

    pub(super) fn rename_hashed(&mut self, stamp: Stamp, seen: Seen, shared: &mut Shared) {
        if self.renames.front().is_none_or(|head| head.state != RenameState::Hashing) {
            return;
        }
        let sight = match seen {
            Seen::Names { sights, .. } => sights.into_iter().next().map(|(_, sight)| sight),
            _ => None,
        };
        if let Some(Sight::There { sighting, read: Some(read) }) = sight
            && let Entry::File { size, meta } = sighting.entry
            && size >= RENAME_BYTES_MIN
            && size == read.bytes
        {
            let presumes = Version::File { size, mtime: meta.mtime, hash: Some(read.hash) };
            let home = self.renames.front().and_then(|head| shared.map.get(head.to.0)?.identity());
            self.prepare_rename(stamp, presumes, Some(Facts::of(&sighting, home)), shared);
        } else {
            self.give_up_head(shared);
        }
    }

    fn give_up_head(&mut self, shared: &mut Shared) {
        let Some(head) = self.renames.pop_front() else { return };
        if let Some(key) = head.node {
            self.refresh_place(key);
        }
        self.mark_both(&head.to, &head.from, shared);
    }

    /// The head of the queue becomes an operation, which leaves once the ledger was asked.
    fn prepare_rename(
        &mut self,
        stamp: Stamp,
        presumes: Version,
        facts: Option<Facts>,
        shared: &mut Shared,
    ) {
        let Some(head) = self.renames.front() else { return };
        let paths = self.sink_path(head.from.0, shared).zip(self.sink_path(head.to.0, shared));
        let Some((above_from, above_to)) = paths else {
            return self.renames_to_marks(false, shared);
        };
        let (from, to) = (above_from.join(&head.from.1), above_to.join(&head.to.1));
        let mut taken = vec![(above_from, head.from.1.clone())];
        let op = if head.exchange {
            taken.push((above_to, head.to.1.clone()));
            Op::Exchange { a: from, b: to }
        } else {
            Op::Rename { from, to, presumes }
        };
        if let Some(head) = self.renames.front_mut() {
            head.state = RenameState::Asking;
        }
        self.stamps.hold(stamp);
        self.ask_for_rename(Leaving { stamp, op, taken, facts }, shared);
    }

    /// Asks the ledger for the next name that the head of the queue takes away; sends it when there
    /// is none left.
    fn ask_for_rename(&mut self, mut leaving: Leaving, shared: &mut Shared) {
        let Some((dir, name)) = leaving.taken.pop() else {
            return self.send_rename(leaving, shared);
        };
        let (sink, query) = (self.id, self.ask(Query::Rename(leaving)));
        shared.actions.push_back(Action::AskOffered { sink, query, dir, names: vec![name] });
    }

    pub(super) fn rename_offered(
        &mut self,
        leaving: Leaving,
        was_offered: bool,
        shared: &mut Shared,
    ) {
        if was_offered {
            return self.ask_for_rename(leaving, shared);
        }
        self.stamps.release(leaving.stamp);
        if self.renames.front().is_some_and(|head| head.node.is_none()) {
            self.give_up_head(shared);
        } else {
            // What waits behind it may count on where it leaves a directory.
            self.renames_to_marks(false, shared);
        }
    }

    fn send_rename(&mut self, leaving: Leaving, shared: &mut Shared) {
        let Leaving { stamp, op, facts, .. } = leaving;
        let Some(head) = self.renames.front_mut() else { return };
        head.state = RenameState::Sent;
        let (dir, name) = head.to.clone();
        let (name, errand) = (Some(name), Errand::Rename);
        let draft = Draft { facts, ..Draft::new(op, stamp, (dir, name), errand) };
        self.post_ops(Lane::Live, vec![draft], Vec::new(), shared);
    }

    pub(super) fn rename_answered(&mut self, answer: &Answer, shared: &mut Shared) {
        if self.renames.front().is_none_or(|head| head.state != RenameState::Sent) {
            return;
        }
        if *answer != Answer::Applied {
            return self.renames_to_marks(false, shared);
        }
        let Some(head) = self.renames.pop_front() else { return };
        for key in head.node.into_iter().chain(head.other) {
            self.refresh_place(key);
            self.owe_meta(key);
        }
        for (dir, name) in [&head.from, &head.to] {
            self.owe_meta(*dir);
            self.mark(*dir, name, Hint::META, shared.now, Duration::ZERO);
        }
    }

    /// The path that the sink knows a directory by: renames not yet answered are not in it.
    pub(super) fn sink_path(&self, dir: DirKey, shared: &Shared) -> Option<RelPath> {
        if self.sink_place.is_empty() {
            return shared.map.path(dir);
        }
        let mut names = Vec::new();
        let mut at = dir;
        while at != DirKey::ROOT {
            let place = match self.sink_place.get(&at) {
                Some(place) => place.clone(),
                None => shared.map.get(at)?.place()?.clone(),
            };
            at = place.0;
            names.push(place.1);
            if names.len() > shared.map.len() {
                return None;
            }
        }
        Some(RelPath::from_names(names.iter().rev()))
    }

    /// Where the sink has a directory once the renames before the next one of it are answered.
    fn refresh_place(&mut self, key: DirKey) {
        let next = self.renames.iter().find_map(|r| {
            if r.node == Some(key) {
                Some(r.from.clone())
            } else if r.other == Some(key) {
                Some(r.to.clone())
            } else {
                None
            }
        });
        match next {
            Some(place) => self.sink_place.insert(key, place),
            None => self.sink_place.remove(&key),
        };
    }
}

fn fences(rename: &Rename, at: DirKey, shared: &Shared) -> bool {
    let stands = |place: &(DirKey, Name)| shared.map.child(place.0, &place.1) == Some(at);
    rename.node == Some(at)
        || rename.other == Some(at)
        || stands(&rename.from)
        || stands(&rename.to)
}
