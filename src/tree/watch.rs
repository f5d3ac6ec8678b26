//! Hints of change from the kernel: one reader thread empties its queues and hands on notices.
//!
//! - A watch is put into the table under the lock under which events are translated, so no event
//!   can meet a watch that is not known yet.
//! - Events of a watch that was taken off are left out: what the kernel calls a watch by is not
//!   used again.
//! - Notices go out in the order of the kernel's queue, from one thread.
//!
//! Two watchers stand behind one interface: `inotify`, a watch for each directory, works for
//! anyone; `fanotify`, a mark for a whole filesystem, needs root and a filesystem that allows it.
//! Directories of filesystems below the root that do not get inotify watches in the same run.

mod fanotify;
mod held;
mod inotify;
pub(super) mod mounts;
mod reader;
mod table;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::Error;
use crate::model::event::Notice;
use crate::model::look::WatchState;
use crate::model::stamp::DirKey;
use crate::tree::hold;

use self::mounts::Mounts;
use self::reader::{Bell, Queue, Reader};

/// Where a directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// The device of its filesystem.
    pub device: u64,
    /// The mount that it was reached through.
    pub mount: u64,
}

/// What became of a notice.
#[derive(Debug, PartialEq, Eq)]
pub enum Handed {
    /// It was taken.
    Taken,
    /// There is no room at the moment; here it is back.
    Full(Notice),
    /// Nobody takes notices any more: the reader thread ends.
    Gone,
}

/// What a notice is handed to. It must not wait.
pub type Notify = Box<dyn Fn(Notice) -> Handed + Send>;

/// One way to watch directories. Events go to the queue that was opened with it.
trait Arming: Send + Sync {
    /// Puts a watch on an open directory, which lies on that device.
    fn arm(&self, dir: BorrowedFd<'_>, device: u64, key: DirKey) -> WatchState;
    /// Takes the watch off a directory.
    fn disarm(&self, key: DirKey);
    /// How many directories are watched.
    fn watches(&self) -> usize;
    /// What it is called.
    fn means(&self) -> &'static str;
}

/// Watches directories; shared by all threads that look.
pub struct Watcher {
    /// The preferred one first.
    ways: Vec<Arc<dyn Arming>>,
    mounts: Arc<Mounts>,
    bell: Arc<Bell>,
    reader: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Watcher {
    /// Watches by inotify.
    ///
    /// # Errors
    /// `Refused` if no queue can be had; the text says what to do.
    pub fn by_inotify(notify: Notify) -> Result<Arc<Watcher>, Error> {
        let (watching, queue) = inotify::open()?;
        Watcher::start(vec![watching], vec![queue], Arc::new(Bell::new()?), notify)
    }

    /// Watches the filesystem of a root by fanotify, and whatever is mounted below it.
    ///
    /// # Errors
    /// `Refused` if it can't be had here; the text says why.
    pub fn by_fanotify(root: BorrowedFd<'_>, notify: Notify) -> Result<Arc<Watcher>, Error> {
        let bell = Arc::new(Bell::new()?);
        let marks = fanotify::open(root, &bell)?;
        Watcher::with_marks(marks, bell, notify)
    }

    fn with_marks(
        (marks, queue): (Arc<fanotify::Watching>, Box<dyn Queue>),
        bell: Arc<Bell>,
        notify: Notify,
    ) -> Result<Arc<Watcher>, Error> {
        let (mut ways, mut queues): (Vec<Arc<dyn Arming>>, _) = (vec![marks], vec![queue]);
        match inotify::open() {
            Ok((watching, queue)) => {
                ways.push(watching);
                queues.push(queue);
            }
            // It is needed only if something below the root can't be marked: that is told then.
            Err(error) => tracing::info!("No inotify beside fanotify: {error}"),
        }
        Watcher::start(ways, queues, bell, notify)
    }

    /// Starts the reader thread.
    fn start(
        ways: Vec<Arc<dyn Arming>>,
        queues: Vec<Box<dyn Queue>>,
        bell: Arc<Bell>,
        notify: Notify,
    ) -> Result<Arc<Watcher>, Error> {
        let mounts = Arc::new(Mounts::open()?);
        let reading = Reader::new(queues, Arc::clone(&bell), Arc::clone(&mounts), notify);
        let reader = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || reading.run())
            .map_err(|error| Error::Refused(format!("Can't start the watching thread: {error}")))?;
        Ok(Arc::new(Watcher { ways, mounts, bell, reader: std::sync::Mutex::new(Some(reader)) }))
    }

    /// Puts a watch on an open directory. Repeating it is free.
    #[must_use]
    pub fn arm(&self, dir: BorrowedFd<'_>, ground: Ground, key: DirKey) -> WatchState {
        self.mounts.note(ground.mount, key);
        let mut state = WatchState::Unwatched(String::new());
        for way in &self.ways {
            state = way.arm(dir, ground.device, key);
            if !matches!(state, WatchState::Unwatched(_)) {
                break;
            }
        }
        state
    }

    /// Takes the watch off a directory that left the tree; what is still queued is left out.
    pub fn disarm(&self, key: DirKey) {
        self.ways.iter().for_each(|way| way.disarm(key));
    }

    /// Asks for `Notice::Drained` with this ticket, once all that the kernel had queued before
    /// this call has been handed on.
    pub fn request_drain(&self, ticket: u64) {
        self.bell.request_drain(ticket);
    }

    /// How many directories are watched.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.ways.iter().map(|way| way.watches()).sum()
    }

    /// By what it watches: `inotify` or `fanotify`.
    #[must_use]
    pub fn means(&self) -> &'static str {
        self.ways.first().map_or("", |way| way.means())
    }

    /// Ends the reader thread and waits for it.
    pub fn stop(&self) {
        self.bell.stop();
        if let Some(reader) = hold(&self.reader).take() {
            // A reader that died has said so by a notice.
            let _ = reader.join();
        }
    }
}

impl Drop for Watcher {
    /// Ends the reader thread without waiting for it.
    fn drop(&mut self) {
        self.bell.stop();
    }
}

#[cfg(test)]
mod tests;
