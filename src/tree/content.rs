//! Moving the bytes of files, around their holes.

use std::os::fd::BorrowedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::model::content::{ContentHasher, is_zero};
use crate::model::entry::Hash;
use crate::tree::passage::Passage;
use crate::tree::stat;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// A hole of less is no hole: the block of most filesystems.
const HOLE_BYTES: usize = 4096;

/// Where the next data of a file begins, at `from` or behind it; the end of the file if there are
/// none. A filesystem that knows of no holes has data everywhere.
pub(super) fn next_data(file: BorrowedFd<'_>, from: u64) -> Result<u64, Errno> {
    match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Err(Errno::NXIO) => Ok(stat::of_fd(file)?.stx_size.max(from)),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(from),
        // A network filesystem may answer by what it knew some time ago.
        other => other.map(|at| at.max(from)),
    }
}

/// Where the hole behind the data at `from` begins; nowhere near if the file ends before there is
/// one: only reading tells where it ends then.
pub(super) fn next_hole(file: BorrowedFd<'_>, from: u64) -> Result<u64, Errno> {
    match rustix::fs::seek(file, SeekFrom::Hole(from)) {
        Ok(at) if at < stat::of_fd(file)?.stx_size => Ok(at),
        Ok(_) | Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => Ok(u64::MAX),
        Err(errno) => Err(errno),
    }
}

/// The hash of the first bytes of a file, at most `size`, and how many there were.
pub(super) fn hash_of(file: BorrowedFd<'_>, size: u64) -> Result<(Hash, u64), Errno> {
    let has_holes = stat::has_holes(&stat::of_fd(file)?);
    let mut hasher = ContentHasher::new();
    let mut passage = Passage::default();
    let mut buffer = vec![0; READ_BYTES.min(usize::try_from(size).unwrap_or(READ_BYTES).max(1))];
    while hasher.bytes() < size {
        if has_holes {
            let data = next_data(file, hasher.bytes())?.min(size);
            hasher.skip(data - hasher.bytes());
        }
        passage.before(file, hasher.bytes(), size);
        let room = usize::try_from(size - hasher.bytes()).unwrap_or(READ_BYTES).min(buffer.len());
        match rustix::io::pread(file, &mut buffer[..room], hasher.bytes()) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        passage.behind(file, hasher.bytes());
    }
    passage.end(file);
    Ok((hasher.finish(), hasher.bytes()))
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

/// Writes bytes at a place where a file has none yet, and leaves holes where whole blocks are zero.
pub(super) fn write_around_holes(file: BorrowedFd<'_>, bytes: &[u8], at: u64) -> Result<(), Errno> {
    let end = at + bytes.len() as u64;
    let lead = (HOLE_BYTES - (at % HOLE_BYTES as u64) as usize) % HOLE_BYTES;
    let (head, rest) = bytes.split_at(lead.min(bytes.len()));
    let blocks = [head].into_iter().chain(rest.chunks(HOLE_BYTES));
    let (mut pending, mut begin, mut cursor) = (0, at, at);
    // What is not zero is written in one piece.
    for block in blocks {
        if is_zero(block) {
            write_run(file, bytes, at, (begin, pending))?;
            (begin, pending) = (cursor + block.len() as u64, 0);
        } else {
            pending += block.len();
        }
        cursor += block.len() as u64;
    }
    write_run(file, bytes, at, (begin, pending))?;
    if stat::of_fd(file)?.stx_size < end {
        rustix::fs::ftruncate(file, end)?;
    }
    Ok(())
}

/// Writes so many of `bytes`, which lie at `at`, from a place in the file.
fn write_run(
    file: BorrowedFd<'_>,
    bytes: &[u8],
    at: u64,
    (begin, count): (u64, usize),
) -> Result<(), Errno> {
    let from = (begin - at) as usize;
    write_at(file, &bytes[from..from + count], begin)
}

/// Writes the holes of a file out as zeros.
pub(super) fn fill_holes(file: BorrowedFd<'_>) -> Result<(), Errno> {
    let size = stat::of_fd(file)?.stx_size;
    let mut at = 0;
    while at < size {
        let hole = match rustix::fs::seek(file, SeekFrom::Hole(at)) {
            Ok(hole) => hole,
            // Its filesystem knows of no holes.
            Err(Errno::INVAL) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        at = next_data(file, hole)?.min(size);
        write_zeros(file, hole, at)?;
    }
    Ok(())
}

/// Gives a file room from one place, behind which it has nothing, to another: zeros are read there.
pub(super) fn make_dense(file: BorrowedFd<'_>, from: u64, to: u64) -> Result<(), Errno> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), from, to.saturating_sub(from)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => write_zeros(file, from, to),
        done => done,
    }
}

/// Writes zeros from one place in a file to another.
fn write_zeros(file: BorrowedFd<'_>, from: u64, to: u64) -> Result<(), Errno> {
    let left = usize::try_from(to.saturating_sub(from)).unwrap_or(READ_BYTES);
    let zeros = vec![0; READ_BYTES.min(left)];
    let mut at = from;
    while at < to {
        let count = zeros.len().min(usize::try_from(to - at).unwrap_or(READ_BYTES));
        write_at(file, &zeros[..count], at)?;
        at += count as u64;
    }
    Ok(())
}

/// Copies a whole file into another that is empty, with its holes.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let size = stat::of_fd(from)?.stx_size;
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        at = next_data(from, at)?;
        let read = match rustix::io::pread(from, &mut buffer[..], at) {
            Ok(0) => return rustix::fs::ftruncate(to, size.max(at)),
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        write_around_holes(to, &buffer[..read], at)?;
        at += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::{copy, hash_of, next_data, write_around_holes};
    use crate::model::content::ContentHasher;

    #[test]
    fn holes_stay_holes_and_bytes_stay_bytes() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut content = vec![0; 3_000_000];
        for at in [0, 700_001, 2_999_999] {
            content[at] = 1;
        }
        for (at, part) in content.chunks(300_123).enumerate() {
            write_around_holes(from.as_fd(), part, at as u64 * 300_123).unwrap();
        }
        copy(from.as_fd(), to.as_fd()).unwrap();
        let mut hasher = ContentHasher::new();
        hasher.update(&content);
        for file in [&from, &to] {
            let mut read = vec![9; content.len()];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == content);
            assert_eq!(hash_of(file.as_fd(), 3_000_000), Ok((hasher.finish(), 3_000_000)));
            let found = file.metadata().unwrap();
            assert_eq!(found.size(), 3_000_000);
            assert!(found.blocks() * 512 < 200_000, "{} blocks", found.blocks());
        }
        assert_eq!(next_data(from.as_fd(), 3_000_000), Ok(3_000_000));
        assert_eq!(
            hash_of(from.as_fd(), 5),
            Ok((super::Hash(*blake3::hash(&[1, 0, 0, 0, 0]).as_bytes()), 5))
        );
    }
}
