//! The kernel's fanotify queue: one mark for a whole filesystem, instead of a watch for each
//! directory.
//!
//! - An event names the directory by a handle. Those that were armed are in a table; what happens
//!   to any other, in other trees of the filesystem or by our own hand at a sink that lies on it,
//!   is dropped by one lookup. Nothing is opened by a handle.
//! - Arming costs the kernel no memory. It marks the filesystem again each time, which is free, so
//!   that whatever is mounted below the root gets its mark when it is first met.
//! - Events of one name that nobody has read yet are one event: their order is lost, which hints
//!   can bear.

mod records;
mod sys;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use crate::error::Error;
use crate::model::event::{Event, Happening, Notice};
use crate::model::look::WatchState;
use crate::model::path::Name;
use crate::model::stamp::DirKey;
use crate::tree::hold;
use crate::tree::watch::Arming;
use crate::tree::watch::reader::{Bell, Queue};
use crate::tree::watch::table::{Entered, Table};

use self::records::{Entry, Record};

/// What every version of ours asks of a filesystem.
const MASK: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MODIFY
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_ATTRIB
    | libc::FAN_ONDIR;
/// No other bound than memory; the reader thread keeps the queue short.
const ENDLESS: u32 = libc::FAN_UNLIMITED_QUEUE | libc::FAN_UNLIMITED_MARKS;
/// What `FIONREAD` counts for each event, however long it is.
const COUNTED_BYTES: u64 = size_of::<libc::fanotify_event_metadata>() as u64;

/// How much this kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A rename is one event, and what bears a name is told (Linux 5.17).
    Renames,
    /// A rename is two events that nothing joins (Linux 5.9).
    Halves,
}

impl Dialect {
    fn flags(self) -> u32 {
        ENDLESS
            | match self {
                Dialect::Renames => libc::FAN_REPORT_DFID_NAME_TARGET,
                Dialect::Halves => libc::FAN_REPORT_DFID_NAME | libc::FAN_REPORT_FID,
            }
    }

    fn mask(self) -> u64 {
        MASK | match self {
            Dialect::Renames => libc::FAN_RENAME,
            Dialect::Halves => libc::FAN_MOVE,
        }
    }
}

/// What threads that arm share with the reader.
pub(super) struct Watching {
    group: OwnedFd,
    mask: u64,
    bell: Arc<Bell>,
    state: Mutex<State>,
}

struct State {
    table: Table<Box<[u8]>, ()>,
    /// The device of each filesystem that was marked, by its id.
    devices: HashMap<Box<[u8]>, u64>,
    /// The devices of those that can't be watched in this way; told once each.
    refused: HashSet<u64>,
    /// Pairs the halves of renames.
    cookie: u32,
}

/// The reader's end of the queue.
struct Reading {
    watching: Arc<Watching>,
}

/// Opens a queue, and marks the filesystem of the root. The error says why it can't be had here.
pub(super) fn open(
    root: BorrowedFd<'_>,
    bell: &Arc<Bell>,
) -> Result<(Arc<Watching>, Box<dyn Queue>), Error> {
    open_in(Dialect::Renames, root, bell).or_else(|_| open_in(Dialect::Halves, root, bell))
}

/// The same, in one dialect.
pub(super) fn open_in(
    dialect: Dialect,
    root: BorrowedFd<'_>,
    bell: &Arc<Bell>,
) -> Result<(Arc<Watching>, Box<dyn Queue>), Error> {
    let refused = |why: &str| Error::Refused(format!("fanotify can't be used here: {why}"));
    let group = sys::open_group(dialect.flags()).map_err(|errno| refused(&why_no_group(errno)))?;
    let mask = dialect.mask();
    sys::mark_filesystem(group.as_fd(), mask, root)
        .and_then(|()| sys::handle(root))
        .map_err(|errno| refused(&why_unmarked(errno)))?;
    let (devices, refused) = (HashMap::new(), HashSet::new());
    let state = State { table: Table::new(), devices, refused, cookie: 0 };
    let (bell, state) = (Arc::clone(bell), Mutex::new(state));
    let watching = Arc::new(Watching { group, mask, bell, state });
    let reading = Reading { watching: Arc::clone(&watching) };
    Ok((watching, Box::new(reading)))
}

impl Arming for Watching {
    fn arm(&self, dir: BorrowedFd<'_>, device: u64, key: DirKey) -> WatchState {
        let marked = sys::mark_filesystem(self.group.as_fd(), self.mask, dir);
        let handle = marked.and_then(|()| sys::handle(dir)).map_err(why_unmarked);
        let mut state = hold(&self.state);
        let entered = handle.and_then(|handle| {
            state.check_filesystem(&handle, device)?;
            Ok(state.table.enter(handle, (), key))
        });
        match entered {
            Ok(Entered::Here | Entered::Instead(())) => WatchState::Watched,
            Ok(Entered::Other(key)) => WatchState::Known(key),
            Err(why) => {
                if state.refused.insert(device) {
                    let text = "A filesystem below the root gets inotify watches, for fanotify \
                                can't be used there";
                    self.bell.tell(format!("{text}: {why}"));
                }
                WatchState::Unwatched(format!("No mark can be had: {why}"))
            }
        }
    }

    fn disarm(&self, key: DirKey) {
        hold(&self.state).table.remove(key);
    }

    fn watches(&self) -> usize {
        hold(&self.state).table.len()
    }

    fn means(&self) -> &'static str {
        "fanotify"
    }
}

