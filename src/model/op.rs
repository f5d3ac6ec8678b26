//! Operations: what is to be done at the sink, idempotent, each with the stamp of its look.

use serde::{Deserialize, Serialize};

use crate::model::entry::{Attributes, Entry, FileTime, Hash, SpecialKind};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::Stamp;

/// An operation with its stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Taken before the look that this operation carries.
    pub stamp: Stamp,
    /// What is to be done.
    pub op: Op,
}

/// What is to be done at one or two names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Puts a whole file there; its bytes follow in the content frame, in the order of operations.
    Put {
        /// Where.
        path: RelPath,
        /// Length of the content in the frame.
        size: u64,
        /// Attributes.
        attributes: Attributes,
        /// Of the content.
        hash: Hash,
    },
    /// Puts a file there whose content was staged by a transfer.
    Commit {
        /// Where.
        path: RelPath,
        /// Names the staged object.
        transfer: u64,
        /// Length that the staged object must have.
        size: u64,
        /// Attributes.
        attributes: Attributes,
        /// Of the content.
        hash: Hash,
    },
    /// Puts a symbolic link there.
    Symlink {
        /// Where.
        path: RelPath,
        /// What it holds, raw.
        #[serde(with = "serde_bytes")]
        target: Vec<u8>,
        /// Attributes.
        attributes: Attributes,
    },
    /// Puts a fifo, socket or device there.
    Special {
        /// Where.
        path: RelPath,
        /// Which of them.
        kind: SpecialKind,
        /// Device number for the device kinds, else 0.
        device: u64,
        /// Attributes.
        attributes: Attributes,
    },
    /// Makes a directory, mode 0700 until its attributes come.
    MakeDir {
        /// Where.
        path: RelPath,
    },
    /// Sets attributes, if what stands there is what they presuppose.
    SetMeta {
        /// Where; may be the root.
        path: RelPath,
        /// What must stand there.
        presumes: Version,
        /// The attributes.
        attributes: Attributes,
        /// How many names it has at the source, as far as that says anything, else 0. Should it
        /// have more at the sink, the others are to keep their attributes.
        names: u32,
    },
    /// Removes a name: unlinks it, or removes the directory if it is empty.
    Remove {
        /// Where.
        path: RelPath,
        /// What stays, should it stand there.
        spared: Spared,
    },
    /// Moves a name, if what stands at `from` is what is presupposed.
    Rename {
        /// Where it is.
        from: RelPath,
        /// Where it goes; a file or an empty directory there is replaced.
        to: RelPath,
        /// What must stand at `from`.
        presumes: Version,
    },
    /// Makes a name one more of what stands at another (a hard link), if that is what is
    /// presupposed.
    Link {
        /// The name that is to be linked; whatever stands there is replaced as by `Put`.
        path: RelPath,
        /// Another name of the same object.
        from: RelPath,
        /// What must stand at `from`.
        presumes: Version,
        /// Nothing newer than this may have been applied to `from` (H12).
        since: Stamp,
    },
    /// Exchanges two names, if a directory stands at one of them at least.
    Exchange {
        /// One of them.
        a: RelPath,
        /// The other.
        b: RelPath,
    },
}

impl Op {
    /// The name that the operation is about; for a rename where it goes, for an exchange `a`.
    #[must_use]
    pub fn path(&self) -> &RelPath {
        match self {
            Op::Put { path, .. }
            | Op::Commit { path, .. }
            | Op::Symlink { path, .. }
            | Op::Special { path, .. }
            | Op::MakeDir { path }
            | Op::SetMeta { path, .. }
            | Op::Remove { path, .. }
            | Op::Link { path, .. }
            | Op::Rename { to: path, .. }
            | Op::Exchange { a: path, .. } => path,
        }
    }

    /// Bytes of the paths in the header frame.
    #[must_use]
    pub fn path_bytes(&self) -> u64 {
        let other = match self {
            Op::Rename { from, .. } | Op::Link { from, .. } | Op::Exchange { b: from, .. } => {
                from.as_bytes().len()
            }
            _ => 0,
        };
        (self.path().as_bytes().len() + other) as u64
    }

    /// Bytes of extended attributes in the header frame.
    #[must_use]
    pub fn xattr_bytes(&self) -> u64 {
        match self {
            Op::Put { attributes, .. }
            | Op::Commit { attributes, .. }
            | Op::Symlink { attributes, .. }
            | Op::Special { attributes, .. }
            | Op::SetMeta { attributes, .. } => attributes.xattr_bytes(),
            _ => 0,
        }
    }

