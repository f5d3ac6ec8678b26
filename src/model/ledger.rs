//! What the ledger holds: of each name at a sink what was offered, and what is durable there.
//!
//! The ledger lies at the source, one for each sink (laws 4, 8 and 9). *Offered* is written before
//! a name first leaves; *durable* follows only from a durable answer, for removals and renames as
//! well (H1).

use crate::model::entry::{Entry, FileTime, Hash, Identity, Sighting};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{Epoch, Stamp};

/// What tells an object at the source from what it was (law 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub identity: Identity,
    /// Which sort of object.
    pub kind: Kind,
    /// Length in bytes; 0 for what has no content.
    pub size: u64,
    /// Modification time.
    pub mtime: FileTime,
    /// Time of the last change of any sort.
    pub ctime: FileTime,
    /// The ctime lay within the last clock granule before the look: a change in the same granule
    /// would not have moved it (H19).
    pub is_young: bool,
}

/// The sorts of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A fifo, socket or device.
    Special,
}

impl Kind {
    /// Of what stands at a name.
    #[must_use]
    pub fn of(entry: &Entry) -> Kind {
        match entry {
            Entry::File { .. } => Kind::File,
            Entry::Dir { .. } => Kind::Dir,
            Entry::Symlink { .. } => Kind::Symlink,
            Entry::Special { .. } => Kind::Special,
        }
    }
}

impl Facts {
    /// What a look has seen.
    #[must_use]
    pub fn of(seen: &Sighting) -> Facts {
        Facts {
            identity: seen.identity,
            kind: Kind::of(&seen.entry),
            size: seen.entry.content_bytes(),
            mtime: seen.entry.meta().mtime,
            ctime: seen.ctime,
            is_young: seen.is_young,
        }
    }

    /// Those of a directory of which nothing counts but that it is there.
    #[must_use]
    pub fn of_any_dir() -> Facts {
        Facts {
            identity: Identity { device: 0, inode: 0, birth: 0 },
            kind: Kind::Dir,
            size: 0,
            mtime: FileTime::default(),
            ctime: FileTime::default(),
            is_young: false,
        }
    }

    /// Whether identity, kind, size and mtime are the same: the ctime may have moved.
    #[must_use]
    pub fn is_like(&self, other: &Facts) -> bool {
        (self.identity, self.kind, self.size, self.mtime)
            == (other.identity, other.kind, other.size, other.mtime)
    }
}

/// What is known of a file's content at the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Nothing beyond size and time.
    None,
    /// It had this hash, which both sides took; the source's ctime has moved since (H20).
    Stale(Hash),
    /// It has this hash: both sides took it of what they have.
    Agreed(Hash),
}

impl Proof {
    /// The hash, stale or not.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        match self {
            Proof::None => None,
            Proof::Stale(hash) | Proof::Agreed(hash) => Some(*hash),
        }
    }
}

/// What the ledger has of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The epoch and the stamp of what was sent last, or answered: an answer to something older
    /// changes nothing.
    pub epoch: Epoch,
    /// See `epoch`.
    pub stamp: Stamp,
    /// How far it has come.
    pub step: Step,
}

/// How far a name has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It was offered, and the sink may have anything there.
    Offered,
    /// The sink had it, by this report of the record's epoch.
    Applied {
        /// Number of the report.
        report: u64,
        /// The object at the source that this is a copy of.
        facts: Facts,
        /// What is known of its content.
        proof: Proof,
    },
    /// The sink had removed it, by this report of the record's epoch.
    Gone {
        /// Number of the report.
        report: u64,
    },
}

impl Step {
    /// The report that it waits for to be durable.
    #[must_use]
    pub fn report(&self) -> Option<u64> {
        match self {
            Step::Offered => None,
            Step::Applied { report, .. } | Step::Gone { report } => Some(*report),
        }
    }
}

/// What the ledger knows of one name that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing that counts: it was offered at most.
    Nothing,
    /// The sink had a copy of this.
    Copy {
        /// Of what.
        facts: Facts,
        /// What is known of its content.
        proof: Proof,
        /// Whether it is on the sink's disk, or was put there in the epoch under way.
        is_durable: bool,
    },
    /// The sink durably has a directory there, and the ledger knows what it holds.
    Dir {
        /// The object whose attributes it durably has, if it has them all.
        dressed: Option<Facts>,
    },
}

/// How the ledger stands to something that was just seen at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The ledger does not know: the sink is asked by a listing.
    Unknown,
    /// The sink durably has this very object.
    Durable,
    /// The sink durably has the directory; its own attributes are to be sent.
    Undressed,
    /// The attributes may differ, and the content has to be the same on both sides.
    Check {
        /// What both sides once had; nothing if no side has ever read it.
        hash: Option<Hash>,
        /// The ctime moved: the attributes go at once (H20).
        is_retouched: bool,
    },
    /// It is another object, or another content, than the sink was sent.
    Changed,
}

/// What the ledger knows of the names in one part of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recalled {
    /// By entry: how it stands.
    pub standings: Vec<Standing>,
    /// Names that the sink may have, and that no part of the listing had. With the last part.
    pub missing: Vec<Name>,
}

/// An answer of the sink, for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// What was seen stands at a name.
    Stands {
        /// Where.
        path: RelPath,
        /// What.
        facts: Facts,
        /// The hash, if both sides took it.
        hash: Option<Hash>,
    },
    /// These names of a directory are as they were listed.
    Listed {
        /// The directory.
        dir: RelPath,
        /// Its names.
        names: Vec<(Name, Facts)>,
    },
    /// A directory has its attributes.
    Dressed {
        /// The directory.
        dir: RelPath,
        /// As it was seen.
        facts: Facts,
    },
    /// These names have the content that was listed, but not all attributes: those follow.
    Alike {
        /// The directory.
        dir: RelPath,
        /// Its names.
        names: Vec<(Name, Facts)>,
    },
    /// Nothing stands at a name.
    Gone(RelPath),
    /// What stood at `from` stands at `to`.
    Moved {
        /// Where it was.
        from: RelPath,
        /// Where it is.
        to: RelPath,
        /// What a file is, with its hash; nothing for a directory.
        seen: Option<(Facts, Hash)>,
    },
    /// The sink lacked this directory, or had something else there: nothing below it is certain.
    Lost(RelPath),
}

/// A deed with the stamp of what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// Of the operation, or of the part of a listing.
    pub stamp: Stamp,
    /// What was done.
    pub deed: Deed,
}

/// What one report tells the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// The epoch of the report.
    pub epoch: Epoch,
    /// Its number.
    pub report: u64,
    /// What was done, in the order of the report.
    pub deeds: Vec<Entered>,
    /// All that was applied by reports up to this one is on disk.
    pub durable_through: u64,
    /// The number of the last durable barrier.
    pub barrier: u64,
}
