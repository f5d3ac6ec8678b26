//! Marks: names that are to be looked at, each with the directory's key, never a path (law 2).
//!
//! A mark lives from its first event until the operation of its last look is answered. A mark
//! that comes during a look, or while an operation is under way, is kept as `again`. Too many
//! marks fold into "list this directory", told to the caller (law 6).
//!
//! | state | event | next |
//! |---|---|---|
//! | waiting | ripe, a look begins | busy |
//! | busy | marked | busy, `again` |
//! | busy | settled, not `again` | gone |
//! | busy | settled, `again` | waiting |
//! | busy | put off | waiting |

mod calm;
mod held;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use self::held::Held;
use crate::model::limits::{MARKS_MAX, MARKS_PER_DIR_MAX};
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// Shortest time between two looks at one name.
const DEBOUNCE: Duration = Duration::from_millis(15);
/// Longest time that a costly name waits before it is looked at again.
const COOLDOWN_MAX: Duration = Duration::from_secs(60);
/// A name waits so many times what its last transfer took.
const COOLDOWN_FACTOR: u32 = 4;
/// Shortest time between two looks at a name that failed, whatever events speak of it.
const FAILED_DEBOUNCE: Duration = Duration::from_secs(1);

/// What is known of why a name was marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hint {
    /// Its content may have changed: it is to be read, not only compared.
    pub content: bool,
    /// The sink has the name, and no listing of the source had it.
    pub extra: bool,
    /// Nothing is known to have changed: its last look came too soon after a change.
    pub second: bool,
    /// No event told of it: a listing alone found that the source has it no more.
    pub unheard: bool,
    /// Its attributes may have changed, as those of a name with another content have.
    pub touched: bool,
    /// Another name of the object changed: the ledger tells whether this one did.
    pub kin: bool,
    /// It can't be linked to another name: its own content is to be sent.
    pub alone: bool,
    /// The sink has not what its content was thought to differ from: all of it is to be sent.
    pub whole: bool,
}

impl Hint {
    /// Attributes alone changed.
    pub const META: Hint = Hint {
        content: false,
        extra: false,
        second: false,
        unheard: false,
        touched: true,
        kin: false,
        alone: false,
        whole: false,
    };
    /// Content may have changed.
    pub const CONTENT: Hint = Hint { content: true, ..Hint::META };
    /// The sink has a name beyond what the source listed.
    pub const EXTRA: Hint = Hint { extra: true, unheard: true, ..Hint::CONTENT };
    /// The sink was offered the name, and no listing of the source had it.
    pub const MISSING: Hint = Hint { unheard: true, ..Hint::CONTENT };
    /// The content is to be read once more.
    pub const SECOND: Hint = Hint { second: true, ..Hint::CONTENT };
    /// Another name of the object changed.
    pub const KIN: Hint = Hint { kin: true, touched: false, ..Hint::META };
    /// It was linked to another name, and its object was touched since the sink got that.
    pub const LINKED: Hint = Hint { kin: true, ..Hint::META };
    /// The sink refused to link it.
    pub const ALONE: Hint = Hint { alone: true, ..Hint::CONTENT };

    /// A difference was sent, and the sink could do nothing with it.
    pub const WHOLE: Hint = Hint { whole: true, ..Hint::CONTENT };

    fn join(self, other: Hint) -> Hint {
        Hint {
            content: self.content || other.content,
            extra: self.extra || other.extra,
            second: self.second && other.second,
            unheard: self.unheard && other.unheard,
            touched: self.touched || other.touched,
            kin: self.kin || other.kin,
            alone: self.alone || other.alone,
            whole: self.whole || other.whole,
        }
    }
}

/// What a busy mark is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// For its time.
    Waiting,
    /// For a look, an answer, a transfer or a removal.
    Busy,
}

