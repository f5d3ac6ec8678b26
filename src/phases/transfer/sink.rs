//! One epoch at the sink: its threads, its queues, and the order in which they end.
//!
//! | thread | takes from | gives to |
//! |---|---|---|
//! | conductor (the caller's) | the command service, people | the command service |
//! | live, backlog receiver | a lane | the queues of the appliers and of the chunks |
//! | appliers | live, backlog queue | answers |
//! | chunks | the queue of chunks | answers |
//! | reporter | answers | the stream of reports |
//! | barrier | the clock | the disk; what is durable to the reporter |
//!
//! When the epoch is over the receivers end first, and with them the queues; the appliers end what
//! they have in hand and throw the rest away. All have ended when `run` returns (H9).

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::error::Error;
use crate::flow::applier::{Applier, Rules};
use crate::model::limits::{ANSWER_QUEUE, APPLY_QUEUE};
use crate::model::marker::MarkerId;
use crate::model::stamp::Lane;
use crate::monitor::Monitor;
use crate::phases::init::sink::Session;
use crate::phases::transfer::applying::{Duty, Inlet, Queues, apply, receive, take_chunks};
use crate::phases::transfer::conduct::Course;
use crate::phases::transfer::durability::Durability;
use crate::phases::transfer::pulse::Pulse;
use crate::phases::transfer::reporting::{keep_durable, report};
use crate::tree::sink_root::SinkRoot;

/// How long the source may take to see that the data sockets are connected.
const READINESS: Duration = Duration::from_secs(20);

/// Runs one epoch: connects its sockets, makes sure that both sides are ready, and lets `conduct`
/// say how it ends. `shown` is the marker that the source was shown.
///
/// # Errors
/// When the system has no room for sockets.
pub fn run(
    root: &Arc<SinkRoot>,
    (durability, shown): (&Durability, MarkerId),
    rules: Rules,
    session: &mut Session,
    (pulse, monitor): (&Pulse, &dyn Monitor),
    stop: &dyn Fn() -> bool,
    conduct: impl FnOnce(&mut Session) -> Course,
) -> Result<Course, Error> {
    let registered = &session.registered;
    let live = session.peer.lane(Lane::Live, registered.data_ports[Lane::Live.index()])?;
    let backlog = session.peer.lane(Lane::Backlog, registered.data_ports[Lane::Backlog.index()])?;
    let reports = session.peer.reports(registered.report_port)?;
    let applier = Applier::new(Arc::clone(root), rules);
    let course = std::thread::scope(|scope| {
        let (live_in, live_queue) = bounded(APPLY_QUEUE);
        let (backlog_in, backlog_queue) = bounded(APPLY_QUEUE);
        let (chunks_in, chunks) = bounded(APPLY_QUEUE);
        let (answer, answers) = bounded(ANSWER_QUEUE);
        for (lane, socket, names) in
            [(Lane::Live, live, live_in), (Lane::Backlog, backlog, backlog_in)]
        {
            let inlet = Inlet { names, chunks: chunks_in.clone() };
            scope.spawn(move || receive(socket, lane, &inlet, pulse));
        }
        drop(chunks_in);
        let queues = Queues { live: live_queue, backlog: backlog_queue };
        for duty in duties() {
            let (queues, answer, applier) = (queues.clone(), answer.clone(), &applier);
            scope.spawn(move || apply(duty, &queues, applier, &answer, (pulse, monitor)));
        }
        drop(queues);
        let applier = &applier;
        scope.spawn(move || take_chunks(&chunks, applier, &answer, pulse));
        scope.spawn(move || report(reports, &answers, durability, pulse));
        scope.spawn(move || keep_durable(durability, shown, pulse));
        let course = match session.ensure_readiness(READINESS, &|| stop() || pulse.is_over()) {
            Ok(true) => {
                pulse.set_ready();
                conduct(session)
            }
            Ok(false) if stop() => Course::Stopped,
            Ok(false) => Course::Lost(pulse.lost().unwrap_or_default()),
            // A lane that could not be connected says more than a source that waits for it.
            Err(error) => Course::Lost(pulse.lost().unwrap_or_else(|| error.to_string())),
        };
        pulse.close();
        course
    });
    root.keep_transfers();
    Ok(course)
}

/// What each applier is for: one for each lane alone, the others as it comes, but shared out among
/// the lanes while the backlog is to be gentle.
fn duties() -> impl Iterator<Item = Duty> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let others = Lane::ALL.into_iter().cycle().map(Duty::Any).take(cores.clamp(2, 16));
    [Duty::Live, Duty::Backlog].into_iter().chain(others)
}
