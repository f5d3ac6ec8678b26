//! The backlog as a comparison: directories are listed in parts, the sink answers what it needs.

use std::collections::HashSet;
use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::ledger::{Announced, Other};
use crate::flow::session::losses::Census;
use crate::flow::session::parts::{Linked, SentEntry};
use crate::flow::session::patrol::Beat;
use crate::flow::session::twins::{self, Met};
use crate::flow::session::{Session, Shared};
use crate::model::abilities::Loss;
use crate::model::entry::{FileTime, Identity};
use crate::model::look::{Found, Seen, WatchState};
use crate::model::op::{ListingEnd, ListingPart};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{DirKey, Stamp};

/// How long a directory waits whose listing was in vain.
pub(super) const RELIST_DELAY: Duration = Duration::from_millis(20);

/// A directory that is being listed.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) dir: DirKey,
    /// The number of doubt when its first part was asked for; 0 if the directory came into doubt
    /// since, and for a patrol, which makes none clear.
    doubt: u64,
    /// Parts sent so far.
    parts: u32,
    /// Parts sent and not answered.
    pub(super) unanswered: u32,
    /// Whether a part is being read.
    pub(super) reading: bool,
    /// Whether the last part was read.
    pub(super) ended: bool,
    /// Names met that are no directories.
    pub(super) names: u32,
    /// Names of the directories met.
    dirs: HashSet<Name>,
    /// Whether its entries are counted for the first time in this epoch.
    pub(super) counted: bool,
    /// Only what is in doubt is sent: nothing may be concluded from what is missing.
    pub(super) is_partial: bool,
    /// Names came or went since it began: it may have met them or not.
    is_stirred: bool,
    /// Whether a part was read.
    is_begun: bool,
    /// The directory's ctime before that.
    changed: FileTime,
    /// The patrol that it belongs to, if any.
    pub(super) patrol: Option<Beat>,
    /// What it has met.
    pub(super) census: Census,
    /// The last name beyond it that the sink has told of, if it has more.
    pub(super) more_after: Option<Name>,
    /// The names that it has met, where the sink does not tell them apart by case.
    pub(super) met: Met,
    /// Names of the part at hand that are one with others at the sink.
    twins: Vec<Name>,
}

impl Listing {
    fn new(dir: DirKey, doubt: u64) -> Listing {
        Listing {
            dir,
            doubt,
            parts: 0,
            unanswered: 0,
            reading: false,
            ended: false,
            names: 0,
            dirs: HashSet::new(),
            counted: false,
            is_partial: false,
            is_stirred: false,
            is_begun: false,
            changed: FileTime::default(),
            patrol: None,
            census: Census::default(),
            more_after: None,
            met: Met::default(),
            twins: Vec::new(),
        }
    }

    /// Whether it is being read, and will make its directory clear.
    pub(super) fn is_valid(&self) -> bool {
        !self.ended && self.doubt > 0
    }

    /// Whether it was begun at this number of doubt, and its directory did not come into doubt
    /// since.
    pub(super) fn is_of(&self, doubt: u64) -> bool {
        self.doubt == doubt
    }
}

/// What was listed and not answered.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    pub(super) parts: usize,
    pub(super) entries: usize,
}

impl Unanswered {
    fn add(&mut self, entries: usize) {
        self.parts += 1;
        self.entries += entries;
    }

    pub(super) fn take(&mut self, entries: usize) {
        self.parts = self.parts.saturating_sub(1);
        self.entries = self.entries.saturating_sub(entries);
    }
}

/// A part under way, kept until it is answered: it gives the indexes of the answer their meaning.
#[derive(Debug)]
pub(super) struct SentListing {
    pub(super) dir: DirKey,
    /// As the sink knows it.
    pub(super) path: RelPath,
    pub(super) listing: u64,
    pub(super) stamp: Stamp,
    pub(super) entries: Vec<SentEntry>,
    /// Those that are to be linked to others once it is answered.
    pub(super) others: Vec<Other>,
    pub(super) counted: bool,
    /// As it was of the directory when this was sent.
    pub(super) displaced: u32,
}

impl SentListing {
    /// Whether this part has a name.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.entries.iter().any(|entry| entry.name == *name)
            || self.others.iter().any(|(other, _)| other == name)
    }
}

impl Session {
    /// Begins to list a directory.
    pub(super) fn open_listing(&mut self, dir: DirKey, shared: &mut Shared) -> u64 {
        let is_partial = self.is_spared(dir);
        let state = self.dirs.entry(dir).or_default();
        let counted = !std::mem::replace(&mut state.counted, true);
        self.counted_dirs += u64::from(counted);
        state.spared = is_partial;
        let listing = Listing { counted, is_partial, ..Listing::new(dir, self.doubt) };
        self.add_listing(listing, shared)
    }

