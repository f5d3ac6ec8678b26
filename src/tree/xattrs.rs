//! Extended attributes of any object, whatever its kind, without following a symlink.
//!
//! - The kernel's calls take an open file or a path. What is known by a directory and a name, or by
//!   a path-only descriptor, is reached through `/proc/self/fd`, which leads to that very object.
//! - Only what [`Namespace`] knows is read, set or removed.

mod sys;

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::buffer::spare_capacity;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::model::attributes::{Namespace, Xattr};
use crate::model::limits::XATTR_BYTES_MAX;
use crate::model::path::Name;

/// Bytes of a list of names that nearly always suffice.
const LIST_BYTES: usize = 1024;
/// Bytes that the kernel allows for a list of names, and for a value.
const KERNEL_BYTES: usize = 64 * 1024;

/// How an object is reached.
#[derive(Debug, Clone, Copy)]
pub(super) enum Object<'a> {
    /// By a descriptor that reads or writes.
    Open(BorrowedFd<'a>),
    /// By a path-only descriptor, or any other.
    Held(BorrowedFd<'a>),
    /// By its name in a directory.
    Named(BorrowedFd<'a>, &'a Name),
}

/// Which namespaces take part, by [`Namespace::index`].
pub(super) type Chosen = [bool; 4];

/// Reads the chosen extended attributes, in the order of their names. None where the filesystem
/// has no such thing.
///
/// # Errors
/// `TOOBIG` when there are more than `XATTR_BYTES_MAX` bytes of them; what the kernel says.
pub(super) fn read(object: Object<'_>, chosen: &Chosen) -> Result<Vec<Xattr>, Errno> {
    let mut xattrs = Vec::new();
    let mut bytes = 0;
    for name in names(object)?.split(|byte| *byte == 0) {
        if !Namespace::of(name).is_some_and(|namespace| chosen[namespace.index()]) {
            continue;
        }
        let value = match value(object, name) {
            // It went between two calls.
            Err(Errno::NODATA) => continue,
            other => other?,
        };
        bytes += name.len() + value.len();
        if bytes > XATTR_BYTES_MAX {
            return Err(Errno::TOOBIG);
        }
        xattrs.push(Xattr { name: name.to_vec(), value });
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Makes the chosen extended attributes of an object those wanted, which are in the order of their
/// names: ACLs first, file capabilities last, for what comes between may take them off.
///
/// # Errors
/// The first attribute that could not be set or removed, by its name; the others are set.
pub(super) fn set(
    object: Object<'_>,
    wanted: &[Xattr],
    chosen: &Chosen,
) -> Result<(), (Vec<u8>, Errno)> {
    let have = read(object, chosen).map_err(|errno| (Vec::new(), errno))?;
    let is_wanted = |name: &[u8]| wanted.iter().any(|xattr| xattr.name == name);
    let mut result = Ok(());
    let mut note = |name: &[u8], done: Result<(), Errno>| {
        if let (Err(errno), true) = (done, result.is_ok()) {
            result = Err((name.to_vec(), errno));
        }
    };
    for surplus in have.iter().filter(|xattr| !is_wanted(&xattr.name)) {
        // A label that this host's policy gives to all is no surplus.
        if !is_label(&surplus.name) {
            note(&surplus.name, remove_one(object, &surplus.name));
        }
    }
    let mut missing: Vec<&Xattr> =
        wanted.iter().filter(|xattr| is_chosen(&xattr.name, chosen)).collect();
    missing.retain(|xattr| have.binary_search(xattr).is_err());
    missing.sort_by_key(|xattr| turn(&xattr.name));
    for xattr in missing {
        note(&xattr.name, set_one(object, xattr));
    }
    result
}

/// Whether an attribute is a label of this host's security policy.
pub(super) fn is_label(name: &[u8]) -> bool {
    name == b"security.selinux" || name.starts_with(b"security.SMACK64")
}

fn is_chosen(name: &[u8], chosen: &Chosen) -> bool {
    Namespace::of(name).is_some_and(|namespace| chosen[namespace.index()])
}

fn turn(name: &[u8]) -> u8 {
    match name {
        b"system.posix_acl_access" | b"system.posix_acl_default" => 0,
        b"security.capability" => 2,
        _ => 1,
    }
}

fn held(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn named(dir: BorrowedFd<'_>, name: &Name) -> Vec<u8> {
    let mut path = held(dir).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name.as_bytes());
    path
}

/// The names of all extended attributes, each with a NUL behind it.
fn names(object: Object<'_>) -> Result<Vec<u8>, Errno> {
    // Most objects have none: that is found out without taking memory.
    let mut few = [0; LIST_BYTES];
    match list(object, &mut few) {
        Ok(filled) => Ok(few[..filled].to_vec()),
        Err(Errno::RANGE) => {
            let mut many = vec![0; KERNEL_BYTES];
            let filled = list(object, &mut many)?;
            many.truncate(filled);
            Ok(many)
        }
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

fn list(object: Object<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    match object {
        Object::Open(fd) => rustix::fs::flistxattr(fd, buffer),
        Object::Held(fd) => rustix::fs::listxattr(held(fd), buffer),
        Object::Named(dir, name) => match list_at(dir, name, buffer) {
            Some(listed) => listed,
            None => rustix::fs::llistxattr(named(dir, name), buffer),
        },
    }
}

/// The names in one step, without the way through `/proc`; none where the kernel can't.
fn list_at(dir: BorrowedFd<'_>, name: &Name, buffer: &mut [u8]) -> Option<Result<usize, Errno>> {
    /// The kernel has said that it has no such call.
    static LACKS: AtomicBool = AtomicBool::new(false);
    if LACKS.load(Ordering::Relaxed) {
        return None;
    }
    match sys::list_at(dir, name, buffer) {
        // A sandbox that does not know the call may refuse it so; nothing else in it does.
        Err(Errno::NOSYS | Errno::PERM) => {
            LACKS.store(true, Ordering::Relaxed);
            None
        }
        listed => Some(listed),
    }
}

fn value(object: Object<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let get = |bytes: usize| {
        filled(bytes, |buffer| match object {
            Object::Open(fd) => rustix::fs::fgetxattr(fd, name, spare_capacity(buffer)),
            Object::Held(fd) => rustix::fs::getxattr(held(fd), name, spare_capacity(buffer)),
            Object::Named(dir, at) => {
                rustix::fs::lgetxattr(named(dir, at), name, spare_capacity(buffer))
            }
        })
    };
    match get(LIST_BYTES) {
        Err(Errno::RANGE) => get(KERNEL_BYTES),
        other => other,
    }
}

fn filled(
    bytes: usize,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<usize, Errno>,
) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::with_capacity(bytes);
    fill(&mut buffer)?;
    Ok(buffer)
}

fn set_one(object: Object<'_>, xattr: &Xattr) -> Result<(), Errno> {
    let (name, value, flags) = (&*xattr.name, &*xattr.value, XattrFlags::empty());
    match object {
        Object::Open(fd) => rustix::fs::fsetxattr(fd, name, value, flags),
        Object::Held(fd) => rustix::fs::setxattr(held(fd), name, value, flags),
        Object::Named(dir, at) => rustix::fs::lsetxattr(named(dir, at), name, value, flags),
    }
}

fn remove_one(object: Object<'_>, name: &[u8]) -> Result<(), Errno> {
    let removed = match object {
        Object::Open(fd) => rustix::fs::fremovexattr(fd, name),
        Object::Held(fd) => rustix::fs::removexattr(held(fd), name),
        Object::Named(dir, at) => rustix::fs::lremovexattr(named(dir, at), name),
    };
    match removed {
        Err(Errno::NODATA) => Ok(()),
        other => other,
    }
}
