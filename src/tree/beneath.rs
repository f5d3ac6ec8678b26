//! Opening beneath a root: no symlink is followed, no component leaves the root (law 10).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::model::path::{Name, RelPath};

/// Bytes of one group of components: what the kernel takes in one call, with room to spare.
const GROUP_BYTES: usize = 4_000;
/// Tries while the kernel says that a rename somewhere came between.
const TRIES: u32 = 128;

/// A directory to go through, not to read: needs no read permission.
pub(super) const DIR_PATH: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_group(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
            other => return other,
        }
    }
}

/// Opens a path of any length beneath a root. A path with a symlink in it gives `LOOP`.
pub(super) fn open(root: BorrowedFd<'_>, path: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut rest = path.as_bytes();
    if rest.is_empty() {
        return open_group(root, b".", flags);
    }
    let mut above: Option<OwnedFd> = None;
    while rest.len() > GROUP_BYTES {
        // Names are at most 255 bytes, so a slash stands in any group.
        let cut = rest[..GROUP_BYTES].iter().rposition(|&b| b == b'/').ok_or(Errno::NAMETOOLONG)?;
        let dir = above.as_ref().map_or(root, AsFd::as_fd);
        above = Some(open_group(dir, &rest[..cut], DIR_PATH)?);
        rest = &rest[cut + 1..];
    }
    open_group(above.as_ref().map_or(root, AsFd::as_fd), rest, flags)
}

/// Opens one name as a directory to go through.
pub(super) fn open_name(dir: BorrowedFd<'_>, name: &Name) -> Result<OwnedFd, Errno> {
    open_group(dir, name.as_bytes(), DIR_PATH)
}

/// Opens a directory that is already held once more, to read its names.
pub(super) fn open_to_read(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, c".", flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(dir, c".", flags, Mode::empty()),
        other => other,
    }
}

/// Opens a file to read it, in a way that never waits: not for the writer of a FIFO, not for the
/// holder of a lease. The caller must check what it got.
pub(super) fn open_file(dir: BorrowedFd<'_>, name: &Name) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |flags| {
        rustix::io::retry_on_intr(|| rustix::fs::openat(dir, name.as_bytes(), flags, Mode::empty()))
    };
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        other => other,
    }
}

/// Whether an error of resolving says for certain that the path leads to nothing of the tree: a
/// name is missing, or something that is no directory, a symlink perhaps, stands above it.
pub(super) fn leads_nowhere(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}
