//! The monitor of the command line: what an operator says, shown to people and scripts.
//!
//! One `Screen` for each running operator (or pair, for `osync local`). Any thread of the library
//! calls it; a ticker thread of `operate` has it draw once a second.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use osync::control::{Phase, StatusObject, escaped};
use osync::model::item::Item;
use osync::model::limits::{PROBLEMS_MAX, PROBLEMS_TOLD_MAX};
use osync::model::session::{Figures, PhaseTag, ProblemLine};
use osync::model::status::{Role, State};
use osync::monitor::{Monitor, StateChange};
use osync::stop::Stop;
use serde::Serialize;

use crate::output::{self, tell};
use crate::plan::{self, Plan};
use crate::progress::{Progress, View};

/// Ticks from one plain line of progress to the next.
const PLAIN_TICKS: u64 = 10;
/// Steps of the bar.
const BAR_STEPS: u64 = 1_000;

/// What is being run, as people call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `osync source`.
    Source,
    /// `osync sink`.
    Sink,
    /// `osync local`.
    Local,
}

impl Command {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Command::Source => "source",
            Command::Sink => "sink",
            Command::Local => "local",
        }
    }

    /// The operator whose state stands for the whole.
    fn role(self) -> Role {
        match self {
            Command::Source | Command::Local => Role::Source,
            Command::Sink => Role::Sink,
        }
    }
}

/// Shows what an operator says.
pub struct Screen {
    command: Command,
    json: bool,
    stop: Stop,
    started: Instant,
    bars: Option<Bars>,
    inner: Mutex<Inner>,
}

struct Bars {
    share: ProgressBar,
    counts: ProgressBar,
    pace: ProgressBar,
}

#[derive(Default)]
struct Inner {
    change: Option<StateChange>,
    figures: Figures,
    progress: Progress,
    problems: Vec<ProblemLine>,
    problems_seen: u64,
    terminating_since: Option<Instant>,
    port: Option<u16>,
    ticks: u64,
    last_line: String,
    plan: Plan,
}

/// What was seen of an operator until it ended.
pub struct Seen {
    /// The last figures.
    pub figures: Figures,
    /// Problems, those over the bound left out.
    pub problems: Vec<ProblemLine>,
    /// How many of them, from the first on, a person was told as they came.
    pub told: usize,
    /// From start to end.
    pub lasted: Duration,
    /// From the start of the termination phase to the end, if there was one.
    pub terminated_in: Option<Duration>,
    /// The sums of a dry run.
    pub plan: Plan,
}

#[derive(Serialize)]
struct ServiceEvent {
    event: &'static str,
    port: u16,
}

#[derive(Serialize)]
struct StateEvent<'a> {
    event: &'static str,
    role: Role,
    phase: Phase,
    state: State,
    reason: Option<&'a str>,
    sink: Option<&'a str>,
}

#[derive(Serialize)]
struct EndEvent<'a> {
    event: &'static str,
    role: Role,
    phase: Phase,
    outcome: &'a str,
    exit_code: u8,
    text: &'a str,
}

#[derive(Serialize)]
struct ProgressEvent {
    event: &'static str,
    #[serde(flatten)]
    status: StatusObject,
    files_per_second: f64,
    bytes_per_second: f64,
    /// Shortest and longest time left for the backlog, estimated.
    backlog_seconds_left: Option<(f64, f64)>,
}

impl Screen {
    /// A screen for what is about to start.
    pub fn new(command: Command, json: bool, stop: Stop) -> Screen {
        let bars = (!json && output::is_watched()).then(Bars::new);
        Screen { command, json, stop, started: Instant::now(), bars, inner: Mutex::default() }
    }

    /// Draws or prints progress; once a second.
    pub fn tick(&self) {
        let mut inner = self.inner();
        inner.ticks += 1;
        let figures = inner.figures.clone();
        let view = inner.progress.observe(self.started.elapsed(), &figures);
        if self.json {
            let event = self.progress_event(&inner, &view);
            drop(inner);
            self.hand_out(&event);
        } else if let Some(bars) = &self.bars {
            let state = inner.change.as_ref().map_or(State::Waiting, |change| change.state);
            drop(inner);
            bars.draw(state, &view, &figures);
        } else if inner.ticks.is_multiple_of(PLAIN_TICKS) {
            let left = view.time_left().map(|left| format!(", {left}")).unwrap_or_default();
            let line = format!("{}; {}{left}", view.counts(&figures), view.pace(&figures));
            if line != inner.last_line {
                self.say(&line);
                inner.last_line = line;
            }
        }
    }

    /// Takes the bars away and tells what was seen.
    pub fn finish(&self) -> Seen {
        if let Some(bars) = &self.bars {
            bars.share.finish_and_clear();
            bars.counts.finish_and_clear();
            bars.pace.finish_and_clear();
        }
        let mut inner = self.inner();
        Seen {
            figures: inner.figures.clone(),
            told: inner.problems.len().min(PROBLEMS_TOLD_MAX as usize),
            problems: std::mem::take(&mut inner.problems),
            lasted: self.started.elapsed(),
            terminated_in: inner.terminating_since.map(|since| since.elapsed()),
            plan: inner.plan,
        }
    }

    /// Tells scripts how it ended.
    pub fn ended(&self, outcome: &str, exit_code: u8, text: &str) {
        if self.json {
            self.hand_out(&EndEvent {
                event: "state",
                role: self.command.role(),
                phase: Phase::None,
                outcome,
                exit_code,
                text,
            });
        }
    }

