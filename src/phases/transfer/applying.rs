//! The sink's lanes: one receiver each, and the appliers behind them.
//!
//! - Live overtakes backlog here too: one applier serves live alone, the others prefer it; one
//!   serves backlog alone, so that neither starves (law 5).
//! - Chunks of transfers concern no name and need their order: one thread writes them.
//! - When the epoch is over, what still waits is thrown away (H9).

use std::time::Duration;

use crossbeam_channel::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, select,
};

use crate::error::Error;
use crate::flow::applier::Applier;
use crate::model::delta;
use crate::model::message::{Body, MessageAnswer};
use crate::model::op::{Answer, Failure, Need};
use crate::model::stamp::{Lane, Sequence};
use crate::model::target::Obstacle;
use crate::monitor::Monitor;
use crate::net::Frame;
use crate::net::stream::connected::LaneReceiver;
use crate::phases::call_thread;
use crate::phases::transfer::pulse::{Guarded, Pulse, Unsaved};
use crate::phases::transfer::steering::Manners;
use crate::tree::sink_root::SinkRoot;
use crate::wire::data::Header;
use crate::wire::packing::Unpacker;

/// How long a thread waits before it looks whether the epoch is over.
const TEND: Duration = Duration::from_millis(50);
/// How often an idle applier sees what it is to take.
const IDLE: Duration = Duration::from_millis(500);
const NO_ROOM: &str =
    "The sink's filesystem is full: make room there; content waits, removals go on";
const READ_ONLY: &str = "The sink's filesystem is read-only: see to it; everything waits";

/// A message that has arrived.
pub struct Arrived {
    header: Header,
    content: Option<Frame>,
}

/// Unpacks contents for one thread.
#[derive(Default)]
struct Opener(Option<Unpacker>);

impl Opener {
    /// The content of a message, as it was before it was packed; nothing if it is not what was
    /// announced, which ends the epoch.
    fn open(&mut self, header: &Header, content: Option<Frame>, pulse: &Pulse) -> Option<Content> {
        let (frame, plain) = match (content, header.packed) {
            (Some(frame), Some(plain)) => (frame, plain),
            (content, _) => return Some(Content::Arrived(content)),
        };
        let unpacked = self.unpacker().and_then(|unpacker| unpacker.unpack(&frame, plain));
        unpacked.map(Content::Unpacked).map_err(|error| pulse.lose(error.to_string())).ok()
    }

    fn unpacker(&mut self) -> Result<&mut Unpacker, Error> {
        match &mut self.0 {
            Some(unpacker) => Ok(unpacker),
            none => Ok(none.insert(Unpacker::new()?)),
        }
    }
}

/// The content of a message.
enum Content {
    /// As it arrived, if there is any.
    Arrived(Option<Frame>),
    /// It had been packed.
    Unpacked(Vec<u8>),
}

impl std::ops::Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Content::Arrived(frame) => frame.as_deref().unwrap_or_default(),
            Content::Unpacked(bytes) => bytes,
        }
    }
}

/// The answer to a message, with what it applied.
pub struct Answered {
    /// For the source.
    pub answer: MessageAnswer,
    /// For the durable barrier.
    pub applied: Unsaved,
}

/// Where a receiver puts messages.
#[derive(Clone)]
pub struct Inlet {
    /// What the appliers of this lane take.
    pub names: Sender<Arrived>,
    /// Chunks and drops.
    pub chunks: Sender<Arrived>,
}

/// What an applier is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Live alone.
    Live,
    /// Backlog alone.
    Backlog,
    /// Live, and backlog when there is nothing live; but this lane alone while the backlog is to
    /// be gentle.
    Any(Lane),
}

/// The queues of the appliers.
#[derive(Clone)]
pub struct Queues {
    /// Of the live lane.
    pub live: Receiver<Arrived>,
    /// Of the backlog lane.
    pub backlog: Receiver<Arrived>,
}

