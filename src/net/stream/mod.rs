//! The one-way streams of an epoch: two lanes of data to the sink, reports back to the source.
//!
//! - The source binds them ([`bound`]), the sink connects ([`connected`]). Neither reconnects: a
//!   stream that is lost stays lost, and the epoch with it.
//! - Nothing is sent before both ends have shaken hands, and nothing waits for a dead peer: each
//!   wait has an end, and the monitor is read in it.
//! - A socket may be moved to another thread, but it is never used by two.

pub mod bound;
pub mod connected;

use std::time::{Duration, Instant};

use thiserror::Error as ThisError;

use crate::error::Error;
use crate::model::limits::{CANDIDATES_MAX, DATA_HWM, FRAME_BYTES_MAX, HANDSHAKE_MS};
use crate::model::stamp::Lane;
use crate::net::monitor::{Event, Failure, Watched};
use crate::net::{Context, Frame, affinity, millis, trouble};

/// The stream has ended and the epoch with it; the words say why.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{0}")]
pub struct Lost(pub String);

impl From<Lost> for Error {
    fn from(lost: Lost) -> Error {
        Error::Network(lost.0)
    }
}

/// Whether the other end is there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Waiting,
    Up,
    Down(Lost),
}

/// Which end of the stream this is.
#[derive(Debug)]
enum End {
    /// Strangers may knock here too: the descriptors of all who are at the door, to know whose
    /// end is the sink's.
    Bound { candidates: Vec<i32>, failures: u32 },
    /// One connection, tried once.
    Connected { until: Instant },
}

/// A socket with its monitor, and what is known of the other end.
struct Stream {
    socket: Watched,
    /// For people: "the live lane", "the reports".
    name: &'static str,
    end: End,
    standing: Standing,
    /// Bytes of the frames handed to the socket or taken from it so far.
    bytes: u64,
}

impl Stream {
    /// Makes a socket that is yet to be secured, and then bound or connected.
    fn new(
        context: &Context,
        kind: zmq::SocketType,
        lane: Option<Lane>,
        end: End,
    ) -> Result<Stream, Error> {
        let socket = context.socket(kind)?;
        let set = || -> zmq::Result<()> {
            socket.set_ipv6(true)?;
            // One thread of the library for each socket keeps its events in order.
            socket.set_affinity(affinity(lane.unwrap_or(Lane::Live)))?;
            socket.set_immediate(true)?;
            socket.set_reconnect_ivl(-1)?;
            socket.set_sndhwm(DATA_HWM)?;
            socket.set_rcvhwm(DATA_HWM)?;
            socket.set_maxmsgsize(FRAME_BYTES_MAX)?;
            let handshake = i32::try_from(HANDSHAKE_MS).unwrap_or(i32::MAX);
            socket.set_handshake_ivl(handshake)?;
            socket.set_connect_timeout(handshake)?;
            socket.set_tcp_keepalive(1)?;
            socket.set_tcp_keepalive_idle(30)?;
            socket.set_tcp_keepalive_intvl(10)?;
            socket.set_tcp_keepalive_cnt(3)
        };
        set().map_err(|e| trouble("Can't set up a data socket", e))?;
        let socket = Watched::new(context, socket)?;
        let name = match lane {
            Some(Lane::Live) => "The live lane",
            Some(Lane::Backlog) => "The backlog lane",
            None => "The stream of reports",
        };
        Ok(Stream { socket, name, end, standing: Standing::Waiting, bytes: 0 })
    }

    /// Reads what has happened; true once both ends have shaken hands.
    fn tend(&mut self) -> Result<bool, Lost> {
        while let Some(event) = self.socket.next() {
            let down = match &mut self.end {
                End::Bound { candidates, failures } => {
                    let up = self.standing == Standing::Up;
                    let gone = heed_bound(&event, candidates, failures, up);
                    gone.then(|| format!("{}: the sink has gone", self.name))
                }
                End::Connected { .. } => heed_connected(&event, self.name),
            };
            if let Some(why) = down {
                self.lose(why);
            } else if event == Event::HandshakeSucceeded && self.standing == Standing::Waiting {
                self.standing = Standing::Up;
            }
        }
        if let (End::Connected { until }, Standing::Waiting) = (&self.end, &self.standing)
            && Instant::now() >= *until
        {
            self.lose(format!("{}: no connection to the source's data port in time", self.name));
        }
        match &self.standing {
            Standing::Waiting => Ok(false),
            Standing::Up => Ok(true),
            Standing::Down(lost) => Err(lost.clone()),
        }
    }

    fn lose(&mut self, why: String) {
        if !matches!(self.standing, Standing::Down(_)) {
            self.standing = Standing::Down(Lost(why));
        }
    }

