//! For how long a thread had a processor, or waited for one, by the kernel's account of it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The account of the thread that opened it.
const ACCOUNT: &str = "/proc/thread-self/schedstat";

/// The account of one thread.
pub struct Account(Option<File>);

impl Account {
    /// Of the calling thread; one that tells nothing where the kernel keeps none.
    #[must_use]
    pub fn open() -> Account {
        Account(File::open(ACCOUNT).ok())
    }

    /// The time for which the thread had a processor or was ready for one, since it began.
    #[must_use]
    pub fn active(&self) -> Option<Duration> {
        let mut text = [0; 128];
        let length = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        active_in(std::str::from_utf8(text.get(..length)?).ok()?)
    }
}

/// The sum of the two first numbers, both in nanoseconds.
fn active_in(text: &str) -> Option<Duration> {
    let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().ok());
    let (running, ready) = (numbers.next()??, numbers.next()??);
    Some(Duration::from_nanos(running.checked_add(ready)?))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Account, active_in};

    #[test]
    fn sleep_is_no_activity() {
        let account = Account::open();
        let Some(before) = account.active() else { return };
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(20));
        let active = account.active().unwrap() - before;
        assert!(active < began.elapsed(), "{active:?}");
    }

    #[test]
    fn what_is_no_account_tells_nothing() {
        assert_eq!(active_in("5 7 1\n"), Some(Duration::from_nanos(12)));
        for text in ["", "5", "5 x 1", "18446744073709551615 1 1"] {
            assert_eq!(active_in(text), None, "{text}");
        }
    }
}
