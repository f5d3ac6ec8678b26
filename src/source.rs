//! The source operator: its three phases in order, its threads and channels on one screen.
//!
//! | thread | takes from | gives to |
//! |---|---|---|
//! | director (the caller's) | all channels below | jobs, links, replies |
//! | service | command socket | requests to the director |
//! | watch | kernel queue | notices to the director |
//! | workers | jobs | results to the director |
//! | lanes, reports (for each sink) | messages; the network | the network; reports to the director |
//! | ledger | questions, answers of sinks | verdicts to the director |
//! | control | people | requests to the director |
//! | root | the clock | whether the root still stands |

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Scope;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::config::{SourceConfig, WatchKind};
use crate::control::{ControlReply, ControlRequest, ControlServer};
use crate::ended::Ended;
use crate::error::Error;
use crate::model::attributes::{Carried, Namespace};
use crate::model::event::Notice;
use crate::model::limits::{COMMAND_QUEUE, FAREWELL_MS, HUNG_MS, NOTICE_QUEUE, REPLY_QUEUE};
use crate::model::look::LookJob;
use crate::model::status::Role;
use crate::monitor::Monitor;
use crate::net::ports::PortRange;
use crate::net::service::{Call, CommandService, Routing};
use crate::net::stream::bound::DataHost;
use crate::phases::call_thread;
use crate::phases::init::source::PreparedService;
use crate::phases::transfer::recall::Ledgers;
use crate::phases::transfer::source::{Engine, Parts};
use crate::phases::transfer::steering::Steering;
use crate::phases::transfer::workers::Workers;
use crate::state::dir::StateDir;
use crate::state::epochs::EpochStore;
use crate::state::keys::KeyRole;
use crate::stop::{Stop, StopLevel};
use crate::tree::distant;
use crate::tree::lock::lock_directory;
use crate::tree::looker::Looker;
use crate::tree::roots::source_directory;
use crate::tree::watch::{Handed, Notify, Watcher};
use crate::wire::command::Reply;

/// How long the service waits for a request before it looks whether it is to stop.
const SERVICE_WAIT: Duration = Duration::from_millis(100);
/// How long sinks that left may take to hang up.
const FAREWELL: Duration = Duration::from_millis(FAREWELL_MS);
/// How often the root's path is looked at.
const ROOT_CHECK: Duration = Duration::from_secs(1);
/// How long a person's request waits for the director.
const CONTROL_PATIENCE: Duration = Duration::from_secs(20);
/// Threads that look at the disk.
const WORKERS: usize = 4;
/// When one of them is taken to hang.
const HUNG: Duration = Duration::from_millis(HUNG_MS);

/// What a caller in the same process learns once the service is bound (`osync local`).
pub struct Bound {
    /// The port of the command service.
    pub port: u16,
    /// An invite that nobody has spent.
    pub invite: String,
}

/// Runs a source until its last sink has left, or a person says stop.
///
/// # Errors
/// When it can't start, or can't go on at all.
#[allow(clippy::needless_pass_by_value)] // Each operator owns its configuration.
pub fn run(config: SourceConfig, monitor: &dyn Monitor, stop: &Stop) -> Result<Ended, Error> {
    run_with(&config, monitor, stop, |_| {})
}

/// Runs a source, and tells the caller once the service is bound.
///
/// # Errors
/// As `run`.
pub fn run_with(
    config: &SourceConfig,
    monitor: &dyn Monitor,
    stop: &Stop,
    bound: impl FnOnce(Bound),
) -> Result<Ended, Error> {
    let directory = source_directory(&config.directory)?;
    let _lock = lock_directory(&directory)?;
    let state = match config.dry {
        true => StateDir::peek(&config.state),
        false => StateDir::open(Some(&config.state))?,
    };
    let watching = watch(config.watch, &directory, monitor)?;
    let address = listen_address(config.bind);
    let mut prepared = PreparedService::prepare(&state, &directory, &address, config.port)?;
    let invite = prepared.doorkeeper.issue_invite(&prepared.keys)?.to_string();
    if let Some(file) = &config.invite_file {
        crate::state::dir::write_private(file, format!("{invite}\n").as_bytes())?;
    }
    let port = prepared.service.port();
    monitor.service(port);
    monitor.invite(&invite);
    bound(Bound { port, invite });
    let data = DataHost {
        context: prepared.context.clone(),
        keys: prepared.keys.clone(),
        access: prepared.gatekeeper.access(),
        address,
        ports: config.data_ports.map(|p| PortRange::new(p.first, p.last)).transpose()?,
    };
    std::thread::scope(|scope| {
        serve(scope, config, monitor, stop, &state, directory, watching, prepared, data)
    })
}

