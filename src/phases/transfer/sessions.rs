//! The sinks that a source knows in this run, and the commands by which they and people act on
//! their sessions.

mod people;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::control::ResultObject;
use crate::ended::Ended;
use crate::error::Error;
use crate::flow::session::Terms;
use crate::model::abilities::Loss;
use crate::model::key::PublicKey;
use crate::model::path::Name;
use crate::model::session::{Ending, Figures, FinalReport, Outcome, PhaseTag};
use crate::model::stamp::{Epoch, Sequence, SinkId};
use crate::model::status::{Role, State};
use crate::monitor::StateChange;
use crate::net::service::{Call, refusal};
use crate::phases::init::source::{Declined, Doorkeeper};
use crate::phases::transfer::link::{Link, Meter};
use crate::phases::transfer::recall::{SharedLedger, hold};
use crate::phases::transfer::source::Engine;
use crate::state::ledger::Ledger;
use crate::state::unix_now;
use crate::wire::command::{
    Alive, Heartbeat, PROGRAM, Refusal, Registered, Registration, Reply, Request,
};

/// What a second sink with one key is told.
const ELSEWHERE: &str = "A sink with the same key is connected and fills another directory: end \
                         that one, or start this one with a --state of its own and an invite";

/// What a sink is told that could not ask before it was ready to change things.
const ONLY_DRY: &str = "This source is on a dry run, which changes nothing: start the sink with \
                        -n, or once more, now that the source is there";

/// Silence after which a sink is taken for gone.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a last number may stay unseen before the epoch is over (H17).
const UNSEEN: Duration = Duration::from_secs(30);

/// One sink, over all its epochs of this run.
struct Known {
    key: PublicKey,
    address: String,
    host: String,
    root_id: String,
    /// Nothing is changed at the sink, nothing remembered here.
    is_dry: bool,
    /// What the sink limits.
    bwlimit: Option<u64>,
    terms: Option<Terms>,
    ending: Option<Ending>,
    /// The data sockets are connected and the director knows.
    begun: bool,
    ledger: SharedLedger,
    meter: Meter,
    last_seen: Instant,
    last_seen_unix: u64,
    last_synchronised: Option<u64>,
    unseen_since: [Option<(Sequence, Instant)>; 2],
    please_unregister: Option<Ending>,
    finished: Option<FinalReport>,
    state: Option<(PhaseTag, State)>,
}

/// The sinks of this run.
#[derive(Default)]
pub struct Sessions {
    known: BTreeMap<SinkId, Known>,
    next: u32,
    /// How the session ended that ended last, and how the source ends with the last of them.
    last_end: Option<FinalReport>,
}

impl Sessions {
    /// The ledger of a sink.
    #[must_use]
    pub fn ledger(&self, sink: SinkId) -> Option<SharedLedger> {
        self.known.get(&sink).map(|known| Arc::clone(&known.ledger))
    }

    /// The epoch of a sink is over; returns its key.
    pub fn lost(&mut self, sink: SinkId) -> Option<PublicKey> {
        let known = self.known.get_mut(&sink)?;
        known.begun = false;
        Some(known.key)
    }

    /// What outlasts the epochs of a sink: how much it was sent, and when it was last equal.
    fn outlasting(&self, sink: SinkId) -> (Meter, Option<u64>) {
        let known = self.known.get(&sink);
        known.map(|known| (known.meter.clone(), known.last_synchronised)).unwrap_or_default()
    }

    /// The session of a sink, or its dry run: these know nothing of each other.
    fn of(&self, key: &PublicKey, is_dry: bool) -> Option<SinkId> {
        let is_meant = |known: &Known| known.key == *key && known.is_dry == is_dry;
        self.known.iter().find(|(_, known)| is_meant(known)).map(|(id, _)| *id)
    }

    /// All that is known of a key.
    fn all_of<'a>(&'a self, key: &'a PublicKey) -> impl Iterator<Item = SinkId> + 'a {
        self.known.iter().filter(|(_, known)| known.key == *key).map(|(id, _)| *id)
    }
}

