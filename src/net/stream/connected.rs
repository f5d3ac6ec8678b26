//! The sink's ends: [`LaneReceiver`] and [`ReportSender`], each for one epoch.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::model::key::PublicKey;
use crate::model::limits::{HANDSHAKE_MS, SEND_MS};
use crate::model::message::Report;
use crate::model::stamp::Lane;
use crate::net::curve::{self, KeyPair};
use crate::net::stream::{End, Lost, Stream};
use crate::net::{Context, Frame, sys};
use crate::wire::codec;
use crate::wire::data::Header;

/// Where and as whom a sink connects its data sockets.
#[derive(Clone)]
pub struct DataPeer {
    /// The network of the sink.
    pub context: Context,
    /// The sink's key.
    pub keys: KeyPair,
    /// The source's key.
    pub server: PublicKey,
    /// Where the source is; the ports differ.
    pub address: SocketAddr,
}

impl DataPeer {
    /// Begins to connect the receiving end of a lane.
    ///
    /// # Errors
    /// When the system has no room.
    pub fn lane(&self, lane: Lane, port: u16) -> Result<LaneReceiver, Error> {
        Ok(LaneReceiver { stream: self.open(zmq::PULL, Some(lane), port)?, lane })
    }

    /// Begins to connect the sending end of the reports.
    ///
    /// # Errors
    /// When the system has no room.
    pub fn reports(&self, port: u16) -> Result<ReportSender, Error> {
        Ok(ReportSender { stream: self.open(zmq::PUSH, None, port)? })
    }

    fn open(&self, kind: zmq::SocketType, lane: Option<Lane>, port: u16) -> Result<Stream, Error> {
        let until = Instant::now() + Duration::from_millis(2 * HANDSHAKE_MS);
        let mut stream = Stream::new(&self.context, kind, lane, End::Connected { until })?;
        curve::present(stream.socket.socket(), &self.keys, &self.server)?;
        let mut address = self.address;
        address.set_port(port);
        sys::connect(stream.socket.socket_mut(), &format!("tcp://{address}"))
            .map_err(|e| Error::Network(format!("Can't connect to {address}: {e}")))?;
        Ok(stream)
    }

    /// The IP address of the source.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

/// Receives the messages of one lane. May be moved to its thread, and is used only there.
pub struct LaneReceiver {
    stream: Stream,
    lane: Lane,
}

impl LaneReceiver {
    /// Whether the source has let this end in.
    ///
    /// # Errors
    /// When it refused, or could not be reached in time, or has gone.
    pub fn is_connected(&mut self) -> Result<bool, Lost> {
        self.stream.tend()
    }

    /// Waits for a message: its header and, as it arrived, its content; none when the time is up.
    /// What had arrived before the source went is still handed out.
    ///
    /// # Errors
    /// When the source has gone or sends what is no message of this lane: the epoch is over.
    pub fn recv(&mut self, timeout: Duration) -> Result<Option<(Header, Option<Frame>)>, Lost> {
        if !self.stream.wait(zmq::POLLIN, Instant::now() + timeout)? {
            return Ok(None);
        }
        let Some(frames) = self.stream.take(2)? else { return Ok(None) };
        let mut frames = frames.into_iter();
        let header = frames.next().map(|frame| codec::decode::<Header>(&frame));
        match header {
            Some(Ok(header)) if header.lane == self.lane => Ok(Some((header, frames.next()))),
            Some(Ok(_)) => Err(self.stream.garbled("a message of the other lane")),
            _ => Err(self.stream.garbled("a malformed message")),
        }
    }
}

/// Sends reports. May be moved to its thread, and is used only there.
pub struct ReportSender {
    stream: Stream,
}

impl ReportSender {
    /// Whether the source has let this end in.
    ///
    /// # Errors
    /// When it refused, or could not be reached in time, or has gone.
    pub fn is_connected(&mut self) -> Result<bool, Lost> {
        self.stream.tend()
    }

    #[cfg(test)]
    pub(super) fn send_raw(&mut self, frames: Vec<Vec<u8>>) -> Result<(), Lost> {
        self.stream.send(frames, Duration::from_millis(SEND_MS))
    }

    /// Sends a report. Waits for the connection and for room, but not for ever.
    ///
    /// # Errors
    /// When the source has gone, or takes nothing any more: the epoch is over.
    pub fn send(&mut self, report: &Report) -> Result<(), Lost> {
        let report = codec::encode(report).map_err(|e| Lost(e.to_string()))?;
        self.stream.send(vec![report], Duration::from_millis(SEND_MS))
    }
}
