//! The sink's data threads of one epoch: receive, apply, answer, make durable.
//!
//! - Two receivers check the sequence of their lanes: a hole ends the epoch (law 4).
//! - One applier takes live messages only, one backlog only, the others prefer live (law 5).
//! - The reporter folds what answers there are into one report; it waits for nobody's disk.
//! - The barrier thread says what has become durable: all that was answered `applied` in reports
//!   sent before its syncfs began (H29).
//! - When the epoch is over, what is not yet applied is thrown away, and all threads are joined
//!   before another epoch begins (H9).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, select_biased};

use crate::flow::applier::Applier;
use crate::model::limits::{ANSWERS_PER_REPORT, BARRIER_BYTES, BARRIER_OPS};
use crate::model::message::{Body, MessageAnswer, Report};
use crate::model::op::{Answer, Failure};
use crate::model::stamp::{Epoch, Lane, Sequence};
use crate::model::target::Obstacle;
use crate::net::Frame;
use crate::net::stream::connected::{LaneReceiver, ReportSender};
use crate::tree::sink_root::SinkRoot;
use crate::wire::data::Header;

/// How long a thread waits before it looks whether the epoch is over.
const TEND: Duration = Duration::from_millis(50);
/// Longest time between two durable barriers while something is applied.
const BARRIER_EVERY: Duration = Duration::from_secs(5);

/// A message that waits for an applier.
pub type Arrived = (Header, Option<Frame>);

/// What the threads of one epoch share.
pub struct Epochal {
    /// The epoch.
    pub epoch: Epoch,
    /// Applies messages.
    pub applier: Applier<SinkRoot>,
    seen: [AtomicU64; 2],
    reports_sent: AtomicU64,
    durable: Mutex<(u64, u64)>,
    applied_ops: AtomicU64,
    applied_bytes: AtomicU64,
    over: AtomicBool,
    why: Mutex<Option<String>>,
    trouble: Mutex<Option<String>>,
}

impl Epochal {
    /// An epoch in which nothing has arrived.
    #[must_use]
    pub fn new(epoch: Epoch, applier: Applier<SinkRoot>) -> Arc<Epochal> {
        Arc::new(Epochal {
            epoch,
            applier,
            seen: [AtomicU64::new(0), AtomicU64::new(0)],
            reports_sent: AtomicU64::new(0),
            durable: Mutex::new((0, 0)),
            applied_ops: AtomicU64::new(0),
            applied_bytes: AtomicU64::new(0),
            over: AtomicBool::new(false),
            why: Mutex::new(None),
            trouble: Mutex::new(None),
        })
    }

    /// Ends the epoch; the first reason given stands.
    pub fn end(&self, why: impl Into<String>) {
        let mut known = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_with(|| why.into());
        drop(known);
        self.over.store(true, Ordering::Release);
    }

    /// Whether the epoch is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Why it is over.
    #[must_use]
    pub fn why(&self) -> String {
        let known = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone().unwrap_or_default()
    }

    /// Last sequence number seen, by lane index.
    #[must_use]
    pub fn seen(&self) -> [Sequence; 2] {
        [0, 1].map(|lane: usize| self.seen[lane].load(Ordering::Acquire))
    }

    /// Number of the last report sent.
    #[must_use]
    pub fn reports_sent(&self) -> u64 {
        self.reports_sent.load(Ordering::Acquire)
    }

