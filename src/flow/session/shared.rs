//! What all sessions share: the map, the time, the halves of renames, and the way out for actions.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::flow::ease::Ease;
use crate::flow::halts::{Cause, Halts};
use crate::flow::halves::Halves;
use crate::flow::map::DirMap;
use crate::flow::session::changes::Change;
use crate::model::entry::Identity;
use crate::model::ledger::{Entries, KinQuery};
use crate::model::limits::{FRESH_FILES_MAX, LOOK_MS};
use crate::model::look::{DirAddress, LookId, LookJob, Task, WatchState};
use crate::model::message::Body;
use crate::model::offer::Offering;
use crate::model::path::{Name, RelPath};
use crate::model::removal::MaxDelete;
use crate::model::selection::Selection;
use crate::model::stamp::{DirKey, Epoch, Lane, Sequence, SinkId, Stamp};

/// How long arming a directory may take.
const LOOK_TIME: Duration = Duration::from_millis(LOOK_MS);

/// A message on its way to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub sink: SinkId,
    /// In which epoch.
    pub epoch: Epoch,
    /// On which lane.
    pub lane: Lane,
    /// Its number there.
    pub sequence: Sequence,
    /// Below every stamp that is not answered.
    pub watermark: Stamp,
    /// What it says.
    pub body: Body,
    /// The content frame.
    pub content: Option<Vec<u8>>,
    /// To be written into the ledger before the message leaves (laws 4 and 9).
    pub offers: Vec<Offering>,
}

/// What the director wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a look.
    Look(LookJob),
    /// Tell when the kernel queue was read empty after this.
    Drain(u64),
    /// Take the watch off a directory that left.
    Disarm(DirKey),
    /// Send a message.
    Send(Outgoing),
    /// Enter what a report told into the ledger.
    Enter {
        /// Of whom.
        sink: SinkId,
        /// What.
        entries: Entries,
    },
    /// Ask the ledger which of these names were offered.
    AskOffered {
        /// For whom.
        sink: SinkId,
        /// Names the question.
        query: u64,
        /// The directory, as the sink has it.
        dir: RelPath,
        /// The names.
        names: Vec<Name>,
    },
    /// Ask the ledger which names of an object are to be looked at.
    AskKin {
        /// For whom.
        sink: SinkId,
        /// Names the question.
        query: u64,
        /// The object.
        about: KinQuery,
    },
    /// The epoch can't go on: drop it, the sink will register again.
    EndEpoch {
        /// Whose.
        sink: SinkId,
        /// Why, for people.
        reason: String,
    },
    /// Something is wrong at one path.
    Problem {
        /// For whom.
        sink: SinkId,
        /// Where.
        path: RelPath,
        /// What.
        text: String,
    },
    /// Something that a person should know.
    Note(String),
}

/// A directory that is known and at no place: a rename took its name, and the second half of an
/// exchange may give it another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adrift {
    /// The directory.
    pub key: DirKey,
    /// The name it had. The sinks may still have it there: nothing below may leave.
    pub slot: (DirKey, Name),
    /// Once this ticket came back it is gone.
    pub ticket: u64,
}

/// A directory that is being armed.
#[derive(Debug)]
pub struct Arming {
    /// The directory.
    pub key: DirKey,
    /// Where it was when the look began.
    pub path: RelPath,
    /// Whether live work met it.
    pub fresh: bool,
    /// When the look began.
    pub began: Duration,
}

/// What all sessions share.
pub struct Shared {
    /// The map of directories.
    pub map: DirMap,
    /// The time, since some start.
    pub now: Duration,
    /// What is to be done, in order.
    pub actions: VecDeque<Action>,
    /// First halves of renames.
    pub halves: Halves,
    /// Directories at no place.
    pub adrift: Vec<Adrift>,
    /// Why nothing may be removed, if so.
    pub halts: Halts,
    /// How many removals are too many.
    pub max_delete: MaxDelete,
    /// What of the source is offered.
    pub selection: Arc<Selection>,
    /// How much the backlog may ask of the disk.
    pub ease: Ease,
    /// Changes of the map that the sessions have not been told yet.
    pub changes: VecDeque<Change>,
    /// Directories to be armed, in turn.
    pub to_arm: VecDeque<DirKey>,
    /// Directories to be armed before all others.
    pub to_arm_first: VecDeque<DirKey>,
    /// Directories that were elsewhere when they were to be armed.
    arm_later: BTreeSet<DirKey>,
    owners: HashMap<LookId, Option<SinkId>>,
    arming: HashMap<LookId, Arming>,
    next_look: LookId,
    next_open: u64,
    next_ticket: u64,
    ticket_out: Option<u64>,
    ticket_wanted: bool,
}

