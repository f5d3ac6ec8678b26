//! The trash in a staging directory: what was removed or replaced, until a session ends equal.
//!
//! It is emptied by descriptors, step by step: neither its depth nor its breadth costs memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::tree::beneath;

/// In the staging directory.
pub(super) const TRASH: &str = "trash";

/// What was in the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thrown {
    /// Names, but for those of directories.
    pub names: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Thrown {
    fn add_assign(&mut self, other: Thrown) {
        self.names += other.names;
        self.bytes += other.bytes;
    }
}

/// Whether a staging directory has a trash.
pub(super) fn stands(home: BorrowedFd<'_>) -> bool {
    open(home, TRASH).is_ok()
}

/// The trash of a staging directory.
pub(super) fn open_or_make(home: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    match open(home, TRASH) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    match rustix::fs::mkdirat(home, TRASH, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open(home, TRASH),
        Err(errno) => Err(errno),
    }
}

/// Empties and removes the trash of a staging directory, if it has one. All in it is osync's own,
/// and nobody else can be in it: so the way up is the way down.
pub(super) fn throw_away(home: BorrowedFd<'_>) -> Result<Thrown, Errno> {
    let mut thrown = Thrown::default();
    let mut at = match open(home, TRASH) {
        Err(Errno::NOENT) => return Ok(thrown),
        other => other?,
    };
    let mut depth = 0_usize;
    loop {
        if let Some(below) = clear(at.as_fd(), &mut thrown)? {
            (at, depth) = (below, depth + 1);
        } else if depth > 0 {
            (at, depth) = (open(at.as_fd(), "..")?, depth - 1);
        } else {
            rustix::fs::unlinkat(home, TRASH, AtFlags::REMOVEDIR)?;
            return Ok(thrown);
        }
    }
}

/// Removes what is in a directory, but for a directory that is not empty: that one is given.
fn clear(dir: BorrowedFd<'_>, thrown: &mut Thrown) -> Result<Option<OwnedFd>, Errno> {
    let mut reader = rustix::fs::Dir::new(beneath::open_to_read(dir)?)?;
    while let Some(entry) = reader.read() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let bytes = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(0, |stat| stat.st_size.unsigned_abs());
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) => *thrown += Thrown { names: 1, bytes },
            Err(Errno::ISDIR) => match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
                Ok(()) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => return open(dir, name).map(Some),
                Err(errno) => return Err(errno),
            },
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

fn open(dir: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
