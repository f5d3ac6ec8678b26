//! The director: the source's decisions, for all sinks, as a machine without hands.
//!
//! It is told what happened (notices of the watcher, results of looks, reports, the ledger's
//! answers, the time) and asked what to do ([`Director::take_action`]). It owns the map of
//! directories and lends it to the sessions.

mod moves;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::flow::blindness::Blindness;
use crate::flow::director::moves::Displaced;
use crate::flow::halts::Cause;
use crate::flow::halves::Half;
use crate::flow::map::DirMap;
use crate::flow::marks::Hint;
use crate::flow::session::{Action, Adrift, Arming, Change, GIVEN_UP, Session, Shared, Terms};
use crate::model::entry::Identity;
use crate::model::event::{Event, Happening, Notice};
use crate::model::ledger::{Kin, Unsettled};
use crate::model::limits::ARMS_MAX;
use crate::model::look::{Armed, LookDone, Seen, WatchState};
use crate::model::message::Report;
use crate::model::path::{Name, RelPath};
use crate::model::removal::MaxDelete;
use crate::model::selection::Selection;
use crate::model::session::{Ending, Figures, FinalReport, FreeRoom};
use crate::model::stamp::{DirKey, Sequence, SinkId};

/// How long a new name waits for its writer, unless the writer closes it before.
const CREATED_DELAY: Duration = Duration::from_millis(5);
/// How long a written name waits, unless the writer closes it before.
const WRITTEN_DELAY: Duration = Duration::from_millis(20);

/// The source's decisions.
pub struct Director {
    shared: Shared,
    sessions: BTreeMap<SinkId, Session>,
    displaced: Option<Displaced>,
    /// The last ticket that came back and could not be believed yet: a half was held back.
    believed: Option<u64>,
    blindness: Blindness,
}

impl Director {
    /// A director for a root of that identity.
    #[must_use]
    pub fn new(root: Identity) -> Director {
        Director {
            shared: Shared::new(DirMap::new(root)),
            sessions: BTreeMap::new(),
            displaced: None,
            believed: None,
            blindness: Blindness::default(),
        }
    }

    /// The next thing to be done; to be asked until there is nothing.
    pub fn take_action(&mut self) -> Option<Action> {
        self.shared.actions.pop_front()
    }

    /// Begins an epoch with a sink; whatever was under way with it is thrown away.
    pub fn begin(&mut self, sink: SinkId, terms: Terms, now: Duration) {
        self.shared.now = now;
        let session =
            self.sessions.entry(sink).or_insert_with(|| Session::new(sink, terms.clone()));
        session.begin(terms, &mut self.shared);
        self.pump();
    }

    /// The epoch is over; the session waits for the sink to register again.
    pub fn end(&mut self, sink: SinkId, now: Duration) {
        self.shared.now = now;
        if let Some(session) = self.sessions.get_mut(&sink) {
            session.end(&mut self.shared);
        }
    }

    /// The sink has left for good.
    pub fn remove(&mut self, sink: SinkId, now: Duration) {
        self.end(sink, now);
        self.sessions.remove(&sink);
        self.lift(&Cause::TooMany(sink), now);
    }

    /// A person, or the sink, wants the termination phase.
    pub fn terminate(&mut self, sink: SinkId, ending: Ending, now: Duration) {
        self.shared.now = now;
        if let Some(session) = self.sessions.get_mut(&sink) {
            session.terminate(ending, &mut self.shared);
        }
        self.pump();
    }

    /// Goes on with the transfer phase after a termination phase that could not finish.
    pub fn resume(&mut self, sink: SinkId, now: Duration) {
        self.shared.now = now;
        if let Some(session) = self.sessions.get_mut(&sink) {
            session.resume();
        }
        self.pump();
    }

    /// A person says that removals may go on after a halt.
    pub fn unhalt(&mut self, now: Duration) {
        self.shared.now = now;
        self.shared.halts.clear();
        for session in self.sessions.values_mut() {
            session.unhalt(now);
        }
        self.pump();
    }

    /// Sets how many removals within an hour are too many (law 9).
    pub fn limit_removals(&mut self, limit: MaxDelete) {
        self.shared.max_delete = limit;
    }

    /// Sets how many bytes may leave for a sink in a second; none for no limit.
    pub fn limit_rate(&mut self, sink: SinkId, rate: Option<u64>, now: Duration) {
        self.shared.now = now;
        if self.sessions.get_mut(&sink).is_some_and(|session| session.limit_rate(rate, now)) {
            self.pump();
        }
    }

    /// Sets how many operations a second the backlog may ask of the disk; none for no limit.
    pub fn limit_operations(&mut self, rate: Option<u64>, now: Duration) {
        self.shared.now = now;
        if self.shared.ease.rate() != rate {
            self.shared.ease.set_rate(rate, now);
            self.pump();
        }
    }