/// Receives one lane until the epoch is over, or the process about to end: what comes then would
/// be applied and never answered. A hole in the numbers ends it.
pub fn receive(mut socket: LaneReceiver, lane: Lane, inlet: &Inlet, pulse: &Pulse) {
    let _guarded = Guarded(pulse);
    call_thread([c"recv-live", c"recv-backlog"][lane.index()]);
    let mut manners = Manners::new(pulse.steering.clone());
    let mut last: Sequence = 0;
    while !pulse.is_over() && !pulse.wants_last_barrier() {
        let (header, content) = match socket.recv(TEND) {
            Ok(Some(message)) => message,
            Ok(None) => continue,
            Err(lost) => return pulse.lose(lost.0),
        };
        if header.epoch != pulse.epoch {
            continue;
        }
        if lane == Lane::Backlog {
            manners.mind();
        }
        if header.sequence != last + 1 {
            let got = header.sequence;
            return pulse.lose(format!("{lane:?} message {got} came after message {last}"));
        }
        last = header.sequence;
        if !is_whole(&header, content.as_deref()) {
            return pulse.lose(format!("{lane:?} message {last} has not the content it speaks of"));
        }
        let queue = match header.body {
            Body::Operations(_) | Body::Listing(_) | Body::Sign { .. } => &inlet.names,
            Body::Chunk { .. } | Body::Basis { .. } | Body::Delta { .. } | Body::Drop { .. } => {
                &inlet.chunks
            }
        };
        pulse.saw(lane, last);
        if !put(queue, Arrived { header, content }, pulse) {
            return;
        }
    }
}

/// Whether the content frame is as long, or is said to be when unpacked, as the body says.
fn is_whole(header: &Header, content: Option<&[u8]>) -> bool {
    if header.packed.is_some() && content.is_none() {
        return false;
    }
    if let Body::Delta { pieces, .. } = &header.body
        && !delta::are_bounded(pieces)
    {
        return false;
    }
    let bytes = header.packed.map_or(content.map_or(0, <[u8]>::len) as u64, u64::from);
    header.body.frame_bytes().map_or(content.is_some(), |told| told == bytes)
}

/// Queues a value, waiting for room; false when the epoch is over.
fn put<V>(queue: &Sender<V>, mut value: V, pulse: &Pulse) -> bool {
    while !pulse.is_over() {
        match queue.send_timeout(value, TEND) {
            Ok(()) => return true,
            Err(SendTimeoutError::Timeout(back)) => value = back,
            Err(SendTimeoutError::Disconnected(_)) => return false,
        }
    }
    false
}

impl Queues {
    /// The next message for an applier; none when no more will come.
    fn next(&self, duty: Duty, manners: &mut Manners) -> Option<Arrived> {
        match duty {
            Duty::Live => self.live.recv().ok(),
            Duty::Backlog => {
                let message = self.backlog.recv().ok();
                manners.mind();
                message
            }
            Duty::Any(Lane::Live) => self.any(&self.live, &mut || manners.is_gentle()),
            Duty::Any(Lane::Backlog) => self.any(&self.backlog, &mut || manners.mind()),
        }
    }

    /// The next message of any lane, live first; of `own` alone while the backlog is gentle.
    fn any(&self, own: &Receiver<Arrived>, is_gentle: &mut dyn FnMut() -> bool) -> Option<Arrived> {
        loop {
            if is_gentle() {
                match own.recv_timeout(IDLE) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    message => return message.ok(),
                }
            }
            match self.live.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Disconnected) => return self.backlog.recv().ok(),
                Err(TryRecvError::Empty) => {}
            }
            select! {
                recv(self.live) -> message => {
                    return message.or_else(|_| self.backlog.recv()).ok();
                }
                recv(self.backlog) -> message => {
                    return message.or_else(|_| self.live.recv()).ok();
                }
                default(IDLE) => {}
            }
        }
    }
}

/// Applies messages until no more come; once the epoch is over they are thrown away.
pub fn apply(
    duty: Duty,
    queues: &Queues,
    applier: &Applier<SinkRoot>,
    answers: &Sender<Answered>,
    (pulse, monitor): (&Pulse, &dyn Monitor),
) {
    let _guarded = Guarded(pulse);
    call_thread(match duty {
        Duty::Live => c"apply-live",
        Duty::Backlog => c"apply-backlog",
        Duty::Any(_) => c"apply",
    });
    let mut manners = Manners::new(pulse.steering.clone());
    let mut opener = Opener::default();
    while let Some(Arrived { header, content }) = queues.next(duty, &mut manners) {
        if pulse.is_over() {
            continue;
        }
        let Some(content) = opener.open(&header, content, pulse) else { continue };
        let place = (header.lane, header.sequence);
        let answer = applier.execute(place, header.watermark, &header.body, &content);
        let Some(answer) = answer else { continue };
        applier.take_items().iter().for_each(|item| monitor.item(item));
        for (index, exception) in &answer.exceptions {
            tracing::debug!(message = ?place, index, ?exception, "not applied");
        }
        if let Some(text) = trouble(&answer) {
            pulse.note_trouble(text);
        }
        let applied = Unsaved { operations: tried(&header.body), bytes: content.len() as u64 };
        put(answers, Answered { answer, applied }, pulse);
    }
}

