//! Room at the sink, while a filesystem there is full or takes nothing.
//!
//! - Content that was refused is held until the sink says that it has room for it: it is never sent
//!   again for nothing. Where what the sink says does not tell (a quota, another filesystem below
//!   its root), a little is tried after a pause that grows.
//! - The shortage lasts from the first refusal until no name waits for room any more.
//!
//! | stage | event | next |
//! |---|---|---|
//! | none | refused | pausing |
//! | pausing | its time, or the sink has more room than it had | trying, one message at a time |
//! | trying | refused | pausing, for longer |
//! | trying | something was taken | flowing |
//! | flowing | refused | pausing |
//! | trying, flowing | nothing waits for room | none |

use std::time::Duration;

/// First pause after the sink had no room; doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_DOUBLINGS: u32 = 2;
/// Shortest pause, however much room the sink says it has.
const PAUSE_LEAST: Duration = Duration::from_secs(1);
/// Room that has to come free for a pause to end before its time, in bytes.
const FREED_MIN: u64 = 64 * 1024;
/// What a file takes beyond its content, about: so much, and a share of the content.
const BESIDE: u64 = 8 * 1024;
const BESIDE_SHARE: u64 = 64;

/// What is known of the room at one sink.
#[derive(Debug, Default)]
pub struct Room {
    /// Bytes that it said it has, last.
    said: Option<u64>,
    shortage: Option<Shortage>,
}

#[derive(Debug)]
struct Shortage {
    /// It is no room that is wanting: nothing may be written.
    read_only: bool,
    since: Duration,
    refused: Duration,
    stage: Stage,
    /// Pauses in a row after which nothing was taken.
    pauses: u32,
    /// The least that the sink said it has, since the pause began.
    least: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is begun before that time.
    Pausing(Duration),
    /// One message is tried.
    Trying,
    /// Content is taken, but for what is larger than the room.
    Flowing,
}

