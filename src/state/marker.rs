//! What the sink's marker holds, and what follows from it when a sink starts.
//!
//! | found at the start | then |
//! |---|---|
//! | none, a damaged one, or one of another root | a new marker: the source trusts nothing |
//! | a clean stop | all is on disk; what changed since was another's hand |
//! | no clean stop, the same life of the filesystem | a process died: nothing of it was lost |
//! | no clean stop, another life | power may have failed: a window of doubt opens (H3) |
//!
//! The marker itself lies in the sink's tree (`tree::sink_root`), so that it goes where the tree
//! goes: into snapshots, onto other disks, away with an `rm -rf` (H2). Here is what it says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::entry::FileTime;
use crate::model::limits::DOUBT_WINDOWS_MAX;
use crate::model::marker::{Marker, MarkerId, Window};

/// Times of change are this coarse at worst: what lies so close before a moment may lie after it.
const GRANULE: Duration = Duration::from_secs(2);
/// The form of the file.
const FORM: u32 = 1;

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    form: u32,
    id: MarkerId,
    /// Identity of the root that it was made in.
    root: String,
    /// Number of the last durable barrier.
    barrier: u64,
    /// When that barrier began, by the clock of the root's filesystem.
    at: FileTime,
    clean: bool,
    /// The life of the filesystem in which this was written.
    life: String,
    doubt: Vec<Window>,
}

/// Where and when a sink starts.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Identity of the root.
    pub root: String,
    /// Tells one mount of one boot from any other.
    pub life: String,
    /// The time by the clock of the root's filesystem.
    pub now: FileTime,
}

/// What a start has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing that could be trusted.
    Nothing,
    /// The end of a run that had made everything durable.
    CleanStop,
    /// The end of a process, and of nothing else.
    DeadProcess,
    /// The end of the filesystem's life, without warning.
    PowerCut,
}

impl Memory {
    /// Takes up what was found at the root, or begins anew under the `fresh` identity.
    #[must_use]
    pub fn resume(bytes: Option<&[u8]>, here: &Surroundings, fresh: MarkerId) -> (Memory, Found) {
        let known = bytes.and_then(Memory::parse).filter(|known| known.root == here.root);
        let Some(mut memory) = known else {
            return (Memory::new(fresh, here), Found::Nothing);
        };
        let found = match (memory.clean, memory.life == here.life) {
            (true, _) => Found::CleanStop,
            (false, true) => Found::DeadProcess,
            (false, false) => Found::PowerCut,
        };
        if found == Found::PowerCut {
            memory.doubt_since_barrier(here.now);
        }
        if found != Found::DeadProcess {
            memory.at = here.now;
        }
        (memory.clean, memory.life) = (false, here.life.clone());
        (memory, found)
    }

    /// A new marker, at which nothing is durable.
    #[must_use]
    pub fn new(id: MarkerId, here: &Surroundings) -> Memory {
        Memory {
            form: FORM,
            id,
            root: here.root.clone(),
            barrier: 0,
            at: here.now,
            clean: false,
            life: here.life.clone(),
            doubt: Vec::new(),
        }
    }

    /// Reads a marker; nothing if it is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Memory> {
        let memory: Memory = serde_json::from_slice(bytes).ok()?;
        (memory.form == FORM).then_some(memory)
    }

    /// The bytes to be written.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        // Plain values with text for keys: they can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What the source is shown.
    #[must_use]
    pub fn marker(&self) -> Marker {
        Marker { id: self.id, barrier: self.barrier, clean: self.clean }
    }

    /// From this moment on everything that has changed may be unknown to the source: by another's
    /// hand, or by this sink's and not durable.
    #[must_use]
    pub fn unknown_since(&self) -> FileTime {
        before(self.at)
    }

    /// The windows of doubt.
    #[must_use]
    pub fn doubt(&self) -> &[Window] {
        &self.doubt
    }

    /// A barrier that began at that time has succeeded.
    pub fn passed_barrier(&mut self, at: FileTime) {
        self.barrier += 1;
        self.at = at;
    }

    /// Everything changed between the last barrier and now is in doubt.
    pub fn doubt_since_barrier(&mut self, now: FileTime) {
        // After a step of the clock the time to come lies before the time that was.
        let window = Window { from: before(self.at.min(now)), to: self.at.max(now) };
        self.doubt.push(window);
        if self.doubt.len() > DOUBT_WINDOWS_MAX {
            let oldest = self.doubt.remove(0);
            self.doubt[0] = self.doubt[0].hull(oldest);
        }
    }

    /// Every file was compared since the doubts arose.
    pub fn drop_doubt(&mut self) {
        self.doubt.clear();
    }

    /// Everything is on disk, and nothing more will be written.
    pub fn stop(&mut self, now: FileTime) {
        (self.clean, self.at) = (true, now);
    }
}

