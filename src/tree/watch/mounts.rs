//! Filesystems mounted below the root: that one of them went is told, whatever the watcher.
//!
//! The table of mounts can be polled. Not every watcher tells of an unmounting, and none tells if
//! the filesystem is still mounted elsewhere; but to those below the root its names look removed
//! (law 9).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::error::Error;
use crate::model::event::{Event, Happening, Notice};
use crate::model::stamp::DirKey;
use crate::tree::hold;

const TABLE: &str = "/proc/self/mountinfo";
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The mounts met so far, and the table to compare them with.
pub(super) struct Mounts {
    /// Polled for changes only: each open file has its own notion of what is new.
    table: File,
    changed: AtomicBool,
    known: Mutex<HashMap<u64, Mounted>>,
}

/// One mount.
struct Mounted {
    /// The first directory that was armed on it.
    dir: DirKey,
    /// What the table says of it, but for options: numbers of mounts are used again.
    line: String,
}

impl Mounts {
    pub(super) fn open() -> Result<Mounts, Error> {
        let table = File::open(TABLE).map_err(|e| Error::disk("Can't read", TABLE, e))?;
        Ok(Mounts { table, changed: AtomicBool::new(false), known: Mutex::default() })
    }

    /// Notes on which mount a directory lies that is being armed.
    pub(super) fn note(&self, mount: u64, dir: DirKey) {
        let mut known = hold(&self.known);
        if known.contains_key(&mount) {
            return;
        }
        // A mount that left the table while it was in use is told of by nobody.
        let line = read_table().ok().and_then(|mut lines| lines.remove(&mount));
        if let Some(line) = line {
            known.insert(mount, Mounted { dir, line });
        }
    }

    /// What to poll for changes of the table.
    pub(super) fn polled(&self) -> PollFd<'_> {
        PollFd::new(&self.table, PollFlags::PRI)
    }

    /// The poll said that the table changed; it says so once.
    pub(super) fn note_change(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// Whether the table changed since it was last compared.
    pub(super) fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// The mounts that are gone at this moment.
    pub(super) fn vanished(&self) -> io::Result<Vec<Notice>> {
        let poll = || rustix::event::poll(&mut [self.polled()], Some(&AT_ONCE));
        if rustix::io::retry_on_intr(poll)? > 0 {
            self.note_change();
        }
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Ok(Vec::new());
        }
        let lines = read_table()?;
        let is_gone = |mount: &u64, mounted: &mut Mounted| lines.get(mount) != Some(&mounted.line);
        let notice = |dir| Notice::Event(Event { dir, what: Happening::Unmounted });
        let mut known = hold(&self.known);
        Ok(known.extract_if(is_gone).map(|(_, mounted)| notice(mounted.dir)).collect())
    }
}

/// What identifies each mount of the table, by its number.
fn read_table() -> io::Result<HashMap<u64, String>> {
    let text = std::fs::read(TABLE)?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// Whether a mount shows its filesystem from the root on.
pub(in crate::tree) fn is_of_whole(mount: u64) -> bool {
    read_table().ok().and_then(|lines| lines.get(&mount).map(|line| line.ends_with(" /")))
        == Some(true)
}

/// Number, parent, device, root and mount point stand before the options of each line. The parent
/// may change, and so may the mount point, when a directory above is renamed.
fn parse(table: &str) -> HashMap<u64, String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [number, _, device, root, ..] = fields[..] else { return None };
        Some((number.parse().ok()?, format!("{device} {root}")))
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{Mounts, parse, read_table};
    use crate::model::stamp::DirKey;

    const TABLE: &str = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
                         31 22 0:27 /sub /a\\040b rw shared:1 - btrfs /dev/sdb rw\n\
                         broken line\n";

    #[test]
    fn a_line_is_known_by_its_number_device_and_root() {
        let lines = parse(TABLE);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[&22].as_str(), lines[&31].as_str()), ("8:1 /", "0:27 /sub"));
    }

    #[test]
    fn nothing_vanished_while_nothing_changed() {
        let mounts = Mounts::open().unwrap();
        let number = *read_table().unwrap().keys().next().unwrap();
        mounts.note(number, DirKey(7));
        mounts.note(u64::MAX, DirKey(8));
        mounts.note_change();
        assert_eq!(mounts.vanished().unwrap(), []);
        assert!(!mounts.is_changed());
    }
}
