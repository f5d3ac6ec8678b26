//! The map of directories at the source: parent pointers by key, so that a move is O(1).
//!
//! - Shared by all sinks; follows events, and looks only once the kernel queue was empty (law 2).
//! - Holds directories only, never files: its size is what law 6 allows to grow.
//! - A directory may be adrift for a moment: known, watched, and at no place (displaced by a
//!   rename whose other half is still to come).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::model::entry::Identity;
use crate::model::look::DirAddress;
use crate::model::path::{Name, RelPath};
use crate::model::stamp::DirKey;

/// One directory.
#[derive(Debug)]
pub struct Dir {
    place: Option<(DirKey, Name)>,
    children: BTreeMap<Name, DirKey>,
    identity: Option<Identity>,
    watched: bool,
    /// Whether it was armed and its directories entered here.
    pub scanned: bool,
    /// What was read of it may have been another one's: only a look that arms it tells.
    mistaken: bool,
}

impl Dir {
    fn new(place: Option<(DirKey, Name)>) -> Dir {
        Dir {
            place,
            children: BTreeMap::new(),
            identity: None,
            watched: false,
            scanned: false,
            mistaken: false,
        }
    }

    /// What it is; nothing before it was first opened.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// The directory above and the name there; nothing for the root, or while adrift.
    #[must_use]
    pub fn place(&self) -> Option<&(DirKey, Name)> {
        self.place.as_ref()
    }
}

/// A directory can't be moved below itself, nor to or from what is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMovable;

/// Hashes the keys of directories: numbers of our own making, so that nobody can choose them ill,
/// asked for once for each directory on the way to every path.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // An odd multiplier spreads a count over all bits (Knuth's multiplicative hashing).
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(32);
    }
}

/// All directories known.
#[derive(Debug)]
pub struct DirMap {
    dirs: HashMap<DirKey, Dir, BuildHasherDefault<KeyHasher>>,
    by_identity: HashMap<Identity, DirKey>,
    /// Directories that were armed in vain.
    unwatched: BTreeSet<DirKey>,
    /// Whether the watcher failed.
    deaf: bool,
    next: u64,
}

impl DirMap {
    /// A map that holds the root alone.
    #[must_use]
    pub fn new(root: Identity) -> DirMap {
        let mut dir = Dir::new(None);
        dir.identity = Some(root);
        DirMap {
            dirs: HashMap::from_iter([(DirKey::ROOT, dir)]),
            by_identity: HashMap::from([(root, DirKey::ROOT)]),
            unwatched: BTreeSet::new(),
            deaf: false,
            next: 1,
        }
    }

