//! Sharing blocks between two files of one filesystem, which rustix has for whole files only.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// Makes a range of one file share its blocks with a range of another, at `(from, to)`: whole
/// blocks, in bytes.
///
/// # Errors
/// Where the filesystem can't, where both don't lie on the same one, where either has no such
/// blocks: nothing has then changed.
pub(super) fn clone_range(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    (from, to): (u64, u64),
    bytes: u64,
) -> Result<(), Errno> {
    let range = libc::file_clone_range {
        src_fd: i64::from(source.as_raw_fd()),
        src_offset: from,
        src_length: bytes,
        dest_offset: to,
    };
    // SAFETY: both descriptors are open for the call, and the kernel only reads the structure.
    match unsafe { libc::ioctl(target.as_raw_fd(), libc::FICLONERANGE, &raw const range) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
