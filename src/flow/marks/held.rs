//! Marked names that wait for room at the sink, or for leave to be removed there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::flow::marks::{Hint, Marks, State};
use crate::flow::room::is_enough;
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// The names, in an order that does not depend on chance.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// For room.
    room: BTreeMap<(DirKey, Name), Need>,
    /// For the end of a halt.
    leave: BTreeSet<(DirKey, Name)>,
}

/// What a name waits for.
#[derive(Debug, Clone, Copy)]
struct Need {
    /// Bytes of its content.
    bytes: u64,
    /// The least that the sink has said it has since the name was refused; none if it said nothing.
    least: Option<u64>,
}

impl Held {
    pub(super) fn release(&mut self, dir: DirKey, name: &Name) {
        if !self.room.is_empty() || !self.leave.is_empty() {
            let at = (dir, name.clone());
            self.room.remove(&at);
            self.leave.remove(&at);
        }
    }

    /// Whether a name waits for room.
    pub(super) fn holds(&self, at: &(DirKey, Name)) -> bool {
        self.room.contains_key(at)
    }
}

impl Marks {
    /// Whether any name waits for room.
    #[must_use]
    pub fn is_any_held(&self) -> bool {
        !self.held.room.is_empty()
    }

    /// Whether this name waits for room.
    #[must_use]
    pub fn is_held(&self, dir: DirKey, name: &Name) -> bool {
        !self.held.room.is_empty() && self.held.holds(&(dir, name.clone()))
    }

    /// Puts a busy mark off that needs room for so much content; `said` is what the sink has said
    /// last. It waits until there is room, and until `at` if what the sink says does not tell.
    pub fn hold(&mut self, dir: DirKey, name: &Name, bytes: u64, said: Option<u64>, at: Duration) {
        self.put_off(dir, name, Hint::CONTENT, at, true);
        self.heed_events(dir, name);
        if self.get(dir, name).is_some() {
            self.held.room.insert((dir, name.clone()), Need { bytes, least: said });
        }
    }

    /// Puts a busy mark off of a name that is gone and must not be removed yet.
    pub fn withhold(&mut self, dir: DirKey, name: &Name, at: Duration) {
        self.put_off(dir, name, Hint::CONTENT, at, true);
        self.heed_events(dir, name);
        if self.get(dir, name).is_some() {
            self.held.leave.insert((dir, name.clone()));
        }
    }

    /// Whether any name is gone and must not be removed yet.
    #[must_use]
    pub fn is_any_withheld(&self) -> bool {
        !self.held.leave.is_empty()
    }

    /// Puts a busy mark off that is held: it waits for the same as before.
    pub fn keep_holding(&mut self, dir: DirKey, name: &Name, at: Duration) {
        let need = self.held.room.get(&(dir, name.clone())).copied();
        self.put_off(dir, name, Hint::CONTENT, at, true);
        self.heed_events(dir, name);
        self.held.room.extend(need.map(|need| ((dir, name.clone()), need)));
    }

    /// The sink has room for so many bytes beside what is under way: what had none and fits now is
    /// looked at, the smallest first.
    pub fn make_room(&mut self, bytes: u64, now: Duration) {
        let mut fitting = Vec::new();
        for (at, need) in &mut self.held.room {
            let least = need.least.map_or(bytes, |least| least.min(bytes));
            need.least = Some(least);
            if is_enough(bytes, need.bytes) && !is_enough(least, need.bytes) {
                fitting.push((need.bytes, at.clone()));
            }
        }
        fitting.sort_unstable();
        let mut left = bytes;
        for (bytes, (dir, name)) in fitting {
            if !is_enough(left, bytes) {
                return;
            }
            left -= bytes;
            if self.get(dir, &name).is_some_and(|mark| mark.state == State::Waiting) {
                self.reslot(dir, &name, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::flow::marks::{Hint, Marks};
    use crate::model::path::Name;
    use crate::model::stamp::DirKey;

    const ROOT: DirKey = DirKey::ROOT;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_waits_for_room_goes_as_far_as_the_room_does() {
        let mut marks = Marks::default();
        let names = ["large", "middle", "small"].map(|name| Name::new(name.as_bytes()).unwrap());
        for (name, bytes) in names.iter().zip([9_000_000, 2_000_000, 1_000_000]) {
            marks.begin(ROOT, name, Hint::CONTENT, at(0));
            marks.hold(ROOT, name, bytes, Some(100), at(60));
        }
        marks.hurry(at(1));
        assert!(marks.take_ripe(at(1), None).is_none(), "Haste makes no room");
        marks.make_room(4_000_000, at(2));
        let mut taken = Vec::new();
        while let Some((_, name, _)) = marks.take_ripe(at(2), None) {
            marks.settle(ROOT, &name, at(3));
            taken.push(name);
        }
        assert_eq!(taken, [names[2].clone(), names[1].clone()]);
        assert!(marks.is_held(ROOT, &names[0]) && !marks.is_held(ROOT, &names[1]));
        assert!(marks.take_ripe(at(60), None).is_some(), "It is looked at when its time comes");
    }

    #[test]
    fn an_event_is_heeded_where_it_may_mean_a_cure() {
        let (mut marks, name) = (Marks::default(), Name::new(*b"f").unwrap());
        for is_curable in [false, true] {
            marks.begin(ROOT, &name, Hint::CONTENT, at(0));
            marks.put_off(ROOT, &name, Hint::CONTENT, at(30), true);
            if is_curable {
                marks.heed_events(ROOT, &name);
            }
            marks.mark(ROOT, &name, Hint::META, at(5), at(0));
            assert_eq!(marks.take_ripe(at(5), None).is_some(), is_curable);
            marks.forget(ROOT, &name);
        }
    }

    #[test]
    fn a_name_counts_when_its_mark_goes() {
        let (mut marks, name) = (Marks::default(), Name::new(*b"f").unwrap());
        assert!(!marks.owe(ROOT, &name, 7));
        marks.begin(ROOT, &name, Hint::CONTENT, at(0));
        assert!(marks.owe(ROOT, &name, 7));
        marks.hold(ROOT, &name, 7, None, at(1));
        assert_eq!(marks.paid(), (0, 0));
        marks.take_ripe(at(1), None);
        marks.settle(ROOT, &name, at(2));
        assert_eq!(marks.paid(), (1, 7));
    }
}
