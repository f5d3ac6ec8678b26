//! The command service of the source: one ROUTER, so that a slow sink holds nobody up.
//!
//! It lives in one thread. A request comes with the key that the gatekeeper has admitted; what
//! can't be read comes as an error, to be answered with a refusal.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::model::key::PublicKey;
use crate::model::limits::{
    COMMAND_HWM, FAREWELL_MS, HANDSHAKE_MS, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, ROUTING_FRAMES_MAX,
};
use crate::model::session::FinalReport;
use crate::model::stamp::Lane;
use crate::net::curve::{self, KeyPair};
use crate::net::monitor::{Event, Watched};
use crate::net::ports::{self, COMMAND_PORT, PortRange};
use crate::net::wake::Waker;
use crate::net::zap::COMMAND_DOMAIN;
use crate::net::{Context, affinity, millis, trouble};
use crate::wire::codec;
use crate::wire::command::{Refusal, Reply, Request};

/// Where a reply has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing(Vec<Vec<u8>>);

/// One request.
#[derive(Debug)]
pub struct Call {
    /// Where the reply has to go.
    pub routing: Routing,
    /// Who asks, as the gatekeeper has seen.
    pub peer: PublicKey,
    /// From which IP address.
    pub address: String,
    /// What is asked; an error is to be answered with [`refusal`].
    pub request: Result<Request, Error>,
}

/// The refusal that answers a request which can't be read.
#[must_use]
pub fn refusal(error: &Error) -> Reply {
    let code = match error {
        Error::Version { .. } => Refusal::Version,
        Error::Refused(_) => Refusal::Key,
        _ => Refusal::Malformed,
    };
    Reply::Refused { code, text: error.to_string() }
}

/// Receives requests and sends replies. Not for two threads at once.
pub struct CommandService {
    socket: Watched,
    waker: Waker,
    port: u16,
    /// The connections that stand, by their descriptors.
    callers: RefCell<HashSet<i32>>,
}

impl CommandService {
    /// Begins to listen. A [`crate::net::zap::Gatekeeper`] has to be at its post: without one
    /// nobody comes in. Port 0 takes a free one.
    ///
    /// # Errors
    /// When the port is taken or the address is not this host's.
    pub fn bind(
        context: &Context,
        keys: &KeyPair,
        address: &str,
        port: u16,
    ) -> Result<CommandService, Error> {
        let mut socket = context.socket(zmq::ROUTER)?;
        let set = |socket: &zmq::Socket| -> zmq::Result<()> {
            socket.set_ipv6(true)?;
            socket.set_affinity(affinity(Lane::Live))?;
            socket.set_sndhwm(COMMAND_HWM)?;
            socket.set_rcvhwm(COMMAND_HWM)?;
            socket.set_maxmsgsize(REQUEST_BYTES_MAX)?;
            socket.set_handshake_ivl(i32::try_from(HANDSHAKE_MS).unwrap_or(i32::MAX))?;
            socket.set_linger(i32::try_from(FAREWELL_MS).unwrap_or(i32::MAX))?;
            socket.set_tcp_keepalive(1)
        };
        set(&socket).map_err(|e| trouble("Can't set up the command service", e))?;
        curve::guard(&mut socket, keys, COMMAND_DOMAIN)?;
        let mut socket = Watched::new(context, socket)?;
        let port = if port == 0 {
            let free = PortRange::below_ephemeral(COMMAND_PORT);
            ports::bind_free(socket.socket_mut(), address, free)?
        } else {
            ports::bind_one(socket.socket_mut(), address, port)?;
            port
        };
        Ok(CommandService { socket, waker: Waker::new()?, port, callers: RefCell::default() })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the wait of `recv` from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits for a request; none when the time is up or the waker has rung.
    ///
    /// # Errors
    /// When the context has ended.
    pub fn recv(&self, timeout: Duration) -> Result<Option<Call>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(call) = self.take()? {
                return Ok(Some(call));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut items = [
                self.socket.socket().as_poll_item(zmq::POLLIN),
                self.socket.poll_item(),
                self.waker.poll_item(),
            ];
            match zmq::poll(&mut items, millis(left)) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(e) => return Err(trouble("The command service has failed", e)),
            }
            let woken = items[2].is_readable();
            self.read_events();
            if woken {
                self.waker.quiet();
            }
            if woken || left.is_zero() {
                return self.take();
            }
        }
    }

    /// Sends a reply. Never blocks; a peer that has gone gets nothing.
    ///
    /// # Errors
    /// When the reply can't be encoded or the context has ended.
    pub fn reply(&self, routing: &Routing, reply: &Reply) -> Result<(), Error> {
        let mut frames = routing.0.clone();
        frames.push(Vec::new());
        frames.push(encode_fitting(reply)?);
        match self.socket.socket().send_multipart(frames, zmq::DONTWAIT) {
            Ok(()) | Err(zmq::Error::EAGAIN | zmq::Error::EHOSTUNREACH) => Ok(()),
            Err(e) => Err(trouble("Can't send a reply", e)),
        }
    }

    /// A request that has come whole; what is no request of anybody known is passed over.
    fn take(&self) -> Result<Option<Call>, Error> {
        loop {
            let mut frames = Vec::new();
            loop {
                match self.socket.socket().recv_msg(zmq::DONTWAIT) {
                    Ok(frame) => frames.push(frame),
                    Err(zmq::Error::EINTR) => continue,
                    Err(zmq::Error::EAGAIN) => return Ok(None),
                    Err(e) => return Err(trouble("The command service has failed", e)),
                }
                if !frames.last().is_some_and(zmq::Message::get_more) {
                    break;
                }
                // Only the number matters beyond the bound: the request is refused.
                frames.truncate(ROUTING_FRAMES_MAX + 2);
            }
            if let Some(call) = read(frames) {
                return Ok(Some(call));
            }
        }
    }

    /// Waits until all who called have hung up, for so long at most. Whoever sees the connection
    /// end together with a reply may lose the reply: so it is left to them to end it. Whether all
    /// did.
    ///
    /// # Errors
    /// When the context has ended.
    pub fn see_off(&self, patience: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + patience;
        loop {
            self.read_events();
            let left = deadline.saturating_duration_since(Instant::now());
            let is_empty = self.callers.borrow().is_empty();
            if is_empty || left.is_zero() {
                return Ok(is_empty);
            }
            match zmq::poll(&mut [self.socket.poll_item()], millis(left).max(1)) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(e) => return Err(trouble("The command service has failed", e)),
            }
        }
    }

    fn read_events(&self) {
        while let Some(event) = self.socket.next() {
            match event {
                Event::Accepted(caller) => {
                    self.callers.borrow_mut().insert(caller);
                }
                Event::Disconnected(caller) => {
                    self.callers.borrow_mut().remove(&caller);
                }
                Event::HandshakeFailed(failure) => {
                    tracing::debug!(?failure, "A handshake with the command service has failed");
                }
                _ => {}
            }
        }
    }
}

