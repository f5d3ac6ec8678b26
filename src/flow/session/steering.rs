//! The limits that a person sets, as far as they concern one sink: where the backlog waits, and
//! live does not.

use std::time::Duration;

use crate::flow::session::flights::Ready;
use crate::flow::session::{Session, Shared};
use crate::model::stamp::Lane;

/// Looks of the backlog under way at once where bytes are limited: what they bring waits to leave,
/// and holds up the renames of what it lies in.
const PACED_LOOKS: usize = 4;

impl Session {
    /// Sets how many bytes may leave in a second; none for no limit. True if that is another limit.
    pub fn limit_rate(&mut self, rate: Option<u64>, now: Duration) -> bool {
        let is_other = self.pace.rate() != rate;
        if is_other {
            self.pace.set_rate(rate, now);
        }
        is_other
    }

    /// Whether more may be read for a lane, which so many bytes may come of.
    pub(super) fn lane_room(&self, lane: Lane, bytes: u64, shared: &Shared) -> bool {
        self.ready[lane.index()].iter().all(Ready::is_open)
            && self.credit[lane.index()].has_room(bytes)
            && (lane == Lane::Live || self.is_within_limits(shared))
    }

    fn is_within_limits(&self, shared: &Shared) -> bool {
        shared.ease.has_room(shared.now)
            && (self.pace.rate().is_none()
                || self.pace.has_room(shared.now) && self.looks_in(Lane::Backlog) < PACED_LOOKS)
    }

    /// Whether a message of so many bytes may leave now.
    pub(super) fn may_send(&self, lane: Lane, bytes: u64, now: Duration) -> bool {
        let is_its_time = lane == Lane::Live || self.pace.has_room(now);
        is_its_time && self.credit[lane.index()].has_room(bytes)
    }

    /// Messages that wait for credit: what waits for the limit does not stand still.
    pub(super) fn held(&self, now: Duration) -> usize {
        let waits = |lane: &Lane| *lane == Lane::Live || self.pace.has_room(now);
        let lanes = Lane::ALL.into_iter().filter(waits);
        lanes.map(|lane| self.ready[lane.index()].len()).sum()
    }
}