/// What of attributes can be read here: only root sees all namespaces.
fn readable(wanted: Carried) -> Carried {
    let mut carried = wanted;
    carried.namespaces[Namespace::Trusted.index()] &= rustix::process::geteuid().is_root();
    carried
}

/// Gives a looker what the person asked for.
fn equipped(looker: Looker, config: &SourceConfig, ledgers: &Ledgers) -> Arc<Looker> {
    let looker = match config.watch {
        WatchKind::Auto => looker.sweep_distant(),
        WatchKind::Fanotify | WatchKind::Inotify | WatchKind::Sweep => looker,
    };
    Arc::new(match config.whole_files {
        true => looker,
        false => looker.comparing(Arc::new(ledgers.clone())),
    })
}

#[allow(clippy::too_many_arguments)]
fn serve<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    config: &SourceConfig,
    monitor: &'env dyn Monitor,
    stop: &Stop,
    state: &StateDir,
    directory: PathBuf,
    (notices, watcher): Watching,
    prepared: PreparedService,
    host: DataHost,
) -> Result<Ended, Error> {
    let closing = Stop::new();
    let _ends = EndsAll(closing.clone());
    let carried = readable(config.carried);
    let selection = Arc::new(config.selection.clone());
    let ledgers = Ledgers::default();
    let looker = Looker::open(&directory, watcher.clone())?;
    let looker =
        equipped(looker.carrying(carried).select(Arc::clone(&selection)), config, &ledgers);
    let (eyes, memory) = (Arc::clone(&looker), ledgers.clone());
    let look = move |job: &LookJob| eyes.complete(job, memory.annotate(job, eyes.run(job)));
    let steering = Steering::new(config.limits.clone())?;
    let workers = Workers::start(WORKERS, HUNG, &steering, look);
    let PreparedService { service, doorkeeper, gatekeeper, .. } = prepared;
    let (call, calls) = bounded::<Call>(COMMAND_QUEUE);
    let (answer, answers) = bounded(REPLY_QUEUE);
    let (waker, rouser) = (service.waker(), service.waker());
    let until = closing.clone();
    let service = scope.spawn(move || {
        call_thread(c"service");
        let served = serve_commands(&service, &call, &answers, &until);
        // The gatekeeper has to outlive the socket.
        drop((service, gatekeeper));
        served
    });
    let replies = Box::new(move |routing, reply| {
        // A full queue drops the reply: the sink asks again.
        let _ = answer.try_send((routing, reply));
        waker.wake();
    });
    let (server, control) = control(&directory)?;
    let ledger_dir = state.path().join("ledgers");
    let epochs = |state: &StateDir| EpochStore::new(state, KeyRole::Source, &directory);
    let parts = Parts {
        scope,
        ledger_dir,
        ledgers,
        watcher,
        notices,
        workers,
        host,
        epochs: epochs(state),
        passing_epochs: epochs(&StateDir::peek(state.path())),
        is_dry: config.dry,
        calls,
        replies,
        control,
        announce: Box::new(move |result| server.announce(result)),
        root_stands: watch_root(scope, &looker, &closing),
        max_delete: config.max_delete,
        steering,
        packing: config.packing,
        carried,
        selection,
        monitor,
        stop: stop.clone(),
        looker,
        directory,
    };
    let end = Engine::new(parts, doorkeeper).run();
    let is_farewell = matches!(end, Ok(Ended::Finished(_)));
    closing.raise(if is_farewell { StopLevel::Terminate } else { StopLevel::Now });
    rouser.wake();
    match service.join() {
        Ok(Ok(())) | Err(_) => end,
        Ok(Err(error)) => end.and(Err(error)),
    }
}

