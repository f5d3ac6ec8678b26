//! What the C library knows of a filesystem's bounds. The call is libc's alone.

use std::os::fd::{AsRawFd, BorrowedFd};

/// How many names one object can have where this directory lies; nothing if it is not known.
pub(super) fn link_max(dir: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: takes a descriptor that is open as long as the borrow lasts, and a number.
    let max = unsafe { libc::fpathconf(dir.as_raw_fd(), libc::_PC_LINK_MAX) };
    u64::try_from(max).ok().filter(|max| *max > 0)
}
