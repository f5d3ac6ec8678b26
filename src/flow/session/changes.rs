//! Changes of the map, as each session has to hear of them.

use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::{Session, Shared};
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// What happened to the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A directory was met for the first time.
    Appeared {
        /// Its key.
        key: DirKey,
        /// The directory above.
        parent: DirKey,
        /// Whether live work met it: it is listed before the lazy walk goes on.
        fresh: bool,
    },
    /// Names of files in a directory that has just appeared.
    Files {
        /// The directory.
        dir: DirKey,
        /// The names.
        names: Vec<Name>,
    },
    /// A directory was renamed, as the kernel told.
    Renamed {
        /// The directory.
        key: DirKey,
        /// Where it was.
        from: (DirKey, Name),
        /// Where it is.
        to: (DirKey, Name),
        /// Whether the rules say the same of all below it as before.
        is_alike: bool,
    },
    /// Two names were exchanged, as the kernel told.
    Exchanged {
        /// The directory that is now at `b`.
        key: DirKey,
        /// The directory that is now at `a`, if it is one.
        other: Option<DirKey>,
        /// One name.
        a: (DirKey, Name),
        /// The other.
        b: (DirKey, Name),
        /// Whether the rules say the same below either.
        is_alike: bool,
    },
    /// A directory was found at another place than the map said: no rename can be sent for it.
    Found {
        /// The directory.
        key: DirKey,
        /// Where it had been, if at any place.
        from: Option<(DirKey, Name)>,
    },
    /// What was read of a directory was of another one: it is to be armed and read again.
    Unread {
        /// Its key.
        key: DirKey,
    },
    /// Directories are gone from the map.
    Vanished {
        /// Their keys, parents first.
        keys: Vec<DirKey>,
    },
}

impl Session {
    /// Takes note of a change of the map.
    pub fn heed(&mut self, change: &Change, shared: &mut Shared) {
        match change {
            Change::Appeared { key, parent, fresh } => {
                self.dirs.entry(*key).or_default();
                let listed = self.dirs.get(parent).is_some_and(|dir| dir.clear == self.doubt);
                if *fresh {
                    self.unclear(*key);
                } else if listed && self.active {
                    self.push_walk(*key);
                }
            }
            // As of the listing: what comes or moves meanwhile is listed where it is found.
            Change::Files { .. } | Change::Found { .. } if self.terms.dry => {}
            Change::Renamed { key, .. } if self.terms.dry => self.walk_on(*key),
            Change::Exchanged { key, other, .. } if self.terms.dry => {
                [Some(*key), *other].into_iter().flatten().for_each(|key| self.walk_on(key));
            }
            Change::Files { dir, names } => {
                for name in names {
                    self.mark(*dir, name, Hint::CONTENT, shared.now, Duration::ZERO);
                }
            }
            Change::Renamed { key, from, to, is_alike } => {
                self.renamed(*key, (from, to), *is_alike, shared);
                self.walk_on(*key);
            }
            Change::Exchanged { key, other, a, b, is_alike } => {
                self.exchanged((*key, *other), (a, b), *is_alike, shared);
                self.walk_on(*key);
                other.iter().for_each(|other| self.walk_on(*other));
            }
            Change::Found { key, from } => {
                if let Some((dir, name)) = from {
                    self.mark(*dir, name, Hint::CONTENT, shared.now, Duration::ZERO);
                }
                self.displace(*key, shared);
            }
            Change::Unread { key } => self.unclear(*key),
            Change::Vanished { keys } => {
                for key in keys {
                    self.forget_dir(*key);
                }
            }
        }
    }

    /// A directory moved: should it not have been walked yet, the walk may have passed its new
    /// place
    /// already (H14).
    fn walk_on(&mut self, key: DirKey) {
        if self.active && self.dirs.get(&key).is_none_or(|state| state.clear < self.doubt) {
            self.push_walk(key);
        }
    }

    /// The sink does not have a directory where it is now: it and all below is listed again there.
    pub(super) fn displace(&mut self, key: DirKey, shared: &Shared) {
        for each in shared.map.subtree(key) {
            self.void_listings(each);
            self.set_unclear(each);
            let state = self.dirs.entry(each).or_default();
            state.placed = false;
            state.confirmed = false;
            state.trusted = false;
            state.displaced += 1;
        }
        // What is under way goes to the old place.
        for (dir, name) in self.names_flying(|dir| shared.map.is_at_or_below(dir, key)) {
            self.mark(dir, &name, Hint::CONTENT, shared.now, Duration::ZERO);
        }
        self.unclear(key);
    }

    /// A directory left the map: what is known of it is forgotten. Late answers may bring some of
    /// it back; it is forgotten again when it comes to be looked at.
    pub(super) fn forget_dir(&mut self, key: DirKey) {
        self.marks.forget_dir(key, false);
        self.sink_place.remove(&key);
        self.stirred.remove(&key);
        let Some(state) = self.dirs.remove(&key) else { return };
        self.extras.remove(&key);
        self.names = self.names.saturating_sub(state.names.into());
        self.counted_dirs = self.counted_dirs.saturating_sub(state.counted.into());
        if state.clear == self.doubt {
            self.clear_count = self.clear_count.saturating_sub(1);
        }
    }
}
