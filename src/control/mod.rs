//! The control socket: how `cutover`, `status` and `set` reach a running operator on its host.
//!
//! One JSON object a line in, one a line out. The operator runs a [`ControlServer`]; anybody who
//! may open the socket asks through an [`Operator`]. Sockets are found by the directory alone:
//! their names are made of the role and of the directory's device and inode, and a link named
//! after its path stands beside them, for when the directory itself has gone.

mod client;
mod name;
mod place;
mod result;
mod server;
mod status;

use serde::{Deserialize, Serialize};

pub use client::{Operator, Waiting, find_operator};
pub use name::{JsonName, escaped, tame};
pub use result::{ProblemObject, ResultObject};
pub use server::ControlServer;
pub use status::{FigureFields, Latency, Phase, Settings, SinkStatus, StatusObject, Watching};

/// What a person may ask of a running operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum ControlRequest {
    /// How does it stand? Reply: `Status`.
    Status,
    /// Enter the termination phase. Reply: `Done`, at once; the end is had by `Await`.
    Cutover {
        /// The key of the sink meant; needed only at a source with several.
        sink: Option<String>,
    },
    /// Change a setting. Reply: `Done`.
    Set {
        /// Which.
        name: String,
        /// To what; may be empty.
        value: String,
    },
    /// Prove everything again. Reply: `Done`.
    Verify {
        /// From the disk, whatever was proved before.
        full: bool,
    },
    /// Wait for a session to end. Replies: `Done` at once, `Result` later. No handler sees this
    /// request: the server answers it from what was announced.
    Await {
        /// The key of the sink meant; any if none.
        sink: Option<String>,
    },
}

/// What an operator answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "lowercase")]
pub enum ControlReply {
    /// How it stands.
    Status(Box<StatusObject>),
    /// It is done or under way; in words.
    Done {
        /// For people; may be empty.
        text: String,
    },
    /// How a session ended.
    Result(Box<ResultObject>),
    /// No, and why.
    Refused {
        /// For people.
        text: String,
    },
}

impl ControlReply {
    /// It is done.
    #[must_use]
    pub fn done(text: impl Into<String>) -> ControlReply {
        ControlReply::Done { text: text.into() }
    }

    /// No, and why.
    #[must_use]
    pub fn refused(text: impl Into<String>) -> ControlReply {
        ControlReply::Refused { text: text.into() }
    }
}
