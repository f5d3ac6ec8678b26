//! Hands for the live tests: operators as real processes, trees, writers that never rest, and the
//! oracle that tells whether two trees are equal.
//!
//! Everything is awaited by its condition, with a bound on the time and a sentence for the case
//! that the bound is reached. A test that lacks something it needs fails and says so.

pub(crate) mod churn;
pub(crate) mod disk;
pub(crate) mod mount;
pub(crate) mod operator;
pub(crate) mod oracle;
pub(crate) mod proxy;
pub(crate) mod silent;
pub(crate) mod whole;
pub(crate) mod zoo;

use std::time::{Duration, Instant};

/// Asks again and again until there is an answer; fails after `patience`, naming the wish.
pub(crate) fn until<T>(wish: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "Waited {} s in vain: {wish}", patience.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As [`until`], for a wish that is true or false.
pub(crate) fn until_true(wish: &str, patience: Duration, mut ask: impl FnMut() -> bool) {
    until(wish, patience, || ask().then_some(()));
}
