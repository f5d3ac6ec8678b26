//! Runs an operator to its end: screen, signals, report, last words, exit code.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use osync::control::escaped;
use osync::ended::{EndKind, Ended};
use osync::error::Error;
use osync::model::limits::NAMES_TOLD_MAX;
use osync::model::session::{FinalReport, ProblemLine};
use osync::monitor::Monitor;
use osync::stop::Stop;

use crate::cli::{CommonArgs, LocalArgs, LogArgs, SinkArgs, SourceArgs};
use crate::exit::Exit;
use crate::interrupt::{self, FirstPress};
use crate::plan::Plan;
use crate::report::Report;
use crate::resolve;
use crate::screen::{Command, Screen, problem_line};

/// From one drawing of progress to the next.
const TICK: Duration = Duration::from_secs(1);

/// Runs a source.
pub fn source(args: &SourceArgs, log: &LogArgs) -> Result<Exit, Error> {
    let config = resolve::source(args, log)?;
    let operation = Operation::new(Command::Source, FirstPress::Stop, &args.common)?;
    operation.run(|monitor, stop| osync::source::run(config, monitor, stop))
}

/// Runs a sink.
pub fn sink(args: &SinkArgs, log: &LogArgs) -> Result<Exit, Error> {
    let config = resolve::sink(args, log)?;
    let operation = Operation::new(Command::Sink, FirstPress::Terminate, &args.common)?;
    operation.run(|monitor, stop| osync::sink::run(config, monitor, stop))
}

/// Runs both.
pub fn local(args: &LocalArgs, log: &LogArgs) -> Result<Exit, Error> {
    let config = resolve::local(args, log)?;
    let operation = Operation::new(Command::Local, FirstPress::Terminate, &args.common)?;
    operation.run(|monitor, stop| osync::local::run(config, monitor, stop))
}

struct Operation {
    command: Command,
    first: FirstPress,
    report: Option<PathBuf>,
    json: bool,
    dry: bool,
}

impl Operation {
    fn new(command: Command, first: FirstPress, common: &CommonArgs) -> Result<Operation, Error> {
        let report = resolve::report(common)?;
        Ok(Operation { command, first, report, json: common.json, dry: common.dry_run })
    }

    fn run(
        self,
        start: impl FnOnce(&dyn Monitor, &Stop) -> Result<Ended, Error>,
    ) -> Result<Exit, Error> {
        let stop = Stop::new();
        interrupt::listen(stop.clone(), self.first, crate::output::tell)
            .map_err(|error| Error::Usage(format!("Can't listen for signals: {error}")))?;
        let screen = Screen::new(self.command, self.json, stop.clone());
        let end = with_ticks(&screen, || start(&screen, &stop));
        let seen = screen.finish();
        let text = text(&end);
        let mut exit = Exit::from(EndKind::of(&end));
        if let Some(path) = &self.report {
            let report = Report::new(self.command.word(), &end, &text, &seen);
            exit = written(&screen, path, &report, exit);
        }
        if let Ok(Ended::Finished(report)) = &end {
            tell_details(&screen, report, &seen.problems[..seen.told], self.report.as_deref());
        }
        let lists = self.dry && self.command != Command::Source;
        if (lists && matches!(end, Ok(Ended::Finished(_)))) || seen.plan != Plan::default() {
            screen.say(&seen.plan.words());
        }
        screen.say(&text);
        screen.ended(EndKind::of(&end).word(), exit.code(), &text);
        Ok(exit)
    }
}

/// Has the screen drawn once a second while something runs.
fn with_ticks<T>(screen: &Screen, run: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (done, ended) = sync_channel::<()>(0);
        scope.spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                screen.tick();
            }
        });
        let result = run();
        drop(done);
        result
    })
}

/// Writes the report; one that can't be written makes a failure of what went well.
fn written(screen: &Screen, path: &Path, report: &Report, exit: Exit) -> Exit {
    match report.write(path) {
        Ok(()) => exit,
        Err(error) => {
            screen.say(&error.to_string());
            if exit == Exit::Done { Exit::Failed } else { exit }
        }
    }
}

fn text(end: &Result<Ended, Error>) -> String {
    match end {
        Ok(Ended::Finished(report)) => {
            let figures = &report.figures;
            format!(
                "{} ({} files, {} directories, {}; sent {}; problems {}, foreign names {})",
                report.text,
                HumanCount(figures.files_done),
                HumanCount(figures.directories),
                HumanBytes(figures.bytes_done),
                HumanBytes(figures.bytes_on_wire),
                HumanCount(figures.problems),
                HumanCount(figures.foreign),
            )
        }
        Ok(Ended::Interrupted) => "Stopped; the same command goes on from here".into(),
        Ok(Ended::TimedOut(text)) => text.clone(),
        Err(error) => error.to_string(),
    }
}

/// Tells what a person has to know of the end and was not told before, a bounded part of it.
fn tell_details(screen: &Screen, report: &FinalReport, told: &[ProblemLine], file: Option<&Path>) {
    let told: HashSet<(&[u8], &str)> =
        told.iter().map(|problem| (problem.path.as_slice(), problem.text.as_str())).collect();
    let is_new = |one: &&ProblemLine| !told.contains(&(one.path.as_slice(), one.text.as_str()));
    for problem in report.problems.iter().filter(is_new).take(NAMES_TOLD_MAX) {
        screen.say(&problem_line(&problem.path, &problem.text));
    }
    for name in report.hot.iter().take(NAMES_TOLD_MAX) {
        screen.say(&format!("went on changing, or is open for writing: \"{}\"", escaped(name)));
    }
    for name in report.foreign.iter().take(NAMES_TOLD_MAX) {
        screen.say(&format!("foreign, left alone: \"{}\"", escaped(name)));
    }
    for (kind, count) in &report.lost_attributes {
        screen.say(&format!("not kept at the sink: {kind}, {} times", HumanCount(*count)));
    }
    let problems = report.problems.iter().filter(is_new).count();
    let longest = problems.max(report.hot.len()).max(report.foreign.len());
    if longest > NAMES_TOLD_MAX {
        screen.say(&match file {
            Some(file) => format!("more of them in \"{}\"", file.display()),
            None => "more of them than are shown: run it with --report FILE to have them".into(),
        });
    }
}