    /// Begins to list a directory for a patrol.
    pub(super) fn open_patrol_listing(
        &mut self,
        dir: DirKey,
        beat: Beat,
        shared: &mut Shared,
    ) -> u64 {
        let listing = Listing { is_partial: true, patrol: Some(beat), ..Listing::new(dir, 0) };
        self.add_listing(listing, shared)
    }

    fn add_listing(&mut self, listing: Listing, shared: &mut Shared) -> u64 {
        let id = shared.next_open();
        self.busy(listing.dir);
        self.listings.insert(id, listing);
        id
    }

    /// What is being read of a directory may be older than the doubt about it.
    pub(super) fn void_listings(&mut self, dir: DirKey) {
        for listing in self.listings.values_mut().filter(|listing| listing.dir == dir) {
            listing.doubt = 0;
        }
    }

    /// A name came to a directory, or went, which may be under a listing.
    pub(super) fn stir(&mut self, dir: DirKey) {
        for listing in self.listings.values_mut().filter(|listing| listing.dir == dir) {
            listing.is_stirred = true;
        }
    }

    pub(super) fn part_seen(
        &mut self,
        id: u64,
        stamp: Stamp,
        path: &RelPath,
        seen: Seen,
        shared: &mut Shared,
    ) {
        let Some(listing) = self.listings.get_mut(&id) else { return };
        listing.reading = false;
        let dir = listing.dir;
        let is_first = !std::mem::replace(&mut listing.is_begun, true);
        if let Some(beat) = listing.patrol {
            self.patrols.part_read(beat, shared.now);
        }
        let blocked = shared.map.path(dir).as_ref() != Some(path) || self.is_fenced(dir, shared);
        match seen {
            Seen::Part { identity, changed, watch, entries, problems, end, missing }
                if !blocked =>
            {
                let strange = shared.is_anothers(dir, identity, &watch);
                if strange || shared.map.identify(dir, identity).is_err() {
                    self.ask_place(dir, shared);
                    return self.abandon(id, stamp, shared);
                }
                shared.map.set_watched(dir, !matches!(watch, WatchState::Unwatched(_)));
                let path = shared.map.path(dir).unwrap_or_default();
                for (name, text) in problems {
                    self.problem(path.join(&name), text, shared);
                    self.fail_name(dir, &name, shared.now);
                }
                if let Some(listing) = self.listings.get_mut(&id).filter(|_| is_first) {
                    listing.changed = changed;
                }
                let Some(missing) = self.recalled(id, is_first, missing) else {
                    return self.abandon(id, stamp, shared);
                };
                let entries = self.enter(id, dir, &path, entries, shared);
                let sorted = self.sort_out(id, dir, entries, shared);
                // A dry run makes nothing durable: what it removed is missing in each listing, and
                // was seen to by the first.
                if !(self.terms.dry && self.told_extra(dir).is_some()) {
                    self.look_for(dir, &missing, shared);
                }
                self.send_part(id, stamp, path, sorted, end, shared);
            }
            Seen::Unreadable(text) if !blocked => {
                let path = shared.map.path(dir).unwrap_or_default();
                self.problem(path, text, shared);
                let was = self.listings.remove(&id);
                if was.is_some_and(|listing| listing.patrol.is_none()) {
                    let doubt = self.doubt;
                    self.set_clear(dir, doubt);
                    self.walk_below(dir, shared);
                }
                self.idle(dir);
            }
            seen => {
                if !blocked {
                    self.ask_place(dir, shared);
                } else if matches!(seen, Seen::Part { .. }) && shared.may_be_mistaken(dir, path) {
                    shared.read_anew(dir);
                }
                self.abandon(id, stamp, shared);
            }
        }
    }

    /// Names that the ledger misses in a part; nothing if it could not be asked in the midst of a
    /// listing that sends only what is in doubt.
    fn recalled(
        &mut self,
        id: u64,
        is_first: bool,
        missing: Option<Vec<Name>>,
    ) -> Option<Vec<Name>> {
        let listing = self.listings.get_mut(&id)?;
        if missing.is_none() && listing.is_partial {
            if !is_first {
                return None;
            }
            listing.is_partial = false;
            self.dirs.entry(listing.dir).or_default().spared = false;
        }
        Some(missing.unwrap_or_default())
    }

