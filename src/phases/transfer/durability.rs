//! What the sink may call durable, and what of its own tree is in doubt.
//!
//! - A barrier is `syncfs` on every filesystem touched, then the marker with the barrier's number;
//!   only then is anything told. Once the disk has failed, all that was changed since the last
//!   barrier is in doubt: a window opens, and the epoch ends (H29).
//! - At the start the sink looks over its own tree, beside everything else: what has changed since
//!   the last barrier that was passed or the last clean stop is named to the source (H2).
//! - A marker that has gone while the sink ran means that somebody was at the tree: a new one is
//!   made, the epoch ends, and the source trusts nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Fsync;
use crate::error::Error;
use crate::model::entry::FileTime;
use crate::model::limits::{ANSWER_BYTES_MAX, DISTURBED_MAX, DISTURBED_PER_REPORT_MAX};
use crate::model::marker::{Marker, MarkerId};
use crate::model::path::RelPath;
use crate::model::target::Obstacle;
use crate::state::marker::{Found, Memory, Surroundings};
use crate::tree::sink_root::SinkRoot;

/// The durability of one sink, over all epochs of a run.
pub struct Durability {
    root: Arc<SinkRoot>,
    fsync: Fsync,
    found: Found,
    here: Surroundings,
    keeping: Mutex<Keeping>,
    inspection: Mutex<Inspection>,
}

struct Keeping {
    memory: Memory,
    /// The session is over, and the marker has gone with it.
    retired: bool,
    /// What was left of transfers of earlier epochs was removed.
    tidied: bool,
}

#[derive(Default)]
struct Inspection {
    disturbed: Vec<RelPath>,
    done: bool,
}

/// Why a barrier was not passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setback {
    /// The disk failed: what was changed since the last barrier is in doubt.
    Disk(String),
    /// The marker has gone, and with it who knows what.
    NoMarker,
}

impl Durability {
    /// Takes up the marker that stands at the root, or makes one.
    ///
    /// # Errors
    /// When the marker can't be read or written.
    pub fn open(root: Arc<SinkRoot>, fsync: Fsync, root_id: String) -> Result<Durability, Error> {
        let failed = |obstacle| Error::Refused(format!("Can't begin: {}", words(obstacle)));
        let now = root.clock().map_err(failed)?;
        let life = root.life().map_err(failed)?;
        let here = Surroundings { root: root_id, life, now };
        let bytes = root.read_marker().map_err(failed)?;
        let (memory, found) = Memory::resume(bytes.as_deref(), &here, draw_id()?);
        tracing::info!(?found, id = %memory.marker().id, "the marker");
        root.set_doubt(memory.doubt());
        root.write_marker(&memory.bytes(), fsync != Fsync::None).map_err(failed)?;
        // Who trusts nothing needs not be told what changed.
        let inspection = Inspection { done: found == Found::Nothing, ..Inspection::default() };
        Ok(Durability {
            root,
            fsync,
            found,
            here,
            keeping: Mutex::new(Keeping { memory, retired: false, tidied: false }),
            inspection: Mutex::new(inspection),
        })
    }

