//! The sink operator: its three phases in order, epoch after epoch.
//!
//! The threads of an epoch are in `phases::transfer::sink`; beside them runs only the control
//! socket's. Everything happens in the caller's thread until an epoch begins.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::{Fsync, SinkConfig};
use crate::control::{ControlServer, ResultObject, find_operator};
use crate::ended::Ended;
use crate::error::Error;
use crate::flow::applier::{Dry, Rules};
use crate::model::abilities::Loss;
use crate::model::attributes::Carried;
use crate::model::limits::{
    BACKLOG_CREDIT_BYTES, BACKLOG_CREDIT_MESSAGES, LIVE_CREDIT_BYTES, LIVE_CREDIT_MESSAGES,
};
use crate::model::marker::MarkerId;
use crate::model::session::{Credit, Ending, FinalReport, Outcome, Trust};
use crate::model::stamp::Epoch;
use crate::model::status::Role;
use crate::monitor::Monitor;
use crate::net::Context;
use crate::phases::init::own_keys;
use crate::phases::init::sink::{Greeting, Registrar, Session};
use crate::phases::termination::tell_kept;
use crate::phases::transfer::conduct::{Conductor, Course, Wish, check_place};
use crate::phases::transfer::durability::Durability;
use crate::phases::transfer::pulse::Pulse;
use crate::phases::transfer::sink as epoch;
use crate::phases::transfer::standing::Standing;
use crate::phases::transfer::steering::Steering;
use crate::state::dir::StateDir;
use crate::state::invite::Invite;
use crate::state::keys::KeyRole;
use crate::state::marker::Found;
use crate::stop::{Stop, StopLevel};
use crate::tree::lock::{DirLock, lock_directory};
use crate::tree::nesting::refuse_nested;
use crate::tree::roots::{future_directory, sink_directory};
use crate::tree::sink_root::SinkRoot;
use crate::wire::command::{PROGRAM, Registration};

/// An epoch that lasted this long was a good one: the next is tried for at once.
const GOOD_EPOCH: Duration = Duration::from_secs(10);
/// First pause after an epoch that was none; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause between two epochs.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs a sink until the session is over, a person says stop, or the time is up.
///
/// # Errors
/// When it can't start, the first connection fails, or the source refuses it.
#[allow(clippy::needless_pass_by_value)] // Each operator owns its configuration.
pub fn run(config: SinkConfig, monitor: &dyn Monitor, stop: &Stop) -> Result<Ended, Error> {
    let context = Context::new()?;
    let greeting = if config.dry { None } else { greet(&config, &context, stop) };
    let dry = config.dry || greeting.as_ref().is_some_and(|greeting| greeting.dry);
    let config = SinkConfig { dry, ..config };
    let (directory, _lock) = take_directory(&config.directory, config.dry)?;
    let state = match config.dry {
        true => StateDir::peek(&config.state),
        false => StateDir::open(Some(&config.state))?,
    };
    let keys = own_keys(&state, KeyRole::Sink)?;
    let staging_name = staging_name(keys.public.as_bytes());
    let (root, durability) = open_root(&config, &directory, &staging_name, monitor)?;
    let steering = Steering::new(config.limits.clone())?;
    let standing = Arc::new(Standing::new(config.dry, steering.clone()));
    let answering = Arc::clone(&standing);
    // A directory that is only thought of can't be asked.
    let serve =
        || ControlServer::start(&directory, Role::Sink, move |request| answering.answer(request));
    let control = directory.exists().then(serve).transpose()?;
    let invite = invite(&config, &state, &directory, monitor)?;
    if stop.is_asked() {
        // At the prompt: nothing has begun that could be brought to an end.
        if !config.dry {
            leave_unfinished(&root, &durability, false, monitor);
        }
        return Ok(Ended::Interrupted);
    }
    let registrar = Registrar {
        context,
        state,
        keys,
        host: config.source.host.clone(),
        port: config.source.port,
        directory,
        invite,
        connect_timeout: config.connect_timeout,
        dry: config.dry,
        line: greeting.map(|greeting| greeting.line),
    };
    let began = Instant::now();
    let met = AtomicBool::new(false);
    let sink =
        Sink { config, monitor, stop, root, durability, standing, steering, control, began, met };
    let over = AtomicBool::new(false);
    let end = std::thread::scope(|scope| {
        scope.spawn(|| sink.durability.inspect(&|| over.load(Ordering::Acquire)));
        let end = sink.run(registrar);
        over.store(true, Ordering::Release);
        end
    });
    sink.leave(&end);
    sink.announce(ResultObject::of(&end));
    end
}