    /// Gives a listing up: what was sent of it proves nothing, and the directory is listed again.
    fn abandon(&mut self, id: u64, stamp: Stamp, shared: &mut Shared) {
        let Some(listing) = self.listings.get_mut(&id) else { return };
        let (dir, patrol) = (listing.dir, listing.patrol);
        listing.ended = true;
        shared.close_listing(id, dir);
        if listing.parts > 0 {
            let path = shared.map.path(dir);
            if let Some(path) = path.filter(|_| !self.is_fenced(dir, shared)) {
                let nothing = (Vec::new(), Vec::new());
                self.send_part(id, stamp, path, nothing, ListingEnd::Abandoned, shared);
            }
        }
        self.drop_ended(id);
        self.list_again(dir, patrol, shared);
    }

    /// A listing of a directory was in vain. A patrol comes again anyway.
    fn list_again(&mut self, dir: DirKey, patrol: Option<Beat>, shared: &Shared) {
        if shared.map.get(dir).is_some() && patrol.is_none() {
            self.set_clear(dir, 0);
            self.recheck_at(shared.now + RELIST_DELAY);
        }
    }

    /// Directories in a part enter the map; the rest is filtered of what can't be carried.
    fn enter(
        &mut self,
        id: u64,
        dir: DirKey,
        path: &RelPath,
        entries: Vec<Found>,
        shared: &mut Shared,
    ) -> Vec<Found> {
        let mut kept = Vec::with_capacity(entries.len());
        let is_counted = self.listings.get(&id).is_some_and(|listing| listing.patrol.is_none());
        for found in entries {
            let (listed, identity) = (&found.listed, found.facts.identity);
            let at = path.join(&listed.name);
            if let Some(other) = self.meet_twin(id, dir, &listed.name) {
                self.leave_twin(id, listed.name.clone(), listed.entry.is_dir());
                self.problem(at, twins::words(&other), shared);
                continue;
            }
            if is_counted {
                self.count_losses(id, listed, found.facts.has_others);
            }
            if let Some(text) = self.unfit(dir, &listed.name, &listed.entry, &at, shared) {
                self.problem(at, text, shared);
                continue;
            }
            if listed.entry.is_dir() {
                if let Some(listing) = self.listings.get_mut(&id) {
                    listing.dirs.insert(listed.name.clone());
                }
                self.meet_dir(dir, &listed.name, identity, shared);
            }
            kept.push(found);
        }
        kept
    }

    /// A name is left alone that is one with another at the sink: it is neither missing nor an
    /// extra.
    fn leave_twin(&mut self, id: u64, name: Name, is_dir: bool) {
        let Some(listing) = self.listings.get_mut(&id) else { return };
        listing.census.lose(Loss::Case);
        if is_dir {
            listing.dirs.insert(name.clone());
        }
        listing.twins.push(name);
    }

    /// The names of the part at hand that are not compared; a partial listing tells of none.
    fn uncompared(&mut self, id: u64, others: &[Other]) -> Vec<Name> {
        let Some(listing) = self.listings.get_mut(&id) else { return Vec::new() };
        let twins = std::mem::take(&mut listing.twins);
        let all = others.iter().map(|(name, _)| name.clone()).chain(twins);
        if listing.is_partial { Vec::new() } else { all.collect() }
    }

    fn meet_dir(&mut self, dir: DirKey, name: &Name, identity: Identity, shared: &mut Shared) {
        let there = shared.map.child(dir, name);
        let known = shared.map.by_identity(identity);
        match (there, known) {
            (None, None) => {
                if let Some(key) = shared.insert_dir(dir, name, false) {
                    let _ = shared.map.identify(key, identity);
                }
            }
            (Some(there), Some(known)) if there == known => shared.arm_again(there),
            (Some(there), None) if shared.map.identify(there, identity).is_ok() => {
                shared.arm_again(there);
            }
            _ => self.mark(dir, name, Hint::META, shared.now, Duration::ZERO),
        }
    }