/// Writes the chunks of transfers in their order, until no more come.
pub fn take_chunks(
    chunks: &Receiver<Arrived>,
    applier: &Applier<SinkRoot>,
    answers: &Sender<Answered>,
    pulse: &Pulse,
) {
    let _guarded = Guarded(pulse);
    call_thread(c"chunks");
    let mut manners = Manners::new(pulse.steering.clone());
    let mut opener = Opener::default();
    for Arrived { header, content } in chunks {
        manners.mind();
        if pulse.is_over() {
            continue;
        }
        let Some(content) = opener.open(&header, content, pulse) else { continue };
        let mut exceptions = Vec::new();
        let root = applier.target();
        let mut copied = 0;
        match header.body {
            Body::Operations(_) | Body::Listing(_) | Body::Sign { .. } => continue,
            // In a dry run content is taken and dropped.
            _ if applier.is_dry() => {}
            Body::Chunk { transfer, offset, holes } => {
                if let Err(obstacle) = root.write_chunk(transfer, offset, &content, holes) {
                    exceptions.push((0, Answer::Failed(failure(obstacle))));
                }
            }
            Body::Basis { transfer, path, of } => match root.open_basis(transfer, &path, of) {
                Ok(true) => {}
                Ok(false) => exceptions.push((0, Answer::Needed(Need::Content))),
                Err(obstacle) => exceptions.push((0, Answer::Failed(failure(obstacle)))),
            },
            Body::Delta { transfer, holes, pieces } => {
                match root.put_together(transfer, &pieces, &content, holes) {
                    Ok(bytes) => copied = bytes,
                    Err(Obstacle::Missing) => {
                        exceptions.push((0, Answer::Needed(Need::Transfer)));
                    }
                    Err(obstacle) => exceptions.push((0, Answer::Failed(failure(obstacle)))),
                }
            }
            Body::Drop { transfer } => root.drop_transfer(transfer),
        }
        let (lane, sequence) = (header.lane, header.sequence);
        let (made, lacking) = (vec![], vec![]);
        let (listing, signature) = (None, vec![]);
        let answer =
            MessageAnswer { lane, sequence, exceptions, made, lacking, listing, signature };
        if let Some(text) = trouble(&answer) {
            pulse.note_trouble(text);
        }
        let applied = Unsaved { operations: 0, bytes: content.len() as u64 + copied };
        put(answers, Answered { answer, applied }, pulse);
    }
}

fn failure(obstacle: Obstacle) -> Failure {
    match obstacle {
        Obstacle::NoRoom => Failure::NoRoom,
        Obstacle::ReadOnly => Failure::ReadOnly,
        Obstacle::Other(text) => Failure::Other(text),
        other => Failure::Other(format!("Can't write to the staged file: {other:?}")),
    }
}

/// What a person should know of an answer: that the filesystem takes nothing.
fn trouble(answer: &MessageAnswer) -> Option<&'static str> {
    let words = |answer: &Answer| match answer {
        Answer::Failed(Failure::NoRoom) => Some(NO_ROOM),
        Answer::Failed(Failure::ReadOnly) => Some(READ_ONLY),
        _ => None,
    };
    let of_listing = answer.listing.as_ref().and_then(|listing| listing.failed.as_ref());
    answer.exceptions.iter().map(|(_, answer)| answer).chain(of_listing).find_map(words)
}