impl Room {
    /// Whether something waits for room, or waited just now.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.shortage.is_some()
    }

    /// Since when.
    #[must_use]
    pub fn short_since(&self) -> Option<Duration> {
        self.shortage.as_ref().map(|shortage| shortage.since)
    }

    /// Bytes that the sink said it has, last.
    #[must_use]
    pub fn said(&self) -> Option<u64> {
        self.said
    }

    /// In words, what is the matter, if anything is.
    #[must_use]
    pub fn words(&self) -> Option<&'static str> {
        self.shortage.as_ref().map(|shortage| match shortage.read_only {
            true => "The sink's filesystem is read-only: see to it, osync goes on by itself",
            false => "The sink's filesystem is full: make room there, osync goes on by itself",
        })
    }

    /// The sink had no room, or may not write. True if that is new.
    pub fn refused(&mut self, read_only: bool, now: Duration) -> bool {
        let is_new = self.shortage.is_none();
        let said = self.said;
        let shortage = self.shortage.get_or_insert(Shortage {
            read_only,
            since: now,
            refused: now,
            stage: Stage::Flowing,
            pauses: 0,
            least: said,
        });
        shortage.read_only = read_only;
        shortage.refused = now;
        if !matches!(shortage.stage, Stage::Pausing(_)) {
            let pause = PAUSE_MIN * 2u32.pow(shortage.pauses.min(PAUSE_DOUBLINGS));
            shortage.stage = Stage::Pausing(now + pause);
            shortage.pauses += 1;
            shortage.least = said;
        }
        is_new
    }

    /// The sink has taken something that needs room.
    pub fn taken(&mut self) {
        if let Some(shortage) = &mut self.shortage
            && shortage.stage == Stage::Trying
        {
            shortage.stage = Stage::Flowing;
            shortage.pauses = 0;
        }
    }

    /// The sink says how many bytes it has room for.
    pub fn heard(&mut self, bytes: u64, now: Duration) {
        self.said = Some(bytes);
        let Some(shortage) = &mut self.shortage else { return };
        let least = shortage.least.map_or(bytes, |least| least.min(bytes));
        shortage.least = Some(least);
        if let Stage::Pausing(until) = &mut shortage.stage
            && bytes >= least.saturating_add(FREED_MIN)
        {
            *until = (*until).min(now.max(shortage.refused + PAUSE_LEAST));
        }
    }

    /// Time has passed. `is_held` says that names wait for room, `is_idle` that nothing else is
    /// left which could be tried.
    pub fn pass(&mut self, now: Duration, is_held: bool, is_idle: impl FnOnce() -> bool) {
        let Some(shortage) = &mut self.shortage else { return };
        if matches!(shortage.stage, Stage::Pausing(until) if until <= now) {
            shortage.stage = Stage::Trying;
        }
        let is_over = match shortage.stage {
            Stage::Pausing(_) => false,
            Stage::Trying => !is_held && is_idle(),
            Stage::Flowing => !is_held,
        };
        if is_over {
            self.shortage = None;
        }
    }

    /// Nothing is known any more, but for what the sink said.
    pub fn forget(&mut self) {
        self.shortage = None;
    }

    /// When a pause ends, if there is one.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        match self.shortage.as_ref()?.stage {
            Stage::Pausing(until) => Some(until),
            Stage::Trying | Stage::Flowing => None,
        }
    }

    /// Whether nothing that needs room may be begun.
    #[must_use]
    pub fn is_pausing(&self) -> bool {
        self.next_wake().is_some()
    }

    /// Whether content may be begun; `is_idle` tells whether none is under way.
    #[must_use]
    pub fn may_begin(&self, is_idle: impl FnOnce() -> bool) -> bool {
        match self.shortage.as_ref().map(|shortage| shortage.stage) {
            None | Some(Stage::Flowing) => true,
            Some(Stage::Trying) => is_idle(),
            Some(Stage::Pausing(_)) => false,
        }
    }

    /// Whether so much content fits, as far as is known, beside what is under way. While nothing
    /// was refused it does.
    #[must_use]
    pub fn fits(&self, bytes: u64, under_way: u64) -> bool {
        match (&self.shortage, self.said) {
            (Some(_), Some(said)) => is_enough(said.saturating_sub(under_way), bytes),
            _ => true,
        }
    }
}

/// Whether there is room for so much content in so many bytes.
#[must_use]
pub fn is_enough(said: u64, bytes: u64) -> bool {
    said >= bytes.saturating_add(BESIDE + bytes / BESIDE_SHARE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FREED_MIN, Room};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_refusal_pauses_for_longer_each_time_and_then_a_little_is_tried() {
        let mut room = Room::default();
        assert!(room.refused(false, at(0)) && !room.refused(false, at(1)), "It is told once");
        room.pass(at(1), false, || true);
        assert!(room.is_pausing() && !room.may_begin(|| true));
        room.pass(at(2), false, || false);
        assert!(room.may_begin(|| true) && !room.may_begin(|| false), "One at a time");
        room.refused(false, at(2));
        room.pass(at(5), false, || false);
        assert!(room.is_pausing(), "Four seconds");
        room.pass(at(6), false, || false);
        room.taken();
        room.pass(at(6), true, || true);
        assert!(room.may_begin(|| false) && room.is_short(), "Something is held");
        room.pass(at(6), false, || false);
        assert!(!room.is_short());
    }

    #[test]
    fn what_the_sink_says_ends_a_pause_and_holds_what_does_not_fit() {
        let mut room = Room::default();
        room.heard(10_000_000, at(0));
        assert!(room.fits(20_000_000, 0), "It may be compressed there: it is tried once");
        room.refused(false, at(0));
        room.heard(1_000, at(0));
        assert!(!room.fits(20_000_000, 0));
        room.heard(FREED_MIN, at(1));
        room.pass(at(1), true, || false);
        assert!(room.is_pausing(), "That is no more than a flicker");
        room.heard(30_000_000, at(1));
        room.pass(at(1), true, || false);
        assert!(!room.is_pausing());
        assert!(room.fits(20_000_000, 0) && !room.fits(20_000_000, 10_000_000));
    }
}
