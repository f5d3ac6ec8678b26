//! Objects with several names (hard links): one name leads, the others become links to it.
//!
//! - The content of an object travels under one name at a time, which *leads*: whatever carries it
//!   (an entry of a listing, a want, a transfer, an operation) holds the lead, and the lead is over
//!   when the last of them is dropped. Other names that are met meanwhile wait.
//! - When a lead is over, and whenever the ledger finds a name that is not one of the others at the
//!   sink, the ledger is asked for the names that stand apart. These are looked at, and linked to a
//!   name that the sink has, as the ledger tells at that look.
//! - A link that the sink refuses becomes content of its own, under that name.
//! - In memory is only what waits, up to a bound; all names of an object are in the ledger.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::flights::{Draft, Errand};
use crate::flow::session::looks::Place;
use crate::flow::session::parked::Query;
use crate::flow::session::wants::{Bring, Want, Wanted};
use crate::flow::session::{Action, Session, Shared};
use crate::model::entry::{Identity, Sighting};
use crate::model::ledger::{
    Anchor, Deed, Entered, Facts, Kin, KinQuery, Kind, Moment, Note, Standing, Unsettled,
};
use crate::model::limits::KIN_WAITING_MAX;
use crate::model::op::{Op, Version};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{DirKey, Stamp};

/// Questions to the ledger at once.
const QUERIES: usize = 64;
/// How long a name waits whose object is known in a directory that is not met yet.
const UNMET_DELAY: Duration = Duration::from_millis(20);
/// How long a marked name waits for a lead, unless it is over before.
const LED_DELAY: Duration = Duration::from_secs(60);

/// What leads the names of an object.
#[derive(Debug)]
pub(super) struct Lead {
    identity: Identity,
    over: Arc<Mutex<Vec<Identity>>>,
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.over.lock().unwrap_or_else(PoisonError::into_inner).push(self.identity);
    }
}

/// The leads of one session, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Leads {
    led: HashMap<Identity, Vec<Waiting>>,
    /// Leads that are over and were not seen to yet.
    over: Arc<Mutex<Vec<Identity>>>,
    /// How many names wait in all.
    waiting: usize,
    asks: VecDeque<(KinQuery, bool)>,
    asking: usize,
}

/// A name that waits until the lead of its object is over.
#[derive(Debug)]
enum Waiting {
    /// It is marked, and looked at again then.
    Marked(DirKey, Name),
    /// A listing met it; whether it counts for progress, and as it was of the directory then.
    Listed { dir: DirKey, name: Name, counted: bool, displaced: u32 },
}

/// A link that is about to be sent, or under way.
#[derive(Debug, Clone)]
pub(super) struct LinkTo {
    /// The name that is linked to.
    pub(super) from: (DirKey, Name),
    /// What was put there then is one object at the sink.
    pub(super) generation: Moment,
    /// The watermark stays there until the answer.
    pub(super) pin: Stamp,
    /// The object was touched since the sink got it: its attributes follow, and its content is
    /// proved (H20).
    pub(super) is_touched: bool,
}

/// What is to be done with a name of an object that has several.
pub(super) enum Way {
    /// What is done with any other.
    Ordinary,
    /// It is linked to another one.
    Link(Op, LinkTo),
    /// It waits: another name leads.
    Wait,
    /// Nothing yet: it is looked at again after this.
    Later(Duration),
}

impl Leads {
    /// Whether nothing leads, waits, or is asked for.
    pub(super) fn is_quiet(&self) -> bool {
        self.led.is_empty() && self.asks.is_empty() && self.asking == 0
    }

    /// Whether no more names should be met that may have to wait.
    pub(super) fn is_full(&self) -> bool {
        self.waiting >= KIN_WAITING_MAX
    }

    pub(super) fn is_led(&self, identity: &Identity) -> bool {
        self.led.contains_key(identity)
    }

    /// Has a name lead its object, if that has several and none leads yet.
    pub(super) fn lead(&mut self, facts: &Facts) -> Option<Arc<Lead>> {
        let identity = facts.identity;
        if !facts.has_others || self.is_led(&identity) {
            return None;
        }
        self.led.insert(identity, Vec::new());
        Some(Arc::new(Lead { identity, over: Arc::clone(&self.over) }))
    }

    fn wait(&mut self, identity: &Identity, what: Waiting) {
        if let Some(waiting) = self.led.get_mut(identity) {
            waiting.push(what);
            self.waiting += 1;
        }
    }

