//! The reader thread: empties the kernel's queues, hands notices on, answers tickets.
//!
//! - It never waits for whoever takes the notices: what finds no room is held, and what is too much
//!   to hold becomes an overflow.
//! - A ticket comes back behind all that the queues had when it was asked for.
//! - What happened to the table of mounts is told before a ticket comes back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::error::Error;
use crate::model::event::Notice;
use crate::model::limits::WATCH_READ_BYTES;
use crate::tree::hold;
use crate::tree::watch::held::Held;
use crate::tree::watch::mounts::Mounts;
use crate::tree::watch::{Handed, Notify};

/// How long the reader waits for events while it holds notices that found no room.
const HELD_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// How long the reader rests after it has read something: each event would wake it otherwise, and
/// whoever makes the event pays for that; what waits meanwhile is merged by the kernel. The first
/// event after a silence is read at once.
const REST: Duration = Duration::from_millis(1);

/// The reading end of one kernel queue.
pub(super) trait Queue: Send {
    /// Is readable while something is queued.
    fn fd(&self) -> BorrowedFd<'_>;
    /// How much is queued, in the unit of `read`.
    fn queued(&self) -> io::Result<u64>;
    /// Reads once without waiting, and translates. How much it took off the queue; nothing if that
    /// was empty.
    fn read(&mut self, buffer: &mut [u8], notices: &mut Vec<Notice>) -> io::Result<Option<u64>>;
}

/// The ways to wake the reader.
pub(super) struct Bell {
    tickets: Mutex<Vec<u64>>,
    notes: Mutex<Vec<String>>,
    wake: OwnedFd,
    stopped: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> Result<Bell, Error> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::Refused(format!("Can't make an event descriptor: {errno}")))?;
        let (tickets, notes) = (Mutex::default(), Mutex::default());
        Ok(Bell { tickets, notes, wake, stopped: AtomicBool::new(false) })
    }

    /// Asks for `Notice::Drained`.
    pub(super) fn request_drain(&self, ticket: u64) {
        hold(&self.tickets).push(ticket);
        self.ring();
    }

    /// Has something told to people.
    pub(super) fn tell(&self, text: String) {
        hold(&self.notes).push(text);
        self.ring();
    }

    /// Ends the reader.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.ring();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn ring(&self) {
        // Fails only if the counter is full, and then the reader is awake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

struct Line {
    queue: Box<dyn Queue>,
    /// What was taken off it so far.
    read: u64,
    /// Whether nothing was queued when it was last polled or read.
    empty: bool,
}

/// What the thread owns.
pub(super) struct Reader {
    lines: Vec<Line>,
    bell: Arc<Bell>,
    mounts: Arc<Mounts>,
    /// Tickets, each with what must have been read of each queue before.
    due: VecDeque<(u64, Vec<u64>)>,
    held: Held,
    notify: Notify,
}

impl Reader {
    pub(super) fn new(
        queues: Vec<Box<dyn Queue>>,
        bell: Arc<Bell>,
        mounts: Arc<Mounts>,
        notify: Notify,
    ) -> Reader {
        let line = |queue| Line { queue, read: 0, empty: false };
        let lines = queues.into_iter().map(line).collect();
        let (due, held) = (VecDeque::new(), Held::default());
        Reader { lines, bell, mounts, due, held, notify }
    }

    /// Until it is stopped, or nobody takes its notices, or a queue fails.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; WATCH_READ_BYTES];
        loop {
            let has_read = match self.step(&mut buffer) {
                Ok(has_read) => has_read,
                Err(error) => {
                    self.held.push(Notice::Failed(format!("Watching for changes failed: {error}")));
                    while self.hand_on() && !self.held.is_empty() && !self.bell.is_stopped() {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    return;
                }
            };
            if self.bell.is_stopped() || !self.hand_on() {
                return;
            }
            if has_read {
                std::thread::sleep(REST);
            }
        }
    }