/// Reads the frames of a request: routing, an empty one, the body.
fn read(mut frames: Vec<zmq::Message>) -> Option<Call> {
    let delimiter = frames.iter().position(|frame| frame.is_empty())?;
    let mut rest = frames.split_off(delimiter);
    let routing = Routing(frames.iter().map(|frame| frame.to_vec()).collect());
    let last = rest.last_mut()?;
    let peer = last.gets("User-Id")?.parse().ok()?;
    let address = plain_address(last.gets("Peer-Address").unwrap_or("an unknown address"));
    let request = match rest.as_slice() {
        [_, body] if routing.0.len() <= ROUTING_FRAMES_MAX => codec::decode_envelope(body),
        _ => Err(Error::Protocol("The peer does not speak osync's protocol".into())),
    };
    Some(Call { routing, peer, address, request })
}

/// An IPv4 address as people know it, even where the socket serves both kinds.
fn plain_address(text: &str) -> String {
    text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |ip| ip.to_canonical().to_string())
}

/// Encodes a reply, with a final report cut down until it fits.
fn encode_fitting(reply: &Reply) -> Result<Vec<u8>, Error> {
    let bytes = codec::encode_envelope(reply)?;
    let fits = |bytes: &Vec<u8>| i64::try_from(bytes.len()).is_ok_and(|n| n <= REPLY_BYTES_MAX);
    if fits(&bytes) {
        return Ok(bytes);
    }
    let mut reply = reply.clone();
    while let Reply::Alive(alive) = &mut reply
        && let Some(report) = &mut alive.finished
        && halve(report)
    {
        let bytes = codec::encode_envelope(&reply)?;
        if fits(&bytes) {
            return Ok(bytes);
        }
    }
    codec::encode_envelope(Reply::Refused {
        code: Refusal::Malformed,
        text: "The source's reply is too large to be sent".into(),
    })
}

