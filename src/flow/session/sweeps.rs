//! Doubt: all directories are listed again because events may have been missed.
//!
//! After an overflow everything is in doubt. While one overflow follows the other, doubt is raised
//! again only when the walk has come as far as it had the last time: so it gets on.

use std::time::Duration;

use crate::flow::session::Session;
use crate::flow::session::losses::Census;
use crate::model::stamp::DirKey;

/// Shortest time between two overflows that raise doubt.
const OVERFLOW_PAUSE: Duration = Duration::from_millis(100);

/// The overflows of one session.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// When events were lost first for which doubt is not raised yet.
    overflowed: Option<Duration>,
    /// When an overflow last raised doubt.
    raised: Option<Duration>,
    /// How many directories were clear then.
    clear_before: u64,
}

impl Sweeps {
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
        self.census = Census::default();
        self.extras.clear();
        if self.active {
            self.push_walk(DirKey::ROOT);
        }
    }

    /// Raises doubt for an overflow, once that is due.
    pub(super) fn heed_overflow(&mut self, now: Duration) {
        let is_far = self.clear_count >= self.sweeps.clear_before || self.is_listed();
        if is_far && self.sweeps.due().is_some_and(|due| due <= now) {
            self.sweeps.overflowed = None;
            self.sweeps.raised = Some(now);
            self.sweeps.clear_before = self.clear_count;
            self.raise_doubt();
        }
    }
}
