//! Looks: what the director asks of the disk at the source, and what comes back.
//!
//! Plain values. A worker of the transfer phase runs a [`LookJob`] against the real tree, the
//! simulation against a model tree; both return a [`LookDone`].

use std::sync::Arc;

use crate::model::delta::{Basis, Delta, Signature};
use crate::model::entry::{FileTime, Hash, Identity, Sighting};
use crate::model::ledger::{Facts, Note, Standing};
use crate::model::op::{Listed, ListingEnd};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{DirKey, SinkId};

/// Numbers a look; never used again.
pub type LookId = u64;

/// Where a directory should be, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirAddress {
    /// The director's key for it; a worker may keep a descriptor by it.
    pub key: DirKey,
    /// Its path by the map at this moment.
    pub path: RelPath,
    /// What must be found there; nothing before the directory was armed for the first time.
    pub identity: Option<Identity>,
}

/// One piece of work for the disk at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookJob {
    /// Names it.
    pub id: LookId,
    /// For whom; nothing for arming, which serves all sinks.
    pub sink: Option<SinkId>,
    /// Whether live work waits for it: such jobs overtake all others.
    pub urgent: bool,
    /// The directory that it goes through.
    pub dir: DirAddress,
    /// What is to be done there.
    pub task: Task,
}

/// What a look is to do in its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Arms the directory (watch first), then reads the names in it, without stat.
    Arm {
        /// At most so many names that are no directories are returned; 0 for none.
        files_max: usize,
    },
    /// Arms the directory if need be, then reads the next part of it, with stat.
    List {
        /// Names the listing: the worker keeps the open directory under this number.
        listing: u64,
        /// Whether this is its first part.
        first: bool,
        /// Whether the ledger is asked how it stands to each name.
        recall: bool,
        /// Whether files that have changed lately are probed for writers.
        probe: bool,
    },
    /// Forgets an open listing.
    CloseListing {
        /// Names the listing.
        listing: u64,
    },
    /// Looks at single names.
    Names(Vec<(Name, Want)>),
    /// Probes which of these files are open for writing.
    Probe(Vec<Name>),
    /// Looks at the directory's own attributes.
    OwnMeta,
    /// Looks at paths below a name that is gone (no directory may be left to go through).
    Paths(Vec<RelPath>),
    /// Reads the next bytes of a large file that a `Want::Open` opened.
    Chunk {
        /// Names the transfer: the worker keeps the open file under this number.
        transfer: u64,
        /// Where the bytes begin.
        offset: u64,
        /// How many at most.
        bytes: u64,
    },
    /// From now on what `Chunk` reads of a transfer is compared with what the sink has there, by
    /// a signature of it.
    Compare {
        /// Names the transfer, of which nothing was read yet.
        transfer: u64,
        /// The name it was opened by.
        name: Name,
        /// The signature, if the sink has told one.
        told: Option<Arc<Signature>>,
    },
    /// Looks at a transfer's file once more, through its name, and tells the hash of what was read.
    Finish {
        /// Names the transfer.
        transfer: u64,
        /// The name it was opened by.
        name: Name,
    },
    /// Forgets an open transfer.
    CloseTransfer {
        /// Names the transfer.
        transfer: u64,
    },
}

/// How much of a name a look is to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// What stands there, and the content if it is a file of at most `LIVE_BYTES_MAX`.
    Content,
    /// What stands there, without content.
    Meta,
    /// What stands there and, for a file, the hash of its content, read but not brought.
    Hash,
    /// What stands there; a file is opened and kept under this transfer number.
    Open {
        /// Names the transfer.
        transfer: u64,
    },
}

/// The end of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookDone {
    /// Names the look.
    pub id: LookId,
    /// What was seen.
    pub seen: Seen,
}

