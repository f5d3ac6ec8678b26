//! Two bounded places to keep open things in: by recent use, and by number.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Keeps what was used lately. Two generations: when the young one is full it becomes the old one,
/// and what was still in the old one goes. So every step is O(1).
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    /// Keeps at most `max` things.
    pub(super) fn new(max: usize) -> Self {
        Recent { young: HashMap::new(), old: HashMap::new(), half: (max / 2).max(1) }
    }

    /// What is kept under a key.
    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(key.clone(), value.clone());
        Some(value)
    }

    /// Keeps something, in place of what was there.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Lets go of one.
    pub(super) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Lets go of all for whose keys `keep` is false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.young.retain(|key, _| keep(key));
        self.old.retain(|key, _| keep(key));
    }

    /// Lets go of the older half, when descriptors run out.
    pub(super) fn shrink(&mut self) {
        self.old.clear();
        std::mem::swap(&mut self.young, &mut self.old);
    }
}

/// Keeps things by number until they are taken off; when there are too many, the one that was
/// longest not asked for goes.
pub(super) struct Shelf<T> {
    kept: HashMap<u64, (Arc<T>, u64)>,
    uses: u64,
    max: usize,
}

impl<T> Shelf<T> {
    /// Keeps at most `max` things.
    pub(super) fn new(max: usize) -> Self {
        Shelf { kept: HashMap::new(), uses: 0, max }
    }

    /// Puts something on the shelf.
    pub(super) fn put(&mut self, number: u64, thing: T) -> Arc<T> {
        if self.kept.len() >= self.max && !self.kept.contains_key(&number) {
            let stale = self.kept.iter().min_by_key(|(_, (_, used))| *used).map(|(n, _)| *n);
            if let Some(stale) = stale {
                self.kept.remove(&stale);
            }
        }
        self.uses += 1;
        let thing = Arc::new(thing);
        self.kept.insert(number, (Arc::clone(&thing), self.uses));
        thing
    }

    /// What stands there under a number.
    pub(super) fn get(&mut self, number: u64) -> Option<Arc<T>> {
        let (thing, used) = self.kept.get_mut(&number)?;
        self.uses += 1;
        *used = self.uses;
        Some(Arc::clone(thing))
    }

    /// Takes one off.
    pub(super) fn take(&mut self, number: u64) -> Option<Arc<T>> {
        self.kept.remove(&number).map(|(thing, _)| thing)
    }

    /// Takes all off.
    pub(super) fn take_all(&mut self) -> Vec<Arc<T>> {
        self.kept.drain().map(|(_, (thing, _))| thing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Recent, Shelf};

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let mut recent = Recent::new(8);
        for n in 0..100 {
            recent.insert(n, n);
            assert_eq!(recent.get(&0), Some(0), "used each time, so kept");
            assert!(recent.young.len() + recent.old.len() <= 8);
        }
        assert_eq!(recent.get(&50), None);
        recent.retain(|n| *n != 0);
        assert_eq!(recent.get(&0), None);
    }

    #[test]
    fn a_full_shelf_loses_the_longest_unused() {
        let mut shelf = Shelf::new(2);
        shelf.put(1, "a");
        shelf.put(2, "b");
        assert!(shelf.get(1).is_some());
        shelf.put(3, "c");
        assert!(shelf.get(1).is_some() && shelf.get(2).is_none() && shelf.get(3).is_some());
        assert!(shelf.take(3).is_some() && shelf.get(3).is_none());
    }
}
