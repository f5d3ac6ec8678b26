//! Doubt, and sweeps against it: directories are listed again because events may have been missed.
//!
//! - After an overflow everything is in doubt. While one overflow follows the other, doubt is
//!   raised again only when the walk has come as far as it had the last time: so it gets on.
//! - Directories that nothing watches are listed again in turn, at the rank of the walk. The pause
//!   in between grows with what a sweep takes.

use std::time::Duration;

use crate::flow::session::{Session, Shared};
use crate::model::stamp::DirKey;

/// Shortest time between two sweeps of what nothing watches.
const PAUSE: Duration = Duration::from_secs(10);
/// The pause is at least so many times what the last such sweep took.
const PAUSE_FACTOR: u32 = 4;
/// Shortest time between two overflows that raise doubt.
const OVERFLOW_PAUSE: Duration = Duration::from_millis(100);

/// The sweeps of one session.
#[derive(Debug)]
pub(super) struct Sweeps {
    /// When the sweep under way of what nothing watches began.
    began: Option<Duration>,
    /// When the next one may begin.
    next: Duration,
    /// When events were lost first for which doubt is not raised yet.
    overflowed: Option<Duration>,
    /// When an overflow last raised doubt.
    raised: Option<Duration>,
    /// How many directories were clear then.
    clear_before: u64,
}

impl Sweeps {
    pub(super) fn new() -> Sweeps {
        Sweeps { began: None, next: PAUSE, overflowed: None, raised: None, clear_before: 0 }
    }

    /// A new epoch: everything is in doubt anyway.
    pub(super) fn restart(&mut self, now: Duration) {
        *self = Sweeps { next: now + PAUSE, ..Sweeps::new() };
    }

    /// The closing sweep takes the place of the one under way.
    pub(super) fn give_way(&mut self) {
        self.began = None;
    }

    /// Whether doubt is still to be raised.
    pub(super) fn is_owed(&self) -> bool {
        self.overflowed.is_some()
    }

    /// From when on doubt may be raised for an overflow.
    pub(super) fn due(&self) -> Option<Duration> {
        let rested = self.raised.map_or(Duration::ZERO, |at| at + OVERFLOW_PAUSE);
        self.overflowed.map(|at| at.max(rested))
    }
}

impl Session {
    /// Notes that events were lost: everything is in doubt again.
    pub fn overflowed(&mut self, now: Duration) {
        self.tally.overflows += 1;
        self.sweeps.overflowed.get_or_insert(now);
    }

    /// Raises the number of doubt: the whole tree is to be listed again, lazily.
    pub(super) fn raise_doubt(&mut self) {
        self.doubt += 1;
        self.clear_count = 0;
        self.census = (0, 0);
        if self.active {
            self.push_walk(DirKey::ROOT);
        }
    }

    /// Begins the sweeps that are due.
    pub(super) fn pump_sweeps(&mut self, shared: &mut Shared) {
        self.heed_overflow(shared.now);
        if !self.is_listed() {
            return;
        }
        if let Some(began) = self.sweeps.began.take() {
            self.tally.sweeps += 1;
            self.sweeps.next = shared.now + PAUSE.max((shared.now - began) * PAUSE_FACTOR);
        }
        let is_due = shared.now >= self.sweeps.next && self.termination.is_none();
        if is_due && shared.map.unwatched_count() > 0 {
            self.sweeps.began = Some(shared.now);
            for key in shared.map.unwatched() {
                self.set_unclear(key);
            }
            self.recheck_at(shared.now);
        }
    }

    fn heed_overflow(&mut self, now: Duration) {
        let is_far = self.clear_count >= self.sweeps.clear_before || self.is_listed();
        if is_far && self.sweeps.due().is_some_and(|due| due <= now) {
            self.sweeps.overflowed = None;
            self.sweeps.raised = Some(now);
            self.sweeps.clear_before = self.clear_count;
            self.raise_doubt();
        }
    }
}
