//! The sink's side of the command service while a session lasts: signs of life, the wish to end,
//! and the end itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::control::{ControlReply, ControlRequest, StatusObject};
use crate::model::session::{Ending, Figures, FinalReport, Outcome, PhaseTag};
use crate::model::status::{Role, State};
use crate::monitor::{Monitor, StateChange};
use crate::net::client::CommandClient;
use crate::phases::init::sink::Session;
use crate::phases::transfer::sink::Epochal;
use crate::stop::{Stop, StopLevel};
use crate::wire::command::{Alive, Heartbeat, Reply, Request};

/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(250);
/// The same while a session comes to its end.
const BEAT_AT_THE_END: Duration = Duration::from_millis(25);
/// How long a command waits for its reply.
const CALL: Duration = Duration::from_secs(5);
/// Silence of the source after which the epoch is over.
const SILENCE: Duration = Duration::from_secs(20);

/// How attendance to one epoch ended.
pub enum Left {
    /// The epoch is over; a new one is to be begun.
    Lost(String),
    /// The session ended, and the source was told.
    Finished(FinalReport),
    /// A person said stop.
    Interrupted,
    /// The time that a person gave is over.
    TimedOut,
}

/// What outlives the epochs of a sink: its standing, for people, and what they want.
pub struct Standing<'a> {
    /// What a person hears.
    pub monitor: &'a dyn Monitor,
    /// What a person wants by signals.
    pub stop: &'a Stop,
    /// When all must be over.
    pub deadline: Option<Instant>,
    /// How the session ends by itself.
    pub ending: Option<Ending>,
    /// What people may ask over the control socket.
    pub desk: &'a Desk,
}

/// What people may ask of a sink over its control socket.
#[derive(Default)]
pub struct Desk {
    cutover: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    phase: Option<PhaseTag>,
    connected: bool,
    figures: Figures,
    told: Option<(PhaseTag, State)>,
}