/// Asks whether the source is on a dry run, as far as that can be done now and without a person: a
/// sink touches nothing then. One that is not asked in time is refused later.
fn greet(config: &SinkConfig, context: &Context, stop: &Stop) -> Option<Greeting> {
    let ask = || -> Result<Greeting, Error> {
        let state = StateDir::peek(&config.state);
        let invite = config.invite.as_ref().map(|text| text.trim().parse()).transpose()?;
        let registrar = Registrar {
            context: context.clone(),
            keys: own_keys(&state, KeyRole::Sink)?,
            state,
            host: config.source.host.clone(),
            port: config.source.port,
            directory: future_directory(&config.directory)?,
            invite,
            connect_timeout: config.connect_timeout,
            dry: true,
            line: None,
        };
        registrar.greet(&|| stop.is_asked())
    };
    // Whatever is wrong is said when it is tried in earnest.
    ask().ok()
}

/// Opens the tree, and takes up its marker; in a dry run neither is touched.
fn open_root(
    config: &SinkConfig,
    directory: &Path,
    staging_name: &str,
    monitor: &dyn Monitor,
) -> Result<(Arc<SinkRoot>, Durability), Error> {
    if config.dry {
        let root = Arc::new(SinkRoot::peek(directory, staging_name)?);
        let durability = Durability::of_dry_run(Arc::clone(&root), root_id(&root))?;
        return Ok((root, durability));
    }
    let fsync = fsync_here(config.fsync, monitor);
    let mut root = SinkRoot::open(directory, staging_name, fsync == Fsync::File)?;
    root.back_up(&config.backup)?;
    if !config.is_sparse {
        root.fill_holes();
    }
    let root = Arc::new(root);
    let durability = Durability::open(Arc::clone(&root), fsync, root_id(&root))?;
    tell_found(durability.found(), monitor);
    Ok((root, durability))
}

/// Leaves a tree that is not finished: a session that goes on another day keeps its marker, one
/// that never began leaves nothing.
fn leave_unfinished(root: &SinkRoot, durability: &Durability, met: bool, monitor: &dyn Monitor) {
    tell_kept(root, monitor);
    if met || durability.found() != Found::Nothing {
        root.rest();
        return durability.close();
    }
    durability.retire();
    if let Err(obstacle) = root.finish() {
        // The next run empties it.
        tracing::warn!(?obstacle, "the staging directory stays");
    }
}

/// A sink that has its directory, and is to find its source.
struct Sink<'a> {
    config: SinkConfig,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
    root: Arc<SinkRoot>,
    durability: Durability,
    standing: Arc<Standing>,
    steering: Steering,
    control: Option<ControlServer>,
    began: Instant,
    /// Whether a transfer phase was reached in this run.
    met: AtomicBool,
}

