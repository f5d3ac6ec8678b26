//! A bucket of tokens: how much may be done in a second.
//!
//! What a piece of work takes may be more than there is, for it can't be cut: the bucket then owes,
//! and has no room before that is paid. So in any stretch of time no more is spent than the rate
//! gives, the depth of the bucket, and the last piece.

use std::time::Duration;

/// What an idle bucket gathers: the tokens of so long.
const DEPTH: Duration = Duration::from_millis(100);
/// Parts of a token, so that no time is lost by rounding.
const PARTS: i128 = 1_000_000_000;

/// A bucket that fills at some rate; without one it always has room.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// Tokens a second; 0 for no limit.
    rate: u64,
    /// Parts of tokens in it, as of `since`; below zero what it owes.
    level: i128,
    since: Duration,
}

impl Bucket {
    /// Sets how many tokens a second it gets from now on; none for no limit. What it owes stays
    /// owed under another rate, and is forgiven without one.
    pub fn set_rate(&mut self, rate: Option<u64>, now: Duration) {
        self.settle(now);
        self.rate = rate.unwrap_or(0);
        self.level = self.level.min(self.depth());
    }

    /// Tokens a second, if there is a limit.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        (self.rate > 0).then_some(self.rate)
    }

    /// Whether something may be begun: nothing is owed.
    #[must_use]
    pub fn has_room(&self, now: Duration) -> bool {
        self.level_at(now) >= 0
    }

    /// When there will be room, if there is none now.
    #[must_use]
    pub fn next_room(&self, now: Duration) -> Option<Duration> {
        let owed = self.level_at(now).checked_neg().filter(|owed| *owed > 0)?;
        let nanos = owed.unsigned_abs().div_ceil(u128::from(self.rate.max(1)));
        Some(now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Takes tokens out, whether they are there or not.
    pub fn spend(&mut self, tokens: u64, now: Duration) {
        self.settle(now);
        if self.rate > 0 {
            self.level -= i128::from(tokens) * PARTS;
        }
    }

    /// Takes tokens out, but owes no more than those of so long on their account.
    pub fn spend_within(&mut self, tokens: u64, debt: Duration, now: Duration) {
        self.settle(now);
        let least = -self.gain(debt);
        let before = self.level;
        self.spend(tokens, now);
        self.level = self.level.max(least).min(before);
    }

    /// Puts tokens back that were not needed.
    pub fn refund(&mut self, tokens: u64, now: Duration) {
        self.settle(now);
        self.level = (self.level + i128::from(tokens) * PARTS).min(self.depth());
    }

    fn settle(&mut self, now: Duration) {
        self.level = self.level_at(now);
        self.since = self.since.max(now);
    }

    fn level_at(&self, now: Duration) -> i128 {
        let gained = self.level.saturating_add(self.gain(now.saturating_sub(self.since)));
        gained.min(self.depth()).max(if self.rate == 0 { 0 } else { i128::MIN })
    }

    fn depth(&self) -> i128 {
        self.gain(DEPTH)
    }

    fn gain(&self, time: Duration) -> i128 {
        let nanos = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
        i128::from(self.rate).saturating_mul(nanos)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bucket, DEPTH};

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(rate: u64) -> Bucket {
        let mut bucket = Bucket::default();
        bucket.set_rate(Some(rate), Duration::ZERO);
        bucket
    }

    #[test]
    fn without_a_rate_there_is_always_room() {
        let mut bucket = Bucket::default();
        bucket.spend(u64::MAX, Duration::ZERO);
        assert!(bucket.has_room(Duration::ZERO));
        assert_eq!(bucket.next_room(Duration::ZERO), None);
    }

    #[test]
    fn what_is_owed_is_paid_at_the_rate() {
        let mut bucket = bucket(1_000);
        assert!(bucket.has_room(Duration::ZERO));
        bucket.spend(500, Duration::ZERO);
        assert!(!bucket.has_room(SECOND / 2 - Duration::from_nanos(1)));
        assert_eq!(bucket.next_room(SECOND / 4), Some(SECOND / 2));
        assert!(bucket.has_room(SECOND / 2));
        // At the moment that it names there is room, however odd the rate.
        for rate in [1, 3, 7, 1_000_003, u64::MAX] {
            let mut bucket = self::bucket(rate);
            bucket.spend(12_345, SECOND);
            bucket.spend(6_789, SECOND);
            let next = bucket.next_room(SECOND).unwrap_or(SECOND);
            assert!(bucket.has_room(next), "{rate}");
        }
    }

    #[test]
    fn no_more_is_spent_in_any_window_than_the_rate_the_depth_and_one_piece() {
        let (rate, piece) = (10_000, 700_u64);
        let mut bucket = bucket(rate);
        let mut spent: Vec<(Duration, u64)> = Vec::new();
        let mut now = Duration::ZERO;
        for step in 0..5_000_u64 {
            // Idle at times, so that the bucket fills.
            now += Duration::from_micros(if step % 97 == 0 { 900_000 } else { 300 + step % 1_300 });
            if bucket.has_room(now) {
                let tokens = 1 + step * 7_919 % piece;
                bucket.spend(tokens, now);
                spent.push((now, tokens));
            }
        }
        assert!(spent.len() > 300);
        for first in 0..spent.len() {
            let mut sum = 0;
            for (at, tokens) in &spent[first..(first + 200).min(spent.len())] {
                sum += tokens;
                let window = (*at - spent[first].0) + DEPTH;
                let most = u128::from(rate) * window.as_nanos() / 1_000_000_000;
                assert!(u128::from(sum) <= most + u128::from(piece), "from {first}");
            }
        }
    }

    #[test]
    fn a_debt_within_bounds_never_pays_what_was_owed_before() {
        let mut bucket = bucket(100);
        bucket.spend_within(1_000_000, SECOND * 10, Duration::ZERO);
        assert_eq!(bucket.next_room(Duration::ZERO), Some(SECOND * 10));
        bucket.spend(500, Duration::ZERO);
        bucket.spend_within(1_000_000, SECOND * 10, Duration::ZERO);
        assert_eq!(bucket.next_room(Duration::ZERO), Some(SECOND * 15));
    }

    #[test]
    fn another_rate_counts_from_its_moment() {
        let mut bucket = bucket(1_000);
        bucket.spend(2_000, Duration::ZERO);
        bucket.set_rate(Some(100), SECOND);
        assert_eq!(bucket.next_room(SECOND), Some(SECOND * 11));
        bucket.refund(900, SECOND);
        assert_eq!(bucket.next_room(SECOND), Some(SECOND * 2));
        bucket.set_rate(None, SECOND);
        assert!(bucket.has_room(SECOND));
        bucket.set_rate(Some(100), SECOND);
        assert!(bucket.has_room(SECOND), "what was owed is forgiven");
    }
}
