//! What the sink refuses for want of room, or of leave to write: it is held until that is mended,
//! and not sent again for nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::flow::session::{Action, Session, Shared};
use crate::model::path::Name;
use crate::model::stamp::{DirKey, Lane};

/// A name that was refused waits so many times what its last try took, if nobody says that there is
/// room.
const COST_FACTOR: u32 = 16;
const COST_MAX: Duration = Duration::from_secs(3_600);
/// How long a name waits that is held while another one is tried.
const TURN: Duration = Duration::from_secs(1);
/// What the sink says of its room may mislead (what compresses takes less): what does not fit is
/// tried all the same after so many looks, and then ever more seldom.
const LOOKS_HELD: u32 = 16;

impl Session {
    /// The sink says for how many bytes it has room.
    pub fn has_room(&mut self, bytes: u64, now: Duration) {
        self.room.heard(bytes, now);
        let left = bytes.saturating_sub(self.bytes_under_way());
        self.marks.make_room(left, now);
    }

    /// The sink has refused something for want of room, or of leave to write.
    pub(super) fn refused(&mut self, read_only: bool, shared: &mut Shared) {
        if self.room.refused(read_only, shared.now)
            && let Some(words) = self.room.words()
        {
            shared.actions.push_back(Action::Note(words.to_owned()));
        }
    }

    /// Holds a name whose operation was refused; its mark is busy.
    pub(super) fn hold(&mut self, dir: DirKey, name: &Name, bytes: u64, now: Duration) {
        let began = self.marks.get(dir, name).map_or(now, |mark| mark.began);
        let cost = (now.saturating_sub(began) * COST_FACTOR).min(COST_MAX);
        let at = now + self.retry_delay(dir, name).max(cost);
        self.marks.hold(dir, name, bytes, self.room.said(), at);
    }

    /// Keeps a name waiting for whose content there is no room, as far as is known. False if there
    /// may be; its mark is busy.
    pub(super) fn is_kept_waiting(
        &mut self,
        dir: DirKey,
        name: &Name,
        bytes: u64,
        now: Duration,
    ) -> bool {
        let failures = self.marks.get(dir, name).map_or(0, |mark| mark.failures);
        let is_due = failures >= LOOKS_HELD && failures.is_power_of_two();
        if is_due || self.room.fits(bytes, self.bytes_under_way()) {
            return false;
        }
        if self.marks.is_held(dir, name) {
            let at = now + self.retry_delay(dir, name);
            self.marks.keep_holding(dir, name, at);
        } else {
            self.hold(dir, name, bytes, now);
        }
        true
    }

    /// Keeps a file waiting that was refused before, until there may be room for it and its turn
    /// has come. False if it may be sent; its mark is busy.
    pub(super) fn is_still_held(
        &mut self,
        dir: DirKey,
        name: &Name,
        bytes: u64,
        now: Duration,
    ) -> bool {
        if !self.marks.is_held(dir, name) {
            return false;
        }
        if self.is_kept_waiting(dir, name, bytes, now) {
            return true;
        }
        let is_turn = self.may_begin_content();
        if !is_turn {
            let at = (now + TURN).max(self.room.next_wake().unwrap_or_default());
            self.marks.keep_holding(dir, name, at);
        }
        !is_turn
    }

    /// Whether content may be sent, of which nothing is on its way yet.
    pub(super) fn may_begin_content(&self) -> bool {
        self.room.may_begin(|| !self.is_sending())
    }

    /// Time has passed for what waits for room.
    pub(super) fn pump_room(&mut self, now: Duration) {
        if !self.room.is_short() {
            return;
        }
        let is_held = self.marks.is_any_held();
        let is_idle = !is_held
            && self.walked()
            && self.metas.is_empty()
            && self.removals.is_empty()
            && !self.is_sending()
            // What failed for another reason does not tell of room.
            && self.marks.iter().all(|(_, _, mark)| mark.failures > 0);
        self.room.pass(now, is_held, || is_idle);
    }

    /// Whether anything is on its way to the sink, or read for it in the backlog lane.
    fn is_sending(&self) -> bool {
        let is_backlog = |pending: &super::looks::Pending| pending.lane == Lane::Backlog;
        self.flights.iter().any(|lane| !lane.is_empty())
            || !self.ready.iter().all(VecDeque::is_empty)
            || !self.gathered.is_empty()
            || !self.transfers.is_empty()
            || self.pending.values().any(is_backlog)
    }

    /// Bytes of content that the sink may not yet have counted when it says what room it has.
    fn bytes_under_way(&self) -> u64 {
        let sent: u64 = self.credit.iter().map(crate::flow::credit::LaneCredit::bytes).sum();
        self.transfers.values().map(super::transfers::Transfer::bytes_left).sum::<u64>() + sent
    }
}
