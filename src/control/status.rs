//! The object that `osync status --json` prints: a fixed contract with scripts.

use serde::{Deserialize, Serialize};

use crate::control::name::JsonName;
use crate::model::session::{Figures, PhaseTag, Shortfall};
use crate::model::setting::Limits;
use crate::model::status::{Role, State};

/// How an operator stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusObject {
    /// Of which operator.
    pub role: Role,
    /// The phase.
    pub phase: Phase,
    /// The state.
    pub state: State,
    /// Why it is in that state, where that is not plain.
    pub reason: Option<String>,
    /// The figures; at a source, those of the worst session.
    #[serde(flatten)]
    pub figures: FigureFields,
    /// At a source, each sink that it knows in this run; at a sink, nothing.
    pub sinks: Vec<SinkStatus>,
    /// How a source sees changes; nothing at a sink.
    pub watching: Option<Watching>,
    /// What a person has limited at this operator.
    pub settings: Option<Settings>,
}

/// What `osync set` has set, or the command line; each as it is written there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// A rate, a timetable, or `off`; what of it holds now is among the figures.
    pub bwlimit: String,
    /// Operations a second; none for no limit.
    pub iops: Option<u64>,
    /// How nice the threads of the backlog are, 0 to 19.
    pub nice: u8,
    /// Their class for the disk: `none`, `best-effort:LEVEL` or `idle`.
    pub ionice: String,
}

impl From<&Limits> for Settings {
    fn from(limits: &Limits) -> Settings {
        Settings {
            bwlimit: limits.bandwidth.to_string(),
            iops: limits.iops,
            nice: limits.priority.nice.value(),
            ionice: limits.priority.io.to_string(),
        }
    }
}

/// How a source sees changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
    /// By what: `inotify`, `fanotify`, or `sweep` alone.
    pub by: String,
    /// How many directories nothing watches: they are swept in turn.
    pub unwatched: u64,
    /// The topmost of them, `CONTROL_RESULT_NAMES_MAX` at most.
    pub unwatched_subtrees: Vec<JsonName>,
}

/// One session of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// The sink's public key, as `osync key` shows it.
    pub key: String,
    /// Where it calls from, for people.
    pub address: String,
    /// When a sign of life came last, in seconds since 1970.
    pub last_seen: Option<u64>,
    /// When its tree was last equal to all that was known, in seconds since 1970.
    pub last_synchronised: Option<u64>,
    /// Its phase.
    pub phase: Phase,
    /// Its state.
    pub state: State,
    /// Why it is in that state, where that is not plain.
    pub reason: Option<String>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: FigureFields,
}

/// A phase, or none for an operator that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Registering and making ready.
    Init,
    /// Live changes and backlog flow.
    Transfer,
    /// Draining, sweeping, reporting.
    Termination,
    /// No operator.
    None,
}

impl From<PhaseTag> for Phase {
    fn from(phase: PhaseTag) -> Phase {
        match phase {
            PhaseTag::Init => Phase::Init,
            PhaseTag::Transfer => Phase::Transfer,
            PhaseTag::Termination => Phase::Termination,
        }
    }
}

impl Phase {
    /// The word as scripts see it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Phase::Init => "init",
            Phase::Transfer => "transfer",
            Phase::Termination => "termination",
            Phase::None => "none",
        }
    }
}

/// A session's figures under their fixed names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FigureFields {
    /// Entries known and not yet settled.
    pub backlog_files: u64,
    /// Bytes of content in them.
    pub backlog_bytes: u64,
    /// Whether the walk has seen all.
    pub backlog_known: bool,
    /// Bytes that may leave the source for the sink in a second, if there is a limit.
    pub bwlimit: Option<u64>,
    /// Names marked and not yet settled.
    pub dirty_paths: u64,
    /// Age of the oldest mark not yet applied, else 0.
    pub lag_seconds: f64,
    /// From mark to answer, of recent live changes.
    pub live_latency_ms: Latency,
    /// Entries settled at the sink.
    pub files_done: u64,
    /// Bytes of content in them.
    pub bytes_done: u64,
    /// Bytes of the frames of all data messages and reports; what encryption and the network add
    /// is not in it, nor are commands.
    pub bytes_on_wire: u64,
    /// Share of the files whose proof stands: 0 until there is proof.
    pub proved_share: f64,
    /// Problems by path.
    pub problems: u64,
    /// Kernel queue overflows.
    pub overflows: u64,
    /// Entries listed so far.
    pub files_known: u64,
    /// Bytes of content in them.
    pub bytes_known: u64,
    /// Directories known.
    pub directories: u64,
    /// Directories not yet listed, as far as known.
    pub directories_left: u64,
    /// Directories to be listed, those included that are listed once more, as in a sweep.
    pub directories_in_doubt: u64,
    /// Foreign names at the sink.
    pub foreign: u64,
    /// Sweeps that have ended.
    pub sweeps: u64,
    /// What is certain to find no room at the sink, while that is so.
    pub shortfall: Option<Shortfall>,
}

/// Two points of a distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median; none before the first.
    pub p50: Option<f64>,
    /// 99 in 100 are below; none before the first.
    pub p99: Option<f64>,
}

