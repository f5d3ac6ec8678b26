//! How fast bytes may leave for one sink (`--bwlimit`).
//!
//! Live messages are counted and never wait. The backlog waits while bytes are owed, but for a
//! tenth of the rate, which is its own whatever goes live: neither starves (law 5).

use std::time::Duration;

use crate::flow::bucket::Bucket;
use crate::model::stamp::Lane;

/// The backlog keeps one of so many bytes.
const SHARE: u64 = 10;
/// What goes live is held against the backlog for so long at the most: a flood that is over does
/// the line no harm any more.
const LIVE_DEBT: Duration = Duration::from_secs(10);
/// In a second there are to be so many messages at least, so that none holds the line for long.
const MESSAGES_A_SECOND: u64 = 20;
/// But none is to be smaller than this for the sake of it.
const MESSAGE_BYTES_LEAST: u64 = 16 * 1024;
/// Content is cut at pages.
const PAGE: u64 = 4096;

/// The pace at which one sink is sent to; as fast as it goes by default.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Of all bytes that leave.
    all: Bucket,
    /// Of what the backlog may send though bytes are owed.
    share: Bucket,
}

impl Pace {
    /// Sets how many bytes may leave in a second; none for no limit.
    pub fn set_rate(&mut self, rate: Option<u64>, now: Duration) {
        self.all.set_rate(rate, now);
        self.share.set_rate(rate.map(|rate| (rate / SHARE).max(1)), now);
    }

    /// Bytes that may leave in a second, if there is a limit.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        self.all.rate()
    }

    /// Whether a message of the backlog may leave.
    #[must_use]
    pub fn has_room(&self, now: Duration) -> bool {
        self.all.has_room(now) || self.share.has_room(now)
    }

    /// When one may, if none may now.
    #[must_use]
    pub fn next_room(&self, now: Duration) -> Option<Duration> {
        Some(self.all.next_room(now)?.min(self.share.next_room(now)?))
    }

    /// A message leaves.
    pub fn send(&mut self, lane: Lane, bytes: u64, now: Duration) {
        match lane {
            Lane::Live => self.all.spend_within(bytes, LIVE_DEBT, now),
            Lane::Backlog => {
                if !self.all.has_room(now) {
                    self.share.spend(bytes, now);
                }
                self.all.spend(bytes, now);
            }
        }
    }

    /// How much content a message of the backlog is to bring, of at most so much.
    #[must_use]
    pub fn content_bytes(&self, most: u64) -> u64 {
        let Some(rate) = self.rate() else { return most };
        let piece = (rate / MESSAGES_A_SECOND).max(MESSAGE_BYTES_LEAST);
        (piece / PAGE * PAGE).min(most)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;
    use crate::model::stamp::Lane;

    const MEGABYTE: u64 = 1 << 20;

    fn pace(rate: u64) -> Pace {
        let mut pace = Pace::default();
        pace.set_rate(Some(rate), Duration::ZERO);
        pace
    }

    /// Sends as much backlog as may leave, beside so many bytes of live each millisecond; returns
    /// both sums.
    fn run(pace: &mut Pace, seconds: u64, live: u64) -> (u64, u64) {
        let (mut backlog, mut lively) = (0, 0);
        for millis in 0..seconds * 1_000 {
            let now = Duration::from_millis(millis);
            if live > 0 {
                pace.send(Lane::Live, live, now);
                lively += live;
            }
            while pace.has_room(now) {
                let bytes = pace.content_bytes(512 * 1024);
                pace.send(Lane::Backlog, bytes, now);
                backlog += bytes;
            }
        }
        (backlog, lively)
    }

    #[test]
    fn the_backlog_takes_what_the_rate_gives() {
        let (backlog, _) = run(&mut pace(MEGABYTE), 60, 0);
        assert!(backlog.abs_diff(60 * MEGABYTE) < MEGABYTE / 2, "{backlog}");
    }

    #[test]
    fn live_is_counted_against_it() {
        let (backlog, live) = run(&mut pace(MEGABYTE), 60, MEGABYTE / 2_000);
        assert!((backlog + live).abs_diff(60 * MEGABYTE) < MEGABYTE / 2, "{backlog} {live}");
        assert!(backlog < 31 * MEGABYTE);
    }

    #[test]
    fn a_flood_of_live_leaves_the_backlog_a_tenth_and_no_debt_for_ever() {
        let mut pace = pace(MEGABYTE);
        let (backlog, _) = run(&mut pace, 60, MEGABYTE / 100);
        assert!(backlog.abs_diff(6 * MEGABYTE) < MEGABYTE / 2, "{backlog}");
        let calm = Duration::from_secs(60 + 12);
        assert!(pace.all.has_room(calm), "{pace:?}");
    }

    #[test]
    fn the_next_room_is_room() {
        let mut pace = pace(10_000);
        let mut now = Duration::ZERO;
        for step in 0..1_000 {
            pace.send(if step % 3 == 0 { Lane::Live } else { Lane::Backlog }, 777 + step, now);
            if let Some(next) = pace.next_room(now) {
                assert!(next > now && pace.has_room(next), "{step}");
                now = next;
            }
        }
    }

    #[test]
    fn messages_are_smaller_on_a_slow_line() {
        let most = 512 * 1024;
        assert_eq!(Pace::default().content_bytes(most), most);
        assert_eq!(pace(MEGABYTE).content_bytes(most), 48 * 1024);
        assert_eq!(pace(1).content_bytes(most), 16 * 1024);
        assert_eq!(pace(u64::MAX).content_bytes(most), most);
        assert_eq!(pace(MEGABYTE).content_bytes(1_000), 1_000);
    }
}