    fn send_part(
        &mut self,
        id: u64,
        stamp: Stamp,
        path: RelPath,
        (entries, others): (Vec<Announced>, Vec<Other>),
        end: ListingEnd,
        shared: &mut Shared,
    ) {
        let Some(listing) = self.listings.get_mut(&id) else { return };
        let (dir, counted, is_partial) = (listing.dir, listing.counted, listing.is_partial);
        let part = listing.parts;
        listing.ended |= end != ListingEnd::More;
        listing.census.files += others.len() as u64;
        self.tally.files_known += if counted { others.len() as u64 } else { 0 };
        if is_partial && entries.is_empty() {
            self.join_all(dir, others, (counted, self.displaced(dir)), shared);
            if end == ListingEnd::Complete {
                self.listed(id, dir, shared);
            }
            return self.drop_ended(id);
        }
        let Some(listing) = self.listings.get_mut(&id) else { return };
        listing.parts += 1;
        listing.unanswered += 1;
        self.unanswered.add(entries.len());
        let mut linked = Linked::default();
        let (sent, announced) = self.tell_entries(id, entries, &mut linked, shared);
        if end == ListingEnd::Complete {
            self.listed(id, dir, shared);
        }
        self.stamps.hold(stamp);
        let displaced = self.displaced(dir);
        let named = self.uncompared(id, &others);
        let sent = SentListing {
            dir,
            path: path.clone(),
            listing: id,
            stamp,
            entries: sent,
            others,
            counted,
            displaced,
        };
        let end = if is_partial { ListingEnd::Abandoned } else { end };
        let part = ListingPart {
            listing: id,
            dir: path,
            stamp,
            part,
            entries: announced,
            others: named,
            linked: linked.paths,
            end,
            after: self.told_extra(dir),
        };
        self.post_listing(sent, part, shared);
    }

    /// A directory was read to its end: it is clear, and those in it come next.
    fn listed(&mut self, id: u64, dir: DirKey, shared: &mut Shared) {
        let Some(listing) = self.listings.get_mut(&id) else { return };
        let met = std::mem::take(&mut listing.dirs);
        let (doubt, names, patrol) = (listing.doubt, listing.names, listing.patrol);
        let (is_stirred, changed) = (listing.is_stirred, listing.changed);
        self.count_listed(dir, names, is_stirred, patrol);
        self.miss_dirs(dir, &met, shared);
        if patrol.is_some() {
            return;
        }
        self.take_census(id, dir, doubt);
        self.set_clear(dir, doubt);
        if doubt == 0 {
            self.recheck_at(shared.now + RELIST_DELAY);
        } else if shared.map.is_watched(dir) {
            // All that arming it would bring.
            shared.map.set_listed(dir);
        }
        self.walk_below(dir, shared);
        let is_sweeping = self.is_sweeping();
        let state = self.dirs.entry(dir).or_default();
        // What the listing above told of its attributes holds for this one reading, if nothing
        // changed before the directory was watched.
        state.meta_due |= is_sweeping || state.dressed.take() != Some(changed);
    }

    /// Takes over the count of a listing, and notes whether it may be off. What is known is as good
    /// as what a patrol counted while names came and went.
    fn count_listed(&mut self, dir: DirKey, names: u32, is_stirred: bool, patrol: Option<Beat>) {
        if !is_stirred {
            self.stirred.remove(&dir);
            self.set_names(dir, names);
        } else if patrol.is_none() {
            self.stirred.insert(dir);
            self.set_names(dir, names);
        }
    }

    /// Directories known in one that its listing did not meet: each is looked at by itself.
    fn miss_dirs(&mut self, dir: DirKey, met: &HashSet<Name>, shared: &Shared) {
        let unmet: Vec<Name> = shared
            .map
            .children(dir)
            .map(|(name, _)| name)
            .filter(|n| !met.contains(*n))
            .cloned()
            .collect();
        for name in unmet.iter().rev() {
            self.mark(dir, name, Hint { unheard: true, ..Hint::META }, shared.now, Duration::ZERO);
        }
    }

    /// The directories known in one come next: those too that it did not tell of itself, for it
    /// could not be listed.
    pub(super) fn walk_below(&mut self, dir: DirKey, shared: &Shared) {
        let below: Vec<DirKey> = shared.map.children(dir).map(|(_, key)| key).collect();
        for key in below.into_iter().rev() {
            if self.dirs.get(&key).is_none_or(|state| state.clear < self.doubt) {
                self.push_walk(key);
            }
        }
    }

    /// The directory left the map, or is at no place: its listing ends here.
    pub(super) fn listing_adrift(&mut self, id: u64, shared: &mut Shared) {
        let Some(listing) = self.listings.get_mut(&id) else { return };
        listing.ended = true;
        let (dir, patrol) = (listing.dir, listing.patrol);
        shared.close_listing(id, dir);
        self.drop_ended(id);
        self.list_again(dir, patrol, shared);
    }

    pub(super) fn drop_ended(&mut self, id: u64) {
        let over =
            self.listings.get(&id).is_some_and(|l| l.ended && l.unanswered == 0 && !l.reading);
        if over && let Some(listing) = self.listings.remove(&id) {
            self.idle(listing.dir);
        }
    }
}
