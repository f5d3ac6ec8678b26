//! `osync cutover`: asks for the termination phase and follows it to its end, or tells what it
//! would have to do.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use osync::control::{
    ControlReply, ControlRequest, FigureFields, Operator, ResultObject, StatusObject, escaped,
    find_operator, tame,
};
use osync::ended::{EndKind, Ended};
use osync::error::Error;
use osync::model::status::{Role, State};
use serde::Serialize;

use crate::ask::{ask_status, nobody, refused, strange, told};
use crate::cli::CutoverArgs;
use crate::exit::Exit;
use crate::output::{bars, is_watched, print, print_json, tell};
use crate::progress::{Rates, stretch, time};

/// From one question to the next while following.
const BEAT: Duration = Duration::from_secs(1);
/// Lines of progress where there is no terminal.
const PLAIN: Duration = Duration::from_secs(10);
/// How long a cutover waits for a peer that is not there.
const ALONE: Duration = Duration::from_secs(30);
/// How long rates are measured for a plan.
const MEASURED: Duration = Duration::from_secs(2);

/// What a cutover would have to do.
#[derive(Debug, Serialize)]
struct Plan {
    dirty_paths: u64,
    backlog_files: u64,
    backlog_bytes: u64,
    backlog_known: bool,
    files_per_second: f64,
    bytes_per_second: f64,
    /// How long the rates were measured.
    measured_seconds: f64,
    /// An estimate, of what is left to send; the sweep at the end not included. `None` if the
    /// walk goes on or nothing moves.
    estimated_seconds: Option<f64>,
}

/// `osync cutover`.
pub fn cutover(args: &CutoverArgs) -> Result<Exit, Error> {
    let Some(operator) = find_operator(&args.directory) else {
        return nobody(&args.directory, args.json);
    };
    if args.plan {
        return plan(&operator, args);
    }
    let waiting = operator.begin_waiting(args.sink.clone())?;
    match operator.ask(&ControlRequest::Cutover { sink: args.sink.clone() })? {
        ControlReply::Done { text } if text.is_empty() => {}
        ControlReply::Done { text } => tell(&text),
        ControlReply::Refused { text } => return Err(refused(text)),
        _ => return Err(strange()),
    }
    tell("The cutover has begun; it goes on even if this command is stopped");
    let (sender, results) = sync_channel(1);
    std::thread::spawn(move || {
        // Whoever is not there any more has no need of it.
        let _ = sender.send(waiting.result());
    });
    let result = follow(&operator, args, &results)?;
    let told_it = if args.json { print_json(&result) } else { print(&in_words(&result)) };
    told(told_it)?;
    Ok(match result.outcome {
        // The operator was stopped: the cutover is not finished, the pair can go on.
        EndKind::Interrupted => Exit::Unfinished,
        EndKind::Usage | EndKind::Refused => Exit::Failed,
        other => other.into(),
    })
}

/// Shows progress until the result is there.
fn follow(
    operator: &Operator,
    args: &CutoverArgs,
    results: &Receiver<Result<ResultObject, Error>>,
) -> Result<ResultObject, Error> {
    let bar = is_watched().then(|| bars().add(ProgressBar::new_spinner()));
    let mut told_at: Option<Instant> = None;
    let mut alone_since: Option<Instant> = None;
    let result = loop {
        match results.recv_timeout(BEAT) {
            Ok(result) => break result,
            Err(RecvTimeoutError::Disconnected) => break Err(strange()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // The operator may be ending this very moment; then the result is about to come.
        let Ok(status) = ask_status(operator) else { continue };
        alone_since = alone_since.or(Some(Instant::now())).filter(|_| is_alone(&status));
        if alone_since.is_some_and(|since| since.elapsed() >= ALONE) {
            break Ok(ResultObject::of(&Ok(Ended::TimedOut(left_alone(&status)))));
        }
        let line = progress_line(&status, args.sink.as_deref());
        if let Some(bar) = &bar {
            bar.set_message(line);
            bar.tick();
        } else if told_at.is_none_or(|at| at.elapsed() >= PLAIN) {
            told_at = Some(Instant::now());
            tell(&line);
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result
}

fn figures<'a>(status: &'a StatusObject, sink: Option<&str>) -> &'a FigureFields {
    let meant = status.sinks.iter().find(|one| Some(one.key.as_str()) == sink);
    meant.map_or(&status.figures, |one| &one.figures)
}

/// Whether a sink has no source with which it could end the session.
fn is_alone(status: &StatusObject) -> bool {
    status.role == Role::Sink && status.state == State::Waiting
}

fn left_alone(status: &StatusObject) -> String {
    let why = status.reason.as_deref().unwrap_or("it can't be reached");
    format!(
        "Not finished: the source is not there ({why}). The sink goes on waiting for it, and ends \
         the session as soon as it is back"
    )
}

/// What a session waits for, if that is not plain.
fn reason<'a>(status: &'a StatusObject, sink: Option<&str>) -> Option<&'a str> {
    let meant = status.sinks.iter().find(|one| Some(one.key.as_str()) == sink);
    meant.map_or(status.reason.as_deref(), |one| one.reason.as_deref())
}

