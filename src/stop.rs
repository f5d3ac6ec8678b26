//! The one value by which a person ends an operator; shared by whatever listens for signals and
//! by every loop that has to end. It only ever rises.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far a person has asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopLevel {
    /// Not at all.
    Go,
    /// By the termination phase: drain, sweep, report. Only a sink knows this level.
    Terminate,
    /// At once, resumable.
    Now,
}

/// A handle on the one stop of an operator; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    level: AtomicU8,
    gate: Mutex<()>,
    raised: Condvar,
}

impl Stop {
    /// A stop that nobody has asked for.
    #[must_use]
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Raises the level; never lowers it.
    pub fn raise(&self, level: StopLevel) {
        let guard = self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.level.fetch_max(level as u8, Ordering::SeqCst);
        drop(guard);
        self.0.raised.notify_all();
    }

    /// The level now.
    #[must_use]
    pub fn level(&self) -> StopLevel {
        match self.0.level.load(Ordering::SeqCst) {
            0 => StopLevel::Go,
            1 => StopLevel::Terminate,
            _ => StopLevel::Now,
        }
    }

    /// Whether all is to end at once.
    #[must_use]
    pub fn is_now(&self) -> bool {
        self.level() == StopLevel::Now
    }

    /// Whether the termination phase is wanted, or more than that.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.level() != StopLevel::Go
    }

    /// Blocks until the level is at least `level` or `patience` is over; returns the level then.
    pub fn wait(&self, level: StopLevel, patience: Duration) -> StopLevel {
        let end = Instant::now() + patience;
        let mut guard = self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
        while self.level() < level {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.raised.wait_timeout(guard, left);
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.level()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Stop, StopLevel};

    #[test]
    fn a_stop_only_rises_and_wakes_who_waits() {
        let stop = Stop::new();
        assert_eq!(stop.wait(StopLevel::Now, Duration::ZERO), StopLevel::Go);
        let other = stop.clone();
        let waiter =
            std::thread::spawn(move || other.wait(StopLevel::Now, Duration::from_secs(60)));
        stop.raise(StopLevel::Now);
        stop.raise(StopLevel::Terminate);
        assert_eq!(waiter.join().unwrap(), StopLevel::Now);
        assert!(stop.is_now() && stop.is_asked());
    }
}
