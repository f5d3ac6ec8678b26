//! The command line: typed arguments, as given. Pure: nothing here reads the disk, the
//! environment or a clock. What they mean together is settled in `resolve`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use osync::config::{Address, MaxDelete, PortRange, WatchKind};
use osync::model::bandwidth::Bandwidth;
use osync::model::key::PublicKey;
use osync::model::owners::{IdRule, OwnerMap};
use osync::model::priority::{IoPriority, Nice};

use crate::filters::{FilterArgs, NoFilterArgs};
use crate::habits::{HabitArgs, SinkHabitArgs};
use crate::owners;
use crate::packing::PackingArgs;
use crate::parse::{self, Iops};

const AFTER_HELP: &str = "\
On the old host:  osync source /data
On the new host:  osync sink oldhost:9753 /backup
When people may be locked out for some seconds, on either host:  osync cutover DIR

Exit codes: 0 finished and equal; 1 failed; 2 wrong usage; 3 finished, with problems that the
report lists; 4 refused (key, version, lock); 5 not finished, the pair can go on; 130 interrupted,
resumable";

const SETTINGS_HELP: &str = "\
Settings of this version:
  resume          let removals go on after a halt; said to the source
  bwlimit=RATE    as --bwlimit; a timetable in quotes; off for no limit
  iops=N          as --iops; off for no limit; said to the source
  nice=N          as --nice
  ionice=CLASS    as --ionice";

/// Moves a pool of many million files to a new host while people keep working on it
#[derive(Debug, Parser)]
#[command(name = "osync", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where the log goes.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where the log goes, and how much of it.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Append the log to this file instead of standard error
    #[arg(long, value_name = "FILE", global = true, display_order = 900)]
    pub log_file: Option<PathBuf>,
    /// Log more; twice for still more (RUST_LOG goes before it)
    #[arg(short, long, action = ArgAction::Count, global = true, display_order = 901)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Offer a directory to sinks: run this on the old host
    Source(SourceArgs),
    /// Make a directory equal to a source's and keep it so: run this on the new host
    Sink(SinkArgs),
    /// Run both operators in one process, for two directories of one host
    Local(LocalArgs),
    /// End a running pair: drain, sweep, report; follows until it has ended
    Cutover(CutoverArgs),
    /// Show how a running operator stands
    Status(StatusArgs),
    /// Change a running operator
    Set(SetArgs),
    /// Prove everything again (not in this version yet)
    Verify(VerifyArgs),
    /// Print the root hash of a tree (not in this version yet)
    Digest(DigestArgs),
    /// Manage the keys of this host
    Key(KeyArgs),
    /// Print the manual page
    #[command(hide = true)]
    Man(ManArgs),
    /// Print completions for a shell
    #[command(hide = true)]
    Completions(CompletionsArgs),
}

/// Options of every operator.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Keep keys and ledgers here [default: /var/lib/osync for root, else
    /// $XDG_STATE_HOME/osync]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Write a report in JSON here at the end, however it ends
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Print one JSON object a line on standard output: state changes, progress each second
    #[arg(long)]
    pub json: bool,
    /// Change nothing: list what would be done, one name a line, as rsync -n -i does; ends by
    /// itself. Of a source: every sink that connects only lists
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `osync source`.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The directory to offer
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// What a source may be told.
    #[command(flatten)]
    pub options: SourceOptions,
    /// What any operator may be limited to.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What every operator may be told.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What a source may be told.
