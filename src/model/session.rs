//! What both sides say of a session: its phase, figures, credit, policy, and how it ended.

use serde::{Deserialize, Serialize};

pub use crate::model::limits::REPORT_LINES_MAX;

/// How a termination phase is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// When a sweep over both trees finds nothing.
    Cutover,
    /// When all that changed until the backlog emptied is settled.
    Once,
}

/// Room that the sink has in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Content and header bytes unanswered at most.
    pub bytes: u64,
    /// Messages unanswered at most.
    pub messages: u32,
}

/// What a sink has of a transfer that an earlier epoch has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Names the transfer.
    pub transfer: u64,
    /// Its first bytes, so many of them.
    pub bytes: u64,
}

/// What is thought of content that the sink has, and that no ledger knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Trust {
    /// It is the source's if size and modification time are.
    #[default]
    Times,
    /// It is read on both sides (`--checksum`).
    Content,
    /// All of it is declared to be the source's: only changes from now on travel
    /// (`--changes-only`).
    Declared,
}

/// What may be removed at the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletePolicy {
    /// Nothing.
    Never,
    /// What was offered and is no more at the source.
    Live,
    /// Foreign names too.
    All,
}

/// The three phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PhaseTag {
    /// Registering and making ready.
    Init,
    /// Live changes and backlog flow.
    Transfer,
    /// Draining, sweeping, reporting.
    Termination,
}

/// The figures of one session, known and estimated apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Why nothing moves, if nothing does.
    pub halted: Option<String>,
    /// Entries listed so far, not counting directories listed again.
    pub files_known: u64,
    /// Bytes of content in them.
    pub bytes_known: u64,
    /// Entries settled at the sink.
    pub files_done: u64,
    /// Bytes of content in them.
    pub bytes_done: u64,
    /// Bytes of the frames of all data messages sent and of all reports taken, as they are handed
    /// to the sockets and taken from them; known to the sockets' owners alone.
    pub bytes_on_wire: u64,
    /// Entries known and not yet settled.
    pub backlog_files: u64,
    /// Bytes of content in them.
    pub backlog_bytes: u64,
    /// Whether the walk has seen every directory.
    pub backlog_known: bool,
    /// Directories known.
    pub directories: u64,
    /// Directories not yet listed, as far as known.
    pub directories_left: u64,
    /// Directories to be listed, those included that are listed once more, as in a sweep.
    pub directories_in_doubt: u64,
    /// Bytes that may leave for the sink in a second, if there is a limit.
    pub bwlimit: Option<u64>,
    /// Names marked and not yet settled.
    pub dirty_paths: u64,
    /// Age of the oldest mark in milliseconds, 0 for none.
    pub lag_ms: u64,
    /// Median time from mark to answer in microseconds, of recent live changes; 0 for none.
    pub latency_p50_us: u64,
    /// 99th percentile of the same.
    pub latency_p99_us: u64,
    /// Problems by path, those over the bound included.
    pub problems: u64,
    /// Kernel queue overflows.
    pub overflows: u64,
    /// Foreign names at the sink.
    pub foreign: u64,
    /// Sweeps that have ended.
    pub sweeps: u64,
    /// What the session waits for, if it has work and nothing moves.
    pub stalled: Option<String>,
    /// What is certain to find no room at the sink, while that is so.
    pub shortfall: Option<Shortfall>,
}

/// Free room at a sink, as its filesystem tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeRoom {
    /// Bytes free.
    pub bytes: u64,
    /// Inodes free; nothing where they are not counted.
    pub inodes: Option<u64>,
}

/// More is known to be missing at the sink than it has room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// Bytes of content that the sink lacks, at least: what is known by now and not yet sent.
    pub needed_bytes: u64,
    /// Names that it lacks, at least.
    pub needed_inodes: u64,
    /// What it has free.
    pub free: FreeRoom,
}

impl Shortfall {
    /// What is wanting, if this is more than there is room for.
    #[must_use]
    pub fn of(needed_bytes: u64, needed_inodes: u64, free: FreeRoom) -> Option<Shortfall> {
        let is_short = needed_bytes > free.bytes
            || free.inodes.is_some_and(|free_inodes| needed_inodes > free_inodes);
        is_short.then_some(Shortfall { needed_bytes, needed_inodes, free })
    }

    /// In words, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let Shortfall { needed_bytes, needed_inodes, free } = *self;
        if needed_bytes > free.bytes {
            let (needed, free) = (human_bytes(needed_bytes), human_bytes(free.bytes));
            return format!("room: {needed} needed at least, {free} free at the sink");
        }
        let free = free.inodes.unwrap_or_default();
        format!("room: {needed_inodes} inodes needed at least, {free} free at the sink")
    }
}

/// Bytes for people, in powers of two.
#[must_use]
#[allow(clippy::cast_precision_loss)] // One digit behind the point is shown.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        // What would be shown as 1024.0 belongs to the next one.
        if value < 1_023.95 {
            break;
        }
        (value, unit) = (value / 1_024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// What a session ended with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalReport {
    /// How it ended.
    pub outcome: Outcome,
    /// In words, for people.
    pub text: String,
    /// The last figures.
    pub figures: Figures,
    /// What went wrong, by path; at most `REPORT_LINES_MAX` of them.
    pub problems: Vec<ProblemLine>,
    /// Names that only the sink has; at most `REPORT_LINES_MAX` of them.
    #[serde(with = "byte_lists")]
    pub foreign: Vec<Vec<u8>>,
    /// Names that went on changing, and files that were still open for writing; at most
    /// `REPORT_LINES_MAX` of them.
    #[serde(with = "byte_lists")]
    pub hot: Vec<Vec<u8>>,
    /// Attributes that the sink could not keep, by kind.
    pub lost_attributes: Vec<(String, u64)>,
}

/// How a session ends; each has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Equal, but for foreign names.
    Equal,
    /// Finished, with problems or names that went on changing.
    Problems,
    /// Not finished: the source went on changing, or removals are halted.
    Unfinished,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemLine {
    /// Where, as bytes below the root.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// What, and what to do.
    pub text: String,
}

mod byte_lists {
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_bytes::{ByteBuf, Bytes};

    pub(super) fn serialize<S: Serializer>(list: &[Vec<u8>], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(list.iter().map(|bytes| Bytes::new(bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let list = Vec::<ByteBuf>::deserialize(d)?;
        Ok(list.into_iter().map(ByteBuf::into_vec).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{FreeRoom, Shortfall, human_bytes};

    #[test]
    fn room_is_short_of_bytes_or_of_inodes() {
        let free = FreeRoom { bytes: 3 << 30, inodes: Some(5) };
        assert_eq!(Shortfall::of(3 << 30, 5, free), None);
        let bytes = Shortfall::of(12 << 30, 1, free).unwrap();
        assert_eq!(bytes.words(), "room: 12.0 GiB needed at least, 3.0 GiB free at the sink");
        let inodes = Shortfall::of(1, 6, free).unwrap();
        assert_eq!(inodes.words(), "room: 6 inodes needed at least, 5 free at the sink");
        assert_eq!(Shortfall::of(1, u64::MAX, FreeRoom { inodes: None, ..free }), None);
    }

    #[test]
    fn bytes_are_shown_with_one_digit_behind_the_point() {
        let shown = [0, 1_023, 1_024, 1_048_470, 1_048_540, u64::MAX].map(human_bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1023.9 KiB", "1.0 MiB", "16.0 EiB"]);
    }
}
