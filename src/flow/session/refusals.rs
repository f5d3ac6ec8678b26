//! What the sink refuses for want of room, or of leave to write: it is held until that is mended,
//! and not sent again for nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::flow::session::transfers::Transfer;
use crate::flow::session::wants::Bring;
use crate::flow::session::{Action, Session, Shared};
use crate::model::path::Name;
use crate::model::session::{FreeRoom, Shortfall};
use crate::model::stamp::{DirKey, Lane};

/// A name that was refused waits so many times what its last try took, if nobody says that there is
/// room.
const COST_FACTOR: u32 = 16;
const COST_MAX: Duration = Duration::from_secs(3_600);
/// From one look ahead to the next at least, unless the sink says what room it has.
const FORESIGHT: Duration = Duration::from_millis(20);
/// How long a name waits that is held while another one is tried.
const TURN: Duration = Duration::from_secs(1);
/// What the sink says of its room may mislead (what compresses takes less): what does not fit is
/// tried all the same after so many looks, and then ever more seldom.
const LOOKS_HELD: u32 = 16;

impl Session {
    /// The sink says what room it has.
    pub fn has_room(&mut self, free: FreeRoom, shared: &mut Shared) {
        self.room.heard(free.bytes, shared.now);
        let left = free.bytes.saturating_sub(self.bytes_under_way());
        self.marks.make_room(left, shared.now);
        self.free = Some(free);
        self.foresee(shared);
    }

    /// Sees it again after an answer, now and then: all that is wanted is counted for it. What the
    /// last answers told is seen when the sink next says what room it has.
    pub(super) fn foresee_again(&mut self, shared: &mut Shared) {
        if shared.now >= self.foreseen + FORESIGHT {
            self.foresee(shared);
        }
    }

    /// Sees whether the sink is certain to have too little room, before it is full; that is noted
    /// once in an epoch. What it said last is never too little: it has less since, if anything.
    fn foresee(&mut self, shared: &mut Shared) {
        self.foreseen = shared.now;
        // No room at all may be no leave to write: what is refused tells.
        let Some(free) = self.free.filter(|free| free.bytes > 0) else { return };
        let (bytes, names) = self.lacking();
        // What was refused is a mark, and is not counted here any more: what was certain once stays
        // so until all that is known to be left would fit.
        let left = self.backlog();
        let before = self.tally.shortfall.map(|before| (before.needed_bytes, before.needed_inodes));
        let still = before.map(|before| (before.0.min(left.1), before.1.min(left.0)));
        self.tally.shortfall = Shortfall::of(bytes, names, free)
            .or_else(|| still.and_then(|(bytes, names)| Shortfall::of(bytes, names, free)));
        if let Some(shortfall) = &self.tally.shortfall
            && !std::mem::replace(&mut self.is_forewarned, true)
        {
            let words = shortfall.words();
            shared.actions.push_back(Action::Note(format!(
                "The sink has too little {words}. Make room there; osync goes on meanwhile"
            )));
        }
    }

    /// Bytes of room and names that the sink is certain to need yet: of what it said that it has
    /// nothing of, and of which nothing is on its way. What replaces something may need none, and
    /// what is not listed yet is not known.
    fn lacking(&self) -> (u64, u64) {
        let wants = self.wants.iter().filter(|want| want.bring == Bring::Content);
        let small = wants.flat_map(|want| &want.names).filter_map(|wanted| wanted.takes);
        let large = self.large.iter().filter_map(|large| large.takes);
        let (mut bytes, mut names) = (0u64, 0);
        for takes in small.chain(large) {
            (bytes, names) = (bytes.saturating_add(takes), names + 1);
        }
        let under_way = self.transfers.values().map(Transfer::takes_yet);
        (under_way.fold(bytes, u64::saturating_add), names)
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
        self.transfers.values().map(Transfer::bytes_left).sum::<u64>() + sent
    }
}
