//! Wakes a thread that waits in `zmq::poll`: a counter of the kernel that becomes readable.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

use crate::error::Error;

/// Rings; any number of clones, in any thread. Many rings before one answer are one.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(super) fn new() -> Result<Waker, Error> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| Error::Network(format!("Can't make an event descriptor: {e}")))?;
        Ok(Waker(Arc::new(fd)))
    }

    /// Ends the wait of the thread that listens, now or when it next waits. Never blocks.
    pub fn wake(&self) {
        // The only way to fail is a counter that is full already, which wakes as well.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    pub(super) fn poll_item(&self) -> zmq::PollItem<'static> {
        zmq::PollItem::from_fd(self.0.as_raw_fd(), zmq::POLLIN)
    }

    /// Takes all rings so far.
    pub(super) fn quiet(&self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&*self.0, &mut count);
    }
}
