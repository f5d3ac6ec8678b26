//! What to do next: the one place where live is preferred to backlog (law 5).

use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::listings::Listing;
use crate::flow::session::looks::{Pending, Purpose};
use crate::flow::session::wants::Bring;
use crate::flow::session::{Session, Shared};
use crate::model::limits::{
    BATCH_BYTES_MAX, BATCH_OPS_MAX, LISTED_MAX, LISTING_ENTRIES_MAX, LISTING_PARTS_MAX,
    LISTINGS_OPEN_MAX, LOOKS_MAX, WANTS_MAX,
};
use crate::model::look::{Task, Want};
use crate::model::path::Name;
use crate::model::stamp::{DirKey, Lane};

/// Looks at marked names under way at once: each may bring `LIVE_NAMES` files.
const LIVE_LOOKS: usize = 8;
/// Marked names that one look takes.
const LIVE_NAMES: usize = 16;
/// How long a mark waits that a rename fences.
const FENCED_DELAY: Duration = Duration::from_millis(2);

impl Session {
    /// Starts all the work that there is room for.
    pub fn pump(&mut self, shared: &mut Shared) {
        if !self.active || self.outcome.is_some() {
            return;
        }
        self.pumped = shared.now;
        self.give_up_looks(shared);
        self.size_up(shared);
        self.reconsider_halt(shared);
        for lane in Lane::ALL {
            self.pump_ready(lane, shared);
        }
        self.pump_room(shared.now);
        self.marks.expire_cooling(shared.now);
        self.pump_renames(shared);
        self.pump_marks(shared);
        self.pump_metas(shared);
        self.pump_gathered(shared);
        self.pump_kin(shared);
        self.pump_transfers(shared);
        self.pump_wants(shared);
        self.heed_overflow(shared.now);
        self.pump_extras();
        self.pump_listings(shared);
        self.pump_patrols(shared);
        self.pump_ending(shared);
        self.watch_stall(shared);
    }

    pub(super) fn looks_in(&self, lane: Lane) -> usize {
        self.pending.values().filter(|pending| pending.lane == lane).count()
    }

    fn pump_marks(&mut self, shared: &mut Shared) {
        while self.looks_in(Lane::Live) < LIVE_LOOKS && self.lane_room(Lane::Live, 0, shared) {
            let mut names: Vec<(Name, Hint)> = Vec::new();
            let mut dir = None;
            while names.len() < LIVE_NAMES && self.looks_in(Lane::Live) < LIVE_LOOKS {
                let next = self.marks.take_ripe(shared.now, dir);
                let Some((at, name, hint)) = next else { break };
                if self.is_name_fenced(at, &name, shared) {
                    let later = shared.now + FENCED_DELAY;
                    self.marks.put_off(at, &name, Hint::META, later, false);
                    continue;
                }
                if self.marks.get(at, &name).is_some_and(|mark| mark.failures > 0) {
                    // It may hang: no other name is to hang with it.
                    self.look_at_marks(at, vec![(name, hint)], shared);
                    continue;
                }
                dir = Some(at);
                names.push((name, hint));
            }
            let Some(dir) = dir else { return };
            self.look_at_marks(dir, names, shared);
        }
    }

    fn look_at_marks(&mut self, dir: DirKey, names: Vec<(Name, Hint)>, shared: &mut Shared) {
        if shared.map.get(dir).is_none() {
            return self.forget_dir(dir);
        }
        let Some(address) = shared.map.address(dir) else {
            // Adrift: its place will be known, or it will vanish with its marks.
            for (name, hint) in names {
                self.marks.put_off(dir, &name, hint, shared.now + FENCED_DELAY * 5, false);
            }
            return;
        };
        let wanted = names.iter().map(|(name, hint)| {
            (name.clone(), if hint.content { Want::Content } else { Want::Meta })
        });
        let task = Task::Names(wanted.collect());
        let stamp = self.stamp();
        let purpose = Purpose::Marks { names, stamp, pin: self.stamps.pin() };
        self.start_look(Lane::Live, dir, address, task, purpose, shared);
    }

    pub(super) fn start_look(
        &mut self,
        lane: Lane,
        dir: DirKey,
        address: crate::model::look::DirAddress,
        task: Task,
        purpose: Purpose,
        shared: &mut Shared,
    ) {
        self.busy(dir);
        let path = address.path.clone();
        let id = shared.look(Some(self.id), lane == Lane::Live, address, task);
        let began = shared.now;
        self.pending.insert(id, Pending { lane, dir, path, purpose, began });
    }