impl Engine<'_, '_> {
    /// Answers a request of a sink.
    pub(super) fn called(&mut self, call: Call) {
        let Call { routing, peer, address, request } = call;
        let reply = match request {
            Err(error) => refusal(&error),
            Ok(request) => self.answer(peer, &address, request),
        };
        (self.parts.replies)(routing, reply);
    }

    fn answer(&mut self, peer: PublicKey, address: &str, request: Request) -> Reply {
        match request {
            Request::Greet => Reply::Greeted { dry: self.parts.is_dry },
            Request::Introduce { public_key, dry } => match &mut self.doorkeeper {
                Some(doorkeeper) => doorkeeper.introduce(peer, address, &public_key, dry),
                None => stale(),
            },
            Request::Register(registration) => self.register(peer, address, &registration),
            Request::EnsureReadiness { epoch } => self.with_epoch(peer, epoch, Engine::readiness),
            Request::Heartbeat(beat) => {
                self.with_epoch(peer, beat.epoch, |engine, id| engine.heartbeat(id, &beat))
            }
            Request::Unregister { epoch, ending } => {
                self.with_epoch(peer, epoch, |engine, id| engine.unregister(id, ending))
            }
            Request::Leave { epoch } => self.with_epoch(peer, epoch, Engine::leave),
        }
    }

    fn with_epoch(
        &mut self,
        peer: PublicKey,
        epoch: Epoch,
        answer: impl FnOnce(&mut Self, SinkId) -> Reply,
    ) -> Reply {
        let is_current = |id: &SinkId| self.links.get(id).is_some_and(|(now, _)| *now == epoch);
        let id = self.sessions.all_of(&peer).find(is_current);
        match id {
            Some(id) => {
                if let Some(known) = self.sessions.known.get_mut(&id) {
                    known.last_seen = Instant::now();
                    known.last_seen_unix = unix_now();
                }
                answer(self, id)
            }
            None => Reply::Refused {
                code: Refusal::Stale,
                text: format!("Epoch {} is over: register again", epoch.0),
            },
        }
    }

    /// Begins an epoch, or gives the same grant for the same nonce.
    fn register(&mut self, key: PublicKey, address: &str, wish: &Registration) -> Reply {
        let Some(mut doorkeeper) = self.doorkeeper.take() else { return stale() };
        let reply = doorkeeper.register(key, wish, |wish, key| {
            if self.parts.is_dry && !wish.dry {
                return Err(Declined { code: Refusal::Key, text: ONLY_DRY.to_owned() });
            }
            if self.is_elsewhere(&key, wish) {
                return Err(Declined { code: Refusal::Busy, text: ELSEWHERE.to_owned() });
            }
            self.grant(key, address, wish).map_err(|error| {
                let text = format!("The source can't begin a session: {error}");
                self.parts.monitor.note(&text);
                Declined { code: Refusal::Busy, text }
            })
        });
        self.doorkeeper = Some(doorkeeper);
        reply
    }

    /// Whether a sink with that key is connected and fills another directory.
    fn is_elsewhere(&self, key: &PublicKey, wish: &Registration) -> bool {
        let id = self.sessions.of(key, wish.dry).filter(|id| self.links.contains_key(id));
        let known = id.and_then(|id| self.sessions.known.get(&id));
        known.is_some_and(|known| known.root_id != wish.root_id)
    }

