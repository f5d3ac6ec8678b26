//! What the threads of one epoch at the sink share: how far each has come, and whether it is over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::stamp::{Epoch, Lane, Sequence};
use crate::phases::transfer::steering::Steering;
use crate::stop::{Stop, StopLevel};

/// How long a trouble is told after it was last met.
const TROUBLE_LASTS: Duration = Duration::from_secs(15);

/// The state of one epoch.
pub struct Pulse {
    /// Which epoch.
    pub epoch: Epoch,
    /// What a person limits.
    pub steering: Steering,
    closing: Stop,
    ready: AtomicBool,
    lost: Mutex<Option<String>>,
    seen: [AtomicU64; 2],
    reports_sent: AtomicU64,
    unsaved: Mutex<Unsaved>,
    durable: Mutex<Durable>,
    ending: AtomicBool,
    trouble: Mutex<Option<(String, Instant)>>,
}

/// What was reported and is not yet known to be on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unsaved {
    /// Operations and entries.
    pub operations: u64,
    /// Bytes of content.
    pub bytes: u64,
}

/// The last durable barrier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durable {
    /// All that was answered `applied` in reports up to this one is on disk.
    pub through: u64,
    /// Its number, as the marker has it.
    pub barrier: u64,
}

impl Pulse {
    /// The state of an epoch that begins.
    #[must_use]
    pub fn new(epoch: Epoch) -> Pulse {
        Pulse::steered(epoch, Steering::default())
    }

    /// The same under limits.
    #[must_use]
    pub fn steered(epoch: Epoch, steering: Steering) -> Pulse {
        Pulse {
            epoch,
            steering,
            closing: Stop::new(),
            ready: AtomicBool::new(false),
            lost: Mutex::default(),
            seen: Default::default(),
            reports_sent: AtomicU64::new(0),
            unsaved: Mutex::default(),
            durable: Mutex::default(),
            ending: AtomicBool::new(false),
            trouble: Mutex::default(),
        }
    }

    /// Ends the epoch: all its threads are to end.
    pub fn close(&self) {
        self.closing.raise(StopLevel::Now);
    }

    /// Both sides are ready: the source takes reports from now on.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether both sides are ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether the epoch is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.closing.is_now()
    }

    /// Waits at most so long; true as soon as the epoch is over.
    pub fn wait(&self, patience: Duration) -> bool {
        self.closing.wait(StopLevel::Now, patience) == StopLevel::Now
    }

    /// Ends the epoch because something was lost; the first reason is kept.
    pub fn lose(&self, why: String) {
        if !self.is_over() {
            locked(&self.lost).get_or_insert(why);
        }
        self.close();
    }

    /// Why the epoch was lost, if it was.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        locked(&self.lost).clone()
    }

    /// Notes the last message taken in on a lane.
    pub fn saw(&self, lane: Lane, sequence: Sequence) {
        self.seen[lane.index()].store(sequence, Ordering::Release);
    }

    /// The last message taken in, by lane index.
    #[must_use]
    pub fn seen(&self) -> [Sequence; 2] {
        [0, 1].map(|lane: usize| self.seen[lane].load(Ordering::Acquire))
    }

    /// Notes that a report was sent, and what was applied by what it answers.
    pub fn reported(&self, number: u64, applied: Unsaved) {
        self.reports_sent.store(number, Ordering::Release);
        let mut unsaved = locked(&self.unsaved);
        unsaved.operations += applied.operations;
        unsaved.bytes += applied.bytes;
    }

    /// The number of the last report sent.
    #[must_use]
    pub fn reports_sent(&self) -> u64 {
        self.reports_sent.load(Ordering::Acquire)
    }

    /// What was reported since the last barrier began.
    #[must_use]
    pub fn unsaved(&self) -> Unsaved {
        *locked(&self.unsaved)
    }

    /// The process is about to end: a barrier is due at once.
    pub fn want_last_barrier(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Whether a barrier is due at once.
    #[must_use]
    pub fn wants_last_barrier(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Begins a barrier: it is to speak of the reports up to the one returned.
    pub fn begin_barrier(&self) -> u64 {
        let mut unsaved = locked(&self.unsaved);
        *unsaved = Unsaved::default();
        // A report is counted after it was sent: what is counted is in this one or an earlier one.
        self.reports_sent()
    }

    /// The barrier of that number has succeeded.
    pub fn made_durable(&self, through: u64, barrier: u64) {
        *locked(&self.durable) = Durable { through, barrier };
    }

    /// The last barrier.
    #[must_use]
    pub fn durable(&self) -> Durable {
        *locked(&self.durable)
    }

    /// Something a person should know.
    pub fn note_trouble(&self, text: &str) {
        *locked(&self.trouble) = Some((text.to_owned(), Instant::now()));
    }

    /// What a person should know now.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = locked(&self.trouble);
        let recent = trouble.as_ref().filter(|(_, since)| since.elapsed() < TROUBLE_LASTS);
        recent.map(|(text, _)| text.clone())
    }
}

/// Ends the epoch should its thread die of a bug, so that nobody waits for it.
pub struct Guarded<'a>(pub &'a Pulse);

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lose("A thread of the sink has died of a bug".into());
        }
    }
}

fn locked<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Durable, Pulse, Unsaved};
    use crate::model::stamp::Epoch;

    #[test]
    fn a_barrier_speaks_of_what_was_reported_before_it_began() {
        let pulse = Pulse::new(Epoch(1));
        pulse.reported(1, Unsaved { operations: 3, bytes: 5 });
        let through = pulse.begin_barrier();
        pulse.reported(2, Unsaved { operations: 1, bytes: 0 });
        pulse.made_durable(through, 7);
        assert_eq!(pulse.durable(), Durable { through: 1, barrier: 7 });
        assert_eq!(pulse.unsaved(), Unsaved { operations: 1, bytes: 0 }, "of report 2");
    }

    #[test]
    fn the_first_reason_is_kept() {
        let pulse = Pulse::new(Epoch(1));
        pulse.lose("first".into());
        pulse.lose("second".into());
        assert!(pulse.is_over());
        assert_eq!(pulse.lost().as_deref(), Some("first"));
        let closed = Pulse::new(Epoch(2));
        closed.close();
        closed.lose("the socket was closed".into());
        assert_eq!(closed.lost(), None, "it had ended of its own accord");
    }
}