fn before(moment: FileTime) -> FileTime {
    FileTime { seconds: moment.seconds.saturating_sub(GRANULE.as_secs() as i64), ..moment }
}

#[cfg(test)]
mod tests {
    use super::{Found, Memory, Surroundings};
    use crate::model::entry::FileTime;
    use crate::model::limits::DOUBT_WINDOWS_MAX;
    use crate::model::marker::MarkerId;

    const OLD: MarkerId = MarkerId([1; 16]);
    const NEW: MarkerId = MarkerId([2; 16]);

    fn at(seconds: i64) -> FileTime {
        FileTime { seconds, nanos: 5 }
    }

    fn here(life: &str, seconds: i64) -> Surroundings {
        Surroundings { root: "root".into(), life: life.into(), now: at(seconds) }
    }

    fn written() -> Memory {
        let mut memory = Memory::new(OLD, &here("first", 100));
        memory.passed_barrier(at(150));
        memory
    }

    #[test]
    fn a_power_cut_opens_a_window_and_a_dead_process_does_not() {
        let (bytes, crash) = (written().bytes(), here("second", 200));
        let (memory, found) = Memory::resume(Some(&bytes), &crash, NEW);
        assert_eq!((found, memory.marker().id, memory.marker().barrier), (Found::PowerCut, OLD, 1));
        let holds = |seconds| memory.doubt().iter().any(|window| window.holds(at(seconds)));
        assert_eq!([147, 149, 200, 201].map(holds), [false, true, true, false]);
        let (memory, found) = Memory::resume(Some(&bytes), &here("first", 200), NEW);
        assert_eq!((found, memory.doubt()), (Found::DeadProcess, &[][..]));
        assert_eq!(memory.unknown_since(), at(148), "its last writes are not durable yet");
    }

    #[test]
    fn a_clean_stop_leaves_no_doubt_and_the_windows_stay_until_dropped() {
        let mut memory = written();
        memory.doubt_since_barrier(at(160));
        memory.stop(at(170));
        let (mut memory, found) = Memory::resume(Some(&memory.bytes()), &here("other", 300), NEW);
        assert_eq!((found, memory.doubt().len()), (Found::CleanStop, 1));
        assert!(!memory.marker().clean, "the next end may be another");
        memory.drop_doubt();
        assert!(Memory::parse(&memory.bytes()).unwrap().doubt().is_empty());
    }

    #[test]
    fn what_is_no_marker_of_this_root_is_none() {
        let elsewhere = Surroundings { root: "other".into(), ..here("first", 200) };
        let bytes = written().bytes();
        let cases = [(None, here("first", 200)), (Some(&bytes[..]), elsewhere)];
        let torn = (Some(&bytes[..20]), here("first", 200));
        for (bytes, here) in cases.into_iter().chain([torn]) {
            let (memory, found) = Memory::resume(bytes, &here, NEW);
            assert_eq!((found, memory.marker().id), (Found::Nothing, NEW));
        }
    }

    #[test]
    fn windows_are_bounded_and_survive_a_step_of_the_clock() {
        let mut memory = written();
        memory.doubt_since_barrier(at(50));
        assert!(memory.doubt()[0].holds(at(49)) && memory.doubt()[0].holds(at(150)));
        for step in 0..40 {
            memory.doubt_since_barrier(at(1_000 + step));
        }
        assert_eq!(memory.doubt().len(), DOUBT_WINDOWS_MAX);
        assert!(memory.doubt()[0].holds(at(49)), "the oldest is not forgotten");
    }
}