fn tried(body: &Body) -> u64 {
    match body {
        Body::Operations(operations) => operations.len() as u64,
        Body::Listing(part) => part.entries.len() as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::{Arrived, Duty, Manners, Queues, is_whole};
    use crate::model::delta::Piece;
    use crate::model::entry::{Attributes, FileTime, Hash, Meta};
    use crate::model::message::Body;
    use crate::model::op::{Op, Operation};
    use crate::model::path::RelPath;
    use crate::model::setting::Setting;
    use crate::model::stamp::{Epoch, Lane, Stamp};
    use crate::phases::transfer::steering::Steering;
    use crate::wire::data::Header;

    fn arrived(lane: Lane, sequence: u64) -> Arrived {
        let (epoch, watermark) = (Epoch(1), Stamp(0));
        let body = Body::Drop { transfer: 1 };
        let header = Header { epoch, lane, sequence, watermark, body, packed: None };
        Arrived { header, content: None }
    }

    #[test]
    fn live_comes_first_and_neither_starves() {
        let (live, live_queue) = bounded(8);
        let (backlog, backlog_queue) = bounded(8);
        let queues = Queues { live: live_queue, backlog: backlog_queue };
        for sequence in 1..=3 {
            backlog.send(arrived(Lane::Backlog, sequence)).unwrap();
            live.send(arrived(Lane::Live, sequence)).unwrap();
        }
        let mut manners = Manners::new(Steering::default());
        let mut next = |duty| {
            let Arrived { header, .. } = queues.next(duty, &mut manners).unwrap();
            (header.lane, header.sequence)
        };
        assert_eq!(next(Duty::Any(Lane::Live)), (Lane::Live, 1));
        assert_eq!(next(Duty::Backlog), (Lane::Backlog, 1));
        assert_eq!(next(Duty::Live), (Lane::Live, 2));
        assert_eq!(next(Duty::Any(Lane::Live)), (Lane::Live, 3));
        assert_eq!(next(Duty::Any(Lane::Live)), (Lane::Backlog, 2));
        drop(live);
        assert_eq!(next(Duty::Any(Lane::Live)), (Lane::Backlog, 3));
        drop(backlog);
        let mut manners = Manners::new(Steering::default());
        for duty in [Duty::Any(Lane::Live), Duty::Live, Duty::Backlog] {
            assert!(queues.next(duty, &mut manners).is_none());
        }
    }

    #[test]
    fn while_the_backlog_is_gentle_each_applier_keeps_to_its_lane() {
        let (live, live_queue) = bounded(8);
        let (backlog, backlog_queue) = bounded(8);
        let queues = Queues { live: live_queue, backlog: backlog_queue };
        live.send(arrived(Lane::Live, 1)).unwrap();
        backlog.send(arrived(Lane::Backlog, 1)).unwrap();
        backlog.send(arrived(Lane::Backlog, 2)).unwrap();
        let steering = Steering::default();
        steering.set(Setting::parse("nice", "5").unwrap()).unwrap();
        // In a thread of its own, which becomes gentle.
        let taken = std::thread::spawn(move || {
            let mut manners = Manners::new(steering.clone());
            let mut next = |lane| queues.next(Duty::Any(lane), &mut manners).unwrap().header.lane;
            let gentle = [next(Lane::Backlog), next(Lane::Live)];
            drop((live, backlog));
            let last = next(Lane::Backlog);
            (gentle, last, queues.next(Duty::Any(Lane::Live), &mut manners).is_none())
        });
        let taken = taken.join().unwrap();
        assert_eq!(taken, ([Lane::Backlog, Lane::Live], Lane::Backlog, true));
    }

    #[test]
    fn content_is_as_long_as_the_operations_say() {
        let attributes = Attributes::plain(Meta::plain(0, 0, 0, FileTime::default()));
        let put = |size| Operation {
            stamp: Stamp(1),
            op: Op::Put {
                path: RelPath::root(),
                size,
                attributes: attributes.clone(),
                hash: Hash([0; 32]),
            },
        };
        let whole = |body: &Body, packed, content| {
            let Arrived { header, .. } = arrived(Lane::Live, 1);
            is_whole(&Header { body: body.clone(), packed, ..header }, content)
        };
        let two = Body::Operations(vec![put(1), put(2)]);
        assert!(whole(&two, None, Some(b"abc")));
        assert!(!whole(&two, None, Some(b"abcd")) && !whole(&two, None, None));
        let vast = Body::Operations(vec![put(u64::MAX), put(4)]);
        assert!(!whole(&vast, None, Some(b"abc")));
        assert!(whole(&Body::Operations(vec![put(0)]), None, None));
        let chunk = Body::Chunk { transfer: 1, offset: 0, holes: false };
        assert!(!whole(&chunk, None, None) && whole(&chunk, Some(7), Some(b"x")));
        let delta = |ranges: &[(u64, u64)]| {
            let from = Some(0);
            let piece = |&(offset, bytes): &(u64, u64)| Piece { offset, bytes, from };
            Body::Delta { transfer: 1, holes: false, pieces: ranges.iter().map(piece).collect() }
        };
        assert!(whole(&delta(&[(0, 5), (5, 1)]), None, Some(b"")));
        for ranges in [&[(0, 5), (4, 1)][..], &[(5, 1), (0, 5)], &[(0, u64::MAX)]] {
            assert!(!whole(&delta(ranges), None, Some(b"")), "{ranges:?}");
        }
        let drop = Body::Drop { transfer: 1 };
        assert!(!whole(&drop, None, Some(b"x")) && !whole(&drop, Some(1), Some(b"x")));
        // What was packed is as long as it was before.
        assert!(whole(&two, Some(3), Some(b"any")) && !whole(&two, Some(2), Some(b"any")));
        assert!(!whole(&two, Some(3), None) && !whole(&Body::Operations(vec![]), Some(0), None));
    }
}