#[derive(Debug, Args)]
pub struct SourceOptions {
    /// Listen for sinks on this port; 0 for a free one [default: 9753; 0 for `osync local`]
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Listen on this address only [default: all; loopback for `osync local`]
    #[arg(long, value_name = "ADDR", value_parser = parse::bind)]
    pub bind: Option<IpAddr>,
    /// Take the ports for data from this range, three for each sink [default: free ones from 9754
    /// up]
    #[arg(long, value_name = "A-B", value_parser = parse::ports)]
    pub data_ports: Option<PortRange>,
    /// Write the invite here (0600) once sinks can connect
    #[arg(long, value_name = "FILE")]
    pub invite_file: Option<PathBuf>,
    /// Watch for changes by this means: auto, inotify, fanotify or sweep
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = parse::watch)]
    pub watch: WatchKind,
    /// Halt removals, and wait for a person, when more names than this, or more than this share of
    /// the pool, go within an hour [default: half of a pool of more than 1,000 names, or all of
    /// more than 10]
    #[arg(long, value_name = "N|N%", value_parser = parse::max_delete)]
    pub max_delete: Option<MaxDelete>,
    /// Ask for no more than so many operations a second of the source's disk (looks at names,
    /// openings, listings) for the backlog; live changes are not counted
    #[arg(long, value_name = "N", value_parser = parse::iops)]
    pub iops: Option<Iops>,
    /// Send changed large files whole, and keep no signatures of them
    #[arg(short = 'W', long)]
    pub whole_file: bool,
    /// Whether contents are packed.
    #[command(flatten)]
    pub packing: PackingArgs,
    /// What is to be offered.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// What people are used to from rsync.
    #[command(flatten)]
    pub habits: HabitArgs,
}

/// What any operator may be limited to.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Send no more than this in a second for each sink: a number with K, M or G (KiB without
    /// one), or a timetable by the local clock, such as "Mon-Fri-08:00,10M Mon-Fri-18:00,off";
    /// live changes are counted and do not wait; of two limits at both sides the lower one counts
    #[arg(long, value_name = "RATE", value_parser = parse::bandwidth)]
    pub bwlimit: Option<Bandwidth>,
    /// Make the threads that work for the backlog as nice as this about the processor, 0 to 19
    /// (5 without it, so that live changes are not kept waiting)
    #[arg(long, value_name = "N", value_parser = parse::nice)]
    pub nice: Option<Nice>,
    /// Put their use of the disk into this class: none, best-effort, best-effort:0 to 7, or idle
    #[arg(long, value_name = "CLASS", value_parser = parse::ionice)]
    pub ionice: Option<IoPriority>,
}

/// `osync sink`.
#[derive(Debug, Args)]
pub struct SinkArgs {
    /// Where the source listens; the port is 9753 if left out, an IPv6 address wears brackets
    #[arg(value_name = "HOST:PORT", value_parser = parse::address)]
    pub source: Address,
    /// The directory that is to become equal to the source's
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Give this invite of the source, needed once [env: OSYNC_INVITE]
    #[arg(long, value_name = "INVITE", conflicts_with = "invite_file")]
    pub invite: Option<String>,
    /// Read the invite from this file
    #[arg(long, value_name = "FILE")]
    pub invite_file: Option<PathBuf>,
    /// What a sink may be told.
    #[command(flatten)]
    pub options: SinkOptions,
    /// What any operator may be limited to.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What only a source may be told.
    #[command(flatten)]
    pub filters: NoFilterArgs,
    /// What people are used to from rsync.
    #[command(flatten)]
    pub habits: SinkHabitArgs,
    /// What every operator may be told.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What a sink may be told.
#[derive(Debug, Args)]
pub struct SinkOptions {
    /// Remove here: never anything; live, what the source once offered and has no more; all,
    /// foreign names too
    #[arg(long, value_name = "WHAT", default_value = "live")]
    pub delete: Delete,
    /// Keep what is removed or replaced here until a session has ended equal: in the trash of the
    /// staging directory
    #[arg(long)]
    pub trash: bool,
    /// Keep what is removed or replaced here in this directory, outside the sink's
    #[arg(long, value_name = "DIR", conflicts_with = "trash")]
    pub backup_dir: Option<PathBuf>,
    /// Bring to the disk: nothing, what was written every few seconds, or each file at once
    #[arg(long, value_name = "WHAT", default_value = "batch")]
    pub fsync: FsyncWord,
    /// End by itself when all that changed until the backlog emptied is settled
    #[arg(long)]
    pub once: bool,
    /// End after this long in all, finished or not (exit 5 if not)
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    pub timeout: Option<Duration>,
    /// Fail if the first connection takes longer
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, default_value = "30")]
    pub connect_timeout: Duration,
    /// Refuse to begin if something can't be kept here, and call it a problem if something is lost
    #[arg(long)]
    pub strict: bool,
    /// Write the holes of files out as zeros, so that each takes as much room here as it is long
    #[arg(long, alias = "no-S")]
    pub no_sparse: bool,
    /// Read what is here already, on both sides, instead of believing size and modification time
    #[arg(long, short = 'c', conflicts_with = "changes_only")]
    pub checksum: bool,
    /// Take what is here for equal, unread, and bring only what changes from now on
    #[arg(long)]
    pub changes_only: bool,
    /// Give other users what is the source's: FROM:TO,... with numbers there, ranges or *, and
    /// names or numbers here
    #[arg(long, value_name = "MAP", value_parser = owners::usermap, conflicts_with = "chown")]
    pub usermap: Option<IdRules>,
    /// The same for groups
    #[arg(long, value_name = "MAP", value_parser = owners::groupmap, conflicts_with = "chown")]
    pub groupmap: Option<IdRules>,
    /// Give everything to this user and this group
    #[arg(long, value_name = "USER:GROUP", value_parser = owners::chown)]
    pub chown: Option<OwnerMap>,
}

