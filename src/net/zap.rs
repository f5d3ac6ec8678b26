//! The gatekeeper: asked in every handshake whether a key may come in (law 12).
//!
//! - Its thread answers on the well-known inproc endpoint of its context and must stand before
//!   the first socket is bound; sockets are told to refuse everybody if it does not.
//! - The domain `command` admits the keys of the access table: authorised sinks and invites.
//! - Each data socket is a domain of its own that admits one key, once (H25). Only a handshake
//!   that has proved its key is asked about, so no stranger can use that one time up.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::model::key::PublicKey;
use crate::net::wake::Waker;
use crate::net::{Context, trouble};

/// The domain of the command service.
pub(super) const COMMAND_DOMAIN: &str = "command";
/// Where libzmq looks for a gatekeeper.
const ENDPOINT: &str = "inproc://zeromq.zap.01";
/// Refusals are logged at most once in this time; the others are counted.
const LOG_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Table {
    admitted: HashSet<PublicKey>,
    doors: HashMap<String, Admission>,
    doors_made: u64,
}

/// The one key of a data socket, and whether it has come.
struct Admission {
    key: PublicKey,
    spent: bool,
}

/// Who may come in; shared by all threads of a source.
#[derive(Clone, Default)]
pub struct Access(Arc<Mutex<Table>>);

impl Access {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change is a single step, so a panic elsewhere can't have left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a key use the command service.
    pub fn admit(&self, key: PublicKey) {
        self.table().admitted.insert(key);
    }

    /// Lets a key use the command service no more; a connection that it has is not cut.
    pub fn withdraw(&self, key: &PublicKey) {
        self.table().admitted.remove(key);
    }

    /// Lets exactly these keys use the command service.
    pub fn set_admitted(&self, keys: impl IntoIterator<Item = PublicKey>) {
        self.table().admitted = keys.into_iter().collect();
    }

    /// Whether a key may use the command service.
    #[must_use]
    pub fn admits(&self, key: &PublicKey) -> bool {
        self.table().admitted.contains(key)
    }

    /// Opens a domain for one connection of one key, until the door is dropped.
    pub(super) fn open_door(&self, epoch: u64, key: PublicKey) -> Door {
        let mut table = self.table();
        table.doors_made += 1;
        let domain = format!("data-{epoch}-{}", table.doors_made);
        table.doors.insert(domain.clone(), Admission { key, spent: false });
        drop(table);
        Door { access: self.clone(), domain }
    }

    /// Decides on one handshake.
    fn decide(&self, domain: &str, key: &PublicKey) -> Result<(), &'static str> {
        let mut table = self.table();
        if domain == COMMAND_DOMAIN {
            let known = table.admitted.contains(key);
            return if known { Ok(()) } else { Err("the key is not authorised") };
        }
        match table.doors.get_mut(domain) {
            None => Err("the epoch of this socket is over"),
            Some(door) if door.key != *key => Err("the socket is for another sink"),
            Some(door) if door.spent => Err("the sink is connected already"),
            Some(door) => {
                door.spent = true;
                Ok(())
            }
        }
    }
}

/// The domain of one data socket; it goes with its socket.
pub(super) struct Door {
    access: Access,
    domain: String,
}

impl Door {
    pub(super) fn domain(&self) -> &str {
        &self.domain
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.access.table().doors.remove(&self.domain);
    }
}

/// The thread that answers; dropping it ends the thread, and then nobody comes in any more.
pub struct Gatekeeper {
    access: Access,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Gatekeeper {
    /// Takes up its post. To be called before any socket of the context is bound.
    ///
    /// # Errors
    /// When the context has a gatekeeper already, or the system has no room.
    pub fn start(context: &Context) -> Result<Gatekeeper, Error> {
        let socket = context.socket(zmq::REP)?;
        socket.bind(ENDPOINT).map_err(|e| trouble("Can't start the gatekeeper", e))?;
        let access = Access::default();
        let stop = Arc::new(AtomicBool::new(false));
        let waker = Waker::new()?;
        let post = Post { socket, access: access.clone(), log: RefusalLog::default() };
        let thread = thread::Builder::new()
            .name("gatekeeper".into())
            .spawn({
                let (stop, waker) = (stop.clone(), waker.clone());
                move || post.serve(&stop, &waker)
            })
            .map_err(|e| Error::Network(format!("Can't start the gatekeeper: {e}")))?;
        Ok(Gatekeeper { access, stop, waker, thread: Some(thread) })
    }

    /// The table of those who may come in.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access.clone()
    }
}

