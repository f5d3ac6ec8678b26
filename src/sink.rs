//! The sink operator: its three phases in order, its threads and channels on one screen.
//!
//! | thread | takes from | gives to |
//! |---|---|---|
//! | attendance (the caller's) | replies of the source | commands to the source |
//! | lanes (two) | data sockets | appliers, by two bounded channels |
//! | appliers (three) | the lanes' channels | the disk; answers to the reporter |
//! | reporter | answers | the report socket |
//! | barrier | counters | the disk; what is durable to the reporter |
//! | control | people | the desk |

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::config::SinkConfig;
use crate::control::{ControlServer, ResultObject};
use crate::ended::Ended;
use crate::error::Error;
use crate::flow::applier::{Applier, Rules};
use crate::model::limits::{
    ANSWER_QUEUE, APPLY_QUEUE, BACKLOG_CREDIT_BYTES, BACKLOG_CREDIT_MESSAGES, LIVE_CREDIT_BYTES,
    LIVE_CREDIT_MESSAGES,
};
use crate::model::session::{Credit, Ending, PhaseTag};
use crate::model::stamp::{Epoch, Lane};
use crate::model::status::Role;
use crate::monitor::Monitor;
use crate::net::Context;
use crate::phases::init::own_keys;
use crate::phases::init::sink::{Registrar, Session};
use crate::phases::transfer::attendance::{Desk, Left, Standing, attend};
use crate::phases::transfer::sink::{
    Epochal, apply_both, apply_one, make_durable, receive, report,
};
use crate::state::dir::StateDir;
use crate::state::keys::KeyRole;
use crate::stop::Stop;
use crate::tree::lock::lock_directory;
use crate::tree::sink_root::SinkRoot;
use crate::wire::command::{Abilities, PROGRAM, Registration};

/// How long both sides have to get ready once an epoch is granted.
const READINESS: Duration = Duration::from_secs(20);
/// Appliers that take from both lanes.
const SHARED_APPLIERS: usize = 1;

/// Runs a sink until its session has ended, or a person says stop.
///
/// # Errors
/// When it can't start, is refused, or can't reach the source in time at first.
#[allow(clippy::needless_pass_by_value)] // Each operator owns its configuration.
pub fn run(config: SinkConfig, monitor: &dyn Monitor, stop: &Stop) -> Result<Ended, Error> {
    let directory = make(&config.directory)?;
    let _lock = lock_directory(&directory)?;
    let state = StateDir::open(Some(&config.state))?;
    let desk = Arc::new(Desk::default());
    let server = {
        let desk = Arc::clone(&desk);
        ControlServer::start(&directory, Role::Sink, move |request| desk.answer(request))?
    };
    let registrar = registrar(&config, state, &directory, monitor)?;
    let standing = Standing {
        monitor,
        stop,
        deadline: config.timeout.map(|timeout| Instant::now() + timeout),
        ending: config.once.then_some(Ending::Once),
        desk: &desk,
    };
    let end = run_epochs(&config, &directory, &registrar, &standing, &server);
    server.announce(ResultObject::of(&end));
    end
}

/// Makes the directory if only its last name is missing, and resolves it.
fn make(directory: &Path) -> Result<PathBuf, Error> {
    match std::fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(Error::disk("Can't make the sink's directory", directory, error));
        }
    }
    let resolved = directory
        .canonicalize()
        .map_err(|e| Error::disk("Can't open the sink's directory", directory, e))?;
    if resolved.is_dir() {
        return Ok(resolved);
    }
    Err(Error::Usage(format!(
        "\"{}\" is no directory: name the directory that is to be filled",
        directory.display()
    )))
}

fn registrar(
    config: &SinkConfig,
    state: StateDir,
    directory: &Path,
    monitor: &dyn Monitor,
) -> Result<Registrar, Error> {
    let (host, port) = (config.source.host.clone(), config.source.port);
    let mut invite = config.invite.clone();
    if invite.is_none() && state.source_key(directory, &host, port)?.is_none() {
        invite = monitor.ask_invite(&config.source.to_string());
    }
    Ok(Registrar {
        context: Context::new()?,
        keys: own_keys(&state, KeyRole::Sink)?,
        state,
        host,
        port,
        directory: directory.to_owned(),
        invite: invite.map(|text| text.parse()).transpose()?,
        connect_timeout: config.connect_timeout,
    })
}

