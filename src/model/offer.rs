//! What is about to leave for a sink: all that it may one day be asked to remove (law 9).

use serde::{Deserialize, Serialize};

use crate::model::path::{Name, RelPath};
use crate::model::stamp::Stamp;

/// An offer with the stamp of what carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offering {
    /// An answer to anything older changes nothing in the ledger.
    pub stamp: Stamp,
    /// What is offered.
    pub offer: Offer,
}

/// A line for the ledger, written before what it speaks of leaves the source.
///
/// Paths are as the sink has them at that moment. What an offer names is durable no more (H1), but
/// for names that are only listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offer {
    /// A name that is no directory, or is to be none.
    Name(RelPath),
    /// A directory.
    Dir(RelPath),
    /// Names that a listing tells of: nothing changes there yet.
    Listed {
        /// The directory.
        dir: RelPath,
        /// Each with whether it is a directory.
        names: Vec<(Name, bool)>,
    },
    /// Attributes of a name that is no directory; its content stays what it is.
    Retouched(RelPath),
    /// The own attributes of a directory.
    Attributes(RelPath),
    /// A rename: all that was offered below `from` may be below `to` as well.
    Moved {
        /// Where it was.
        from: RelPath,
        /// Where it goes.
        to: RelPath,
    },
    /// Two names change places.
    Exchanged {
        /// One of them.
        a: RelPath,
        /// The other.
        b: RelPath,
    },
}
