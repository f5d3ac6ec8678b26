//! What an operator is and how it stands, in the words of the contract with scripts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::session::Figures;

/// Which of the two operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Has the pool.
    Source,
    /// Gets the pool.
    Sink,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Source => "source",
            Role::Sink => "sink",
        })
    }
}

/// How an operator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Something is left to do.
    Synching,
    /// Everything known is settled; changes are followed.
    Ready,
    /// No peer is there.
    Waiting,
    /// Removals are halted until a person says otherwise.
    Halted,
}

impl State {
    /// Tells the state from whether a peer is there and from the session's figures.
    #[must_use]
    pub fn of(connected: bool, figures: &Figures) -> State {
        if figures.halted.is_some() {
            State::Halted
        } else if !connected {
            State::Waiting
        } else if figures.backlog_known && figures.backlog_files == 0 && figures.dirty_paths == 0 {
            State::Ready
        } else {
            State::Synching
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Synching => "SYNCHING",
            State::Ready => "READY",
            State::Waiting => "WAITING",
            State::Halted => "HALTED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use crate::model::session::Figures;

    #[test]
    fn ready_means_known_and_settled() {
        let mut figures = Figures { backlog_known: true, ..Figures::default() };
        assert_eq!(State::of(false, &figures), State::Waiting);
        assert_eq!(State::of(true, &figures), State::Ready);
        figures.dirty_paths = 1;
        assert_eq!(State::of(true, &figures), State::Synching);
        figures.halted = Some("the root is gone".into());
        assert_eq!(State::of(false, &figures), State::Halted);
    }
}