    /// Sets what of the source is offered: what the looks see, which heed the same selection.
    pub fn select(&mut self, selection: Arc<Selection>) {
        self.shared.selection = selection;
    }

    /// Why removals are halted, if they are.
    #[must_use]
    pub fn halted(&self) -> Option<String> {
        self.shared.halts.words()
    }

    /// Halts removals until the cause is gone, or a person says that they may go on (law 9).
    pub fn halt(&mut self, cause: Cause, reason: &str) {
        self.shared.halt(cause, reason);
    }

    /// A cause of a halt is gone, if it was there.
    pub fn lift(&mut self, cause: &Cause, now: Duration) {
        self.shared.now = now;
        if self.shared.lift(cause) {
            self.go_on();
        }
        self.pump();
    }

    /// What was withheld under a halt is looked at again, once there is none.
    fn go_on(&mut self) {
        if !self.shared.halts.is_any() {
            for session in self.sessions.values_mut() {
                session.go_on(self.shared.now);
            }
        }
    }

    /// How many directories no events come from, and some of the topmost of them.
    #[must_use]
    pub fn unwatched(&self, most: usize) -> (usize, Vec<RelPath>) {
        let map = &self.shared.map;
        let tops = map.unwatched_tops().filter_map(|key| map.path(key)).take(most);
        (map.unwatched_count(), tops.collect())
    }

    /// The figures of a session.
    #[must_use]
    pub fn figures(&self, sink: SinkId) -> Option<Figures> {
        self.sessions.get(&sink).map(|session| session.figures(&self.shared))
    }

    /// How a session ended, once it has.
    #[must_use]
    pub fn outcome(&self, sink: SinkId) -> Option<&FinalReport> {
        self.sessions.get(&sink)?.outcome()
    }

    /// How a session's termination phase is to end, while it lasts.
    #[must_use]
    pub fn terminating(&self, sink: SinkId) -> Option<Ending> {
        self.sessions.get(&sink)?.terminating()
    }

    /// Last sequence number sent in each lane, and the number of the last report read.
    #[must_use]
    pub fn last_numbers(&self, sink: SinkId) -> ([Sequence; 2], u64) {
        self.sessions.get(&sink).map_or(([0; 2], 0), Session::last_numbers)
    }

