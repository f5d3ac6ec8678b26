//! Renames as their events tell them: into the selection, out of it, within, and exchanges.

use std::time::Duration;

use crate::flow::director::Director;
use crate::flow::halves::Half;
use crate::flow::map::NotMovable;
use crate::flow::session::{Adrift, Change};
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// A directory that another name was renamed onto, and that may follow by an exchange.
pub(super) struct Displaced {
    key: DirKey,
    slot: (DirKey, Name),
    by: (DirKey, Name),
}

impl Director {
    /// Both halves of a rename are known: into the selection, out of it, or within.
    pub(super) fn moved(&mut self, half: Half, to: (DirKey, Name), is_dir: bool) {
        let comes_from_hidden = self.shared.hides(half.dir, &half.name, is_dir);
        let goes_to_hidden = self.shared.hides(to.0, &to.1, is_dir);
        if !comes_from_hidden && !goes_to_hidden {
            return self.paired((half.dir, half.name), to, is_dir);
        }
        self.displaced = None;
        self.moved_out(&half);
        self.moved_in(to, is_dir);
    }

    /// A name arrived from nowhere that is watched.
    pub(super) fn moved_in(&mut self, (dir, name): (DirKey, Name), is_dir: bool) {
        if self.shared.hides(dir, &name, is_dir) {
            return self.owe_meta(dir);
        }
        self.mark_moved((dir, &name), Duration::ZERO);
        self.count(dir, is_dir, true);
    }

    /// A name left and did not arrive anywhere that is watched.
    pub(super) fn moved_out(&mut self, half: &Half) {
        if self.shared.hides(half.dir, &half.name, half.is_dir) {
            return self.owe_meta(half.dir);
        }
        if let Some(key) = self.shared.map.child(half.dir, &half.name).filter(|_| half.is_dir) {
            self.shared.remove_dir(key);
            self.tell();
        }
        self.mark_moved((half.dir, &half.name), Duration::ZERO);
        self.count(half.dir, half.is_dir, false);
    }

    /// Both halves of a rename are known.
    fn paired(&mut self, from: (DirKey, Name), to: (DirKey, Name), is_dir: bool) {
        let displaced = self.displaced.take();
        if let Some(Displaced { key, slot, by }) = displaced
            && slot == from
            && by == to
            && self.shared.map.get(key).is_some()
        {
            return self.swapped(key, from, to);
        }
        let is_alike = self.shared.is_alike_below(&from, &to);
        let known = self.shared.map.child(from.0, &from.1).filter(|_| is_dir);
        let Some(key) = known else {
            self.unknown_moved(&from, &to, is_dir);
            return;
        };
        match self.shared.map.move_to(key, to.0, &to.1) {
            Ok(over) => {
                if let Some(lost) = over {
                    self.set_adrift(lost, &from, &to);
                }
                self.shared.arm_again(key);
                self.shared.prune(key, is_alike);
                self.shared.changes.push_back(Change::Renamed { key, from, to, is_alike });
                self.tell();
            }
            Err(NotMovable) => {
                self.mark_moved((to.0, &to.1), Duration::ZERO);
                self.mark_moved((from.0, &from.1), Duration::ZERO);
            }
        }
    }

    /// A file was renamed, or a directory that the map does not know.
    fn unknown_moved(&mut self, from: &(DirKey, Name), to: &(DirKey, Name), is_dir: bool) {
        let is_placed = |dir| self.shared.map.path(dir).is_some();
        let may_be_hidden =
            self.shared.selection.has_rules() && !(is_placed(from.0) && is_placed(to.0));
        if is_dir || may_be_hidden {
            self.mark_moved((to.0, &to.1), Duration::ZERO);
            self.mark_moved((from.0, &from.1), Duration::ZERO);
            return;
        }
        for session in self.sessions.values_mut() {
            session.file_renamed(from, to, &mut self.shared);
        }
        if let Some(lost) = self.shared.map.child(to.0, &to.1) {
            self.shared.map.set_adrift(lost);
            self.set_adrift(lost, from, to);
        }
    }

    /// The second pair of an exchange: what was displaced goes where its displacer came from.
    fn swapped(&mut self, key: DirKey, from: (DirKey, Name), to: (DirKey, Name)) {
        let other = self.shared.map.child(from.0, &from.1);
        let is_alike = self.shared.is_alike_below(&from, &to);
        self.shared.adrift.retain(|adrift| adrift.key != key);
        let moved = self.shared.map.move_to(key, to.0, &to.1);
        if let Ok(Some(over)) = moved {
            self.await_place(over, &to);
        }
        if moved.is_err() {
            self.shared.remove_dir(key);
            self.mark_moved((to.0, &to.1), Duration::ZERO);
            self.mark_moved((from.0, &from.1), Duration::ZERO);
            return;
        }
        self.shared.arm_again(key);
        self.shared.prune(key, is_alike);
        let (a, b) = (from, to);
        self.shared.changes.push_back(Change::Exchanged { key, other, a, b, is_alike });
        self.tell();
    }

    fn set_adrift(&mut self, key: DirKey, by: &(DirKey, Name), slot: &(DirKey, Name)) {
        self.await_place(key, slot);
        self.displaced = Some(Displaced { key, slot: slot.clone(), by: by.clone() });
    }

    /// A directory is at no place: if no event puts it somewhere, it is gone.
    fn await_place(&mut self, key: DirKey, slot: &(DirKey, Name)) {
        let ticket = self.shared.ask_drain();
        self.shared.adrift.push(Adrift { key, slot: slot.clone(), ticket });
    }
}