    /// How many directories are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dirs.len()
    }

    /// Never true: the root is always known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dirs.is_empty()
    }

    /// One directory.
    #[must_use]
    pub fn get(&self, key: DirKey) -> Option<&Dir> {
        self.dirs.get(&key)
    }

    /// Notes that a directory was armed and read, by the look that armed it.
    pub fn set_armed(&mut self, key: DirKey) {
        if let Some(dir) = self.dirs.get_mut(&key) {
            (dir.scanned, dir.mistaken) = (true, false);
        }
    }

    /// Notes that a directory was armed and read, by a listing that may have begun at any time.
    pub fn set_listed(&mut self, key: DirKey) {
        if let Some(dir) = self.dirs.get_mut(&key) {
            dir.scanned |= !dir.mistaken;
        }
    }

    /// What was read of a directory may have been another one's: it is to be armed again.
    pub fn set_mistaken(&mut self, key: DirKey) {
        if let Some(dir) = self.dirs.get_mut(&key) {
            (dir.scanned, dir.mistaken) = (false, true);
        }
    }

    /// Notes whether events tell of a directory.
    pub fn set_watched(&mut self, key: DirKey, watched: bool) {
        let Some(dir) = self.dirs.get_mut(&key) else { return };
        dir.watched = watched && !self.deaf;
        if dir.watched {
            self.unwatched.remove(&key);
        } else {
            self.unwatched.insert(key);
        }
    }

    /// No events come any more, from no directory.
    pub fn set_deaf(&mut self) {
        self.deaf = true;
        self.dirs.values_mut().for_each(|dir| dir.watched = false);
        self.unwatched.extend(self.dirs.keys());
    }

    /// Whether events come from a directory.
    #[must_use]
    pub fn is_watched(&self, key: DirKey) -> bool {
        self.dirs.get(&key).is_some_and(|dir| dir.watched)
    }

    /// The directories that no events come from, as far as known.
    pub fn unwatched(&self) -> impl Iterator<Item = DirKey> + '_ {
        self.unwatched.iter().copied()
    }

    /// How many these are.
    #[must_use]
    pub fn unwatched_count(&self) -> usize {
        self.unwatched.len()
    }

    /// The topmost of these: the directory above each is watched.
    pub fn unwatched_tops(&self) -> impl Iterator<Item = DirKey> + '_ {
        self.unwatched().filter(|key| {
            let above = self.dirs.get(key).and_then(Dir::place);
            above.is_none_or(|(parent, _)| !self.unwatched.contains(parent))
        })
    }

    /// The keys of all directories, in no order.
    pub fn keys(&self) -> impl Iterator<Item = DirKey> + '_ {
        self.dirs.keys().copied()
    }

    /// The directory of that name in another.
    #[must_use]
    pub fn child(&self, parent: DirKey, name: &Name) -> Option<DirKey> {
        self.dirs.get(&parent)?.children.get(name).copied()
    }

    /// The directories in another, by name.
    pub fn children(&self, parent: DirKey) -> impl Iterator<Item = (&Name, DirKey)> + '_ {
        self.dirs.get(&parent).into_iter().flat_map(|dir| dir.children.iter().map(|(n, k)| (n, *k)))
    }

    /// The directory of that identity.
    #[must_use]
    pub fn by_identity(&self, identity: Identity) -> Option<DirKey> {
        self.by_identity.get(&identity).copied()
    }

    /// The names from the root down to a directory; nothing if it, or one above it, is adrift.
    fn names_to(&self, key: DirKey) -> Option<Vec<&Name>> {
        let mut names = Vec::new();
        let mut at = key;
        while at != DirKey::ROOT {
            let (parent, name) = self.dirs.get(&at)?.place.as_ref()?;
            names.push(name);
            at = *parent;
        }
        names.reverse();
        Some(names)
    }

    /// The path of a directory; nothing if it, or one above it, is unknown or adrift.
    #[must_use]
    pub fn path(&self, key: DirKey) -> Option<RelPath> {
        Some(RelPath::from_names(self.names_to(key)?))
    }

    /// Where a look finds a directory.
    #[must_use]
    pub fn address(&self, key: DirKey) -> Option<DirAddress> {
        let identity = self.dirs.get(&key)?.identity;
        Some(DirAddress { key, path: self.path(key)?, identity })
    }

    /// Whether a directory is another or lies below it.
    #[must_use]
    pub fn is_at_or_below(&self, key: DirKey, above: DirKey) -> bool {
        self.upwards(key).any(|at| at == above)
    }

    /// A directory and those above it, up to the root or to one adrift.
    pub fn upwards(&self, key: DirKey) -> impl Iterator<Item = DirKey> + '_ {
        std::iter::successors(Some(key), |at| {
            self.dirs.get(at)?.place.as_ref().map(|(parent, _)| *parent)
        })
    }

    /// Whether a directory lies on another filesystem than the one above it: something is mounted
    /// there.
    #[must_use]
    pub fn is_mount(&self, key: DirKey) -> bool {
        let device = |key: DirKey| Some(self.dirs.get(&key)?.identity?.device);
        let above = self.dirs.get(&key).and_then(|dir| dir.place.as_ref());
        above.is_some_and(|(parent, _)| {
            device(*parent).zip(device(key)).is_some_and(|(above, own)| above != own)
        })
    }

    /// A directory and all below it, parents first.
    #[must_use]
    pub fn subtree(&self, key: DirKey) -> Vec<DirKey> {
        let mut found = vec![key];
        let mut at = 0;
        while at < found.len() {
            if let Some(dir) = self.dirs.get(&found[at]) {
                found.extend(dir.children.values());
            }
            at += 1;
        }
        found
    }

    /// Enters a directory that was met at a name where none was known.
    pub fn insert(&mut self, parent: DirKey, name: Name) -> Option<DirKey> {
        let above = self.dirs.get_mut(&parent)?;
        let key = DirKey(self.next);
        self.next += 1;
        let displaced = above.children.insert(name.clone(), key);
        debug_assert!(displaced.is_none());
        self.dirs.insert(key, Dir::new(Some((parent, name))));
        Some(key)
    }

    /// Notes what a directory is.
    ///
    /// # Errors
    /// With the other key, if that identity is known elsewhere; with its own, if it is known to be
    /// something else: the caller has to find out what moved.
    pub fn identify(&mut self, key: DirKey, identity: Identity) -> Result<(), DirKey> {
        if let Some(&known) = self.by_identity.get(&identity) {
            return if known == key { Ok(()) } else { Err(known) };
        }
        match self.dirs.get_mut(&key) {
            Some(dir) if dir.identity.is_none() => {
                dir.identity = Some(identity);
                self.by_identity.insert(identity, key);
                Ok(())
            }
            _ => Err(key),
        }
    }

    /// Takes a directory from its place; it stays known, adrift, with all below it.
    pub fn set_adrift(&mut self, key: DirKey) {
        let place = self.dirs.get_mut(&key).and_then(|dir| dir.place.take());
        if let Some((parent, name)) = place
            && let Some(above) = self.dirs.get_mut(&parent)
        {
            above.children.remove(&name);
        }
    }

    /// Moves a directory to a name; whatever directory was known there is set adrift and returned.
    ///
    /// # Errors
    /// When the move would put a directory below itself, or either end is unknown.
    pub fn move_to(
        &mut self,
        key: DirKey,
        parent: DirKey,
        name: &Name,
    ) -> Result<Option<DirKey>, NotMovable> {
        let known = self.dirs.contains_key(&key) && self.dirs.contains_key(&parent);
        if !known || key == DirKey::ROOT || self.is_at_or_below(parent, key) {
            return Err(NotMovable);
        }
        let displaced = self.child(parent, name).filter(|&there| there != key);
        if let Some(there) = displaced {
            self.set_adrift(there);
        }
        self.set_adrift(key);
        if let Some(above) = self.dirs.get_mut(&parent) {
            above.children.insert(name.clone(), key);
        }
        if let Some(dir) = self.dirs.get_mut(&key) {
            dir.place = Some((parent, name.clone()));
        }
        Ok(displaced)
    }

    /// Forgets a directory and all below it; returns their keys.
    pub fn remove(&mut self, key: DirKey) -> Vec<DirKey> {
        if key == DirKey::ROOT || !self.dirs.contains_key(&key) {
            return Vec::new();
        }
        let gone = self.subtree(key);
        self.set_adrift(key);
        for each in &gone {
            self.unwatched.remove(each);
            if let Some(identity) = self.dirs.remove(each).and_then(|dir| dir.identity) {
                self.by_identity.remove(&identity);
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::{DirMap, NotMovable};
    use crate::model::entry::Identity;
    use crate::model::path::Name;
    use crate::model::stamp::DirKey;

    fn identity(inode: u64) -> Identity {
        Identity { device: 1, inode, birth: 0 }
    }

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_move_takes_all_below_along() {
        let mut map = DirMap::new(identity(1));
        let a = map.insert(DirKey::ROOT, name("a")).unwrap();
        let b = map.insert(a, name("b")).unwrap();
        let c = map.insert(DirKey::ROOT, name("c")).unwrap();
        assert_eq!(map.move_to(a, c, &name("d")), Ok(None));
        assert_eq!(map.path(b).unwrap().to_string(), "c/d/b");
        assert_eq!(map.move_to(c, b, &name("x")), Err(NotMovable), "a directory below itself");
        assert_eq!(map.move_to(b, DirKey::ROOT, &name("c")), Ok(Some(c)));
        assert_eq!(map.path(a), None, "below one adrift");
        assert_eq!(map.remove(c), [c, a]);
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn another_device_than_above_is_a_mount() {
        let mut map = DirMap::new(identity(1));
        let a = map.insert(DirKey::ROOT, name("a")).unwrap();
        let b = map.insert(a, name("b")).unwrap();
        assert!(!map.is_mount(a) && !map.is_mount(b), "not looked at yet");
        map.identify(a, Identity { device: 2, ..identity(2) }).unwrap();
        map.identify(b, Identity { device: 2, ..identity(3) }).unwrap();
        let mounts = [DirKey::ROOT, a, b].map(|key| map.is_mount(key));
        assert_eq!(mounts, [false, true, false]);
    }

    #[test]
    fn unwatched_directories_are_known_by_the_topmost() {
        let mut map = DirMap::new(identity(1));
        let a = map.insert(DirKey::ROOT, name("a")).unwrap();
        let b = map.insert(a, name("b")).unwrap();
        let c = map.insert(DirKey::ROOT, name("c")).unwrap();
        map.set_watched(DirKey::ROOT, true);
        [a, b, c].into_iter().for_each(|key| map.set_watched(key, false));
        assert_eq!(map.unwatched_tops().collect::<Vec<_>>(), [a, c]);
        map.set_watched(a, true);
        assert_eq!(map.unwatched_tops().collect::<Vec<_>>(), [b, c]);
        map.remove(a);
        assert_eq!(map.unwatched().collect::<Vec<_>>(), [c]);
        map.set_watched(b, false);
        assert_eq!(map.unwatched_count(), 1, "what is gone is not unwatched");
        map.set_deaf();
        map.set_watched(c, true);
        assert!(!map.is_watched(c));
        assert_eq!(map.unwatched_tops().collect::<Vec<_>>(), [DirKey::ROOT]);
    }

    #[test]
    fn an_identity_is_at_one_place() {
        let mut map = DirMap::new(identity(1));
        let a = map.insert(DirKey::ROOT, name("a")).unwrap();
        let b = map.insert(DirKey::ROOT, name("b")).unwrap();
        assert_eq!(map.identify(a, identity(2)), Ok(()));
        assert_eq!(map.identify(b, identity(2)), Err(a));
        assert_eq!(map.identify(a, identity(3)), Err(a));
        map.remove(a);
        assert_eq!(map.identify(b, identity(2)), Ok(()));
    }
}
