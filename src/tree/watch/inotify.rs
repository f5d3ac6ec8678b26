//! The kernel's inotify queue.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};

use crate::error::Error;
use crate::model::event::{Event, Happening, Notice};
use crate::model::look::WatchState;
use crate::model::path::Name;
use crate::model::stamp::DirKey;
use crate::tree::hold;
use crate::tree::watch::Arming;
use crate::tree::watch::reader::Queue;
use crate::tree::watch::table::{Entered, Repeats, Table};

/// The bounds on watches: of a user on this host, and of a user in this user namespace.
const LIMITS: [&str; 2] = ["fs.inotify.max_user_watches", "user.max_inotify_watches"];
/// The least number of watches that is worth while to ask for.
const WATCHES_WORTH: u64 = 1_048_576;

/// What is asked of a directory. The path is one of `/proc/self/fd`, which must be followed; it
/// leads to the open directory itself.
fn mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::MODIFY
        | WatchMask::CLOSE_WRITE
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::ONLYDIR
        | WatchMask::EXCL_UNLINK
}

/// What threads that arm share with the reader.
pub(super) struct Watching {
    state: Mutex<State>,
}

struct State {
    watches: Watches,
    table: Table<i32, WatchDescriptor>,
}

/// The reader's end of the queue.
struct Reading {
    inotify: Inotify,
    watching: Arc<Watching>,
}

/// Opens a queue.
pub(super) fn open() -> Result<(Arc<Watching>, Box<dyn Queue>), Error> {
    let inotify = Inotify::init().map_err(|error| {
        Error::Refused(match error.raw_os_error() {
            Some(libc::EMFILE) => "Can't watch: all inotify instances of this user are in use; \
                 allow more with `sysctl fs.inotify.max_user_instances=512`"
                .into(),
            _ => format!("Can't watch for changes by inotify: {error}"),
        })
    })?;
    let state = Mutex::new(State { watches: inotify.watches(), table: Table::new() });
    let watching = Arc::new(Watching { state });
    let reading = Reading { inotify, watching: Arc::clone(&watching) };
    Ok((watching, Box::new(reading)))
}

impl Arming for Watching {
    fn arm(&self, dir: BorrowedFd<'_>, _device: u64, key: DirKey) -> WatchState {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let mut state = hold(&self.state);
        let watch = match state.watches.add(path, mask()) {
            Ok(watch) => watch,
            Err(error) => return WatchState::Unwatched(why_unwatched(&error)),
        };
        let number = watch.get_watch_descriptor_id();
        match state.table.enter(number, watch, key) {
            Entered::Here => WatchState::Watched,
            Entered::Other(key) => WatchState::Known(key),
            Entered::Instead(old) => {
                // It may be gone together with its directory.
                let _ = state.watches.remove(old);
                WatchState::Watched
            }
        }
    }

    fn disarm(&self, key: DirKey) {
        let mut state = hold(&self.state);
        if let Some(watch) = state.table.remove(key) {
            let _ = state.watches.remove(watch);
        }
    }

    fn watches(&self) -> usize {
        hold(&self.state).table.len()
    }

    fn means(&self) -> &'static str {
        "inotify"
    }
}