    fn grant(
        &mut self,
        key: PublicKey,
        address: &str,
        wish: &Registration,
    ) -> Result<Registered, Error> {
        let staging_name = Name::new(wish.abilities.staging_name.as_bytes()).map_err(|e| {
            Error::Protocol(format!("The sink names a staging directory that can't be: {e}"))
        })?;
        let before = self.sessions.of(&key, wish.dry);
        if let Some(id) = before {
            self.lose(id, "The sink registered again");
        }
        let id = before.unwrap_or_else(|| {
            self.sessions.next += 1;
            SinkId(self.sessions.next)
        });
        let same_root = before
            .and_then(|id| self.sessions.known.get(&id))
            .is_some_and(|known| known.root_id == wish.root_id);
        let ledger = match self.sessions.ledger(id).filter(|_| same_root) {
            Some(ledger) => ledger,
            None => Arc::new(Mutex::new(self.open_ledger(&key, wish)?)),
        };
        let epoch = self.parts.epochs(wish.dry).next(wish.last_epoch)?;
        self.meet(id, &ledger, wish, epoch)?;
        let (meter, last_synchronised) = self.sessions.outlasting(id);
        let (scope, host) = (self.parts.scope, &self.parts.host);
        let metered = (&meter, &self.parts.steering, self.parts.packing);
        let link = Link::open(scope, host, (id, key), epoch, &ledger, metered, &self.news)?;
        let grant = Registered {
            epoch,
            data_ports: link.data_ports,
            report_port: link.report_port,
            directory: self.parts.directory.as_os_str().as_encoded_bytes().to_vec(),
            program: PROGRAM.to_owned(),
            carried: self.parts.carried,
            warnings: self.warnings(wish),
        };
        self.links.insert(id, (epoch, link));
        let terms = Terms {
            epoch,
            credit: wish.credit,
            delete: wish.delete,
            same_root,
            staging_name: Some(staging_name),
            abilities: wish.abilities.clone(),
            wanted: self.parts.carried.and(&wish.wanted),
            trust: wish.trust,
            marker: wish.marker,
            partials: wish.partials.iter().map(|one| (one.transfer, one.bytes)).collect(),
            dry: wish.dry,
        };
        let known = Known {
            key,
            address: address.to_owned(),
            host: wish.host.clone(),
            root_id: wish.root_id.clone(),
            is_dry: wish.dry,
            bwlimit: wish.bwlimit,
            terms: Some(terms),
            ending: wish.ending,
            begun: false,
            ledger,
            meter,
            last_seen: Instant::now(),
            last_seen_unix: unix_now(),
            last_synchronised,
            unseen_since: [None, None],
            please_unregister: None,
            finished: None,
            state: None,
        };
        self.sessions.known.insert(id, known);
        Ok(grant)
    }

    /// Shows a sink's marker to its ledger, and the ledger to the workers.
    fn meet(
        &self,
        id: SinkId,
        ledger: &SharedLedger,
        wish: &Registration,
        epoch: Epoch,
    ) -> Result<(), Error> {
        let mut known = hold(ledger);
        if wish.dry {
            // All of it is compared, whatever the ledger says: it tells only what was offered.
            known.meet(&wish.marker, epoch)?;
            self.parts.ledgers.put(id, ledger);
            return Ok(());
        }
        if known.damage().is_none() && !known.has_met() && wish.marker.barrier > 0 {
            self.parts.monitor.note(
                "There is no ledger of this sink, which was filled before: all of it is compared, \
                 and names removed at the source before now will stay there",
            );
        }
        if !known.meet(&wish.marker, epoch)? {
            self.parts.monitor.note(
                "The sink bears no mark of the session before: that one was ended, or this is \
                 another disk, or an older state of it. All of it is compared",
            );
        }
        self.parts.ledgers.put_with_signatures(id, ledger, &known.signatures());
        Ok(())
    }

