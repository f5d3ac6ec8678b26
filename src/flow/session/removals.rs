//! Clearing a directory that is to go at the sink: its names one by one, then the directory (H7).
//!
//! The sink says what remains. Each name is looked at by path at the source, asked for in the
//! ledger, and removed; hundreds of names, of as many directories, are one step (see [`clearing`]).
//! What was never offered is foreign: it stays, with its directory.
//!
//! [`clearing`]: crate::flow::session::clearing

use std::time::Duration;

use crate::flow::allowance::{Pool, Verdict, WINDOW};
use crate::flow::halts::Cause;
use crate::flow::marks::{Hint, Mark, Marks};
use crate::flow::session::clearing::{Clearing, Step};
use crate::flow::session::flights::{Draft, Errand};
use crate::flow::session::looks::{Pending, Purpose};
use crate::flow::session::parked::{HALTED_DELAY, Parked, ParkedWhat, Query};
use crate::flow::session::selected::{Fate, spared};
use crate::flow::session::{Action, Session, Shared};
use crate::model::limits::REMOVALS_MAX;
use crate::model::look::{Seen, Task};
use crate::model::op::{Answer, Need, Op};
use crate::model::path::{Name, RelPath};
use crate::model::session::DeletePolicy;
use crate::model::stamp::{DirKey, Lane, Stamp};

/// How long a name waits that foreign names keep from its change.
const BLOCKED_DELAY: Duration = Duration::from_secs(30);
/// How long a removal waits that a rename came between.
const ABORTED_DELAY: Duration = Duration::from_millis(5);

/// A directory that is being cleared at the sink. Its mark stays busy until the end.
#[derive(Debug)]
pub(super) struct Removal {
    dir: DirKey,
    name: Name,
    /// Something else is to stand at the name afterwards.
    replacing: bool,
    todo: Clearing,
    /// What the step under way removes, as far as the ledger has told.
    leaving: Vec<RelPath>,
    /// Questions to the ledger, looks and operations under way.
    waiting: u32,
    /// Foreign names, or others that could not go, keep the directory.
    blocked: bool,
    /// Among them are others than those which the rules protect.
    is_foreign: bool,
    /// A rename came between: the mark begins anew.
    aborted: bool,
    /// Something could not be removed: it is tried again later.
    failed: bool,
    /// The rest must not be removed yet.
    withheld: bool,
}

impl Removal {
    /// Has names in a directory removed, and then the directory.
    fn push(&mut self, below: &RelPath, names: Vec<Name>) {
        let goes = !(self.replacing && below.is_root());
        self.todo.push(below, names, goes);
    }

    /// Something in this directory stays: so do the directory and all above it.
    fn stays(&mut self, below: &RelPath) {
        self.blocked = true;
        self.todo.stays(below);
    }

    /// Nothing more is removed.
    fn drop_rest(&mut self) {
        self.todo.clear();
        self.leaving.clear();
    }
}

impl Session {
    pub(super) fn start_removal(
        &mut self,
        dir: DirKey,
        name: &Name,
        replacing: bool,
        full: &RelPath,
        names: Vec<Name>,
        shared: &mut Shared,
    ) {
        let base = self.sink_path(dir, shared).map(|path| path.join(name));
        let below = base.and_then(|base| full.below(&base));
        if self.terms.delete == DeletePolicy::Never {
            let path = shared.map.path(dir).unwrap_or_default().join(name);
            let text = "At the sink a directory stands in the way, and with --delete never it \
                        stays: remove it by hand";
            self.problem(path, text.to_owned(), shared);
            let later = shared.now + self.retry_delay(dir, name);
            self.marks.put_off(dir, name, Hint::CONTENT, later, true);
            return;
        }
        let (Some(below), false) = (below, self.removals.len() >= REMOVALS_MAX) else {
            let later = shared.now + Duration::from_millis(100);
            self.marks.put_off(dir, name, Hint::CONTENT, later, false);
            return;
        };
        let id = self.next_removal;
        self.next_removal += 1;
        let mut removal = Removal {
            dir,
            name: name.clone(),
            replacing,
            todo: Clearing::default(),
            leaving: Vec::new(),
            waiting: 0,
            blocked: false,
            is_foreign: false,
            aborted: false,
            failed: false,
            withheld: false,
        };
        removal.push(&below, names);
        self.removals.insert(id, removal);
        self.busy(dir);
        self.removal_step(id, shared);
    }

