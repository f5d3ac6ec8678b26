//! How many threads look at the disk for the backlog: as many as keep it busy, and no more.
//!
//! A thread that waits for a processor would not get it sooner if there were more of them; one that
//! waits for the disk leaves room for another request beside its own. So the crew grows while there
//! is work left and most of its time goes by waiting for the disk, as on cold caches, spinning
//! disks and distant filesystems, and shrinks again when it does not.

use std::time::Duration;

use crate::model::limits::LOOKERS_MAX;

/// What a crew did for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Worked {
    /// Jobs that nobody has taken yet.
    pub waiting: usize,
    /// The time at jobs, of all together.
    pub busy: Duration,
    /// Of that the time neither at a processor nor ready for one.
    pub blocked: Duration,
}

/// The size of a crew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crew {
    least: usize,
    wanted: usize,
}

impl Crew {
    /// A crew that begins with its least number.
    #[must_use]
    pub fn new(least: usize) -> Crew {
        let least = least.clamp(1, LOOKERS_MAX);
        Crew { least, wanted: least }
    }

    /// How many there should be, after what they did lately.
    pub fn fit(&mut self, worked: &Worked) -> usize {
        let Worked { waiting, busy, blocked } = *worked;
        if waiting > 0 && blocked * 2 > busy {
            self.wanted = (self.wanted + self.wanted.div_ceil(2)).min(LOOKERS_MAX);
        } else if blocked * 4 < busy || waiting == 0 {
            self.wanted = (self.wanted - 1).max(self.least);
        }
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Crew, Worked};
    use crate::model::limits::LOOKERS_MAX;

    fn worked(waiting: usize, busy: u64, blocked: u64) -> Worked {
        let (busy, blocked) = (Duration::from_millis(busy), Duration::from_millis(blocked));
        Worked { waiting, busy, blocked }
    }

    #[test]
    fn who_waits_for_the_disk_gets_company_and_who_works_does_not() {
        let mut crew = Crew::new(3);
        assert_eq!(crew.fit(&worked(9, 100, 20)), 3, "busy with the processor");
        let grown: Vec<usize> = (0..7).map(|_| crew.fit(&worked(9, 100, 90))).collect();
        assert_eq!(grown, [5, 8, 12, 18, 27, LOOKERS_MAX, LOOKERS_MAX]);
        assert_eq!(crew.fit(&worked(9, 100, 40)), LOOKERS_MAX, "neither nor: it stays");
        assert_eq!(crew.fit(&worked(9, 100, 10)), LOOKERS_MAX - 1);
        let idle: Vec<usize> = (0..40).map(|_| crew.fit(&worked(0, 0, 0))).collect();
        assert_eq!(idle.last(), Some(&3));
    }
}
