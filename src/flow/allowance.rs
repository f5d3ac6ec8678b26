//! How many names may go before removals halt (law 9).
//!
//! - A limit in names is held against the removals of the last hour; a name counts once.
//! - A limit in shares is held against how much smaller the pool is than an hour ago, so that what
//!   comes and goes in a pool in use never adds up to an alarm. What went while nobody watched
//!   never was in that size: until it is first known, removals are counted by themselves.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::model::limits::GONE_NAMES_MAX;
use crate::model::path::RelPath;
use crate::model::removal::MaxDelete;

/// Removals longer ago than this are not counted any more.
pub const WINDOW: Duration = Duration::from_secs(60 * 60);
/// Removals of so long a time grow old together: the window has sixty of them.
const SLOT: Duration = Duration::from_secs(60);

/// Whether some more names may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They may, and are counted.
    Granted,
    /// They may not until the size of the pool is known.
    Later,
    /// They would be too many; so many in all.
    Exceeded(u64),
}

/// What is known of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Names that are there now.
    pub names: u64,
    /// Whether that is all of them.
    pub is_known: bool,
}

/// Counts the removals of one sink.
#[derive(Debug, Default)]
pub struct Allowance {
    /// The latest last.
    slots: VecDeque<Slot>,
    /// Slots, and how many names the pool held in each when first asked; the first one is what it
    /// held an hour ago, or when that was first known.
    sizes: VecDeque<(u64, u64)>,
    /// Names in all slots.
    kept: usize,
}

/// The removals of one stretch of time.
#[derive(Debug, Default)]
struct Slot {
    /// Its number, counted from the start of time.
    at: u64,
    /// Hashes of the paths.
    names: HashSet<u64>,
    /// The same of those that a person let go: they count neither now nor when asked for again.
    excused: HashSet<u64>,
    /// How many of all went before the size of the pool was first known.
    unseen: u64,
    /// Removals beyond the bound.
    beyond: u64,
}

impl Allowance {
    /// Whether the size of the pool was ever known.
    #[must_use]
    pub fn knows_pool(&self) -> bool {
        !self.sizes.is_empty()
    }

    /// Notes how many names the pool holds.
    pub fn saw(&mut self, names: u64, now: Duration) {
        let at = now.as_secs() / SLOT.as_secs();
        if self.sizes.back().is_none_or(|(slot, _)| *slot != at) {
            self.sizes.push_back((at, names));
        }
        while self.sizes.get(1).is_some_and(|(slot, _)| *slot <= oldest(at)) {
            self.sizes.pop_front();
        }
    }

    /// Asks whether these names may go too.
    pub fn ask(
        &mut self,
        limit: MaxDelete,
        paths: &[&RelPath],
        pool: Pool,
        now: Duration,
    ) -> Verdict {
        let at = now.as_secs() / SLOT.as_secs();
        self.expire(at);
        let mut fresh: Vec<u64> = paths.iter().map(|path| hash(path)).collect();
        fresh.retain(|name| !self.slots.iter().any(|slot| slot.knows(name)));
        if !fresh.is_empty() {
            let (gone, names) = self.balance(limit, fresh.len() as u64, pool);
            if limit.is_exceeded(gone, names) {
                if limit.is_share() && !pool.is_known {
                    return Verdict::Later;
                }
                return Verdict::Exceeded(gone);
            }
        }
        self.count(at, fresh);
        Verdict::Granted
    }

    /// How many names would have gone with so many more, and of how many.
    fn balance(&self, limit: MaxDelete, fresh: u64, pool: Pool) -> (u64, u64) {
        let counted = |slot: &Slot| match limit.is_share() {
            true => slot.unseen,
            false => slot.names.len() as u64 + slot.beyond,
        };
        let before: u64 = self.slots.iter().map(counted).sum();
        match self.sizes.front() {
            Some((_, held)) if limit.is_share() => {
                let gone = before.max(held.saturating_sub(pool.names));
                (gone, pool.names.saturating_add(gone))
            }
            _ => (before + fresh, pool.names.saturating_add(before + fresh)),
        }
    }

    /// A person has let these names go: they do not count.
    pub fn excuse<'a>(&mut self, paths: impl Iterator<Item = &'a RelPath>, now: Duration) {
        let kept = self.kept;
        let slot = self.slot(now.as_secs() / SLOT.as_secs());
        let before = slot.excused.len();
        slot.excused.extend(paths.take(GONE_NAMES_MAX.saturating_sub(kept)).map(hash));
        self.kept = kept + slot.excused.len() - before;
    }

    /// The slot of this stretch of time.
    fn slot(&mut self, at: u64) -> &mut Slot {
        if self.slots.back().is_none_or(|slot| slot.at != at) {
            self.slots.push_back(Slot { at, ..Slot::default() });
        }
        let last = self.slots.len() - 1;
        &mut self.slots[last]
    }

    fn count(&mut self, at: u64, fresh: Vec<u64>) {
        let (mut kept, knows_pool) = (self.kept, self.knows_pool());
        let slot = self.slot(at);
        for name in fresh {
            slot.unseen += u64::from(!knows_pool);
            if kept >= GONE_NAMES_MAX {
                slot.beyond += 1;
            } else if slot.names.insert(name) {
                kept += 1;
            }
        }
        self.kept = kept;
    }

    fn expire(&mut self, now: u64) {
        while self.slots.front().is_some_and(|slot| slot.at < oldest(now)) {
            let old = self.slots.pop_front();
            self.kept -= old.map_or(0, |slot| slot.names.len() + slot.excused.len());
        }
    }

    /// Whether as many names are back as the limit asks for, of those that were too many; what is
    /// not a share of the pool, or went unseen, can't be told from its size.
    #[must_use]
    pub fn is_restored(&self, limit: MaxDelete, pool: Pool) -> bool {
        let (gone, names) = self.balance(limit, 0, pool);
        limit.is_share() && self.knows_pool() && pool.is_known && !limit.is_exceeded(gone, names)
    }

    /// A person says that what was too much may go: the count begins anew.
    pub fn begin_anew(&mut self) {
        self.slots.clear();
        self.sizes.clear();
        self.kept = 0;
    }
}