/// Hands requests to the director and replies to the sinks, until told to stop.
fn serve_commands(
    service: &CommandService,
    calls: &Sender<Call>,
    answers: &Receiver<(Routing, Reply)>,
    until: &Stop,
) -> Result<(), Error> {
    loop {
        // Asked first: what was answered before the end, a farewell above all, still leaves.
        let end = until.level();
        while let Ok((routing, reply)) = answers.try_recv() {
            service.reply(&routing, &reply)?;
        }
        match end {
            StopLevel::Go => {}
            StopLevel::Terminate => return service.see_off(FAREWELL).map(drop),
            StopLevel::Now => return Ok(()),
        }
        if let Some(call) = service.recv(SERVICE_WAIT)? {
            // When the director is that busy, the sink asks again.
            let _ = calls.try_send(call);
        }
    }
}

/// Raises the stop of all threads however the scope is left.
struct EndsAll(Stop);

impl Drop for EndsAll {
    fn drop(&mut self) {
        self.0.raise(StopLevel::Now);
    }
}

fn listen_address(bind: IpAddr) -> String {
    match bind {
        IpAddr::V6(address) => format!("[{address}]"),
        IpAddr::V4(address) => address.to_string(),
    }
}

type Watching = (Receiver<Notice>, Option<Arc<Watcher>>);

/// Watches as it was wished; by the best way there is, if all are welcome.
fn watch(kind: WatchKind, root: &Path, monitor: &dyn Monitor) -> Result<Watching, Error> {
    let (notify, notices) = bounded(NOTICE_QUEUE);
    let started = match kind {
        WatchKind::Sweep => return Ok((notices, None)),
        WatchKind::Fanotify => return Ok((notices, Some(by_fanotify(root, notify)?))),
        WatchKind::Inotify => return Ok((notices, Some(Watcher::by_inotify(handing(notify))?))),
        // Nothing but what is mounted below will be watched.
        WatchKind::Auto if distant::kind_at(root).is_some() => Watcher::by_inotify(handing(notify)),
        WatchKind::Auto => by_fanotify(root, notify.clone()).or_else(|error| {
            monitor.note(&format!("{error}; each directory gets an inotify watch"));
            Watcher::by_inotify(handing(notify))
        }),
    };
    match started {
        Ok(watcher) => Ok((notices, Some(watcher))),
        Err(error) => {
            monitor.note(&format!("{error}; changes are found by sweeps alone"));
            Ok((notices, None))
        }
    }
}

fn by_fanotify(root: &Path, notify: Sender<Notice>) -> Result<Arc<Watcher>, Error> {
    let root = File::open(root).map_err(|e| Error::disk("Can't open", root, e))?;
    Watcher::by_fanotify(root.as_fd(), handing(notify))
}

/// Hands notices to the director without waiting for it.
fn handing(notify: Sender<Notice>) -> Notify {
    Box::new(move |notice| match notify.try_send(notice) {
        Ok(()) => Handed::Taken,
        Err(TrySendError::Full(notice)) => Handed::Full(notice),
        Err(TrySendError::Disconnected(_)) => Handed::Gone,
    })
}

type Asking = (ControlRequest, Sender<ControlReply>);

fn control(directory: &Path) -> Result<(ControlServer, Receiver<Asking>), Error> {
    let (ask, asked) = bounded::<Asking>(COMMAND_QUEUE);
    let server = ControlServer::start(directory, Role::Source, move |request| {
        let (reply, answer) = bounded(1);
        let late = || ControlReply::refused("The source is too busy to answer, or is ending");
        if ask.send_timeout((request.clone(), reply), CONTROL_PATIENCE).is_err() {
            return late();
        }
        answer.recv_timeout(CONTROL_PATIENCE).unwrap_or_else(|_| late())
    })?;
    Ok((server, asked))
}

/// Looks every second whether the root's path still leads to it; tells when that changes.
fn watch_root<'scope>(
    scope: &'scope Scope<'scope, '_>,
    looker: &Arc<Looker>,
    closing: &Stop,
) -> Receiver<bool> {
    let (tell, told) = bounded(1);
    let (looker, closing) = (Arc::clone(looker), closing.clone());
    scope.spawn(move || {
        while closing.wait(StopLevel::Now, ROOT_CHECK) == StopLevel::Go {
            if tell.send(looker.root_stands()).is_err() {
                return;
            }
        }
    });
    told
}
