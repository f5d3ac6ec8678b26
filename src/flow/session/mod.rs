//! One sink's side of the director: what it has been sent, what it is owed, what is under way.
//!
//! - Everything here is per sink: marks, fences, watermark, epoch, credit (H31). The map of
//!   directories is shared and lent by the caller.
//! - Work enters as marks (live) or as directories to list (backlog) and leaves as messages; each
//!   is remembered until it is answered (law 4).
//!
//! Files: `dispatch` chooses what to do next, `looks` takes what looks bring, `listings` the
//! backlog, `verdicts` what the sink says of it, `wants` what it found wanting, `ledger` what it is
//! spared, `extras` names that only the sink has, `answers` what the sink says of operations,
//! `refusals` what has no room there, `renames` the fences, `removals` the clearing of directories,
//! `transfers` large files, `deltas` what has changed in them, `kin` objects with several names,
//! `twins` names that are one there, `selected` what the rules hide or protect, `patience` looks
//! that never return, `sweeps` the doubt, `patrol` what makes no events, `steering` the limits,
//! `ending` the termination phase, `writers` who is still at work then, `figures` how far it has
//! come, `losses` what the sink can't hold.

mod answers;
mod changes;
mod clearing;
mod deltas;
mod dispatch;
mod ending;
mod extras;
mod figures;
mod flights;
mod kin;
mod ledger;
mod listings;
mod load;
mod looks;
mod losses;
mod parked;
mod parts;
mod patience;
mod patrol;
mod refusals;
mod removals;
mod renames;
mod selected;
mod shared;
mod steering;
mod sweeps;
mod transfers;
mod twins;
mod verdicts;
mod wants;
mod writers;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::flow::allowance::Allowance;
use crate::flow::credit::LaneCredit;
use crate::flow::latency::Latencies;
use crate::flow::marks::{Hint, Marked, Marks};
use crate::flow::pace::Pace;
use crate::flow::problems::{Foreign, Problems};
use crate::flow::room::Room;
use crate::flow::stall::{Outstanding, Progress, StallWatch};
use crate::flow::watermark::Stamps;
use crate::model::abilities::{Abilities, Losses};
use crate::model::attributes::Carried;
use crate::model::entry::FileTime;
use crate::model::ledger::Entered;
use crate::model::look::LookId;
use crate::model::marker::Marker;
use crate::model::path::{Name, RelPath};
use crate::model::session::{Credit, DeletePolicy, Ending, Figures, FinalReport, FreeRoom, Trust};
use crate::model::stamp::{DirKey, Epoch, Sequence, SinkId, Stamp};

pub use self::changes::Change;
pub use self::patience::GIVEN_UP;
pub use self::shared::{Action, Adrift, Arming, Outgoing, Shared};

use self::ending::Termination;
use self::extras::Paging;
use self::flights::{Draft, Flight, Ready};
use self::kin::Leads;
use self::listings::{Listing, Unanswered};
use self::looks::Pending;
use self::losses::Census;
use self::parked::{Parked, Query};
use self::patrol::Patrols;
use self::removals::Removal;
use self::renames::Rename;
use self::sweeps::Sweeps;
use self::transfers::{Large, Transfer};
use self::wants::Want;

/// What one session knows of one directory.
#[derive(Debug, Default, Clone)]
struct DirState {
    /// The number of doubt at which it was last armed and read; 0 for never (law 7).
    clear: u64,
    /// The sink has it at its place, or may have.
    placed: bool,
    /// An answer of this epoch showed that the sink has it.
    confirmed: bool,
    /// Its own attributes are to be sent when nothing in it is outstanding (H21).
    meta_due: bool,
    /// How often the sink came to lack it where it is: what was listed before is listed again.
    displaced: u32,
    /// It waits in the walk.
    queued: bool,
    /// Its entries were counted.
    counted: bool,
    /// Names in it that are no directories, as of its last listing and the events since.
    names: u32,
    /// Looks, wants, messages and listings under way in it.
    busy: u32,
    /// Messages under way in it.
    flying: u32,
    /// The sink durably has it, by the ledger: only what is in doubt in it is sent.
    trusted: bool,
    /// So it has its own attributes, of when its ctime was this.
    dressed: Option<FileTime>,
    /// Only what was in doubt of it was sent when it was listed last.
    spared: bool,
    /// In this epoch the sink had to make it, or found that another's hand was at it.
    doubted: bool,
    /// In this epoch the sink had to make it: it held nothing then, and what came to it since was
    /// offered, or is another's.
    made: bool,
    /// The number of doubt at which its entries were counted last.
    tallied: u64,
    /// Names in it that a listing found wanting, until each is answered or becomes a mark.
    wanted: u32,
}

