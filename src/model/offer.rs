//! Records of what was offered to a sink: what it may one day be asked to remove (law 9).

use serde::{Deserialize, Serialize};

use crate::model::path::RelPath;

/// A line of the journal of names offered, written before what it speaks of leaves the source.
///
/// Paths are as the sink has them at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offer {
    /// A name that is no directory.
    Name(RelPath),
    /// A directory.
    Dir(RelPath),
    /// A rename: all that was offered below `from` is now below `to`.
    Moved {
        /// Where it was.
        from: RelPath,
        /// Where it is.
        to: RelPath,
    },
    /// Two names changed places.
    Exchanged {
        /// One of them.
        a: RelPath,
        /// The other.
        b: RelPath,
    },
}