/// One marked name.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Why.
    pub hint: Hint,
    /// Since when; for lag and latency.
    pub since: Duration,
    /// When its writer was at work last, who has not closed it since.
    written: Option<Duration>,
    /// Until when it may wait for calm at most, once it has.
    calm_by: Option<Duration>,
    /// It waits for calm, whatever else is said of it.
    awaits_calm: bool,
    /// Marked again while busy: why, and since when.
    pub again: Option<(Hint, Duration)>,
    /// What it waits for.
    pub state: State,
    /// When the look under way began.
    pub began: Duration,
    /// How often in a row it failed.
    pub failures: u32,
    /// An event told of it, or it changed while it was read.
    pub is_heard: bool,
    /// It failed, and an event may mean that it would not fail again.
    is_curable: bool,
    /// Bytes of content that count as done once it is settled, if it counts.
    owed: Option<u64>,
    slot: (Duration, u64),
}

/// What came of marking a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Marked {
    /// It is marked.
    Kept,
    /// There are too many marks: the directory is to be listed instead.
    Folded,
}

/// All marks of one sink.
#[derive(Debug, Default)]
pub struct Marks {
    table: HashMap<DirKey, HashMap<Name, Mark>>,
    ripe: BTreeMap<(Duration, u64), (DirKey, Name)>,
    cooling: HashMap<(DirKey, Name), Duration>,
    cooling_ends: BTreeMap<(Duration, u64), (DirKey, Name)>,
    count: usize,
    serial: u64,
    held: Held,
    /// Marks that counted and are gone, and bytes of content in them.
    paid: (u64, u64),
}

impl Marks {
    /// How many names are marked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no name is marked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many names of one directory are marked.
    #[must_use]
    pub fn count_in(&self, dir: DirKey) -> usize {
        self.table.get(&dir).map_or(0, HashMap::len)
    }

    /// Whether no name of a directory is marked, but for those that failed and wait for another
    /// try.
    #[must_use]
    pub fn is_quiet_in(&self, dir: DirKey) -> bool {
        let waits = |mark: &Mark| mark.state == State::Waiting && mark.failures > 0;
        self.table.get(&dir).is_none_or(|names| names.values().all(waits))
    }

    /// One mark.
    #[must_use]
    pub fn get(&self, dir: DirKey, name: &Name) -> Option<&Mark> {
        self.table.get(&dir)?.get(name)
    }

