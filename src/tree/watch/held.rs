//! Notices that nobody had room for yet: a bound, and an overflow beyond it.

use std::collections::VecDeque;

use crate::model::event::{Event, Happening, Notice};
use crate::model::limits::WATCH_HELD_MAX;

/// Notices in the order in which they are to be handed on.
#[derive(Default)]
pub(super) struct Held {
    notices: VecDeque<Notice>,
    /// How many of them are events.
    events: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.notices.is_empty()
    }

    /// Holds one more. Beyond the bound all events are dropped, and an overflow stands for them.
    pub(super) fn push(&mut self, notice: Notice) {
        if notice == Notice::Overflow && self.notices.back() == Some(&notice) {
            return;
        }
        if self.events >= WATCH_HELD_MAX {
            self.notices.retain(is_kept);
            self.events = self.notices.iter().filter(|notice| is_event(notice)).count();
            // Before the tickets: what they answer may be among what was dropped.
            self.notices.push_front(Notice::Overflow);
        }
        self.events += usize::from(is_event(&notice));
        self.notices.push_back(notice);
    }

    /// The next to be handed on.
    pub(super) fn pop(&mut self) -> Option<Notice> {
        let notice = self.notices.pop_front()?;
        self.events -= usize::from(is_event(&notice));
        Some(notice)
    }

    /// Puts back what found no room.
    pub(super) fn put_back(&mut self, notice: Notice) {
        self.events += usize::from(is_event(&notice));
        self.notices.push_front(notice);
    }
}

fn is_event(notice: &Notice) -> bool {
    matches!(notice, Notice::Event(_))
}

/// No sweep brings back that a filesystem went, nor a ticket; one overflow stands for all.
fn is_kept(notice: &Notice) -> bool {
    match notice {
        Notice::Event(Event { what, .. }) => *what == Happening::Unmounted,
        Notice::Overflow => false,
        Notice::Drained(_) | Notice::Note(_) | Notice::Failed(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::Held;
    use crate::model::event::{Event, Happening, Notice};
    use crate::model::limits::WATCH_HELD_MAX;
    use crate::model::stamp::DirKey;

    fn event(what: Happening) -> Notice {
        Notice::Event(Event { dir: DirKey(1), what })
    }

    #[test]
    fn too_much_to_hold_is_an_overflow_that_keeps_tickets_and_lost_filesystems() {
        let mut held = Held::default();
        held.push(event(Happening::Unmounted));
        held.push(Notice::Drained(1));
        for _ in 1..WATCH_HELD_MAX {
            held.push(event(Happening::SelfRetouched));
        }
        held.push(Notice::Drained(2));
        held.push(event(Happening::SelfGone));
        let left: Vec<Notice> = std::iter::from_fn(|| held.pop()).collect();
        let unmounted = event(Happening::Unmounted);
        let tickets = [Notice::Drained(1), Notice::Drained(2)];
        let [first, second] = tickets;
        assert_eq!(left, [Notice::Overflow, unmounted, first, second, event(Happening::SelfGone)]);
    }

    #[test]
    fn what_was_put_back_comes_first() {
        let mut held = Held::default();
        for ticket in 1..3 {
            held.push(Notice::Drained(ticket));
        }
        let first = held.pop().unwrap();
        held.put_back(first);
        assert_eq!(held.pop(), Some(Notice::Drained(1)));
        assert_eq!(held.pop(), Some(Notice::Drained(2)));
        assert!(held.is_empty());
    }
}