fn progress_line(status: &StatusObject, sink: Option<&str>) -> String {
    let figures = figures(status, sink);
    let mut line = format!(
        "phase {}, {}: backlog {} files ({}), dirty paths {}, sweeps done {}, problems {}",
        status.phase.word(),
        status.state,
        HumanCount(figures.backlog_files),
        HumanBytes(figures.backlog_bytes),
        HumanCount(figures.dirty_paths),
        figures.sweeps,
        HumanCount(figures.problems),
    );
    if let Some(reason) = reason(status, sink) {
        line += &format!("; {}", tame(reason));
    }
    line + &limited(figures.bwlimit, status.settings.as_ref().and_then(|settings| settings.iops))
}

/// That limits hold the end up, and how to take them off.
fn limited(rate: Option<u64>, iops: Option<u64>) -> String {
    let rate = rate.map(|rate| format!("{} a second (bwlimit=off)", HumanBytes(rate)));
    let iops = iops.map(|iops| format!("{iops} operations a second (iops=off)"));
    let limits: Vec<String> = rate.into_iter().chain(iops).collect();
    if limits.is_empty() {
        return String::new();
    }
    format!("; limited to {}: `osync set DIR` takes that off", limits.join(" and "))
}

fn in_words(result: &ResultObject) -> String {
    let mut text = format!("{}: {}", result.outcome.word(), tame(&result.text));
    for problem in &result.problem_list {
        let path = escaped(&problem.path.0);
        text += &format!("\n  problem at \"{path}\": {}", tame(&problem.text));
    }
    for name in &result.hot {
        text += &format!("\n  went on changing, or is open for writing: \"{}\"", escaped(&name.0));
    }
    for name in &result.foreign_list {
        text += &format!("\n  foreign, left alone: \"{}\"", escaped(&name.0));
    }
    text
}

/// Measures for a moment, then tells what is left.
fn plan(operator: &Operator, args: &CutoverArgs) -> Result<Exit, Error> {
    let before = ask_status(operator)?;
    let began = Instant::now();
    std::thread::sleep(MEASURED);
    let after = ask_status(operator)?;
    let sink = args.sink.as_deref();
    let plan = Plan::measured(figures(&before, sink), figures(&after, sink), began.elapsed());
    told(if args.json { print_json(&plan) } else { print(&plan.in_words()) })
}

impl Plan {
    #[allow(clippy::cast_precision_loss)] // An estimate.
    fn measured(before: &FigureFields, after: &FigureFields, measured: Duration) -> Plan {
        let seconds = measured.as_secs_f64();
        let rate = |then: u64, now: u64| now.saturating_sub(then) as f64 / seconds;
        let rates = Rates {
            files: rate(before.files_done, after.files_done),
            bytes: rate(before.bytes_done, after.bytes_done),
            sent: rate(before.bytes_on_wire, after.bytes_on_wire),
        };
        let left = time(after.backlog_files, after.backlog_bytes, rates);
        Plan {
            dirty_paths: after.dirty_paths,
            backlog_files: after.backlog_files,
            backlog_bytes: after.backlog_bytes,
            backlog_known: after.backlog_known,
            files_per_second: rates.files,
            bytes_per_second: rates.bytes,
            measured_seconds: seconds,
            estimated_seconds: left
                .filter(|_| after.backlog_known)
                .map(|left| left.as_secs_f64() + after.lag_seconds),
        }
    }

    fn in_words(&self) -> String {
        let left = format!(
            "Left to do: dirty paths {}, backlog {} files ({}){}",
            HumanCount(self.dirty_paths),
            HumanCount(self.backlog_files),
            HumanBytes(self.backlog_bytes),
            if self.backlog_known { "" } else { ", and what the walk has not met yet" },
        );
        let estimate = match self.estimated_seconds {
            Some(seconds) => format!(
                "Estimate, from {:.0} seconds of measuring: {} to send what is left; then comes \
                 the sweep over the tree, which is not in this estimate",
                self.measured_seconds,
                stretch(Duration::try_from_secs_f64(seconds.ceil()).unwrap_or_default()),
            ),
            None if !self.backlog_known => "No estimate: the walk has not seen all yet".into(),
            None => "No estimate: nothing was settled while it was measured".into(),
        };
        format!("{left}\n{estimate}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use osync::control::FigureFields;

    use super::{Plan, limited};

    #[test]
    fn limits_that_hold_the_end_up_are_told() {
        assert_eq!(limited(None, None), "");
        let both = limited(Some(20 << 10), Some(5));
        assert!(both.contains("20.00 KiB a second (bwlimit=off) and 5 operations"), "{both}");
    }

    #[test]
    fn a_plan_estimates_only_what_it_can() {
        let before = FigureFields { backlog_known: true, ..FigureFields::default() };
        let after = FigureFields {
            files_done: 200,
            backlog_files: 1_000,
            lag_seconds: 0.5,
            ..before.clone()
        };
        let plan = Plan::measured(&before, &after, Duration::from_secs(2));
        assert_eq!(plan.estimated_seconds, Some(10.5));
        assert!(plan.in_words().contains("Estimate, from 2 seconds of measuring: 11 s"));
        let still = Plan::measured(&after, &after, Duration::from_secs(2));
        assert_eq!(still.estimated_seconds, None);
        let walking = FigureFields { backlog_known: false, ..after };
        let plan = Plan::measured(&before, &walking, Duration::from_secs(2));
        assert!(plan.in_words().contains("the walk has not seen all"));
    }
}
