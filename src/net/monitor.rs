//! What happens to a socket's connections, as events, read in the thread of the socket.
//!
//! The events carry raw numbers on purpose: some are error numbers that the `zmq` crate would
//! panic on.
//!
//! libzmq's threads wait for room when they have an event to tell, and for ever if nobody is there
//! to read it: one socket whose events are not read stops them all. So events are read in every
//! wait, and a socket's events are ended before the socket is (`Watched`).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::model::limits::EVENT_HWM;
use crate::net::{Context, sys, trouble};

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

/// A socket together with what happens to it.
pub(super) struct Watched {
    socket: zmq::Socket,
    events: zmq::Socket,
}

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// What is worth telling.
const KINDS: u32 = zmq_sys::ZMQ_EVENT_CONNECTED
    | zmq_sys::ZMQ_EVENT_ACCEPTED
    | zmq_sys::ZMQ_EVENT_CLOSED
    | zmq_sys::ZMQ_EVENT_DISCONNECTED
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;

/// `ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC` and `..._MECHANISM_MISMATCH`.
const CRYPTOGRAPHIC: u32 = 0x1100_0001;
const MISMATCH: u32 = 0x1100_0002;

impl Watched {
    /// Begins to listen to a socket; to be called before it is bound or connected.
    pub(super) fn new(context: &Context, socket: zmq::Socket) -> Result<Watched, Error> {
        let failed = |e| trouble("Can't watch a socket", e);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let endpoint = format!("inproc://osync-monitor-{number}");
        let events = context.socket(zmq::PAIR)?;
        events.set_rcvhwm(EVENT_HWM).map_err(failed)?;
        // From here on dropping it ends the events.
        let watched = Watched { socket, events };
        watched.socket.monitor(&endpoint, KINDS.cast_signed()).map_err(failed)?;
        watched.events.connect(&endpoint).map_err(failed)?;
        Ok(watched)
    }

    /// The socket itself.
    pub(super) fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// The socket itself, to be bound or connected.
    pub(super) fn socket_mut(&mut self) -> &mut zmq::Socket {
        &mut self.socket
    }

    /// Becomes readable when there is an event.
    pub(super) fn poll_item(&self) -> zmq::PollItem<'_> {
        self.events.as_poll_item(zmq::POLLIN)
    }

    /// The next event that has happened, without waiting.
    pub(super) fn next(&self) -> Option<Event> {
        let head = self.events.recv_bytes(zmq::DONTWAIT).ok()?;
        while self.events.get_rcvmore().unwrap_or(false) {
            self.events.recv_bytes(zmq::DONTWAIT).ok()?;
        }
        Some(decode(&head))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A thread that waits for room has the lock that ending the events needs.
        while self.next().is_some() {}
        sys::stop_events(&mut self.socket);
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

    /// If the events outlived their reader, the next socket of the context would hang.
    #[test]
    fn a_watched_socket_leaves_nothing_behind() {
        let context = Context::new().unwrap();
        for _ in 0..200 {
            let mut watched = Watched::new(&context, context.socket(zmq::PULL).unwrap()).unwrap();
            sys::bind(watched.socket_mut(), "tcp://127.0.0.1:*").unwrap();
        }
        let mut last = Watched::new(&context, context.socket(zmq::PULL).unwrap()).unwrap();
        sys::bind(last.socket_mut(), "tcp://127.0.0.1:*").unwrap();
        let endpoint = last.socket().get_last_endpoint().unwrap().unwrap();
        let peer = context.socket(zmq::PUSH).unwrap();
        peer.connect(&endpoint).unwrap();
        peer.send("alive", 0).unwrap();
        last.socket().set_rcvtimeo(20_000).unwrap();
        assert_eq!(last.socket().recv_bytes(0).unwrap(), b"alive");
    }

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
