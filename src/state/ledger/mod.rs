//! The ledger of one sink: what was offered to it, and what is durable there (laws 4, 8, 9).
//!
//! - What `offer` was given is with the kernel before it returns, so it survives a crash of the
//!   process. What a crash of the host has torn is noticed and moved aside: see [`seal`].
//! - An answer counts only if nothing newer was offered for that name since, by epoch and stamp.
//! - Durable is no step of its own: a record names the report that told of it, and one number for
//!   each epoch tells up to which report all is on the sink's disk.
//! - In memory are directories only: a tree of sets, see [`tree`].
//! - A name once offered stays offered at its path, also after a rename, until the rename is
//!   durable: the sink may not have followed it.

mod check;
mod kin;
mod passing;
mod record;
mod resident;
mod seal;
mod store;
mod thinning;
mod tree;
mod writing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::model::entry::Identity;
use crate::model::ledger::{
    Anchor, Deed, Entered, Entries, Facts, Kind, Known, Moment, Proof, Record, Step,
};
use crate::model::limits::{LEDGER_EPOCHS_MAX, LEDGER_MOVES_MAX, LEDGER_TOMBS_MAX};
use crate::model::marker::{Marker, MarkerId};
use crate::model::offer::{Offer, Offering};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::Epoch;

use self::passing::Passing;
use self::store::{Change, Read, Store, View};
use self::tree::{Changes, KEY_BYTES, Key, Place, SetNo, Tree, key_of, split};

/// Layout of the tables; another one is not read.
const LAYOUT: &[u8] = b"1";
/// Tells whether an object with several names was ever offered.
const GROUPS: &str = "groups";
/// The number of the next set.
const NEXT: &str = "next";
const NO_GROUPS: &[u8] = &[0];
const SOME_GROUPS: &[u8] = &[1];
/// Sets, at most: the last number is far away from here even for a run of years.
const SETS_MAX: SetNo = SetNo::MAX / 2;
/// A report that never comes: what waits for it is never durable.
const NEVER: u64 = u64::MAX;
/// The name under which a directory's own attributes stand in its set.
const OWN: &[u8] = b"";

/// The ledger for one source directory, one sink and one root of it.
pub struct Ledger {
    dir: PathBuf,
    store: Store,
    tree: Tree,
    /// The marker that the sink has shown last, and the last barrier that it told of.
    marker: Option<(MarkerId, u64)>,
    /// Records of earlier epochs are no more than offers: the sink is not what it was.
    floor: Epoch,
    /// By epoch: all that reports up to this one told of is durable.
    durable: BTreeMap<Epoch, u64>,
    /// The epoch under way.
    current: Epoch,
    /// Renames that are not durable yet, in the order of the reports of this epoch.
    moves: VecDeque<(u64, RelPath, RelPath)>,
    /// Names that this epoch has removed, in the order of its reports: by set.
    tombs: VecDeque<(SetNo, Vec<u8>)>,
    /// Whether an object with several names was ever offered: if not, nobody needs to be asked for
    /// one.
    has_groups: bool,
    /// Objects that lost a name since the last report was entered.
    parted: BTreeSet<Identity>,
    damage: Option<String>,
    /// Where it lies, if it is a copy; dropped last.
    passing: Option<Passing>,
}

impl Ledger {
    /// Opens a ledger in a directory of its own, or begins one. A damaged one is moved aside: see
    /// [`Ledger::damage`].
    ///
    /// # Errors
    /// `Disk` if the directory can't be made, read or written.
    pub fn open(dir: &Path) -> Result<Ledger, Error> {
        let failed = |error| Error::disk("Can't open the ledger", dir, error);
        let damage = match Ledger::begin(dir).map_err(failed)? {
            Ok(ledger) => return Ok(ledger),
            Err(damage) => damage,
        };
        let aside = free_name(dir);
        std::fs::rename(dir, &aside).map_err(failed)?;
        let words = |text: String| failed(io::Error::other(text));
        let mut ledger = Ledger::begin(dir).map_err(failed)?.map_err(words)?;
        ledger.damage = Some(format!(
            "The ledger was not usable ({damage}) and moved to \"{}\": the sink is compared anew, \
             and names removed at the source before now will stay there",
            aside.display()
        ));
        Ok(ledger)
    }

