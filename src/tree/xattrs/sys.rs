//! The call of Linux 6.13 that no crate of ours has yet. Nothing is decided here.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::path::Arg;

use crate::model::path::Name;

/// The number of `listxattrat`, on every machine that Linux runs on but for one of the past.
const LISTXATTRAT: libc::c_long = 465;

/// The names of the extended attributes of what stands at a name, a symlink included: how many
/// bytes of the buffer they fill.
///
/// # Errors
/// `NOSYS` before Linux 6.13, or `PERM` where a sandbox does not know the call; otherwise as of
/// `llistxattr`.
pub(super) fn list_at(dir: BorrowedFd<'_>, name: &Name, buffer: &mut [u8]) -> Result<usize, Errno> {
    name.as_bytes().into_with_c_str(|name| {
        // SAFETY: the descriptor is open, the name ends with a NUL, and the buffer is ours for the
        // call and as long as is said.
        let filled = unsafe {
            libc::syscall(
                LISTXATTRAT,
                dir.as_raw_fd(),
                name.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        };
        let failed = || Errno::from_io_error(&std::io::Error::last_os_error());
        usize::try_from(filled).map_err(|_| failed().unwrap_or(Errno::IO))
    })
}