    /// Own attributes of directories in which nothing is outstanding (H21).
    fn pump_metas(&mut self, shared: &mut Shared) {
        let mut left = self.metas.len();
        while left > 0
            && !self.room.is_pausing()
            && self.looks_in(Lane::Backlog) < LOOKS_MAX
            && self.lane_room(Lane::Backlog, 0, shared)
        {
            left -= 1;
            let Some(dir) = self.metas.pop_front() else { return };
            if self.is_fenced(dir, shared) || self.holds_fence(dir) {
                self.metas.push_back(dir);
                continue;
            }
            let quiet = self.marks.is_quiet_in(dir);
            let is_left_out = self.is_left_out(dir, shared);
            let Some(state) = self.dirs.get_mut(&dir) else { continue };
            if is_left_out {
                state.meta_due = false;
            }
            if !state.meta_due || state.busy > 0 || state.clear == 0 || !quiet {
                continue;
            }
            let Some(address) = shared.map.address(dir) else {
                if shared.map.get(dir).is_some() {
                    self.metas.push_back(dir);
                } else {
                    self.forget_dir(dir);
                }
                continue;
            };
            state.meta_due = false;
            let stamp = self.stamp();
            let purpose = Purpose::OwnMeta { stamp };
            self.start_look(Lane::Backlog, dir, address, Task::OwnMeta, purpose, shared);
        }
    }

    /// What was gathered leaves once no more is coming.
    fn pump_gathered(&mut self, shared: &mut Shared) {
        let is_own = |pending: &Pending| matches!(pending.purpose, Purpose::OwnMeta { .. });
        if !self.gathered.is_empty() && !self.pending.values().any(is_own) {
            self.post_gathered(shared);
        }
    }

    /// Content that the sink needs, in batches of small files.
    fn pump_wants(&mut self, shared: &mut Shared) {
        let most = self.pace.content_bytes(BATCH_BYTES_MAX);
        let names_most = shared.ease.names(BATCH_OPS_MAX);
        let mut left = self.wants.len();
        while left > 0
            && self.may_begin_content()
            && self.looks_in(Lane::Backlog) < LOOKS_MAX / 4
            && self.lane_room(Lane::Backlog, most, shared)
        {
            left -= 1;
            let Some(mut want) = self.wants.pop_front() else { return };
            if !self.is_wanted(&want, shared) {
                self.wants_count = self.wants_count.saturating_sub(want.names.len());
                self.want_dropped(&want);
                continue;
            }
            if self.is_fenced(want.dir, shared) || shared.map.address(want.dir).is_none() {
                self.wants.push_back(want);
                continue;
            }
            let mut bytes = 0;
            let fit = want.names.iter().take(names_most).take_while(|wanted| {
                bytes += wanted.bytes;
                want.bring != Bring::Content || bytes <= most
            });
            let count = fit.count().max(1).min(want.names.len());
            if let Some(rest) = want.split_off(count) {
                self.wants.push_front(rest);
                left += 1;
            }
            self.wants_count = self.wants_count.saturating_sub(want.names.len());
            let dir = want.dir;
            let Some(address) = shared.map.address(dir) else { continue };
            let bring = want.bring.want();
            let names = want.names.iter().map(|wanted| (wanted.name.clone(), bring)).collect();
            let stamp = self.stamp();
            let purpose = Purpose::Wants { want, stamp, pin: self.stamps.pin() };
            self.start_look(Lane::Backlog, dir, address, Task::Names(names), purpose, shared);
        }
    }

    fn pump_listings(&mut self, shared: &mut Shared) {
        let waits =
            |listing: &Listing| !listing.reading && !listing.ended && listing.patrol.is_none();
        let open: Vec<u64> =
            self.listings.iter().filter(|(_, l)| waits(l)).map(|(id, _)| *id).collect();
        for id in open {
            if !self.may_list(shared) {
                return;
            }
            self.read_part(id, false, shared);
        }
        let is_open = |listing: &&Listing| !listing.ended;
        let mut open = self.listings.values().filter(is_open).count();
        while self.may_list(shared) && open < LISTINGS_OPEN_MAX {
            let Some(dir) = self.next_to_list(shared) else { return };
            let id = self.open_listing(dir, shared);
            self.read_part(id, true, shared);
            open += 1;
        }
    }

    /// Whether a part of a directory is being read, other than by a patrol.
    #[must_use]
    pub fn is_listing(&self) -> bool {
        self.listings.values().any(|listing| listing.reading && listing.patrol.is_none())
    }