    /// Does the next thing, if nothing of the removal is under way.
    fn removal_step(&mut self, id: u64, shared: &mut Shared) {
        let Some(removal) = self.removals.get(&id) else { return };
        if removal.waiting > 0 {
            return;
        }
        let base = self.removal_base(removal, shared);
        let Some(removal) = self.removals.get_mut(&id) else { return };
        let Some(base) = base else {
            removal.aborted = true;
            return self.removal_over(id, shared);
        };
        let Step { sections, dirs } = removal.todo.next_step();
        removal.leaving = dirs.iter().map(|below| base.join_path(below)).collect();
        let is_ours = self.terms.delete == DeletePolicy::All && !shared.selection.has_rules();
        for (below, names) in sections {
            let Some(removal) = self.removals.get_mut(&id) else { return };
            let dir = base.join_path(&below);
            if is_ours {
                removal.leaving.extend(names.iter().map(|name| dir.join(name)));
                continue;
            }
            removal.waiting += 1;
            let (path, asked) = (dir.clone(), names.clone());
            let query = self.ask(Query::Removal { removal: id, dir, names: asked });
            let sink = self.id;
            shared.actions.push_back(Action::AskOffered { sink, query, dir: path, names });
        }
        self.removal_told(id, shared);
    }

    /// Looks at what leaves with the step under way, once the ledger has told of all of it.
    fn removal_told(&mut self, id: u64, shared: &mut Shared) {
        let Some(removal) = self.removals.get_mut(&id) else { return };
        if removal.waiting > 0 {
            return;
        }
        let paths = std::mem::take(&mut removal.leaving);
        if !paths.is_empty() {
            removal.waiting += 1;
            return self.look_paths(id, paths, shared);
        }
        if removal.todo.is_empty() {
            return self.removal_over(id, shared);
        }
        self.removal_step(id, shared);
    }

    /// The path that is being cleared; nothing while a rename fences it.
    fn removal_base(&self, removal: &Removal, shared: &Shared) -> Option<RelPath> {
        if self.is_name_fenced(removal.dir, &removal.name, shared) {
            return None;
        }
        Some(shared.map.path(removal.dir)?.join(&removal.name))
    }

    pub(super) fn removal_offered(
        &mut self,
        id: u64,
        dir: &RelPath,
        names: &[Name],
        offered: &[bool],
        shared: &mut Shared,
    ) {
        let Some(removal) = self.removals.get(&id) else { return };
        let base = self.removal_base(removal, shared);
        let is_dying = !(removal.replacing && base.as_ref() == Some(dir));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (at, name) in names.iter().enumerate() {
            let was = offered.get(at).copied().unwrap_or_default();
            match self.fate(&dir.join(name), was, is_dying, shared) {
                Fate::Goes(_) => ours.push(at),
                Fate::Foreign => theirs.push(at),
                Fate::Protected => {}
            }
        }
        let Some(removal) = self.removals.get_mut(&id) else { return };
        removal.waiting -= 1;
        let Some(below) = base.and_then(|base| dir.below(&base)) else {
            return self.abort_removal(id, shared);
        };
        if ours.len() < names.len() {
            removal.stays(&below);
        }
        removal.is_foreign |= !theirs.is_empty();
        if !removal.aborted {
            removal.leaving.extend(ours.into_iter().map(|at| dir.join(&names[at])));
        }
        for at in theirs {
            self.foreign.add(dir.join(&names[at]));
        }
        self.removal_told(id, shared);
    }

    /// Each name is looked at by itself before it is removed (H13).
    fn look_paths(&mut self, id: u64, paths: Vec<RelPath>, shared: &mut Shared) {
        let Some(address) = shared.map.address(DirKey::ROOT) else { return };
        let stamp = self.stamp();
        self.busy(DirKey::ROOT);
        let path = address.path.clone();
        let look = shared.look(Some(self.id), true, address, Task::Paths(paths));
        let purpose = Purpose::Removal { removal: id, stamp };
        let began = shared.now;
        let pending = Pending { lane: Lane::Live, dir: DirKey::ROOT, path, purpose, began };
        self.pending.insert(look, pending);
    }

    /// What is gone may have moved with a directory: it is believed once the kernel queue was read
    /// empty (H14).
    pub(super) fn removal_seen(&mut self, id: u64, stamp: Stamp, seen: Seen, shared: &mut Shared) {
        let Some(removal) = self.removals.get_mut(&id) else { return };
        let Seen::Paths(paths) = seen else {
            removal.waiting -= 1;
            return self.abort_removal(id, shared);
        };
        self.stamps.hold(stamp);
        let ticket = shared.ask_drain();
        let what = ParkedWhat::Removal { removal: id, paths, stamp };
        self.parked.push(Parked { ticket, what });
    }