    /// Something a person should know, if there is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Receives one lane until the epoch is over.
pub fn receive(epochal: &Epochal, lane: Lane, mut socket: LaneReceiver, out: &Sender<Arrived>) {
    let seen = &epochal.seen[lane.index()];
    while !epochal.is_over() {
        let (header, content) = match socket.recv(TEND) {
            Ok(Some(arrived)) => arrived,
            Ok(None) => continue,
            Err(lost) => return epochal.end(lost.0),
        };
        if header.epoch != epochal.epoch {
            continue;
        }
        let expected = seen.load(Ordering::Acquire) + 1;
        if header.sequence != expected {
            let got = header.sequence;
            return epochal.end(format!("Message {got} came where {expected} was due"));
        }
        seen.store(header.sequence, Ordering::Release);
        if !hand_on(epochal, out, (header, content)) {
            return;
        }
    }
}

/// Sends into a bounded channel, waiting for room while the epoch lasts.
fn hand_on<T>(epochal: &Epochal, out: &Sender<T>, mut value: T) -> bool {
    loop {
        match out.send_timeout(value, TEND) {
            Ok(()) => return true,
            Err(SendTimeoutError::Disconnected(_)) => return false,
            Err(SendTimeoutError::Timeout(again)) if !epochal.is_over() => value = again,
            Err(SendTimeoutError::Timeout(_)) => return false,
        }
    }
}

/// Applies the messages of one lane until the epoch is over.
pub fn apply_one(epochal: &Epochal, arrived: &Receiver<Arrived>, answers: &Sender<MessageAnswer>) {
    while !epochal.is_over() {
        match arrived.recv_timeout(TEND) {
            Ok(message) => apply(epochal, message, answers),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Applies the messages of both lanes, live first, until the epoch is over.
pub fn apply_both(
    epochal: &Epochal,
    live: &Receiver<Arrived>,
    backlog: &Receiver<Arrived>,
    answers: &Sender<MessageAnswer>,
) {
    while !epochal.is_over() {
        let message = select_biased! {
            recv(live) -> message => message,
            recv(backlog) -> message => message,
            default(TEND) => continue,
        };
        match message {
            Ok(message) => apply(epochal, message, answers),
            Err(_) => return,
        }
    }
}

fn apply(epochal: &Epochal, (header, content): Arrived, answers: &Sender<MessageAnswer>) {
    let Header { lane, sequence, watermark, body, .. } = header;
    let content: &[u8] = content.as_deref().unwrap_or(&[]);
    let ops = match &body {
        Body::Operations(operations) => operations.len() as u64,
        _ => 1,
    };
    let answer = match epochal.applier.execute((lane, sequence), watermark, &body, content) {
        Some(answer) => answer,
        None => bare(lane, sequence, take_bytes(epochal, &body, content)),
    };
    let full = |(_, answer): &(u32, Answer)| *answer == Answer::Failed(Failure::NoRoom);
    let trouble = answer.exceptions.iter().any(full);
    epochal.set_trouble(trouble.then(|| "No room on the sink's filesystem".to_owned()));
    epochal.applied_ops.fetch_add(ops, Ordering::Relaxed);
    epochal.applied_bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
    hand_on(epochal, answers, answer);
}

fn bare(lane: Lane, sequence: Sequence, exceptions: Vec<(u32, Answer)>) -> MessageAnswer {
    MessageAnswer { lane, sequence, exceptions, made: Vec::new(), listing: None }
}

/// Chunks go to the staged object of their transfer; they concern no name.
fn take_bytes(epochal: &Epochal, body: &Body, content: &[u8]) -> Vec<(u32, Answer)> {
    let root = epochal.applier.target();
    let result = match body {
        Body::Chunk { transfer, offset } => root.write_chunk(*transfer, *offset, content),
        Body::Drop { transfer } => {
            root.drop_transfer(*transfer);
            Ok(())
        }
        Body::Operations(_) | Body::Listing(_) => Ok(()),
    };
    match result {
        Ok(()) => Vec::new(),
        Err(Obstacle::NoRoom) => vec![(0, Answer::Failed(Failure::NoRoom))],
        Err(Obstacle::Other(text)) => vec![(0, Answer::Failed(Failure::Other(text)))],
        Err(other) => vec![(0, Answer::Failed(Failure::Other(format!("{other:?}"))))],
    }
}

/// Folds answers into reports until the epoch is over.
pub fn report(epochal: &Epochal, answers: &Receiver<MessageAnswer>, mut socket: ReportSender) {
    let mut told = 0;
    while !epochal.is_over() {
        let mut batch = Vec::new();
        match answers.recv_timeout(TEND) {
            Ok(answer) => batch.push(answer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while batch.len() < ANSWERS_PER_REPORT
            && let Ok(answer) = answers.try_recv()
        {
            batch.push(answer);
        }
        let durable = *epochal.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if batch.is_empty() && durable.1 == told {
            if let Err(lost) = socket.is_connected() {
                return epochal.end(lost.0);
            }
            continue;
        }
        told = durable.1;
        let number = epochal.reports_sent() + 1;
        let report = Report {
            epoch: epochal.epoch,
            number,
            answers: batch,
            durable_through: durable.0,
            barrier: durable.1,
        };
        if let Err(lost) = socket.send(&report) {
            return epochal.end(lost.0);
        }
        epochal.reports_sent.store(number, Ordering::Release);
    }
}

/// Makes what was applied durable, by count, by bytes and by time, until the epoch is over.
pub fn make_durable(epochal: &Epochal) {
    let (mut ops, mut bytes, mut since) = (0, 0, Instant::now());
    while !epochal.is_over() {
        std::thread::sleep(TEND);
        let now_ops = epochal.applied_ops.load(Ordering::Relaxed);
        let now_bytes = epochal.applied_bytes.load(Ordering::Relaxed);
        if now_ops == ops {
            since = Instant::now();
            continue;
        }
        let due = now_ops - ops >= BARRIER_OPS
            || now_bytes - bytes >= BARRIER_BYTES
            || since.elapsed() >= BARRIER_EVERY;
        if !due {
            continue;
        }
        let through = epochal.reports_sent();
        match epochal.applier.target().sync() {
            Ok(()) => {
                let mut durable = epochal.durable.lock().unwrap_or_else(PoisonError::into_inner);
                *durable = (through, durable.1 + 1);
            }
            Err(text) => {
                tracing::error!(text, "the sink's filesystem can't be synced");
                epochal.set_trouble(Some(text));
            }
        }
        (ops, bytes, since) = (now_ops, now_bytes, Instant::now());
    }
}
