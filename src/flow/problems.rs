//! What went wrong at single paths, and names that only the sink has: kept up to a bound, counted
//! beyond it.

use std::collections::BTreeMap;

use crate::model::limits::{FOREIGN_MAX, PROBLEMS_MAX};
use crate::model::path::RelPath;
use crate::model::session::{ProblemLine, REPORT_LINES_MAX};

/// Problems by path; a later success takes one away.
#[derive(Debug, Default)]
pub struct Problems {
    kept: BTreeMap<RelPath, String>,
    beyond: u64,
}

impl Problems {
    /// Notes a problem; true if it is new at that path.
    pub fn add(&mut self, path: RelPath, text: String) -> bool {
        if let Some(known) = self.kept.get_mut(&path) {
            let new = *known != text;
            *known = text;
            return new;
        }
        if self.kept.len() >= PROBLEMS_MAX {
            self.beyond += 1;
            return false;
        }
        self.kept.insert(path, text);
        true
    }

    /// Whether something went wrong at a path, as far as that is kept.
    #[must_use]
    pub fn has(&self, path: &RelPath) -> bool {
        self.kept.contains_key(path)
    }

    /// Forgets the problem at a path: it went well this time.
    pub fn clear(&mut self, path: &RelPath) {
        if !self.kept.is_empty() {
            self.kept.remove(path);
        }
    }

    /// How many there are, those beyond the bound included.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.kept.len() as u64 + self.beyond
    }

    /// The first of them by path.
    #[must_use]
    pub fn first(&self) -> Option<(&RelPath, &str)> {
        self.kept.first_key_value().map(|(path, text)| (path, text.as_str()))
    }

    /// The first of them, for a report.
    #[must_use]
    pub fn lines(&self) -> Vec<ProblemLine> {
        self.kept
            .iter()
            .take(REPORT_LINES_MAX)
            .map(|(path, text)| ProblemLine { path: path.as_bytes().to_vec(), text: text.clone() })
            .collect()
    }
}

/// Names that only the sink has and that are not ours to remove (law 9).
#[derive(Debug, Default)]
pub struct Foreign {
    kept: std::collections::BTreeSet<RelPath>,
    beyond: u64,
}

impl Foreign {
    /// Notes a name.
    pub fn add(&mut self, path: RelPath) {
        if self.kept.len() < FOREIGN_MAX {
            self.kept.insert(path);
        } else if !self.kept.contains(&path) {
            self.beyond += 1;
        }
    }

    /// Forgets a name: the source has one like it now.
    pub fn clear(&mut self, path: &RelPath) {
        if !self.kept.is_empty() {
            self.kept.remove(path);
        }
    }

    /// Begins a new count, as a sweep does.
    pub fn reset(&mut self) {
        self.kept.clear();
        self.beyond = 0;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.kept.len() as u64 + self.beyond
    }

    /// The first of them, for a report.
    #[must_use]
    pub fn names(&self) -> Vec<Vec<u8>> {
        self.kept.iter().take(REPORT_LINES_MAX).map(|path| path.as_bytes().to_vec()).collect()
    }
}
