//! The one call that tells which pages of a file are in memory. Nothing is decided here.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// Whether any page of a part of a file is in the page cache; `offset` is a multiple of the size of
/// a page. To who neither owns the file nor may write it, Linux says so of every page.
pub(super) fn is_resident(file: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<bool, Errno> {
    let bytes = usize::try_from(bytes).map_err(|_| Errno::OVERFLOW)?;
    let mut pages = vec![0_u8; bytes.div_ceil(rustix::param::page_size())];
    let (protection, flags) = (ProtFlags::empty(), MapFlags::SHARED);
    // SAFETY: a new mapping at a place that the kernel chooses, which nobody reads or writes.
    let map =
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), bytes, protection, flags, file, offset) }?;
    // SAFETY: the mapping is `bytes` long, and `pages` has one byte for each page of it.
    let code = unsafe { libc::mincore(map, bytes, pages.as_mut_ptr()) };
    let failed = std::io::Error::last_os_error();
    // SAFETY: the mapping was made above, and nothing refers to it.
    unsafe { rustix::mm::munmap(map, bytes) }?;
    if code != 0 {
        return Err(Errno::from_io_error(&failed).unwrap_or(Errno::INVAL));
    }
    Ok(pages.iter().any(|page| page & 1 == 1))
}
