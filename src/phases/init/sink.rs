//! The sink's half of the init phase: find the source, be introduced, register, be ready.

mod greeting;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use self::greeting::{Greeting, Line};
use crate::error::Error;
use crate::model::key::PublicKey;
use crate::model::limits::{CALL_MS, RETRY_MS_MAX, RETRY_MS_MIN};
use crate::model::stamp::Epoch;
use crate::net::Context;
use crate::net::client::{CallError, CommandClient};
use crate::net::curve::KeyPair;
use crate::net::stream::connected::DataPeer;
use crate::state::dir::StateDir;
use crate::state::epochs::EpochStore;
use crate::state::invite::Invite;
use crate::state::keys::KeyRole;
use crate::state::unix_now;
use crate::wire::command::{Refusal, Registered, Registration, Reply, Request};

/// When a source that is not ready is asked again: at first, and at most.
const READY_PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// How often a wait looks whether it is to stop.
const STOP_EVERY: Duration = Duration::from_millis(50);
/// How long one command may take.
const CALL: Duration = Duration::from_millis(CALL_MS);

/// All that a sink needs to register, again and again.
pub struct Registrar {
    /// The network of the sink.
    pub context: Context,
    /// What it remembers.
    pub state: StateDir,
    /// Its own key.
    pub keys: KeyPair,
    /// The source's host, as the person wrote it.
    pub host: String,
    /// The source's port.
    pub port: u16,
    /// The sink's (resolved) directory.
    pub directory: PathBuf,
    /// An invite, if one was given. It is of no account once the source knows the sink.
    pub invite: Option<Invite>,
    /// After this long the first registration is given up.
    pub connect_timeout: Duration,
    /// For a dry run: the source is to remember nothing of it.
    pub dry: bool,
    /// Where a greeting was answered: the first try goes on there.
    pub line: Option<Line>,
}

/// A registration that was granted.
pub struct Session {
    /// For the heartbeats and all that follows.
    pub client: CommandClient,
    /// The epoch and its ports.
    pub registered: Registered,
    /// For the data sockets, which the threads that use them connect.
    pub peer: DataPeer,
}

/// Why a try has not led to a session.
enum Setback {
    /// The gatekeeper does not know the key that was shown.
    Stranger,
    /// Trying again is of no use.
    Final(Error),
    /// It may go better next time, but for the first registration it need not.
    Doubtful(Error),
    /// It may go better next time.
    Passing(String),
}

impl From<CallError> for Setback {
    fn from(error: CallError) -> Setback {
        match error {
            CallError::NotAuthorised(_) => Setback::Stranger,
            CallError::TimedOut(text) => Setback::Passing(text),
            CallError::Version { .. } => Setback::Final(error.into()),
            other => Setback::Doubtful(other.into()),
        }
    }
}

impl From<Reply> for Setback {
    fn from(reply: Reply) -> Setback {
        match reply {
            Reply::Refused { code, text } => match code {
                Refusal::Busy | Refusal::Stale => Setback::Passing(text),
                Refusal::Version | Refusal::Key => Setback::Final(Error::Refused(text)),
                Refusal::Malformed => Setback::Final(Error::Protocol(text)),
            },
            _ => Setback::Doubtful(unexpected()),
        }
    }
}