impl Drop for Gatekeeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Post {
    socket: zmq::Socket,
    access: Access,
    log: RefusalLog,
}

impl Post {
    fn serve(mut self, stop: &AtomicBool, waker: &Waker) {
        while !stop.load(Ordering::Acquire) {
            let mut items = [self.socket.as_poll_item(zmq::POLLIN), waker.poll_item()];
            if zmq::poll(&mut items, -1) == Err(zmq::Error::ETERM) {
                return;
            }
            match self.socket.recv_multipart(zmq::DONTWAIT) {
                Ok(request) => {
                    let reply = self.answer(&request);
                    let _ = self.socket.send_multipart(reply, 0);
                }
                Err(zmq::Error::ETERM) => return,
                Err(_) => {}
            }
        }
    }

    /// Frames of a request: version, id, domain, address, routing id, mechanism, credentials.
    fn answer(&mut self, request: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let id = request.get(1).cloned().unwrap_or_default();
        let (status, text, user) = match self.judge(request) {
            Ok(key) => ("200", "", key.to_string()),
            Err(why) => ("400", why, String::new()),
        };
        let texts = [status, text, user.as_str(), ""].map(|text| text.as_bytes().to_vec());
        [b"1.0".to_vec(), id].into_iter().chain(texts).collect()
    }

    fn judge(&mut self, request: &[Vec<u8>]) -> Result<PublicKey, &'static str> {
        let [_, _, domain, address, _, mechanism, key] = request else {
            return Err("malformed request");
        };
        if mechanism != b"CURVE" {
            return Err("only CURVE is spoken here");
        }
        let key = PublicKey::from_slice(key).map_err(|_| "malformed key")?;
        let domain = String::from_utf8_lossy(domain);
        self.access.decide(&domain, &key).map(|()| key).inspect_err(|why| {
            self.log.refused(&key, &String::from_utf8_lossy(address), why);
        })
    }
}

/// Says who was refused, without letting a stranger fill the log.
#[derive(Default)]
struct RefusalLog {
    last: Option<Instant>,
    unsaid: u64,
}

impl RefusalLog {
    fn refused(&mut self, key: &PublicKey, address: &str, why: &str) {
        if self.last.is_some_and(|last| last.elapsed() < LOG_EVERY) {
            self.unsaid += 1;
            return;
        }
        self.last = Some(Instant::now());
        let unsaid = std::mem::take(&mut self.unsaid);
        tracing::info!(%key, address, unsaid, "Refused a connection: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_lets_one_key_in_once() {
        let access = Access::default();
        let (friend, stranger) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let door = access.open_door(7, friend);
        assert!(door.domain().starts_with("data-7-"));
        assert!(access.decide(door.domain(), &stranger).is_err());
        assert!(access.decide(door.domain(), &friend).is_ok());
        assert!(access.decide(door.domain(), &friend).is_err());
        let domain = door.domain().to_owned();
        drop(door);
        assert!(access.decide(&domain, &friend).is_err());
    }

    #[test]
    fn commands_are_for_those_in_the_table() {
        let access = Access::default();
        let key = PublicKey([1; 32]);
        assert!(access.decide(COMMAND_DOMAIN, &key).is_err());
        access.admit(key);
        assert!(access.decide(COMMAND_DOMAIN, &key).is_ok());
        access.withdraw(&key);
        assert!(!access.admits(&key));
        assert!(access.decide("", &key).is_err());
    }

    #[test]
    fn one_gatekeeper_a_context() {
        let context = Context::new().unwrap();
        let first = Gatekeeper::start(&context).unwrap();
        assert!(Gatekeeper::start(&context).is_err());
        drop(first);
        // The library gives the place free in its own time.
        while Gatekeeper::start(&context).is_err() {
            thread::yield_now();
        }
    }
}
