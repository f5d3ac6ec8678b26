//! What the sink says: every answer frees credit and its place below the watermark (law 4).

use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::flights::{Cargo, Errand, SentKind, SentOp};
use crate::flow::session::{Action, Session, Shared};
use crate::model::message::{MessageAnswer, Report};
use crate::model::op::{Answer, Failure, Need};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{DirKey, Lane};

/// How long a name waits after its operation failed the first time; doubled each time.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_DOUBLINGS: u32 = 5;
/// How long the attributes of an object wait that was linked to another name: the ledger is to know
/// of it.
const TOUCHED_DELAY: Duration = Duration::from_millis(20);
/// How long a name waits that came before its parent.
const PARENT_DELAY: Duration = Duration::from_millis(20);

impl Session {
    /// Takes a report. A hole in the numbers ends the epoch.
    pub fn report(&mut self, report: Report, shared: &mut Shared) {
        if !self.active || report.epoch != self.terms.epoch {
            return;
        }
        if report.number != self.reports + 1 {
            let reason = format!("Report {} came after report {}", report.number, self.reports);
            shared.actions.push_back(Action::EndEpoch { sink: self.id, reason });
            return;
        }
        self.reports = report.number;
        for answer in report.answers {
            self.message_answered(answer, shared);
        }
        for dir in &report.disturbed {
            self.disturbed(dir, shared);
        }
        self.inspected |= report.inspected;
        self.tell_ledger(report.durable_through, report.barrier, shared);
    }

    /// Another's hand has changed a directory at the sink: what was believed of it is in doubt. If
    /// the source has no such directory, the deepest one that it has will tell.
    fn disturbed(&mut self, path: &RelPath, shared: &Shared) {
        let mut at = DirKey::ROOT;
        for name in path.names() {
            match shared.map.child(at, &name) {
                Some(key) => at = key,
                None => break,
            }
        }
        self.count_differences(1);
        self.doubt_dir(at);
        self.unclear(at);
        self.owe_meta(at);
    }

    fn message_answered(&mut self, answer: MessageAnswer, shared: &mut Shared) {
        let MessageAnswer { lane, sequence, exceptions, made, lacking, listing, signature } =
            answer;
        let Some(flight) = self.flights[lane.index()].remove(&sequence) else {
            let reason = format!("The sink answered message {sequence}, which is not under way");
            shared.actions.push_back(Action::EndEpoch { sink: self.id, reason });
            return;
        };
        self.credit[lane.index()].refund(flight.bytes);
        for path in &made {
            self.made_on_the_way(path, shared);
        }
        let mut exceptions = exceptions.into_iter().peekable();
        let mut lacking = lacking.into_iter().peekable();
        match flight.cargo {
            Cargo::Ops(ops) => {
                for (at, mut op) in ops.into_iter().enumerate() {
                    let answer = match exceptions.peek() {
                        Some((index, _)) if *index as usize == at => {
                            exceptions.next().map_or(Answer::Applied, |(_, answer)| answer)
                        }
                        _ => Answer::Applied,
                    };
                    if answer == Answer::Applied {
                        self.deeds.extend(op.entered());
                    }
                    self.op_answered(&op, answer, lane, shared);
                    if let Some((_, lack)) = lacking.next_if(|(index, _)| *index as usize == at) {
                        self.lacks(&op, lack, shared);
                    }
                }
            }
            Cargo::Listing(sent) => {
                let dir = sent.dir;
                self.part_answered(sent, listing, shared);
                self.land(dir);
            }
            Cargo::Chunk { transfer } => {
                let failed = exceptions.next().map(|(_, answer)| answer);
                self.chunk_answered(transfer, failed, shared);
            }
            Cargo::Sign { transfer } => self.signature_told(transfer, &signature, shared),
            Cargo::Drop => {}
        }
        self.pump_ready(lane, shared);
    }

    fn op_answered(&mut self, op: &SentOp, answer: Answer, lane: Lane, shared: &mut Shared) {
        self.stamps.release(op.stamp);
        if let Some(link) = &op.link {
            self.stamps.unpin(link.pin);
        }
        if let (Some(name), Answer::Applied) = (&op.name, &answer) {
            self.applied(op.dir, name, op.op, shared);
        }
        match &op.errand {
            Errand::Mark => {
                if let Some(name) = &op.name {
                    self.mark_answered(op, name, answer, lane, shared);
                }
            }
            Errand::Want(counted) => self.want_answered(op, *counted, answer, lane, shared),
            Errand::OwnMeta => self.own_meta_answered(op.dir, answer, shared),
            Errand::Removal(removal) => self.removal_answered(*removal, answer, shared),
            Errand::Rename => self.rename_answered(&answer, shared),
        }
        if let (Some(name), true) = (&op.name, op.link.as_ref().is_some_and(|link| link.is_touched))
        {
            self.mark(op.dir, name, Hint::LINKED, shared.now, TOUCHED_DELAY);
        }
        self.land(op.dir);
    }

