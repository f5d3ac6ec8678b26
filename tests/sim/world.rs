//! One director, its source, its sinks and the way between them, one step at a time.
//!
//! What happens next is drawn from a seed; a scripted history holds some things back instead. Time
//! is virtual, and jumps to the director's next wake when nothing else can happen.

mod faults;
mod limits;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use osync::flow::director::Director;
use osync::flow::session::{Action, Terms};
use osync::model::abilities::Abilities;
use osync::model::attributes::Carried;
use osync::model::entry::Identity;
use osync::model::event::Notice;
use osync::model::ledger::{Kin, Unsettled};
use osync::model::limits::{BACKLOG_CREDIT_BYTES, LIVE_CREDIT_BYTES};
use osync::model::look::{LookDone, LookJob, Task};
use osync::model::path::RelPath;
use osync::model::removal::MaxDelete;
use osync::model::selection::Selection;
use osync::model::session::{Credit, DeletePolicy, Ending, Outcome, Trust};
use osync::model::stamp::{Epoch, Lane, SinkId};
use osync::model::status::State;
use osync::phases::transfer::recall::Ledgers;

use self::faults::Memory;
pub use self::limits::Limits;
use super::compare::differences;
use super::dice::Dice;
use super::history::Change;
use super::link::{Link, Saved, SinkEnd};
use super::tree::{Bounds, ModelTree};

/// Steps after which a world that has no more changes must be quiet.
const STEPS_MAX: usize = 100_000;
/// Longer than the director waits between two patrols.
const PATROL: Duration = Duration::from_secs(60);
/// Virtual time after which only problems may keep it awake.
const QUIET_MAX: Duration = Duration::from_secs(1_200);

/// What is held back, in a scripted history.
#[derive(Debug, Clone, Copy, Default)]
pub struct Holds {
    /// Events stay in the kernel's queue.
    pub notices: bool,
    /// No look runs.
    pub looks: bool,
    /// What looks saw does not reach the director.
    pub seen: bool,
    /// Messages stay in these lanes.
    pub lanes: [bool; 2],
    /// Messages stay in hand.
    pub work: bool,
    /// Reports stay on their way.
    pub reports: bool,
}

/// How likely each sort of step is, by its place in [`Step`].
type Weights = [usize; 9];

#[derive(Debug, Clone, Copy)]
enum Step {
    Notice,
    Look,
    Seen,
    Answer,
    Take(usize, Lane),
    Work(usize),
    Fold(usize),
    Report(usize),
    Link(usize),
}

struct Asked {
    sink: SinkId,
    query: u64,
    what: Told,
}

/// What a ledger answered.
#[derive(Debug)]
enum Told {
    Offered(Vec<bool>),
    Kin(Kin),
    /// A report was entered.
    Entered(Unsettled),
}

/// Everything.
pub struct World {
    /// The sinks say that they do not tell names apart by case.
    pub folds_case: bool,
    /// The source's filesystem.
    pub source: ModelTree,
    /// The sinks.
    pub sinks: Vec<SinkEnd>,
    /// The machine under test.
    pub director: Director,
    /// What is held back.
    pub holds: Holds,
    /// No look at or through this path ever returns.
    pub stuck: Option<RelPath>,
    /// Whether messages arrive twice now and then.
    pub doubles: bool,
    /// What happened, if a trace is wanted.
    pub trace: Option<String>,
    /// The time.
    pub now: Duration,
    /// What of the source is offered.
    pub selection: Arc<Selection>,
    /// What the source's person has limited.
    pub limits: Limits,
    /// Numbers contents.
    pub serial: u64,
    /// Changes that are parts of one begun.
    pub parts: VecDeque<Change>,
    pub(super) dice: Dice,
    weights: Weights,
    /// Whether some directories can't be watched.
    is_blind: bool,
    /// Whether something changed of which no event told.
    pub(super) has_slips: bool,
    jobs: Vec<LookJob>,
    seen: Vec<LookDone>,
    notices: VecDeque<Notice>,
    asked: Vec<Asked>,
    memories: Vec<Memory>,
    ledgers: Ledgers,
    kept: Option<Saved>,
    credit: [Credit; 2],
    epochs: u64,
    steps: usize,
    /// How often in a row the director was woken though nothing was to be done.
    vain: usize,
}