    pub(super) fn removal_believed(
        &mut self,
        id: u64,
        stamp: Stamp,
        paths: Vec<(RelPath, bool)>,
        shared: &mut Shared,
    ) {
        let Some(removal) = self.removals.get(&id) else { return };
        let base = self.removal_base(removal, shared);
        let Some(removal) = self.removals.get_mut(&id) else { return };
        removal.waiting -= 1;
        let (dir, name) = (removal.dir, removal.name.clone());
        let Some(base) = base else { return self.abort_removal(id, shared) };
        if paths.iter().any(|(path, _)| !path.is_at_or_below(&base)) {
            return self.abort_removal(id, shared);
        }
        let is_excused = self.is_excused(dir, &name, shared.now);
        let gone = paths.iter().filter(|(_, gone)| *gone).map(|(path, _)| path);
        if is_excused {
            self.allowance.excuse(gone.clone(), shared.now);
        }
        let leaving: Vec<RelPath> = gone.filter(|_| !is_excused).cloned().collect();
        if !self.may_remove(&leaving, shared) {
            self.hold_back(id);
            return self.removal_step(id, shared);
        }
        let Some(removal) = self.removals.get_mut(&id) else { return };
        let mut drafts = Vec::new();
        for (path, gone) in paths {
            if !gone {
                let above = path.parent().and_then(|above| above.below(&base));
                removal.stays(&above.unwrap_or_default());
                removal.is_foreign = true;
                continue;
            }
            let Some(spared) = spared(&path, path != base, shared) else { continue };
            removal.waiting += 1;
            self.stamps.hold(stamp);
            let (op, errand) = (Op::Remove { path, spared }, Errand::Removal(id));
            drafts.push(Draft::new(op, stamp, (dir, Some(name.clone())), errand));
        }
        self.post_ops(Lane::Live, drafts, Vec::new(), shared);
        self.removal_step(id, shared);
    }

    pub(super) fn removal_answered(&mut self, id: u64, answer: Answer, shared: &mut Shared) {
        let Some(removal) = self.removals.get(&id) else { return };
        let base = self.removal_base(removal, shared);
        let Some(removal) = self.removals.get_mut(&id) else { return };
        removal.waiting -= 1;
        match (answer, base) {
            (Answer::Applied, _) => {}
            (Answer::Needed(Need::Remains { dir, names }), Some(base)) => match dir.below(&base) {
                Some(below) => removal.push(&below, names),
                None => return self.abort_removal(id, shared),
            },
            (Answer::Needed(Need::Spared { path }), Some(base)) => {
                match path.parent().and_then(|above| above.below(&base)) {
                    Some(below) => removal.stays(&below),
                    None => return self.abort_removal(id, shared),
                }
            }
            (Answer::Failed(failure), Some(base)) => {
                removal.failed = true;
                removal.drop_rest();
                self.failed_at(base, &failure, shared);
            }
            _ => return self.abort_removal(id, shared),
        }
        self.removal_step(id, shared);
    }

    /// Notes the size of the pool, once all is known that went before it was first known.
    pub(super) fn size_up(&mut self, shared: &Shared) {
        let Pool { names, is_known } = self.pool(shared);
        let is_missing = |marks: &Marks| marks.iter().any(|(_, _, mark)| mark.hint.extra);
        if is_known && (self.allowance.knows_pool() || !is_missing(&self.marks)) {
            self.allowance.saw(names, shared.now);
        }
    }

    /// What is known of the pool's size; the root itself does not count.
    fn pool(&self, shared: &Shared) -> Pool {
        let names = self.names + shared.map.len() as u64 - 1;
        Pool { names, is_known: self.walked() && shared.is_armed() }
    }

    /// The size of the pool has to be known for certain: what may be off is counted again.
    fn count_again(&mut self) {
        for dir in std::mem::take(&mut self.stirred) {
            self.unclear(dir);
        }
    }

    /// Whether these names may be removed too; halts removals if that would be too many.
    pub(super) fn may_remove(&mut self, paths: &[RelPath], shared: &mut Shared) -> bool {
        if shared.halts.is_any() {
            self.held_back = true;
            return false;
        }
        if paths.is_empty() || self.terms.dry {
            return true;
        }
        let paths: Vec<&RelPath> = paths.iter().collect();
        let mut pool = self.pool(shared);
        pool.is_known &= self.stirred.is_empty();
        let names = pool.names;
        match self.allowance.ask(shared.max_delete, &paths, pool, shared.now) {
            Verdict::Granted => {
                self.go_on_removing();
                true
            }
            Verdict::Later => {
                self.held_back = true;
                self.count_again();
                false
            }
            Verdict::Exceeded(all) => {
                self.held_back = true;
                let reason = format!(
                    "Removals are halted: {all} names or more have gone from the source within an \
                     hour, {names} are left, which is more than --max-delete allows. If it is \
                     meant, say `osync set DIR resume` on the source's host; until then they stay \
                     at the sink, and all else goes on"
                );
                shared.halt(Cause::TooMany(self.id), &reason);
                false
            }
        }
    }

