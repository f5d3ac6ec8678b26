//! Which watch belongs to which directory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use crate::model::stamp::DirKey;

/// Watches by what the kernel calls them, and keys by watch. Nothing here talks to the kernel.
pub(super) struct Table<N, W> {
    keys: HashMap<N, DirKey>,
    watches: HashMap<DirKey, (N, W)>,
}

/// What entering a watch came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered<W> {
    /// It was not known, or known under this very key.
    Here,
    /// It is another's.
    Other(DirKey),
    /// It is new; the key had this other watch until now, which is to be taken off.
    Instead(W),
}

impl<N: Hash + Eq + Clone, W> Table<N, W> {
    /// An empty table.
    pub(super) fn new() -> Self {
        Table { keys: HashMap::new(), watches: HashMap::new() }
    }

    /// Enters a watch for a directory, unless another has it.
    pub(super) fn enter(&mut self, number: N, watch: W, key: DirKey) -> Entered<W> {
        match self.keys.get(&number) {
            Some(known) if *known == key => return Entered::Here,
            Some(known) => return Entered::Other(*known),
            None => {}
        }
        self.keys.insert(number.clone(), key);
        match self.watches.insert(key, (number, watch)) {
            Some((old, watch)) => {
                self.keys.remove(&old);
                Entered::Instead(watch)
            }
            None => Entered::Here,
        }
    }

    /// The directory that a watch belongs to.
    pub(super) fn key<Q: Hash + Eq + ?Sized>(&self, number: &Q) -> Option<DirKey>
    where
        N: Borrow<Q>,
    {
        self.keys.get(number).copied()
    }

    /// Strikes out a directory.
    pub(super) fn remove(&mut self, key: DirKey) -> Option<W> {
        let (number, watch) = self.watches.remove(&key)?;
        self.keys.remove(&number);
        Some(watch)
    }

    /// Strikes out a watch that the kernel took off by itself.
    pub(super) fn ended<Q: Hash + Eq + ?Sized>(&mut self, number: &Q)
    where
        N: Borrow<Q>,
    {
        if let Some(key) = self.keys.remove(number) {
            self.watches.remove(&key);
        }
    }

    /// How many watches there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Finds what says nothing new within one reading of the queue.
pub(super) struct Repeats<K> {
    last: HashMap<K, bool>,
}

impl<K: Hash + Eq> Repeats<K> {
    /// Nothing was said yet.
    pub(super) fn new() -> Self {
        Repeats { last: HashMap::new() }
    }

    /// Notes what is said of a name; whether it was a write both now and the last time.
    pub(super) fn note(&mut self, name: K, is_write: bool) -> bool {
        if !is_write && self.last.is_empty() {
            return false;
        }
        let before = self.last.insert(name, is_write);
        is_write && before == Some(true)
    }
}
