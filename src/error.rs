//! What ends a phase. What goes wrong at one path is a problem, which is data, not an error.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A failure that ends the operator's phase; its text is for the person who started it.
#[derive(Debug, Error)]
pub enum Error {
    /// The person asked for something that can't be.
    #[error("{0}")]
    Usage(String),
    /// The peer, or a lock, says no.
    #[error("{0}")]
    Refused(String),
    /// The two programs speak different versions of the protocol.
    #[error(
        "This osync speaks protocol version {ours}, the peer speaks {theirs}: \
         install the same osync on both hosts"
    )]
    Version {
        /// Of this program.
        ours: u32,
        /// Of the peer.
        theirs: u32,
    },
    /// An error of the operating system at a path.
    #[error("{doing} \"{}\": {error}", path.display())]
    Disk {
        /// What was tried, as the start of a sentence: `Can't open`.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The network failed; the text names the endpoint.
    #[error("{0}")]
    Network(String),
    /// A message that breaks the protocol.
    #[error("{0}")]
    Protocol(String),
    /// Going on might do harm: a person has to look; the pair can go on then.
    #[error("{0}")]
    Halted(String),
    /// Time ran out; the text says what was waited for.
    #[error("{0}")]
    TimedOut(String),
}

impl Error {
    /// Wraps a system error with what was tried and where.
    pub fn disk(
        doing: &'static str,
        path: impl Into<PathBuf>,
        error: impl Into<io::Error>,
    ) -> Self {
        Error::Disk { doing, path: path.into(), error: error.into() }
    }
}
