//! What the sink says of a part of a listing: what it has, needs, or has newer.

use std::collections::HashSet;
use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::ledger::Other;
use crate::flow::session::listings::{RELIST_DELAY, SentListing};
use crate::flow::session::parts::{Joins, SentEntry};
use crate::flow::session::wants::{Bring, Wanted};
use crate::flow::session::{Session, Shared};
use crate::model::ledger::{Deed, Entered, Facts, Kind};
use crate::model::message::ListingAnswer;
use crate::model::op::Answer;
use crate::model::path::Name;
use crate::model::session::Trust;
use crate::model::stamp::DirKey;

impl Session {
    /// The sink has answered a part.
    pub(super) fn part_answered(
        &mut self,
        mut sent: SentListing,
        answer: Option<ListingAnswer>,
        shared: &mut Shared,
    ) {
        let others = std::mem::take(&mut sent.others);
        let sent = &sent;
        self.stamps.release(sent.stamp);
        self.unanswered.take(sent.entries.len());
        if let Some(listing) = self.listings.get_mut(&sent.listing) {
            listing.unanswered = listing.unanswered.saturating_sub(1);
        }
        if answer.as_ref().is_none_or(|answer| answer.failed.is_some()) {
            // The next listing of this directory does not count: nobody else would end these.
            (0..sent.entries.len()).for_each(|at| self.done_elsewhere(sent, at));
            self.tally.files_done += if sent.counted { others.len() as u64 } else { 0 };
        } else {
            self.join_all(sent.dir, others, (sent.counted, sent.displaced), shared);
        }
        if let Some(answer) = answer {
            self.confirm(sent.dir);
            match &answer.failed {
                None => {
                    self.take_picks(sent, &answer, shared);
                    self.foresee_again(shared);
                }
                Some(failed) => self.listing_failed(sent, failed, shared),
            }
            self.take_extras(sent, answer, shared);
        }
        self.turn_page(sent.listing);
        self.drop_ended(sent.listing);
    }

    fn take_picks(&mut self, sent: &SentListing, answer: &ListingAnswer, shared: &mut Shared) {
        let total = sent.entries.len();
        let needed = answer.needed.indexes(total);
        let retouch = answer.retouch.indexes(total);
        let superseded = answer.superseded.indexes(total);
        let apart: HashSet<usize> = answer.apart.indexes(total).into_iter().collect();
        let mut open = vec![false; total];
        for &at in needed.iter().chain(&retouch).chain(&superseded) {
            open[at] = true;
        }
        self.enter_equal(sent, &retouch, &open);
        if sent.counted {
            for (entry, _) in
                sent.entries.iter().zip(&open).filter(|(e, open)| e.is_file && !**open)
            {
                self.tally.files_done += 1;
                self.tally.bytes_done += entry.bytes;
            }
        }
        // What is superseded met something newer of ours, which is no difference of the trees. What
        // failed before is a problem, and would be found by every sweep.
        let is_new = |at: &&usize| {
            let name = &sent.entries[**at].name;
            let mark = self.marks.get(sent.dir, name);
            mark.is_none_or(|mark| mark.failures == 0)
                && (self.problems.count() == 0 || !self.problems.has(&sent.path.join(name)))
        };
        let found = needed.iter().chain(&retouch).filter(is_new).count();
        self.count_differences(found as u64);
        let made = answer.made.indexes(total);
        if !made.is_empty() {
            // Making them has moved the time of the directory at the sink (H21).
            self.owe_meta(sent.dir);
        }
        for at in made {
            self.made_anew(sent.dir, &sent.entries[at].name, &sent.path, shared);
        }
        for at in superseded {
            let name = sent.entries[at].name.clone();
            self.done_elsewhere(sent, at);
            if sent.entries[at].facts.is_none() {
                // What the ledger doubted is looked at anyway, and may have been newer.
                continue;
            }
            self.mark(sent.dir, &name, Hint::CONTENT, shared.now, Duration::ZERO);
        }
        let is_needed: HashSet<usize> = needed.iter().copied().collect();
        let joining = (0..total).filter(|at| !is_needed.contains(at)).filter_map(|at| {
            let entry = &sent.entries[at];
            let object = match entry.joins {
                Joins::No => None,
                Joins::IfApart(object) => apart.contains(&at).then_some(object),
                Joins::Yes(object) => Some(object),
            };
            Some((entry.name.clone(), object?))
        });
        let joining = joining.collect();
        self.join_all(sent.dir, joining, (false, sent.displaced), shared);
        let absent: HashSet<usize> = answer.absent.indexes(total).into_iter().collect();
        self.want(sent, &needed, &absent, Bring::Content, shared);
        self.want(sent, &retouch, &HashSet::new(), Bring::Attributes, shared);
    }