    /// Waits until the socket is ready; false when the time is up.
    fn wait(&mut self, what: zmq::PollEvents, deadline: Instant) -> Result<bool, Lost> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut items = [self.socket.socket().as_poll_item(what), self.socket.poll_item()];
            match zmq::poll(&mut items, millis(left.min(self.patience()))) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(e) => return Err(Lost(format!("{}: {e}", self.name))),
            }
            // What has arrived is handed out even if the peer has gone since.
            if items[0].get_revents().intersects(what) {
                return Ok(true);
            }
            self.tend()?;
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// How long a wait may be without a look at the clock.
    fn patience(&self) -> Duration {
        match (&self.end, &self.standing) {
            (End::Connected { until }, Standing::Waiting) => {
                until.saturating_duration_since(Instant::now())
            }
            _ => Duration::MAX,
        }
    }

    /// Takes one message of at most `most` frames, which has arrived.
    fn take(&mut self, most: usize) -> Result<Option<Vec<Frame>>, Lost> {
        let mut frames = Vec::with_capacity(most);
        loop {
            match self.socket.socket().recv_msg(zmq::DONTWAIT) {
                Ok(frame) => {
                    self.bytes += frame.len() as u64;
                    frames.push(Frame(frame));
                }
                Err(zmq::Error::EINTR) => continue,
                Err(zmq::Error::EAGAIN) => return Ok(None),
                Err(e) => return Err(Lost(format!("{}: {e}", self.name))),
            }
            if !frames.last().is_some_and(|frame| frame.0.get_more()) {
                return Ok(Some(frames));
            }
            if frames.len() == most {
                return Err(self.garbled("a message of too many frames"));
            }
        }
    }

    /// The peer has broken the protocol: the stream is of no use any more.
    fn garbled(&mut self, what: &str) -> Lost {
        self.lose(format!("{}: the peer sent {what}", self.name));
        match &self.standing {
            Standing::Down(lost) => lost.clone(),
            _ => Lost(self.name.to_owned()),
        }
    }

    /// Sends frames as one message, waiting for room and for the peer until the deadline.
    fn send(&mut self, frames: Vec<Vec<u8>>, patience: Duration) -> Result<(), Lost> {
        self.tend()?;
        let limit = usize::try_from(FRAME_BYTES_MAX).unwrap_or(usize::MAX);
        if frames.iter().any(|frame| frame.len() > limit) {
            return Err(Lost(format!("{}: a frame is over {limit} bytes", self.name)));
        }
        if !self.wait(zmq::POLLOUT, Instant::now() + patience)? {
            self.lose(format!("{}: the peer takes nothing any more", self.name));
            self.tend()?;
        }
        let last = frames.len().saturating_sub(1);
        for (index, frame) in frames.into_iter().enumerate() {
            let more = if index < last { zmq::SNDMORE } else { 0 };
            self.send_frame(zmq::Message::from(frame), more)?;
        }
        Ok(())
    }

    fn send_frame(&mut self, frame: zmq::Message, more: i32) -> Result<(), Lost> {
        let bytes = frame.len() as u64;
        // The socket has just said that there is room, and only this thread sends on it.
        match self.socket.socket().send(frame, more | zmq::DONTWAIT) {
            Ok(()) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(e) => {
                self.lose(format!("{}: a message could not be sent ({e})", self.name));
                Err(Lost(format!("{}: a message could not be sent ({e})", self.name)))
            }
        }
    }
}

/// Whether an event at a bound socket means that the sink has gone.
///
/// A stranger who comes and goes must not end the epoch. The one who shook hands is known if
/// nobody else stood at the door then; if somebody did, an end after a failure is a stranger's,
/// and of the others none is believed: heartbeats find out.
fn heed_bound(event: &Event, candidates: &mut Vec<i32>, failures: &mut u32, up: bool) -> bool {
    match event {
        Event::Accepted(descriptor) if !up => {
            candidates.retain(|known| known != descriptor);
            if candidates.len() < CANDIDATES_MAX {
                candidates.push(*descriptor);
            }
            false
        }
        Event::HandshakeFailed(_) if !up => {
            *failures = failures.saturating_add(1);
            false
        }
        Event::Disconnected(descriptor) => {
            let Some(place) = candidates.iter().position(|known| known == descriptor) else {
                return false;
            };
            let alone = candidates.len() == 1;
            candidates.swap_remove(place);
            let strangers = *failures;
            *failures = if candidates.is_empty() { 0 } else { failures.saturating_sub(1) };
            up && alone && strangers == 0
        }
        _ => false,
    }
}

