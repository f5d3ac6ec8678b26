//! The marker at the sink's root: by it a source knows again what it has put there (H2), and the
//! windows of time whose content nobody can vouch for (H3).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::entry::FileTime;

/// Drawn when a marker is made: another one means that nothing is known of what stands there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MarkerId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Display for MarkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MarkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a sink shows of its marker when it registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Whose it is.
    pub id: MarkerId,
    /// Number of the last durable barrier; 0 for none. A number smaller than one that was reported
    /// means that an older state of the tree was put back.
    pub barrier: u64,
    /// Whether the last run ended with everything on disk. For people: what is in doubt after
    /// another end the sink finds out by itself.
    pub clean: bool,
}

/// A stretch of the sink's own time in which files were changed that may not have reached the
/// disk whole, though their size and modification time did (law 11). Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// From then on.
    pub from: FileTime,
    /// Up to then.
    pub to: FileTime,
}

impl Window {
    /// Whether a moment lies within.
    #[must_use]
    pub fn holds(&self, moment: FileTime) -> bool {
        self.from <= moment && moment <= self.to
    }

    /// The shortest window that holds both.
    #[must_use]
    pub fn hull(self, other: Window) -> Window {
        Window { from: self.from.min(other.from), to: self.to.max(other.to) }
    }
}