/// A director that lets a pool lose all its names: histories are small, and many of them empty it.
fn unlimited(root: Identity) -> Director {
    let mut director = Director::new(root);
    director.limit_removals(MaxDelete::Percent(100));
    director
}

impl World {
    /// A world with an empty source and one sink with an empty tree.
    pub fn new(seed: u64) -> World {
        World::with(seed, Bounds { live_bytes: 6_000, ..Bounds::default() }, DeletePolicy::Live)
    }

    /// The same with other bounds and another policy.
    pub fn with(seed: u64, bounds: Bounds, policy: DeletePolicy) -> World {
        let mut dice = Dice::new(seed);
        let is_blind = bounds.watches < 1_000;
        let source = ModelTree::bounded(dice.draw(), bounds);
        let director = unlimited(source.identity(&RelPath::root()).unwrap());
        let mut world = World {
            folds_case: false,
            source,
            sinks: Vec::new(),
            director,
            holds: Holds::default(),
            stuck: None,
            doubles: true,
            trace: std::env::var_os("OSYNC_SIM_TRACE").map(|_| String::new()),
            now: Duration::ZERO,
            selection: Arc::default(),
            limits: Limits::default(),
            serial: 0,
            parts: VecDeque::new(),
            dice,
            weights: [10; 9],
            is_blind,
            has_slips: false,
            jobs: Vec::new(),
            seen: Vec::new(),
            notices: VecDeque::new(),
            asked: Vec::new(),
            memories: Vec::new(),
            ledgers: Ledgers::default(),
            kept: None,
            credit: [
                Credit { bytes: LIVE_CREDIT_BYTES, messages: 16 },
                Credit { bytes: BACKLOG_CREDIT_BYTES, messages: 16 },
            ],
            epochs: 0,
            steps: 0,
            vain: 0,
        };
        world.add_sink(policy);
        world
    }

    /// One more sink, with an empty tree, that is not registered yet.
    pub fn add_sink(&mut self, policy: DeletePolicy) {
        let id = SinkId(self.sinks.len() as u32);
        let tree = ModelTree::new(self.dice.draw());
        tree.skip_time();
        self.sinks.push(SinkEnd::new(id, tree, policy));
        let memory = Memory::new();
        self.ledgers.put(id, &memory.ledger);
        self.memories.push(memory);
    }

    /// The source offers no more than this from now on; said before it first looks.
    pub fn select(&mut self, selection: Selection) {
        self.selection = Arc::new(selection);
        self.source.select(&self.selection);
        self.director.select(Arc::clone(&self.selection));
    }

    /// Draws how likely each sort of step is, and how much credit there is.
    pub fn draw_weights(&mut self) {
        for weight in &mut self.weights {
            *weight = [1, 3, 10, 30, 100][self.dice.below(5)];
        }
        for credit in &mut self.credit {
            credit.messages = [1, 2, 4, 16][self.dice.below(4)];
        }
    }

