//! What happens to a socket's connections, as events, read in the thread of the socket.
//!
//! The events carry raw numbers on purpose: some are error numbers that the `zmq` crate would
//! panic on. A monitor may lose events when thousands come unread; what must not be missed is
//! secured by heartbeats as well.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::net::{Context, trouble};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The TCP connection stands; the handshake has not begun.
    Connected,
    /// A peer has come: the descriptor of its connection.
    Accepted(i32),
    /// Both sides know each other.
    HandshakeSucceeded,
    /// The handshake has failed.
    HandshakeFailed(Failure),
    /// A connection has ended: its descriptor.
    Disconnected(i32),
    /// An attempt to connect has failed.
    Closed,
    /// Another attempt to connect will be made.
    Retried,
    /// Anything else.
    Other,
}

/// How a handshake fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The gatekeeper says no: 400 for a key that it doesn't know.
    Refused(u32),
    /// The peer does not speak CURVE.
    Mechanism,
    /// The messages can't be decrypted: a wrong server key.
    Cryptography,
    /// Another breach of the protocol.
    Protocol(u32),
    /// The connection ended before the handshake did.
    CutShort,
}

/// Reads the events of one socket.
pub(super) struct Monitor {
    socket: zmq::Socket,
}

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// `ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC` and `..._MECHANISM_MISMATCH`.
const CRYPTOGRAPHIC: u32 = 0x1100_0001;
const MISMATCH: u32 = 0x1100_0002;

impl Monitor {
    /// Listens to a socket; to be called before it is bound or connected.
    pub(super) fn new(context: &Context, watched: &zmq::Socket) -> Result<Monitor, Error> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let endpoint = format!("inproc://osync-monitor-{number}");
        let watch = || -> zmq::Result<()> {
            watched.monitor(&endpoint, zmq::SocketEvent::ALL.to_raw().into())
        };
        watch().map_err(|e| trouble("Can't watch a socket", e))?;
        let socket = context.socket(zmq::PAIR)?;
        socket.connect(&endpoint).map_err(|e| trouble("Can't watch a socket", e))?;
        Ok(Monitor { socket })
    }

    pub(super) fn poll_item(&self) -> zmq::PollItem<'_> {
        self.socket.as_poll_item(zmq::POLLIN)
    }

    /// The next event that has happened, without waiting.
    pub(super) fn next(&self) -> Option<Event> {
        let head = self.socket.recv_bytes(zmq::DONTWAIT).ok()?;
        while self.socket.get_rcvmore().unwrap_or(false) {
            self.socket.recv_bytes(zmq::DONTWAIT).ok()?;
        }
        Some(decode(&head))
    }
}

fn decode(head: &[u8]) -> Event {
    let (Some(kind), Some(value)) = (head.first_chunk::<2>(), head.get(2..6)) else {
        return Event::Other;
    };
    let kind = u32::from(u16::from_ne_bytes(*kind));
    let value = value.try_into().map_or(0, u32::from_ne_bytes);
    let descriptor = i32::from_ne_bytes(value.to_ne_bytes());
    match kind {
        zmq_sys::ZMQ_EVENT_CONNECTED => Event::Connected,
        zmq_sys::ZMQ_EVENT_ACCEPTED => Event::Accepted(descriptor),
        zmq_sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED => Event::HandshakeSucceeded,
        zmq_sys::ZMQ_EVENT_DISCONNECTED => Event::Disconnected(descriptor),
        zmq_sys::ZMQ_EVENT_CLOSED => Event::Closed,
        zmq_sys::ZMQ_EVENT_CONNECT_RETRIED => Event::Retried,
        zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH => Event::HandshakeFailed(Failure::Refused(value)),
        zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL => Event::HandshakeFailed(Failure::CutShort),
        zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL => Event::HandshakeFailed(match value {
            CRYPTOGRAPHIC => Failure::Cryptography,
            MISMATCH => Failure::Mechanism,
            other => Failure::Protocol(other),
        }),
        _ => Event::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_short_events_are_no_harm() {
        assert_eq!(decode(&[]), Event::Other);
        assert_eq!(decode(&[1, 0, 0]), Event::Other);
        assert_eq!(decode(&[0xff; 6]), Event::Other);
        let mut head = 0x4000u16.to_ne_bytes().to_vec();
        head.extend(400u32.to_ne_bytes());
        assert_eq!(decode(&head), Event::HandshakeFailed(Failure::Refused(400)));
    }
}
