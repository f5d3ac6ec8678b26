//! The kernel's inotify queue.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::model::event::{Event, Happening, Notice};
use crate::model::limits::WATCH_READ_BYTES;
use crate::model::look::WatchState;
use crate::model::path::Name;
use crate::model::stamp::DirKey;
use crate::tree::hold;
use crate::tree::watch::table::{Entered, Repeats, Table};

const MAX_WATCHES: &str = "/proc/sys/fs/inotify/max_user_watches";

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
pub(super) struct Queue {
    state: Mutex<State>,
    tickets: Mutex<Vec<u64>>,
    wake: OwnedFd,
    stopped: AtomicBool,
}

struct State {
    watches: Watches,
    table: Table<WatchDescriptor>,
}

/// The reader's end of the queue.
pub(super) struct Reading {
    inotify: Inotify,
    /// Bytes read so far.
    read: u64,
    /// Tickets, each with the bytes that must have been read and handed on before.
    due: VecDeque<(u64, u64)>,
}

/// Opens a queue.
pub(super) fn open() -> Result<(Arc<Queue>, Reading), Error> {
    let inotify = Inotify::init().map_err(|error| {
        Error::Refused(match error.raw_os_error() {
            Some(libc::EMFILE) => "Can't watch: all inotify instances of this user are in use; \
                 allow more with `sysctl fs.inotify.max_user_instances=512`"
                .into(),
            _ => format!("Can't watch for changes by inotify: {error}"),
        })
    })?;
    let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|errno| Error::Refused(format!("Can't make an event descriptor: {errno}")))?;
    let state = Mutex::new(State { watches: inotify.watches(), table: Table::new() });
    let stopped = AtomicBool::new(false);
    let queue = Queue { state, tickets: Mutex::new(Vec::new()), wake, stopped };
    Ok((Arc::new(queue), Reading { inotify, read: 0, due: VecDeque::new() }))
}

impl Queue {
    pub(super) fn arm(&self, dir: BorrowedFd<'_>, key: DirKey) -> WatchState {
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

    pub(super) fn disarm(&self, key: DirKey) {
        let mut state = hold(&self.state);
        if let Some(watch) = state.table.remove(key) {
            let _ = state.watches.remove(watch);
        }
    }

    pub(super) fn rekey(&self, from: DirKey, to: DirKey) {
        let mut state = hold(&self.state);
        if let Some(watch) = state.table.rekey(from, to) {
            let _ = state.watches.remove(watch);
        }
    }

    pub(super) fn watches(&self) -> usize {
        hold(&self.state).table.len()
    }

    pub(super) fn request_drain(&self, ticket: u64) {
        hold(&self.tickets).push(ticket);
        self.poke();
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.poke();
    }

    fn poke(&self) {
        // Fails only if the counter is full, and then the reader is awake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// The reader thread: until it is stopped, or nobody takes its notices, or the queue fails.
    pub(super) fn read(&self, mut reading: Reading, notify: &dyn Fn(Notice) -> bool) {
        let mut buffer = vec![0; WATCH_READ_BYTES];
        loop {
            match self.step(&mut reading, &mut buffer, notify) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let text = format!("Watching for changes failed: {error}");
                    notify(Notice::Failed(text));
                    return;
                }
            }
        }
    }

    /// Waits, reads once and hands on; false if this was the last step.
    fn step(
        &self,
        reading: &mut Reading,
        buffer: &mut [u8],
        notify: &dyn Fn(Notice) -> bool,
    ) -> io::Result<bool> {
        let mut polled =
            [PollFd::new(&reading.inotify, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let woken = !polled[1].revents().is_empty();
        if woken {
            self.take_tickets(reading)?;
        }
        let batch = self.read_once(reading, buffer)?;
        let empty = batch.is_none();
        for notice in batch.into_iter().flatten() {
            if self.stopped.load(Ordering::Acquire) || !notify(notice) {
                return Ok(false);
            }
        }
        while let Some((ticket, bytes)) = reading.due.front().copied() {
            if !empty && bytes > reading.read {
                break;
            }
            reading.due.pop_front();
            if !notify(Notice::Drained(ticket)) {
                return Ok(false);
            }
        }
        Ok(!self.stopped.load(Ordering::Acquire))
    }

    /// Takes the tickets asked for until now; each is due when what is queued now was read.
    fn take_tickets(&self, reading: &mut Reading) -> io::Result<()> {
        let mut count = [0; 8];
        match rustix::io::read(&self.wake, &mut count[..]) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let tickets = std::mem::take(&mut *hold(&self.tickets));
        let bytes = reading.read + rustix::io::ioctl_fionread(reading.inotify.as_fd())?;
        reading.due.extend(tickets.into_iter().map(|ticket| (ticket, bytes)));
        Ok(())
    }

    /// One reading of the queue, translated; nothing if it was empty.
    fn read_once(
        &self,
        reading: &mut Reading,
        buffer: &mut [u8],
    ) -> io::Result<Option<Vec<Notice>>> {
        let events = loop {
            match reading.inotify.read_events(buffer) {
                Ok(events) => break events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let mut notices = Vec::new();
        let mut repeats = Repeats::new();
        let mut state = hold(&self.state);
        for event in events {
            reading.read += event_bytes(event.name);
            let number = event.wd.get_watch_descriptor_id();
            if let Some(name) = event.name
                && repeats.note((number, name), event.mask.contains(EventMask::MODIFY))
            {
                continue;
            }
            let cookie = event.cookie;
            state.translate(number, event.mask, cookie, event.name, &mut notices);
        }
        Ok(Some(notices))
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
        let Some(dir) = self.table.key(number) else {
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
            self.table.ended(number);
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
        Some(libc::ENOSPC) => {
            let limit = std::fs::read_to_string(MAX_WATCHES).ok();
            why_no_watch_left(limit.and_then(|text| text.trim().parse().ok()))
        }
        Some(libc::ENOENT) => "No watch can be had: /proc is not mounted".into(),
        _ => format!("No watch can be had: {error}"),
    }
}

fn why_no_watch_left(limit: Option<u64>) -> String {
    let more = limit.unwrap_or(0).saturating_mul(2).max(1_048_576);
    let all = limit.map_or_else(String::new, |limit| format!("{limit} "));
    format!(
        "No watch can be had: all {all}inotify watches of this user are in use; allow more with \
         `sysctl fs.inotify.max_user_watches={more}`"
    )
}

#[cfg(test)]
mod tests {
    use super::why_no_watch_left;

    #[test]
    fn the_remedy_is_an_exact_line() {
        let text = why_no_watch_left(Some(8_192));
        assert!(text.contains("all 8192 inotify watches"), "{text}");
        assert!(text.ends_with("`sysctl fs.inotify.max_user_watches=1048576`"), "{text}");
        assert!(why_no_watch_left(Some(2_000_000)).contains("=4000000`"));
        assert!(why_no_watch_left(None).contains("all inotify"));
    }
}
