//! The calls of Linux that no crate of ours has: fanotify's, the handle of a directory, and the id
//! of a filesystem. Nothing is decided here.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// Bytes of the longest handle that Linux makes.
const LONGEST: usize = libc::MAX_HANDLE_SZ as usize;
/// Bytes before a handle's own: their number and the handle's type.
const HEAD: usize = size_of::<libc::file_handle>();

/// A handle with its head, as the kernel fills it in.
#[repr(C, align(4))]
struct Filled([u8; HEAD + LONGEST]);

fn checked(code: c_int) -> Result<c_int, Errno> {
    if code >= 0 {
        return Ok(code);
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

/// Opens a group: its queue is read from the descriptor.
pub(super) fn open_group(flags: u32) -> Result<OwnedFd, Errno> {
    let (flags, event_flags) = (flags | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK, libc::O_RDONLY);
    // SAFETY: takes numbers alone.
    let fd = checked(unsafe { libc::fanotify_init(flags, event_flags.cast_unsigned()) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Marks the filesystem that a directory lies on. Repeating it is free.
pub(super) fn mark_filesystem(
    group: BorrowedFd<'_>,
    mask: u64,
    dir: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
    // SAFETY: both descriptors are borrowed, so they are open; the path is static and ends in NUL.
    let code = unsafe {
        libc::fanotify_mark(group.as_raw_fd(), flags, mask, dir.as_raw_fd(), c".".as_ptr())
    };
    checked(code).map(drop)
}

/// What events of a directory name it by: the id of its filesystem, and its handle with its head.
pub(super) fn handle(dir: BorrowedFd<'_>) -> Result<Box<[u8]>, Errno> {
    let mut filled = Filled([0; HEAD + LONGEST]);
    filled.0[..4].copy_from_slice(&(LONGEST as u32).to_ne_bytes());
    let mut mount: c_int = 0;
    // SAFETY: the descriptor is open; no path means the descriptor itself. `filled` is aligned as
    // the kernel's struct is, says how many bytes it has beyond its head, and is written no
    // further; `mount` is an int of ours.
    let code = unsafe {
        libc::name_to_handle_at(
            dir.as_raw_fd(),
            c"".as_ptr(),
            (&raw mut filled).cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    checked(code)?;
    let [a, b, c, d, ..] = filled.0;
    let bytes = LONGEST.min(u32::from_ne_bytes([a, b, c, d]) as usize);
    Ok([&filesystem_id(dir)?[..], &filled.0[..HEAD + bytes]].concat().into())
}

/// The id of the filesystem that a directory lies on.
fn filesystem_id(dir: BorrowedFd<'_>) -> Result<[u8; super::records::ID], Errno> {
    let mut stat = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the descriptor is open, and the struct is ours to be written.
    checked(unsafe { libc::fstatfs(dir.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: it was filled with zeros, and then by the kernel.
    let stat = unsafe { stat.assume_init() };
    // SAFETY: an id is two ints, whose names libc hides: 8 bytes, all of them set.
    Ok(unsafe { std::mem::transmute_copy(&stat.f_fsid) })
}