    fn open_ledger(&self, key: &PublicKey, wish: &Registration) -> Result<Ledger, Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.parts.directory.as_os_str().as_encoded_bytes());
        hasher.update(&[0]);
        hasher.update(key.as_bytes());
        hasher.update(wish.root_id.as_bytes());
        let name = hasher.finalize().to_hex();
        let dir = self.parts.ledger_dir.join(&name[..32]);
        if wish.dry {
            let open = self.sessions.of(key, false).and_then(|id| self.sessions.ledger(id));
            // Nobody writes to it meanwhile.
            let _held = open.as_ref().map(|ledger| hold(ledger));
            return Ledger::open_copy(&dir);
        }
        let ledger = Ledger::open(&dir)?;
        if let Some(damage) = ledger.damage() {
            self.parts.monitor.note(damage);
        }
        Ok(ledger)
    }

    fn warnings(&self, wish: &Registration) -> Vec<String> {
        let mut warnings = Vec::new();
        let lost = wish.abilities.table(&self.parts.carried.and(&wish.wanted));
        if !lost.is_empty() {
            let lost: Vec<&str> = lost.into_iter().map(Loss::words).collect();
            warnings.push(format!("The sink can't hold: {}", lost.join(", ")));
        }
        let held = self.parts.looker.held().filter(|_| !self.parts.selection.has_rules());
        if let Some(short) = held.and_then(|held| wish.abilities.is_too_small_for(held)) {
            warnings.push(format!("There may be too little {short}"));
        }
        if let Some(halted) = self.director.halted() {
            warnings.push(halted);
        }
        warnings
    }

    /// Once the sink has connected all sockets, the transfer phase begins.
    fn readiness(&mut self, id: SinkId) -> Reply {
        let connected = self.links.get(&id).is_some_and(|(_, link)| link.is_connected());
        if !connected {
            return Reply::NotYet;
        }
        let now = self.now();
        let Some(known) = self.sessions.known.get_mut(&id) else { return Reply::NotYet };
        if !known.begun {
            known.begun = true;
            let ending = known.ending;
            if let Some(terms) = known.terms.clone() {
                self.director.begin(id, terms, now);
            }
            self.steer();
            if let Some(ending) = ending {
                self.director.terminate(id, ending, now);
            }
            self.act();
        }
        Reply::Ready
    }

    fn heartbeat(&mut self, id: SinkId, beat: &Heartbeat) -> Reply {
        self.director.heard(id, beat.seen);
        if let Some(free) = beat.room {
            self.director.has_room(id, free, self.now());
            self.act();
        }
        let (sent, _) = self.director.last_numbers(id);
        let Some(known) = self.sessions.known.get_mut(&id) else { return stale() };
        known.bwlimit = beat.bwlimit;
        let mut lost = false;
        for ((waiting, seen), sent) in known.unseen_since.iter_mut().zip(beat.seen).zip(sent) {
            *waiting = match *waiting {
                _ if seen >= sent => None,
                Some((before, since)) if before == seen => {
                    lost |= since.elapsed() > UNSEEN;
                    Some((before, since))
                }
                _ => Some((seen, Instant::now())),
            };
        }
        if lost {
            self.lose(id, "The sink has not seen the last message for too long");
            return stale();
        }
        self.alive(id)
    }

    fn unregister(&mut self, id: SinkId, ending: Ending) -> Reply {
        let now = self.now();
        let Some(known) = self.sessions.known.get_mut(&id) else { return stale() };
        known.please_unregister = None;
        let over = known.finished.as_ref().is_some_and(|r| r.outcome != Outcome::Unfinished);
        if known.begun && !over {
            known.finished = None;
            self.director.terminate(id, ending, now);
            self.act();
        }
        self.alive(id)
    }

    fn alive(&mut self, id: SinkId) -> Reply {
        let (sent, reports_seen) = self.director.last_numbers(id);
        let phase = self.phase(id);
        let figures = self.figures(id);
        let Some(known) = self.sessions.known.get(&id) else { return stale() };
        Reply::Alive(Alive {
            sent,
            reports_seen,
            phase,
            figures,
            please_unregister: known.please_unregister,
            finished: known.finished.clone(),
        })
    }

    /// The figures of a session, with what only the sockets know.
    fn figures(&self, id: SinkId) -> Figures {
        let figures = self.director.figures(id).unwrap_or_default();
        self.metered(id, figures)
    }

    fn metered(&self, id: SinkId, figures: Figures) -> Figures {
        let bytes_on_wire = self.sessions.known.get(&id).map_or(0, |known| known.meter.bytes());
        Figures { bytes_on_wire, ..figures }
    }

    fn phase(&self, id: SinkId) -> PhaseTag {
        let Some(known) = self.sessions.known.get(&id) else { return PhaseTag::Init };
        let ended = known.finished.as_ref().is_some_and(|r| r.outcome != Outcome::Unfinished);
        if !known.begun {
            PhaseTag::Init
        } else if ended || self.director.terminating(id).is_some() {
            PhaseTag::Termination
        } else {
            PhaseTag::Transfer
        }
    }

    /// The sink goes. After a finished session the service ends with its last sink.
    fn leave(&mut self, id: SinkId) -> Reply {
        let known = self.sessions.known.get_mut(&id);
        let is_dry = known.as_ref().is_some_and(|known| known.is_dry);
        let finished = known.and_then(|known| known.finished.take());
        self.lose(id, "The sink has left");
        let finished = finished.filter(|report| report.outcome != Outcome::Unfinished);
        if let Some(report) = finished {
            if self.parts.is_dry || !is_dry {
                self.sessions.last_end = Some(report);
            }
            self.forget(id);
        }
        Reply::Farewell
    }

    /// A sink does not come back. Where one has ended its session, the source ends with the last.
    fn forget(&mut self, id: SinkId) {
        self.director.remove(id, self.now());
        self.sessions.known.remove(&id);
        self.parts.ledgers.remove(id);
        if self.sessions.known.is_empty() {
            self.ended = self.sessions.last_end.take().map(Ended::Finished);
        }
    }

    /// Watches over the sessions: silence, and ends that the director has reached.
    pub(super) fn mind_sessions(&mut self) {
        match self.doorkeeper.as_mut().map(Doorkeeper::tend) {
            Some(Ok(revoked)) => {
                let ids = revoked.iter().flat_map(|key| self.sessions.all_of(key));
                for id in ids.collect::<Vec<_>>() {
                    self.lose(id, "A person revoked the sink's key");
                    self.forget(id);
                }
            }
            Some(Err(error)) => tracing::error!(%error, "the lists of keys can't be read"),
            None => {}
        }
        let ids: Vec<SinkId> = self.sessions.known.keys().copied().collect();
        for id in ids {
            if let Some(mut report) = self.director.outcome(id).cloned() {
                report.figures = self.metered(id, report.figures);
                let unfinished = report.outcome == Outcome::Unfinished;
                let result = ResultObject::of(&Ok(Ended::Finished(report.clone())));
                if let Some(known) = self.sessions.known.get_mut(&id) {
                    if report.outcome == Outcome::Equal {
                        known.last_synchronised = Some(unix_now());
                    }
                    if known.finished.is_none() {
                        known.finished = Some(report);
                        (self.parts.announce)(result.of_sink(known.key.to_string()));
                    }
                }
                if unfinished {
                    let now = self.now();
                    self.director.resume(id, now);
                }
            }
            let silent = |known: &Known| known.last_seen.elapsed() > SILENCE;
            if self.links.contains_key(&id) && self.sessions.known.get(&id).is_some_and(silent) {
                self.lose(id, "No sign of life from the sink");
            }
        }
    }

    /// Tells the monitor how the sessions stand.
    pub(super) fn tell_people(&mut self) {
        let ids: Vec<SinkId> = self.sessions.known.keys().copied().collect();
        let mut worst: Option<Figures> = None;
        for id in ids {
            let figures = self.figures(id);
            let phase = self.phase(id);
            let state = State::of(self.links.contains_key(&id), &figures);
            let Some(known) = self.sessions.known.get_mut(&id) else { continue };
            if state == State::Ready {
                known.last_synchronised = Some(unix_now());
            }
            if known.state != Some((phase, state)) {
                known.state = Some((phase, state));
                let (reason, sink) = (figures.halted.clone(), Some(known.key.to_string()));
                let change = StateChange { role: Role::Source, phase, state, reason, sink };
                self.parts.monitor.state(&change);
            }
            let left = |f: &Figures| (f.backlog_files + f.dirty_paths, f.lag_ms);
            if worst.as_ref().is_none_or(|known| left(known) < left(&figures)) {
                worst = Some(figures);
            }
        }
        if let Some(figures) = worst {
            self.parts.monitor.figures(&figures);
        }
    }
}

fn stale() -> Reply {
    let text = "The session is over: register again".to_owned();
    Reply::Refused { code: Refusal::Stale, text }
}
