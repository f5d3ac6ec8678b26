//! The source's half of the init phase: the service, who may use it, and the grants.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::model::key::PublicKey;
use crate::model::limits::{GRANTS_MAX, HOST_CHARS_MAX};
use crate::net::Context;
use crate::net::curve::KeyPair;
use crate::net::ports::PortRange;
use crate::net::service::CommandService;
use crate::net::stream::bound::DataHost;
use crate::net::zap::{Access, Gatekeeper};
use crate::phases::init::own_keys;
use crate::state::dir::{FileMark, StateDir};
use crate::state::invite::{Invite, Spending};
use crate::state::keys::KeyRole;
use crate::state::unix_now;
use crate::wire::command::{Refusal, Registered, Registration, Reply};

/// The table of those who may come in is read again at least this often: invites expire.
const RELOAD_EVERY: Duration = Duration::from_secs(60);

/// A source that is ready to be called. Its parts may go to different threads; the gatekeeper
/// has to outlive the rest.
pub struct PreparedService {
    /// Receives the commands.
    pub service: CommandService,
    /// Knows who may give them.
    pub doorkeeper: Doorkeeper,
    /// The source's key.
    pub keys: KeyPair,
    /// The network that all its sockets belong to.
    pub context: Context,
    /// Asked in every handshake.
    pub gatekeeper: Gatekeeper,
}

impl PreparedService {
    /// Prepares the service of a (resolved) directory: the gatekeeper takes up its post, and only
    /// then is the port bound.
    ///
    /// # Errors
    /// When the state can't be read, or the port is taken.
    pub fn prepare(
        state: &StateDir,
        directory: &Path,
        address: &str,
        port: u16,
    ) -> Result<PreparedService, Error> {
        let keys = own_keys(state, KeyRole::Source)?;
        let context = Context::new()?;
        let gatekeeper = Gatekeeper::start(&context)?;
        let doorkeeper = Doorkeeper::open(state, directory, gatekeeper.access())?;
        let service = CommandService::bind(&context, &keys, address, port)?;
        Ok(PreparedService { service, doorkeeper, keys, context, gatekeeper })
    }

    /// What binds the data sockets of each registered sink; `ports` as in `--data-ports`.
    #[must_use]
    pub fn data_host(&self, address: &str, ports: Option<PortRange>) -> DataHost {
        DataHost {
            context: self.context.clone(),
            keys: self.keys.clone(),
            access: self.gatekeeper.access(),
            address: address.to_owned(),
            ports,
        }
    }
}

/// Why a registration is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// What kind of no; `Busy` and `Stale` make the sink try again later.
    pub code: Refusal,
    /// Why, and what to do.
    pub text: String,
}

impl From<Declined> for Reply {
    fn from(declined: Declined) -> Reply {
        Reply::Refused { code: declined.code, text: declined.text }
    }
}

/// The last grant to one sink.
struct Grant {
    nonce: u64,
    registered: Registered,
}

/// Answers `Introduce` and `Register`, and keeps the gatekeeper's table in step with the state.
pub struct Doorkeeper {
    state: StateDir,
    directory: PathBuf,
    access: Access,
    sinks: HashSet<PublicKey>,
    /// Keys introduced for a dry run: they may register for one, in this run.
    guests: VecDeque<PublicKey>,
    read: (FileMark, FileMark, Instant),
    grants: HashMap<PublicKey, Grant>,
}

impl Doorkeeper {
    /// Lets in whom the state says may have this directory, and its invites.
    ///
    /// # Errors
    /// When a file of the state is damaged.
    pub fn open(state: &StateDir, directory: &Path, access: Access) -> Result<Doorkeeper, Error> {
        let mut doorkeeper = Doorkeeper {
            state: state.clone(),
            directory: directory.to_owned(),
            access,
            sinks: HashSet::new(),
            guests: VecDeque::new(),
            read: (state.sinks_mark(), state.invites_mark(), Instant::now()),
            grants: HashMap::new(),
        };
        doorkeeper.reload()?;
        Ok(doorkeeper)
    }

    /// Issues an invite for one sink; it is good for a day, over restarts too.
    ///
    /// # Errors
    /// When the state can't be written.
    pub fn issue_invite(&mut self, keys: &KeyPair) -> Result<Invite, Error> {
        let one_time = KeyPair::generate()?;
        self.state.issue_invite(one_time.public, &self.directory, unix_now())?;
        self.reload()?;
        Ok(Invite { server: keys.public, one_time: one_time.secret })
    }

    /// Whether a key is that of an authorised sink; that of an invite is not.
    #[must_use]
    pub fn knows(&self, peer: &PublicKey) -> bool {
        self.sinks.contains(peer)
    }

