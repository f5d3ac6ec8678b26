//! Moving the bytes of files.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::model::entry::Hash;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// The hash of the first bytes of a file, at most `size`, and how many there were.
pub(super) fn hash_of(file: BorrowedFd<'_>, size: u64) -> Result<(Hash, u64), Errno> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES.min(usize::try_from(size).unwrap_or(READ_BYTES).max(1))];
    let mut at = 0;
    while at < size {
        let room = usize::try_from(size - at).unwrap_or(READ_BYTES).min(buffer.len());
        let read = match rustix::io::pread(file, &mut buffer[..room], at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
    Ok((Hash(*hasher.finalize().as_bytes()), at))
}

/// Writes all bytes at a place in a file.
pub(super) fn write_at(file: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Copies a whole file into another.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        let read = match rustix::io::pread(from, &mut buffer[..], at) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        write_at(to, &buffer[..read], at)?;
        at += read as u64;
    }
}
