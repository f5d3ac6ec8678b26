//! The limits of an operator while it runs: what a person has set, and how the threads of the
//! backlog heed it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::model::priority::{Nice, Priority};
use crate::model::setting::{Limits, Setting};
use crate::os::{clock, priority};

/// The limits, shared by all threads of an operator.
#[derive(Debug, Clone, Default)]
pub struct Steering(Arc<Mutex<Limits>>);

impl Steering {
    /// The limits that an operator starts with.
    ///
    /// # Errors
    /// `Refused`, if the system does not let threads be as gentle as that.
    pub fn new(mut limits: Limits) -> Result<Steering, Error> {
        let unasked = Priority { nice: Nice::OF_BACKLOG, ..Priority::default() };
        match priority::try_change(Priority::default(), limits.priority) {
            Ok(()) => {}
            // A sandbox may not allow what nobody has asked for.
            Err(_) if limits.priority == unasked => limits.priority = Priority::default(),
            Err(error) => {
                return Err(Error::Refused(format!(
                    "The threads of the backlog can't be as gentle: {error}"
                )));
            }
        }
        Ok(Steering(Arc::new(Mutex::new(limits))))
    }

    /// What is set now.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.lock().clone()
    }

    /// Bytes a second at this time of day; none for no limit.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        let limits = self.lock();
        // Most have no limit, and need not know the time.
        if limits.bandwidth.is_unlimited() {
            None
        } else {
            limits.bandwidth.at(clock::week_minute())
        }
    }

    /// Changes one of them; in words, what holds now.
    ///
    /// # Errors
    /// A sentence, if the system does not allow it.
    pub fn set(&self, setting: Setting) -> Result<String, String> {
        let mut limits = self.lock();
        let changed = setting.clone().apply(&limits);
        if changed.priority != limits.priority {
            priority::try_change(limits.priority, changed.priority).map_err(|error| {
                format!(
                    "The threads of the backlog can't change so: {error}. An ordinary user's can't \
                     become less nice again; start the operator anew for that"
                )
            })?;
        }
        *limits = changed;
        Ok(match setting {
            Setting::Resume => String::new(),
            Setting::Bandwidth(bandwidth) => format!("bwlimit is {bandwidth} now"),
            Setting::Iops(Some(iops)) => format!("iops is {iops} now"),
            Setting::Iops(None) => "iops is off now".to_owned(),
            Setting::Nice(nice) => format!("nice is {} now", nice.value()),
            Setting::IoNice(io) => format!("ionice is {io} now"),
        })
    }

    /// How gentle the threads of the backlog are to be.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.lock().priority
    }

    fn lock(&self) -> MutexGuard<'_, Limits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How one thread of the backlog behaves. Lives in that thread.
#[derive(Debug)]
pub struct Manners {
    steering: Steering,
    /// What was asked of the system last.
    asked: Priority,
}

impl Manners {
    /// Of a thread that is as any other.
    #[must_use]
    pub fn new(steering: Steering) -> Manners {
        Manners { steering, asked: Priority::default() }
    }

    /// Whether the backlog is to be gentle, for a thread that does not become so itself.
    #[must_use]
    pub fn is_gentle(&self) -> bool {
        !self.steering.priority().is_plain()
    }

    /// Makes the calling thread as gentle as it is to be by now; true if that is gentler than
    /// others.
    pub fn mind(&mut self) -> bool {
        let wanted = self.steering.priority();
        if wanted != self.asked {
            self.asked = wanted;
            if let Err(error) = priority::set_own(wanted) {
                tracing::warn!(?wanted, %error, "a thread of the backlog stays as it was");
            }
        }
        !wanted.is_plain()
    }
}

#[cfg(test)]
mod tests {
    use super::{Manners, Steering};
    use crate::model::setting::{Limits, Setting};

    fn set(steering: &Steering, name: &str, value: &str) -> String {
        steering.set(Setting::parse(name, value).unwrap()).unwrap()
    }

    #[test]
    fn what_is_set_holds_at_once_and_is_said() {
        let steering = Steering::new(Limits::default()).unwrap();
        assert_eq!(steering.rate(), None);
        assert_eq!(set(&steering, "bwlimit", "20M"), "bwlimit is 20M now");
        assert_eq!(steering.rate(), Some(20 << 20));
        assert_eq!(
            set(&steering, "bwlimit", "00:00,1M 12:00,1M"),
            "bwlimit is 00:00,1M 12:00,1M now"
        );
        assert_eq!(steering.rate(), Some(1 << 20));
        assert_eq!(set(&steering, "iops", "0"), "iops is off now");
        assert_eq!(set(&steering, "ionice", "be"), "ionice is best-effort:4 now");
        set(&steering, "bwlimit", "0");
        assert_eq!(steering.rate(), None);
    }

    #[test]
    fn a_thread_minds_what_is_set_later() {
        let steering = Steering::new(Limits::default()).unwrap();
        let theirs = steering.clone();
        std::thread::spawn(move || {
            let nice = || rustix::process::getpriority_process(None).unwrap();
            let (mut manners, before) = (Manners::new(theirs.clone()), nice());
            assert!(!manners.mind());
            assert_eq!(nice(), before);
            set(&theirs, "nice", "7");
            assert!(manners.mind());
            assert_eq!(nice(), 7);
        })
        .join()
        .unwrap();
    }
}
