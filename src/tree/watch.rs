//! Hints of change from the kernel: one reader thread empties its queue and hands on notices.
//!
//! - A watch is put into the table under the lock under which events are translated, so no event
//!   can meet a watch that is not known yet.
//! - Events of a watch that was taken off are left out: numbers of watches are not used again.
//! - Notices go out in the order of the kernel's queue, from one thread.

mod inotify;
mod table;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::Error;
use crate::model::event::Notice;
use crate::model::look::WatchState;
use crate::model::stamp::DirKey;
use crate::tree::hold;

use self::inotify::Queue;

/// What a notice is handed to. It may wait; meanwhile the kernel's queue may overflow, which is
/// ordinary. Once it returns false the reader thread ends.
pub type Notify = Box<dyn Fn(Notice) -> bool + Send>;

/// Watches directories; shared by all threads that look.
pub struct Watcher {
    queue: Arc<Queue>,
    reader: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Watcher {
    /// Starts the reader thread.
    ///
    /// # Errors
    /// `Refused` if no queue can be had; the text says what to do.
    pub fn start(notify: Notify) -> Result<Arc<Watcher>, Error> {
        let (queue, reading) = inotify::open()?;
        let theirs = Arc::clone(&queue);
        let reader = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || theirs.read(reading, &*notify))
            .map_err(|error| Error::Refused(format!("Can't start the watching thread: {error}")))?;
        Ok(Arc::new(Watcher { queue, reader: std::sync::Mutex::new(Some(reader)) }))
    }

    /// Puts a watch on an open directory. Repeating it is free.
    #[must_use]
    pub fn arm(&self, dir: BorrowedFd<'_>, key: DirKey) -> WatchState {
        self.queue.arm(dir, key)
    }

    /// Takes the watch off a directory that left the tree; what is still queued is left out.
    pub fn disarm(&self, key: DirKey) {
        self.queue.disarm(key);
    }

    /// Lets the watch of one key speak under another from now on.
    pub fn rekey(&self, from: DirKey, to: DirKey) {
        self.queue.rekey(from, to);
    }

    /// Asks for `Notice::Drained` with this ticket, once all that the kernel had queued before
    /// this call has been handed on.
    pub fn request_drain(&self, ticket: u64) {
        self.queue.request_drain(ticket);
    }

    /// How many directories are watched.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.queue.watches()
    }

    /// Ends the reader thread and waits for it. The receiver of notices must be gone by then, or
    /// go on receiving.
    pub fn stop(&self) {
        self.queue.stop();
        if let Some(reader) = hold(&self.reader).take() {
            // A reader that died has said so by a notice.
            let _ = reader.join();
        }
    }
}

impl Drop for Watcher {
    /// Ends the reader thread without waiting for it.
    fn drop(&mut self) {
        self.queue.stop();
    }
}

#[cfg(test)]
mod tests;