/// The terms of an epoch, as the sink registered them.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The epoch granted.
    pub epoch: Epoch,
    /// Credit by lane index.
    pub credit: [Credit; 2],
    /// What may be removed at the sink.
    pub delete: DeletePolicy,
    /// Whether the sink still holds what an earlier epoch of this run put there.
    pub same_root: bool,
    /// Name of the sink's staging directory: a source entry of that name can't be carried.
    pub staging_name: Option<Name>,
    /// What the sink can hold.
    pub abilities: Abilities,
    /// The attributes that are to be carried.
    pub wanted: Carried,
    /// What is thought of content that the sink has already.
    pub trust: Trust,
    /// The marker that the sink showed.
    pub marker: Marker,
    /// Bytes that the sink has of transfers which an earlier epoch has begun, by their names.
    pub partials: BTreeMap<u64, u64>,
    /// The sink only tells what would be done: one comparison, live changes are not followed.
    pub dry: bool,
}

/// One sink's session.
pub struct Session {
    id: SinkId,
    terms: Terms,
    /// Whether an epoch is under way.
    active: bool,
    sent: [Sequence; 2],
    reports: u64,
    /// Whether the sink has looked over its own tree.
    inspected: bool,
    /// Last message that the sink has seen, by lane index.
    seen: [Sequence; 2],
    /// Looks that came back.
    looked: u64,
    stall: StallWatch,
    /// The last report that is durable.
    durable: u64,
    /// What the report at hand told, for the ledger.
    deeds: Vec<Entered>,
    credit: [LaneCredit; 2],
    /// Outlasts the epoch: what was sent was sent.
    pace: Pace,
    stamps: Stamps,
    marks: Marks,
    dirs: HashMap<DirKey, DirState>,
    /// The number of doubt: a directory is clear only at this number.
    doubt: u64,
    /// Names in all directories that are none themselves.
    names: u64,
    /// Directories clear at this number of doubt.
    clear_count: u64,
    sweeps: Sweeps,
    patrols: Patrols,
    /// What was listed at this number of doubt.
    census: Census,
    /// What the sink can't hold of the root itself.
    root_losses: Losses,
    /// Directories of which the sink has more names beyond a listing than it told of.
    extras: BTreeMap<DirKey, Paging>,
    /// Names that are one with another at the sink, and that one.
    twins: BTreeMap<(DirKey, Name), Name>,
    /// Directories of which a listing that counts has begun.
    counted_dirs: u64,
    /// Directories to list, next one last.
    walk: Vec<DirKey>,
    /// Directories to list before all others.
    fresh: VecDeque<DirKey>,
    /// From when on all directories are to be searched for unclear ones that are in neither queue.
    recheck: Option<Duration>,
    /// Directories whose own attributes may be due.
    metas: VecDeque<DirKey>,
    listings: BTreeMap<u64, Listing>,
    unanswered: Unanswered,
    wants: VecDeque<Want>,
    wants_count: usize,
    /// Files for transfers to come.
    large: VecDeque<Large>,
    transfers: BTreeMap<u64, Transfer>,
    renames: VecDeque<Rename>,
    /// Where the sink has a directory whose rename is not yet answered.
    sink_place: HashMap<DirKey, (DirKey, Name)>,
    removals: BTreeMap<u64, Removal>,
    next_removal: u64,
    allowance: Allowance,
    /// Directories in which names came or went while they were listed: their counts may be off.
    stirred: HashSet<DirKey>,
    /// When a person last said that what waits under a halt may go, until that has gone.
    excused: Option<Duration>,
    /// Names wait that are gone at the source: there is no use in asking for more of them.
    held_back: bool,
    pending: HashMap<LookId, Pending>,
    parked: Vec<Parked>,
    queries: HashMap<u64, Query>,
    next_query: u64,
    leads: Leads,
    /// Reports that the ledger has not entered yet.
    entering: usize,
    flights: [BTreeMap<Sequence, Flight>; 2],
    ready: [VecDeque<Ready>; 2],
    /// Own attributes of directories that go together, in the backlog lane.
    gathered: Vec<Draft>,
    /// What is known of the room at the sink.
    room: Room,
    /// What the sink said of it last, in this epoch.
    free: Option<FreeRoom>,
    /// It was said in this epoch that the sink has too little of it.
    is_forewarned: bool,
    /// When that was last looked ahead for.
    foreseen: Duration,
    /// When all the work there was room for was last started.
    pumped: Duration,
    problems: Problems,
    foreign: Foreign,
    latencies: Latencies,
    tally: Figures,
    termination: Option<Termination>,
    outcome: Option<FinalReport>,
}

