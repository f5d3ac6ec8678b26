//! How much of the ledger's file counts as memory of this process.
//!
//! The file is mapped, and each page that was read stays mapped until the kernel wants it back: a
//! pool of millions of files would look like hundreds of megabytes. Pages that are let go stay in
//! the kernel's page cache, from where the next reading maps them again.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::mm::Advice;

use crate::model::limits::LEDGER_RESIDENT_MAX;

/// Tells where this process has mapped what.
const MAPS: &str = "/proc/self/maps";
/// Counts what this process has mapped of files.
const STATM: &str = "/proc/self/statm";

/// How many rows are met between two looks: each may map as much as the kernel takes in one piece.
const ROWS: u32 = 64;

/// The map of a store.
pub(super) struct Resident {
    known: Option<Known>,
    /// Met since the store was opened.
    rows: AtomicU32,
}

struct Known {
    /// Of the map: nobody tells of the address but the kernel.
    address: usize,
    bytes: usize,
    statm: File,
}

impl Resident {
    /// Of the map of a file.
    pub(super) fn of(file: &Path) -> Resident {
        let known = Known::of(file).inspect_err(|error| {
            tracing::warn!("Can't tell how much of \"{}\" is mapped: {error}", file.display());
        });
        Resident { known: known.ok(), rows: AtomicU32::new(0) }
    }

    /// A row is read or written: bounds the map now and then, for one change may touch many pages.
    pub(super) fn meet_row(&self) {
        if self.rows.fetch_add(1, Ordering::Relaxed) % ROWS == ROWS - 1 {
            self.bound();
        }
    }

    /// Lets the map go if there is too much of it in memory.
    pub(super) fn bound(&self) {
        let mapped = self.known.as_ref().and_then(Known::mapped_bytes);
        if mapped.is_some_and(|bytes| bytes > LEDGER_RESIDENT_MAX) {
            self.let_go();
        }
    }

    /// Lets the map go; whether that went well.
    pub(super) fn let_go(&self) -> bool {
        let gone = self.known.as_ref().map(Known::let_go);
        if let Some(Err(errno)) = gone {
            tracing::warn!("Can't let the ledger's pages go: {errno}");
        }
        matches!(gone, Some(Ok(())))
    }
}

impl Known {
    fn of(file: &Path) -> io::Result<Known> {
        let inode = std::fs::metadata(file)?.ino();
        let maps = std::fs::read(MAPS)?;
        let found = String::from_utf8_lossy(&maps).lines().find_map(|line| range_of(line, inode));
        let (address, bytes) = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(Known { address, bytes, statm: File::open(STATM)? })
    }

    /// Bytes of files that this process has mapped and touched, the program's own among them.
    fn mapped_bytes(&self) -> Option<u64> {
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0).ok()?;
        let pages = shared_pages(std::str::from_utf8(&text[..length]).ok()?)?;
        Some(pages * rustix::param::page_size() as u64)
    }

    fn let_go(&self) -> Result<(), Errno> {
        let address = std::ptr::without_provenance_mut::<c_void>(self.address);
        // SAFETY: the range is the store's map, which lives as long as the store, and with it this.
        // It is a shared map of a file that is written through the file alone: no page of it is
        // dirty, and whoever reads one next finds the same bytes.
        unsafe { rustix::mm::madvise(address, self.bytes, Advice::LinuxDontNeed) }
    }
}

/// Address and bytes of a line of the table of maps, if it is a map of that inode.
fn range_of(line: &str, inode: u64) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
    let is_shared = fields.next()?.ends_with('s');
    let mapped: u64 = fields.nth(2)?.parse().ok()?;
    (is_shared && mapped == inode).then_some((from, to.checked_sub(from)?))
}

/// The third field: resident pages that are backed by files.
fn shared_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{range_of, shared_pages};
    use crate::state::ledger::store::{Read, Store};

    #[test]
    fn a_map_that_was_let_go_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let key = |number: u32| [&number.to_be_bytes()[..], b"name"].concat();
        let mut change = store.change().unwrap();
        for number in 0..20_000 {
            change.put_name(&key(number), &number.to_le_bytes()).unwrap();
        }
        change.commit().unwrap();
        for _ in 0..2 {
            let view = store.view().unwrap();
            for number in 0..20_000 {
                let found = view.name(&key(number)).unwrap();
                assert_eq!(found, Some(&number.to_le_bytes()[..]));
            }
            assert!(store.let_go(), "its map was found");
        }
    }

    #[test]
    fn a_map_is_found_by_its_inode() {
        let line = "7f00a000-7f00c000 r--s 00000000 08:01 77      /state/data.mdb";
        assert_eq!(range_of(line, 77), Some((0x7f00_a000, 0x2000)));
        assert_eq!(range_of(line, 78), None);
        assert_eq!(range_of(&line.replace("r--s", "r--p"), 77), None, "somebody's own");
        assert_eq!(range_of("7f00a000-7f00c000 rw-p 00000000 00:00 0", 77), None);
    }

    #[test]
    fn the_third_field_counts_pages_of_files() {
        assert_eq!(shared_pages("4096 1200 800 10 0 300 0\n"), Some(800));
        assert_eq!(shared_pages("4096 1200"), None);
        assert_eq!(shared_pages(""), None);
    }
}
