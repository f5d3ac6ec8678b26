//! The directories that were offered: a tree of sets that share what renames have moved.
//!
//! A set holds what was offered in one directory: names (on disk alone) and directories (here as
//! well). At a path stand one set of its own, which takes what is offered there now, and layers:
//! sets that a rename has brought there or left there. Layers are shared and never change any
//! more, so a rename of a whole directory is one step, and the old path keeps what it had.
//!
//! No circle can arise: a set of its own hangs at one place only, and what is laid under it has
//! ceased to change before.

use std::collections::HashMap;

/// What a name is known by here: the first bytes of its BLAKE3.
pub(super) type Key = [u8; KEY_BYTES];

pub(super) const KEY_BYTES: usize = 16;

/// Numbers a set; 0 is none.
pub(super) type SetNo = u32;

/// No set.
const NONE: SetNo = 0;
/// What was offered in the root.
pub(super) const ROOT: SetNo = 1;

/// The places that changed.
pub(super) type Changes = Vec<(SetNo, Key)>;

/// The key of a name.
pub(super) fn key_of(name: &[u8]) -> Key {
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&blake3::hash(name).as_bytes()[..KEY_BYTES]);
    key
}

/// What stands at a name that is, or was, a directory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) own: SetNo,
    /// In ascending order.
    pub(super) layers: Vec<SetNo>,
}

impl Place {
    fn sets(&self) -> impl Iterator<Item = SetNo> + '_ {
        (self.own != NONE).then_some(self.own).into_iter().chain(self.layers.iter().copied())
    }
}

/// All sets.
pub(super) struct Tree {
    places: HashMap<(SetNo, Key), Place>,
    /// At how many places each layer lies.
    held: HashMap<SetNo, u32>,
    /// In which set each set of its own hangs.
    above: HashMap<SetNo, SetNo>,
    /// The number that the next set gets.
    next: SetNo,
}

impl Tree {
    /// The tree before anything was offered.
    pub(super) fn new() -> Tree {
        Tree { places: HashMap::new(), held: HashMap::new(), above: HashMap::new(), next: ROOT + 1 }
    }

    /// The number that the next set gets: no set had it before, not even one that is no more, for
    /// what was offered there would count as offered in the new one.
    pub(super) fn next(&self) -> SetNo {
        self.next
    }

    /// Sets have had all numbers below this one.
    pub(super) fn pass_over(&mut self, next: SetNo) {
        self.next = self.next.max(next);
    }

    /// Whether a directory of that name was offered in a set.
    pub(super) fn has_dir(&self, set: SetNo, key: &Key) -> bool {
        self.places.contains_key(&(set, *key))
    }

    /// What stands at a name, if it is, or was, a directory.
    pub(super) fn place(&self, set: SetNo, key: &Key) -> Option<&Place> {
        self.places.get(&(set, *key))
    }

    /// Enters a place as it was written down.
    pub(super) fn enter(&mut self, set: SetNo, key: Key, place: Place) {
        let greatest = place.layers.iter().copied().chain([place.own, set]).max().unwrap_or(ROOT);
        self.next = self.next.max(greatest.saturating_add(1));
        for layer in &place.layers {
            *self.held.entry(*layer).or_default() += 1;
        }
        if place.own != NONE {
            self.above.insert(place.own, set);
        }
        self.places.insert((set, key), place);
    }

    /// Whether a set takes what is offered somewhere now: what it tells is hidden by no other.
    pub(super) fn is_live(&self, mut set: SetNo) -> bool {
        while let Some(above) = self.above.get(&set) {
            set = *above;
        }
        set == ROOT
    }

    /// The sets that stand at a path besides the one of its own.
    pub(super) fn layers_at(&self, path: &[u8], own: SetNo) -> Vec<SetNo> {
        if self.held.is_empty() {
            return Vec::new();
        }
        self.sets_at(path).into_iter().filter(|set| *set != own).collect()
    }

    /// The set of its own at a path, if there is one all the way.
    pub(super) fn own_at(&self, path: &[u8]) -> Option<SetNo> {
        let mut set = ROOT;
        for name in names(path) {
            set = self.places.get(&(set, key_of(name)))?.own;
            if set == NONE {
                return None;
            }
        }
        Some(set)
    }

    /// A directory is durably gone. Gives its own set: what was offered in it is nowhere any more.
    pub(super) fn remove(&mut self, set: SetNo, key: Key, changes: &mut Changes) -> Option<SetNo> {
        let place = self.places.remove(&(set, key))?;
        self.release(&place.layers);
        self.above.remove(&place.own);
        changes.push((set, key));
        (place.own != NONE).then_some(place.own)
    }

    /// A rename is durable: nothing of what stood at `from` is there any more, and what it brought
    /// to `to` takes new names again, unless it is in doubt elsewhere or some have come in between.
    pub(super) fn settled(&mut self, from: &[u8], to: &[u8], changes: &mut Changes) {
        if let Some(slot) = self.slot(from)
            && let Some(place) = self.places.get_mut(&slot)
        {
            let layers = std::mem::take(&mut place.layers);
            if place.own == NONE {
                self.places.remove(&slot);
            }
            self.release(&layers);
            changes.push(slot);
        }
        if let Some(slot) = self.slot(to)
            && let Some(place) = self.places.get_mut(&slot)
            && place.own == NONE
            && let [only] = place.layers[..]
            && self.held.get(&only) == Some(&1)
        {
            *place = Place { own: only, layers: Vec::new() };
            self.above.insert(only, slot.0);
            self.release(&[only]);
            changes.push(slot);
        }
    }

