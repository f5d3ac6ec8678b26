//! What an operator is to do, resolved: plain values, paths absolute, defaults filled in.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::attributes::Carried;
use crate::model::owners::OwnerMap;
use crate::model::packing::Packing;
use crate::model::selection::Selection;
use crate::model::session::{DeletePolicy, Trust};

pub use crate::model::backup::Backup;
pub use crate::model::removal::MaxDelete;
pub use crate::model::setting::Limits;

/// The port of the command service if none is given.
pub const PORT_DEFAULT: u16 = 9753;
/// Data sockets take free ports from here up if no range is given.
pub const DATA_PORTS_FROM: u16 = 9754;
/// Patience with the first connection of a sink if none is given.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// What a source is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// The pool, absolute; not yet known to exist.
    pub directory: PathBuf,
    /// Where keys and ledgers live, absolute; made when missing.
    pub state: PathBuf,
    /// Where the command service listens; `0.0.0.0` or `[::]` for everywhere.
    pub bind: IpAddr,
    /// The port of the command service; 0 for a free one below the ephemeral range.
    pub port: u16,
    /// The ports for data and reports; `None` for free ones from [`DATA_PORTS_FROM`] up.
    pub data_ports: Option<PortRange>,
    /// Where the source writes its invite (0600) once the service is bound.
    pub invite_file: Option<PathBuf>,
    /// How changes are watched.
    pub watch: WatchKind,
    /// How many removals are too many.
    pub max_delete: MaxDelete,
    /// The attributes that are carried.
    pub carried: Carried,
    /// What of the pool is offered.
    pub selection: Selection,
    /// What is limited, until a person says otherwise.
    pub limits: Limits,
    /// Large files travel whole, whatever the sink has of them.
    pub whole_files: bool,
    /// Whether contents are packed on their way.
    pub packing: Packing,
    /// Every sink is only to tell what would be done.
    pub dry: bool,
}

/// What a sink is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkConfig {
    /// Where the source's command service listens.
    pub source: Address,
    /// The directory that becomes equal to the pool, absolute; not yet known to exist.
    pub directory: PathBuf,
    /// Where keys live, absolute; made when missing.
    pub state: PathBuf,
    /// The invite as the person gave it, whitespace trimmed; else ask the monitor.
    pub invite: Option<String>,
    /// What may be removed here.
    pub delete: DeletePolicy,
    /// What becomes of what is removed or replaced here.
    pub backup: Backup,
    /// What is brought to the disk, and when.
    pub fsync: Fsync,
    /// End by itself when all that changed until the backlog emptied is settled.
    pub once: bool,
    /// End unfinished after this long in all.
    pub timeout: Option<Duration>,
    /// Fail when the first connection takes longer.
    pub connect_timeout: Duration,
    /// The attributes that are wanted here.
    pub wanted: Carried,
    /// Other owners than the source's.
    pub owners: OwnerMap,
    /// Whether what the sink can't hold is an error.
    pub strict: bool,
    /// Whether holes stay holes; else they become zeros.
    pub is_sparse: bool,
    /// What is thought of content that is here already.
    pub trust: Trust,
    /// What is limited, until a person says otherwise.
    pub limits: Limits,
    /// Nothing is to be changed: what would be done is told.
    pub dry: bool,
}

/// What both operators in one process are to do, over loopback.
///
/// `sink.source` and `sink.invite` are not known before the service is bound: whoever runs this
/// fills them in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// The source; `bind` is loopback.
    pub source: SourceConfig,
    /// The sink.
    pub sink: SinkConfig,
}

/// A host by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// `HOST:PORT`, an IPv6 address in brackets: what stands behind `tcp://` in an endpoint.
    #[must_use]
    pub fn host_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host_port())
    }
}

/// Ports from `first` to `last`, both included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// The first; not 0.
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
}

/// What the sink brings to its disk, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fsync {
    /// Nothing: whatever the system does of itself; nothing is ever called durable.
    None,
    /// All filesystems touched, at barriers: after so many operations, bytes or seconds.
    #[default]
    Batch,
    /// Each file before it gets its name as well.
    File,
}

/// How changes are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WatchKind {
    /// By the best watcher that works here.
    #[default]
    Auto,
    /// By inotify.
    Inotify,
    /// By fanotify.
    Fanotify,
    /// Not at all: changes are found by sweeps.
    Sweep,
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn an_ipv6_address_wears_brackets() {
        let address = Address { host: "fe80::1".into(), port: 9753 };
        assert_eq!(address.to_string(), "[fe80::1]:9753");
    }
}