impl Sink<'_> {
    /// Epoch after epoch, until one is the last.
    fn run(&self, mut registrar: Registrar) -> Result<Ended, Error> {
        let once = Wish { ending: Ending::Once, of_process: true };
        let mut wish = (self.config.once || self.config.dry).then_some(once);
        let mut pause = PAUSE_MIN;
        let mut warned = Vec::new();
        loop {
            if !self.config.dry {
                check_place(&self.root, &registrar.directory)?;
            }
            let met = self.met.load(Ordering::Acquire);
            let halt = || self.stop.is_now() || self.is_late() || (!met && self.stop.is_asked());
            let alone = |why: &str| self.standing.alone(why, self.monitor);
            let registration = self.registration(&registrar, wish);
            let shown = registration.marker.id;
            let Some(mut session) = registrar.register(registration, !met, &halt, &alone)? else {
                return Ok(self.stopped());
            };
            refuse_a_nest(&session.registered.directory, &registrar.directory)?;
            self.refuse_losses(&session.registered.carried)?;
            for warning in std::mem::take(&mut session.registered.warnings) {
                if !warned.contains(&warning) {
                    self.monitor.note(&warning);
                    warned.push(warning);
                }
            }
            let started = Instant::now();
            let why = match self.epoch(&mut session, &mut wish, &registrar, shown)? {
                Course::Finished(report) => return Ok(Ended::Finished(self.strictly(*report))),
                Course::Stopped => return Ok(self.stopped()),
                Course::Failed(error) => return Err(error),
                Course::Lost(why) => why,
            };
            if self.config.dry && self.met.load(Ordering::Acquire) {
                // What was told would be told again.
                return Err(Error::Network(format!("The dry run was cut short: {why}")));
            }
            tracing::warn!(epoch = session.registered.epoch.0, why, "the epoch is over");
            self.standing.alone(&why, self.monitor);
            if !self.met.load(Ordering::Acquire)
                && self.began.elapsed() >= self.config.connect_timeout
            {
                return Err(Error::TimedOut(why));
            }
            drop(session);
            pause = if started.elapsed() >= GOOD_EPOCH { PAUSE_MIN } else { pause };
            self.stop.wait(StopLevel::Now, pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Runs one epoch; all its threads have ended when this returns.
    fn epoch(
        &self,
        session: &mut Session,
        wish: &mut Option<Wish>,
        registrar: &Registrar,
        shown: MarkerId,
    ) -> Result<Course, Error> {
        let pulse = Pulse::steered(session.registered.epoch, self.steering.clone());
        let late = || self.is_late();
        let halt = || self.stop.is_now() || self.is_late();
        let announce = |result| self.announce(result);
        let conductor = Conductor {
            root: &self.root,
            directory: &registrar.directory,
            durability: &self.durability,
            pulse: &pulse,
            is_dry: self.config.dry,
            standing: &self.standing,
            monitor: self.monitor,
            stop: self.stop,
            late: &late,
            is_strict: self.config.strict,
            announce: &announce,
        };
        let carried = session.registered.carried.and(&self.config.wanted);
        self.root.carry(&carried, &self.config.owners);
        let rules = Rules {
            delete: self.config.delete,
            staging: Some(self.root.staging_name().clone()),
            is_declared: self.config.trust == Trust::Declared,
            dry: self.config.dry.then(|| Dry { makes_root: !registrar.directory.exists() }),
        };
        let durability = (&self.durability, shown);
        let heard = (&pulse, self.monitor);
        epoch::run(&self.root, durability, rules, session, heard, &halt, |session| {
            self.met.store(true, Ordering::Release);
            conductor.run(&mut session.client, wish)
        })
    }

    fn registration(&self, registrar: &Registrar, wish: Option<Wish>) -> Registration {
        Registration {
            // The registrar fills these two in.
            nonce: 0,
            last_epoch: Epoch(0),
            program: PROGRAM.to_owned(),
            host: host_name(),
            directory: registrar.directory.as_os_str().as_encoded_bytes().to_vec(),
            root_id: root_id(&self.root),
            marker: self.durability.marker(),
            partials: match self.config.dry {
                true => Vec::new(),
                false => self.root.partials().unwrap_or_default(),
            },
            credit: [
                Credit { bytes: LIVE_CREDIT_BYTES, messages: LIVE_CREDIT_MESSAGES },
                Credit { bytes: BACKLOG_CREDIT_BYTES, messages: BACKLOG_CREDIT_MESSAGES },
            ],
            delete: self.config.delete,
            abilities: self.root.abilities().clone(),
            wanted: self.config.wanted,
            trust: self.config.trust,
            bwlimit: self.steering.rate(),
            ending: wish.map(|wish| wish.ending),
            dry: self.config.dry,
        }
    }

    /// With `--strict`: what this filesystem can't hold is a reason not to begin. What its user may
    /// not do is lost only if there is something to lose, and that is counted.
    fn refuse_losses(&self, carried: &Carried) -> Result<(), Error> {
        if !self.config.strict {
            return Ok(());
        }
        let is_root = rustix::process::geteuid().is_root();
        let lost = self.root.abilities().table(&carried.and(&self.config.wanted));
        let lost: Vec<&str> = lost
            .into_iter()
            .filter(|loss| is_root || !loss.is_of_privilege())
            .map(Loss::words)
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "With --strict nothing is begun: this sink can't hold {}. Choose another filesystem, \
             leave them out, or do without --strict",
            lost.join(", ")
        )))
    }

    /// With `--strict` what was lost is a problem.
    fn strictly(&self, report: FinalReport) -> FinalReport {
        let is_lossy = self.config.strict && !report.lost_attributes.is_empty();
        if !is_lossy || report.outcome != Outcome::Equal {
            return report;
        }
        let text = "Finished, but not all could be kept: the report counts what was lost".into();
        FinalReport { outcome: Outcome::Problems, text, ..report }
    }

    /// Leaves the tree as the end of the run wants it.
    fn leave(&self, end: &Result<Ended, Error>) {
        if !self.config.dry && !matches!(end, Ok(Ended::Finished(_))) {
            let met = self.met.load(Ordering::Acquire);
            leave_unfinished(&self.root, &self.durability, met, self.monitor);
        }
    }

    /// Tells those who wait for it how a session ended.
    fn announce(&self, result: ResultObject) {
        if let Some(control) = &self.control {
            control.announce(result);
        }
    }

    fn is_late(&self) -> bool {
        self.config.timeout.is_some_and(|timeout| self.began.elapsed() >= timeout)
    }

    /// How a run ends that did not finish.
    fn stopped(&self) -> Ended {
        if self.stop.is_asked() || !self.is_late() {
            return Ended::Interrupted;
        }
        let seconds = self.config.timeout.unwrap_or_default().as_secs();
        Ended::TimedOut(format!(
            "Not finished after {seconds} seconds; the same command goes on from here"
        ))
    }
}

