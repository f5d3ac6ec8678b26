//! What is about to leave for a sink: all that it may one day be asked to remove (law 9).

use serde::{Deserialize, Serialize};

use crate::model::entry::Identity;
use crate::model::ledger::Facts;
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
    /// A name that is to hold a certain object, which may have others.
    Content {
        /// Where.
        path: RelPath,
        /// What it is.
        kin: Kinship,
    },
    /// A name that is to become a link to another of the same object.
    Link {
        /// Where.
        path: RelPath,
        /// What it is.
        kin: Kinship,
    },
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

/// Which object a name is one of, and where the name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinship {
    /// The object.
    pub identity: Identity,
    /// The directory at the source that the name is in.
    pub home: Identity,
    /// Whether the object has more names.
    pub has_others: bool,
}

impl Kinship {
    /// Of what was seen, if it is known in which directory.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<Kinship> {
        let Facts { identity, has_others, .. } = *facts;
        Some(Kinship { identity, home: facts.home?, has_others })
    }
}