impl Slot {
    fn knows(&self, name: &u64) -> bool {
        self.names.contains(name) || self.excused.contains(name)
    }
}

/// The first slot of a window that ends with this one.
fn oldest(at: u64) -> u64 {
    at.saturating_sub(WINDOW.as_secs() / SLOT.as_secs())
}

fn hash(path: &RelPath) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Allowance, Pool, Verdict, WINDOW};
    use crate::model::path::RelPath;
    use crate::model::removal::MaxDelete;

    const POOL: Pool = Pool { names: 10_000, is_known: true };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ask(
        allowance: &mut Allowance,
        limit: MaxDelete,
        names: std::ops::Range<u32>,
        pool: Pool,
        seconds: u64,
    ) -> Verdict {
        let paths: Vec<RelPath> =
            names.map(|name| RelPath::new(name.to_string().as_bytes()).unwrap()).collect();
        allowance.ask(limit, &paths.iter().collect::<Vec<_>>(), pool, at(seconds))
    }

    #[test]
    fn names_add_up_within_the_window_alone_and_count_once() {
        let mut allowance = Allowance::default();
        let limit = MaxDelete::Names(10);
        assert_eq!(ask(&mut allowance, limit, 0..6, POOL, 0), Verdict::Granted);
        assert_eq!(ask(&mut allowance, limit, 6..10, POOL, 1_800), Verdict::Granted);
        assert_eq!(ask(&mut allowance, limit, 0..10, POOL, 1_800), Verdict::Granted);
        assert_eq!(ask(&mut allowance, limit, 9..11, POOL, 3_599), Verdict::Exceeded(11));
        assert_eq!(ask(&mut allowance, limit, 10..16, POOL, 3_700), Verdict::Granted);
        assert_eq!(ask(&mut allowance, limit, 16..17, POOL, 3_700), Verdict::Exceeded(11));
    }

    #[test]
    fn a_share_is_of_what_there_was_an_hour_ago() {
        let mut allowance = Allowance::default();
        let limit = MaxDelete::Percent(50);
        let pool = |names| Pool { names, is_known: true };
        allowance.saw(100, at(0));
        assert_eq!(ask(&mut allowance, limit, 0..50, pool(50), 60), Verdict::Granted);
        assert_eq!(ask(&mut allowance, limit, 50..51, pool(49), 120), Verdict::Exceeded(51));
        // What came since takes the place of what went.
        assert_eq!(ask(&mut allowance, limit, 50..90, pool(60), 180), Verdict::Granted);
        let later = WINDOW.as_secs() + 200;
        allowance.saw(60, at(190));
        allowance.saw(60, at(later));
        assert_eq!(ask(&mut allowance, limit, 90..100, pool(31), later), Verdict::Granted);
        assert_eq!(ask(&mut allowance, limit, 100..101, pool(29), later), Verdict::Exceeded(31));
    }

    #[test]
    fn what_nobody_saw_go_counts_by_itself_and_waits_until_the_pool_is_known() {
        let mut allowance = Allowance::default();
        let limit = MaxDelete::Percent(50);
        let pool = |names, is_known| Pool { names, is_known };
        let mut ask = |names, pool| ask(&mut allowance, limit, names, pool, 0);
        assert_eq!(ask(0..10, pool(10, true)), Verdict::Granted);
        assert_eq!(ask(10..11, pool(10, false)), Verdict::Later);
        assert_eq!(ask(10..11, pool(10, true)), Verdict::Exceeded(11));
        assert_eq!(ask(10..11, pool(11, true)), Verdict::Granted);
        let mut other = Allowance::default();
        let none = MaxDelete::Names(0);
        assert_eq!(
            super::tests::ask(&mut other, none, 0..1, pool(0, false), 0),
            Verdict::Exceeded(1)
        );
    }

    #[test]
    fn what_came_back_is_not_gone_and_a_person_begins_the_count_anew() {
        let mut allowance = Allowance::default();
        let limit = MaxDelete::Percent(50);
        let pool = |names| Pool { names, is_known: true };
        allowance.saw(100, at(0));
        assert_eq!(ask(&mut allowance, limit, 0..60, pool(40), 1), Verdict::Exceeded(60));
        assert!(!allowance.is_restored(limit, pool(49)) && allowance.is_restored(limit, pool(50)));
        assert!(!allowance.is_restored(limit, Pool { names: 90, is_known: false }));
        allowance.begin_anew();
        allowance.saw(40, at(2));
        assert_eq!(ask(&mut allowance, limit, 0..20, pool(20), 3), Verdict::Granted);
        assert_eq!(ask(&mut allowance, limit, 20..21, pool(19), 4), Verdict::Exceeded(21));
    }
}