    /// Opens a copy of a ledger, or of none, that goes with this value: for a dry run. Nobody may
    /// write to the ledger meanwhile.
    ///
    /// # Errors
    /// `Disk` if there is no room for it in the temporary directory, or it can't be read.
    pub fn open_copy(dir: &Path) -> Result<Ledger, Error> {
        let failed = |error| Error::disk("Can't copy the ledger", dir, error);
        let passing = Passing::copy(dir).map_err(failed)?;
        let mut ledger = Ledger::open(&passing.ledger())?;
        ledger.passing = Some(passing);
        Ok(ledger)
    }

    /// Opens what is there, or begins it; the inner error says what is damaged.
    fn begin(dir: &Path) -> io::Result<Result<Ledger, String>> {
        if std::fs::symlink_metadata(dir).is_ok_and(|meta| !meta.is_dir()) {
            return Ok(Err("it is no directory".to_owned()));
        }
        make_dir(dir)?;
        Ok(seal::break_open(dir)?.and_then(|()| Ledger::load(dir)))
    }

    /// Opens what a seal was broken of; the error says what is damaged.
    fn load(dir: &Path) -> Result<Ledger, String> {
        let store = Store::open(dir).map_err(|error| error.to_string())?;
        let memory = remember(&store).map_err(|error| error.to_string())?;
        let Some(Memory { tree, durable, marker, floor, has_groups, is_new }) = memory else {
            return Err("its tables do not hang together".to_owned());
        };
        let dir = dir.to_owned();
        let mut ledger = Ledger {
            dir,
            store,
            tree,
            marker,
            floor,
            durable,
            current: Epoch(0),
            moves: VecDeque::new(),
            tombs: VecDeque::new(),
            has_groups,
            parted: BTreeSet::new(),
            damage: None,
            passing: None,
        };
        if is_new {
            let begin = |_: &mut Ledger, change: &mut Change<'_>| {
                change.put_value(GROUPS, NO_GROUPS)?;
                change.put_value("layout", LAYOUT)
            };
            ledger.change(begin).map_err(|error| error.to_string())?;
        }
        Ok(ledger)
    }

    /// Where the signatures lie that go with it.
    #[must_use]
    pub fn signatures(&self) -> PathBuf {
        self.dir.join("signatures")
    }

    /// What was lost when the ledger was opened, as a sentence.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Whether a sink has ever shown its marker to this ledger.
    #[must_use]
    pub fn has_met(&self) -> bool {
        self.marker.is_some()
    }

    /// Begins an epoch with a sink that shows this marker. False if it is not the sink that the
    /// ledger speaks of, or is older than it was: nothing counts as durable any more (H2).
    ///
    /// # Errors
    /// `Disk` if that can't be written down.
    pub fn meet(&mut self, marker: &Marker, epoch: Epoch) -> Result<bool, Error> {
        let is_trusted =
            self.marker.is_none_or(|(id, barrier)| id == marker.id && marker.barrier >= barrier);
        self.bury()?;
        (self.current, self.moves) = (epoch, VecDeque::new());
        self.marker = Some((marker.id, marker.barrier));
        if !is_trusted {
            self.floor = epoch;
            self.durable.clear();
        }
        self.change(|ledger, change| ledger.put_epochs(change))?;
        Ok(is_trusted)
    }

    /// Which of these names were offered in a directory and may still be there, in their order.
    #[must_use]
    pub fn was_offered(&self, dir: &RelPath, names: &[Name]) -> Vec<bool> {
        let sets = self.tree.sets_at(dir.as_bytes());
        let ask = |view: &View<'_>| {
            let mut offered = Vec::with_capacity(names.len());
            for name in names {
                // The youngest set first: most likely it is there.
                let mut found = false;
                for set in sets.iter().rev() {
                    found = self.is_offered(view, *set, name.as_bytes())?;
                    if found {
                        break;
                    }
                }
                offered.push(found);
            }
            Ok(offered)
        };
        self.read(ask).unwrap_or_else(|| vec![false; names.len()])
    }

    /// What is known of names that were just seen in a directory, in their order, each with another
    /// name of its object that it should be one with at the sink.
    #[must_use]
    pub fn recall<'a>(
        &self,
        dir: &RelPath,
        names: impl Iterator<Item = (&'a Name, &'a Facts)>,
    ) -> Option<Vec<(Known, Option<Anchor>)>> {
        let set = self.tree.own_at(dir.as_bytes())?;
        self.read(|view| {
            names.map(|(name, seen)| self.known(view, Some(set), name.as_bytes(), seen)).collect()
        })
    }

    /// Names that the sink may have in a directory and of which `is_seen` is false.
    #[must_use]
    pub fn missing(&self, dir: &RelPath, is_seen: impl Fn(&[u8]) -> bool) -> Vec<Name> {
        let Some(own) = self.tree.own_at(dir.as_bytes()) else { return Vec::new() };
        let is_gone =
            |value: &[u8]| record::decode(value).is_some_and(|record| self.is_gone(&record));
        let ask = |view: &View<'_>| {
            let mut missing = BTreeSet::new();
            // What a rename brought along is there until it is known to be gone.
            for set in self.tree.sets_at(dir.as_bytes()) {
                view.names(&set.to_be_bytes(), |key, value| {
                    let name = &key[4..];
                    if !name.is_empty() && !is_seen(name) && !is_gone(value) {
                        missing.extend(Name::new(name));
                    }
                    true
                })?;
            }
            let mut found = Vec::with_capacity(missing.len());
            let mut key = Vec::new();
            for name in missing {
                key_into(own, name.as_bytes(), &mut key);
                if !view.name(&key)?.is_some_and(is_gone) {
                    found.push(name);
                }
            }
            Ok(found)
        };
        self.read(ask).unwrap_or_default()
    }

    /// What is known of a name by its own record.
    fn known_alone(
        &self,
        view: &View<'_>,
        set: SetNo,
        name: &[u8],
    ) -> Result<Known, store::Failed> {
        let mut key = Vec::new();
        key_into(set, name, &mut key);
        let record = view.name(&key)?.and_then(record::decode);
        let Some(record) = record.filter(|record| record.epoch >= self.floor) else {
            return Ok(Known::Nothing);
        };
        if let Some(copy) = self.copy_of(&record) {
            return Ok(copy);
        }
        let own = self.tree.place(set, &key_of(name)).map_or(0, |place| place.own);
        if facts_of(&record).is_none() || !self.is_certain(&record) || own == 0 {
            return Ok(Known::Nothing);
        }
        key_into(own, OWN, &mut key);
        // A directory gets its attributes after all in it was compared: without that the sink may
        // hold names that nobody knows of.
        let compared = view.name(&key)?.and_then(record::decode);
        let compared = compared.filter(|record| record.epoch >= self.floor);
        Ok(match compared.map(|record| (facts_of(&record), self.is_certain(&record))) {
            Some((Some(facts), true)) => Known::Dir { dressed: Some(facts) },
            Some((Some(_), false)) => Known::Dir { dressed: None },
            Some((None, _)) | None => Known::Nothing,
        })
    }

    /// What a record tells of an object that is no directory.
    fn copy_of(&self, record: &Record) -> Option<Known> {
        let Step::Applied { facts, proof, .. } = record.step else { return None };
        let is_durable = self.is_certain(record);
        // Where no barrier ever came, nobody waits for proof of everything.
        let has_barriers = is_durable || self.durable.contains_key(&record.epoch);
        let proof = if has_barriers { proof } else { Proof::None };
        (facts.kind != Kind::Dir).then_some(Known::Copy { facts, proof, is_durable })
    }

    fn is_offered(&self, view: &View<'_>, set: SetNo, name: &[u8]) -> Result<bool, store::Failed> {
        let mut key = Vec::new();
        key_into(set, name, &mut key);
        Ok(match view.name(&key)? {
            Some(bytes) => record::decode(bytes).is_none_or(|record| !self.is_forgotten(&record)),
            None => self.tree.has_dir(set, &key_of(name)),
        })
    }

    /// Whether the name is durably gone.
    fn is_gone(&self, record: &Record) -> bool {
        matches!(record.step, Step::Gone { .. }) && self.is_durable(record)
    }

    /// Whether the name is no more the source's. In the epoch that removed it, an answer that is
    /// older than the removal may still speak of it.
    fn is_forgotten(&self, record: &Record) -> bool {
        self.is_gone(record) && record.epoch < self.current
    }

    fn is_durable(&self, record: &Record) -> bool {
        let through = self.durable.get(&record.epoch).copied().unwrap_or(0);
        record.epoch >= self.floor && record.step.report().is_some_and(|report| report <= through)
    }

    /// Whether the sink has it: durably, or at least as long as this epoch lasts.
    fn is_certain(&self, record: &Record) -> bool {
        let is_fresh = record.epoch == self.current && record.step.report() != Some(NEVER);
        self.is_durable(record) || is_fresh
    }

    fn read<T>(&self, ask: impl FnOnce(&View<'_>) -> Result<T, store::Failed>) -> Option<T> {
        match self.store.view().and_then(|view| ask(&view)) {
            Ok(answer) => Some(answer),
            Err(error) => {
                let dir = self.dir.display();
                tracing::warn!("Can't read the ledger \"{dir}\": {error}");
                None
            }
        }
    }

    fn change(
        &mut self,
        write: impl FnOnce(&mut Ledger, &mut Change<'_>) -> Result<(), store::Failed>,
    ) -> Result<(), Error> {
        let store = self.store.clone();
        let written = store.change().and_then(|mut change| {
            write(self, &mut change)?;
            change.commit()
        });
        let Err(error) = written else { return Ok(()) };
        // Memory is ahead of the disk now: read it again.
        if let Ok(Some(memory)) = remember(&self.store) {
            (self.tree, self.durable) = (memory.tree, memory.durable);
            (self.marker, self.floor) = (memory.marker, memory.floor);
        }
        Err(self.failed(&error))
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        let error = io::Error::other(error.to_string());
        Error::disk("Can't write the ledger", &self.dir, error)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let synced = self.store.sync().map_err(|error| error.to_string());
        let closed =
            synced.and_then(|()| seal::close(&self.dir).map_err(|error| error.to_string()));
        if let Err(error) = closed {
            // It stays marked as open: that is enough unless the host goes down.
            let dir = self.dir.display();
            tracing::warn!("Can't seal the ledger \"{dir}\": {error}");
        }
    }
}

/// What is in memory of a store.
struct Memory {
    tree: Tree,
    durable: BTreeMap<Epoch, u64>,
    marker: Option<(MarkerId, u64)>,
    floor: Epoch,
    has_groups: bool,
    /// Nothing was ever written.
    is_new: bool,
}

/// Reads what has to be in memory; nothing if the tables do not hang together.
fn remember(store: &Store) -> Result<Option<Memory>, store::Failed> {
    let view = store.view()?;
    let (mut tree, mut is_whole) = (Tree::new(), true);
    view.places(|key, value| match (slot_of(key), Place::from_bytes(value)) {
        (Some((set, key)), Some(place)) => tree.enter(set, key, place),
        _ => is_whole = false,
    })?;
    // Names of a set outlive what it lay at.
    for last in [view.value(NEXT)?, view.last_name()?].into_iter().flatten() {
        let number = last.first_chunk().map_or(SetNo::MAX, |set| SetNo::from_be_bytes(*set));
        tree.pass_over(number.saturating_add(1));
    }
    // Nobody has come so far but by damage.
    is_whole &= tree.next() < SETS_MAX;
    let (durable, floor) = (BTreeMap::new(), Epoch(0));
    let mut memory = Memory { tree, durable, marker: None, floor, has_groups: false, is_new: true };
    let Some(layout) = view.value("layout")? else { return Ok(is_whole.then_some(memory)) };
    memory.is_new = false;
    memory.has_groups = view.value(GROUPS)? != Some(NO_GROUPS);
    if let Some((id, barrier)) = view.value("marker")?.and_then(|bytes| bytes.split_first_chunk()) {
        // Of a barrier that can't be read every one falls short.
        memory.marker = Some((MarkerId(*id), number(barrier).unwrap_or(u64::MAX)));
    }
    if let Some(floor) = view.value("floor")? {
        // What can't be read lets nothing count.
        memory.floor = Epoch(number(floor).unwrap_or(u64::MAX));
    }
    for pair in view.value("durable")?.unwrap_or_default().as_chunks::<16>().0 {
        if let (Some(epoch), Some(through)) = (number(&pair[..8]), number(&pair[8..])) {
            memory.durable.insert(Epoch(epoch), through);
        }
    }
    is_whole &= layout == LAYOUT;
    Ok(is_whole.then_some(memory))
}

fn facts_of(record: &Record) -> Option<Facts> {
    match record.step {
        Step::Applied { facts, .. } => Some(facts),
        Step::Offered { .. } | Step::Gone { .. } => None,
    }
}

/// The key of a name in a set.
fn key_into(set: SetNo, name: &[u8], key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(&set.to_be_bytes());
    key.extend_from_slice(name);
}

fn slot_of(bytes: &[u8]) -> Option<(SetNo, Key)> {
    let (set, key) = bytes.split_first_chunk::<4>()?;
    Some((SetNo::from_be_bytes(*set), *key.as_array::<KEY_BYTES>()?))
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// A name beside the ledger's that is free.
fn free_name(dir: &Path) -> PathBuf {
    let names = (1..).map(|number| dir.with_extension(format!("damaged-{number}")));
    names.into_iter().find(|name| !name.exists()).unwrap_or_else(|| dir.with_extension("damaged"))
}

#[cfg(test)]
mod tests;