    /// What the sink has, as far as a part was compared, goes into the ledger. What nobody has read
    /// may be another content of the same size and time: it is read, if a person wants that.
    fn enter_equal(&mut self, sent: &SentListing, retouch: &[usize], open: &[bool]) {
        let names = |entries: &mut dyn Iterator<Item = &SentEntry>| -> Vec<(Name, Facts)> {
            entries.filter_map(|entry| Some((entry.name.clone(), entry.facts?))).collect()
        };
        let is_unread = |entry: &SentEntry| {
            self.terms.trust == Trust::Content
                && entry.is_unknown
                && entry.facts.is_some_and(|facts| facts.kind == Kind::File)
        };
        let equal = sent.entries.iter().zip(open).filter(|(_, open)| !**open);
        let (unread, equal): (Vec<&SentEntry>, Vec<&SentEntry>) =
            equal.map(|(entry, _)| entry).partition(|entry| is_unread(entry));
        let wanted = |entry: &&SentEntry| Wanted {
            name: entry.name.clone(),
            bytes: entry.bytes,
            lead: entry.lead.clone(),
            takes: None,
        };
        let checks: Vec<Wanted> = unread.iter().map(wanted).collect();
        let (dir, stamp) = (sent.path.clone(), sent.stamp);
        let listed = names(&mut equal.into_iter().filter(|entry| !entry.is_sure));
        if !listed.is_empty() {
            let deed = Deed::Listed { dir: dir.clone(), names: listed };
            self.deeds.push(Entered { stamp, deed });
        }
        let retouched = retouch.iter().map(|at| &sent.entries[*at]);
        let alike = names(&mut retouched.chain(unread));
        if !alike.is_empty() {
            self.deeds.push(Entered { stamp, deed: Deed::Alike { dir, names: alike } });
        }
        if sent.displaced == self.displaced(sent.dir) {
            let hashes = vec![None; checks.len()];
            self.check(sent.dir, checks, hashes);
        }
    }

    /// Names are to be linked to others of the same objects.
    pub(super) fn join_all(
        &mut self,
        dir: DirKey,
        others: Vec<Other>,
        (counted, displaced): (bool, u32),
        shared: &Shared,
    ) {
        for (name, identity) in others {
            if displaced == self.displaced(dir) && self.marks.get(dir, &name).is_none() {
                self.join(dir, name, &identity, (counted, displaced));
                continue;
            }
            self.tally.files_done += u64::from(counted);
            if displaced == self.displaced(dir) {
                self.mark(dir, &name, Hint::KIN, shared.now, Duration::ZERO);
            }
        }
    }

    /// An entry that counted as known is now somebody else's: it counts as done here.
    pub(super) fn done_elsewhere(&mut self, sent: &SentListing, at: usize) {
        if sent.counted && sent.entries[at].is_file {
            self.tally.files_done += 1;
            self.tally.bytes_done += sent.entries[at].bytes;
        }
    }

    fn listing_failed(&mut self, sent: &SentListing, failed: &Answer, shared: &mut Shared) {
        self.set_clear(sent.dir, 0);
        let waits = match failed {
            Answer::Failed(failure) => {
                let path = shared.map.path(sent.dir).unwrap_or_default();
                self.failed_at(path, failure, shared);
                let place = shared.map.get(sent.dir).and_then(|dir| dir.place().cloned());
                place.is_some_and(|(parent, name)| {
                    self.fail_name(parent, &name, shared.now);
                    true
                })
            }
            Answer::Applied => false,
            Answer::Superseded | Answer::Needed(_) => self.ask_parent(sent.dir, shared),
        };
        // A directory that fails is listed once its name goes well again.
        if !waits {
            self.recheck_at(shared.now + RELIST_DELAY);
        }
    }
}