impl Shared {
    /// Nothing known but the root.
    #[must_use]
    pub fn new(map: DirMap) -> Shared {
        Shared {
            map,
            now: Duration::ZERO,
            actions: VecDeque::new(),
            halves: Halves::default(),
            adrift: Vec::new(),
            halts: Halts::default(),
            max_delete: MaxDelete::default(),
            selection: Arc::default(),
            ease: Ease::default(),
            changes: VecDeque::new(),
            to_arm: VecDeque::from([DirKey::ROOT]),
            to_arm_first: VecDeque::new(),
            arm_later: BTreeSet::new(),
            owners: HashMap::new(),
            arming: HashMap::new(),
            next_look: 1,
            next_open: 1,
            next_ticket: 1,
            ticket_out: None,
            ticket_wanted: false,
        }
    }

    /// Sends a look off; its number comes back with the result.
    pub(super) fn look(
        &mut self,
        sink: Option<SinkId>,
        urgent: bool,
        dir: DirAddress,
        task: Task,
    ) -> LookId {
        let id = self.next_look;
        self.next_look += 1;
        self.owners.insert(id, sink);
        if !urgent {
            self.ease.begin(id, &task, self.now);
        }
        self.actions.push_back(Action::Look(LookJob { id, sink, urgent, dir, task }));
        id
    }

    /// A number for a directory or a file that a worker keeps open: the same workers serve all
    /// sinks, so these numbers are shared.
    pub(super) fn next_open(&mut self) -> u64 {
        self.next_open += 1;
        self.next_open - 1
    }

    /// Whose look that was; nothing if nobody waits for it any more.
    pub fn take_owner(&mut self, id: LookId) -> Option<Option<SinkId>> {
        self.owners.remove(&id)
    }

    pub(super) fn forget_look(&mut self, id: LookId) {
        self.owners.remove(&id);
        self.ease.forget(id);
    }

    pub(super) fn close_listing(&mut self, listing: u64, dir: DirKey) {
        self.dismiss(dir, Task::CloseListing { listing });
    }

    pub(super) fn close_transfer(&mut self, transfer: u64, dir: DirKey) {
        self.dismiss(dir, Task::CloseTransfer { transfer });
    }

    /// A look whose end nobody waits for: it only lets something go.
    fn dismiss(&mut self, key: DirKey, task: Task) {
        let dir = DirAddress { key, path: RelPath::root(), identity: None };
        let id = self.look(None, false, dir, task);
        self.forget_look(id);
    }

    /// Has directories armed: so many at once of those that just appeared, and so many at once of
    /// the others.
    pub fn pump_arming(&mut self, at_once: usize, others: usize) {
        while self.arming.len() < at_once {
            let urgent = !self.to_arm_first.is_empty();
            if !urgent && (self.arming.len() >= others || !self.ease.has_room(self.now)) {
                return;
            }
            let next = self.to_arm_first.pop_front().or_else(|| self.to_arm.pop_front());
            let Some(key) = next else { return };
            if self.map.get(key).is_none_or(|dir| dir.scanned) {
                continue;
            }
            let Some(address) = self.map.address(key) else { continue };
            let files_max = if urgent { FRESH_FILES_MAX } else { 0 };
            let path = address.path.clone();
            let id = self.look(None, urgent, address, Task::Arm { files_max });
            self.arming.insert(id, Arming { key, path, fresh: urgent, began: self.now });
        }
    }

    /// Whether the events of a directory come under another key than the one it was looked at by:
    /// what was read of it was not armed, and its events are lost once the other goes (H14).
    ///
    /// A key that is known no more, or that the directory surely is not, loses the watch: its look
    /// found this directory where its own had been a moment before.
    pub fn is_anothers(&mut self, key: DirKey, identity: Identity, watch: &WatchState) -> bool {
        let WatchState::Known(other) = *watch else { return false };
        if other == key {
            return false;
        }
        if self.map.get(other).is_none() {
            self.actions.push_back(Action::Disarm(other));
        } else if self.map.by_identity(identity) == Some(key) {
            self.read_anew(other);
        }
        true
    }

    /// What was read of a directory, and watched for it, may be another one: it is armed and read
    /// anew.
    pub fn read_anew(&mut self, key: DirKey) {
        self.actions.push_back(Action::Disarm(key));
        self.map.set_mistaken(key);
        self.to_arm.push_back(key);
        self.changes.push_back(Change::Unread { key });
    }