impl From<&Figures> for FigureFields {
    #[allow(clippy::cast_precision_loss)] // Neither is near 2^53.
    fn from(figures: &Figures) -> FigureFields {
        FigureFields {
            backlog_files: figures.backlog_files,
            backlog_bytes: figures.backlog_bytes,
            backlog_known: figures.backlog_known,
            bwlimit: figures.bwlimit,
            dirty_paths: figures.dirty_paths,
            lag_seconds: figures.lag_ms as f64 / 1_000.0,
            live_latency_ms: Latency {
                p50: millis(figures.latency_p50_us),
                p99: millis(figures.latency_p99_us),
            },
            files_done: figures.files_done,
            bytes_done: figures.bytes_done,
            bytes_on_wire: figures.bytes_on_wire,
            proved_share: 0.0,
            problems: figures.problems,
            overflows: figures.overflows,
            files_known: figures.files_known,
            bytes_known: figures.bytes_known,
            directories: figures.directories,
            directories_left: figures.directories_left,
            directories_in_doubt: figures.directories_in_doubt,
            foreign: figures.foreign,
            sweeps: figures.sweeps,
            shortfall: figures.shortfall,
        }
    }
}

/// Microseconds as milliseconds; 0 stands for none.
#[allow(clippy::cast_precision_loss)] // Far from 2^53.
fn millis(micros: u64) -> Option<f64> {
    (micros > 0).then_some(micros as f64 / 1_000.0)
}

impl StatusObject {
    /// An operator with one session, or with none: `connected` says whether a peer is there.
    #[must_use]
    pub fn of(role: Role, phase: PhaseTag, connected: bool, figures: &Figures) -> StatusObject {
        let state = State::of(connected, figures);
        StatusObject {
            role,
            phase: phase.into(),
            state,
            reason: reason(role, state, figures),
            figures: figures.into(),
            sinks: Vec::new(),
            watching: None,
            settings: None,
        }
    }

    /// A source with its sinks; its own figures are those of the worst.
    #[must_use]
    pub fn of_source(sinks: Vec<SinkStatus>) -> StatusObject {
        let worst = sinks.iter().max_by_key(|sink| badness(sink));
        match worst {
            Some(worst) => StatusObject {
                role: Role::Source,
                phase: worst.phase,
                state: worst.state,
                reason: worst.reason.clone(),
                figures: worst.figures.clone(),
                sinks,
                watching: None,
                settings: None,
            },
            None => StatusObject::of(Role::Source, PhaseTag::Init, false, &Figures::default()),
        }
    }
}

impl SinkStatus {
    /// One session, never seen and never synchronised.
    #[must_use]
    pub fn of(
        key: impl Into<String>,
        address: impl Into<String>,
        phase: PhaseTag,
        connected: bool,
        figures: &Figures,
    ) -> SinkStatus {
        let state = State::of(connected, figures);
        SinkStatus {
            key: key.into(),
            address: address.into(),
            last_seen: None,
            last_synchronised: None,
            phase: phase.into(),
            state,
            reason: reason(Role::Source, state, figures),
            figures: figures.into(),
        }
    }
}

fn reason(role: Role, state: State, figures: &Figures) -> Option<String> {
    match (state, role) {
        (State::Halted, _) => figures.halted.clone(),
        (State::Synching, _) => {
            let short = || figures.shortfall.as_ref().map(Shortfall::words);
            figures.stalled.clone().or_else(short)
        }
        (State::Waiting, Role::Source) => Some("no sink is connected".into()),
        (State::Waiting, Role::Sink) => Some("not connected to the source".into()),
        _ => None,
    }
}

/// Rises with how badly a session stands.
fn badness(sink: &SinkStatus) -> (u8, bool, u64, u64) {
    let state = match sink.state {
        State::Ready => 0,
        State::Synching => 1,
        State::Waiting => 2,
        State::Halted => 3,
    };
    let figures = &sink.figures;
    // Truncation is meant: whole milliseconds are fine enough.
    let lag_ms = (figures.lag_seconds * 1_000.0) as u64;
    (state, !figures.backlog_known, figures.backlog_files, lag_ms)
}

#[cfg(test)]
mod tests {
    use super::{SinkStatus, StatusObject};
    use crate::model::session::{Figures, PhaseTag};
    use crate::model::status::{Role, State};

    #[test]
    fn the_object_has_the_fields_of_the_contract() {
        let figures = Figures { lag_ms: 1_500, latency_p50_us: 2_500, ..Figures::default() };
        let status = StatusObject::of(Role::Source, PhaseTag::Transfer, true, &figures);
        let json = serde_json::to_value(&status).unwrap();
        for field in [
            "role",
            "phase",
            "state",
            "reason",
            "backlog_files",
            "backlog_bytes",
            "backlog_known",
            "dirty_paths",
            "lag_seconds",
            "live_latency_ms",
            "files_done",
            "bytes_done",
            "bytes_on_wire",
            "proved_share",
            "problems",
            "overflows",
            "sinks",
        ] {
            assert!(json.get(field).is_some(), "{field}");
        }
        assert_eq!(json["role"], "source");
        assert_eq!(json["phase"], "transfer");
        assert_eq!(json["state"], "SYNCHING");
        assert_eq!(json["lag_seconds"], 1.5);
        assert_eq!(json["live_latency_ms"]["p50"], 2.5);
        assert!(json["live_latency_ms"]["p99"].is_null(), "None was measured");
        assert_eq!(serde_json::from_value::<StatusObject>(json).unwrap(), status);
    }

    #[test]
    fn a_source_stands_as_its_worst_sink() {
        let ready = Figures { backlog_known: true, files_done: 9, ..Figures::default() };
        let behind = Figures { backlog_files: 7, ..Figures::default() };
        let sink = |key: &str, figures| {
            SinkStatus::of(key, "192.0.2.1", PhaseTag::Transfer, true, figures)
        };
        let status = StatusObject::of_source(vec![sink("a", &ready), sink("b", &behind)]);
        assert_eq!(status.state, State::Synching);
        assert_eq!(status.figures.backlog_files, 7);
        assert_eq!(status.sinks.len(), 2);
        let none = StatusObject::of_source(Vec::new());
        assert_eq!((none.state, none.phase.word()), (State::Waiting, "init"));
    }
}