    fn take_over(&mut self) -> Vec<Identity> {
        std::mem::take(&mut *self.over.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Session {
    /// Whether an object can have more than one name at the sink.
    pub(super) fn can_link(&self) -> bool {
        self.terms.wanted.links && self.terms.abilities.links > 1
    }

    /// How many names an object that was seen is to have at the sink; 0 if it has several, and a
    /// removal may be on its way.
    pub(super) fn names_of(&self, sighting: &Sighting, is_compared: bool) -> u32 {
        match sighting.links {
            several if several > 1 && self.can_link() => {
                u32::try_from(several).ok().filter(|_| is_compared).unwrap_or(0)
            }
            _ => 1,
        }
    }

    /// What is to be done with a name of an object at which a look saw this.
    pub(super) fn way_of(
        &self,
        at: &Place<'_>,
        facts: &Facts,
        note: Option<&Note>,
        shared: &Shared,
    ) -> Way {
        if facts.has_others && self.leads.is_led(&facts.identity) {
            return Way::Wait;
        }
        self.way_to_anchor(at, facts, note, shared)
    }

    /// The same for a name that leads.
    pub(super) fn way_to_anchor(
        &self,
        at: &Place<'_>,
        facts: &Facts,
        note: Option<&Note>,
        shared: &Shared,
    ) -> Way {
        if !facts.has_others {
            return Way::Ordinary;
        }
        if facts.home.is_none() {
            return Way::Later(UNMET_DELAY);
        }
        match note.and_then(|note| note.anchor.as_ref()) {
            Some(anchor) if anchor.facts.is_like(facts) => self.link_to(at, facts, anchor, shared),
            _ => Way::Ordinary,
        }
    }

    fn link_to(&self, at: &Place<'_>, facts: &Facts, anchor: &Anchor, shared: &Shared) -> Way {
        let pin = at.pin;
        let Some(dir) = shared.map.by_identity(anchor.home) else {
            return if shared.is_armed() { Way::Ordinary } else { Way::Later(UNMET_DELAY) };
        };
        let name = anchor.name.clone();
        if (dir, &name) == (at.dir, at.name) {
            return Way::Ordinary;
        }
        let above =
            self.sink_path(dir, shared).filter(|_| !self.is_name_fenced(dir, &name, shared));
        let Some(above) = above else { return Way::Later(UNMET_DELAY) };
        let (size, mtime) = (facts.size, facts.mtime);
        let presumes = match facts.kind {
            Kind::Symlink => Version::Symlink { mtime },
            Kind::Special => Version::Special { mtime },
            _ => Version::File { size, mtime, hash: None },
        };
        let (epoch, offered) = anchor.offered;
        let since = if epoch == self.terms.epoch { pin.max(offered) } else { pin };
        let (path, from) = (at.path.join(at.name), above.join(&name));
        let op = Op::Link { path, from, presumes, since };
        let (generation, is_touched) = (anchor.generation, anchor.facts.ctime != facts.ctime);
        Way::Link(op, LinkTo { from: (dir, name), generation, pin, is_touched })
    }

    /// A link about to be sent, holding its stamp and its pin.
    pub(super) fn draft_link(
        &mut self,
        at: &Place<'_>,
        errand: Errand,
        facts: Facts,
        (op, link): (Op, LinkTo),
    ) -> Draft {
        self.stamps.pin_again(link.pin);
        Draft { link: Some(link), ..self.draft(op, at, errand, Some(facts)) }
    }

    /// A marked name waits for the lead of its object.
    pub(super) fn wait_marked(
        &mut self,
        at: &Place<'_>,
        hint: Hint,
        identity: &Identity,
        now: Duration,
    ) {
        self.marks.put_off(at.dir, at.name, hint, now + LED_DELAY, false);
        // It was refused a link to what is no more.
        self.marks.relent(at.dir, at.name);
        self.leads.wait(identity, Waiting::Marked(at.dir, at.name.clone()));
    }

    /// A name that a listing met, and that is to become a link: it keeps its directory busy.
    pub(super) fn join(
        &mut self,
        dir: DirKey,
        name: Name,
        identity: &Identity,
        (counted, displaced): (bool, u32),
    ) {
        self.busy(dir);
        self.dirs.entry(dir).or_default().wanted += 1;
        self.join_again(dir, name, identity, (counted, displaced));
    }

    /// The same for one that keeps it busy already.
    pub(super) fn join_again(
        &mut self,
        dir: DirKey,
        name: Name,
        identity: &Identity,
        (counted, displaced): (bool, u32),
    ) {
        if self.leads.is_led(identity) {
            return self.leads.wait(identity, Waiting::Listed { dir, name, counted, displaced });
        }
        self.wants_count += 1;
        let wanted = Wanted { name, bytes: 0, lead: None, takes: None };
        let alike = |last: &&mut Want| {
            last.bring == Bring::Link
                && (last.dir, last.counted, last.displaced) == (dir, counted, displaced)
        };
        match self.wants.back_mut().filter(alike) {
            Some(last) => last.names.push(wanted),
            None => {
                let (names, bring) = (vec![wanted], Bring::Link);
                self.wants.push_back(Want { dir, names, bring, counted, displaced });
            }
        }
    }

    /// Sees to leads that are over, and asks the ledger what is to be asked.
    pub(super) fn pump_kin(&mut self, shared: &mut Shared) {
        for identity in self.leads.take_over() {
            if self.leads.is_led(&identity) {
                self.ask_kin(identity, true, true);
            }
        }
        while self.leads.asking < QUERIES
            && let Some((about, releases)) = self.leads.asks.pop_front()
        {
            self.leads.asking += 1;
            let query = self.ask(Query::Kin { about: about.clone(), releases });
            shared.actions.push_back(Action::AskKin { sink: self.id, query, about });
        }
    }

    fn ask_kin(&mut self, identity: Identity, whole: bool, releases: bool) {
        let about = KinQuery { identity, after: None, whole };
        self.leads.asks.push_back((about, releases));
    }

    /// The ledger has entered a report.
    pub fn entered(&mut self, unsettled: &Unsettled) {
        self.entering = self.entering.saturating_sub(1);
        for identity in &unsettled.strays {
            self.ask_kin(*identity, true, false);
        }
        for identity in &unsettled.parted {
            self.ask_kin(*identity, false, false);
        }
    }

    /// The ledger has answered which names of an object are to be looked at.
    pub fn kin_told(&mut self, query: u64, kin: Kin, shared: &mut Shared) {
        let Some(Query::Kin { about, releases }) = self.queries.remove(&query) else { return };
        self.leads.asking = self.leads.asking.saturating_sub(1);
        for (home, name) in kin.apart.iter().chain(&kin.joined) {
            if let Some(dir) = shared.map.by_identity(*home) {
                self.mark(dir, name, Hint::KIN, shared.now, Duration::ZERO);
            }
        }
        if releases {
            self.release(&about.identity, shared);
        }
        if kin.next.is_some() {
            let about = KinQuery { after: kin.next, ..about };
            self.leads.asks.push_back((about, false));
        }
    }

    /// A lead is over: what waited for it goes on.
    fn release(&mut self, identity: &Identity, shared: &Shared) {
        let waiting = self.leads.led.remove(identity).unwrap_or_default();
        self.leads.waiting -= waiting.len();
        for each in waiting {
            match each {
                Waiting::Marked(dir, name) => {
                    self.mark(dir, &name, Hint::META, shared.now, Duration::ZERO);
                }
                Waiting::Listed { dir, name, counted, displaced } => {
                    self.join_again(dir, name, identity, (counted, displaced));
                }
            }
        }
    }

    /// The end of an epoch: nothing leads any more.
    pub(super) fn disband(&mut self, now: Duration) {
        let leads = std::mem::take(&mut self.leads);
        for each in leads.led.into_values().flatten() {
            if let Waiting::Marked(dir, name) = each {
                self.marks.mark(dir, &name, Hint::CONTENT, now, Duration::ZERO);
            }
        }
    }

    /// A name is gone at the source, and nothing is removed at the sink: what it was a name of is
    /// known by its other names from now on.
    pub(super) fn part(&mut self, path: RelPath, stamp: Stamp, shared: &mut Shared) {
        self.deeds.push(Entered { stamp, deed: Deed::Parted(path) });
        self.tell_ledger(self.durable, 0, shared);
    }

    /// What became of other names of an object may concern this one: the ledger tells whether it
    /// changed.
    pub(super) fn judged(&mut self, at: &Place<'_>, facts: &Facts, note: Option<&Note>) -> Judged {
        match note.map(|note| note.standing) {
            Some(Standing::Durable) => Judged::There,
            Some(Standing::Check { hash, .. }) => {
                let lead = self.leads.lead(facts);
                let wanted = Wanted { name: at.name.clone(), bytes: facts.size, lead, takes: None };
                self.check(at.dir, vec![wanted], vec![hash]);
                Judged::There
            }
            // What is not known may be older at the sink, and bear the same size and times.
            _ => Judged::Changed,
        }
    }
}

/// What the ledger tells of a name whose object has, or had, others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// The sink has it, or that is being proved.
    There,
    /// Its content is another, or may be.
    Changed,
}
