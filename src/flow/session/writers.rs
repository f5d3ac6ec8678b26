//! Files that are open for writing at the end of a session: what will be written is nobody's to
//! know, and through a mapping it comes without an event. They are told as hot.
//!
//! The closing sweep meets them, and those that it met are probed once more when all is settled.

use std::collections::BTreeMap;

use crate::flow::session::looks::Purpose;
use crate::flow::session::{Session, Shared};
use crate::model::limits::{LOOKS_MAX, REPORT_LINES_MAX};
use crate::model::look::{Seen, Task};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{DirKey, Lane};

/// Files that somebody has open for writing; at most `REPORT_LINES_MAX` of them.
#[derive(Debug, Default)]
pub(super) struct Writers {
    /// Met by the sweep, and to be probed once more.
    met: BTreeMap<DirKey, Vec<Name>>,
    count: usize,
    /// Still open when they were probed once more.
    found: Vec<RelPath>,
}

impl Writers {
    /// Whether some are to be probed once more.
    pub(super) fn is_any_met(&self) -> bool {
        !self.met.is_empty()
    }

    /// Those that were still open at the end.
    pub(super) fn found(&self) -> &[RelPath] {
        &self.found
    }

    fn meet(&mut self, dir: DirKey, name: &Name) {
        if self.count < REPORT_LINES_MAX {
            self.count += 1;
            self.met.entry(dir).or_default().push(name.clone());
        }
    }
}

impl Session {
    /// The closing sweep has met a file that is open for writing.
    pub(super) fn meet_writer(&mut self, dir: DirKey, name: &Name) {
        if let Some(writers) = self.writers() {
            writers.meet(dir, name);
        }
    }

    /// Probes what the sweep met; true once all answers are there.
    pub(super) fn probe_writers(&mut self, shared: &mut Shared) -> bool {
        let is_probe = |purpose: &Purpose| matches!(purpose, Purpose::Probe);
        let mut under_way = self.pending.values().filter(|p| is_probe(&p.purpose)).count();
        while under_way < LOOKS_MAX
            && shared.ease.has_room(shared.now)
            && let Some((dir, names)) = self.writers().and_then(|writers| writers.met.pop_first())
        {
            if let Some(address) = shared.map.address(dir) {
                let (task, purpose) = (Task::Probe(names), Purpose::Probe);
                self.start_look(Lane::Backlog, dir, address, task, purpose, shared);
                under_way += 1;
            }
        }
        under_way == 0 && self.writers().is_none_or(|writers| writers.met.is_empty())
    }

    pub(super) fn probe_seen(&mut self, path: &RelPath, seen: Seen) {
        if let (Seen::Writers(names), Some(writers)) = (seen, self.writers()) {
            writers.found.extend(names.iter().map(|name| path.join(name)));
        }
    }
}
