//! One operator for a directory: a lock on the directory's own descriptor, wherever state lives.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// A locked directory; dropping it, or the end of the process, frees the lock.
#[derive(Debug)]
pub struct DirLock {
    _fd: OwnedFd,
}

/// Locks a directory for this operator.
///
/// # Errors
/// `Refused` if another operator has it; `Disk` if it can't be opened or locked.
pub fn lock_directory(path: &Path) -> Result<DirLock, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::disk("Can't open", path, errno))?;
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(DirLock { _fd: fd }),
        Err(Errno::WOULDBLOCK) => Err(Error::Refused(format!(
            "Another osync is at work on \"{}\": stop it first, or ask it with `osync status`",
            path.display()
        ))),
        Err(errno) => Err(Error::disk("Can't lock", path, errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::lock_directory;
    use crate::error::Error;

    #[test]
    fn a_second_operator_is_refused_until_the_first_ends() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock_directory(dir.path()).unwrap();
        assert!(matches!(lock_directory(dir.path()), Err(Error::Refused(_))));
        drop(first);
        lock_directory(dir.path()).unwrap();
    }
}