    /// When the director wants to be ticked at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let sessions = self.sessions.values().filter_map(Session::next_wake);
        let ease = self.shared.ease.next_room(self.shared.now);
        let shared = [self.shared.halves.next_expiry(), self.shared.next_give_up(), ease];
        sessions.chain(shared.into_iter().flatten()).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        self.shared.now = now;
        while let Some(half) = self.shared.halves.expire(now) {
            self.moved_out(&half);
        }
        while let Some(arming) = self.shared.give_up_arming() {
            self.shared.map.set_watched(arming.key, false);
            self.blindness.note_cause(GIVEN_UP.to_owned());
            self.armed(&arming, Seen::Unreadable(GIVEN_UP.to_owned()));
        }
        if self.shared.is_armed() {
            let note = self.blindness.tell(&self.shared.map);
            self.shared.actions.extend(note.map(Action::Note));
        }
        self.pump();
    }

    /// Takes a notice of the watcher.
    pub fn notice(&mut self, notice: Notice, now: Duration) {
        self.shared.now = now;
        match notice {
            Notice::Event(event) => self.event(event),
            Notice::Overflow => self.overflow(),
            Notice::Drained(ticket) => self.drained(ticket),
            Notice::Note(text) => self.shared.actions.push_back(Action::Note(text)),
            Notice::Failed(text) => {
                self.blindness.note_cause(format!("The watcher failed: {text}"));
                self.shared.map.set_deaf();
                self.overflow();
            }
        }
    }

    /// Takes what a look brought.
    pub fn look_done(&mut self, done: LookDone, now: Duration) {
        self.shared.now = now;
        self.shared.ease.end(done.id, &done.seen, now);
        if let Some(arming) = self.shared.take_arming(done.id) {
            self.shared.take_owner(done.id);
            self.armed(&arming, done.seen);
        } else if let Some(Some(sink)) = self.shared.take_owner(done.id)
            && let Some(session) = self.sessions.get_mut(&sink)
        {
            session.look_done(done.id, done.seen, &mut self.shared);
        }
        self.pump();
    }

    /// Takes a report of a sink.
    pub fn report(&mut self, sink: SinkId, report: Report, now: Duration) {
        self.shared.now = now;
        if let Some(session) = self.sessions.get_mut(&sink) {
            session.report(report, &mut self.shared);
        }
        self.pump();
    }

    /// A sink has told which messages it has seen.
    pub fn heard(&mut self, sink: SinkId, seen: [Sequence; 2]) {
        if let Some(session) = self.sessions.get_mut(&sink) {
            session.heard(seen);
        }
    }

    /// A sink has told what room it has.
    pub fn has_room(&mut self, sink: SinkId, free: FreeRoom, now: Duration) {
        self.shared.now = now;
        if let Some(session) = self.sessions.get_mut(&sink) {
            session.has_room(free, &mut self.shared);
        }
        self.pump();
    }

    /// Takes the ledger's answer to [`Action::AskOffered`].
    pub fn offered(&mut self, sink: SinkId, query: u64, offered: &[bool], now: Duration) {
        self.shared.now = now;
        if let Some(session) = self.sessions.get_mut(&sink) {
            session.offered(query, offered, &mut self.shared);
        }
        self.pump();
    }

    /// Takes the ledger's answer to [`Action::AskKin`].
    pub fn kin_told(&mut self, sink: SinkId, query: u64, kin: Kin, now: Duration) {
        self.shared.now = now;
        if let Some(session) = self.sessions.get_mut(&sink) {
            session.kin_told(query, kin, &mut self.shared);
        }
        self.pump();
    }

    /// The ledger has done [`Action::Enter`].
    pub fn entered(&mut self, sink: SinkId, unsettled: &Unsettled, now: Duration) {
        self.shared.now = now;
        if let Some(session) = self.sessions.get_mut(&sink) {
            session.entered(unsettled);
        }
        self.pump();
    }

    /// Tells the sessions what changed in the map, and starts all the work there is room for.
    pub fn pump(&mut self) {
        self.tell();
        self.believe();
        for session in self.sessions.values_mut() {
            session.pump(&mut self.shared);
        }
        // To list a directory is to arm it, so that arming by itself gives way to that.
        let is_listing = self.sessions.values().any(Session::is_listing);
        self.shared.pump_arming(ARMS_MAX, if is_listing { 1 } else { ARMS_MAX });
        self.tell();
    }

    fn tell(&mut self) {
        while let Some(change) = self.shared.take_change() {
            for session in self.sessions.values_mut() {
                session.heed(&change, &mut self.shared);
            }
        }
    }

    /// The sessions that live changes are told to.
    fn following(&mut self) -> impl Iterator<Item = &mut Session> {
        self.sessions.values_mut().filter(|session| session.is_following())
    }

    fn mark(&mut self, dir: DirKey, name: &Name, hint: Hint, delay: Duration) {
        let now = self.shared.now;
        for session in self.following() {
            session.hear(dir, name, hint, now, delay);
        }
    }

    /// Marks a name that came or went: the directory's own times moved with it.
    fn mark_moved(&mut self, (dir, name): (DirKey, &Name), delay: Duration) {
        self.mark(dir, name, Hint::CONTENT, delay);
        for session in self.following() {
            session.owe_meta(dir);
        }
    }

    /// Counts a name that came or went; directories are counted by the map.
    fn count(&mut self, dir: DirKey, is_dir: bool, came: bool) {
        for session in self.following().filter(|_| !is_dir) {
            session.count_name(dir, came);
        }
    }

    fn event(&mut self, event: Event) {
        let Event { dir, what } = event;
        if self.shared.map.get(dir).is_none() || self.is_passed_over(dir, &what) {
            return;
        }
        match what {
            Happening::Created { name, is_dir } => {
                let delay = if is_dir { Duration::ZERO } else { CREATED_DELAY };
                self.mark_moved((dir, &name), delay);
                self.count(dir, is_dir, true);
            }
            Happening::Written { name } => self.mark(dir, &name, Hint::CONTENT, WRITTEN_DELAY),
            Happening::Closed { name } => self.mark(dir, &name, Hint::CONTENT, Duration::ZERO),
            Happening::Removed { name, is_dir } => {
                self.mark_moved((dir, &name), Duration::ZERO);
                self.count(dir, is_dir, false);
            }
            Happening::Retouched { name, .. } => self.mark(dir, &name, Hint::META, Duration::ZERO),
            Happening::MovedFrom { name, cookie, is_dir } => {
                let half = Half { cookie, dir, name, is_dir, at: self.shared.now };
                if let Some(given_up) = self.shared.halves.hold(half) {
                    self.moved_out(&given_up);
                }
            }
            Happening::MovedTo { name, cookie, is_dir } => match self.shared.halves.take(cookie) {
                Some(half) => self.moved(half, (dir, name), is_dir),
                None => self.moved_in((dir, name), is_dir),
            },
            Happening::SelfRetouched => self.owe_meta(dir),
            Happening::SelfGone => self.self_gone(dir),
            Happening::Unmounted => self.unmounted(dir),
        }
    }

    /// The filesystem that a directory lies on was unmounted. What stands at its name now is found
    /// by a look; nothing of it was removed.
    fn unmounted(&mut self, dir: DirKey) {
        let path = self.shared.map.path(dir).unwrap_or_default();
        self.shared.halt_for_mount(&path);
        let place = self.shared.map.get(dir).and_then(|known| known.place().cloned());
        if let Some((parent, name)) = place {
            self.mark(parent, &name, Hint::CONTENT, Duration::ZERO);
        }
    }

    fn self_gone(&mut self, dir: DirKey) {
        if dir == DirKey::ROOT {
            let text = "The source's directory was removed: nothing more is removed at the sink";
            self.halt(Cause::Root, text);
            return;
        }
        let place = self.shared.map.get(dir).and_then(|known| known.place().cloned());
        if let Some((parent, name)) = place {
            self.mark(parent, &name, Hint::CONTENT, Duration::ZERO);
        }
        self.shared.remove_dir(dir);
        self.tell();
    }

    /// Whether an event tells of a hidden name alone. The directory's own times may have moved.
    fn is_passed_over(&mut self, dir: DirKey, what: &Happening) -> bool {
        let (name, is_dir, is_move) = match what {
            Happening::Created { name, is_dir } | Happening::Removed { name, is_dir } => {
                (name, *is_dir, true)
            }
            Happening::Retouched { name, is_dir } => (name, *is_dir, false),
            Happening::Written { name } | Happening::Closed { name } => (name, false, false),
            _ => return false,
        };
        let is_hidden = self.shared.hides(dir, name, is_dir);
        if is_hidden && is_move {
            self.owe_meta(dir);
        }
        is_hidden
    }

    fn owe_meta(&mut self, dir: DirKey) {
        for session in self.following() {
            session.owe_meta(dir);
        }
    }

    fn overflow(&mut self) {
        self.displaced = None;
        for half in self.shared.halves.clear() {
            self.mark_moved((half.dir, &half.name), Duration::ZERO);
        }
        let now = self.shared.now;
        for session in self.following() {
            session.overflowed(now);
        }
    }

    fn drained(&mut self, ticket: u64) {
        self.shared.drained(ticket);
        self.believed = Some(ticket);
        self.believe();
    }

    /// Once no half of a rename is held back, what was parked before the last ticket is believed.
    fn believe(&mut self) {
        if !self.shared.halves.is_empty() {
            return;
        }
        let Some(ticket) = self.believed.take() else { return };
        let (due, rest) = std::mem::take(&mut self.shared.adrift)
            .into_iter()
            .partition::<Vec<_>, _>(|adrift| adrift.ticket <= ticket);
        self.shared.adrift = rest;
        for Adrift { key, .. } in due {
            let lost = self.shared.map.get(key).is_some_and(|dir| dir.place().is_none());
            if lost {
                self.shared.remove_dir(key);
            }
        }
        self.tell();
        for session in self.sessions.values_mut() {
            session.drained(ticket, &mut self.shared);
        }
    }

    /// A directory was armed, or could not be.
    fn armed(&mut self, arming: &Arming, seen: Seen) {
        let Arming { key, ref path, fresh, .. } = *arming;
        let place = self.shared.map.get(key).and_then(|dir| dir.place().cloned());
        let Seen::Armed(Armed { identity, watch, dirs, files, .. }) = seen else {
            if let (Some((parent, name)), Seen::Elsewhere) = (&place, &seen) {
                self.mark(*parent, name, Hint::META, Duration::ZERO);
                self.shared.arm_later(key);
            } else {
                // What can't be read is tried again when its name is seen again, and by patrols.
                self.shared.map.set_armed(key);
                self.shared.map.set_watched(key, false);
                self.shared.arm_later(key);
            }
            return;
        };
        if self.shared.may_be_mistaken(key, path) {
            return self.shared.read_anew(key);
        }
        let strange = self.shared.is_anothers(key, identity, &watch);
        if self.shared.map.identify(key, identity).is_err() {
            return self.armed_elsewhere(key, place);
        }
        if strange {
            // The watch was under a key that the directory is not.
            return self.shared.to_arm.push_back(key);
        }
        self.shared.map.set_armed(key);
        self.shared.map.set_watched(key, !matches!(watch, WatchState::Unwatched(_)));
        if let WatchState::Unwatched(text) = watch {
            self.blindness.note_cause(text);
        }
        for name in dirs {
            let is_news = self.shared.map.child(key, &name).is_none();
            if is_news && !self.shared.hides(key, &name, true) {
                self.shared.insert_dir(key, &name, fresh);
            }
        }
        if !files.is_empty() {
            self.shared.changes.push_back(Change::Files { dir: key, names: files });
        }
    }

    /// The directory armed is one that the map has elsewhere: a look at its name will tell.
    fn armed_elsewhere(&mut self, key: DirKey, place: Option<(DirKey, Name)>) {
        self.shared.arm_later(key);
        if let Some((parent, name)) = place {
            self.mark(parent, &name, Hint::META, Duration::ZERO);
        }
    }
}