    /// All marks, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (DirKey, &Name, &Mark)> {
        self.table
            .iter()
            .flat_map(|(dir, names)| names.iter().map(move |(name, mark)| (*dir, name, mark)))
    }

    /// Marks a name; a look may begin after `delay`, for which its writer may go on, later if the
    /// name was costly just now.
    pub fn mark(
        &mut self,
        dir: DirKey,
        name: &Name,
        hint: Hint,
        now: Duration,
        delay: Duration,
    ) -> Marked {
        if let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) {
            mark.note_writer(hint, now, delay);
            match mark.state {
                State::Waiting => {
                    mark.hint = mark.hint.join(hint);
                    let floor = match mark.failures {
                        0 => self.cooling.get(&(dir, name.clone())).copied().unwrap_or_default(),
                        _ => mark.began + FAILED_DEBOUNCE,
                    };
                    let at = now.max(floor);
                    let is_closed = !mark.awaits_calm || mark.written.is_none();
                    let may_heed = is_closed && (mark.failures == 0 || mark.is_curable);
                    if may_heed && at < mark.slot.0 && delay.is_zero() {
                        self.reslot(dir, name, at);
                    }
                }
                State::Busy => {
                    let (known, since) = mark.again.unwrap_or((hint, now));
                    mark.again = Some((known.join(hint), since));
                }
            }
            return Marked::Kept;
        }
        if self.count >= MARKS_MAX || self.count_in(dir) >= MARKS_PER_DIR_MAX {
            return Marked::Folded;
        }
        let mut floor = self.cooling.get(&(dir, name.clone())).copied().unwrap_or_default();
        if !hint.content {
            // It is content that costs.
            floor = floor.min(now + DEBOUNCE);
        }
        self.insert(dir, name, hint, now, (now + delay).max(floor));
        if let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) {
            mark.note_writer(hint, now, delay);
        }
        Marked::Kept
    }

    fn insert(&mut self, dir: DirKey, name: &Name, hint: Hint, since: Duration, at: Duration) {
        self.serial += 1;
        let slot = (at, self.serial);
        let mark = Mark {
            hint,
            since,
            written: None,
            calm_by: None,
            awaits_calm: false,
            again: None,
            state: State::Waiting,
            began: since,
            failures: 0,
            is_heard: false,
            is_curable: false,
            owed: None,
            slot,
        };
        self.ripe.insert(slot, (dir, name.clone()));
        self.table.entry(dir).or_default().insert(name.clone(), mark);
        self.count += 1;
    }

    fn reslot(&mut self, dir: DirKey, name: &Name, at: Duration) {
        let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) else {
            return;
        };
        self.ripe.remove(&mark.slot);
        self.serial += 1;
        mark.slot = (at, self.serial);
        self.ripe.insert(mark.slot, (dir, name.clone()));
    }

    /// The next ripe mark, made busy: a look at it begins now. With `only`, nothing unless it is
    /// in that directory.
    pub fn take_ripe(
        &mut self,
        now: Duration,
        only: Option<DirKey>,
    ) -> Option<(DirKey, Name, Hint)> {
        let (&slot, (dir, _)) = self.ripe.iter().next()?;
        if slot.0 > now || only.is_some_and(|only| only != *dir) {
            return None;
        }
        let (dir, name) = self.ripe.remove(&slot)?;
        let mark = self.table.get_mut(&dir)?.get_mut(&name)?;
        mark.state = State::Busy;
        mark.awaits_calm = false;
        mark.began = now;
        Some((dir, name, mark.hint))
    }

    /// Marks a name and makes it busy at once, for work that did not begin with an event. False if
    /// it is marked already.
    pub fn begin(&mut self, dir: DirKey, name: &Name, hint: Hint, now: Duration) -> bool {
        if self.get(dir, name).is_some() {
            return false;
        }
        self.insert(dir, name, hint, now, now);
        if let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) {
            mark.state = State::Busy;
            self.ripe.remove(&mark.slot);
        }
        true
    }

    /// When the next mark is ripe, of those that are not ripe before `from`.
    #[must_use]
    pub fn next_ripe(&self, from: Duration) -> Option<Duration> {
        self.ripe.range((from, 0)..).next().map(|(slot, _)| slot.0)
    }

    /// Ends a busy mark: its operation was answered well. Returns since when it was marked.
    pub fn settle(&mut self, dir: DirKey, name: &Name, now: Duration) -> Option<Duration> {
        let mark = self.table.get_mut(&dir)?.get_mut(name)?;
        if mark.state == State::Waiting {
            return None;
        }
        let since = mark.since;
        let cost = now.saturating_sub(mark.began) * COOLDOWN_FACTOR;
        let until = now + cost.clamp(DEBOUNCE, COOLDOWN_MAX);
        self.held.release(dir, name);
        if let Some((hint, again)) = mark.again.take() {
            pay(&mut self.paid, mark.owed.take());
            mark.hint = hint;
            mark.since = again;
            mark.failures = 0;
            mark.calm_by = None;
            mark.state = State::Waiting;
            self.reslot(dir, name, until);
        } else {
            self.forget(dir, name);
            self.cool(dir, name, until);
        }
        Some(since)
    }

    /// Puts a busy mark off: it waits until `at`, with another hint joined. Counts a failure if
    /// it is one.
    pub fn put_off(&mut self, dir: DirKey, name: &Name, hint: Hint, at: Duration, failed: bool) {
        let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) else {
            return;
        };
        if mark.state == State::Waiting {
            return;
        }
        mark.hint = Hint { unheard: mark.hint.unheard, ..mark.hint.join(hint) };
        if let Some((again, _)) = mark.again.take() {
            mark.hint = mark.hint.join(again);
        }
        mark.failures = if failed { mark.failures + 1 } else { 0 };
        mark.is_curable = false;
        mark.state = State::Waiting;
        self.held.release(dir, name);
        self.reslot(dir, name, at);
    }

    /// An event has told of a marked name.
    pub fn hear(&mut self, dir: DirKey, name: &Name) {
        if let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) {
            mark.is_heard = true;
        }
    }

    /// A marked name may be linked to another again.
    pub fn relent(&mut self, dir: DirKey, name: &Name) {
        if let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) {
            mark.hint.alone = false;
        }
    }

    /// Forgets a mark, whatever its state.
    pub fn forget(&mut self, dir: DirKey, name: &Name) -> Option<Mark> {
        let names = self.table.get_mut(&dir)?;
        let mark = names.remove(name)?;
        if names.is_empty() {
            self.table.remove(&dir);
        }
        self.ripe.remove(&mark.slot);
        self.held.release(dir, name);
        pay(&mut self.paid, mark.owed);
        self.count -= 1;
        Some(mark)
    }

    /// Forgets all marks of a directory, or only those that wait.
    pub fn forget_dir(&mut self, dir: DirKey, only_waiting: bool) {
        let Some(names) = self.table.get_mut(&dir) else { return };
        let before = names.len();
        let (ripe, held, paid) = (&mut self.ripe, &mut self.held, &mut self.paid);
        names.retain(|name, mark| {
            let keep = only_waiting && mark.state == State::Busy;
            if !keep {
                ripe.remove(&mark.slot);
                held.release(dir, name);
                pay(paid, mark.owed);
            }
            keep
        });
        self.count -= before - names.len();
        if names.is_empty() {
            self.table.remove(&dir);
        }
    }

    /// Makes all marks wait again, as a new epoch does: what was under way is looked at anew.
    pub fn restart(&mut self, now: Duration) {
        let mut busy: Vec<(DirKey, Name)> = self
            .iter()
            .filter(|(_, _, mark)| mark.state == State::Busy)
            .map(|(dir, name, _)| (dir, name.clone()))
            .collect();
        busy.sort_unstable();
        for (dir, name) in busy {
            self.put_off(dir, &name, Hint::CONTENT, now, false);
        }
        self.held = Held::default();
        self.paid = (0, 0);
        for mark in self.table.values_mut().flat_map(HashMap::values_mut) {
            mark.owed = None;
        }
    }

    /// What failed may go well after the next event of this name: then it need not wait.
    pub fn heed_events(&mut self, dir: DirKey, name: &Name) {
        if let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) {
            mark.is_curable = true;
        }
    }

    /// Lets a name count as done, with so many bytes, once its mark is gone. False if it has no
    /// mark.
    pub fn owe(&mut self, dir: DirKey, name: &Name, bytes: u64) -> bool {
        let Some(mark) = self.table.get_mut(&dir).and_then(|names| names.get_mut(name)) else {
            return false;
        };
        pay(&mut self.paid, mark.owed.replace(bytes));
        true
    }

    /// Names that counted and are settled in this epoch, and bytes of content in them.
    #[must_use]
    pub fn paid(&self) -> (u64, u64) {
        self.paid
    }

    /// Lets everything that waits only for its cooling time be looked at now.
    pub fn hurry(&mut self, now: Duration) {
        self.hurry_but(now, |_| false);
    }

    /// The same, but for those that are to wait for their time.
    pub fn hurry_but(&mut self, now: Duration, waits: impl Fn(&Mark) -> bool) {
        self.cooling.clear();
        self.cooling_ends.clear();
        // What waits for room does not wait for its time.
        let late = self.ripe.iter().filter(|(slot, at)| slot.0 > now && !self.held.holds(at));
        let late: Vec<(DirKey, Name)> = late.map(|(_, at)| at.clone()).collect();
        for (dir, name) in late {
            if !self.get(dir, &name).is_some_and(&waits) {
                self.reslot(dir, &name, now);
            }
        }
    }

    fn cool(&mut self, dir: DirKey, name: &Name, until: Duration) {
        if self.cooling.len() >= MARKS_MAX {
            return;
        }
        self.serial += 1;
        self.cooling.insert((dir, name.clone()), until);
        self.cooling_ends.insert((until, self.serial), (dir, name.clone()));
    }

    /// Forgets the cooling times that are over.
    pub fn expire_cooling(&mut self, now: Duration) {
        while let Some((&slot, _)) = self.cooling_ends.iter().next() {
            if slot.0 > now {
                return;
            }
            if let Some(key) = self.cooling_ends.remove(&slot)
                && self.cooling.get(&key).is_some_and(|&until| until <= now)
            {
                self.cooling.remove(&key);
            }
        }
    }
}