impl Session {
    /// A session for which no epoch has begun.
    #[must_use]
    pub fn new(id: SinkId, terms: Terms) -> Session {
        let credit = terms.credit.map(LaneCredit::new);
        Session {
            id,
            terms,
            active: false,
            sent: [0; 2],
            reports: 0,
            inspected: false,
            seen: [0; 2],
            looked: 0,
            stall: StallWatch::default(),
            durable: 0,
            deeds: Vec::new(),
            credit,
            pace: Pace::default(),
            stamps: Stamps::default(),
            marks: Marks::default(),
            dirs: HashMap::new(),
            doubt: 0,
            names: 0,
            clear_count: 0,
            sweeps: Sweeps::default(),
            patrols: Patrols::default(),
            census: Census::default(),
            root_losses: Losses::default(),
            extras: BTreeMap::new(),
            twins: BTreeMap::new(),
            counted_dirs: 0,
            walk: Vec::new(),
            fresh: VecDeque::new(),
            recheck: None,
            metas: VecDeque::new(),
            listings: BTreeMap::new(),
            unanswered: Unanswered::default(),
            wants: VecDeque::new(),
            wants_count: 0,
            large: VecDeque::new(),
            transfers: BTreeMap::new(),
            renames: VecDeque::new(),
            sink_place: HashMap::new(),
            removals: BTreeMap::new(),
            next_removal: 1,
            allowance: Allowance::default(),
            stirred: HashSet::new(),
            excused: None,
            held_back: false,
            pending: HashMap::new(),
            parked: Vec::new(),
            queries: HashMap::new(),
            next_query: 1,
            leads: Leads::default(),
            entering: 0,
            flights: [BTreeMap::new(), BTreeMap::new()],
            ready: [VecDeque::new(), VecDeque::new()],
            gathered: Vec::new(),
            room: Room::default(),
            free: None,
            is_forewarned: false,
            foreseen: Duration::ZERO,
            pumped: Duration::ZERO,
            problems: Problems::default(),
            foreign: Foreign::default(),
            latencies: Latencies::default(),
            tally: Figures::default(),
            termination: None,
            outcome: None,
        }
    }

