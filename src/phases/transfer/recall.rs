//! What the ledgers know of what workers see: parts of listings are annotated where they are read.
//!
//! - A worker holds a ledger only while it asks about one part.
//! - Of a listing under way the names are kept as 8-byte hashes, so that at its end the ledger can
//!   tell which it misses.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::flow::ledger::judge;
use crate::model::delta::{Signature, Signatures};
use crate::model::entry::Sighting;
use crate::model::ledger::{Facts, Known, Note};
use crate::model::look::{DirAddress, Found, LookDone, LookJob, Seen, Sight, Task};
use crate::model::op::ListingEnd;
use crate::model::path::{Name, RelPath};
use crate::model::stamp::SinkId;
use crate::state::ledger::Ledger;
use crate::state::signatures::SignatureStore;

/// A ledger, as threads share it.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// The signatures for one sink, as threads share them; read from the disk by the first that asks.
type SharedSignatures = Arc<LazyLock<Mutex<SignatureStore>, OpenSignatures>>;
type OpenSignatures = Box<dyn FnOnce() -> Mutex<SignatureStore> + Send>;

/// The ledgers of the sinks of this run, and the signatures beside them.
#[derive(Clone, Default)]
pub struct Ledgers {
    known: Arc<Mutex<BTreeMap<SinkId, SharedLedger>>>,
    signatures: Arc<Mutex<BTreeMap<SinkId, SharedSignatures>>>,
    /// By listing: the names seen so far.
    seen: Arc<Mutex<HashMap<u64, HashSet<u64>>>>,
    hasher: RandomState,
}

impl Ledgers {
    /// The ledger of a sink from now on.
    pub fn put(&self, sink: SinkId, ledger: &SharedLedger) {
        hold(&self.known).insert(sink, Arc::clone(ledger));
    }

    /// Likewise; the signatures for the sink lie in that directory.
    pub fn put_with_signatures(&self, sink: SinkId, ledger: &SharedLedger, dir: &Path) {
        let dir = dir.to_path_buf();
        let open: OpenSignatures = Box::new(move || Mutex::new(SignatureStore::open(&dir)));
        hold(&self.signatures).insert(sink, Arc::new(LazyLock::new(open)));
        self.put(sink, ledger);
    }

    /// The sink has left.
    pub fn remove(&self, sink: SinkId) {
        hold(&self.known).remove(&sink);
        hold(&self.signatures).remove(&sink);
    }

    /// Adds to what a look saw how the ledger stands to it, if the job asks for that.
    #[must_use]
    pub fn annotate(&self, job: &LookJob, mut done: LookDone) -> LookDone {
        match (&job.task, &mut done.seen) {
            (Task::CloseListing { listing }, _) => {
                hold(&self.seen).remove(listing);
            }
            (
                Task::List { listing, recall: true, .. },
                Seen::Part { entries, problems, end, missing, .. },
            ) => {
                let ledger = job.sink.and_then(|sink| hold(&self.known).get(&sink).cloned());
                let failing = problems.iter().map(|(name, _)| name);
                let whole = self.note(*listing, entries, failing, *end);
                if let Some(ledger) = ledger {
                    *missing = self.ask(&hold(&ledger), &job.dir.path, entries, whole.as_ref());
                }
            }
            (Task::Names(_), Seen::Names { sights, notes, .. }) => {
                let ledger = job.sink.and_then(|sink| hold(&self.known).get(&sink).cloned());
                // The ledger is asked of objects with several names and, live, of those that had.
                let is_noted = |sight: &Sight| match sight {
                    Sight::There { sighting, .. } => job.urgent || has_more_names(sighting),
                    Sight::Gone | Sight::Withheld | Sight::Problem(_) => false,
                };
                if let Some(ledger) = ledger
                    && sights.iter().any(|(_, sight)| is_noted(sight))
                {
                    let ledger = hold(&ledger);
                    let note = |(name, sight): &(Name, Sight)| match sight {
                        Sight::There { sighting, .. } if is_noted(sight) => {
                            Some(note(&ledger, &job.dir, name, sighting))
                        }
                        _ => None,
                    };
                    *notes = sights.iter().map(note).collect();
                }
            }
            _ => {}
        }
        done
    }

    /// Notes the names of a part; gives all of them back with the last.
    fn note<'a>(
        &self,
        listing: u64,
        entries: &'a [Found],
        failing: impl Iterator<Item = &'a Name>,
        end: ListingEnd,
    ) -> Option<HashSet<u64>> {
        let mut open = hold(&self.seen);
        let seen = open.entry(listing).or_default();
        let names = entries.iter().map(|found| &found.listed.name).chain(failing);
        seen.extend(names.map(|name| self.hasher.hash_one(name.as_bytes())));
        if end == ListingEnd::More {
            return None;
        }
        open.remove(&listing).filter(|_| end == ListingEnd::Complete)
    }

    fn ask(
        &self,
        ledger: &Ledger,
        dir: &RelPath,
        entries: &mut [Found],
        whole: Option<&HashSet<u64>>,
    ) -> Option<Vec<Name>> {
        let seen = entries.iter().map(|found| (&found.listed.name, &found.facts));
        let known = ledger.recall(dir, seen)?;
        for (found, (known, anchor)) in entries.iter_mut().zip(known) {
            found.standing = judge(&known, &found.facts);
            found.beside = anchor.map(|anchor| (anchor.home, anchor.name));
        }
        let has = |seen: &HashSet<u64>, name: &[u8]| seen.contains(&self.hasher.hash_one(name));
        Some(whole.map(|seen| ledger.missing(dir, |name| has(seen, name))).unwrap_or_default())
    }
}

impl Signatures for Ledgers {
    fn load(&self, sink: SinkId, path: &RelPath) -> Option<Arc<Signature>> {
        let store = hold(&self.signatures).get(&sink).cloned()?;
        let store = hold(&store);
        store.load(path)
    }

    fn store(&self, sink: SinkId, path: &RelPath, signature: &Signature) {
        let store = hold(&self.signatures).get(&sink).cloned();
        if let Some(store) = store {
            hold(&store).store(path, signature);
        }
    }
}

fn has_more_names(sighting: &Sighting) -> bool {
    sighting.links > 1 && !sighting.entry.is_dir()
}

/// What a ledger tells of a name that was looked at.
fn note(ledger: &Ledger, dir: &DirAddress, name: &Name, sighting: &Sighting) -> Note {
    let facts = Facts::of(sighting, dir.identity);
    let (known, anchor) = ledger.recollect(&dir.path, name, &facts);
    let is_copied =
        matches!(known, Known::Copy { facts: had, .. } if had.identity == facts.identity);
    Note { standing: judge(&known, &facts), is_copied, anchor }
}

/// Locks, also after another thread died with the lock: a ledger is whole at any time.
pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