/// What can be brought to the disk here: before Linux 5.8 `syncfs` hides what went wrong (H29).
fn fsync_here(wish: Fsync, monitor: &dyn Monitor) -> Fsync {
    let system = rustix::system::uname();
    if wish != Fsync::Batch || !is_before_5_8(&system.release().to_string_lossy()) {
        return wish;
    }
    monitor.note("Before Linux 5.8 errors of the disk are only seen file by file: --fsync file");
    Fsync::File
}

fn is_before_5_8(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (5, 8),
        _ => false,
    }
}

fn tell_found(found: Found, monitor: &dyn Monitor) {
    if found == Found::PowerCut {
        monitor.note(
            "The last run ended without warning, maybe by a power cut: what was written here in \
             its last seconds is asked for again",
        );
    }
}

/// Refuses a source of this very host that lies around or inside the sink (H30).
fn refuse_a_nest(source: &[u8], sink: &Path) -> Result<(), Error> {
    let source = Path::new(OsStr::from_bytes(source));
    match find_operator(source) {
        Some(operator) if operator.role == Role::Source => refuse_nested(source, sink),
        _ => Ok(()),
    }
}

/// Finds or makes the directory, and locks it before anything in it is touched. In a dry run it is
/// not made; what is missing needs no lock.
fn take_directory(directory: &Path, dry: bool) -> Result<(PathBuf, Option<DirLock>), Error> {
    let resolved = if dry { future_directory(directory)? } else { sink_directory(directory)? };
    let lock = (!dry || resolved.exists()).then(|| lock_directory(&resolved)).transpose()?;
    Ok((resolved, lock))
}

