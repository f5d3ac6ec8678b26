//! Writers of whom no event tells: a mapping, and asynchronous writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::slice;

/// A file mapped whole, to be read and written; the descriptor is closed.
pub(crate) struct Mapping {
    at: *mut u8,
    bytes: usize,
}

impl Mapping {
    pub(crate) fn of(path: &Path) -> Mapping {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let bytes = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
        // SAFETY: a new mapping of an open file.
        let at = unsafe { libc::mmap(ptr::null_mut(), bytes, access, libc::MAP_SHARED, fd, 0) };
        assert_ne!(at, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        Mapping { at: at.cast(), bytes }
    }

    /// Stores this byte everywhere.
    pub(crate) fn fill(&mut self, byte: u8) {
        // SAFETY: the mapping is that long, and nobody else in this process refers to it.
        unsafe { slice::from_raw_parts_mut(self.at, self.bytes) }.fill(byte);
    }

    /// Waits until what was stored is on disk.
    pub(crate) fn sync(&self) {
        // SAFETY: the mapping lives.
        let code = unsafe { libc::msync(self.at.cast(), self.bytes, libc::MS_SYNC) };
        assert_eq!(code, 0, "{}", io::Error::last_os_error());
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping lives, and nothing refers to it any more.
        unsafe { libc::munmap(self.at.cast(), self.bytes) };
    }
}

/// A request as the kernel takes it: `struct iocb` of linux/aio_abi.h.
#[repr(C)]
#[derive(Default)]
struct Request {
    data: u64,
    key_and_flags: u64,
    opcode: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event: u32,
}

/// Writes to the begin of a file as libaio does.
pub(crate) fn write_asynchronously(file: &File, content: &[u8]) {
    const WRITE: u16 = 1;
    let mut request = Request {
        opcode: WRITE,
        file: file.as_raw_fd().cast_unsigned(),
        buffer: content.as_ptr() as u64,
        bytes: content.len() as u64,
        ..Request::default()
    };
    let mut context: libc::c_ulong = 0;
    let mut requests = [&raw mut request];
    let mut events = [0_u64; 4];
    // SAFETY: the context is ours; the request, its buffer and the room for one event (32 bytes)
    // outlive the calls, and the last but one waits until the request is done.
    let codes = unsafe {
        [
            libc::syscall(libc::SYS_io_setup, 1, &raw mut context),
            libc::syscall(libc::SYS_io_submit, context, 1, requests.as_mut_ptr()),
            libc::syscall(libc::SYS_io_getevents, context, 1, 1, events.as_mut_ptr(), 0_usize),
            libc::syscall(libc::SYS_io_destroy, context),
        ]
    };
    assert_eq!(codes, [0, 1, 1, 0], "{}", io::Error::last_os_error());
    assert_eq!(events[2], content.len() as u64, "all of it was written");
}