    /// An object is at the sink without some of its attributes.
    fn lacks(&mut self, op: &SentOp, lack: String, shared: &mut Shared) {
        let Some(dir) = shared.map.path(op.dir) else { return };
        let path = op.name.as_ref().map_or(dir.clone(), |name| dir.join(name));
        self.problem(path, lack, shared);
    }

    /// What a listing found wanting was answered: unless all is well, it is a mark from now on, and
    /// counts as done when that is settled.
    fn want_answered(
        &mut self,
        op: &SentOp,
        counted: Option<u64>,
        answer: Answer,
        lane: Lane,
        shared: &mut Shared,
    ) {
        self.want_over(op.dir);
        if matches!(answer, Answer::Needed(_)) {
            self.count_differences(1);
        }
        let name = op.name.as_ref().filter(|_| answer != Answer::Applied);
        let Some(name) = name else { return self.count_done(counted) };
        let hint = if op.op == SentKind::Links { Hint::KIN } else { Hint::CONTENT };
        if self.marks.begin(op.dir, name, hint, shared.now) {
            self.count_when_settled(op.dir, name, counted);
            self.mark_answered(op, name, answer, lane, shared);
        } else {
            self.mark(op.dir, name, hint, shared.now, Duration::ZERO);
            self.count_when_settled(op.dir, name, counted);
        }
    }

    /// Something that counts is settled.
    pub(super) fn count_done(&mut self, counted: Option<u64>) {
        if let Some(bytes) = counted {
            self.tally.files_done += 1;
            self.tally.bytes_done += bytes;
        }
    }

    /// Something that counts is a mark from now on; if it is none, it is somebody else's.
    pub(super) fn count_when_settled(&mut self, dir: DirKey, name: &Name, counted: Option<u64>) {
        let Some(bytes) = counted else { return };
        if !self.marks.owe(dir, name, bytes) {
            self.count_done(counted);
        }
    }

    fn applied(&mut self, dir: DirKey, name: &Name, kind: SentKind, shared: &mut Shared) {
        if self.problems.count() > 0
            && let Some(path) = shared.map.path(dir)
        {
            self.problems.clear(&path.join(name));
        }
        if kind != SentKind::Attributes {
            self.owe_meta(dir);
        }
        if matches!(kind, SentKind::Names | SentKind::MakesDir) {
            self.room.taken();
        }
        if kind == SentKind::Removes
            && self.marks.get(dir, name).is_some_and(|mark| mark.hint.extra)
        {
            self.count_differences(1);
        }
        if kind == SentKind::MakesDir
            && let Some(key) = shared.map.child(dir, name)
        {
            self.confirm(key);
            self.owe_meta(key);
            if self.dirs.get(&key).is_none_or(|state| state.clear < self.doubt) {
                self.push_walk(key);
            }
        }
    }

    /// An answer showed that the sink has this directory.
    pub(super) fn confirm(&mut self, dir: DirKey) {
        if let Some(state) = self.dirs.get_mut(&dir) {
            state.confirmed = true;
        }
    }

    /// The sink made a directory that an operation presupposed. If it should have been there, all
    /// that was in it is in doubt.
    fn made_on_the_way(&mut self, path: &RelPath, shared: &mut Shared) {
        let mut at = DirKey::ROOT;
        for name in path.names() {
            self.owe_meta(at);
            match shared.map.child(at, &name) {
                Some(key) => at = key,
                // The source has no such directory any more: it has to go again.
                None => return self.mark(at, &name, Hint::CONTENT, shared.now, Duration::ZERO),
            }
        }
        self.owe_meta(at);
        if self.dirs.get(&at).is_some_and(|state| state.confirmed) {
            self.unclear(at);
        }
        self.remade(at, path);
        self.confirm(at);
    }

