//! The command service: requests of the sink (REQ), replies of the source (ROUTER).
//!
//! Every request is answered; every command is idempotent, so that a lost reply does no harm.

use serde::{Deserialize, Serialize};

use crate::model::abilities::Abilities;
use crate::model::attributes::Carried;
use crate::model::marker::Marker;
use crate::model::session::{
    Credit, DeletePolicy, Ending, Figures, FinalReport, FreeRoom, Partial, PhaseTag, Trust,
};
use crate::model::stamp::{Epoch, Sequence};

/// Opens every request and reply, so that a stranger is told apart at once.
pub const MAGIC: [u8; 5] = *b"OSYNC";
/// Version of PROTOCOL.md that this program speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Name and version of this program, for people.
pub const PROGRAM: &str = concat!("osync ", env!("CARGO_PKG_VERSION"));

/// A request with what every request bears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Always [`MAGIC`].
    pub magic: [u8; 5],
    /// Always first, and read before the rest is.
    pub version: u32,
    /// The request or reply.
    pub body: T,
}

impl<T> Envelope<T> {
    /// Wraps a body in this program's version.
    pub fn new(body: T) -> Envelope<T> {
        Envelope { magic: MAGIC, version: PROTOCOL_VERSION, body }
    }
}

/// What a sink may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Before anything is touched, with the sink's own key or an invite's: is this a dry run?
    /// Reply: `Greeted`.
    Greet,
    /// With an invite's one-time key: here is my own key. Reply: `Introduced`.
    Introduce {
        /// The sink's long-term public CURVE key.
        #[serde(with = "serde_bytes")]
        public_key: Vec<u8>,
        /// For a dry run alone: the invite is not spent, the key not remembered.
        dry: bool,
    },
    /// With the sink's own key: begin an epoch. Reply: `Registered`.
    Register(Registration),
    /// The data sockets are connected: is the source ready? Reply: `Ready` or `NotYet`.
    EnsureReadiness {
        /// The epoch that was registered.
        epoch: Epoch,
    },
    /// Still here. Reply: `Alive`.
    Heartbeat(Heartbeat),
    /// A person wants to end: enter the termination phase. Reply: `Alive`.
    Unregister {
        /// The epoch.
        epoch: Epoch,
        /// How to end.
        ending: Ending,
    },
    /// The final report was read, the sink is done. Reply: `Farewell`.
    Leave {
        /// The epoch.
        epoch: Epoch,
    },
}

/// What a sink says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Drawn for each try to begin an epoch; the same nonce gets the same epoch (H26).
    pub nonce: u64,
    /// The program's own version, for people.
    pub program: String,
    /// The sink's host name, for people.
    pub host: String,
    /// The sink's directory, for people.
    #[serde(with = "serde_bytes")]
    pub directory: Vec<u8>,
    /// Identity of the sink's root: another root means another set of names offered.
    pub root_id: String,
    /// The marker at the sink's root: whether what was once durable there still is (H2).
    pub marker: Marker,
    /// Transfers that an earlier epoch has begun: those go on from there.
    pub partials: Vec<Partial>,
    /// The greatest epoch that this sink remembers; 0 for none.
    pub last_epoch: Epoch,
    /// Credit that the sink grants, by lane index.
    pub credit: [Credit; 2],
    /// What may be removed here.
    pub delete: DeletePolicy,
    /// What the sink can do and hold.
    pub abilities: Abilities,
    /// The attributes that the person at the sink wants.
    pub wanted: Carried,
    /// What is thought of content that is there already.
    pub trust: Trust,
    /// Bytes that may leave the source for this sink in a second, as far as this sink limits it.
    pub bwlimit: Option<u64>,
    /// How the session is to end by itself, if at all (`--once`).
    pub ending: Option<Ending>,
    /// Nothing is to be changed: the sink tells what would be done, and the source remembers
    /// nothing of it.
    pub dry: bool,
}

/// A sign of life, with what shows a lost tail (H17e).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The epoch.
    pub epoch: Epoch,
    /// Last sequence number seen, by lane index.
    pub seen: [Sequence; 2],
    /// Number of the last report sent.
    pub reports_sent: u64,
    /// Something a person should know, such as a full disk.
    pub trouble: Option<String>,
    /// The room on the root's filesystem, as far as it tells; 0 if it takes nothing at all.
    pub room: Option<FreeRoom>,
    /// Bytes that may leave the source for this sink in a second, as far as this sink limits it.
    pub bwlimit: Option<u64>,
}

/// What a source replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// What a sink has to know before it touches anything.
    Greeted {
        /// Nothing is to be changed at any sink: `Registration::dry` has to be set.
        dry: bool,
    },
    /// The key is remembered; come back with it.
    Introduced,
    /// An epoch has begun.
    Registered(Registered),
    /// Both sides are ready; data flows.
    Ready,
    /// Not all is connected yet: ask again.
    NotYet,
    /// The state of the session.
    Alive(Alive),
    /// Good-bye; the session is over.
    Farewell,
    /// No; the words are for people.
    Refused {
        /// What kind of no.
        code: Refusal,
        /// Why, and what to do.
        text: String,
    },
}

/// The kinds of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The two programs speak different versions.
    Version,
    /// The key may not do this.
    Key,
    /// Not in this phase or not in this epoch: register again.
    Stale,
    /// Something else is in the way, such as another sink's session.
    Busy,
    /// The request makes no sense.
    Malformed,
}

/// The grant of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The new epoch.
    pub epoch: Epoch,
    /// Port of the PUSH socket of each lane, by lane index.
    pub data_ports: [u16; 2],
    /// Port of the PULL socket for reports.
    pub report_port: u16,
    /// The source's directory, for people.
    #[serde(with = "serde_bytes")]
    pub directory: Vec<u8>,
    /// The program's own version, for people.
    pub program: String,
    /// The attributes that the source carries: others are left alone.
    pub carried: Carried,
    /// Things that a person should know before the first byte.
    pub warnings: Vec<String>,
}

/// Where the session stands, as the source sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Last sequence number sent, by lane index.
    pub sent: [Sequence; 2],
    /// Number of the last report read.
    pub reports_seen: u64,
    /// The phase.
    pub phase: PhaseTag,
    /// Figures for people and scripts.
    pub figures: Figures,
    /// A person asked at the source for the termination phase: please unregister.
    pub please_unregister: Option<Ending>,
    /// The end: everything is settled or given up.
    pub finished: Option<FinalReport>,
}
