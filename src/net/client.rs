//! The sink's end of the command service: one REQ, relaxed and correlated, asked with a time-out.
//!
//! - A request leaves only on a connection that has shaken hands, so none piles up meanwhile.
//! - Why there is no handshake is read from the monitor and, where that is silent, found out by
//!   connecting by hand.
//! - A refused handshake leaves the socket dead for good: the next try needs a new client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use thiserror::Error as ThisError;

use crate::error::Error;
use crate::model::key::PublicKey;
use crate::model::limits::{
    COMMAND_HWM, HANDSHAKE_MS, REPLY_BYTES_MAX, RETRY_MS_MAX, RETRY_MS_MIN,
};
use crate::model::stamp::Lane;
use crate::net::curve::{self, KeyPair};
use crate::net::monitor::{Event, Failure, Monitor};
use crate::net::reach::{self, Spoken};
use crate::net::{Context, affinity, millis, sys, trouble};
use crate::wire::codec;
use crate::wire::command::{Reply, Request};

/// Handshakes that must be cut short one after the other before the key is blamed: a source that
/// is just being restarted cuts one short as well.
const CUT_SHORT_MAX: u32 = 3;

/// Why there is no reply. Each is a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum CallError {
    /// Nobody answered in time; the words are the last that is known of why.
    #[error("{0}")]
    TimedOut(String),
    /// The gatekeeper of the source does not know the key that was shown.
    #[error("The source at {0} does not know this key")]
    NotAuthorised(String),
    /// What answers has another key than the one expected.
    #[error(
        "{0} answers with another key than this source is known by: was it installed anew, or is \
         this another source? Start the sink with the invite that the source prints"
    )]
    WrongServerKey(String),
    /// What answers is no osync source.
    #[error("{0}")]
    NotOsync(String),
    /// The two programs speak different versions.
    #[error("{}", Error::Version { ours: *ours, theirs: *theirs })]
    Version {
        /// Of this program.
        ours: u32,
        /// Of the source.
        theirs: u32,
    },
    /// The reply makes no sense.
    #[error("{0}")]
    Protocol(String),
    /// This host's own network fails.
    #[error("{0}")]
    Network(String),
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Error {
        let text = error.to_string();
        match error {
            CallError::TimedOut(_) => Error::TimedOut(text),
            CallError::NotAuthorised(_) | CallError::WrongServerKey(_) => Error::Refused(text),
            CallError::Version { ours, theirs } => Error::Version { ours, theirs },
            CallError::Protocol(_) => Error::Protocol(text),
            CallError::NotOsync(_) | CallError::Network(_) => Error::Network(text),
        }
    }
}

/// What is known of the connection.
#[derive(Debug, Default)]
struct Standing {
    shaken: bool,
    cut_short: u32,
    dead: Option<CallError>,
}

/// Asks the command service of one source. Not for two threads at once.
pub struct CommandClient {
    socket: zmq::Socket,
    monitor: Monitor,
    host: String,
    address: SocketAddr,
    standing: Standing,
}

impl CommandClient {
    /// Finds the host and begins to connect; whether that succeeds is seen by the first call.
    ///
    /// # Errors
    /// `TimedOut` when the host can't be found or reached, `Network` when this host has no room.
    pub fn connect(
        context: &Context,
        host: &str,
        port: u16,
        server: &PublicKey,
        own: &KeyPair,
    ) -> Result<CommandClient, CallError> {
        let address = reach::find(host, port).map_err(CallError::TimedOut)?;
        let network = |e: Error| CallError::Network(e.to_string());
        let mut socket = context.socket(zmq::REQ).map_err(network)?;
        let set = |socket: &zmq::Socket| -> zmq::Result<()> {
            socket.set_ipv6(true)?;
            socket.set_affinity(affinity(Lane::Live))?;
            socket.set_req_relaxed(true)?;
            socket.set_req_correlate(true)?;
            socket.set_immediate(true)?;
            socket.set_sndhwm(COMMAND_HWM)?;
            socket.set_rcvhwm(COMMAND_HWM)?;
            socket.set_maxmsgsize(REPLY_BYTES_MAX)?;
            socket.set_handshake_ivl(int(HANDSHAKE_MS))?;
            socket.set_connect_timeout(int(HANDSHAKE_MS))?;
            socket.set_reconnect_ivl(int(RETRY_MS_MIN))?;
            socket.set_reconnect_ivl_max(int(RETRY_MS_MAX))?;
            socket.set_tcp_keepalive(1)
        };
        set(&socket).map_err(|e| network(trouble("Can't set up a socket", e)))?;
        curve::present(&socket, own, server).map_err(network)?;
        let monitor = Monitor::new(context, &socket).map_err(network)?;
        sys::connect(&mut socket, &format!("tcp://{address}"))
            .map_err(|e| CallError::Network(format!("Can't connect to {address}: {e}")))?;
        let host = host.to_owned();
        Ok(CommandClient { socket, monitor, host, address, standing: Standing::default() })
    }

