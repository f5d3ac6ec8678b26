//! `status` and `set`: asking a running operator on this host.

use std::io;
use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use osync::control::{
    ControlReply, ControlRequest, FigureFields, Operator, StatusObject, find_operator,
};
use osync::error::Error;
use osync::model::priority::Nice;
use osync::model::status::Role;

use crate::cli::{SetArgs, StatusArgs};
use crate::exit::Exit;
use crate::output::{print, print_json, tell};
use crate::resolve;

/// From one status of `--watch` to the next.
const BEAT: Duration = Duration::from_secs(1);

/// What scripts read where no operator is.
const NOBODY: &str = r#"{"phase":"none"}"#;

/// `osync status`.
pub fn status(args: &StatusArgs) -> Result<Exit, Error> {
    let Some(operator) = find_operator(&args.directory) else {
        return nobody(&args.directory, args.json);
    };
    for beat in 0_u64.. {
        let status = match ask_status(&operator) {
            // It has ended since: the same as not being there.
            Err(Error::Network(_)) if find_operator(&args.directory).is_none() && beat == 0 => {
                return nobody(&args.directory, args.json);
            }
            Err(Error::Network(_)) if find_operator(&args.directory).is_none() => {
                return ended(operator.role, args.json);
            }
            other => other?,
        };
        let printed = if args.json { print_json(&status) } else { print(&in_words(&status)) };
        if printed.is_err() || !args.watch {
            return told(printed);
        }
        std::thread::sleep(BEAT);
    }
    Ok(Exit::Done)
}

/// Says that an operator that was watched has ended.
fn ended(role: Role, json: bool) -> Result<Exit, Error> {
    if json {
        told(print(NOBODY))?;
    }
    tell(&format!("The {role} has ended; its own output and report say how"));
    Ok(Exit::Done)
}

/// `osync set`.
pub fn set(args: &SetArgs) -> Result<Exit, Error> {
    let Some(operator) = find_operator(&args.directory) else {
        return nobody(&args.directory, false);
    };
    for (name, value) in &args.settings {
        let request = ControlRequest::Set { name: name.clone(), value: value.clone() };
        match operator.ask(&request)? {
            ControlReply::Done { text } if text.is_empty() => tell(&format!("{name}={value}")),
            ControlReply::Done { text } => tell(&text),
            ControlReply::Refused { text } => return Err(refused(text)),
            _ => return Err(strange()),
        }
    }
    Ok(Exit::Done)
}

/// Asks how an operator stands.
pub fn ask_status(operator: &Operator) -> Result<StatusObject, Error> {
    match operator.ask(&ControlRequest::Status)? {
        ControlReply::Status(status) => Ok(*status),
        ControlReply::Refused { text } => Err(refused(text)),
        _ => Err(strange()),
    }
}

/// Says that no operator is there: exit 1.
pub fn nobody(directory: &Path, json: bool) -> Result<Exit, Error> {
    if json {
        told(print(NOBODY))?;
    }
    let directory = resolve::absolute(directory)?;
    let hint = if rustix::process::geteuid().is_root() {
        "run this on the host of the source or of the sink, with its directory; one that an \
         ordinary user started is asked by that user (`sudo -u USER osync ...`)"
    } else {
        "one that another user started is found by that user only"
    };
    tell(&format!("No osync works on \"{}\" here: {hint}", directory.display()));
    Ok(Exit::Failed)
}

/// What became of a line on standard output.
pub fn told(printed: io::Result<()>) -> Result<Exit, Error> {
    match printed {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Error::disk("Can't write to", "standard output", error)),
    }
}

/// A no of the operator: the question failed, exit 1. Exit 4 is for keys, versions and locks.
pub fn refused(text: String) -> Error {
    Error::Network(text)
}

/// An answer that fits no question.
pub fn strange() -> Error {
    Error::Protocol("The operator answered something else: is it another version of osync?".into())
}

/// A status for people: some lines.
fn in_words(status: &StatusObject) -> String {
    let mut text = format!("{}: phase {}, {}", status.role, status.phase.word(), status.state);
    if let Some(reason) = &status.reason {
        text += &format!(" ({})", osync::control::tame(reason));
    }
    for line in figures_in_words(&status.figures) {
        text += &format!("\n  {line}");
    }
    if let Some(watching) = &status.watching {
        let by = osync::control::tame(&watching.by);
        let unwatched = HumanCount(watching.unwatched);
        text += &format!("\n  watched by {by}; {unwatched} directories swept instead");
    }
    text.extend(limits_in_words(status).map(|line| format!("\n  {line}")));
    for sink in &status.sinks {
        let address = osync::control::tame(&sink.address);
        let key = osync::control::tame(&sink.key);
        let (phase, state) = (sink.phase.word(), sink.state);
        text += &format!("\n  sink {key} at {address}: phase {phase}, {state}");
        if status.sinks.len() > 1 {
            for line in figures_in_words(&sink.figures) {
                text += &format!("\n    {line}");
            }
        }
    }
    text
}

/// What is limited, if anything is.
fn limits_in_words(status: &StatusObject) -> Option<String> {
    let mut words = Vec::new();
    if let Some(rate) = status.figures.bwlimit {
        words.push(format!("{} a second", HumanBytes(rate)));
    }
    if let Some(settings) = &status.settings {
        // A timetable says more than what holds now, and a sink's own limit less than both.
        if settings.bwlimit != "off" {
            words.push(format!("bwlimit {}", osync::control::tame(&settings.bwlimit)));
        }
        words.extend(settings.iops.map(|iops| format!("iops {}", HumanCount(iops))));
        if settings.nice != Nice::OF_BACKLOG.value() {
            words.push(format!("nice {}", settings.nice));
        }
        if settings.ionice != "none" {
            words.push(format!("ionice {}", osync::control::tame(&settings.ionice)));
        }
    }
    (!words.is_empty()).then(|| format!("limits: {}", words.join(", ")))
}

fn figures_in_words(figures: &FigureFields) -> [String; 4] {
    let known = if figures.backlog_known { "all known" } else { "more to be found" };
    [
        format!(
            "backlog {} files ({}), {known}; dirty paths {}; lag {:.1} s",
            HumanCount(figures.backlog_files),
            HumanBytes(figures.backlog_bytes),
            HumanCount(figures.dirty_paths),
            figures.lag_seconds,
        ),
        format!(
            "done {} files ({}), sent {}",
            HumanCount(figures.files_done),
            HumanBytes(figures.bytes_done),
            HumanBytes(figures.bytes_on_wire),
        ),
        match (figures.live_latency_ms.p50, figures.live_latency_ms.p99) {
            (Some(p50), Some(p99)) => format!(
                "live changes arrive in {p50:.0} ms (half of them), {p99:.0} ms (99 in 100)"
            ),
            _ => "no live change has arrived yet".to_owned(),
        },
        format!(
            "problems {}, overflows {}, foreign names {}",
            HumanCount(figures.problems),
            HumanCount(figures.overflows),
            HumanCount(figures.foreign),
        ),
    ]
}