impl Queue for Reading {
    fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// In bytes.
    fn queued(&self) -> io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(self.inotify.as_fd())?)
    }

    fn read(&mut self, buffer: &mut [u8], notices: &mut Vec<Notice>) -> io::Result<Option<u64>> {
        let events = loop {
            match self.inotify.read_events(buffer) {
                Ok(events) => break events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let mut bytes = 0;
        let mut repeats = Repeats::new();
        let mut state = hold(&self.watching.state);
        for event in events {
            bytes += event_bytes(event.name);
            let number = event.wd.get_watch_descriptor_id();
            if let Some(name) = event.name
                && repeats.note((number, name), event.mask.contains(EventMask::MODIFY))
            {
                continue;
            }
            let cookie = event.cookie;
            state.translate(number, event.mask, cookie, event.name, notices);
        }
        Ok(Some(bytes))
    }
}

impl State {
    fn translate(
        &mut self,
        number: i32,
        mask: EventMask,
        cookie: u32,
        name: Option<&OsStr>,
        notices: &mut Vec<Notice>,
    ) {
        if mask.contains(EventMask::Q_OVERFLOW) {
            notices.push(Notice::Overflow);
            return;
        }
        let Some(dir) = self.table.key(&number) else {
            return;
        };
        let name = name.map(|name| Name::new(name.as_bytes()));
        let what = match name {
            Some(Ok(name)) => of_name(mask, cookie, name),
            Some(Err(error)) => {
                tracing::warn!("A name that can't be carried changed: {error}");
                return;
            }
            None => of_self(mask),
        };
        if let Some(what) = what {
            notices.push(Notice::Event(Event { dir, what }));
        }
        if mask.contains(EventMask::IGNORED) {
            self.table.ended(&number);
        }
    }
}

fn of_name(mask: EventMask, cookie: u32, name: Name) -> Option<Happening> {
    let is_dir = mask.contains(EventMask::ISDIR);
    Some(match mask.difference(EventMask::ISDIR) {
        EventMask::CREATE => Happening::Created { name, is_dir },
        EventMask::DELETE => Happening::Removed { name, is_dir },
        EventMask::MOVED_FROM => Happening::MovedFrom { name, cookie, is_dir },
        EventMask::MOVED_TO => Happening::MovedTo { name, cookie, is_dir },
        EventMask::MODIFY => Happening::Written { name },
        EventMask::CLOSE_WRITE => Happening::Closed { name },
        EventMask::ATTRIB => Happening::Retouched { name, is_dir },
        _ => return None,
    })
}

fn of_self(mask: EventMask) -> Option<Happening> {
    Some(match mask.difference(EventMask::ISDIR) {
        EventMask::ATTRIB => Happening::SelfRetouched,
        EventMask::DELETE_SELF => Happening::SelfGone,
        EventMask::UNMOUNT => Happening::Unmounted,
        _ => return None,
    })
}

/// What an event took in the queue: its head, and its name with a NUL, rounded up to such heads.
fn event_bytes(name: Option<&OsStr>) -> u64 {
    let name = name.map_or(0, |name| (name.len() + 1).next_multiple_of(16));
    16 + name as u64
}

fn why_unwatched(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => why_no_watch_left(LIMITS.map(limit)),
        Some(libc::ENOENT) => "No watch can be had: /proc is not mounted".into(),
        _ => format!("No watch can be had: {error}"),
    }
}

/// A bound that the kernel sets.
fn limit(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    text.trim().parse().ok()
}

/// The lower of both bounds is the one in the way.
fn why_no_watch_left(limits: [Option<u64>; 2]) -> String {
    let known = LIMITS.iter().zip(limits).filter_map(|(name, limit)| Some((limit?, *name)));
    let (limit, name) = known.min().unwrap_or((0, LIMITS[0]));
    let more = limit.saturating_mul(2).max(WATCHES_WORTH);
    format!(
        "No watch can be had: all {limit} inotify watches of this user are in use; allow more with \
         `sysctl {name}={more}`"
    )
}

#[cfg(test)]
mod tests {
    use super::why_no_watch_left;

    #[test]
    fn the_remedy_is_an_exact_line() {
        let text = why_no_watch_left([Some(8_192), Some(2_147_483_647)]);
        assert!(text.contains("all 8192 inotify watches"), "{text}");
        assert!(text.ends_with("`sysctl fs.inotify.max_user_watches=1048576`"), "{text}");
        let text = why_no_watch_left([Some(8_192), Some(1_000)]);
        assert!(text.ends_with("`sysctl user.max_inotify_watches=1048576`"), "{text}");
        assert!(why_no_watch_left([Some(2_000_000), None]).contains("watches=4000000`"));
        assert!(why_no_watch_left([None, None]).contains("sysctl fs.inotify"));
    }
}
