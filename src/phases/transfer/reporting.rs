//! The sink's reports: answers in bulk, and the durable barrier that they speak of.
//!
//! - The reporter never waits for the disk; the barrier has a thread of its own (law 4).
//! - A barrier covers what was reported before it began, and only if every filesystem agreed. Once
//!   one has failed, nothing of this epoch is called durable any more (H29).

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::model::limits::{BARRIER_BYTES, BARRIER_OPS, REPORT_ANSWERS_MAX, REPORT_BYTES_MAX};
use crate::model::message::Report;
use crate::net::stream::connected::ReportSender;
use crate::phases::transfer::applying::Answered;
use crate::phases::transfer::pulse::{Guarded, Pulse, Unsaved};
use crate::tree::sink_root::SinkRoot;

/// How long an answer waits for others to join it.
const GATHER: Duration = Duration::from_millis(5);
/// How long the reporter waits before it looks whether its peer is still there.
const TEND: Duration = Duration::from_millis(50);
/// A barrier comes after this long, if there is anything to make durable.
const BARRIER_EVERY: Duration = Duration::from_secs(5);

/// Answers that wait for their report.
#[derive(Default)]
struct Gathered {
    answers: Vec<Answered>,
    bytes: usize,
    since: Option<Instant>,
}

impl Gathered {
    fn add(&mut self, answered: Answered) {
        self.bytes += answered.answer.about_bytes();
        self.since.get_or_insert_with(Instant::now);
        self.answers.push(answered);
    }

    fn is_full(&self) -> bool {
        self.answers.len() >= REPORT_ANSWERS_MAX || self.bytes >= REPORT_BYTES_MAX
    }

    /// How long to wait for more.
    fn patience(&self) -> Duration {
        self.since.map_or(TEND, |since| GATHER.saturating_sub(since.elapsed()))
    }

    fn is_due(&self) -> bool {
        self.is_full() || self.since.is_some_and(|since| since.elapsed() >= GATHER)
    }
}

/// Reports until the epoch is over.
pub fn report(mut socket: ReportSender, answers: &Receiver<Answered>, pulse: &Pulse) {
    let _guarded = Guarded(pulse);
    let mut gathered = Gathered::default();
    let mut told = pulse.durable();
    while !pulse.is_over() {
        match answers.recv_timeout(gathered.patience()) {
            Ok(answered) => gathered.add(answered),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while !gathered.is_full()
            && let Ok(answered) = answers.try_recv()
        {
            gathered.add(answered);
        }
        if let Err(lost) = socket.is_connected() {
            return pulse.lose(lost.0);
        }
        let durable = pulse.durable();
        if !gathered.is_due() && durable == told {
            continue;
        }
        told = durable;
        let mut applied = Unsaved::default();
        let answers = std::mem::take(&mut gathered).answers.into_iter().map(|answered| {
            applied.operations += answered.applied.operations;
            applied.bytes += answered.applied.bytes;
            answered.answer
        });
        let report = Report {
            epoch: pulse.epoch,
            number: pulse.reports_sent() + 1,
            answers: answers.collect(),
            durable_through: durable.through,
            barrier: durable.barrier,
        };
        if let Err(lost) = socket.send(&report) {
            return pulse.lose(lost.0);
        }
        pulse.reported(report.number, applied);
    }
}

/// Makes what was reported durable, from time to time, until the epoch is over.
pub fn keep_durable(root: &SinkRoot, pulse: &Pulse) {
    let _guarded = Guarded(pulse);
    let mut last = Instant::now();
    while !pulse.wait(TEND) {
        let unsaved = pulse.unsaved();
        let many = unsaved.operations >= BARRIER_OPS || unsaved.bytes >= BARRIER_BYTES;
        if unsaved == Unsaved::default() || !(many || last.elapsed() >= BARRIER_EVERY) {
            continue;
        }
        last = Instant::now();
        let through = pulse.begin_barrier();
        match root.sync() {
            Ok(()) => pulse.made_durable(through),
            Err(text) => {
                // What the kernel failed to write it does not tell twice.
                tracing::error!(text, "nothing more is called durable in this epoch");
                while !pulse.is_over() {
                    pulse.note_trouble(&text);
                    pulse.wait(BARRIER_EVERY);
                }
            }
        }
    }
}