fn run_epochs(
    config: &SinkConfig,
    directory: &Path,
    registrar: &Registrar,
    standing: &Standing<'_>,
    server: &ControlServer,
) -> Result<Ended, Error> {
    let staging = staging_name(registrar);
    let late = || standing.deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let halt = || standing.stop.is_asked() || late();
    let mut first = true;
    loop {
        if late() {
            return Ok(timed_out(config));
        }
        let root = SinkRoot::open(directory, &staging)?;
        let wish = wish(config, directory, &root);
        standing.desk.note(standing.monitor, PhaseTag::Init, false, None, None);
        let Some(session) = registrar.register(wish, first, &halt)? else {
            return Ok(if late() { timed_out(config) } else { Ended::Interrupted });
        };
        if first {
            for warning in &session.registered.warnings {
                standing.monitor.note(warning);
            }
        }
        first = false;
        let rules = Rules { delete: config.delete, staging: Some(root.staging_name().clone()) };
        let applier = Applier::new(root, rules);
        match run_epoch(session, applier, standing, server) {
            Left::Lost(why) => {
                tracing::warn!(why, "the epoch is over");
                standing.monitor.note(&format!("Lost the source ({why}); registering again"));
            }
            Left::Finished(report) => return Ok(Ended::Finished(report)),
            Left::Interrupted => return Ok(Ended::Interrupted),
            Left::TimedOut => return Ok(timed_out(config)),
        }
    }
}

fn timed_out(config: &SinkConfig) -> Ended {
    let seconds = config.timeout.unwrap_or_default().as_secs();
    Ended::TimedOut(format!("Not finished after {seconds} seconds; the same command goes on"))
}

/// A name of its own for each sink, so that a leftover is known and nothing else is touched.
fn staging_name(registrar: &Registrar) -> String {
    let hash = blake3::hash(registrar.keys.public.as_bytes()).to_hex();
    format!(".osync-staging-{}", &hash[..16])
}

fn wish(config: &SinkConfig, directory: &Path, root: &SinkRoot) -> Registration {
    let identity = root.root_identity();
    let live = Credit { bytes: LIVE_CREDIT_BYTES, messages: LIVE_CREDIT_MESSAGES };
    let backlog = Credit { bytes: BACKLOG_CREDIT_BYTES, messages: BACKLOG_CREDIT_MESSAGES };
    Registration {
        nonce: 0,
        program: PROGRAM.to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        directory: directory.as_os_str().as_encoded_bytes().to_vec(),
        // Device numbers may change with a restart of the host; the journal must not be lost so.
        root_id: format!("{:x}-{:x}", identity.inode, identity.birth),
        last_epoch: Epoch(0),
        credit: [live, backlog],
        delete: config.delete,
        abilities: Abilities {
            owners: root.owners(),
            staging_name: String::from_utf8_lossy(root.staging_name().as_bytes()).into_owned(),
        },
        ending: config.once.then_some(Ending::Once),
    }
}

/// Runs one epoch: the sockets, their threads, and attendance; all have ended when it returns.
fn run_epoch(
    mut session: Session,
    applier: Applier<SinkRoot>,
    standing: &Standing<'_>,
    server: &ControlServer,
) -> Left {
    let epochal = Epochal::new(session.registered.epoch, applier);
    let sockets = (|| {
        let grant = &session.registered;
        let live = session.peer.lane(Lane::Live, grant.data_ports[0])?;
        let backlog = session.peer.lane(Lane::Backlog, grant.data_ports[1])?;
        let reports = session.peer.reports(grant.report_port)?;
        Ok::<_, Error>((live, backlog, reports))
    })();
    let (live, backlog, reports) = match sockets {
        Ok(sockets) => sockets,
        Err(error) => return Left::Lost(error.to_string()),
    };
    std::thread::scope(|scope| {
        let shared = &*epochal;
        let (live_out, live_in) = bounded(APPLY_QUEUE);
        let (backlog_out, backlog_in) = bounded(APPLY_QUEUE);
        let (answers_out, answers_in) = bounded(ANSWER_QUEUE);
        scope.spawn(move || receive(shared, Lane::Live, live, &live_out));
        scope.spawn(move || receive(shared, Lane::Backlog, backlog, &backlog_out));
        for only in [&live_in, &backlog_in] {
            let (only, answers) = (only.clone(), answers_out.clone());
            scope.spawn(move || apply_one(shared, &only, &answers));
        }
        for _ in 0..SHARED_APPLIERS {
            let (live, backlog, answers) =
                (live_in.clone(), backlog_in.clone(), answers_out.clone());
            scope.spawn(move || apply_both(shared, &live, &backlog, &answers));
        }
        scope.spawn(move || report(shared, &answers_in, reports));
        scope.spawn(move || make_durable(shared));
        let stopped = || standing.stop.is_now() || shared.is_over();
        let left = match session.ensure_readiness(READINESS, &stopped) {
            Ok(true) => {
                let announce = |report: &_| {
                    server.announce(ResultObject::of(&Ok(Ended::Finished(Clone::clone(report)))));
                };
                attend(session, shared, standing, &announce)
            }
            Ok(false) if standing.stop.is_now() => Left::Interrupted,
            Ok(false) => Left::Lost(shared.why()),
            Err(error) => Left::Lost(error.to_string()),
        };
        shared.end("The session has ended");
        left
    })
}