    /// A person says that removals may go on: what waits for it goes, however much it is, and what
    /// goes from the source from now on counts anew.
    pub fn unhalt(&mut self, now: Duration) {
        self.allowance.begin_anew();
        self.excused = Some(now);
        self.go_on(now);
    }

    /// No halt stands any more: what was held back is looked at again.
    pub fn go_on(&mut self, now: Duration) {
        self.marks.hurry(now);
        self.go_on_removing();
    }

    /// Whether a person has said that this name may go: it waited when that was said, or was then
    /// found by a listing that looked for all that waited.
    pub(super) fn is_excused(&self, dir: DirKey, name: &Name, now: Duration) -> bool {
        let is_meant = |said: Duration| {
            let mark = self.marks.get(dir, name);
            mark.is_some_and(|mark| mark.since <= said || mark.hint.unheard)
        };
        self.excused.is_some_and(|said| now < said + WINDOW && is_meant(said))
    }

    /// Sees whether too many names are gone still, and whether what a person let go has gone.
    pub(super) fn reconsider_halt(&mut self, shared: &mut Shared) {
        if !self.walked() {
            return;
        }
        let is_meant = |mark: &Mark, said| mark.since <= said || mark.hint.unheard;
        let waits = |said| self.marks.iter().any(|(_, _, mark)| is_meant(mark, said));
        if self.excused.is_some_and(|said| self.removals.is_empty() && !waits(said)) {
            self.excused = None;
        }
        let cause = Cause::TooMany(self.id);
        if !shared.halts.has(&cause) {
            return;
        }
        let (limit, pool) = (shared.max_delete, self.pool(shared));
        let is_back = self.removals.is_empty() && !self.marks.is_any_withheld();
        if is_back || (self.stirred.is_empty() && self.allowance.is_restored(limit, pool)) {
            shared.lift(&cause);
            if !shared.halts.is_any() {
                self.go_on(shared.now);
            }
        }
    }

    /// What was held back is removed from now on: not every such name is marked, so that all
    /// directories are listed once more.
    fn go_on_removing(&mut self) {
        if std::mem::take(&mut self.held_back) {
            self.raise_doubt();
        }
    }

    /// The rest of a removal waits for a person, or for the size of the pool to be known.
    fn hold_back(&mut self, id: u64) {
        if let Some(removal) = self.removals.get_mut(&id) {
            removal.withheld = true;
            removal.drop_rest();
        }
    }

    /// A rename, or something newer, came between: the removal ends, its mark begins anew.
    fn abort_removal(&mut self, id: u64, shared: &mut Shared) {
        if let Some(removal) = self.removals.get_mut(&id) {
            removal.aborted = true;
            removal.drop_rest();
        }
        self.removal_step(id, shared);
    }

    fn removal_over(&mut self, id: u64, shared: &mut Shared) {
        let Some(removal) = self.removals.remove(&id) else { return };
        let Removal {
            dir, name, replacing, blocked, is_foreign, aborted, failed, withheld, ..
        } = removal;
        self.owe_meta(dir);
        let again = self.marks.get(dir, &name).is_some_and(|mark| mark.again.is_some());
        if withheld {
            self.marks.withhold(dir, &name, shared.now + HALTED_DELAY);
        } else if failed {
            let later = shared.now + self.retry_delay(dir, &name);
            self.marks.put_off(dir, &name, Hint::CONTENT, later, true);
        } else if !blocked || again || aborted {
            let later = if aborted { ABORTED_DELAY } else { Duration::ZERO };
            self.marks.put_off(dir, &name, Hint::CONTENT, shared.now + later, false);
        } else {
            self.removal_blocked((dir, &name), replacing, is_foreign, shared);
        }
        self.idle(dir);
    }

    fn removal_blocked(
        &mut self,
        (dir, name): (DirKey, &Name),
        replacing: bool,
        is_foreign: bool,
        shared: &mut Shared,
    ) {
        let path = shared.map.path(dir).unwrap_or_default().join(name);
        if replacing {
            let text = if is_foreign {
                "At the sink a directory with foreign names stands in the way: \
                 move them elsewhere, or use --delete all"
            } else {
                "At the sink a directory with names that the rules protect stands in the way: \
                 move them elsewhere, or give other rules"
            };
            self.problem(path, text.to_owned(), shared);
            let later = shared.now + BLOCKED_DELAY;
            self.marks.put_off(dir, name, Hint::CONTENT, later, true);
        } else {
            if is_foreign {
                self.foreign.add(path);
            }
            self.marks.settle(dir, name, shared.now);
        }
    }
}