    /// Takes up what a person has changed in the state meanwhile; to be called every second or
    /// so. Returns the sinks that have been revoked: their sessions are to be ended.
    ///
    /// # Errors
    /// When a file of the state is damaged; the table then stays as it was.
    pub fn tend(&mut self) -> Result<Vec<PublicKey>, Error> {
        let (sinks, invites, when) = self.read;
        let same = sinks == self.state.sinks_mark() && invites == self.state.invites_mark();
        if same && when.elapsed() < RELOAD_EVERY {
            return Ok(Vec::new());
        }
        let before = self.sinks.clone();
        self.reload()?;
        let revoked: Vec<PublicKey> = before.difference(&self.sinks).copied().collect();
        for key in &revoked {
            self.grants.remove(key);
        }
        Ok(revoked)
    }

    /// Answers `Introduce`: spends the invite that the peer has shown on the key that it names.
    /// For a dry run it is not spent, and the key a guest's.
    pub fn introduce(
        &mut self,
        peer: PublicKey,
        address: &str,
        public_key: &[u8],
        dry: bool,
    ) -> Reply {
        let Ok(sink) = PublicKey::from_slice(public_key) else {
            return refuse(Refusal::Malformed, "The sink's own key is malformed");
        };
        if sink == peer {
            return refuse(Refusal::Malformed, "An invite's one-time key can't be a sink's own");
        }
        if self.knows(&peer) {
            return refuse(Refusal::Malformed, "This sink is known already: just register");
        }
        if dry {
            return self.receive_guest(sink);
        }
        if self.knows(&sink) {
            // A person has let it in: the invite is left for another.
            return Reply::Introduced;
        }
        match self.spend(peer, address, sink) {
            Ok(Spending::Accepted) => Reply::Introduced,
            Ok(Spending::Spent) => refuse(
                Refusal::Key,
                &format!(
                    "Another sink has used this invite: take the one that \"osync source\" prints \
                     when it is started again, or say on its host: osync key authorise {sink} DIR"
                ),
            ),
            Ok(Spending::Unknown) => refuse(
                Refusal::Key,
                "This invite is not good here, or not any more (one is good for a day): take the \
                 one that \"osync source\" prints when it is started again",
            ),
            Err(error) => {
                tracing::error!("Could not introduce the sink {sink}: {error}");
                refuse(Refusal::Busy, "The source can't write its state; see its messages")
            }
        }
    }

    /// Who came in with an unspent invite may see what would be done.
    fn receive_guest(&mut self, sink: PublicKey) -> Reply {
        if self.guests.len() >= GRANTS_MAX {
            self.guests.pop_front();
        }
        self.guests.push_back(sink);
        match self.reload() {
            Ok(()) => Reply::Introduced,
            Err(error) => {
                tracing::error!("Could not receive the guest {sink}: {error}");
                refuse(Refusal::Busy, "The source can't read its state; see its messages")
            }
        }
    }

    fn spend(
        &mut self,
        invite: PublicKey,
        address: &str,
        sink: PublicKey,
    ) -> Result<Spending, Error> {
        let now = unix_now();
        let spending = self.state.spend_invite(&invite, &self.directory, sink, now)?;
        if spending == Spending::Accepted {
            // A crash in between does no harm: the sink comes again with the same invite.
            self.state.authorise_sink(sink, &self.directory, address, now)?;
            self.reload()?;
        }
        Ok(spending)
    }

    /// Answers `Register`: the same nonce gets the same epoch again (H26), another one what
    /// `grant` says, which has to end the sink's old epoch.
    pub fn register(
        &mut self,
        peer: PublicKey,
        registration: &Registration,
        grant: impl FnOnce(&Registration, PublicKey) -> Result<Registered, Declined>,
    ) -> Reply {
        let is_guest = registration.dry && self.guests.contains(&peer);
        if !self.knows(&peer) && !is_guest {
            return refuse(
                Refusal::Key,
                "This sink is not authorised: start it with the invite that \"osync source\" \
                 prints",
            );
        }
        if let Some(last) = self.grants.get(&peer).filter(|last| last.nonce == registration.nonce) {
            return Reply::Registered(last.registered.clone());
        }
        self.grants.remove(&peer);
        match grant(registration, peer) {
            Ok(registered) => {
                if self.grants.len() >= GRANTS_MAX {
                    self.grants.clear();
                }
                let last = Grant { nonce: registration.nonce, registered: registered.clone() };
                self.grants.insert(peer, last);
                if !registration.dry {
                    self.note_host(peer, &registration.host);
                }
                Reply::Registered(registered)
            }
            Err(declined) => declined.into(),
        }
    }

    /// The epoch of a sink is over: its nonce gets it no more.
    pub fn forget(&mut self, peer: &PublicKey) {
        self.grants.remove(peer);
    }

