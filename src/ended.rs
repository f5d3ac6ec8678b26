//! How an operator ended, in one word for scripts; exit codes follow from it.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::session::{FinalReport, Outcome};

/// How an operator ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The termination phase came to its end; its outcome may still be `Unfinished`.
    Finished(FinalReport),
    /// A person said stop; the pair can go on.
    Interrupted,
    /// `--timeout` ran out; the pair can go on. The text is for people.
    TimedOut(String),
}

/// Any end in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndKind {
    /// Finished and equal.
    Equal,
    /// Finished, with problems or names that went on changing.
    Problems,
    /// Not finished: the source went on changing, a time-out, or a halt.
    Unfinished,
    /// Stopped by a person.
    Interrupted,
    /// Failed.
    Failed,
    /// The wish makes no sense.
    Usage,
    /// A key, a version or a lock said no.
    Refused,
}

impl EndKind {
    /// The word for any end.
    #[must_use]
    pub fn of(end: &Result<Ended, Error>) -> EndKind {
        match end {
            Ok(Ended::Finished(report)) => match report.outcome {
                Outcome::Equal => EndKind::Equal,
                Outcome::Problems => EndKind::Problems,
                Outcome::Unfinished => EndKind::Unfinished,
            },
            Ok(Ended::Interrupted) => EndKind::Interrupted,
            Ok(Ended::TimedOut(_)) => EndKind::Unfinished,
            Err(error) => EndKind::of_error(error),
        }
    }

    /// The word for a failure.
    #[must_use]
    pub fn of_error(error: &Error) -> EndKind {
        match error {
            Error::Usage(_) => EndKind::Usage,
            Error::Refused(_) | Error::Version { .. } => EndKind::Refused,
            Error::Halted(_) => EndKind::Unfinished,
            Error::Disk { .. } | Error::Network(_) | Error::Protocol(_) | Error::TimedOut(_) => {
                EndKind::Failed
            }
        }
    }

    /// The word as scripts see it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            EndKind::Equal => "equal",
            EndKind::Problems => "problems",
            EndKind::Unfinished => "unfinished",
            EndKind::Interrupted => "interrupted",
            EndKind::Failed => "failed",
            EndKind::Usage => "usage",
            EndKind::Refused => "refused",
        }
    }
}