/// Adds what a mark counts for, if it does.
fn pay(paid: &mut (u64, u64), owed: Option<u64>) {
    if let Some(bytes) = owed {
        paid.0 += 1;
        paid.1 += bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Hint, Marked, Marks};
    use crate::model::limits::MARKS_PER_DIR_MAX;
    use crate::model::path::Name;
    use crate::model::stamp::DirKey;

    pub(super) const ROOT: DirKey = DirKey::ROOT;

    pub(super) fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    pub(super) fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn hurry_takes_what_failed_unless_that_is_to_wait() {
        let mut marks = Marks::default();
        marks.mark(ROOT, &name("f"), Hint::META, ms(0), ms(0));
        assert!(marks.take_ripe(ms(0), None).is_some());
        marks.put_off(ROOT, &name("f"), Hint::META, ms(500), true);
        marks.hurry_but(ms(1), |mark| mark.failures > 0);
        assert!(marks.take_ripe(ms(2), None).is_none());
        marks.hurry(ms(1));
        assert!(marks.take_ripe(ms(2), None).is_some());
    }

    #[test]
    fn a_mark_during_a_look_marks_again() {
        let mut marks = Marks::default();
        marks.mark(ROOT, &name("f"), Hint::META, ms(0), ms(0));
        assert!(marks.take_ripe(ms(0), None).is_some());
        marks.mark(ROOT, &name("f"), Hint::CONTENT, ms(1), ms(0));
        assert_eq!(marks.settle(ROOT, &name("f"), ms(2)), Some(ms(0)));
        assert_eq!(marks.len(), 1, "the second mark stands");
        assert!(marks.take_ripe(ms(3), None).is_none(), "not before it has cooled");
        let (_, _, hint) = marks.take_ripe(ms(100), None).unwrap();
        assert!(hint.content);
        marks.settle(ROOT, &name("f"), ms(100));
        assert!(marks.is_empty());
    }

    #[test]
    fn a_costly_name_waits_in_proportion() {
        let mut marks = Marks::default();
        marks.mark(ROOT, &name("f"), Hint::CONTENT, ms(0), ms(0));
        marks.take_ripe(ms(0), None);
        marks.settle(ROOT, &name("f"), ms(1_000));
        marks.mark(ROOT, &name("f"), Hint::CONTENT, ms(1_001), ms(0));
        assert!(marks.take_ripe(ms(4_999), None).is_none());
        assert!(marks.take_ripe(ms(5_000), None).is_some());
    }

    #[test]
    fn too_many_marks_fold() {
        let mut marks = Marks::default();
        for i in 0..MARKS_PER_DIR_MAX {
            let kept = marks.mark(ROOT, &name(&i.to_string()), Hint::META, ms(0), ms(0));
            assert_eq!(kept, Marked::Kept);
        }
        assert_eq!(marks.mark(ROOT, &name("x"), Hint::META, ms(0), ms(0)), Marked::Folded);
        marks.forget_dir(ROOT, true);
        assert!(marks.is_empty());
    }
}