/// Rules for numbers; a name of its own, for `Vec` would mean an option given several times.
pub type IdRules = Vec<IdRule>;

/// What may be removed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Delete {
    // No doc comments: clap would print them as a list of their own.
    Never,
    Live,
    All,
}

/// What is brought to the disk.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FsyncWord {
    // No doc comments: clap would print them as a list of their own.
    None,
    Batch,
    File,
}

/// `osync local`.
#[derive(Debug, Args)]
pub struct LocalArgs {
    /// The directory to copy from
    #[arg(value_name = "SRC")]
    pub from: PathBuf,
    /// The directory that is to become equal to it
    #[arg(value_name = "DST")]
    pub to: PathBuf,
    /// What a source may be told.
    #[command(flatten)]
    pub source: SourceOptions,
    /// What a sink may be told.
    #[command(flatten)]
    pub sink: SinkOptions,
    /// What any operator may be limited to.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Taken for the sake of scripts; both operators know each other here
    #[arg(long, value_name = "INVITE", hide = true)]
    pub invite: Option<String>,
    /// What every operator may be told.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `osync cutover`.
#[derive(Debug, Args)]
pub struct CutoverArgs {
    /// The directory of the source or of the sink
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Only tell what is left to do and how long it may take
    #[arg(long)]
    pub plan: bool,
    /// The sink meant, by its key, at a source with several
    #[arg(long, value_name = "KEY")]
    pub sink: Option<String>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `osync status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The directory of the source or of the sink
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Go on: once a second, until the operator ends
    #[arg(long)]
    pub watch: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `osync set`.
#[derive(Debug, Args)]
#[command(after_help = SETTINGS_HELP)]
pub struct SetArgs {
    /// The directory of the source or of the sink
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// What to change, and to what; `resume` stands alone
    #[arg(value_name = "NAME=VALUE", required = true, value_parser = parse::setting)]
    pub settings: Vec<(String, String)>,
}

/// `osync verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The directory of the source or of the sink
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Read everything from the disk again
    #[arg(long)]
    pub full: bool,
}

/// `osync digest`.
#[derive(Debug, Args)]
pub struct DigestArgs {
    /// The tree
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// `osync key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// Keep keys here [default: /var/lib/osync for root, else $XDG_STATE_HOME/osync]
    #[arg(long, value_name = "DIR", global = true)]
    pub state: Option<PathBuf>,
    /// What to do with the keys.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What to do with the keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Print the public keys of this host; made if there are none yet
    Show,
    /// Make new keys; peers that know the old ones have to be told
    New {
        /// Only the key of this operator
        #[arg(value_name = "ROLE")]
        role: Option<RoleWord>,
    },
    /// Let a sink with this public key have a directory, without an invite
    Authorise {
        /// The sink's public key, as `osync key show` prints it there
        #[arg(value_name = "KEY")]
        key: PublicKey,
        /// The directory that it may have
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Take that right back
    Revoke {
        /// The sink's public key
        #[arg(value_name = "KEY")]
        key: PublicKey,
        /// Only this directory, not all that it may have
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// List the sinks that are authorised and the sources that are known
    List,
}

/// An operator, as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleWord {
    // No doc comments: clap would print them as a list of their own.
    Source,
    Sink,
}

impl RoleWord {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            RoleWord::Source => "source",
            RoleWord::Sink => "sink",
        }
    }
}

/// `osync man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this directory instead
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// `osync completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