    /// Waits, reads each queue that has something once, and holds what that brought; whether that
    /// was anything, of this tree or of another.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if self.wait()? {
            self.take_requests()?;
        }
        let (mut notices, mut has_read) = (Vec::new(), false);
        for line in self.lines.iter_mut().filter(|line| !line.empty) {
            let taken = line.queue.read(buffer, &mut notices)?;
            line.read += taken.unwrap_or(0);
            line.empty = taken.is_none();
            has_read |= taken.is_some();
            notices.drain(..).for_each(|notice| self.held.push(notice));
        }
        self.answer_tickets()?;
        Ok(has_read)
    }

    /// Waits until there is something to do; whether somebody rang.
    fn wait(&mut self) -> io::Result<bool> {
        let fds = self.lines.iter().map(|line| line.queue.fd());
        let mut polled: Vec<PollFd<'_>> =
            fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        polled.push(self.mounts.polled());
        polled.push(PollFd::new(&self.bell.wake, PollFlags::IN));
        let patience = (!self.held.is_empty()).then_some(&HELD_WAIT);
        match rustix::event::poll(&mut polled, patience) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let woken: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (line, woken) in self.lines.iter_mut().zip(&woken) {
            line.empty = !woken;
        }
        if woken[self.lines.len()] {
            self.mounts.note_change();
        }
        Ok(woken[self.lines.len() + 1])
    }

    /// Takes what was asked for until now; each ticket is due when what is queued now was read.
    fn take_requests(&mut self) -> io::Result<()> {
        let mut count = [0; 8];
        match rustix::io::read(&self.bell.wake, &mut count[..]) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for note in std::mem::take(&mut *hold(&self.bell.notes)) {
            self.held.push(Notice::Note(note));
        }
        let tickets = std::mem::take(&mut *hold(&self.bell.tickets));
        if tickets.is_empty() {
            return Ok(());
        }
        let mut until = Vec::with_capacity(self.lines.len());
        for line in &mut self.lines {
            let queued = line.queue.queued()?;
            line.empty = queued == 0;
            until.push(line.read + queued);
        }
        self.due.extend(tickets.into_iter().map(|ticket| (ticket, until.clone())));
        Ok(())
    }

    fn answer_tickets(&mut self) -> io::Result<()> {
        let lines = &self.lines;
        let is_due = |until: &[u64]| {
            lines.iter().zip(until).all(|(line, &until)| line.empty || line.read >= until)
        };
        let due = self.due.iter().take_while(|(_, until)| is_due(until)).count();
        if due > 0 || self.mounts.is_changed() {
            for notice in self.mounts.vanished()? {
                self.held.push(notice);
            }
        }
        for (ticket, _) in self.due.drain(..due) {
            self.held.push(Notice::Drained(ticket));
        }
        Ok(())
    }

    /// Hands on what is held, as far as there is room; whether anybody is there to take it.
    fn hand_on(&mut self) -> bool {
        while let Some(notice) = self.held.pop() {
            match (self.notify)(notice) {
                Handed::Taken => {}
                Handed::Full(notice) => {
                    self.held.put_back(notice);
                    return true;
                }
                Handed::Gone => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use rustix::event::EventfdFlags;

    use super::{Bell, Queue, Reader};
    use crate::model::event::{Event, Happening, Notice};
    use crate::model::stamp::DirKey;
    use crate::tree::watch::Handed;
    use crate::tree::watch::mounts::Mounts;

    /// A queue that gives one event at a reading, and that is readable to its end.
    struct Slow {
        events: VecDeque<Notice>,
        fd: OwnedFd,
    }

    impl Slow {
        fn of(dir: u64, events: usize) -> Slow {
            let event = Event { dir: DirKey(dir), what: Happening::SelfRetouched };
            let fd = rustix::event::eventfd(1, EventfdFlags::empty()).unwrap();
            Slow { events: vec![Notice::Event(event); events].into(), fd }
        }
    }

    impl Queue for Slow {
        fn fd(&self) -> BorrowedFd<'_> {
            self.fd.as_fd()
        }

        fn queued(&self) -> io::Result<u64> {
            Ok(self.events.len() as u64)
        }

        fn read(&mut self, _: &mut [u8], notices: &mut Vec<Notice>) -> io::Result<Option<u64>> {
            let event = self.events.pop_front();
            notices.extend(event.clone());
            Ok(event.map(|_| 1))
        }
    }

    #[test]
    fn a_ticket_comes_back_behind_all_that_every_queue_had() {
        let bell = Arc::new(Bell::new().unwrap());
        let (send, notices) = sync_channel(100);
        let notify = Box::new(move |notice| match send.try_send(notice) {
            Ok(()) => Handed::Taken,
            Err(_) => Handed::Gone,
        });
        let queues: Vec<Box<dyn Queue>> = vec![Box::new(Slow::of(1, 3)), Box::new(Slow::of(2, 7))];
        let mounts = Arc::new(Mounts::open().unwrap());
        bell.request_drain(5);
        let reader = Reader::new(queues, Arc::clone(&bell), mounts, notify);
        let thread = std::thread::spawn(move || reader.run());
        let next = || notices.recv_timeout(Duration::from_secs(20)).unwrap();
        let told: Vec<Notice> = std::iter::repeat_with(next).take(11).collect();
        assert_eq!(told.last(), Some(&Notice::Drained(5)));
        bell.stop();
        thread.join().unwrap();
    }
}
