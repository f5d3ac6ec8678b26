//! Whether packing pays: both ways are tried in turn, and the faster one is gone on with.
//!
//! Credit lets contents leave as fast as the sink answers, whatever it is that holds it up. So the
//! speed at which they leave tells: where the link is narrow, packed ones leave faster; where the
//! processors are slower than the link, plain ones do; where the sink's disk holds both up there is
//! no difference, and nothing is packed. Time is an argument, as everywhere on this floor.

use std::time::Duration;

use crate::model::limits::{
    BACKLOG_CREDIT_BYTES, PACK_PAYS_PERCENT, PACK_TRIAL_BYTES, PACK_TRIALS,
};
use crate::model::packing::PackWhen;

/// The trials of one lane.
#[derive(Debug)]
pub struct Trials {
    when: PackWhen,
    packs: bool,
    /// Since the present way was taken: when the counting began, and the bytes sent.
    began: Option<Duration>,
    bytes: u64,
    /// Bytes a second, plain and packed, as they were last.
    speeds: [Option<u64>; 2],
    /// Trials of the present way until the other one is tried again.
    left: u32,
}

impl Trials {
    /// Before anything has left.
    #[must_use]
    pub fn new(when: PackWhen) -> Trials {
        let packs = when != PackWhen::Never;
        Trials { when, packs, began: None, bytes: 0, speeds: [None; 2], left: 1 }
    }

    /// Whether the next content is to be packed.
    #[must_use]
    pub fn packs(&self) -> bool {
        self.packs
    }

    /// A content of so many bytes, counted before it was packed, has left.
    pub fn sent(&mut self, bytes: u64, now: Duration) {
        if self.when != PackWhen::Auto {
            return;
        }
        self.bytes += bytes;
        // What leaves first takes the place of what went the other way.
        if self.bytes <= BACKLOG_CREDIT_BYTES {
            self.began = Some(now);
            return;
        }
        let counted = self.bytes - BACKLOG_CREDIT_BYTES;
        if counted < PACK_TRIAL_BYTES {
            return;
        }
        let took = now.saturating_sub(self.began.unwrap_or(now));
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        self.speeds[usize::from(self.packs)] = Some(counted.saturating_mul(1_000_000) / micros);
        self.decide();
        // The next trial of the same way begins with a full lane.
        (self.bytes, self.began) = (BACKLOG_CREDIT_BYTES, Some(now));
    }

    fn decide(&mut self) {
        self.left = self.left.saturating_sub(1);
        let [Some(plain), Some(packed)] = self.speeds else {
            return self.take(!self.packs, 1);
        };
        let pays = packed > plain.saturating_add(plain / 100 * PACK_PAYS_PERCENT);
        if pays != self.packs {
            self.take(pays, PACK_TRIALS);
        } else if self.left == 0 {
            self.take(!pays, 1);
        }
    }

    fn take(&mut self, packs: bool, trials: u32) {
        (self.packs, self.left) = (packs, trials);
        (self.bytes, self.began) = (0, None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Trials;
    use crate::model::limits::{CHUNK_BYTES, PACK_TRIAL_BYTES};
    use crate::model::packing::PackWhen;

    /// Sends so many trials' worth of chunks; tells the share that was packed, in percent.
    fn run(trials: &mut Trials, now: &mut Duration, worth: u64, micros: [u64; 2]) -> u64 {
        let chunks = worth * PACK_TRIAL_BYTES / CHUNK_BYTES;
        let mut packed = 0;
        for _ in 0..chunks {
            let packs = trials.packs();
            packed += u64::from(packs);
            *now += Duration::from_micros(micros[usize::from(packs)]);
            trials.sent(CHUNK_BYTES, *now);
        }
        packed * 100 / chunks
    }

    #[test]
    fn the_faster_way_is_gone_on_with_and_the_other_tried_again() {
        let (mut trials, mut now) = (Trials::new(PackWhen::Auto), Duration::ZERO);
        assert!(trials.packs(), "where the link is narrow, the first bytes count");
        let share = run(&mut trials, &mut now, 400, [5_000, 2_000]);
        assert!((90..100).contains(&share), "a narrow link: {share}");
        let share = run(&mut trials, &mut now, 400, [500, 2_000]);
        assert!((1..15).contains(&share), "a wide link: {share}");
        let share = run(&mut trials, &mut now, 400, [2_000, 2_000]);
        assert!((1..15).contains(&share), "a slow disk: {share}");
        let share = run(&mut trials, &mut now, 400, [5_000, 2_000]);
        assert!(share > 80, "a narrow link again: {share}");
    }

    #[test]
    fn what_a_person_wants_is_not_tried() {
        for (when, share) in [(PackWhen::Never, 0), (PackWhen::Always, 100)] {
            let mut trials = Trials::new(when);
            let mut now = Duration::ZERO;
            assert_eq!(run(&mut trials, &mut now, 20, [9_000, 10]), share);
            assert_eq!(run(&mut trials, &mut now, 20, [10, 9_000]), share);
        }
    }
}