/// The invite that was given, or that a person gives when the source is a stranger.
fn invite(
    config: &SinkConfig,
    state: &StateDir,
    directory: &Path,
    monitor: &dyn Monitor,
) -> Result<Option<Invite>, Error> {
    let source = &config.source;
    let given = match &config.invite {
        Some(text) => Some(text.clone()),
        None if state.source_key(directory, &source.host, source.port)?.is_some() => None,
        None => monitor.ask_invite(&source.to_string()),
    };
    given.map(|text| text.trim().parse()).transpose()
}

/// Unmistakable, and the same for the same sink: what a crash left is known again.
fn staging_name(key: &[u8]) -> String {
    let hash = blake3::hash(key).to_hex();
    format!(".osync-staging-{}", &hash[..16])
}

/// Tells this root from any other. Device numbers may change with a restart of the host, birth
/// times don't.
fn root_id(root: &SinkRoot) -> String {
    let identity = root.root_identity();
    if identity.birth == 0 {
        return format!("{:x}-{:x}", identity.device, identity.inode);
    }
    format!("{:x}-{:x}", identity.inode, identity.birth)
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{is_before_5_8, run, staging_name, take_directory};
    use crate::config::{Address, Backup, Fsync, SinkConfig};
    use crate::ended::Ended;
    use crate::error::Error;
    use crate::model::attributes::Carried;
    use crate::model::owners::OwnerMap;
    use crate::model::session::{DeletePolicy, Figures, Trust};
    use crate::monitor::{Monitor, StateChange};
    use crate::stop::{Stop, StopLevel};

    /// Presses Ctrl-C at the prompt.
    struct Leaving(Stop);

    impl Monitor for Leaving {
        fn state(&self, _change: &StateChange) {}
        fn figures(&self, _figures: &Figures) {}
        fn problem(&self, _path: &[u8], _text: &str) {}
        fn note(&self, _text: &str) {}
        fn service(&self, _port: u16) {}
        fn invite(&self, _invite: &str) {}

        fn ask_invite(&self, _source: &str) -> Option<String> {
            self.0.raise(StopLevel::Terminate);
            None
        }
    }

    #[test]
    fn whoever_leaves_the_prompt_is_not_refused() {
        let base = tempfile::tempdir().unwrap();
        let config = SinkConfig {
            source: Address { host: "127.0.0.1".into(), port: 9 },
            directory: base.path().join("sink"),
            state: base.path().join("state"),
            invite: None,
            delete: DeletePolicy::Live,
            backup: Backup::Nothing,
            fsync: Fsync::Batch,
            once: false,
            timeout: None,
            connect_timeout: Duration::from_secs(1),
            wanted: Carried::all(),
            owners: OwnerMap::default(),
            strict: false,
            is_sparse: true,
            trust: Trust::Times,
            limits: crate::model::setting::Limits::default(),
            dry: false,
        };
        let stop = Stop::new();
        let end = run(config, &Leaving(stop.clone()), &stop);
        assert!(matches!(end, Ok(Ended::Interrupted)), "{end:?}");
        assert_eq!(std::fs::read_dir(base.path().join("sink")).unwrap().count(), 0);
    }

    #[test]
    fn a_staging_name_is_known_again() {
        let name = staging_name(&[7; 32]);
        assert_eq!(name, staging_name(&[7; 32]));
        assert_ne!(name, staging_name(&[8; 32]));
        assert_eq!(name.len(), ".osync-staging-".len() + 16);
    }

    #[test]
    fn old_kernels_are_known() {
        for (release, old) in [
            ("5.7.19-generic", true),
            ("4.18.0-553.el8", true),
            ("5.8.0", false),
            ("6.1", false),
            ("strange", false),
        ] {
            assert_eq!(is_before_5_8(release), old, "{release}");
        }
    }

    #[test]
    fn a_directory_is_made_and_locked_once() {
        let base = tempfile::tempdir().unwrap();
        let new = base.path().join("new");
        let (directory, lock) = take_directory(&new, false).unwrap();
        assert!(directory.is_dir());
        assert!(matches!(take_directory(&new, false), Err(Error::Refused(_))));
        drop(lock);
    }
}
