//! What an object bears beside its content: attributes as they are compared, and as they travel.
//!
//! - [`Meta`] is small and stands in every listing. Of extended attributes it holds a mark for each
//!   namespace, so that two sides can compare what one of them cannot keep wholly.
//! - [`Attributes`] is all of them, with the values: it travels with operations.

use serde::{Deserialize, Serialize};

use crate::model::entry::FileTime;

/// Attributes that every object bears, as they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Meta {
    /// The 12 permission bits.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time.
    pub mtime: FileTime,
    /// Inode flags.
    pub flags: Flags,
    /// Of its extended attributes, if it has any.
    pub marks: Option<Marks>,
}

impl Meta {
    /// Those of an object without flags and extended attributes.
    #[must_use]
    pub fn plain(mode: u16, uid: u32, gid: u32, mtime: FileTime) -> Meta {
        Meta { mode, uid, gid, mtime, flags: Flags::none(), marks: None }
    }
}

/// Inode flags, those that a program may set and that every look tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Flags(u8);

impl Flags {
    /// Nothing of the object may change.
    pub const IMMUTABLE: Flags = Flags(1);
    /// It may only be appended to.
    pub const APPEND: Flags = Flags(2);
    /// Backups may leave it out.
    pub const NODUMP: Flags = Flags(4);

    /// None.
    #[must_use]
    pub fn none() -> Flags {
        Flags(0)
    }

    /// These and those.
    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of those are among these.
    #[must_use]
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The namespaces of extended attributes that are carried, each with rules of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Namespace {
    /// `user.`: anybody's, on files and directories.
    User,
    /// `system.posix_acl_`: access control lists.
    Acl,
    /// `security.`: file capabilities, labels.
    Security,
    /// `trusted.`: root's.
    Trusted,
}

impl Namespace {
    /// All of them, in the order of their marks.
    pub const ALL: [Namespace; 4] =
        [Namespace::User, Namespace::Acl, Namespace::Security, Namespace::Trusted];

    /// Of an attribute's name; nothing for what is not carried: what is bound to one inode, and
    /// what filesystems make up themselves.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Namespace> {
        match name {
            b"system.posix_acl_access" | b"system.posix_acl_default" => Some(Namespace::Acl),
            // XFS shows its ACLs once more under names of its own.
            b"security.evm" | b"trusted.SGI_ACL_FILE" | b"trusted.SGI_ACL_DEFAULT" => None,
            _ if name.starts_with(b"user.") => Some(Namespace::User),
            _ if name.starts_with(b"security.") => Some(Namespace::Security),
            _ if name.starts_with(b"trusted.") => Some(Namespace::Trusted),
            _ => None,
        }
    }

    /// Its place in [`Marks`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// In words, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Namespace::User => "user extended attributes",
            Namespace::Acl => "POSIX ACLs",
            Namespace::Security => "security extended attributes (file capabilities, labels)",
            Namespace::Trusted => "trusted extended attributes",
        }
    }
}

/// For each namespace 8 bytes of a hash over its names and values; 0 where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Marks(pub [u64; 4]);

impl Marks {
    /// Of attributes in the order of their names; nothing if there are none.
    #[must_use]
    pub fn of(xattrs: &[Xattr]) -> Option<Marks> {
        let mut marks = Marks::default();
        for namespace in Namespace::ALL {
            marks.0[namespace.index()] = mark_of(namespace, xattrs);
        }
        (marks != Marks::default()).then_some(marks)
    }
}

fn mark_of(namespace: Namespace, xattrs: &[Xattr]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let mut any = false;
    for xattr in xattrs.iter().filter(|xattr| Namespace::of(&xattr.name) == Some(namespace)) {
        any = true;
        for bytes in [&xattr.name, &xattr.value] {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
    if !any {
        return 0;
    }
    let mut mark = [0; 8];
    mark.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(mark).max(1)
}

/// One extended attribute, raw.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Xattr {
    /// With its namespace.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// Any bytes.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

/// All attributes of one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attributes {
    /// Those that are compared.
    pub meta: Meta,
    /// The extended ones that `meta` holds the marks of, in the order of their names.
    pub xattrs: Vec<Xattr>,
    /// Time of the last reading, where that is carried. Takes no part in any comparison.
    pub atime: Option<FileTime>,
    /// Of a file: it takes less room than it is long, so zeros in it are to be holes.
    pub holes: bool,
}

impl Attributes {
    /// Those of an object without extended attributes.
    #[must_use]
    pub fn plain(meta: Meta) -> Attributes {
        Attributes { meta, xattrs: Vec::new(), atime: None, holes: false }
    }

    /// Bytes that names and values of extended attributes take.
    #[must_use]
    pub fn xattr_bytes(&self) -> u64 {
        self.xattrs.iter().map(|xattr| (xattr.name.len() + xattr.value.len()) as u64).sum()
    }
}

/// Which attributes are carried: what a person wants of them, and what both sides are able to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Carried {
    /// Numeric owners.
    pub owners: bool,
    /// Numeric groups.
    pub groups: bool,
    /// Permission bits.
    pub modes: bool,
    /// Times of the last reading.
    pub atimes: bool,
    /// Inode flags.
    pub flags: bool,
    /// That names are of one object (hard links).
    pub links: bool,
    /// Namespaces of extended attributes, by [`Namespace::index`].
    pub namespaces: [bool; 4],
}

impl Carried {
    /// All but the times of the last reading.
    #[must_use]
    pub fn all() -> Carried {
        Carried {
            owners: true,
            groups: true,
            modes: true,
            atimes: false,
            flags: true,
            links: true,
            namespaces: [true; 4],
        }
    }

    /// What is carried by both.
    #[must_use]
    pub fn and(&self, other: &Carried) -> Carried {
        Carried {
            owners: self.owners && other.owners,
            groups: self.groups && other.groups,
            modes: self.modes && other.modes,
            atimes: self.atimes && other.atimes,
            flags: self.flags && other.flags,
            links: self.links && other.links,
            namespaces: std::array::from_fn(|at| self.namespaces[at] && other.namespaces[at]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flags, Marks, Namespace, Xattr};

    fn xattr(name: &str, value: &str) -> Xattr {
        Xattr { name: name.into(), value: value.into() }
    }

    #[test]
    fn marks_tell_namespaces_apart() {
        assert_eq!(Marks::of(&[]), None);
        assert_eq!(Marks::of(&[xattr("system.sockprotoname", "TCP")]), None);
        let one = Marks::of(&[xattr("user.a", "1")]).unwrap();
        let two = Marks::of(&[xattr("trusted.b", "2"), xattr("user.a", "1")]).unwrap();
        let user = Namespace::User.index();
        assert_eq!(one.0[user], two.0[user]);
        assert_ne!(two.0[Namespace::Trusted.index()], 0);
        assert_eq!(one.0.iter().filter(|mark| **mark != 0).count(), 1);
        let moved = Marks::of(&[xattr("user.a1", "")]).unwrap();
        assert_ne!(one, moved, "names and values keep their bounds");
    }

    #[test]
    fn flags_are_sets() {
        let both = Flags::APPEND.with(Flags::NODUMP);
        assert!(both.has(Flags::APPEND) && !both.has(Flags::IMMUTABLE) && !both.is_empty());
        assert!(both.has(Flags::none()) && Flags::none().is_empty());
    }
}