    /// Begins an epoch: nothing of the last one is under way any more, everything is in doubt,
    /// what was marked stays marked.
    pub fn begin(&mut self, terms: Terms, shared: &mut Shared) {
        self.end(shared);
        let keep_places = terms.same_root;
        self.credit = terms.credit.map(LaneCredit::new);
        self.terms = terms;
        self.active = true;
        self.sent = [0; 2];
        (self.reports, self.durable) = (0, 0);
        self.inspected = false;
        self.seen = [0; 2];
        self.stall = StallWatch::default();
        self.stamps = Stamps::default();
        self.doubt += 1;
        self.clear_count = 0;
        // Everything is in doubt anyway.
        self.sweeps = Sweeps::default();
        self.patrols.restart(shared.now);
        self.census = Census::default();
        self.root_losses = Losses::default();
        self.extras.clear();
        self.twins.clear();
        self.counted_dirs = 0;
        for state in self.dirs.values_mut() {
            let placed = state.placed && keep_places;
            *state = DirState { placed, ..DirState::default() };
        }
        self.dirs.entry(DirKey::ROOT).or_default().placed = true;
        self.walk = vec![DirKey::ROOT];
        self.set_queued(DirKey::ROOT, true);
        self.foreign.reset();
        (self.free, self.is_forewarned) = (None, false);
        self.names = 0;
        self.tally = Figures { overflows: self.tally.overflows, ..Figures::default() };
        self.marks.restart(shared.now);
    }

    /// Ends the epoch: throws away what was under way, which becomes marks and doubt.
    pub fn end(&mut self, shared: &mut Shared) {
        self.active = false;
        // A sink that comes back must not be told how the last epoch ended.
        self.termination = None;
        self.outcome = None;
        let pending: Vec<LookId> = self.pending.keys().copied().collect();
        for id in pending {
            shared.forget_look(id);
        }
        self.pending.clear();
        for (id, listing) in std::mem::take(&mut self.listings) {
            shared.close_listing(id, listing.dir);
        }
        for (id, transfer) in std::mem::take(&mut self.transfers) {
            shared.close_transfer(id, transfer.dir);
        }
        for rename in std::mem::take(&mut self.renames) {
            for (dir, name) in [rename.from, rename.to] {
                self.marks.mark(dir, &name, Hint::CONTENT, shared.now, Duration::ZERO);
            }
            for key in rename.node.into_iter().chain(rename.other) {
                if let Some(state) = self.dirs.get_mut(&key) {
                    state.placed = false;
                }
            }
        }
        self.sink_place.clear();
        self.walk.clear();
        self.fresh.clear();
        self.metas.clear();
        self.unanswered = Unanswered::default();
        self.wants.clear();
        self.wants_count = 0;
        self.deeds.clear();
        self.large.clear();
        self.removals.clear();
        self.parked.clear();
        self.queries.clear();
        self.entering = 0;
        self.flights = [BTreeMap::new(), BTreeMap::new()];
        self.ready = [VecDeque::new(), VecDeque::new()];
        self.gathered.clear();
        self.disband(shared.now);
        self.room.forget();
    }

    /// The terms of the present epoch.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether live changes are followed: not in a dry run, which is one comparison.
    #[must_use]
    pub fn is_following(&self) -> bool {
        !self.terms.dry
    }

    /// Whether an epoch is under way.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Last sequence number sent in each lane, and the number of the last report read.
    #[must_use]
    pub fn last_numbers(&self) -> ([Sequence; 2], u64) {
        (self.sent, self.reports)
    }