impl Desk {
    /// Answers a person.
    #[must_use]
    pub fn answer(&self, request: &ControlRequest) -> ControlReply {
        match request {
            ControlRequest::Status => {
                let known = self.known();
                let phase = known.phase.unwrap_or(PhaseTag::Init);
                let status = StatusObject::of(Role::Sink, phase, known.connected, &known.figures);
                ControlReply::Status(Box::new(status))
            }
            ControlRequest::Cutover { .. } if self.known().connected => {
                self.cutover.store(true, Ordering::Release);
                ControlReply::done("The termination phase begins")
            }
            ControlRequest::Cutover { .. } => {
                ControlReply::refused("The source is out of reach now: try again when it is back")
            }
            ControlRequest::Set { name, .. } => ControlReply::refused(format!(
                "There is nothing called \"{name}\" to be set at a sink"
            )),
            ControlRequest::Verify { .. } | ControlRequest::Await { .. } => {
                ControlReply::refused("This version can't do that yet")
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes how the session stands, and tells the monitor what has changed.
    pub fn note(
        &self,
        monitor: &dyn Monitor,
        phase: PhaseTag,
        connected: bool,
        figures: Option<Figures>,
        reason: Option<&str>,
    ) {
        let mut known = self.known();
        known.phase = Some(phase);
        known.connected = connected;
        if let Some(figures) = figures {
            known.figures = figures;
            monitor.figures(&known.figures);
        }
        let state = State::of(connected, &known.figures);
        if known.told != Some((phase, state)) {
            known.told = Some((phase, state));
            let reason = reason.map(str::to_owned).or_else(|| known.figures.halted.clone());
            monitor.state(&StateChange { role: Role::Sink, phase, state, reason, sink: None });
        }
    }
}

/// Who wants the session to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Nobody,
    /// A person at this sink, or `--once`: the sink ends, whatever comes out.
    Sink,
    /// `osync cutover`: the sink goes on if it can't be finished.
    Cutover,
}

/// Attends to a session until it ends; `announce` tells how a termination phase ended.
pub fn attend(
    session: Session,
    epochal: &Epochal,
    standing: &Standing<'_>,
    announce: &dyn Fn(&FinalReport),
) -> Left {
    let Session { mut client, .. } = session;
    let mut wish = if standing.ending.is_some() { Wish::Sink } else { Wish::Nobody };
    let mut heard = Instant::now();
    loop {
        if standing.stop.is_now() {
            return Left::Interrupted;
        }
        if standing.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Left::TimedOut;
        }
        if epochal.is_over() {
            return Left::Lost(epochal.why());
        }
        let request = match new_wish(wish, standing) {
            Some(new) => {
                wish = new;
                Request::Unregister { epoch: epochal.epoch, ending: Ending::Cutover }
            }
            None => Request::Heartbeat(Heartbeat {
                epoch: epochal.epoch,
                seen: epochal.seen(),
                reports_sent: epochal.reports_sent(),
                trouble: epochal.trouble(),
            }),
        };
        match client.call(&request, CALL) {
            Ok(Reply::Alive(alive)) => {
                heard = Instant::now();
                if let Some(left) = heed(&mut client, alive, epochal, standing, &mut wish, announce)
                {
                    return left;
                }
            }
            Ok(Reply::Refused { text, .. }) => return Left::Lost(text),
            Ok(_) => return Left::Lost("The source gave no sense in reply".to_owned()),
            Err(error) if heard.elapsed() > SILENCE => return Left::Lost(error.to_string()),
            Err(error) => tracing::info!(%error, "a sign of life went unanswered"),
        }
        let beat = if wish == Wish::Nobody { BEAT } else { BEAT_AT_THE_END };
        let level = if wish == Wish::Sink { StopLevel::Now } else { StopLevel::Terminate };
        standing.stop.wait(level, beat);
    }
}

/// Whether somebody wants the end who did not before.
fn new_wish(wish: Wish, standing: &Standing<'_>) -> Option<Wish> {
    if wish != Wish::Sink && standing.stop.is_asked() {
        return Some(Wish::Sink);
    }
    let asked = standing.desk.cutover.swap(false, Ordering::AcqRel);
    (asked && wish == Wish::Nobody).then_some(Wish::Cutover)
}

/// Takes what the source says; something if attendance ends with it.
fn heed(
    client: &mut CommandClient,
    alive: Alive,
    epochal: &Epochal,
    standing: &Standing<'_>,
    wish: &mut Wish,
    announce: &dyn Fn(&FinalReport),
) -> Option<Left> {
    let Alive { phase, figures, please_unregister, finished, .. } = alive;
    let trouble = epochal.trouble();
    standing.desk.note(standing.monitor, phase, true, Some(figures), trouble.as_deref());
    if please_unregister.is_some() {
        standing.desk.cutover.store(true, Ordering::Release);
    }
    let report = finished.filter(|_| *wish != Wish::Nobody)?;
    announce(&report);
    if report.outcome == Outcome::Unfinished && *wish == Wish::Cutover {
        standing.monitor.note(&report.text);
        *wish = Wish::Nobody;
        return None;
    }
    Some(leave(client, report, epochal))
}

/// The session is over: nothing of osync's own stays in the tree, and the source is told.
fn leave(client: &mut CommandClient, mut report: FinalReport, epochal: &Epochal) -> Left {
    let root = epochal.applier.target();
    if report.outcome != Outcome::Unfinished {
        if let Err(obstacle) = root.finish() {
            report.outcome = Outcome::Problems;
            report.text =
                format!("Finished, but the staging directory can't be removed: {obstacle:?}");
        }
        if let Err(text) = root.sync() {
            report.outcome = Outcome::Problems;
            report.text = format!("Finished, but the sink's filesystem can't be synced: {text}");
        }
    }
    // The source finds out by itself if it does not hear this.
    if let Err(error) = client.call(&Request::Leave { epoch: epochal.epoch }, CALL) {
        tracing::info!(%error, "the source did not hear that the sink has left");
    }
    Left::Finished(report)
}