    /// Writes into the trace.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now.as_micros();
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "{now:>9} {}", text());
        }
    }

    /// Grants so much in a lane from the next epoch on.
    pub fn grant(&mut self, lane: Lane, credit: Credit) {
        self.credit[lane.index()] = credit;
    }

    fn terms(&mut self, sink: usize) -> Terms {
        self.epochs += 1;
        let end = &mut self.sinks[sink];
        Terms {
            epoch: Epoch(self.epochs),
            credit: self.credit,
            delete: end.policy,
            same_root: std::mem::replace(&mut end.same_root, true),
            staging_name: None,
            abilities: Abilities { folds_case: self.folds_case, ..Abilities::full(".staging") },
            wanted: Carried::all(),
            trust: Trust::Times,
            marker: end.marker,
            partials: BTreeMap::new(),
            dry: false,
        }
    }

    /// The next thing between a source and a sink that have lost each other.
    fn step_link(&mut self, sink: usize) {
        let id = self.sinks[sink].id;
        match self.sinks[sink].link {
            Link::Cut { told: false } => {
                self.note(|| "the source notices".into());
                self.sinks[sink].link = Link::Cut { told: true };
                self.sinks[sink].reports.clear();
                self.director.end(id, self.now);
            }
            Link::Cut { told: true } => {
                let terms = self.terms(sink);
                self.enter_all(sink);
                let mut ledger = self.memories[sink].ledger.lock().unwrap();
                let trusted = ledger.meet(&terms.marker, terms.epoch).unwrap();
                drop(ledger);
                self.note(|| format!("the sink shows {:?}, trusted: {trusted}", terms.marker));
                self.note(|| format!("epoch {:?} begins", terms.epoch));
                // What came before was sent under the rules of its time.
                self.sinks[sink].journal.lock().unwrap().selection = Arc::clone(&self.selection);
                self.sinks[sink].begin(terms.epoch);
                self.director.begin(id, terms, self.now);
                self.apply_limits();
            }
            Link::Up | Link::Stopped => {}
        }
    }

    // --- steps ----------------------------------------------------------------------------

    fn enabled(&self) -> Vec<(Step, usize)> {
        let (holds, weights) = (self.holds, self.weights);
        let mut steps = Vec::new();
        let mut offer = |step: Step, weight: usize, is_open: bool| {
            if is_open {
                steps.push((step, weights[weight]));
            }
        };
        let waits = !self.source.is_drained() || !self.notices.is_empty();
        offer(Step::Notice, 0, !holds.notices && waits);
        let can_look = self.jobs.iter().any(|job| !self.is_stuck(job));
        offer(Step::Look, 1, !holds.looks && can_look);
        offer(Step::Seen, 2, !holds.seen && !self.seen.is_empty());
        let enters = self.memories.iter().any(|memory| !memory.entering.is_empty());
        offer(Step::Answer, 3, !self.asked.is_empty() || enters);
        for (at, sink) in self.sinks.iter().enumerate() {
            for lane in Lane::ALL {
                let open = !holds.lanes[lane.index()] && sink.hands.len() < 4;
                let waits = !sink.lanes[lane.index()].is_empty();
                offer(Step::Take(at, lane), 4 + lane.index(), open && waits);
            }
            offer(Step::Work(at), 6, !holds.work && !sink.hands.is_empty());
            let due = !sink.answers.is_empty() || sink.is_unsaved();
            offer(Step::Fold(at), 7, sink.link == Link::Up && due);
            let arrives = matches!(sink.link, Link::Up | Link::Cut { told: false })
                && !sink.reports.is_empty();
            offer(Step::Report(at), 8, !holds.reports && arrives);
            let linked = match sink.link {
                Link::Up | Link::Stopped => false,
                Link::Cut { told: false } => true,
                Link::Cut { told: true } => {
                    sink.hands.is_empty() && sink.lanes.iter().all(VecDeque::is_empty)
                }
            };
            offer(Step::Link(at), 8, linked);
        }
        steps
    }

    /// Does one thing that can be done; false if there is none.
    pub fn step(&mut self) -> bool {
        let enabled = self.enabled();
        let total: usize = enabled.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return false;
        }
        let mut drawn = self.dice.below(total);
        let mut chosen = enabled[0].0;
        for (step, weight) in enabled {
            if drawn < weight {
                chosen = step;
                break;
            }
            drawn -= weight;
        }
        self.steps += 1;
        self.vain = 0;
        // What happens beside the pair's talk, barriers and the ledger, takes no time of it.
        if !matches!(chosen, Step::Answer | Step::Fold(_)) {
            self.now += Duration::from_micros([0, 10, 200, 2_000][self.dice.below(4)]);
        }
        self.run_step(chosen);
        if self.director.next_wake().is_some_and(|wake| wake <= self.now) {
            self.director.tick(self.now);
        }
        self.take_actions();
        true
    }

    fn run_step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Notice => self.step_notices(),
            Step::Look => {
                let mut free: Vec<usize> = (0..self.jobs.len()).collect();
                free.retain(|&at| !self.is_stuck(&self.jobs[at]));
                let job = self.jobs.swap_remove(free[self.dice.below(free.len())]);
                let done = self.ledgers.annotate(&job, self.source.run_look(&job));
                self.limits.note_look(&job, &done, now);
                self.note(|| {
                    format!(
                        "look {:?} as {:?} {:?} saw {:?}",
                        job.dir.path, job.dir.key, job.task, done
                    )
                });
                self.seen.push(done);
            }
            Step::Seen => {
                let done = self.seen.swap_remove(self.dice.below(self.seen.len()));
                self.note(|| format!("seen {}", done.id));
                self.director.look_done(done, now);
            }
            Step::Answer => {
                let sink = self.dice.below(self.memories.len());
                let enters = self.asked.is_empty() || self.dice.one_in(2);
                let is_done = enters && self.enter_next(sink);
                if !is_done && !self.asked.is_empty() {
                    let Asked { sink, query, what } =
                        self.asked.swap_remove(self.dice.below(self.asked.len()));
                    self.note(|| format!("told {query}: {what:?}"));
                    match what {
                        Told::Offered(offered) => {
                            self.director.offered(sink, query, &offered, now);
                        }
                        Told::Kin(kin) => self.director.kin_told(sink, query, kin, now),
                        Told::Entered(unsettled) => self.director.entered(sink, &unsettled, now),
                    }
                }
            }
            Step::Take(sink, lane) => {
                let twice = self.dice.one_in(12) && self.doubles;
                self.sinks[sink].take(lane, twice);
            }
            Step::Work(sink) => {
                let hand = self.dice.below(self.sinks[sink].hands.len());
                let what = self.sinks[sink].describe(hand);
                self.sinks[sink].work(hand);
                let last = self.sinks[sink].answers.last().map(|answer| format!("{answer:?}"));
                self.note(|| format!("sink {sink} does {what} {last:?}"));
            }
            Step::Fold(sink) => {
                if self.sinks[sink].answers.is_empty() || self.dice.one_in(4) {
                    self.sinks[sink].barrier();
                }
                self.sinks[sink].fold();
            }
            Step::Report(sink) => {
                if let Some(report) = self.sinks[sink].reports.pop_front() {
                    self.note(|| format!("{report:?}"));
                    self.director.report(self.sinks[sink].id, report, now);
                }
            }
            Step::Link(sink) => self.step_link(sink),
        }
    }

    fn step_notices(&mut self) {
        if self.notices.is_empty() || self.dice.one_in(3) {
            let most = 1 + self.dice.below(8);
            self.notices.extend(self.source.take_notices(most));
        }
        let count = 1 + self.dice.below(4);
        for _ in 0..count {
            let Some(notice) = self.notices.pop_front() else { break };
            self.note(|| format!("{notice:?}"));
            self.director.notice(notice, self.now);
        }
        self.director.tick(self.now);
    }

    fn take_actions(&mut self) {
        while let Some(action) = self.director.take_action() {
            match action {
                Action::Look(job) => match job.task {
                    Task::CloseListing { .. } | Task::CloseTransfer { .. } => {
                        self.source.run_look(&job);
                    }
                    _ => self.jobs.push(job),
                },
                Action::Drain(ticket) => self.source.ask_drained(ticket),
                Action::Disarm(key) => self.source.forget(key),
                Action::Send(message) => {
                    self.note(|| format!("send {message:?}"));
                    let sink = message.sink.0 as usize;
                    let mut ledger = self.memories[sink].ledger.lock().unwrap();
                    ledger.offer(message.epoch, &message.offers).unwrap();
                    drop(ledger);
                    self.limits.note_sent(&message, self.now);
                    self.sinks[sink].send(message);
                }
                Action::AskOffered { sink, query, dir, names } => {
                    self.enter_all(sink.0 as usize);
                    let ledger = self.memories[sink.0 as usize].ledger.lock().unwrap();
                    let offered = ledger.was_offered(&dir, &names);
                    drop(ledger);
                    self.note(|| format!("asks {query}: {dir} {names:?} {offered:?}"));
                    self.asked.push(Asked { sink, query, what: Told::Offered(offered) });
                }
                Action::AskKin { sink, query, about } => {
                    self.enter_all(sink.0 as usize);
                    let kin = self.memories[sink.0 as usize].ledger.lock().unwrap().kin(&about);
                    self.note(|| format!("asks {query}: {about:?} {kin:?}"));
                    self.asked.push(Asked { sink, query, what: Told::Kin(kin) });
                }
                Action::Enter { sink, entries } => {
                    self.note(|| format!("{entries:?}"));
                    self.memories[sink.0 as usize].entering.push_back(entries);
                }
                Action::EndEpoch { reason, .. } => panic!("the epoch ends: {reason}"),
                Action::Problem { path, text, .. } => {
                    self.note(|| format!("PROBLEM {path} {text}"));
                }
                Action::Note(text) => self.note(|| format!("NOTE {text}")),
            }
        }
    }

    // --- runs -----------------------------------------------------------------------------

    /// Lets time pass until the director wants to be woken, but not beyond `until`.
    fn sleep(&mut self, until: Duration) {
        let wake = self.director.next_wake().unwrap_or(until);
        self.vain = if wake > self.now { 0 } else { self.vain + 1 };
        assert!(self.vain < 100, "the director wakes up in vain");
        self.now = wake.max(self.now + Duration::from_micros(100)).min(until);
        self.director.tick(self.now);
        self.take_actions();
    }

    /// Runs for so much virtual time, whatever is held back.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        self.director.tick(self.now);
        self.take_actions();
        while self.now < until {
            if !self.step() {
                self.sleep(until);
            }
        }
    }

    /// Runs until nothing is left to be done; an error if that never comes.
    pub fn settle(&mut self) -> Result<(), String> {
        self.holds = Holds::default();
        let (began, first) = (self.now, self.steps);
        let mut patrols = if self.is_blind || self.has_slips { 2 } else { 0 };
        self.director.tick(self.now);
        self.take_actions();
        loop {
            if self.step() {
                if self.steps - first > STEPS_MAX {
                    return Err(format!("never ends: {} steps", self.steps - first));
                }
                continue;
            }
            if self.director.next_wake().is_none() {
                if patrols == 0 {
                    break;
                }
                patrols -= 1;
                self.now += PATROL;
                self.director.tick(self.now);
                self.take_actions();
                continue;
            }
            if self.now > began + QUIET_MAX {
                let problems = self.sinks.iter().any(|sink| {
                    self.director.figures(sink.id).is_some_and(|figures| figures.problems > 0)
                });
                if problems {
                    break;
                }
                return Err("never ends: it goes on waking up".into());
            }
            self.sleep(Duration::MAX);
        }
        match self.sinks.iter().position(|sink| !sink.is_idle()) {
            Some(sink) => Err(format!("sink {sink} is not idle")),
            None => Ok(()),
        }
    }

    /// Ends all sessions of a quiet world: the closing sweep finds nothing.
    pub fn cut_over(&mut self) -> Result<(), String> {
        let ids: Vec<SinkId> = self.sinks.iter().map(|sink| sink.id).collect();
        for id in ids {
            let before = self.director.figures(id).unwrap_or_default();
            let problems = before.problems;
            self.note(|| format!("CUTOVER {id:?}"));
            self.director.terminate(id, Ending::Cutover, self.now);
            for _ in 0..2_000 {
                if self.director.outcome(id).is_some() {
                    break;
                }
                self.run(Duration::from_millis(100));
            }
            let expected = if problems > 0 { Outcome::Problems } else { Outcome::Equal };
            match self.director.outcome(id) {
                Some(report) if report.outcome == expected => {}
                Some(report) => return Err(format!("cutover: {}", report.text)),
                None => return Err("the cutover never ends".into()),
            }
            let after = self.director.figures(id).unwrap_or_default();
            if problems == 0 && after.sweeps - before.sweeps > 1 {
                return Err(format!("the closing sweep found something: {after:?}"));
            }
        }
        Ok(())
    }

    /// Runs until nothing is left to be done, and compares the trees.
    pub fn check(&mut self) -> Result<(), String> {
        self.settle()?;
        for sink in &self.sinks {
            let found = differences(&self.source, &self.selection, sink);
            if !found.is_empty() {
                return Err(format!("sink {:?} differs: {}", sink.id, found.join("; ")));
            }
            let figures = self.director.figures(sink.id).unwrap_or_default();
            let may_be_ready = figures.problems == 0 && figures.halted.is_none();
            if may_be_ready && State::of(true, &figures) != State::Ready {
                return Err(format!("at rest, and not READY: {figures:?}"));
            }
        }
        Ok(())
    }
}