    /// Where the source is: data sockets are to be sought at the same IP address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the connection stands, as far as has been seen.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.standing.shaken
    }

    /// Sends a request and waits for its reply; a late reply to an earlier one is passed over.
    ///
    /// # Errors
    /// See [`CallError`]. Only after `TimedOut` is another call on this client of any use.
    pub fn call(&mut self, request: &Request, timeout: Duration) -> Result<Reply, CallError> {
        let deadline = Instant::now() + timeout;
        let body =
            codec::encode_envelope(request).map_err(|e| CallError::Protocol(e.to_string()))?;
        self.wait(zmq::POLLOUT, deadline)?;
        self.socket.send(body, zmq::DONTWAIT).map_err(|e| self.silence(e))?;
        self.wait(zmq::POLLIN, deadline)?;
        let frames = self.socket.recv_multipart(zmq::DONTWAIT).map_err(|e| self.silence(e))?;
        let [body] = frames.as_slice() else {
            return Err(CallError::Protocol("The source sent a malformed reply".into()));
        };
        codec::decode_envelope(body).map_err(|e| match e {
            Error::Version { ours, theirs } => CallError::Version { ours, theirs },
            other => CallError::Protocol(other.to_string()),
        })
    }

    /// Waits until the socket is ready; whatever the monitor says meanwhile counts.
    fn wait(&mut self, what: zmq::PollEvents, deadline: Instant) -> Result<(), CallError> {
        loop {
            self.read_events();
            if let Some(dead) = &self.standing.dead {
                return Err(dead.clone());
            }
            if self.standing.cut_short >= CUT_SHORT_MAX {
                self.standing.cut_short = 0;
                self.blame()?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut items = [self.socket.as_poll_item(what), self.monitor.poll_item()];
            match zmq::poll(&mut items, millis(left)) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(e) => return Err(CallError::Network(format!("Can't wait: {e}"))),
            }
            if items[0].get_revents().intersects(what) {
                return Ok(());
            }
            if left.is_zero() {
                return Err(self.explain_silence());
            }
        }
    }

    fn read_events(&mut self) {
        while let Some(event) = self.monitor.next() {
            let place = format!("{} port {}", self.host, self.address.port());
            match event {
                Event::HandshakeSucceeded => {
                    self.standing.shaken = true;
                    self.standing.cut_short = 0;
                }
                Event::Disconnected(_) => self.standing.shaken = false,
                Event::HandshakeFailed(Failure::CutShort) => self.standing.cut_short += 1,
                Event::HandshakeFailed(Failure::Refused(_)) => {
                    self.standing.dead = Some(CallError::NotAuthorised(place));
                }
                Event::HandshakeFailed(Failure::Mechanism) => {
                    self.standing.dead = Some(no_curve(&place));
                }
                Event::HandshakeFailed(Failure::Cryptography) => {
                    self.standing.dead = Some(CallError::WrongServerKey(place));
                }
                Event::HandshakeFailed(Failure::Protocol(_)) => {
                    self.standing.dead = Some(not_osync(&place));
                }
                _ => {}
            }
        }
    }

    /// Finds out why handshakes are cut short.
    fn blame(&self) -> Result<(), CallError> {
        let place = format!("{} port {}", self.host, self.address.port());
        match reach::sound(&self.host, self.address) {
            Ok(Spoken::Curve) => Err(CallError::WrongServerKey(place)),
            Ok(Spoken::Plain) => Err(no_curve(&place)),
            Ok(Spoken::Foreign) => Err(not_osync(&place)),
            // It has just gone, or doesn't say: the deadline decides.
            Ok(Spoken::Silence) | Err(_) => Ok(()),
        }
    }

    /// Says why no reply has come.
    fn explain_silence(&self) -> CallError {
        let place = format!("{} port {}", self.host, self.address.port());
        if self.standing.shaken {
            return CallError::TimedOut(format!(
                "The source at {place} does not reply, though the connection stands"
            ));
        }
        match reach::sound(&self.host, self.address) {
            Err(sentence) => CallError::TimedOut(sentence),
            Ok(Spoken::Plain) => no_curve(&place),
            Ok(Spoken::Foreign) => not_osync(&place),
            Ok(Spoken::Silence) => CallError::TimedOut(format!(
                "Something listens on {place} and says nothing: \
                 is this the port that the source printed?"
            )),
            Ok(Spoken::Curve) => CallError::TimedOut(format!(
                "The source at {place} did not finish the handshake in time"
            )),
        }
    }

    fn silence(&self, error: zmq::Error) -> CallError {
        match error {
            zmq::Error::EAGAIN | zmq::Error::EINTR => self.explain_silence(),
            other => CallError::Network(format!("Can't talk to {}: {other}", self.address)),
        }
    }
}

fn no_curve(place: &str) -> CallError {
    CallError::NotOsync(format!(
        "What listens on {place} does not encrypt, so it is no osync source: \
         is this the port that the source printed?"
    ))
}

fn not_osync(place: &str) -> CallError {
    CallError::NotOsync(format!(
        "What listens on {place} is no osync source: is this the port that the source printed?"
    ))
}

fn int(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
