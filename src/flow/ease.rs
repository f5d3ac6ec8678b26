//! How many operations on the source's disk the backlog may ask for in a second (`--iops`), so that
//! the host stays of use to those who work on it. Urgent looks are neither counted nor delayed.
//!
//! What a look costs is known once it is back. Until then it is counted for the most that it can
//! cost, so that not many begin that together cost too much.

use std::collections::HashMap;
use std::time::Duration;

use crate::flow::bucket::Bucket;
use crate::model::limits::{CHUNK_BYTES, LISTING_ENTRIES_MAX};
use crate::model::look::{LookId, Seen, Sight, Task, Want};

/// Opening a directory and reading its names.
const LISTING: u64 = 2;
/// Opening a file and beginning to read it.
const OPENING: u64 = 2;

/// In a second there are to be so many looks at names at least, so that each is short.
const LOOKS_A_SECOND: u64 = 10;

/// How much the backlog asks of the disk; as much as it likes by default.
#[derive(Debug, Default)]
pub struct Ease {
    bucket: Bucket,
    /// What looks under way were counted for.
    under_way: HashMap<LookId, u64>,
}

impl Ease {
    /// Sets how many operations a second there may be; none for no limit.
    pub fn set_rate(&mut self, rate: Option<u64>, now: Duration) {
        self.bucket.set_rate(rate, now);
        if rate.is_none() {
            self.under_way.clear();
        }
    }

    /// Operations a second, if there is a limit.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        self.bucket.rate()
    }

    /// Whether a look for the backlog may begin.
    #[must_use]
    pub fn has_room(&self, now: Duration) -> bool {
        self.bucket.has_room(now)
    }

    /// When one may, if none may now.
    #[must_use]
    pub fn next_room(&self, now: Duration) -> Option<Duration> {
        self.bucket.next_room(now)
    }

    /// How many files one look is to bring, of at most so many.
    #[must_use]
    pub fn names(&self, most: usize) -> usize {
        let Some(rate) = self.rate() else { return most };
        let names = rate / LOOKS_A_SECOND / of_want(Want::Content);
        usize::try_from(names).unwrap_or(most).clamp(1, most)
    }

    /// A look for the backlog begins.
    pub fn begin(&mut self, id: LookId, task: &Task, now: Duration) {
        if self.rate().is_some() {
            let most = most(task);
            self.bucket.spend(most, now);
            self.under_way.insert(id, most);
        }
    }

    /// A look is back, whether it was counted or not.
    pub fn end(&mut self, id: LookId, seen: &Seen, now: Duration) {
        let Some(counted) = self.under_way.remove(&id) else { return };
        let cost = cost(seen).unwrap_or(counted);
        if cost <= counted {
            self.bucket.refund(counted - cost, now);
        } else {
            self.bucket.spend(cost - counted, now);
        }
    }

    /// Nobody waits for that look any more: it stays counted.
    pub fn forget(&mut self, id: LookId) {
        self.under_way.remove(&id);
    }
}

/// Operations that a look takes at the most, as far as can be told before.
fn most(task: &Task) -> u64 {
    match task {
        Task::Arm { .. } => LISTING,
        Task::List { .. } => LISTING + LISTING_ENTRIES_MAX as u64,
        Task::Names(names) => names.iter().map(|(_, want)| of_want(*want)).sum(),
        Task::Probe(names) => names.len() as u64,
        Task::Paths(paths) => paths.len() as u64,
        Task::OwnMeta | Task::Chunk { .. } | Task::Compare { .. } => 1,
        Task::Finish { .. } => 2,
        Task::CloseListing { .. } | Task::CloseTransfer { .. } => 0,
    }
}

fn of_want(want: Want) -> u64 {
    match want {
        Want::Meta => 1,
        Want::Content | Want::Hash | Want::Open { .. } => 1 + OPENING,
    }
}

/// Operations that a look took, where what it saw tells.
fn cost(seen: &Seen) -> Option<u64> {
    match seen {
        Seen::Part { entries, problems, .. } => {
            Some(LISTING + (entries.len() + problems.len()) as u64)
        }
        Seen::Names { sights, .. } => Some(sights.iter().map(|(_, sight)| of_sight(sight)).sum()),
        _ => None,
    }
}

fn of_sight(sight: &Sight) -> u64 {
    match sight {
        Sight::There { read: Some(read), .. } => 1 + OPENING + read.bytes / CHUNK_BYTES,
        Sight::There { read: None, .. } | Sight::Gone | Sight::Withheld | Sight::Problem(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Ease;
    use crate::model::look::{Seen, Sight, Task, Want};
    use crate::model::path::Name;

    const SECOND: Duration = Duration::from_secs(1);
    const LIST: Task = Task::List { listing: 1, first: true, recall: false, probe: false };

    fn ease(rate: u64) -> Ease {
        let mut ease = Ease::default();
        ease.set_rate(Some(rate), Duration::ZERO);
        ease
    }

    #[test]
    fn a_listing_counts_for_all_it_may_hold_until_it_is_back() {
        let mut ease = ease(100);
        ease.begin(1, &LIST, Duration::ZERO);
        assert_eq!(ease.next_room(Duration::ZERO), Some(SECOND * 514 / 100));
        let name = |n: u8| Name::new([b'a' + n]).unwrap();
        let problems = (0..8).map(|n| (name(n), String::new())).collect();
        let seen = Seen::Part {
            identity: crate::model::entry::Identity { device: 1, inode: 1, birth: 0 },
            changed: crate::model::entry::FileTime::default(),
            watch: crate::model::look::WatchState::Watched,
            entries: Vec::new(),
            problems,
            end: crate::model::op::ListingEnd::Complete,
            missing: None,
        };
        ease.end(1, &seen, Duration::ZERO);
        assert_eq!(ease.next_room(Duration::ZERO), Some(SECOND / 10), "two and eight");
    }

    #[test]
    fn names_that_are_gone_cost_one_look_each() {
        let mut ease = ease(100);
        let name = Name::new(*b"a").unwrap();
        let names = vec![(name.clone(), Want::Content); 10];
        ease.begin(1, &Task::Names(names), Duration::ZERO);
        assert_eq!(ease.next_room(Duration::ZERO), Some(SECOND * 3 / 10));
        let sights = vec![(name, Sight::Gone); 10];
        let seen = Seen::Names { sights, content: Vec::new(), notes: Vec::new() };
        ease.end(1, &seen, Duration::ZERO);
        assert_eq!(ease.next_room(Duration::ZERO), Some(SECOND / 10));
        ease.end(1, &Seen::Closed, Duration::ZERO);
        assert_eq!(ease.next_room(Duration::ZERO), Some(SECOND / 10), "it is counted once");
    }

    #[test]
    fn looks_are_shorter_where_little_may_be_asked() {
        assert_eq!(Ease::default().names(256), 256);
        assert_eq!([1, 500, 1_000_000].map(|rate| ease(rate).names(256)), [1, 16, 256]);
    }

    #[test]
    fn without_a_limit_nothing_is_counted_or_kept() {
        let mut ease = ease(1);
        ease.begin(1, &LIST, Duration::ZERO);
        ease.set_rate(None, Duration::ZERO);
        ease.begin(2, &LIST, Duration::ZERO);
        assert!(ease.has_room(Duration::ZERO) && ease.under_way.is_empty());
        let mut ease = self::ease(1);
        ease.begin(1, &LIST, Duration::ZERO);
        ease.forget(1);
        assert!(ease.under_way.is_empty() && !ease.has_room(SECOND));
    }
}
