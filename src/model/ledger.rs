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
    /// Whether it has more names than the one it was seen at (hard links).
    pub has_others: bool,
    /// The directory that it was seen in, if it is none itself and that is known. No part of what
    /// is remembered of it.
    pub home: Option<Identity>,
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
    /// What a look has seen at a name of this directory, if it is known which one that is.
    #[must_use]
    pub fn of(seen: &Sighting, dir: Option<Identity>) -> Facts {
        let is_dir = seen.entry.is_dir();
        Facts {
            has_others: seen.links > 1 && !is_dir,
            home: dir.filter(|_| !is_dir),
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
            has_others: false,
            home: None,
        }
    }

    /// Whether all that is remembered is the same.
    #[must_use]
    pub fn is_same(&self, other: &Facts) -> bool {
        self.is_like(other) && (self.ctime, self.is_young) == (other.ctime, other.is_young)
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
    Offered {
        /// What it is to be, if that is known and no directory.
        kin: Option<Identity>,
    },
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
            Step::Offered { .. } => None,
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
    /// The sink has the object under another name, and this one is not known to be a link to it.
    Apart,
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
    /// It is to become a link to another name of the same object, which the sink has.
    Apart,
}

/// When something was offered: the epoch and the stamp of the look.
pub type Moment = (Epoch, Stamp);

/// A name at the sink by which an object is known that has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The directory at the source that the name is in.
    pub home: Identity,
    /// The name.
    pub name: Name,
    /// What the sink's object is a copy of.
    pub facts: Facts,
    /// When its content was offered: all names that were linked since are one object at the sink.
    pub generation: Moment,
    /// When the name itself was offered last.
    pub offered: Moment,
}

/// What the ledger tells of one name that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How it stands to what was seen.
    pub standing: Standing,
    /// The sink has a copy of it under that name, be it as it was.
    pub is_copied: bool,
    /// Another name of the object, to be linked to.
    pub anchor: Option<Anchor>,
}

/// Objects with several names that are to be looked after, by what was entered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unsettled {
    /// Some names of these may stand apart from the others.
    pub strays: Vec<Identity>,
    /// These lost a name: they may have been changed through it, and no event told of others.
    pub parted: Vec<Identity>,
}

/// Names of one object, by the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kin {
    /// Those that are not linked to the others at the sink, by directory at the source.
    pub apart: Vec<(Identity, Name)>,
    /// Some of those that are, if they were asked for.
    pub joined: Vec<(Identity, Name)>,
    /// Where to go on, if there are more.
    pub next: Option<Vec<u8>>,
}

/// A question after the names of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinQuery {
    /// The object.
    pub identity: Identity,
    /// Where to go on.
    pub after: Option<Vec<u8>>,
    /// Whether all that stand apart are wanted; else a few of any sort.
    pub whole: bool,
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
    /// A name was linked to another of the same object.
    Linked {
        /// Where.
        path: RelPath,
        /// The name that it was linked to.
        from: RelPath,
        /// What was seen there.
        facts: Facts,
        /// The generation of the name that it was linked to.
        generation: Moment,
    },
    /// A name is gone at the source and stays at the sink: it is none of an object's any more.
    Parted(RelPath),
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
