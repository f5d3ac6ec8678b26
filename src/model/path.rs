//! Names and paths: bytes, never text, checked at birth.
//!
//! - A [`Name`] is one component: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
//! - A [`RelPath`] is zero or more names joined by `/`; the empty path is the root itself.
//! - Decoding goes through the same constructors, so no peer can smuggle a bad one in.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::model::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX};

/// Why some bytes are no name or no path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    /// A component of no bytes: a leading, trailing or doubled slash.
    #[error("Empty path component")]
    Empty,
    /// A component `.` or `..`.
    #[error("Path component \".\" or \"..\"")]
    Dots,
    /// A NUL byte, or a slash inside a single name.
    #[error("Forbidden byte in a name")]
    Byte,
    /// A name or a path over its limit.
    #[error("Name or path too long ({0} bytes)")]
    Long(usize),
}

fn check_name(bytes: &[u8]) -> Result<(), PathError> {
    match bytes {
        b"" => Err(PathError::Empty),
        b"." | b".." => Err(PathError::Dots),
        _ if bytes.len() > NAME_BYTES_MAX => Err(PathError::Long(bytes.len())),
        _ if bytes.iter().any(|&b| b == b'/' || b == 0) => Err(PathError::Byte),
        _ => Ok(()),
    }
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Makes a name from the bytes of one directory entry.
    ///
    /// # Errors
    /// When the bytes are empty, dots, too long, or hold a slash or a NUL.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Name, PathError> {
        let bytes = bytes.into();
        check_name(&bytes)?;
        Ok(Name(bytes))
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Name::new(bytes.into_vec()).map_err(serde::de::Error::custom)
    }
}

/// A path below the root: names joined by `/`, the empty path being the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// The root itself.
    #[must_use]
    pub fn root() -> RelPath {
        RelPath(Vec::new())
    }

    /// Checks the bytes of a whole path.
    ///
    /// # Errors
    /// When any component is no valid name, or the whole is too long.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<RelPath, PathError> {
        let bytes = bytes.into();
        if bytes.len() > PATH_BYTES_MAX {
            return Err(PathError::Long(bytes.len()));
        }
        if !bytes.is_empty() {
            bytes.split(|&b| b == b'/').try_for_each(check_name)?;
        }
        Ok(RelPath(bytes))
    }

    /// Joins names, outermost first. The result may be longer than what a peer would decode;
    /// [`RelPath::is_sendable`] tells.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a Name>) -> RelPath {
        let mut path = RelPath::root();
        for name in names {
            path.push(name);
        }
        path
    }

    /// Appends one name.
    pub fn push(&mut self, name: &Name) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name.as_bytes());
    }

    /// This path with one name appended.
    #[must_use]
    pub fn join(&self, name: &Name) -> RelPath {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.as_bytes().len());
        bytes.extend_from_slice(&self.0);
        let mut path = RelPath(bytes);
        path.push(name);
        path
    }

    /// This path with all the names of `below` appended.
    #[must_use]
    pub fn join_path(&self, below: &RelPath) -> RelPath {
        if self.is_root() {
            return below.clone();
        }
        let mut bytes = self.0.clone();
        if !below.is_root() {
            bytes.push(b'/');
            bytes.extend_from_slice(&below.0);
        }
        RelPath(bytes)
    }

    /// The bytes, without a leading slash; empty for the root.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a peer will accept the length of this path.
    #[must_use]
    pub fn is_sendable(&self) -> bool {
        self.0.len() <= PATH_BYTES_MAX
    }

    /// The directory above and the last name; nothing for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(RelPath, Name)> {
        if self.is_root() {
            return None;
        }
        let (parent, name) = match self.0.iter().rposition(|&b| b == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&self.0[..0], &self.0[..]),
        };
        Some((RelPath(parent.to_vec()), Name(name.into())))
    }

    /// The directory above; nothing for the root.
    #[must_use]
    pub fn parent(&self) -> Option<RelPath> {
        self.split_last().map(|(parent, _)| parent)
    }

    /// The names, outermost first.
    pub fn names(&self) -> impl Iterator<Item = Name> + '_ {
        self.0.split(|&b| b == b'/').filter(|n| !n.is_empty()).map(|n| Name(n.into()))
    }

    /// Whether this path is `above` or lies below it.
    #[must_use]
    pub fn is_at_or_below(&self, above: &RelPath) -> bool {
        above.is_root()
            || (self.0.starts_with(&above.0)
                && (self.0.len() == above.0.len() || self.0[above.0.len()] == b'/'))
    }

    /// What of this path lies below `above`: empty for `above` itself, nothing for what is
    /// elsewhere.
    #[must_use]
    pub fn below(&self, above: &RelPath) -> Option<RelPath> {
        if !self.is_at_or_below(above) {
            return None;
        }
        let rest = &self.0[above.0.len()..];
        Some(RelPath(rest.strip_prefix(b"/").unwrap_or(rest).to_vec()))
    }

    /// The paths strictly above this one, nearest first, the root last.
    pub fn ancestors(&self) -> impl Iterator<Item = RelPath> + '_ {
        let mut at = Some(self.clone());
        std::iter::from_fn(move || {
            at = at.as_ref().and_then(RelPath::parent);
            at.clone()
        })
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return write!(f, ".");
        }
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RelPath, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        RelPath::new(bytes.into_vec()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, PathError, RelPath};

    #[test]
    fn a_path_refuses_what_leaves_the_root() {
        for (bytes, error) in [
            (&b"/etc"[..], PathError::Empty),
            (b"a//b", PathError::Empty),
            (b"a/", PathError::Empty),
            (b"a/../b", PathError::Dots),
            (b".", PathError::Dots),
            (b"a\0b", PathError::Byte),
        ] {
            assert_eq!(RelPath::new(bytes).unwrap_err(), error, "{}", bytes.escape_ascii());
        }
        assert_eq!(Name::new(*b"a/b").unwrap_err(), PathError::Byte);
        assert_eq!(Name::new(vec![b'x'; 256]).unwrap_err(), PathError::Long(256));
    }

    #[test]
    fn below_means_whole_components() {
        let path = |text: &str| RelPath::new(text).unwrap();
        assert!(path("a/b").is_at_or_below(&path("a")));
        assert!(path("a").is_at_or_below(&path("a")));
        assert!(!path("ab").is_at_or_below(&path("a")));
        assert!(path("a").is_at_or_below(&RelPath::root()));
        let up: Vec<_> = path("a/b/c").ancestors().map(|p| p.to_string()).collect();
        assert_eq!(up, ["a/b", "a", "."]);
    }

    #[test]
    fn names_are_shown_escaped() {
        assert_eq!(RelPath::new(&b"a/\xff\n"[..]).unwrap().to_string(), "a/\\xff\\n");
    }
}