/// What a look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The path does not hold the directory that it should: an event is on its way.
    Elsewhere,
    /// The directory can't be read: a problem, in words.
    Unreadable(String),
    /// Answer to `Arm`.
    Armed(Armed),
    /// Answer to `List`.
    Part {
        /// What the directory is.
        identity: Identity,
        /// Its ctime, of once it was watched and before it was read.
        changed: FileTime,
        /// How it was watched before it was read.
        watch: WatchState,
        /// Entries, in the order of the disk, with what each is.
        entries: Vec<Found>,
        /// Names that could not be looked at, with the reason.
        problems: Vec<(Name, String)>,
        /// Whether more is to come.
        end: ListingEnd,
        /// Names that the sink may have by the ledger, and no part had: with the last part. Nothing
        /// if the ledger was not asked or does not know the directory.
        missing: Option<Vec<Name>>,
    },
    /// Answer to `Names`, in the order asked.
    Names {
        /// One for each name.
        sights: Vec<(Name, Sight)>,
        /// The contents brought, one after the other, in that order.
        content: Vec<u8>,
        /// What the ledger tells of each, where it was asked; empty if it was of none.
        notes: Vec<Option<Note>>,
    },
    /// Answer to `Probe`: those that are open for writing.
    Writers(Vec<Name>),
    /// Answer to `OwnMeta`.
    Own(Sighting),
    /// Answer to `Paths`: which of them are gone for certain (ENOENT, ENOTDIR), or hidden.
    Paths(Vec<(RelPath, bool)>),
    /// Answer to `Chunk`: the next bytes, as many as were asked for or up to the next hole.
    Chunk {
        /// Where they begin; what lies between this and where they were asked for is a hole.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether the file ends behind them.
        is_last: bool,
    },
    /// Answer to `Compare`: what it is compared with.
    Comparing(Comparing),
    /// Answer to `Chunk` of a transfer that is compared: what comes next.
    Delta {
        /// It.
        delta: Delta,
        /// All before there was told.
        end: u64,
        /// Whether the file ends there.
        is_last: bool,
    },
    /// Answer to `Finish`: what the open file is now, what stands at its name, and the hash of all
    /// bytes that the chunks brought.
    Finished {
        /// The open file itself: identity, size, times.
        file: Sighting,
        /// Whether its name still holds it.
        still_named: bool,
        /// Of the bytes read, in order.
        hash: Hash,
        /// How many bytes were read.
        bytes: u64,
    },
    /// Answer to `CloseListing` and `CloseTransfer`.
    Closed,
}

/// What a file is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparing {
    /// Nothing: it is to be sent whole.
    Never,
    /// Nothing yet, for there is no signature.
    Unsigned,
    /// This version of it.
    With(Basis),
}

/// One entry of a directory that is being listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As it travels.
    pub listed: Listed,
    /// What tells it from what it was.
    pub facts: Facts,
    /// How the ledger stands to it; unknown where it was not asked.
    pub standing: Standing,
    /// Another name of the same object that should be one with it at the sink: its directory and
    /// what it is called there.
    pub beside: Option<(Identity, Name)>,
    /// Whether it was probed, and somebody has it open for writing.
    pub has_writer: bool,
    /// Bytes of room that its content takes here, at most as many as it is long.
    pub takes: u64,
}

/// What arming found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Armed {
    /// What the directory is.
    pub identity: Identity,
    /// How it is watched now.
    pub watch: WatchState,
    /// Names of the directories in it.
    pub dirs: Vec<Name>,
    /// Names of other things in it, at most as many as asked for.
    pub files: Vec<Name>,
    /// Whether the directory was read to its end and no name was left out.
    pub complete: bool,
}

/// Whether events come from a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchState {
    /// A watch is on it, under the key asked for.
    Watched,
    /// The same directory is watched under another key: it has moved, or is mounted twice.
    Known(DirKey),
    /// No watch can be had; the text says why and what to do.
    Unwatched(String),
}

/// What stands at one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Nothing that is offered: ENOENT through a descriptor of that very directory, or something
    /// that a rule of the selection hides.
    Gone,
    /// Something that the selection withholds: whatever the sink has there stays.
    Withheld,
    /// Something.
    There {
        /// What.
        sighting: Sighting,
        /// Of the content, when it was read; its bytes, if brought, are in the shared buffer.
        read: Option<ReadContent>,
    },
    /// It can't be looked at or read: a problem, in words.
    Problem(String),
}

/// What reading a file brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadContent {
    /// Of the bytes read.
    pub hash: Hash,
    /// How many bytes were read; the size that travels.
    pub bytes: u64,
    /// Whether these bytes are in the shared buffer.
    pub brought: bool,
}

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    /// What it is.
    pub identity: Identity,
    /// Length in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: FileTime,
    /// Time of the last change of any sort.
    pub ctime: FileTime,
}
