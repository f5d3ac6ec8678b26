//! What orders and identifies: epochs, stamps, sequence numbers, lanes, keys of directories.

use serde::{Deserialize, Serialize};

/// One life of the pair of data lanes, granted by the source; greater than any before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// When a look began, as a counter within an epoch. No clock is involved.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Stamp(pub u64);

/// Which of the two data streams a message travels on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// What just changed, and small: looks after events, renames, removals.
    Live,
    /// Listings, their needed content, and all content over `LIVE_BYTES_MAX`.
    Backlog,
}

impl Lane {
    /// Both lanes, the preferred one first.
    pub const ALL: [Lane; 2] = [Lane::Live, Lane::Backlog];

    /// 0 for live, 1 for backlog: the index into per-lane arrays.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Lane::Live => 0,
            Lane::Backlog => 1,
        }
    }
}

/// Names a message: its place in the sequence of its lane, from 1.
pub type Sequence = u64;

/// The source's own number for a directory that it knows; never used again in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DirKey(pub u64);

impl DirKey {
    /// The root of the source.
    pub const ROOT: DirKey = DirKey(0);
}

/// The source's number for one registered sink, for the length of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub u32);
