//! What can stand at a name, and how it is told apart.

use serde::{Deserialize, Serialize};

use crate::model::attributes::Xattr;
pub use crate::model::attributes::{Attributes, Meta};

/// A moment as a filesystem keeps it: seconds since 1970 (may be negative) and nanoseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct FileTime {
    /// Whole seconds since 1970-01-01 UTC.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// BLAKE3 of a whole file's content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hash(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What an object is, beyond the reuse of inode numbers: device, inode, and birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Device number, as `st_dev`.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Birth time in nanoseconds since 1970, or the inode's generation; 0 where neither is had.
    pub birth: i128,
}

/// What stands at a name: a value without identity, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Entry {
    /// A regular file of `size` bytes.
    File {
        /// Length in bytes.
        size: u64,
        /// Its attributes.
        meta: Meta,
    },
    /// A directory. Its attributes travel by an operation of their own.
    Dir {
        /// Its attributes.
        meta: Meta,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, raw: any bytes.
        #[serde(with = "serde_bytes")]
        target: Vec<u8>,
        /// Its attributes; the mode is not kept.
        meta: Meta,
    },
    /// A fifo, socket or device.
    Special {
        /// Which of them.
        kind: SpecialKind,
        /// Device number for the device kinds, else 0.
        device: u64,
        /// Its attributes.
        meta: Meta,
    },
}

/// The kinds that hold neither content nor names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpecialKind {
    /// A named pipe.
    Fifo,
    /// A UNIX socket.
    Socket,
    /// A character device.
    Character,
    /// A block device.
    Block,
}

impl Entry {
    /// The attributes, whatever the kind.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        match self {
            Entry::File { meta, .. }
            | Entry::Dir { meta }
            | Entry::Symlink { meta, .. }
            | Entry::Special { meta, .. } => meta,
        }
    }

    /// The attributes, to be changed.
    pub fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Entry::File { meta, .. }
            | Entry::Dir { meta }
            | Entry::Symlink { meta, .. }
            | Entry::Special { meta, .. } => meta,
        }
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self, Entry::Dir { .. })
    }

    /// Bytes of content that a transfer of this entry moves.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        match self {
            Entry::File { size, .. } => *size,
            _ => 0,
        }
    }
}

/// An entry as one look saw it: with its identity and the time of its last change of any sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The value that travels.
    pub entry: Entry,
    /// What it is.
    pub identity: Identity,
    /// Time of the last change of content or attributes.
    pub ctime: FileTime,
    /// Its extended attributes, in the order of their names; of an entry of a listing none: its
    /// marks are enough there.
    pub xattrs: Vec<Xattr>,
    /// Time of the last reading.
    pub atime: Option<FileTime>,
    /// Of a file: it takes less room than it is long.
    pub holes: bool,
    /// Number of names.
    pub links: u64,
    /// Its ctime lies within the last granule of the clock before the look, and not after it: a
    /// change to come may bear the same times (H19).
    pub is_young: bool,
}

impl Sighting {
    /// All its attributes.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        let xattrs = self.xattrs.clone();
        Attributes { meta: *self.entry.meta(), xattrs, atime: self.atime, holes: self.holes }
    }
}
