//! The sink's reports: answers in bulk, and the durable barrier that they speak of.
//!
//! - The reporter never waits for the disk; the barrier has a thread of its own (law 4).
//! - A barrier covers what was reported before it began, and only if every filesystem agreed. One
//!   that failed ends the epoch: what was applied since the last one is in doubt (H29).
//! - What the sink finds when it looks over its own tree goes with the reports, so that it is known
//!   in order.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::model::limits::{BARRIER_BYTES, BARRIER_OPS, REPORT_ANSWERS_MAX, REPORT_BYTES_MAX};
use crate::model::marker::MarkerId;
use crate::model::message::Report;
use crate::net::stream::connected::ReportSender;
use crate::phases::call_thread;
use crate::phases::transfer::applying::Answered;
use crate::phases::transfer::durability::{Durability, Setback};
use crate::phases::transfer::pulse::{Guarded, Pulse, Unsaved};

/// How long an answer waits for others to join it.
const GATHER: Duration = Duration::from_millis(5);
/// How long the reporter waits before it looks whether its peer is still there.
const TEND: Duration = Duration::from_millis(50);
/// A barrier comes after this long, if there is anything to make durable.
const BARRIER_EVERY: Duration = Duration::from_secs(5);

const TOUCHED: &str =
    "Somebody has been at the sink's tree: all of it is compared with the source again";

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
pub fn report(
    mut socket: ReportSender,
    answers: &Receiver<Answered>,
    durability: &Durability,
    pulse: &Pulse,
) {
    let _guarded = Guarded(pulse);
    call_thread(c"report");
    let mut gathered = Gathered::default();
    let mut told = pulse.durable();
    let (mut named, mut inspected) = (0, false);
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
        let (disturbed, all) = match inspected || !pulse.is_ready() {
            true => (Vec::new(), inspected),
            false => durability.disturbed(named),
        };
        let news = all != inspected || !disturbed.is_empty();
        if !gathered.is_due() && durable == told && !news {
            continue;
        }
        (named, inspected) = (named + disturbed.len(), all);
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
            disturbed,
            inspected,
        };
        if let Err(lost) = socket.send(&report) {
            return pulse.lose(lost.0);
        }
        pulse.reported(report.number, applied);
    }
}

/// Makes what was reported durable, from time to time, until the epoch is over. `shown` is the
/// marker that the source was shown: should another one have come in its place, the source trusts
/// what is no more.
pub fn keep_durable(durability: &Durability, shown: MarkerId, pulse: &Pulse) {
    let _guarded = Guarded(pulse);
    call_thread(c"barrier");
    let mut last = Instant::now();
    while !pulse.wait(TEND) {
        if durability.id() != shown {
            return pulse.lose(TOUCHED.into());
        }
        let unsaved = pulse.unsaved();
        let many = unsaved.operations >= BARRIER_OPS || unsaved.bytes >= BARRIER_BYTES;
        let due = many || pulse.wants_last_barrier() || last.elapsed() >= BARRIER_EVERY;
        if unsaved == Unsaved::default() || !due || !durability.has_barriers() {
            continue;
        }
        last = Instant::now();
        let through = pulse.begin_barrier();
        match durability.barrier() {
            Ok(Some(barrier)) => pulse.made_durable(through, barrier),
            Ok(None) => return,
            Err(Setback::NoMarker) => return pulse.lose(TOUCHED.into()),
            Err(Setback::Disk(text)) => {
                return pulse.lose(format!("{text}: what was written last is sent again"));
            }
        }
    }
}
