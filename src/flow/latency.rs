//! Times from mark to answer of the most recent live changes.

use std::time::Duration;

const KEPT: usize = 1024;

/// A ring of recent latencies.
#[derive(Debug, Default)]
pub struct Latencies {
    ring: Vec<Duration>,
    at: usize,
}

impl Latencies {
    /// Adds one, in place of the oldest.
    pub fn add(&mut self, latency: Duration) {
        if self.ring.len() < KEPT {
            self.ring.push(latency);
        } else {
            self.ring[self.at] = latency;
            self.at = (self.at + 1) % KEPT;
        }
    }

    /// The latency that a share (0 to 100) of the recent ones do not exceed; zero for none.
    #[must_use]
    pub fn percentile(&self, share: usize) -> Duration {
        let mut sorted = self.ring.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }
}