    fn release(&mut self, layers: &[SetNo]) {
        for layer in layers {
            if let Some(held) = self.held.get_mut(layer) {
                *held -= 1;
                if *held == 0 {
                    self.held.remove(layer);
                }
            }
        }
    }

    /// Lays sets under what stands at a name.
    fn lay(&mut self, slot: (SetNo, Key), sets: &[SetNo], changes: &mut Changes) {
        let place = self.places.entry(slot).or_default();
        for set in sets {
            if *set != place.own
                && let Err(at) = place.layers.binary_search(set)
            {
                place.layers.insert(at, *set);
                *self.held.entry(*set).or_default() += 1;
            }
        }
        changes.push(slot);
    }

    /// A set that takes nothing that is offered.
    pub(super) fn begin_layer(&mut self) -> SetNo {
        self.next += 1;
        self.next - 1
    }

    /// One layer takes the place of some others; gives those of them that lie nowhere any more.
    pub(super) fn change_layers(
        &mut self,
        slot: (SetNo, Key),
        others: &[SetNo],
        layer: SetNo,
        changes: &mut Changes,
    ) -> Vec<SetNo> {
        if let Some(place) = self.places.get_mut(&slot) {
            place.layers.retain(|layer| !others.contains(layer));
        }
        self.lay(slot, &[layer], changes);
        self.release(others);
        others.iter().copied().filter(|other| !self.held.contains_key(other)).collect()
    }

    /// Lets what stands at a place of a layer stand at one of another layer as well, or instead.
    pub(super) fn share_place(
        &mut self,
        from: (SetNo, Key),
        to: (SetNo, Key),
        instead: bool,
        changes: &mut Changes,
    ) {
        self.freeze_at(from, changes);
        let Some(layers) = self.places.get(&from).map(|place| place.layers.clone()) else { return };
        self.lay(to, &layers, changes);
        if instead {
            self.remove(from.0, from.1, changes);
        }
    }

    /// Where a path's last name stands, by the sets of their own above it.
    pub(super) fn slot(&self, path: &[u8]) -> Option<(SetNo, Key)> {
        let (above, name) = split(path);
        (!name.is_empty()).then_some((self.own_at(above)?, key_of(name)))
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
            set = self.own_child(set, key_of(name), changes);
        }
        set
    }

    /// The set of its own of a directory in another, made if it is missing.
    pub(super) fn own_child(&mut self, set: SetNo, key: Key, changes: &mut Changes) -> SetNo {
        let place = self.places.entry((set, key)).or_default();
        if place.own == NONE {
            place.own = self.next;
            self.above.insert(place.own, set);
            self.next += 1;
            changes.push((set, key));
        }
        place.own
    }

    /// Lets what stands at `from` stand at `to` as well.
    pub(super) fn moved(&mut self, from: &[u8], to: &[u8], changes: &mut Changes) {
        let sets = self.sets_at(from);
        if sets.is_empty() || from.is_empty() || to.is_empty() {
            return;
        }
        self.freeze_all(from, changes);
        self.lay_at(to, &sets, changes);
    }

    /// Lets what stands at two paths stand at both.
    pub(super) fn exchanged(&mut self, a: &[u8], b: &[u8], changes: &mut Changes) {
        let (at_a, at_b) = (self.sets_at(a), self.sets_at(b));
        if a.is_empty() || b.is_empty() {
            return;
        }
        for (path, sets) in [(a, at_b), (b, at_a)] {
            self.freeze_all(path, changes);
            if !sets.is_empty() {
                self.lay_at(path, &sets, changes);
            }
        }
    }

    /// Makes the set of its own at a path a layer, so that it changes no more.
    pub(super) fn freeze(&mut self, path: &[u8], changes: &mut Changes) {
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
        if let Some(slot) = at {
            self.freeze_at(slot, changes);
        }
    }

    /// Makes layers of all sets that stand at a path: they come to lie at another one as well.
    fn freeze_all(&mut self, path: &[u8], changes: &mut Changes) {
        let (above, name) = split(path);
        let key = key_of(name);
        for set in self.sets_at(above) {
            self.freeze_at((set, key), changes);
        }
    }

    fn freeze_at(&mut self, slot: (SetNo, Key), changes: &mut Changes) {
        if let Some(place) = self.places.get_mut(&slot).filter(|place| place.own != NONE) {
            let own = std::mem::replace(&mut place.own, NONE);
            self.above.remove(&own);
            self.lay(slot, &[own], changes);
        }
    }

    fn lay_at(&mut self, path: &[u8], sets: &[SetNo], changes: &mut Changes) {
        let (above, name) = split(path);
        let set = self.own_set(above, changes);
        let key = key_of(name);
        self.lay((set, key), sets, changes);
    }
}

/// The path of the directory above, and the last name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty())
}

impl Place {
    /// As it is written down: the own set, then the layers.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let sets = std::iter::once(&self.own).chain(&self.layers);
        sets.flat_map(|set| set.to_be_bytes()).collect()
    }

    /// Reads one back; nothing if the bytes are none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Place> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        let (own, layers) = numbers.split_first()?;
        let layers: Vec<SetNo> = layers.iter().map(|set| SetNo::from_be_bytes(*set)).collect();
        (rest.is_empty() && layers.is_sorted())
            .then(|| Place { own: SetNo::from_be_bytes(*own), layers })
    }
}