    /// Keeps the name that a sink gives itself, for people who list the keys.
    fn note_host(&self, peer: PublicKey, host: &str) {
        let host: String = host.chars().filter(|c| !c.is_control()).take(HOST_CHARS_MAX).collect();
        let noted = self.state.authorise_sink(peer, &self.directory, &host, unix_now());
        if let Err(error) = noted {
            tracing::warn!("Could not note the name of the sink {peer}: {error}");
        }
    }

    fn reload(&mut self) -> Result<(), Error> {
        // The marks first: what changes meanwhile is read again the next time.
        let read = (self.state.sinks_mark(), self.state.invites_mark(), Instant::now());
        let sinks = self.state.authorised_sinks()?;
        let invites = self.state.invites(&self.directory, unix_now())?;
        self.sinks = sinks
            .into_iter()
            .filter(|sink| sink.directory == self.directory)
            .map(|sink| sink.key)
            .collect();
        let known = self.sinks.iter().chain(&self.guests).copied();
        self.access.set_admitted(known.chain(invites));
        self.read = read;
        Ok(())
    }
}

fn refuse(code: Refusal, text: &str) -> Reply {
    Reply::Refused { code, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::abilities::Abilities;
    use crate::model::attributes::Carried;
    use crate::model::marker::{Marker, MarkerId};
    use crate::model::session::{Credit, DeletePolicy, Trust};
    use crate::model::stamp::Epoch;

    fn registration(nonce: u64) -> Registration {
        let credit = Credit { bytes: 1, messages: 1 };
        Registration {
            nonce,
            program: "test".into(),
            host: "new\n".into(),
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

    fn registered(epoch: u64) -> Registered {
        Registered {
            epoch: Epoch(epoch),
            data_ports: [1, 2],
            report_port: 3,
            directory: b"/data".to_vec(),
            program: "test".into(),
            carried: Carried::all(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn the_same_nonce_gets_the_same_epoch() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        let (data, sink) = (Path::new("/data"), PublicKey([9; 32]));
        let mut keeper = Doorkeeper::open(&state, data, Access::default()).unwrap();
        let mut epoch = 0;
        let mut ask = |keeper: &mut Doorkeeper, nonce| {
            let reply = keeper.register(sink, &registration(nonce), |_, _| {
                epoch += 1;
                Ok(registered(epoch))
            });
            match reply {
                Reply::Registered(registered) => registered.epoch.0,
                _ => 0,
            }
        };
        assert_eq!(ask(&mut keeper, 1), 0);
        state.authorise_sink(sink, Path::new("/other"), "", 0).unwrap();
        assert!(keeper.tend().unwrap().is_empty());
        assert_eq!(ask(&mut keeper, 1), 0);
        state.authorise_sink(sink, data, "", 0).unwrap();
        assert!(keeper.tend().unwrap().is_empty());
        assert_eq!([1, 1, 2, 2, 1].map(|nonce| ask(&mut keeper, nonce)), [1, 1, 2, 2, 3]);
        keeper.forget(&sink);
        assert_eq!(ask(&mut keeper, 1), 4);
        assert_eq!(state.authorised_sinks().unwrap()[1].host, "new");
        state.revoke_sink(&sink, None).unwrap();
        assert_eq!(keeper.tend().unwrap(), [sink]);
        assert_eq!(ask(&mut keeper, 1), 0);
    }

    #[test]
    fn only_an_invite_introduces_and_only_another_key() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        let access = Access::default();
        let mut keeper = Doorkeeper::open(&state, Path::new("/data"), access.clone()).unwrap();
        let keys = KeyPair::generate().unwrap();
        let invite = keeper.issue_invite(&keys).unwrap();
        let one_time = KeyPair::from_secret(invite.one_time).unwrap().public;
        let (sink, thief) = (PublicKey([1; 32]), PublicKey([2; 32]));
        assert!(access.admits(&one_time) && !access.admits(&sink));
        let refused = |reply| matches!(reply, Reply::Refused { .. });
        assert!(refused(keeper.introduce(one_time, "", b"short", false)));
        assert!(refused(keeper.introduce(one_time, "", one_time.as_bytes(), false)));
        assert!(refused(keeper.introduce(thief, "", sink.as_bytes(), false)));
        assert_eq!(keeper.introduce(one_time, "", sink.as_bytes(), false), Reply::Introduced);
        assert_eq!(keeper.introduce(one_time, "", sink.as_bytes(), false), Reply::Introduced);
        assert!(refused(keeper.introduce(one_time, "", thief.as_bytes(), false)));
        assert!(refused(keeper.introduce(sink, "", thief.as_bytes(), false)));
        assert!(access.admits(&sink) && !access.admits(&thief));
        // The key of an invite opens nothing else.
        let reply = keeper.register(one_time, &registration(1), |_, _| Ok(registered(1)));
        assert!(refused(reply));
    }
}
