//! The frame of a data message. Reports travel as [`crate::model::message::Report`], unframed.

use serde::{Deserialize, Serialize};

use crate::model::message::Body;
use crate::model::stamp::{Epoch, Lane, Sequence, Stamp};

/// Header frame of a message on a data lane; content frames may follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The epoch that the message belongs to.
    pub epoch: Epoch,
    /// The lane that it travels on.
    pub lane: Lane,
    /// Its number in that lane, from 1, without holes.
    pub sequence: Sequence,
    /// Every stamp at or below this one is answered or given up (law 3).
    pub watermark: Stamp,
    /// What it says.
    pub body: Body,
    /// Of a content frame that zstd has packed: how many bytes it holds when unpacked. Left out of
    /// any other message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<u32>,
}
