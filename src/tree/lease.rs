//! Whether anybody has a file open for writing, a writable mapping included.
//!
//! The kernel is asked for a read lease, which it refuses then; one that it grants ends with the
//! descriptor, which is closed at once. In the microseconds between, a program that opens the file
//! for writing waits, unless it said that it won't wait: it is refused as if another program held
//! the lease.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Once;

use rustix::io::Errno;

static IGNORED: Once = Once::new();

/// Tells of a file that was opened to be read, and closes it; nothing where leases can't be had: on
/// many network filesystems, and for a user who does not own the file.
pub(super) fn has_writer(file: OwnedFd) -> Option<bool> {
    // Who breaks the lease makes the kernel send a signal, which would end the process.
    // SAFETY: a signal that nothing here waits for is ignored; no handler is set.
    IGNORED.call_once(|| unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
    });
    // SAFETY: the descriptor is open, and this command takes a number.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    let error = std::io::Error::last_os_error();
    // And the lease with it.
    drop(file);
    if asked != -1 {
        return Some(false);
    }
    (Errno::from_io_error(&error) == Some(Errno::AGAIN)).then_some(true)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsRawFd;
    use std::path::Path;
    use std::ptr;

    fn has_writer(path: &Path) -> Option<bool> {
        super::has_writer(File::open(path).unwrap().into())
    }

    #[test]
    fn a_writer_is_seen_until_it_goes_and_a_mapping_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "content").unwrap();
        assert_eq!(has_writer(&path), Some(false));
        let writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(has_writer(&path), Some(true));
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, writer.as_raw_fd());
        // SAFETY: a new mapping, of which nothing is read or written.
        let map = unsafe { libc::mmap(ptr::null_mut(), 4096, access, libc::MAP_SHARED, fd, 0) };
        assert_ne!(map, libc::MAP_FAILED);
        drop(writer);
        assert_eq!(has_writer(&path), Some(true), "a mapping needs no descriptor");
        // SAFETY: the mapping from above, to which nothing refers.
        assert_eq!(unsafe { libc::munmap(map, 4096) }, 0);
        assert_eq!(has_writer(&path), Some(false));
        drop(OpenOptions::new().append(true).open(&path).unwrap());
    }
}
