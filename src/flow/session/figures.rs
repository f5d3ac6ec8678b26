//! How far a session has come, in figures.

use std::time::Duration;

use crate::flow::marks::Mark;
use crate::flow::session::{Session, Shared};
use crate::model::session::Figures;

impl Session {
    /// The figures of the session at this moment.
    #[must_use]
    pub fn figures(&self, shared: &Shared) -> Figures {
        let oldest = self.marks.iter().map(|(_, _, mark)| mark.since).min();
        let lag = oldest.map_or(Duration::ZERO, |since| shared.now.saturating_sub(since));
        let micros = |share| self.latencies.percentile(share).as_micros() as u64;
        let directories = shared.map.len() as u64;
        let (files_done, bytes_done) = self.done();
        let (backlog_files, backlog_bytes) = self.backlog();
        Figures {
            halted: shared.halts.words().or_else(|| self.room.words().map(str::to_owned)),
            files_done,
            bytes_done,
            backlog_files,
            backlog_bytes,
            backlog_known: self.walked() && shared.is_armed(),
            directories,
            directories_left: directories.saturating_sub(self.counted_dirs),
            directories_in_doubt: directories.saturating_sub(self.clear_count),
            bwlimit: self.pace.rate(),
            dirty_paths: self.marks.len() as u64,
            lag_ms: lag.as_millis() as u64,
            latency_p50_us: micros(50),
            latency_p99_us: micros(99),
            problems: self.problems.count(),
            foreign: self.foreign.count(),
            stalled: self.stall.words(shared.now).or_else(|| self.ailing()),
            ..self.tally.clone()
        }
    }

    /// Files that are settled, and bytes of content in them.
    fn done(&self) -> (u64, u64) {
        let (files_paid, bytes_paid) = self.marks.paid();
        (self.tally.files_done + files_paid, self.tally.bytes_done + bytes_paid)
    }

    /// Files that are known and not settled, and bytes of content in them.
    pub(super) fn backlog(&self) -> (u64, u64) {
        let (files_done, bytes_done) = self.done();
        let bytes_left = self.tally.bytes_known.saturating_sub(bytes_done);
        (self.tally.files_known.saturating_sub(files_done), bytes_left)
    }

    /// In words, what the session waits for if nothing is left but names that failed.
    fn ailing(&self) -> Option<String> {
        let (path, text) = self.problems.first()?;
        let has_failed = |(_, _, mark): (_, _, &Mark)| mark.failures > 0;
        if self.marks.is_empty() || !self.walked() || !self.marks.iter().all(has_failed) {
            return None;
        }
        let others = match self.marks.len() - 1 {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        Some(format!("What failed is tried again from time to time: \"{path}\"{others}: {text}"))
    }
}