/// Why a connecting socket is of no use any more.
fn heed_connected(event: &Event, name: &str) -> Option<String> {
    let why = match event {
        Event::Disconnected(_) => "the connection to the source is lost",
        Event::Closed => "the source's data port can't be reached: does every firewall let it by?",
        Event::HandshakeFailed(Failure::Refused(_)) => {
            "the source refused the connection: its epoch is over, or another sink took the place"
        }
        Event::HandshakeFailed(Failure::Mechanism) => "what listens on the data port is no osync",
        Event::HandshakeFailed(failure) => {
            tracing::debug!(?failure, "A handshake on a data port failed");
            "the connection to the source ended before the handshake did"
        }
        _ => return None,
    };
    Some(format!("{name}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::connected::DataPeer;
    use super::*;
    use crate::model::key::PublicKey;
    use crate::model::message::{Body, Report};
    use crate::model::stamp::{Epoch, Stamp};
    use crate::net::curve::KeyPair;
    use crate::net::rig::{LONG, Rig, until};
    use crate::wire::codec;
    use crate::wire::data::Header;

    fn header(lane: Lane, sequence: u64) -> Header {
        Header {
            epoch: Epoch(1),
            lane,
            sequence,
            watermark: Stamp(0),
            body: Body::Chunk { transfer: 1, offset: 0, holes: false },
            packed: None,
        }
    }

    fn peer(rig: &Rig, keys: &KeyPair) -> DataPeer {
        DataPeer {
            context: Context::new().unwrap(),
            keys: keys.clone(),
            server: rig.source.public,
            address: "127.0.0.1:1".parse().unwrap(),
        }
    }

    #[test]
    fn messages_and_reports_go_round() {
        let rig = Rig::new();
        let (host, peer) = (rig.data_host(), peer(&rig, &rig.sink));
        for lane in Lane::ALL {
            let mut sender = host.lane(Epoch(1), lane, rig.sink.public).unwrap();
            assert_eq!(sender.is_connected(), Ok(false));
            let mut receiver = peer.lane(lane, sender.port()).unwrap();
            let content: Vec<u8> = (0..=255).cycle().take(512 * 1024).collect();
            for sequence in 1..=20 {
                sender.send(&header(lane, sequence), Some(content.clone())).unwrap();
            }
            sender.send(&header(lane, 21), None).unwrap();
            for sequence in 1..=20 {
                let (got, frame) = receiver.recv(LONG).unwrap().unwrap();
                assert_eq!(got, header(lane, sequence));
                assert!(frame.unwrap()[..] == content[..]);
            }
            let (_, frame) = receiver.recv(LONG).unwrap().unwrap();
            assert!(frame.is_none());
            assert_eq!(receiver.recv(Duration::ZERO).unwrap().map(|_| ()), None);
            assert_eq!((sender.is_connected(), receiver.is_connected()), (Ok(true), Ok(true)));
            let headers: u64 = (1..=21)
                .map(|number| codec::encode(&header(lane, number)).unwrap().len() as u64)
                .sum();
            assert_eq!(sender.bytes(), 20 * content.len() as u64 + headers);
        }
        let mut receiver = host.reports(Epoch(1), rig.sink.public).unwrap();
        let mut sender = peer.reports(receiver.port()).unwrap();
        let report = Report {
            epoch: Epoch(1),
            number: 1,
            answers: Vec::new(),
            durable_through: 0,
            barrier: 0,
            disturbed: Vec::new(),
            inspected: false,
        };
        sender.send(&report).unwrap();
        assert_eq!(receiver.recv(LONG).unwrap(), Some(report.clone()));
        assert_eq!(receiver.bytes(), codec::encode(&report).unwrap().len() as u64);
    }

    #[test]
    fn one_key_and_one_connection() {
        let rig = Rig::new();
        let thief = KeyPair::generate().unwrap();
        rig.gatekeeper.access().admit(thief.public);
        let mut sender = rig.data_host().lane(Epoch(1), Lane::Live, rig.sink.public).unwrap();
        let lane = |keys: &KeyPair| peer(&rig, keys).lane(Lane::Live, sender.port()).unwrap();
        let refused = |receiver: &mut connected::LaneReceiver| {
            let lost = receiver.recv(LONG).map(|_| ()).unwrap_err();
            assert!(lost.0.contains("refused"), "{lost}");
        };
        refused(&mut lane(&thief));
        let mut receiver = lane(&rig.sink);
        until(|| receiver.is_connected().unwrap());
        let mut second = lane(&rig.sink);
        refused(&mut second);
        refused(&mut lane(&thief));
        drop(second);
        // Neither the stranger's nor the second one's end is taken for the sink's.
        for sequence in 1..=10 {
            sender.send(&header(Lane::Live, sequence), None).unwrap();
            assert_eq!(receiver.recv(LONG).unwrap().unwrap().0.sequence, sequence);
        }
        drop(receiver);
        until(|| sender.is_connected().is_err());
    }

    #[test]
    fn a_lost_peer_is_noticed_at_both_ends() {
        let rig = Rig::new();
        let (host, peer) = (rig.data_host(), peer(&rig, &rig.sink));
        let mut sender = host.lane(Epoch(1), Lane::Backlog, rig.sink.public).unwrap();
        let mut receiver = peer.lane(Lane::Backlog, sender.port()).unwrap();
        sender.send(&header(Lane::Backlog, 1), Some(vec![7; 100])).unwrap();
        until(|| receiver.is_connected().unwrap());
        drop(sender);
        // What was there is handed out, and only then is the loss told.
        let mut got = 0;
        let lost = loop {
            match receiver.recv(LONG) {
                Ok(message) => got += usize::from(message.is_some()),
                Err(lost) => break lost,
            }
        };
        assert!(got <= 1 && lost.0.contains("lost"), "{got} {lost}");

        let mut reports = host.reports(Epoch(1), rig.sink.public).unwrap();
        let mut reporter = peer.reports(reports.port()).unwrap();
        until(|| reports.is_connected().unwrap() && reporter.is_connected().unwrap());
        drop(reporter);
        assert!(reports.recv(LONG).unwrap_err().0.contains("gone"));
        let mut sender = host.lane(Epoch(1), Lane::Live, rig.sink.public).unwrap();
        let receiver = peer.lane(Lane::Live, sender.port()).unwrap();
        until(|| sender.is_connected().unwrap());
        drop(receiver);
        until(|| sender.is_connected().is_err());
        assert!(sender.send(&header(Lane::Live, 1), None).is_err());
    }

    #[test]
    fn a_port_where_nobody_listens_is_lost() {
        let rig = Rig::new();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut receiver = peer(&rig, &rig.sink).lane(Lane::Live, closed.port()).unwrap();
        let lost = receiver.recv(LONG).map(|_| ()).unwrap_err();
        assert!(lost.0.contains("firewall"), "{lost}");
    }

    #[test]
    fn the_other_lane_and_rubbish_are_refused() {
        let rig = Rig::new();
        let (host, peer) = (rig.data_host(), peer(&rig, &rig.sink));
        let mut sender = host.lane(Epoch(1), Lane::Live, rig.sink.public).unwrap();
        let mut receiver = peer.lane(Lane::Live, sender.port()).unwrap();
        sender.send(&header(Lane::Backlog, 1), None).unwrap();
        assert!(receiver.recv(LONG).is_err());
        // A stream that is lost stays lost.
        assert!(receiver.is_connected().is_err());

        let mut reports = host.reports(Epoch(1), rig.sink.public).unwrap();
        let mut reporter = peer.reports(reports.port()).unwrap();
        reporter.send_raw(vec![b"rubbish".to_vec()]).unwrap();
        assert!(reports.recv(LONG).unwrap_err().0.contains("malformed"));
    }

    #[test]
    fn a_range_without_a_free_port_is_a_sentence() {
        let rig = Rig::new();
        let mut host = rig.data_host();
        let first = host.lane(Epoch(1), Lane::Live, PublicKey([0; 32])).unwrap();
        host.ports = Some(first.port().to_string().parse().unwrap());
        let full = host.lane(Epoch(1), Lane::Backlog, PublicKey([0; 32]));
        let sentence = full.err().unwrap().to_string();
        assert!(sentence.contains("--data-ports"), "{sentence}");
    }

    #[test]
    fn strangers_at_the_door_are_told_apart() {
        let (mut candidates, mut failures) = (Vec::new(), 0);
        let mut heed = |event, up| heed_bound(&event, &mut candidates, &mut failures, up);
        let failed = || Event::HandshakeFailed(Failure::CutShort);
        // One that fails before the sink comes, then the sink alone.
        assert!(!heed(Event::Accepted(5), false));
        assert!(!heed(failed(), false));
        assert!(!heed(Event::Disconnected(5), false));
        assert!(!heed(Event::Accepted(5), false));
        assert!(!heed(Event::HandshakeSucceeded, false));
        // Strangers that come later are none of the candidates.
        assert!(!heed(Event::Accepted(6), true));
        assert!(!heed(failed(), true));
        assert!(!heed(Event::Disconnected(6), true));
        assert!(heed(Event::Disconnected(5), true));
    }
}