    /// How the session ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&FinalReport> {
        self.outcome.as_ref()
    }

    /// How the termination phase is to end, while it lasts.
    #[must_use]
    pub fn terminating(&self) -> Option<Ending> {
        self.termination.as_ref().map(|termination| termination.ending)
    }

    /// The sink has told which messages it has seen.
    pub fn heard(&mut self, seen: [Sequence; 2]) {
        self.seen = seen;
    }

    /// Notes whether anything moves, and says so when nothing does.
    pub(super) fn watch_stall(&mut self, shared: &mut Shared) {
        let progress = Progress {
            sent: self.sent,
            seen: self.seen,
            reports: self.reports,
            looks: self.looked,
        };
        // A full disk is told apart; names that wait for their time are not work.
        let full = self.room.is_short();
        let outstanding = Outstanding {
            messages: [0, 1].map(|lane: usize| self.flights[lane].len()),
            questions: self.queries.len(),
            looks: self.pending.len(),
            held: if full { 0 } else { self.held(shared.now) },
        };
        if self.stall.watch(&progress, &outstanding, shared.now).is_some()
            && let Some(words) = self.stall.words(shared.now)
        {
            shared.actions.push_back(Action::Note(words));
        }
    }

    /// Marks a name that an event spoke of.
    pub fn mark(&mut self, dir: DirKey, name: &Name, hint: Hint, now: Duration, delay: Duration) {
        if self.marks.mark(dir, name, hint, now, delay) == Marked::Folded {
            self.marks.forget_dir(dir, true);
            self.unclear(dir);
        }
    }

    /// Marks a name that an event told of.
    pub fn hear(&mut self, dir: DirKey, name: &Name, hint: Hint, now: Duration, delay: Duration) {
        self.mark(dir, name, hint, now, delay);
        self.marks.hear(dir, name);
    }

    /// One directory is to be listed again, soon.
    fn unclear(&mut self, dir: DirKey) {
        self.void_listings(dir);
        self.set_unclear(dir);
        let state = self.dirs.entry(dir).or_default();
        if !state.queued {
            state.queued = true;
            self.fresh.push_back(dir);
        }
    }

    fn set_unclear(&mut self, dir: DirKey) {
        let state = self.dirs.entry(dir).or_default();
        if state.clear == self.doubt {
            self.clear_count = self.clear_count.saturating_sub(1);
        }
        state.clear = 0;
    }

    /// Has all directories searched for unclear ones, at that time at the latest.
    fn recheck_at(&mut self, at: Duration) {
        self.recheck = Some(self.recheck.map_or(at, |known| known.min(at)));
    }

    fn push_walk(&mut self, dir: DirKey) {
        let state = self.dirs.entry(dir).or_default();
        if !state.queued {
            state.queued = true;
            self.walk.push(dir);
        }
    }

    fn set_queued(&mut self, dir: DirKey, queued: bool) {
        self.dirs.entry(dir).or_default().queued = queued;
    }

    fn set_clear(&mut self, dir: DirKey, doubt: u64) {
        let state = self.dirs.entry(dir).or_default();
        if state.clear != self.doubt && doubt == self.doubt {
            self.clear_count += 1;
        }
        state.clear = doubt;
    }

    /// Sets how many names that are no directories a directory holds.
    fn set_names(&mut self, dir: DirKey, names: u32) {
        let state = self.dirs.entry(dir).or_default();
        let before = std::mem::replace(&mut state.names, names);
        self.names = (self.names + u64::from(names)).saturating_sub(before.into());
    }

    /// A name that is no directory came to a directory, or went.
    pub fn count_name(&mut self, dir: DirKey, came: bool) {
        self.stir(dir);
        let Some(names) = self.dirs.get(&dir).map(|state| state.names) else { return };
        let names = if came { names.saturating_add(1) } else { names.saturating_sub(1) };
        self.set_names(dir, names);
    }

    fn displaced(&self, dir: DirKey) -> u32 {
        self.dirs.get(&dir).map_or(0, |state| state.displaced)
    }

    fn busy(&mut self, dir: DirKey) {
        self.dirs.entry(dir).or_default().busy += 1;
    }

    /// One piece of work in a directory has ended; its attributes may be due now.
    fn idle(&mut self, dir: DirKey) {
        let Some(state) = self.dirs.get_mut(&dir) else { return };
        state.busy = state.busy.saturating_sub(1);
        if state.busy == 0 && state.meta_due && self.marks.is_quiet_in(dir) {
            self.metas.push_back(dir);
        }
    }

    /// A directory's attributes are to be sent once nothing in it is outstanding.
    pub fn owe_meta(&mut self, dir: DirKey) {
        let state = self.dirs.entry(dir).or_default();
        if !state.meta_due {
            state.meta_due = true;
            if state.busy == 0 && self.marks.is_quiet_in(dir) {
                self.metas.push_back(dir);
            }
        }
    }

    /// Notes a problem at a path, and tells the monitor if it is new.
    fn problem(&mut self, path: RelPath, text: String, shared: &mut Shared) {
        if self.problems.add(path.clone(), text.clone()) {
            shared.actions.push_back(Action::Problem { sink: self.id, path, text });
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.stamps.take()
    }
}