    fn mark_answered(
        &mut self,
        op: &SentOp,
        name: &Name,
        answer: Answer,
        lane: Lane,
        shared: &mut Shared,
    ) {
        let (dir, kind, now) = (op.dir, op.op, shared.now);
        match answer {
            Answer::Applied => {
                if let Some(since) = self.marks.settle(dir, name, now)
                    && lane == Lane::Live
                {
                    self.latencies.add(now.saturating_sub(since));
                }
            }
            // What was newer brought its content along; whether that holds, attributes will tell.
            Answer::Superseded if kind == SentKind::Attributes => {
                self.marks.put_off(dir, name, Hint::META, now, false);
            }
            Answer::Superseded if kind == SentKind::Links => {
                self.marks.put_off(dir, name, Hint::KIN, now, false);
            }
            Answer::Superseded => self.marks.put_off(dir, name, Hint::CONTENT, now, false),
            Answer::Needed(need) => self.needed(dir, name, kind, need, shared),
            Answer::Failed(failure) => {
                let path = shared.map.path(dir).unwrap_or_default().join(name);
                self.failed_at(path, &failure, shared);
                if failure.is_for_want_of_room() {
                    return self.hold(dir, name, op.bytes, now);
                }
                let delay = self.retry_delay(dir, name);
                self.marks.put_off(dir, name, Hint::CONTENT, now + delay, true);
            }
        }
    }

    /// How long a name waits that has just failed: longer each time.
    pub(super) fn retry_delay(&self, dir: DirKey, name: &Name) -> Duration {
        let failures = self.marks.get(dir, name).map_or(0, |mark| mark.failures);
        RETRY * 2u32.pow(failures.min(RETRY_DOUBLINGS))
    }

    /// Has a directory's own name looked at, for the sink lacks it. True if that name has failed
    /// already: what is below it waits with it.
    pub(super) fn ask_parent(&mut self, dir: DirKey, shared: &Shared) -> bool {
        let place = shared.map.get(dir).and_then(|known| known.place().cloned());
        let Some((parent, name)) = place else { return false };
        self.mark(parent, &name, Hint::CONTENT, shared.now, Duration::ZERO);
        self.marks.get(parent, &name).is_some_and(|mark| mark.failures > 0)
    }

    /// Notes that a name failed, though no mark of it was under way: it is tried again later.
    pub(super) fn fail_name(&mut self, dir: DirKey, name: &Name, now: Duration) {
        if self.marks.begin(dir, name, Hint::CONTENT, now) {
            let delay = self.retry_delay(dir, name);
            self.marks.put_off(dir, name, Hint::CONTENT, now + delay, true);
        }
    }

    fn needed(
        &mut self,
        dir: DirKey,
        name: &Name,
        kind: SentKind,
        need: Need,
        shared: &mut Shared,
    ) {
        let now = shared.now;
        match need {
            Need::Content if kind == SentKind::Links => {
                self.marks.put_off(dir, name, Hint::ALONE, now, false);
            }
            Need::Content => self.marks.put_off(dir, name, Hint::CONTENT, now, false),
            Need::Transfer => {
                // All of it was sent, and came to something else: that is not to go on for ever.
                let is_vain = self.marks.get(dir, name).is_some_and(|mark| mark.hint.whole);
                let delay = if is_vain { self.retry_delay(dir, name) } else { Duration::ZERO };
                self.marks.put_off(dir, name, Hint::WHOLE, now + delay, is_vain);
            }
            Need::Parent => {
                let failed = self.ask_parent(dir, shared);
                let delay = if failed { self.retry_delay(dir, name) } else { PARENT_DELAY };
                self.marks.put_off(dir, name, Hint::CONTENT, now + delay, failed);
            }
            Need::Spared { .. } => {
                let path = shared.map.path(dir).unwrap_or_default().join(name);
                self.withheld(dir, name, &path, shared);
            }
            Need::Remains { dir: full, names } => {
                self.start_removal(dir, name, kind != SentKind::Removes, &full, names, shared);
            }
        }
    }

    /// Notes a failure as a problem or, if the sink takes nothing now, pauses content.
    pub(super) fn failed_at(&mut self, path: RelPath, failure: &Failure, shared: &mut Shared) {
        let text = match failure {
            Failure::NoRoom | Failure::ReadOnly => {
                return self.refused(*failure == Failure::ReadOnly, shared);
            }
            Failure::Forbidden(text) | Failure::Other(text) => text.clone(),
        };
        self.problem(path, text, shared);
    }

    fn own_meta_answered(&mut self, dir: DirKey, answer: Answer, shared: &mut Shared) {
        match answer {
            Answer::Applied => {
                if self.problems.count() > 0
                    && let Some(path) = shared.map.path(dir)
                {
                    self.problems.clear(&path);
                }
            }
            Answer::Superseded => self.owe_meta(dir),
            Answer::Needed(_) => {
                self.unclear(dir);
                let place = shared.map.get(dir).and_then(|known| known.place().cloned());
                if let Some((parent, name)) = place {
                    self.mark(parent, &name, Hint::CONTENT, shared.now, Duration::ZERO);
                }
            }
            Answer::Failed(failure) => {
                let path = shared.map.path(dir).unwrap_or_default();
                if failure.is_for_want_of_room() {
                    self.owe_meta(dir);
                }
                self.failed_at(path, &failure, shared);
            }
        }
    }
}
