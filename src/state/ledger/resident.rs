//! How much of the ledger's file counts as memory of this process.
//!
//! The file is mapped, and each page that was read stays mapped until the kernel wants it back: a
//! pool of millions of files would look like hundreds of megabytes. Pages that are let go stay in
//! the kernel's page cache, from where the next reading maps them again.

use std::ffi::c_void;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::mm::Advice;

use crate::model::limits::LEDGER_RESIDENT_MAX;

/// Counts what this process has mapped of files.
const STATM: &str = "/proc/self/statm";

/// The map of a store.
pub(super) struct Resident {
    address: *mut c_void,
    bytes: usize,
    statm: Option<File>,
}

// SAFETY: the address is only ever handed to the kernel, which takes it from any thread.
unsafe impl Send for Resident {}
// SAFETY: the same.
unsafe impl Sync for Resident {}

impl Resident {
    /// Of a map at this address.
    pub(super) fn new(address: *mut c_void, bytes: usize) -> Resident {
        let statm = File::open(STATM).inspect_err(|error| tracing::warn!("No {STATM}: {error}"));
        Resident { address, bytes, statm: statm.ok() }
    }

    /// Lets the map go if there is too much of it in memory.
    pub(super) fn bound(&self) {
        if self.mapped_bytes().is_some_and(|bytes| bytes > LEDGER_RESIDENT_MAX) {
            self.let_go();
        }
    }

    /// Bytes of files that this process has mapped and touched, the program's own among them.
    fn mapped_bytes(&self) -> Option<u64> {
        let mut text = [0; 128];
        let length = self.statm.as_ref()?.read_at(&mut text, 0).ok()?;
        let pages = shared_pages(std::str::from_utf8(&text[..length]).ok()?)?;
        Some(pages * rustix::param::page_size() as u64)
    }

    pub(super) fn let_go(&self) {
        // SAFETY: the range is the store's map, which lives as long as the store, and with it this.
        // It is a shared map of a file that is written through the file alone: no page of it is
        // dirty, and whoever reads one next finds the same bytes.
        let gone = unsafe { rustix::mm::madvise(self.address, self.bytes, Advice::LinuxDontNeed) };
        if let Err(errno) = gone {
            tracing::warn!("Can't let the ledger's pages go: {errno}");
        }
    }
}

/// The third field: resident pages that are backed by files.
fn shared_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::shared_pages;
    use crate::state::ledger::store::Store;

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
            store.let_go();
        }
    }

    #[test]
    fn the_third_field_counts_pages_of_files() {
        assert_eq!(shared_pages("4096 1200 800 10 0 300 0\n"), Some(800));
        assert_eq!(shared_pages("4096 1200"), None);
        assert_eq!(shared_pages(""), None);
    }
}