impl Queue for Reading {
    fn fd(&self) -> BorrowedFd<'_> {
        self.watching.group.as_fd()
    }

    /// In events.
    fn queued(&self) -> io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.watching.group)? / COUNTED_BYTES)
    }

    fn read(&mut self, buffer: &mut [u8], notices: &mut Vec<Notice>) -> io::Result<Option<u64>> {
        let read = || rustix::io::read(&self.watching.group, &mut *buffer);
        let bytes = match rustix::io::retry_on_intr(read) {
            Err(Errno::AGAIN) | Ok(0) => return Ok(None),
            other => other?,
        };
        let mut left = &buffer[..bytes];
        let mut events = 0;
        let mut state = hold(&self.watching.state);
        while let Some(record) = records::next(&mut left)? {
            events += 1;
            state.translate(&record, notices);
        }
        Ok(Some(events))
    }
}

impl State {
    /// Whether events of the filesystem that a directory lies on can be told from all others.
    fn check_filesystem(&mut self, handle: &[u8], device: u64) -> Result<(), String> {
        let id = &handle[..records::ID.min(handle.len())];
        match self.devices.get(id) {
            Some(&known) if known == device => Ok(()),
            // A copy of a filesystem, made block by block: handles of both are the same.
            Some(_) => Err("another filesystem with the same id is mounted, too".to_owned()),
            None => {
                self.devices.insert(id.into(), device);
                Ok(())
            }
        }
    }

    fn translate(&mut self, record: &Record<'_>, notices: &mut Vec<Notice>) {
        if record.has(libc::FAN_Q_OVERFLOW) {
            notices.push(Notice::Overflow);
        }
        if let (Some(from), Some(to)) = (record.from, record.to) {
            self.renamed(from, to, record.has(libc::FAN_ONDIR), notices);
        }
        if let Some(at) = record.at
            && let Some(dir) = self.table.key(at.dir)
        {
            let push = |what| notices.push(Notice::Event(Event { dir, what }));
            match at.name {
                b"." => of_self(record).into_iter().for_each(push),
                name => of_name(record, name).into_iter().for_each(push),
            }
        }
        self.note_end(record, notices);
    }

    /// Of a rename, what concerns directories that are known.
    fn renamed(&mut self, from: Entry<'_>, to: Entry<'_>, is_dir: bool, out: &mut Vec<Notice>) {
        self.cookie = self.cookie.wrapping_add(1);
        let cookie = self.cookie;
        let halves = [(from, true), (to, false)];
        for (half, is_first) in halves {
            let (Some(dir), Some(name)) = (self.table.key(half.dir), carried(half.name)) else {
                continue;
            };
            let what = match is_first {
                true => Happening::MovedFrom { name, cookie, is_dir },
                false => Happening::MovedTo { name, cookie, is_dir },
            };
            out.push(Notice::Event(Event { dir, what }));
        }
    }

    /// A directory that was removed: what was known of it ends, as a watch of its own would.
    fn note_end(&mut self, record: &Record<'_>, notices: &mut Vec<Notice>) {
        if !record.has(libc::FAN_DELETE) || !record.has(libc::FAN_ONDIR) {
            return;
        }
        let Some(target) = record.target else { return };
        if let Some(dir) = self.table.key(target) {
            notices.push(Notice::Event(Event { dir, what: Happening::SelfGone }));
            self.table.ended(target);
        }
    }
}

/// What may have happened to a name, in the order in which it is most likely.
fn of_name(record: &Record<'_>, name: &[u8]) -> Vec<Happening> {
    let Some(name) = carried(name) else { return Vec::new() };
    let is_dir = record.has(libc::FAN_ONDIR);
    let mut happened = Vec::new();
    // Halves of a rename that nothing joins: what is gone, and what is there.
    if record.has(libc::FAN_CREATE | libc::FAN_MOVED_TO) {
        happened.push(Happening::Created { name: name.clone(), is_dir });
    }
    if record.has(libc::FAN_CLOSE_WRITE) {
        happened.push(Happening::Closed { name: name.clone() });
    } else if record.has(libc::FAN_MODIFY) {
        happened.push(Happening::Written { name: name.clone() });
    }
    if record.has(libc::FAN_ATTRIB) {
        happened.push(Happening::Retouched { name: name.clone(), is_dir });
    }
    if record.has(libc::FAN_DELETE | libc::FAN_MOVED_FROM) {
        happened.push(Happening::Removed { name, is_dir });
    }
    happened
}

fn of_self(record: &Record<'_>) -> Option<Happening> {
    record.has(libc::FAN_ATTRIB).then_some(Happening::SelfRetouched)
}

fn carried(name: &[u8]) -> Option<Name> {
    Name::new(name)
        .inspect_err(|error| tracing::warn!("A name that can't be carried changed: {error}"))
        .ok()
}

fn why_no_group(errno: Errno) -> String {
    match errno {
        Errno::PERM => "it needs root (CAP_SYS_ADMIN outside of any user namespace)".into(),
        Errno::INVAL | Errno::NOSYS => "this kernel's can't name what changes".into(),
        _ => io::Error::from(errno).to_string(),
    }
}

fn why_unmarked(errno: Errno) -> String {
    match errno {
        Errno::PERM => "it needs root (CAP_SYS_ADMIN where the filesystem was mounted)".into(),
        Errno::OPNOTSUPP => "the filesystem has no lasting handles (as overlayfs has none)".into(),
        Errno::XDEV => "it is a subvolume of btrfs".into(),
        Errno::NODEV => "the filesystem has no id".into(),
        Errno::INVAL => "this kernel's does not know all events".into(),
        _ => io::Error::from(errno).to_string(),
    }
}