/// Drops half of the lines; false when there are none left.
fn halve(report: &mut FinalReport) -> bool {
    let lines = report.problems.len() + report.foreign.len() + report.hot.len();
    report.problems.truncate(report.problems.len() / 2);
    report.foreign.truncate(report.foreign.len() / 2);
    report.hot.truncate(report.hot.len() / 2);
    lines > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::session::{Figures, Outcome, PhaseTag, ProblemLine};
    use crate::net::rig::{Answering, LONG, Rig, introduce};
    use crate::wire::command::{Alive, Envelope, PROTOCOL_VERSION};

    /// A sink that sends what it likes.
    fn raw(rig: &Rig, port: u16, body: &[u8]) -> Result<Reply, Error> {
        let context = Context::new().unwrap();
        let socket = context.socket(zmq::REQ).unwrap();
        socket.set_rcvtimeo(10_000).unwrap();
        curve::present(&socket, &rig.sink, &rig.source.public).unwrap();
        socket.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
        socket.send(body, 0).unwrap();
        codec::decode_envelope(&socket.recv_bytes(0).unwrap())
    }

    #[test]
    fn a_call_names_the_caller() {
        let rig = Rig::new();
        let service = rig.service();
        let port = service.port();
        let thread = std::thread::spawn(move || {
            let call = service.recv(LONG).unwrap().unwrap();
            service.reply(&call.routing, &Reply::Introduced).unwrap();
            // Kept until the reply has left.
            (call, service)
        });
        assert_eq!(rig.call(port, &rig.sink, &rig.source), Ok(Reply::Introduced));
        let (call, _service) = thread.join().unwrap();
        assert_eq!(call.peer, rig.sink.public);
        assert_eq!(call.address, "127.0.0.1");
        assert_eq!(call.request.unwrap(), introduce());
    }

    #[test]
    fn a_reply_leaves_though_the_service_ends_at_once() {
        let rig = Rig::new();
        for _ in 0..20 {
            let service = rig.service();
            let port = service.port();
            let thread = std::thread::spawn(move || {
                let call = service.recv(LONG).unwrap().unwrap();
                service.reply(&call.routing, &Reply::Introduced).unwrap();
                assert!(service.see_off(LONG).unwrap());
            });
            assert_eq!(rig.call(port, &rig.sink, &rig.source), Ok(Reply::Introduced));
            thread.join().unwrap();
        }
    }

    #[test]
    fn what_can_not_be_read_is_refused_in_words() {
        let rig = Rig::new();
        let answering = Answering::start(rig.service());
        let reply = raw(&rig, answering.port, b"rubbish").unwrap();
        assert!(matches!(reply, Reply::Refused { code: Refusal::Malformed, .. }), "{reply:?}");
        let mut newer = Envelope::new(introduce());
        newer.version = PROTOCOL_VERSION + 1;
        // As `encode_envelope` would, in that version.
        let bytes = codec::encode_envelope(introduce()).unwrap();
        let place = bytes.windows(8).position(|w| w == b"\xa7version").unwrap() + 8;
        let mut other = bytes.clone();
        other[place] = u8::try_from(newer.version).unwrap();
        let reply = raw(&rig, answering.port, &other).unwrap();
        let Reply::Refused { code: Refusal::Version, text } = reply else { panic!("{reply:?}") };
        assert!(text.contains("version 1") && text.contains(" 2"), "{text}");
    }

    #[test]
    fn another_version_of_the_source_is_named() {
        let rig = Rig::new();
        let service = rig.service();
        let port = service.port();
        let thread = std::thread::spawn(move || {
            let call = service.recv(LONG).unwrap().unwrap();
            let mut frames = call.routing.0;
            let mut body = codec::encode_envelope(Reply::Introduced).unwrap();
            let place = body.windows(8).position(|w| w == b"\xa7version").unwrap() + 8;
            body[place] = 99;
            frames.extend([Vec::new(), body]);
            service.socket.socket().send_multipart(frames, 0).unwrap();
            service
        });
        let error = rig.call(port, &rig.sink, &rig.source).unwrap_err();
        let _service = thread.join().unwrap();
        let sentence = error.to_string();
        assert!(sentence.contains("version 1") && sentence.contains("99"), "{sentence}");
    }

    #[test]
    fn a_port_in_use_is_a_sentence() {
        let rig = Rig::new();
        let service = rig.service();
        let bind = |address, port| {
            let bound = CommandService::bind(&rig.context, &rig.source, address, port);
            bound.err().map(|e| e.to_string()).unwrap_or_default()
        };
        let sentence = bind("127.0.0.1", service.port());
        assert!(sentence.contains("is in use") && sentence.contains("--port"), "{sentence}");
        let sentence = bind("203.0.113.7", 9753);
        assert!(sentence.contains("--bind"), "{sentence}");
    }

    #[test]
    fn the_waker_ends_a_wait() {
        let rig = Rig::new();
        let service = rig.service();
        let waker = service.waker();
        let thread = std::thread::spawn(move || service.recv(LONG).unwrap().is_none());
        waker.wake();
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_report_beyond_the_bound_is_cut_down() {
        let line = ProblemLine { path: vec![b'a'; 60_000], text: "x".into() };
        let report = FinalReport {
            outcome: Outcome::Problems,
            text: "Finished".into(),
            figures: Figures::default(),
            problems: vec![line; 400],
            foreign: Vec::new(),
            hot: Vec::new(),
            lost_attributes: Vec::new(),
        };
        let reply = Reply::Alive(Alive {
            sent: [0, 0],
            reports_seen: 0,
            phase: PhaseTag::Termination,
            figures: Figures::default(),
            please_unregister: None,
            finished: Some(report),
        });
        let bytes = encode_fitting(&reply).unwrap();
        assert!(i64::try_from(bytes.len()).unwrap() <= REPLY_BYTES_MAX);
        let Reply::Alive(alive) = codec::decode_envelope(&bytes).unwrap() else { panic!() };
        assert_eq!(alive.finished.unwrap().problems.len(), 200);
    }
}