    /// The durability of a dry run: no barrier is passed, and no marker shown that anybody knows,
    /// so that the source compares everything.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn of_dry_run(root: Arc<SinkRoot>, root_id: String) -> Result<Durability, Error> {
        let here = Surroundings { root: root_id, life: String::new(), now: FileTime::default() };
        let (memory, found) = Memory::resume(None, &here, draw_id()?);
        let keeping = Mutex::new(Keeping { memory, retired: true, tidied: true });
        let inspection = Mutex::new(Inspection { done: true, ..Inspection::default() });
        Ok(Durability { root, fsync: Fsync::None, found, here, keeping, inspection })
    }

    /// What the start has found.
    #[must_use]
    pub fn found(&self) -> Found {
        self.found
    }

    /// Whose marker stands at the root now.
    #[must_use]
    pub fn id(&self) -> MarkerId {
        self.keeping().memory.marker().id
    }

    /// What the source is shown; an epoch is about to begin.
    #[must_use]
    pub fn marker(&self) -> Marker {
        self.keeping().tidied = false;
        let marker = self.keeping().memory.marker();
        let clean = matches!(self.found, Found::CleanStop | Found::DeadProcess);
        Marker { clean, ..marker }
    }

    /// Whether barriers are passed at all.
    #[must_use]
    pub fn has_barriers(&self) -> bool {
        self.fsync != Fsync::None
    }

    /// Makes all durable that was done before this call; returns the number of the barrier, or
    /// nothing if the session is over.
    ///
    /// # Errors
    /// Whatever has kept it from that; the epoch is then to end.
    pub fn barrier(&self) -> Result<Option<u64>, Setback> {
        let mut keeping = self.keeping();
        if keeping.retired {
            return Ok(None);
        }
        match self.pass(&mut keeping.memory) {
            Ok(()) => Ok(Some(keeping.memory.marker().barrier)),
            Err(setback) => {
                self.take_back(&mut keeping.memory, &setback);
                Err(setback)
            }
        }
    }

    fn pass(&self, memory: &mut Memory) -> Result<(), Setback> {
        let disk = |obstacle| Setback::Disk(words(obstacle));
        match self.root.read_marker() {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Setback::NoMarker),
            Err(obstacle) => return Err(disk(obstacle)),
        }
        let at = self.root.clock().map_err(disk)?;
        self.root.sync().map_err(Setback::Disk)?;
        let mut passed = memory.clone();
        passed.passed_barrier(at);
        self.root.write_marker(&passed.bytes(), true).map_err(disk)?;
        *memory = passed;
        Ok(())
    }

    /// Draws the conclusions from a barrier that was not passed.
    fn take_back(&self, memory: &mut Memory, setback: &Setback) {
        let now = self.root.clock().unwrap_or(self.here.now);
        match setback {
            Setback::Disk(_) => memory.doubt_since_barrier(now),
            Setback::NoMarker => self.renew(memory),
        }
        self.root.set_doubt(memory.doubt());
        if let Err(obstacle) = self.root.write_marker(&memory.bytes(), true) {
            // The doubt is kept in memory; should this process die too, the marker on the disk is
            // one without a clean stop.
            tracing::warn!(why = words(obstacle), "the marker could not be written");
        }
    }

    /// Begins a new marker: nothing is known of the tree any more.
    fn renew(&self, memory: &mut Memory) {
        let Ok(id) = draw_id() else { return };
        let here =
            Surroundings { now: self.root.clock().unwrap_or(self.here.now), ..self.here.clone() };
        *memory = Memory::new(id, &here);
        *self.inspection() = Inspection { done: true, ..Inspection::default() };
    }

    /// The source has compared everything: no doubt is left, and nothing needs to be named again.
    pub fn settled(&self) {
        let mut keeping = self.keeping();
        if keeping.retired {
            return;
        }
        let mut inspection = self.inspection();
        if inspection.done {
            inspection.disturbed = Vec::new();
        }
        if !std::mem::replace(&mut keeping.tidied, true) {
            self.root.drop_partials();
        }
        if !keeping.memory.doubt().is_empty() {
            keeping.memory.drop_doubt();
            self.root.set_doubt(&[]);
        }
    }

    /// Looks over the whole tree, unless that was done or is of no use.
    pub fn inspect(&self, stop: &dyn Fn() -> bool) {
        if self.inspection().done {
            return;
        }
        let since = self.keeping().memory.unknown_since();
        let mut too_many = false;
        self.root.inspect(since, &mut |path| {
            let mut inspection = self.inspection();
            inspection.disturbed.push(path.clone());
            too_many = inspection.disturbed.len() > DISTURBED_MAX;
            !too_many && !stop()
        });
        if stop() {
            return;
        }
        if too_many {
            let mut keeping = self.keeping();
            self.renew(&mut keeping.memory);
        }
        let mut inspection = self.inspection();
        inspection.done = true;
        tracing::info!(disturbed = inspection.disturbed.len(), too_many, "looked over the tree");
    }

    /// Directories that were found, after the first `told` of them, as many as a report may bear;
    /// and whether there will be no more.
    #[must_use]
    pub fn disturbed(&self, told: usize) -> (Vec<RelPath>, bool) {
        let inspection = self.inspection();
        let mut bytes = 0;
        let next = inspection.disturbed.iter().skip(told).take(DISTURBED_PER_REPORT_MAX);
        let next: Vec<RelPath> = next
            .take_while(|path| {
                bytes += path.as_bytes().len();
                bytes <= ANSWER_BYTES_MAX
            })
            .cloned()
            .collect();
        let all = inspection.done && told + next.len() >= inspection.disturbed.len();
        (next, all)
    }

    /// The marker goes with the session; nothing is written for it any more.
    pub fn retire(&self) {
        self.keeping().retired = true;
    }

    /// The run ends and the session goes on another day: makes all durable and says so.
    pub fn close(&self) {
        let mut keeping = self.keeping();
        if keeping.retired || !self.has_barriers() {
            return;
        }
        if let Err(setback) = self.pass(&mut keeping.memory) {
            tracing::warn!(?setback, "the last writes may not be on disk");
            return self.take_back(&mut keeping.memory, &setback);
        }
        let mut memory = keeping.memory.clone();
        let stopped = self.root.clock().and_then(|now| {
            memory.stop(now);
            self.root.write_marker(&memory.bytes(), true)
        });
        if let Err(obstacle) = stopped {
            tracing::warn!(why = words(obstacle), "the clean stop could not be noted");
        }
    }

    fn keeping(&self) -> MutexGuard<'_, Keeping> {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inspection(&self) -> MutexGuard<'_, Inspection> {
        self.inspection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn words(obstacle: Obstacle) -> String {
    match obstacle {
        Obstacle::Other(text) => text,
        Obstacle::NoRoom => "no room is left".into(),
        Obstacle::ReadOnly => "the filesystem is read-only".into(),
        other => format!("{other:?}"),
    }
}

fn draw_id() -> Result<MarkerId, Error> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| Error::Refused(format!("Can't draw a random number: {error}")))?;
    Ok(MarkerId(id))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{Durability, Setback};
    use crate::config::Fsync;
    use crate::model::entry::{Attributes, FileTime, Meta};
    use crate::model::path::RelPath;
    use crate::model::target::Target;
    use crate::state::marker::Found;
    use crate::tree::sink_root::SinkRoot;

    const STAGING: &str = ".osync-staging-0123456789abcdef";

    fn open(at: &Path) -> (Arc<SinkRoot>, Durability) {
        let root = Arc::new(SinkRoot::open(at, STAGING, false).unwrap());
        let durability = Durability::open(Arc::clone(&root), Fsync::Batch, "root".into()).unwrap();
        (root, durability)
    }

    fn put(root: &SinkRoot, name: &str) {
        let own = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let meta = Meta::plain(0o600, own, gid, FileTime { seconds: 5, nanos: 0 });
        let mut staged = root.stage_file(b"content", &Attributes::plain(meta)).unwrap();
        root.place(&mut staged, &RelPath::new(name).unwrap()).unwrap();
    }

    #[test]
    fn barriers_count_on_over_runs() {
        let home = tempfile::tempdir().unwrap();
        let (_, first) = open(home.path());
        assert_eq!((first.found(), first.barrier()), (Found::Nothing, Ok(Some(1))));
        let id = first.marker().id;
        drop(first);
        let (_, second) = open(home.path());
        assert_eq!((second.found(), second.barrier()), (Found::DeadProcess, Ok(Some(2))));
        second.close();
        let (_, third) = open(home.path());
        assert_eq!((third.found(), third.marker().barrier), (Found::CleanStop, 3));
        assert_eq!(third.marker().id, id);
        third.retire();
        assert_eq!(third.barrier(), Ok(None));
    }

    #[test]
    fn a_marker_that_has_gone_is_another_one() {
        let home = tempfile::tempdir().unwrap();
        let (_, durability) = open(home.path());
        let id = durability.marker().id;
        std::fs::remove_dir_all(home.path().join(STAGING)).unwrap();
        assert_eq!(durability.barrier(), Err(Setback::NoMarker));
        assert_ne!(durability.marker().id, id);
        assert_eq!(durability.barrier(), Ok(Some(1)), "a new marker was put there");
    }

    #[test]
    fn what_another_hand_has_changed_is_named() {
        let home = tempfile::tempdir().unwrap();
        let (root, durability) = open(home.path());
        for dir in ["a", "a/b", "c"] {
            root.make_dir(&RelPath::new(dir).unwrap()).unwrap();
            put(&root, &format!("{dir}/f"));
        }
        durability.close();
        let named = |durability: &Durability| {
            durability.inspect(&|| false);
            let (mut paths, all) = durability.disturbed(0);
            assert!(all);
            paths.sort();
            paths.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        // So much later that no granule blurs it: the clean stop is put into the past.
        let marker = home.path().join(STAGING).join("marker");
        let text = std::fs::read_to_string(&marker).unwrap();
        let mut memory: serde_json::Value = serde_json::from_str(&text).unwrap();
        let settle = |memory: &mut serde_json::Value, ahead: i64| {
            let now = root.clock().unwrap().seconds;
            memory["at"]["seconds"] = (now + ahead).into();
            std::fs::write(&marker, memory.to_string()).unwrap();
        };
        settle(&mut memory, 5);
        let at = SinkRoot::open(home.path(), STAGING, false).unwrap();
        let mut seen = Vec::new();
        at.inspect(FileTime { seconds: i64::MAX, nanos: 0 }, &mut |path| {
            seen.push(path.clone());
            true
        });
        assert!(seen.is_empty(), "nothing is younger than the end of time");
        settle(&mut memory, -60);
        let (_, all) = open(home.path());
        assert_eq!(named(&all), [".", "a", "a/b", "c"], "all is younger than a minute");
        all.settled();
        assert_eq!(all.disturbed(0), (Vec::new(), true));
    }
}