    /// Whether a look at a directory that had not been met before may have met another one: its
    /// path has changed since.
    #[must_use]
    pub fn may_be_mistaken(&self, key: DirKey, path: &RelPath) -> bool {
        let unmet = self.map.get(key).is_some_and(|dir| dir.identity().is_none());
        unmet && self.map.path(key).as_ref() != Some(path)
    }

    /// A directory was found at its place: should it not have been when it was to be armed, or not
    /// have been readable, it is armed now.
    pub fn arm_again(&mut self, key: DirKey) {
        if self.arm_later.remove(&key) {
            self.map.set_mistaken(key);
            self.to_arm.push_back(key);
            self.changes.push_back(Change::Unread { key });
        }
    }

    /// A directory was not at its place when it was to be armed, or can't be read: its name will be
    /// looked at.
    pub fn arm_later(&mut self, key: DirKey) {
        self.arm_later.insert(key);
    }

    /// What that look armed.
    pub fn take_arming(&mut self, id: LookId) -> Option<Arming> {
        self.arming.remove(&id)
    }

    /// Gives up a directory that could not be armed in time, if there is one: as `take_arming`.
    pub fn give_up_arming(&mut self) -> Option<Arming> {
        let late = self.arming.iter().filter(|(_, arming)| arming.began + LOOK_TIME <= self.now);
        let id = late.map(|(id, _)| *id).min()?;
        self.forget_look(id);
        self.take_arming(id)
    }

    /// When the next directory that is being armed is to be given up.
    #[must_use]
    pub fn next_give_up(&self) -> Option<Duration> {
        self.arming.values().map(|arming| arming.began + LOOK_TIME).min()
    }

    /// Whether every directory known was armed.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.to_arm.is_empty() && self.to_arm_first.is_empty() && self.arming.is_empty()
    }

    /// A ticket that comes back once the kernel queue was read empty after now (law 2).
    pub fn ask_drain(&mut self) -> u64 {
        if self.ticket_out.is_some() {
            self.ticket_wanted = true;
        } else {
            self.ticket_out = Some(self.next_ticket);
            self.actions.push_back(Action::Drain(self.next_ticket));
            self.next_ticket += 1;
            return self.next_ticket - 1;
        }
        self.next_ticket
    }

    /// A ticket came back.
    pub fn drained(&mut self, ticket: u64) {
        if self.ticket_out == Some(ticket) {
            self.ticket_out = None;
            if std::mem::take(&mut self.ticket_wanted) {
                self.ask_drain();
            }
        }
    }

    /// Enters a directory met for the first time, tells the sessions, and has it armed.
    pub fn insert_dir(&mut self, parent: DirKey, name: &Name, fresh: bool) -> Option<DirKey> {
        let key = self.map.insert(parent, name.clone())?;
        self.changes.push_back(Change::Appeared { key, parent, fresh });
        if fresh {
            self.to_arm_first.push_back(key);
        } else {
            self.to_arm.push_back(key);
        }
        Some(key)
    }

    /// Halts removals until the cause is gone, or a person says that they may go on (law 9).
    pub fn halt(&mut self, cause: Cause, reason: &str) {
        if self.halts.add(cause, reason) {
            self.actions.push_back(Action::Note(reason.to_owned()));
        }
    }

    /// A cause of a halt is gone; true if it was there.
    pub fn lift(&mut self, cause: &Cause) -> bool {
        let is_lifted = self.halts.lift(cause);
        if is_lifted && !self.halts.is_any() {
            let text = "What halted removals is mended: they go on";
            self.actions.push_back(Action::Note(text.to_owned()));
        }
        is_lifted
    }

    /// Halts removals, for a filesystem came, went, or was replaced at a path: what is no longer
    /// seen there was not removed.
    pub fn halt_for_mount(&mut self, path: &RelPath) {
        let reason = format!(
            "A filesystem at \"{path}\" of the source was mounted, unmounted or replaced: nothing \
             is removed at the sink until `osync set DIR resume`"
        );
        self.halt(Cause::Mount(path.clone()), &reason);
    }

    /// Forgets a directory and all below it, and takes the watches off. If a filesystem is mounted
    /// there, it has vanished.
    pub fn remove_dir(&mut self, key: DirKey) {
        let below = self.map.subtree(key);
        if let Some(mount) = below.into_iter().find(|below| self.map.is_mount(*below)) {
            let path = self.map.path(mount).unwrap_or_default();
            self.halt_for_mount(&path);
        }
        let gone = self.map.remove(key);
        for each in &gone {
            self.arm_later.remove(each);
            self.actions.push_back(Action::Disarm(*each));
        }
        if !gone.is_empty() {
            self.changes.push_back(Change::Vanished { keys: gone });
        }
    }

    /// The next change that the sessions have to be told.
    pub fn take_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }
}
