//! Sockets: the command service and the one-way streams, all under CURVE. Only here is ZeroMQ met.
//!
//! - A peer without a known key gets nothing: the [`zap::Gatekeeper`] is asked in every handshake.
//! - What goes wrong in a handshake becomes a sentence for people, from the socket's monitor.
//! - Nothing here decides: what is sent and believed is the affair of the floors above.

pub mod client;
pub mod curve;
mod monitor;
pub mod ports;
mod reach;
#[cfg(test)]
mod rig;
pub mod service;
pub mod stream;
mod sys;
pub mod wake;
pub mod zap;

use std::ops::Deref;
use std::time::Duration;

use crate::error::Error;
use crate::model::limits::IO_THREADS;
use crate::model::stamp::Lane;

/// The network of one operator: all its sockets belong to one context.
#[derive(Clone)]
pub struct Context(zmq::Context);

impl Context {
    /// Opens a network with its own threads that move bytes.
    ///
    /// # Errors
    /// When the library was built without CURVE, or the system has no room.
    pub fn new() -> Result<Context, Error> {
        if zmq::has("curve") != Some(true) {
            return Err(Error::Usage(
                "This osync was built without encryption (libzmq has no CURVE): \
                 build it with the zmq-sys that comes with its sources"
                    .into(),
            ));
        }
        let context = zmq::Context::new();
        context.set_io_threads(IO_THREADS).map_err(|e| trouble("Can't start the network", e))?;
        Ok(Context(context))
    }

    fn socket(&self, kind: zmq::SocketType) -> Result<zmq::Socket, Error> {
        let socket = self.0.socket(kind).map_err(|e| trouble("Can't make a socket", e))?;
        socket.set_linger(0).map_err(|e| trouble("Can't set up a socket", e))?;
        Ok(socket)
    }
}

/// A frame as it arrived; its bytes are not copied.
pub struct Frame(zmq::Message);

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} bytes)", self.len())
    }
}

/// The thread of the library that serves a lane, so that backlog never holds up live.
fn affinity(lane: Lane) -> u64 {
    match lane {
        Lane::Live => 0b01,
        Lane::Backlog => 0b10,
    }
}

fn trouble(doing: &str, error: zmq::Error) -> Error {
    Error::Network(format!("{doing}: {error}"))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curve_is_in() {
        assert_eq!(zmq::has("curve"), Some(true));
        assert!(Context::new().is_ok());
    }
}