    pub(super) fn may_list(&self, shared: &Shared) -> bool {
        let reading = self.listings.values().filter(|listing| listing.reading).count();
        self.may_begin_content()
            && self.wants_count < WANTS_MAX
            && !self.leads.is_full()
            && self.large.len() < WANTS_MAX
            && self.unanswered.parts + reading < LISTING_PARTS_MAX
            && self.unanswered.entries + reading * LISTING_ENTRIES_MAX < LISTED_MAX
            && self.lane_room(Lane::Backlog, 0, shared)
    }

    pub(super) fn read_part(&mut self, id: u64, first: bool, shared: &mut Shared) {
        let Some(listing) = self.listings.get_mut(&id) else { return };
        let dir = listing.dir;
        let Some(address) = shared.map.address(dir) else {
            return self.listing_adrift(id, shared);
        };
        listing.reading = true;
        let stamp = self.stamp();
        let purpose = Purpose::Part { listing: id, stamp };
        let task = Task::List { listing: id, first, recall: true, probe: self.is_sweeping() };
        self.start_look(Lane::Backlog, dir, address, task, purpose, shared);
    }

    /// The next directory that is to be listed: fresh ones first, then the walk, deepest first.
    fn next_to_list(&mut self, shared: &mut Shared) -> Option<DirKey> {
        let mut later = Vec::new();
        let mut found = None;
        while found.is_none() {
            let next = self.fresh.pop_front().or_else(|| self.walk.pop());
            let Some(dir) = next else {
                if later.is_empty() && self.recheck.is_some_and(|at| at <= shared.now) {
                    self.recheck = None;
                    self.push_unclear(shared);
                    if !self.walk.is_empty() {
                        continue;
                    }
                }
                break;
            };
            if shared.map.get(dir).is_none() {
                self.forget_dir(dir);
                continue;
            }
            let is_placed = shared.map.address(dir).is_some();
            if !is_placed || self.is_fenced(dir, shared) || self.is_comparing(dir) {
                later.push(dir);
                continue;
            }
            self.set_queued(dir, false);
            if self.is_left_out(dir, shared) {
                let doubt = self.doubt;
                self.set_clear(dir, doubt);
                self.walk_below(dir, shared);
                continue;
            }
            let state = self.dirs.entry(dir).or_default();
            if state.clear < self.doubt {
                found = Some(dir);
            }
        }
        self.walk.extend(later);
        found
    }

    fn push_unclear(&mut self, shared: &Shared) {
        let mut unclear: Vec<DirKey> = shared
            .map
            .keys()
            .filter(|key| {
                let read = |listing: &Listing| listing.dir == *key && listing.is_valid();
                self.dirs.get(key).is_none_or(|state| state.clear < self.doubt)
                    && !self.listings.values().any(read)
            })
            .collect();
        unclear.sort_unstable_by(|a, b| b.cmp(a));
        for key in unclear {
            self.push_walk(key);
        }
    }

    /// Whether every directory known is clear, beyond doubt, the sink knows its own tree, and
    /// nothing that a listing brought is left.
    pub(super) fn walked(&self) -> bool {
        self.is_listed() && !self.sweeps.is_owed()
    }

    /// The same, but for doubt that is still to be raised.
    pub(super) fn is_listed(&self) -> bool {
        self.is_read() && self.large.is_empty() && self.transfers.is_empty()
    }

    /// Whether every directory known is clear, and all that its listing brought is done, but for
    /// large files.
    pub(super) fn is_read(&self) -> bool {
        self.active
            && self.inspected
            && self.walk.is_empty()
            && self.fresh.is_empty()
            && self.recheck.is_none()
            && self.listings.values().all(|listing| listing.patrol.is_some())
            && self.wants.is_empty()
            && self.leads.is_quiet()
    }

    /// When something is to be done next, if nothing comes before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        if !self.active || self.outcome.is_some() {
            return None;
        }
        let (ripe, looks) = (self.marks.next_ripe(self.pumped), self.next_give_up());
        let (doubt, patrol) = (self.sweeps.due(), self.patrols.next_wake());
        let room = [self.room.next_wake(), self.pace.next_room(self.pumped)];
        let due = [ripe, self.recheck, looks, doubt, patrol].into_iter().chain(room);
        // What was due at the last pump and is left waits for something else than time.
        due.flatten().filter(|at| *at >= self.pumped).min()
    }
}
