//! What befalls a pair: lost connections, killed processes, lost power, other disks; and the
//! ledgers by which it gets over them, real ones on a disk in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use osync::model::ledger::{Entries, Unsettled};
use osync::model::look::{LookJob, Task};
use osync::model::path::RelPath;
use osync::phases::transfer::recall::SharedLedger;
use osync::state::ledger::Ledger;

use super::{Asked, Told, World, unlimited};
use crate::sim::link::Link;
use crate::sim::tree::ModelTree;

/// The source's memory of a sink, on a disk in memory.
pub(super) struct Memory {
    dir: tempfile::TempDir,
    pub(super) ledger: SharedLedger,
    /// What is still to be entered.
    pub(super) entering: VecDeque<Entries>,
}

impl Memory {
    pub(super) fn new() -> Memory {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let ledger = open_ledger(&dir);
        Memory { dir, ledger, entering: VecDeque::new() }
    }

    /// The source's process begins anew.
    fn reopen(&mut self) {
        // The old one has to be closed before it is opened again.
        self.ledger = Memory::new().ledger;
        self.ledger = open_ledger(&self.dir);
    }
}

fn open_ledger(dir: &tempfile::TempDir) -> SharedLedger {
    let ledger = Ledger::open(&dir.path().join("ledger")).unwrap();
    assert_eq!(ledger.damage(), None);
    Arc::new(Mutex::new(ledger))
}

impl World {
    /// Whether a look hangs: the disk does not answer.
    pub(super) fn is_stuck(&self, job: &LookJob) -> bool {
        let Some(stuck) = &self.stuck else { return false };
        let at = &job.dir.path;
        at.is_at_or_below(stuck)
            || match &job.task {
                Task::Names(names) => names.iter().any(|(name, _)| at.join(name) == *stuck),
                Task::Finish { name, .. } => at.join(name) == *stuck,
                Task::List { .. } => stuck.parent().as_ref() == Some(at),
                Task::Paths(paths) => paths.iter().any(|path| path.is_at_or_below(stuck)),
                _ => false,
            }
    }

    /// The connection of a sink is lost: some of what is on its way still arrives.
    pub fn cut(&mut self, sink: usize) {
        let end = &mut self.sinks[sink];
        if end.link != Link::Up {
            return;
        }
        end.link = Link::Cut { told: false };
        for lane in &mut end.lanes {
            let arrives = self.dice.below(lane.len() + 1);
            lane.truncate(arrives);
        }
        let arrive = self.dice.below(end.reports.len() + 1);
        end.reports.truncate(arrive);
    }

    /// The sink's process is killed and started again; its tree stays.
    pub fn restart_sink(&mut self, sink: usize) {
        self.cut(sink);
        self.sinks[sink].die();
    }

    /// The sink's host loses its power: what was not yet durable is lost.
    pub fn crash_sink(&mut self, sink: usize) {
        self.restart_sink(sink);
        self.sinks[sink].lose_power();
    }

    /// Remembers the sink's disk as it is.
    pub fn keep_snapshot(&mut self, sink: usize) {
        self.kept = Some(self.sinks[sink].snapshot());
    }

    /// The sink comes back with its disk as it was remembered.
    pub fn roll_back(&mut self, sink: usize) {
        self.restart_sink(sink);
        if let Some(saved) = self.kept.clone() {
            self.sinks[sink].restore(&saved);
        }
    }

    /// Somebody removes all names at the sink, but for osync's own.
    pub fn empty_sink(&mut self, sink: usize) {
        let tree = &self.sinks[sink].tree;
        for at in tree.snapshot().into_keys().rev().filter(|at| !at.is_root()) {
            tree.remove_file(&at).or_else(|_| tree.rmdir(&at)).unwrap();
        }
    }

    /// The source's process is killed; nobody looks until it is started again.
    pub fn stop_source(&mut self) {
        self.restart_source();
        for sink in &mut self.sinks {
            sink.link = Link::Stopped;
        }
    }

    /// The sink comes back with another disk.
    pub fn replace_sink(&mut self, sink: usize) {
        self.restart_sink(sink);
        let tree = ModelTree::new(self.dice.draw());
        tree.skip_time();
        self.sinks[sink].replace_root(tree);
        let memory = Memory::new();
        self.ledgers.put(self.sinks[sink].id, &memory.ledger);
        self.memories[sink] = memory;
    }

    /// A person says that removals may go on.
    pub fn resume(&mut self) {
        self.director.unhalt(self.now);
        self.take_actions();
    }

    /// The source's process is killed and started again.
    pub fn restart_source(&mut self) {
        for sink in 0..self.sinks.len() {
            self.cut(sink);
            self.sinks[sink].link = Link::Cut { told: true };
            self.sinks[sink].reports.clear();
        }
        self.source.forget_all();
        self.jobs.clear();
        self.seen.clear();
        self.notices.clear();
        self.asked.clear();
        for (sink, memory) in self.sinks.iter().zip(&mut self.memories) {
            memory.entering.clear();
            self.ledgers.remove(sink.id);
            memory.reopen();
            self.ledgers.put(sink.id, &memory.ledger);
        }
        let root = self.source.identity(&RelPath::root()).unwrap();
        self.director = unlimited(root);
        self.director.select(Arc::clone(&self.selection));
    }

    /// Enters the next thing that a report told; false if there is none.
    pub(super) fn enter_next(&mut self, sink: usize) -> bool {
        let memory = &mut self.memories[sink];
        let Some(entries) = memory.entering.pop_front() else { return false };
        let unsettled = memory.ledger.lock().unwrap().enter(&entries).unwrap();
        let sink = self.sinks[sink].id;
        if unsettled == Unsettled::default() {
            self.director.entered(sink, &unsettled, self.now);
        } else {
            self.asked.push(Asked { sink, query: 0, what: Told::Entered(unsettled) });
        }
        true
    }

    pub(super) fn enter_all(&mut self, sink: usize) {
        while self.enter_next(sink) {}
    }
}