impl Registrar {
    /// Registers, with growing pauses between the tries; none if `stop` has said so meanwhile.
    ///
    /// The nonce and the last epoch are filled in here. The `first` registration of a run is
    /// given up after the connect time-out; later ones are tried for ever. `say` is told why it has
    /// not gone well so far, once for each reason. The granted epoch is remembered on disk before
    /// this returns.
    ///
    /// # Errors
    /// When the source refuses this sink, speaks another version or, the first time, can't be
    /// reached in time.
    pub fn register(
        &mut self,
        mut registration: Registration,
        first: bool,
        stop: &dyn Fn() -> bool,
        say: &dyn Fn(&str),
    ) -> Result<Option<Session>, Error> {
        let server = self.server_key()?;
        let epochs = EpochStore::new(&self.state, KeyRole::Sink, &self.directory);
        registration.nonce = draw_nonce()?;
        registration.last_epoch = epochs.last()?;
        let deadline = Instant::now() + self.connect_timeout;
        let mut pause = Duration::from_millis(RETRY_MS_MIN);
        let mut said = String::new();
        let left = || deadline.saturating_duration_since(Instant::now());
        let is_late = || first && left().is_zero();
        while !stop() {
            let patience = if first { CALL.min(left().max(STOP_EVERY)) } else { CALL };
            let why = match self.attempt(server, &registration, patience, stop) {
                Ok(session) => {
                    self.settle(&session, server, &epochs, registration.last_epoch)?;
                    return Ok(Some(session));
                }
                Err(Setback::Stranger) => return Err(self.unknown_here()),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Doubtful(error)) if first => return Err(error),
                Err(Setback::Doubtful(error)) => error.to_string(),
                Err(Setback::Passing(why)) => why,
            };
            if !stop() && is_late() {
                return Err(Error::TimedOut(why));
            }
            if why != said {
                tracing::warn!("Not registered yet, trying again: {why}");
                say(&why);
                said = why;
            }
            rest(if first { pause.min(left()) } else { pause }, stop);
            pause = (pause * 2).min(Duration::from_millis(RETRY_MS_MAX));
        }
        Ok(None)
    }

    /// The key that the source must have: the invite's, or the one it is known by.
    fn server_key(&self) -> Result<PublicKey, Error> {
        if let Some(invite) = &self.invite {
            return Ok(invite.server);
        }
        let known = self.state.source_key(&self.directory, &self.host, self.port)?;
        known.ok_or_else(|| {
            Error::Refused(format!(
                "This host does not know the source at {} port {}: give the invite that \
                 \"osync source\" prints there, with --invite or --invite-file",
                self.host, self.port
            ))
        })
    }

    /// Remembers whom we have met, and the epoch, before either is relied on.
    fn settle(
        &self,
        session: &Session,
        server: PublicKey,
        epochs: &EpochStore,
        last: Epoch,
    ) -> Result<(), Error> {
        let epoch = session.registered.epoch;
        if epoch <= last {
            return Err(Error::Protocol(format!(
                "The source at {} granted epoch {}, but this sink has seen {} before",
                self.host, epoch.0, last.0
            )));
        }
        epochs.saw(epoch)?;
        self.state.remember_source(&self.directory, &self.host, self.port, server, unix_now())
    }

    /// Registers; a stranger is introduced first, if there is an invite.
    fn attempt(
        &mut self,
        server: PublicKey,
        registration: &Registration,
        patience: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<Session, Setback> {
        let line = self.line.take();
        let door = match line {
            Some(Line::OneTime(client)) => client,
            line => {
                let client = match line {
                    Some(Line::Own(client)) => client,
                    _ => self.connect(server, &self.keys)?,
                };
                match (self.ask(client, server, registration, patience, stop), &self.invite) {
                    (Err(Setback::Stranger), Some(invite)) => {
                        self.connect(server, &one_time(invite).map_err(Setback::Final)?)?
                    }
                    (result, _) => return result,
                }
            }
        };
        self.introduce(door, patience, stop)?;
        self.ask(self.connect(server, &self.keys)?, server, registration, patience, stop)
    }

    /// Registers with this sink's own key.
    fn ask(
        &self,
        mut client: CommandClient,
        server: PublicKey,
        registration: &Registration,
        patience: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<Session, Setback> {
        let request = Request::Register(registration.clone());
        let reply = client.call_unless(&request, patience, stop);
        match reply.map_err(|error| self.setback(error))? {
            Reply::Registered(registered) => {
                let peer = DataPeer {
                    context: self.context.clone(),
                    keys: self.keys.clone(),
                    server,
                    address: client.address(),
                };
                Ok(Session { client, registered, peer })
            }
            other => Err(other.into()),
        }
    }

    /// What an error means here: the key that was expected may be that of an invite.
    fn setback(&self, error: CallError) -> Setback {
        match error {
            CallError::WrongServerKey(place) if self.invite.is_some() => {
                Setback::Final(Error::Refused(format!(
                    "{place} is not the source that this invite belongs to: give the address of \
                     the one that printed it, or the invite that this one prints"
                )))
            }
            other => other.into(),
        }
    }

    /// Hands over this sink's own key, with the key of the invite.
    fn introduce(
        &self,
        mut client: CommandClient,
        patience: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Setback> {
        let public_key = self.keys.public.as_bytes().to_vec();
        let request = Request::Introduce { public_key, dry: self.dry };
        match client.call_unless(&request, patience, stop) {
            Ok(Reply::Introduced) => Ok(()),
            Ok(other) => Err(other.into()),
            Err(CallError::NotAuthorised(place)) => Err(Setback::Final(Error::Refused(format!(
                "The source at {place} knows neither this sink nor its invite: it may have been \
                 spent by another sink, be for another directory, or have expired (one is good \
                 for a day). Take the one that \"osync source\" prints when it is started again, \
                 or say on its host: osync key authorise {} DIR",
                self.keys.public
            )))),
            Err(error) => Err(error.into()),
        }
    }

    fn connect(&self, server: PublicKey, own: &KeyPair) -> Result<CommandClient, CallError> {
        CommandClient::connect(&self.context, &self.host, self.port, &server, own)
    }

    fn unknown_here(&self) -> Error {
        Error::Refused(format!(
            "The source at {} port {} does not know this sink: give the invite that \
             \"osync source\" prints there, with --invite or --invite-file, or authorise this \
             sink's key there: {}",
            self.host, self.port, self.keys.public
        ))
    }
}

impl Session {
    /// Asks until the source is ready too, once the data sockets are connected; false if `stop`
    /// has said so meanwhile.
    ///
    /// # Errors
    /// When the source is not ready in time, or has dropped the epoch.
    pub fn ensure_readiness(
        &mut self,
        patience: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, Error> {
        let deadline = Instant::now() + patience;
        let request = Request::EnsureReadiness { epoch: self.registered.epoch };
        let (mut pause, longest) = READY_PAUSE;
        while !stop() {
            match self.client.call_unless(&request, CALL, stop) {
                Err(CallError::TimedOut(_)) if stop() => break,
                reply => match reply? {
                    Reply::Ready => return Ok(true),
                    Reply::NotYet if Instant::now() < deadline => {
                        rest(pause, stop);
                        pause = (pause * 2).min(longest);
                    }
                    Reply::NotYet => {
                        return Err(Error::TimedOut(
                            "The source was not ready in time: can its data ports be reached?"
                                .into(),
                        ));
                    }
                    Reply::Refused { text, .. } => return Err(Error::Network(text)),
                    _ => return Err(unexpected()),
                },
            }
        }
        Ok(false)
    }
}

fn one_time(invite: &Invite) -> Result<KeyPair, Error> {
    KeyPair::from_secret(invite.one_time.clone())
}

fn unexpected() -> Error {
    Error::Protocol("The source's reply does not fit the request".into())
}

fn draw_nonce() -> Result<u64, Error> {
    getrandom::u64().map_err(|e| Error::Network(format!("Can't draw a random number: {e}")))
}

/// Waits, but not when it is to stop.
fn rest(pause: Duration, stop: &dyn Fn() -> bool) {
    let end = Instant::now() + pause;
    while !stop() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(STOP_EVERY));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{self, JoinHandle};

    use tempfile::TempDir;

    use super::*;
    use crate::model::abilities::Abilities;
    use crate::model::attributes::Carried;
    use crate::model::marker::{Marker, MarkerId};
    use crate::model::session::{Credit, DeletePolicy, Trust};
    use crate::net::service::{Call, refusal};
    use crate::phases::init::own_keys;
    use crate::phases::init::source::{Declined, PreparedService};

    const DATA: &str = "/data";
    const GOES_ON: &dyn Fn() -> bool = &|| false;

    /// A source that grants epochs and does nothing else.
    struct Source {
        stop: Arc<AtomicBool>,
        thread: Option<JoinHandle<PreparedService>>,
        port: u16,
        invite: Invite,
    }

    impl Source {
        fn start(base: &TempDir) -> Source {
            let state = StateDir::open(Some(&base.path().join("source"))).unwrap();
            let mut prepared =
                PreparedService::prepare(&state, DATA.as_ref(), "127.0.0.1", 0).unwrap();
            let port = prepared.service.port();
            let invite = prepared.doorkeeper.issue_invite(&prepared.keys).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let thread = thread::spawn({
                let stop = stop.clone();
                move || {
                    let epochs = EpochStore::new(&state, KeyRole::Source, DATA.as_ref());
                    while !stop.load(Ordering::Acquire) {
                        let call = prepared.service.recv(Duration::from_millis(20)).unwrap();
                        prepared.doorkeeper.tend().unwrap();
                        if let Some(call) = call {
                            let reply = answer(&mut prepared, &call, &epochs);
                            prepared.service.reply(&call.routing, &reply).unwrap();
                        }
                    }
                    prepared
                }
            });
            Source { stop, thread: Some(thread), port, invite }
        }

        fn finish(mut self) {
            self.stop.store(true, Ordering::Release);
            self.thread.take().unwrap().join().unwrap();
        }
    }

    fn answer(source: &mut PreparedService, call: &Call, epochs: &EpochStore) -> Reply {
        let grant = |registration: &Registration, _| {
            if registration.host == "unwelcome" {
                let text = "Another sink is at work".to_owned();
                return Err(Declined { code: Refusal::Busy, text });
            }
            Ok(Registered {
                epoch: epochs.next(registration.last_epoch).unwrap(),
                data_ports: [1, 2],
                report_port: 3,
                directory: DATA.into(),
                program: "test".into(),
                carried: Carried::all(),
                warnings: Vec::new(),
            })
        };
        match &call.request {
            Ok(Request::Introduce { public_key, dry }) => {
                source.doorkeeper.introduce(call.peer, &call.address, public_key, *dry)
            }
            Ok(Request::Register(registration)) => {
                source.doorkeeper.register(call.peer, registration, grant)
            }
            Ok(Request::EnsureReadiness { .. }) => Reply::Ready,
            Ok(_) => Reply::NotYet,
            Err(error) => refusal(error),
        }
    }

    fn registrar(base: &TempDir, name: &str, port: u16, invite: Option<Invite>) -> Registrar {
        let state = StateDir::open(Some(&base.path().join(name))).unwrap();
        Registrar {
            context: Context::new().unwrap(),
            keys: own_keys(&state, KeyRole::Sink).unwrap(),
            state,
            host: "127.0.0.1".into(),
            port,
            directory: "/backup".into(),
            invite,
            connect_timeout: Duration::from_secs(10),
            dry: false,
            line: None,
        }
    }

    fn registration(host: &str) -> Registration {
        let credit = Credit { bytes: 1, messages: 1 };
        Registration {
            nonce: 0,
            program: "test".into(),
            host: host.into(),
            directory: b"/backup".to_vec(),
            root_id: "root".into(),
            marker: Marker { id: MarkerId([7; 16]), barrier: 0, clean: true },
            partials: Vec::new(),
            last_epoch: Epoch(0),
            credit: [credit, credit],
            delete: DeletePolicy::Live,
            abilities: Abilities::full(".osync-staging-0"),
            wanted: Carried::all(),
            trust: Trust::Times,
            bwlimit: None,
            ending: None,
            dry: false,
        }
    }

    fn join(registrar: &mut Registrar) -> Result<Session, Error> {
        registrar.register(registration("new"), true, GOES_ON, &|_| ()).map(Option::unwrap)
    }

    fn refused(registrar: &mut Registrar) -> String {
        match join(registrar) {
            Err(Error::Refused(text)) => text,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("let in"),
        }
    }

    #[test]
    fn an_invite_of_another_source_is_said_to_be_that() {
        let base = tempfile::tempdir().unwrap();
        let source = Source::start(&base);
        let server = KeyPair::generate().unwrap().public;
        let invite = Some(Invite { server, ..source.invite.clone() });
        let mut sink = registrar(&base, "sink", source.port, invite);
        let text = refused(&mut sink);
        assert!(text.contains("is not the source that this invite belongs to"), "{text}");
    }

    #[test]
    fn an_invite_opens_the_door_once() {
        let base = tempfile::tempdir().unwrap();
        let source = Source::start(&base);
        let invite = Some(source.invite.clone());
        let mut sink = registrar(&base, "sink", source.port, invite.clone());
        let mut session = join(&mut sink).unwrap();
        assert_eq!(session.registered.epoch, Epoch(1));
        assert!(session.ensure_readiness(Duration::from_secs(5), GOES_ON).unwrap());
        // The same sink again, with the invite that is of no account now, and without.
        assert_eq!(join(&mut sink).unwrap().registered.epoch, Epoch(2));
        sink.invite = None;
        assert_eq!(join(&mut sink).unwrap().registered.epoch, Epoch(3));
        // Anybody else.
        let mut thief = registrar(&base, "thief", source.port, invite);
        assert!(refused(&mut thief).contains("Another sink has used this invite"));
        thief.invite = None;
        assert!(refused(&mut thief).contains("--invite"));
        // Known as that source, but still not let in.
        thief
            .state
            .remember_source("/x".as_ref(), "127.0.0.1", 1, source.invite.server, 0)
            .unwrap();
        let sentence = refused(&mut thief);
        assert!(sentence.contains(&thief.keys.public.to_string()), "{sentence}");
        source.finish();
    }

    #[test]
    fn memory_outlives_the_source() {
        let base = tempfile::tempdir().unwrap();
        let source = Source::start(&base);
        let invite = source.invite.clone();
        source.finish();
        let source = Source::start(&base);
        // An invite of the run before is still good.
        let mut sink = registrar(&base, "sink", source.port, Some(invite));
        assert_eq!(join(&mut sink).unwrap().registered.epoch, Epoch(1));
        source.finish();
        let source = Source::start(&base);
        sink.invite = None;
        sink.port = source.port;
        assert_eq!(join(&mut sink).unwrap().registered.epoch, Epoch(2));
        // Revoked by a person while the source runs.
        let state = StateDir::open(Some(&base.path().join("source"))).unwrap();
        assert_eq!(state.authorised_sinks().unwrap()[0].host, "new");
        assert_eq!(state.revoke_sink(&sink.keys.public, None).unwrap(), 1);
        while join(&mut sink).is_ok() {}
        assert!(refused(&mut sink).contains("does not know this sink"));
        source.finish();
    }

    #[test]
    fn the_first_time_has_an_end_and_later_ones_a_stop() {
        let base = tempfile::tempdir().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let source = Source::start(&base);
        let mut sink = registrar(&base, "sink", closed, Some(source.invite.clone()));
        sink.connect_timeout = Duration::from_millis(300);
        let Err(Error::TimedOut(sentence)) = join(&mut sink) else { panic!("no time-out") };
        assert!(sentence.contains("Nobody listens"), "{sentence}");
        let asked = std::cell::Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) > 20;
        assert!(sink.register(registration("new"), false, &stop, &|_| ()).unwrap().is_none());
        // A source that is busy is asked again, too.
        sink.port = source.port;
        let busy = sink.register(registration("unwelcome"), true, GOES_ON, &|_| ()).err().unwrap();
        assert!(busy.to_string().contains("Another sink is at work"), "{busy}");
        source.finish();
    }
}