    /// Bytes of content that the name has after it, if the operation brings them along.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        match self {
            Op::Put { size, .. } | Op::Commit { size, .. } => *size,
            _ => 0,
        }
    }

    /// Bytes of this operation in the content frame.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        match self {
            Op::Put { size, .. } => *size,
            _ => 0,
        }
    }
}

/// The version of what stands at a name that a partial operation presupposes (H4, H12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// A directory.
    Dir,
    /// A regular file of this size and modification time and, if given, this content.
    File {
        /// Length in bytes.
        size: u64,
        /// Modification time.
        mtime: FileTime,
        /// Of the content.
        hash: Option<Hash>,
    },
    /// A symbolic link with this modification time.
    Symlink {
        /// Modification time.
        mtime: FileTime,
    },
    /// A fifo, socket or device with this modification time.
    Special {
        /// Modification time.
        mtime: FileTime,
    },
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The name in the listed directory.
    pub name: Name,
    /// What stands there.
    pub entry: Entry,
}

/// A bounded part of what one directory holds: says what is there, never what is not (H13).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingPart {
    /// Names the listing: all parts of one reading of one directory.
    pub listing: u64,
    /// The directory.
    pub dir: RelPath,
    /// Taken before this part was read.
    pub stamp: Stamp,
    /// Its number, from 0.
    pub part: u32,
    /// What it holds; at most `LISTING_ENTRIES_MAX`, those of `others` included.
    pub entries: Vec<Listed>,
    /// Names that stand there too and are not compared: they are linked to another name of theirs
    /// by operations of their own.
    pub others: Vec<Name>,
    /// Entries, by index, that should be one object with what stands at another path.
    pub linked: Vec<(u32, RelPath)>,
    /// Whether the listing ends here, and how.
    pub end: ListingEnd,
    /// Of the names that the sink has beyond the listing, those are asked for that come after this
    /// one; the same in all parts.
    pub after: Option<Name>,
}

/// Whether more parts follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListingEnd {
    /// More parts follow.
    More,
    /// This is the last part and nothing went wrong: names missing from all parts may be asked for.
    Complete,
    /// The listing was given up: nothing may be concluded from what is missing.
    Abandoned,
}

/// The four answers to an operation (law 4). Each frees credit and its place below the watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done, or already so.
    Applied,
    /// Something newer was applied to that name or above it: look again.
    Superseded,
    /// What was presupposed is not there: look again, wholly.
    Needed(Need),
    /// It could not be done: a problem, kept for later.
    Failed(Failure),
}

/// Which kind of object a removal leaves alone, for the source's rules protect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spared {
    /// None.
    Nothing,
    /// A directory.
    Directories,
    /// What is no directory.
    Others,
}

impl Spared {
    /// Whether it leaves such an object alone.
    #[must_use]
    pub fn has(self, is_dir: bool) -> bool {
        match self {
            Spared::Nothing => false,
            Spared::Directories => is_dir,
            Spared::Others => !is_dir,
        }
    }
}

/// Why an operation can't be applied as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Need {
    /// The content presupposed is not there.
    Content,
    /// Something that is no directory stands above the name.
    Parent,
    /// A directory that is not empty stands in the way; some of the names in it.
    Remains {
        /// The directory that is not empty: the operation's path or, for a rename, its target.
        dir: RelPath,
        /// At most `REMAINS_MAX` names that stand in it.
        names: Vec<Name>,
    },
    /// What stands there is what the removal spares.
    Spared {
        /// Where it stands: the operation's path.
        path: RelPath,
    },
    /// The staged object of a commit is missing or is not what was announced.
    Transfer,
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No room on the sink's filesystem, or no inode: let go and tried again later.
    NoRoom,
    /// The sink's filesystem is read-only: let go and tried again later.
    ReadOnly,
    /// The policy forbids it (`--delete never`, a staging name).
    Forbidden(String),
    /// Any other error, in words.
    Other(String),
}

impl Failure {
    /// Whether it is for want of room, or of leave to write anything: others will meet the same.
    #[must_use]
    pub fn is_for_want_of_room(&self) -> bool {
        matches!(self, Failure::NoRoom | Failure::ReadOnly)
    }
}
