//! The source's ends: [`LaneSender`] and [`ReportReceiver`], each for one sink and one epoch.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::model::key::PublicKey;
use crate::model::limits::SEND_MS;
use crate::model::message::Report;
use crate::model::stamp::{Epoch, Lane};
use crate::net::Context;
use crate::net::curve::{self, KeyPair};
use crate::net::ports::{self, DATA_PORT_FIRST, PortRange};
use crate::net::stream::{End, Lost, Stream};
use crate::net::zap::{Access, Door};
use crate::wire::codec;
use crate::wire::data::Header;

/// Where and how a source binds its data sockets.
#[derive(Clone)]
pub struct DataHost {
    /// The network of the source.
    pub context: Context,
    /// The source's key.
    pub keys: KeyPair,
    /// The table of the gatekeeper.
    pub access: Access,
    /// The address to listen on; `*` for all.
    pub address: String,
    /// The ports to choose from; by default the free ones from 9754 up.
    pub ports: Option<PortRange>,
}

impl DataHost {
    /// Binds the sending end of a lane, for one connection of one sink.
    ///
    /// # Errors
    /// When no port is free or the system has no room.
    pub fn lane(&self, epoch: Epoch, lane: Lane, sink: PublicKey) -> Result<LaneSender, Error> {
        let (stream, door, port) = self.open(zmq::PUSH, Some(lane), epoch, sink)?;
        Ok(LaneSender { stream, _door: door, port })
    }

    /// Binds the receiving end of the reports, for one connection of one sink.
    ///
    /// # Errors
    /// When no port is free or the system has no room.
    pub fn reports(&self, epoch: Epoch, sink: PublicKey) -> Result<ReportReceiver, Error> {
        let (stream, door, port) = self.open(zmq::PULL, None, epoch, sink)?;
        Ok(ReportReceiver { stream, _door: door, port })
    }

    fn open(
        &self,
        kind: zmq::SocketType,
        lane: Option<Lane>,
        epoch: Epoch,
        sink: PublicKey,
    ) -> Result<(Stream, Door, u16), Error> {
        let end = End::Bound { candidates: Vec::new(), failures: 0 };
        let mut stream = Stream::new(&self.context, kind, lane, end)?;
        let door = self.access.open_door(epoch.0, sink);
        curve::guard(stream.socket.socket_mut(), &self.keys, door.domain())?;
        let range = self.ports.unwrap_or_else(|| PortRange::below_ephemeral(DATA_PORT_FIRST));
        let port = ports::bind_free(stream.socket.socket_mut(), &self.address, range)?;
        Ok((stream, door, port))
    }
}

/// Sends the messages of one lane. May be moved to its thread, and is used only there.
pub struct LaneSender {
    stream: Stream,
    _door: Door,
    port: u16,
}

impl LaneSender {
    /// The port that the sink has to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes of all frames that were handed to the socket.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.stream.bytes
    }

    /// Whether the sink has connected. To be asked every now and then while nothing is sent: only
    /// then is a lost sink noticed.
    ///
    /// # Errors
    /// When the sink had connected and has gone.
    pub fn is_connected(&mut self) -> Result<bool, Lost> {
        self.stream.tend()
    }

    /// Sends a header and, without copying it, at most one content frame. Waits for the sink to
    /// connect and for room, but not for ever.
    ///
    /// # Errors
    /// When the sink has gone, or takes nothing any more: the epoch is over.
    pub fn send(&mut self, header: &Header, content: Option<Vec<u8>>) -> Result<(), Lost> {
        let header = codec::encode(header).map_err(|e| Lost(e.to_string()))?;
        let frames = std::iter::once(header).chain(content).collect();
        self.stream.send(frames, Duration::from_millis(SEND_MS))
    }
}

/// Receives the sink's reports, in a thread that never sends. May be moved to that thread.
pub struct ReportReceiver {
    stream: Stream,
    _door: Door,
    port: u16,
}

impl ReportReceiver {
    /// The port that the sink has to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes of all frames that were taken from the socket.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.stream.bytes
    }

    /// Whether the sink has connected.
    ///
    /// # Errors
    /// When the sink had connected and has gone.
    pub fn is_connected(&mut self) -> Result<bool, Lost> {
        self.stream.tend()
    }

    /// Waits for a report; none when the time is up.
    ///
    /// # Errors
    /// When the sink has gone or sends what is no report: the epoch is over.
    pub fn recv(&mut self, timeout: Duration) -> Result<Option<Report>, Lost> {
        if !self.stream.wait(zmq::POLLIN, Instant::now() + timeout)? {
            return Ok(None);
        }
        let Some(frames) = self.stream.take(1)? else { return Ok(None) };
        let report = frames.first().map(|frame| codec::decode::<Report>(frame));
        match report {
            Some(Ok(report)) => Ok(Some(report)),
            _ => Err(self.stream.garbled("a malformed report")),
        }
    }
}
