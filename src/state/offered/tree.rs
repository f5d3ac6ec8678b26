//! The directories that were offered: a tree of sets that share what renames have moved.
//!
//! A set holds what was offered in one directory: names (on disk) and directories (here). At a
//! path stand one set of its own, which takes what is offered there now, and layers: sets that a
//! rename has brought there or left there. Layers are shared and never change any more, so a
//! rename of a whole directory is one step, and the old path keeps what it had.
//!
//! No circle can arise: a set of its own hangs at one place only, and what is laid under it has
//! ceased to change before.

use std::collections::HashMap;

use crate::state::offered::format::{Key, Record, key_of};

/// Numbers a set; 0 is none.
pub(super) type SetNo = u32;

/// No set.
pub(super) const NONE: SetNo = 0;
/// What was offered in the root.
const ROOT: SetNo = 1;

/// Records of what changed in the tree.
pub(super) type Changes = Vec<Record<'static>>;

/// What stands at a name that is, or was, a directory.
#[derive(Default, Clone)]
struct Place {
    own: SetNo,
    /// In ascending order.
    layers: Vec<SetNo>,
}

impl Place {
    fn sets(&self) -> impl Iterator<Item = SetNo> + '_ {
        (self.own != NONE).then_some(self.own).into_iter().chain(self.layers.iter().copied())
    }

    /// Lays sets under; returns those that were not there yet.
    fn lay(&mut self, sets: &[SetNo]) -> Vec<SetNo> {
        let mut new = Vec::new();
        for set in sets {
            if *set != self.own
                && let Err(at) = self.layers.binary_search(set)
            {
                self.layers.insert(at, *set);
                new.push(*set);
            }
        }
        new
    }
}

/// All sets.
pub(super) struct Tree {
    places: HashMap<(SetNo, Key), Place>,
    /// By set: where in the journal its last names stand; 0 for nowhere.
    last: Vec<u64>,
}

impl Tree {
    /// The tree before anything was offered.
    pub(super) fn new() -> Tree {
        Tree { places: HashMap::new(), last: vec![0; ROOT as usize + 1] }
    }

    /// Where the last names of a set stand.
    pub(super) fn last(&self, set: SetNo) -> u64 {
        self.last.get(set as usize).copied().unwrap_or(0)
    }

    /// Notes where the last names of a set stand.
    pub(super) fn set_last(&mut self, set: SetNo, at: u64) {
        if let Some(last) = self.last.get_mut(set as usize) {
            *last = at;
        }
    }

    /// Whether a directory of that name was offered in a set.
    pub(super) fn has_dir(&self, set: SetNo, key: &Key) -> bool {
        self.places.contains_key(&(set, *key))
    }

    /// Takes in a record of the journal that stands at `at`.
    pub(super) fn replay(&mut self, record: &Record<'_>, at: u64) -> Result<(), String> {
        let known = |set: SetNo| set != NONE && (set as usize) < self.last.len();
        match record {
            Record::Sets(count) => {
                if *count as usize > self.last.len() {
                    self.last.resize(*count as usize, 0);
                }
            }
            Record::Place { set, key, own, layers } => {
                let next = self.last.len();
                let own_fits = *own == NONE || known(*own) || *own as usize == next;
                if !known(*set) || !own_fits || !layers.iter().all(|layer| known(*layer)) {
                    return Err(format!("a directory without a place at {at}"));
                }
                if *own as usize == next {
                    self.last.push(0);
                }
                let place = self.places.entry((*set, *key)).or_default();
                place.own = *own;
                place.lay(layers);
            }
            Record::Names { set, before, .. } => {
                if !known(*set) || *before != self.last(*set) {
                    return Err(format!("names without a directory at {at}"));
                }
                self.set_last(*set, at);
            }
        }
        Ok(())
    }

    /// All sets that stand at a path.
    pub(super) fn sets_at(&self, path: &[u8]) -> Vec<SetNo> {
        let mut sets = vec![ROOT];
        for name in names(path) {
            let key = key_of(name);
            let places = sets.iter().filter_map(|set| self.places.get(&(*set, key)));
            let mut below: Vec<SetNo> = places.flat_map(Place::sets).collect();
            below.sort_unstable();
            below.dedup();
            sets = below;
        }
        sets
    }

    /// The set of its own at a path, made where it is missing.
    pub(super) fn own_set(&mut self, path: &[u8], changes: &mut Changes) -> SetNo {
        let mut set = ROOT;
        for name in names(path) {
            let key = key_of(name);
            let place = self.places.entry((set, key)).or_default();
            if place.own == NONE {
                place.own = self.last.len() as SetNo;
                self.last.push(0);
                changes.push(Record::Place { set, key, own: place.own, layers: [][..].into() });
            }
            set = place.own;
        }
        set
    }

    /// Lets what stands at `from` stand at `to` as well.
    pub(super) fn moved(&mut self, from: &[u8], to: &[u8], changes: &mut Changes) {
        let sets = self.sets_at(from);
        if sets.is_empty() || from.is_empty() || to.is_empty() {
            return;
        }
        self.freeze(from, changes);
        self.lay_at(to, &sets, changes);
    }

    /// Lets what stands at two paths stand at both.
    pub(super) fn exchanged(&mut self, a: &[u8], b: &[u8], changes: &mut Changes) {
        let (at_a, at_b) = (self.sets_at(a), self.sets_at(b));
        if a.is_empty() || b.is_empty() {
            return;
        }
        for (path, sets) in [(a, at_b), (b, at_a)] {
            self.freeze(path, changes);
            if !sets.is_empty() {
                self.lay_at(path, &sets, changes);
            }
        }
    }

    /// Makes the set of its own at a path a layer, so that it changes no more.
    fn freeze(&mut self, path: &[u8], changes: &mut Changes) {
        let mut set = ROOT;
        let mut at = None;
        for name in names(path) {
            let key = key_of(name);
            let own = self.places.get(&(set, key)).map_or(NONE, |place| place.own);
            if own == NONE {
                return;
            }
            at = Some((set, key));
            set = own;
        }
        let Some((set, key)) = at else { return };
        if let Some(place) = self.places.get_mut(&(set, key)) {
            let own = std::mem::replace(&mut place.own, NONE);
            let layers = place.lay(&[own]).into();
            changes.push(Record::Place { set, key, own: NONE, layers });
        }
    }

    fn lay_at(&mut self, path: &[u8], sets: &[SetNo], changes: &mut Changes) {
        let cut = path.iter().rposition(|&b| b == b'/');
        let (above, name) = cut.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        let set = self.own_set(above, changes);
        let key = key_of(name);
        let place = self.places.entry((set, key)).or_default();
        let layers = place.lay(sets);
        if !layers.is_empty() {
            changes.push(Record::Place { set, key, own: place.own, layers: layers.into() });
        }
    }

    /// The records that make this tree again, but for names.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let sets = Record::Sets(self.last.len() as SetNo);
        std::iter::once(sets).chain(self.places.iter().map(|((set, key), place)| {
            let layers = (&place.layers[..]).into();
            Record::Place { set: *set, key: *key, own: place.own, layers }
        }))
    }

    /// How many sets there are, and no set.
    pub(super) fn sets(&self) -> usize {
        self.last.len()
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty())
}
