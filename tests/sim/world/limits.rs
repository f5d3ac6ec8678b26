//! What a person limits at the source, and what is seen of it from outside: bytes as they are on
//! the wire, and operations on the disk.

use std::time::Duration;

use osync::flow::session::Outgoing;
use osync::model::look::{LookDone, LookJob, Seen};
use osync::model::stamp::Lane;
use osync::wire::codec::encode;
use osync::wire::data::Header;

use super::World;

/// Bytes a second, and operations a second.
#[derive(Debug, Default)]
pub struct Limits {
    /// For each sink.
    pub bytes: Option<u64>,
    /// Of the backlog.
    pub operations: Option<u64>,
    /// What has left while bytes were limited.
    pub sent: Vec<Sent>,
    /// Operations on the disk that the backlog has asked for, with the times of them.
    pub looked: Vec<(Duration, u64)>,
}

/// A message that left.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub at: Duration,
    pub lane: Lane,
    /// Of its frames.
    pub bytes: u64,
}

impl Sent {
    fn of(message: &Outgoing, at: Duration) -> Sent {
        let Outgoing { epoch, lane, sequence, watermark, ref body, ref content, .. } = *message;
        let header = Header { epoch, lane, sequence, watermark, body: body.clone(), packed: None };
        let bytes = encode(&header).unwrap().len() + content.as_ref().map_or(0, Vec::len);
        Sent { at, lane, bytes: bytes as u64 }
    }
}

impl Limits {
    /// Notes what leaves, while that is limited.
    pub(super) fn note_sent(&mut self, message: &Outgoing, now: Duration) {
        if self.bytes.is_some() {
            self.sent.push(Sent::of(message, now));
        }
    }

    /// Notes what a look of the backlog cost, counted by what it saw.
    pub(super) fn note_look(&mut self, job: &LookJob, done: &LookDone, now: Duration) {
        let cost = match &done.seen {
            Seen::Part { entries, .. } => 1 + entries.len(),
            Seen::Names { sights, .. } => sights.len(),
            Seen::Paths(paths) => paths.len(),
            _ => 1,
        };
        if !job.urgent && self.operations.is_some() {
            self.looked.push((now, cost as u64));
        }
    }
}

impl World {
    /// The person at the source sets limits.
    pub fn limit(&mut self, bytes: Option<u64>, operations: Option<u64>) {
        (self.limits.bytes, self.limits.operations) = (bytes, operations);
        self.apply_limits();
    }

    /// Tells the director of them.
    pub(super) fn apply_limits(&mut self) {
        for sink in &self.sinks {
            self.director.limit_rate(sink.id, self.limits.bytes, self.now);
        }
        self.director.limit_operations(self.limits.operations, self.now);
    }
}
