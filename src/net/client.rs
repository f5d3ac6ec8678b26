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
    COMMAND_HWM, CUT_SHORT_MAX, HANDSHAKE_MS, REPLY_BYTES_MAX, RETRY_MS_MAX, RETRY_MS_MIN,
};
use crate::model::stamp::Lane;
use crate::net::curve::{self, KeyPair};
use crate::net::monitor::{Event, Failure, Watched};
use crate::net::reach::{self, Spoken};
use crate::net::{Context, affinity, millis, sys, trouble};
use crate::wire::codec;
use crate::wire::command::{Reply, Request};

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

/// How often a wait looks whether it is to stop.
const STOP_EVERY: Duration = Duration::from_millis(50);

/// What is known of the connection.
#[derive(Debug, Default)]
struct Standing {
    /// Both sides know each other.
    shaken: bool,
    /// They have known each other once.
    met: bool,
    /// A connection is there, and its handshake has not failed yet.
    shaking: bool,
    /// An attempt to connect has failed.
    closed: bool,
    cut_short: u32,
    dead: Option<CallError>,
}

/// Asks the command service of one source. Not for two threads at once.
pub struct CommandClient {
    socket: Watched,
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
        let socket = context.socket(zmq::REQ).map_err(network)?;
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
        let mut socket = Watched::new(context, socket).map_err(network)?;
        sys::connect(socket.socket_mut(), &format!("tcp://{address}"))
            .map_err(|e| CallError::Network(format!("Can't connect to {address}: {e}")))?;
        let host = host.to_owned();
        Ok(CommandClient { socket, host, address, standing: Standing::default() })
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
        self.call_unless(request, timeout, &|| false)
    }

    /// Like `call`, but gives up, as after a time-out, soon after `stop` says so.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call_unless(
        &mut self,
        request: &Request,
        timeout: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<Reply, CallError> {
        let deadline = Instant::now() + timeout;
        let body =
            codec::encode_envelope(request).map_err(|e| CallError::Protocol(e.to_string()))?;
        self.wait(zmq::POLLOUT, deadline, stop)?;
        self.socket.socket().send(body, zmq::DONTWAIT).map_err(|e| self.broken(e))?;
        let frames = loop {
            self.wait(zmq::POLLIN, deadline, stop)?;
            match self.socket.socket().recv_multipart(zmq::DONTWAIT) {
                Ok(frames) => break frames,
                // That was a late reply to an earlier request.
                Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => {}
                Err(e) => return Err(self.broken(e)),
            }
        };
        let [body] = frames.as_slice() else {
            return Err(CallError::Protocol("The source sent a malformed reply".into()));
        };
        codec::decode_envelope(body).map_err(|e| match e {
            Error::Version { ours, theirs } => CallError::Version { ours, theirs },
            other => CallError::Protocol(other.to_string()),
        })
    }

    /// Waits until the socket is ready; whatever the monitor says meanwhile counts.
    fn wait(
        &mut self,
        what: zmq::PollEvents,
        deadline: Instant,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), CallError> {
        loop {
            self.read_events();
            self.give_up()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let mut items = [self.socket.socket().as_poll_item(what), self.socket.poll_item()];
            match zmq::poll(&mut items, millis(left.min(STOP_EVERY))) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(e) => return Err(CallError::Network(format!("Can't wait: {e}"))),
            }
            if items[0].get_revents().intersects(what) {
                return Ok(());
            }
            if left.is_zero() {
                return Err(self.explain_silence());
            }
            if stop() {
                return Err(CallError::TimedOut("Stopped".into()));
            }
        }
    }

    /// Ends a wait that can't have a good end.
    fn give_up(&mut self) -> Result<(), CallError> {
        if let Some(dead) = &self.standing.dead {
            return Err(dead.clone());
        }
        if self.standing.cut_short >= CUT_SHORT_MAX {
            self.standing.cut_short = 0;
            self.blame()?;
        }
        // Who has never been there may be told at once; who was there may just be coming back.
        if std::mem::take(&mut self.standing.closed) && !self.standing.met {
            reach::sound(&self.host, self.address).map_err(CallError::TimedOut)?;
        }
        Ok(())
    }

    fn read_events(&mut self) {
        let place = format!("{} port {}", self.host, self.address.port());
        let standing = &mut self.standing;
        while let Some(event) = self.socket.next() {
            match event {
                Event::Connected => standing.shaking = true,
                Event::Closed => standing.closed = true,
                Event::HandshakeSucceeded => {
                    (standing.shaken, standing.met, standing.shaking) = (true, true, false);
                    standing.cut_short = 0;
                }
                Event::Disconnected(_) => {
                    standing.shaken = false;
                    // A peer that does not even greet ends without any failure being told.
                    if std::mem::take(&mut standing.shaking) {
                        standing.cut_short = CUT_SHORT_MAX;
                    }
                }
                Event::HandshakeFailed(failure) => {
                    standing.shaking = false;
                    match failure {
                        Failure::CutShort => standing.cut_short += 1,
                        Failure::Refused(_) => {
                            standing.dead = Some(CallError::NotAuthorised(place.clone()));
                        }
                        Failure::Mechanism => standing.dead = Some(no_curve(&place)),
                        Failure::Cryptography => {
                            standing.dead = Some(CallError::WrongServerKey(place.clone()));
                        }
                        Failure::Protocol(_) => standing.dead = Some(not_osync(&place)),
                    }
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

    fn broken(&self, error: zmq::Error) -> CallError {
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::net::rig::{Answering, Rig, SECONDS, introduce, silent_and_closed};
    use crate::net::service::CommandService;

    #[test]
    fn a_known_sink_is_answered_again_and_again() {
        let rig = Rig::new();
        let answering = Answering::start(rig.service());
        let mut client = CommandClient::connect(
            &Context::new().unwrap(),
            "127.0.0.1",
            answering.port,
            &rig.source.public,
            &rig.sink,
        )
        .unwrap();
        for _ in 0..100 {
            assert_eq!(client.call(&introduce(), SECONDS), Ok(Reply::Introduced));
        }
        assert!(client.is_connected());
        assert_eq!(answering.finish(), 100);
    }

    #[test]
    fn a_strangers_key_gets_a_sentence_and_nothing_else() {
        let rig = Rig::new();
        let answering = Answering::start(rig.service());
        let stranger = KeyPair::generate().unwrap();
        let began = Instant::now();
        let error = rig.call(answering.port, &stranger, &rig.source).unwrap_err();
        assert!(matches!(error, CallError::NotAuthorised(_)), "{error}");
        assert!(began.elapsed() < SECONDS);
        // The next try of the same sink, once it is known, needs only a new client.
        rig.gatekeeper.access().admit(stranger.public);
        assert_eq!(rig.call(answering.port, &stranger, &rig.source), Ok(Reply::Introduced));
        assert_eq!(answering.finish(), 1);
    }

    #[test]
    fn a_wrong_server_key_is_told_from_a_lost_connection() {
        let rig = Rig::new();
        let answering = Answering::start(rig.service());
        let other = KeyPair::generate().unwrap();
        let error = rig.call(answering.port, &rig.sink, &other).unwrap_err();
        assert!(matches!(error, CallError::WrongServerKey(_)), "{error}");
        assert_eq!(answering.finish(), 0);
    }

    #[test]
    fn without_keys_nobody_comes_in() {
        let rig = Rig::new();
        let answering = Answering::start(rig.service());
        let context = zmq::Context::new();
        let naked = context.socket(zmq::REQ).unwrap();
        naked.set_linger(0).unwrap();
        naked.set_rcvtimeo(500).unwrap();
        naked.connect(&format!("tcp://127.0.0.1:{}", answering.port)).unwrap();
        let _ = naked.send(codec::encode_envelope(introduce()).unwrap(), zmq::DONTWAIT);
        assert!(naked.recv_bytes(0).is_err());
        assert_eq!(answering.finish(), 0);
    }

    #[test]
    fn without_a_gatekeeper_nobody_comes_in() {
        let (source, sink) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let context = Context::new().unwrap();
        let service = CommandService::bind(&context, &source, "127.0.0.1", 0).unwrap();
        let answering = Answering::start(service);
        let mut client = CommandClient::connect(
            &Context::new().unwrap(),
            "127.0.0.1",
            answering.port,
            &source.public,
            &sink,
        )
        .unwrap();
        assert!(client.call(&introduce(), Duration::from_secs(1)).is_err());
        assert_eq!(answering.finish(), 0);
    }

    #[test]
    fn what_is_no_source_is_named() {
        let rig = Rig::new();
        let (silent, closed) = silent_and_closed();
        let said = |port| rig.call(port, &rig.sink, &rig.source).unwrap_err().to_string();
        assert!(said(closed).contains("Nobody listens"), "{}", said(closed));
        let port = silent.local_addr().unwrap().port();
        let mut client = CommandClient::connect(
            &Context::new().unwrap(),
            "127.0.0.1",
            port,
            &rig.source.public,
            &rig.sink,
        )
        .unwrap();
        let error = client.call(&introduce(), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("says nothing"), "{error}");

        let plain = zmq::Context::new().socket(zmq::REP).unwrap();
        plain.set_linger(0).unwrap();
        plain.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = plain.get_last_endpoint().unwrap().unwrap();
        let port = endpoint.rsplit(':').next().unwrap().parse().unwrap();
        assert!(said(port).contains("does not encrypt"), "{}", said(port));

        let chatty = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = chatty.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in chatty.incoming().flatten() {
                let _ = stream.write_all(b"SSH-2.0-Example, what do you want?\r\n");
            }
        });
        assert!(said(port).contains("is no osync source"), "{}", said(port));
    }

    #[test]
    fn a_host_that_is_not_there_is_named() {
        let rig = Rig::new();
        let context = Context::new().unwrap();
        let error = CommandClient::connect(
            &context,
            "no-such-host.invalid",
            1,
            &rig.source.public,
            &rig.sink,
        )
        .err()
        .unwrap();
        assert!(matches!(error, CallError::TimedOut(_)));
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    }

    #[test]
    fn a_lost_reply_is_made_up_for() {
        let rig = Rig::new();
        let service = rig.service();
        let mut client = CommandClient::connect(
            &Context::new().unwrap(),
            "127.0.0.1",
            service.port(),
            &rig.source.public,
            &rig.sink,
        )
        .unwrap();
        let error = client.call(&introduce(), Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, CallError::TimedOut(_)), "{error}");
        // The late reply to the first request is passed over.
        let late = service.recv(SECONDS).unwrap().unwrap();
        service.reply(&late.routing, &Reply::Farewell).unwrap();
        let answering = Answering::start(service);
        assert_eq!(client.call(&introduce(), SECONDS), Ok(Reply::Introduced));
        assert_eq!(answering.finish(), 1);
    }
}
