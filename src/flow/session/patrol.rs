//! The patrol: all directories are listed in turn against the ledger, for changes of which no event
//! tells (stores through a mapping, asynchronous writes, another name outside the tree).
//!
//! - It begins when the walk is over, never gets ahead of live or backlog, and a directory that it
//!   reads stays clear: the session is no less ready for it.
//! - Directories that events come from and those that nothing watches each have a patrol of their
//!   own. The first kind is gone through one by one and with rests; the second as fast as may be.
//! - Of what it lists only what the ledger doubts is sent. A directory that the ledger does not
//!   know is compared whole.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::flow::session::looks::Purpose;
use crate::flow::session::{Session, Shared};
use crate::model::limits::LISTINGS_OPEN_MAX;
use crate::model::stamp::DirKey;

/// Shortest time between two patrols of one beat.
const PAUSE: Duration = Duration::from_secs(10);
/// The pause is at least so many times what the last patrol took.
const PAUSE_FACTOR: u32 = 4;
/// So long directories that events come from are read without a rest.
const SPELL: Duration = Duration::from_millis(10);
/// A rest is so many times the spell before it: a fifth of one worker is spent at most.
const REST_FACTOR: u32 = 4;
/// Directories that nothing watches listed at once.
const BLIND_AT_ONCE: usize = LISTINGS_OPEN_MAX / 2;

/// Which directories a patrol goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Those that events come from.
    Watched,
    /// Those that nothing watches.
    Blind,
}

impl Beat {
    const ALL: [Beat; 2] = [Beat::Watched, Beat::Blind];

    fn index(self) -> usize {
        self as usize
    }

    /// Directories listed at once.
    fn at_once(self) -> usize {
        match self {
            Beat::Watched => 1,
            Beat::Blind => BLIND_AT_ONCE,
        }
    }

    /// The directories of it, the first one last.
    fn dirs(self, shared: &Shared) -> Vec<DirKey> {
        let mut dirs: Vec<DirKey> = match self {
            Beat::Watched => shared.map.keys().filter(|key| shared.map.is_watched(*key)).collect(),
            Beat::Blind => shared.map.unwatched().collect(),
        };
        // Keys are given as directories are met: those above come first.
        dirs.sort_unstable_by(|a, b| b.cmp(a));
        dirs
    }
}

/// The patrols of one session.
#[derive(Debug, Default)]
pub(super) struct Patrols([Patrol; 2]);

/// One patrol.
#[derive(Debug, Default)]
struct Patrol {
    /// When the one under way began.
    began: Option<Duration>,
    /// Directories that it still has to go to, next one last.
    left: Vec<DirKey>,
    /// When the next one may begin.
    next: Duration,
    /// When its last part was asked for.
    asked: Duration,
    /// What it has taken since its last rest.
    spell: Duration,
    /// Until when it rests.
    rests: Duration,
}

impl Patrols {
    /// None is under way, and the next ones begin after a pause.
    pub(super) fn restart(&mut self, now: Duration) {
        self.0 = Beat::ALL.map(|_| Patrol { next: now + PAUSE, ..Patrol::default() });
    }

    /// The end of the first rest of those under way.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        let under_way = self.0.iter().filter(|patrol| patrol.began.is_some());
        under_way.map(|patrol| patrol.rests).min()
    }

    /// A part has been read.
    pub(super) fn part_read(&mut self, beat: Beat, now: Duration) {
        let patrol = &mut self.0[beat.index()];
        patrol.spell += now.saturating_sub(patrol.asked);
        if beat == Beat::Watched && patrol.spell >= SPELL {
            patrol.rests = now + std::mem::take(&mut patrol.spell) * REST_FACTOR;
        }
    }
}

impl Session {
    /// Sets patrols out that are due, and keeps those under way going.
    pub(super) fn pump_patrols(&mut self, shared: &mut Shared) {
        for beat in Beat::ALL {
            if self.termination.is_some() {
                // The closing sweep goes everywhere: what is being read is read to its end.
                let patrol = &mut self.patrols.0[beat.index()];
                (patrol.began, patrol.left) = (None, Vec::new());
            } else if self.patrols.0[beat.index()].began.is_none() {
                self.set_out(beat, shared);
            }
            self.walk_beat(beat, shared);
        }
    }

    fn set_out(&mut self, beat: Beat, shared: &Shared) {
        let is_due = self.patrols.0[beat.index()].next <= shared.now;
        // Messages of a patrol would hide that others are never answered.
        let is_answered = self.flights.iter().all(BTreeMap::is_empty);
        let is_calm = is_answered && !self.sweeps.is_owed() && shared.is_armed();
        if is_due && self.is_read() && is_calm {
            let left = beat.dirs(shared);
            let patrol = &mut self.patrols.0[beat.index()];
            patrol.began = (!left.is_empty()).then_some(shared.now);
            patrol.left = left;
        }
    }

    fn walk_beat(&mut self, beat: Beat, shared: &mut Shared) {
        let open = self.open_on(beat);
        let mut count = open.len();
        for id in open {
            if !self.is_reading(id) && self.may_read_on(beat, shared) {
                self.read_for_patrol(id, beat, false, shared);
            }
        }
        while count < beat.at_once()
            && self.is_read()
            && self.may_read_on(beat, shared)
            && let Some(dir) = self.patrols.0[beat.index()].left.pop()
        {
            let is_there = shared.map.address(dir).is_some() && !self.is_left_out(dir, shared);
            if is_there && !self.is_fenced(dir, shared) && !self.is_comparing(dir) {
                let id = self.open_patrol_listing(dir, beat, shared);
                self.read_for_patrol(id, beat, true, shared);
                count += 1;
            }
        }
        let patrol = &mut self.patrols.0[beat.index()];
        if count == 0
            && patrol.left.is_empty()
            && let Some(began) = patrol.began.take()
        {
            patrol.next = shared.now + PAUSE.max((shared.now - began) * PAUSE_FACTOR);
            self.tally.sweeps += 1;
        }
    }

    /// Whether a patrol may read on where it is. For an open listing others may wait: then there is
    /// no rest.
    fn may_read_on(&self, beat: Beat, shared: &Shared) -> bool {
        let is_awaited = !self.is_read() || self.termination.is_some();
        self.may_list(shared) && (is_awaited || self.patrols.0[beat.index()].rests <= shared.now)
    }

    fn read_for_patrol(&mut self, id: u64, beat: Beat, first: bool, shared: &mut Shared) {
        self.patrols.0[beat.index()].asked = shared.now;
        self.read_part(id, first, shared);
    }

    /// Listings of a patrol that are not read to their end.
    fn open_on(&self, beat: Beat) -> Vec<u64> {
        let open = self.listings.iter().filter(|(_, l)| l.patrol == Some(beat) && !l.ended);
        open.map(|(id, _)| *id).collect()
    }

    fn is_reading(&self, id: u64) -> bool {
        self.listings.get(&id).is_some_and(|listing| listing.reading)
    }

    /// Whether a look is a patrol's.
    pub(super) fn is_for_patrol(&self, purpose: &Purpose) -> bool {
        let Purpose::Part { listing, .. } = purpose else { return false };
        self.listings.get(listing).is_some_and(|listing| listing.patrol.is_some())
    }
}