    /// Tells people one thing in the operator's name.
    pub fn say(&self, text: &str) {
        tell(&format!("osync {}: {text}", self.command.word()));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One object to scripts. When nobody reads any more, the operator goes on all the same.
    fn hand_out(&self, event: &impl Serialize) {
        if let Err(error) = output::print_json(event) {
            tracing::debug!("nobody reads standard output: {error}");
        }
    }

    fn progress_event(&self, inner: &Inner, view: &View) -> ProgressEvent {
        let change = inner.change.as_ref();
        let phase = change.map_or(PhaseTag::Init, |change| change.phase);
        let connected = change.is_some_and(|change| change.state != State::Waiting);
        let mut status = StatusObject::of(self.command.role(), phase, connected, &inner.figures);
        if let Some(change) = change {
            status.state = change.state;
            status.reason = change.reason.clone();
        }
        ProgressEvent {
            event: "progress",
            status,
            files_per_second: view.rates.files,
            bytes_per_second: view.rates.bytes,
            backlog_seconds_left: view
                .left
                .map(|(shortest, longest)| (shortest.as_secs_f64(), longest.as_secs_f64())),
        }
    }
}

impl Monitor for Screen {
    fn state(&self, change: &StateChange) {
        let mut inner = self.inner();
        match change.phase {
            PhaseTag::Termination => {
                inner.terminating_since.get_or_insert_with(Instant::now);
            }
            // A connection lost meanwhile does not begin the cutover anew.
            PhaseTag::Init => {}
            PhaseTag::Transfer => inner.terminating_since = None,
        }
        if change.role == self.command.role() {
            inner.change = Some(change.clone());
        }
        drop(inner);
        let phase = Phase::from(change.phase);
        if self.json {
            self.hand_out(&StateEvent {
                event: "state",
                role: change.role,
                phase,
                state: change.state,
                reason: change.reason.as_deref(),
                sink: change.sink.as_deref(),
            });
        }
        let reason = change.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let sink = change.sink.as_deref().map(|key| format!(" (sink {key})")).unwrap_or_default();
        tell(&format!(
            "osync {}: phase {}, {}{sink}{reason}",
            change.role,
            phase.word(),
            change.state
        ));
    }

    fn figures(&self, figures: &Figures) {
        self.inner().figures = figures.clone();
    }

    fn problem(&self, path: &[u8], text: &str) {
        let mut inner = self.inner();
        inner.problems_seen += 1;
        let seen = inner.problems_seen;
        if inner.problems.len() < PROBLEMS_MAX {
            inner.problems.push(ProblemLine { path: path.to_vec(), text: text.to_owned() });
        }
        drop(inner);
        if seen <= PROBLEMS_TOLD_MAX {
            self.say(&problem_line(path, text));
        }
        if seen == PROBLEMS_TOLD_MAX {
            self.say("Problems from here on are only counted here; the report lists more");
        }
    }

    fn note(&self, text: &str) {
        self.say(text);
    }

    fn item(&self, item: &Item) {
        self.inner().plan.add(item);
        if self.json {
            return self.hand_out(&plan::event(item));
        }
        if let Err(error) = output::bars().suspend(|| output::print(&plan::line(item))) {
            tracing::debug!("nobody reads standard output: {error}");
        }
    }

    fn service(&self, port: u16) {
        self.inner().port = Some(port);
        if self.json {
            self.hand_out(&ServiceEvent { event: "service", port });
        } else if self.command == Command::Source {
            let line = format!("osync source: command service on port {port}");
            if let Err(error) = output::print(&line) {
                tracing::debug!("nobody reads standard output: {error}");
            }
        }
    }

    fn invite(&self, invite: &str) {
        if self.command != Command::Source || !output::is_watched() {
            return;
        }
        let port = self.inner().port.unwrap_or(osync::config::PORT_DEFAULT);
        tell("Paste this on the new host, with the directory that is to be filled there:");
        tell(&format!("  osync sink {}:{port} DIR --invite {invite}", host_name()));
    }

    fn ask_invite(&self, source: &str) -> Option<String> {
        if !io::stdin().is_terminal() || !output::is_watched() {
            return None;
        }
        tell(&format!("{source} is not known here yet. Its osync printed an invite:"));
        tell("paste the invite and press Enter (or Ctrl-C to leave it):");
        crate::prompt::line(&self.stop)
    }
}

/// A problem in one line.
pub fn problem_line(path: &[u8], text: &str) -> String {
    if path.is_empty() {
        format!("problem: {text}")
    } else {
        format!("problem at \"{}\": {text}", escaped(path))
    }
}

/// The name under which other hosts know this one, perhaps.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() || name == "(none)" { "OLDHOST".into() } else { name.to_owned() }
}

impl Bars {
    fn new() -> Bars {
        let bar = |length: Option<u64>, template: &str| {
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ");
            let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
            output::bars().add(bar.with_style(style))
        };
        Bars {
            share: bar(Some(BAR_STEPS), "{prefix} [{bar:24}] {percent:>3}% {wide_msg}"),
            counts: bar(None, "  {wide_msg}"),
            pace: bar(None, "  {wide_msg}"),
        }
    }

    fn draw(&self, state: State, view: &View, figures: &Figures) {
        // The share lies between 0 and 1.
        self.share.set_position((view.share * BAR_STEPS as f64) as u64);
        self.share.set_prefix(state.to_string());
        self.share.set_message(view.time_left().unwrap_or_default());
        self.counts.set_message(view.counts(figures));
        self.pace.set_message(view.pace(figures));
    }
}

#[cfg(test)]
mod tests {
    use super::problem_line;

    #[test]
    fn a_name_in_a_problem_is_escaped() {
        assert_eq!(
            problem_line(b"a\x1b/\xff", "Can't read it"),
            r#"problem at "a\u{1b}/\xff": Can't read it"#
        );
        assert_eq!(problem_line(b"", "Gone"), "problem: Gone");
    }
}
