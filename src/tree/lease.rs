//! Whether anybody has a file open for writing, a writable mapping included.
//!
//! The kernel is asked for a read lease, which it refuses then; one that it grants is given back at
//! once. In the microseconds between, a program that opens the file for writing waits, unless it
//! said that it won't wait: it is refused as if another program held the lease.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// Sets the signal that breaking a lease sends; libc lacks it.
const F_SETSIG: libc::c_int = 10;

/// Tells of a file that was opened to be read; nothing where leases can't be had: on many network
/// filesystems, and for a user who does not own the file.
pub(super) fn has_writer(file: BorrowedFd<'_>) -> Option<bool> {
    // Who breaks the lease sends a signal, which would end the process: let it be one that does
    // nothing.
    fcntl(file, F_SETSIG, libc::SIGURG).ok()?;
    match fcntl(file, libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(()) => {
            fcntl(file, libc::F_SETLEASE, libc::F_UNLCK).ok()?;
            Some(false)
        }
        Err(Errno::AGAIN) => Some(true),
        Err(_) => None,
    }
}

fn fcntl(file: BorrowedFd<'_>, command: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, and these commands take a number.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, value) } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::{AsFd, AsRawFd};
    use std::ptr;

    use super::has_writer;

    #[test]
    fn a_writer_is_seen_until_it_goes_and_a_mapping_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "content").unwrap();
        let reader = File::open(&path).unwrap();
        assert_eq!(has_writer(reader.as_fd()), Some(false));
        let writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(has_writer(reader.as_fd()), Some(true));
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, writer.as_raw_fd());
        // SAFETY: a new mapping, of which nothing is read or written.
        let map = unsafe { libc::mmap(ptr::null_mut(), 4096, access, libc::MAP_SHARED, fd, 0) };
        assert_ne!(map, libc::MAP_FAILED);
        drop(writer);
        assert_eq!(has_writer(reader.as_fd()), Some(true), "a mapping needs no descriptor");
        // SAFETY: the mapping from above, to which nothing refers.
        assert_eq!(unsafe { libc::munmap(map, 4096) }, 0);
        assert_eq!(has_writer(reader.as_fd()), Some(false));
        drop(OpenOptions::new().append(true).open(&path).unwrap());
    }
}
