//! Names that only the sink has, as its answers to listings tell of them: a bounded number at a
//! time, in their order.
//!
//! The next ones are asked for by another listing of the directory, once those told are settled.
//! So every name is told of once at each number of doubt, however many there are.

use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::listings::SentListing;
use crate::flow::session::{Session, Shared};
use crate::model::limits::{EXTRAS_MAX, MARKS_PER_DIR_MAX};
use crate::model::message::ListingAnswer;
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// How far the sink has told of the names in one directory that only it has.
#[derive(Debug)]
pub(super) struct Paging {
    /// The last one.
    told: Name,
    /// A listing that asks for more is to come, or under way.
    is_asked: bool,
}

impl Session {
    /// The last name that the sink has told of beyond a listing of a directory; nothing if it is to
    /// tell from the first one on.
    pub(super) fn told_extra(&self, dir: DirKey) -> Option<Name> {
        self.extras.get(&dir).map(|paging| paging.told.clone())
    }

    /// Takes the names that the sink has beyond a listing: each is looked at by itself.
    pub(super) fn take_extras(
        &mut self,
        sent: &SentListing,
        answer: ListingAnswer,
        shared: &mut Shared,
    ) {
        let ListingAnswer { extras, more_extras, .. } = answer;
        for name in &extras {
            if !self.is_protected(sent.dir, name, shared) {
                self.mark(sent.dir, name, Hint::EXTRA, shared.now, Duration::ZERO);
            }
        }
        if let Some(listing) = self.listings.get_mut(&sent.listing)
            && more_extras
        {
            listing.more_after = extras.into_iter().next_back();
        }
    }

    /// A part was answered: if that was the last one, it is known whether there are more names to
    /// be told of. What is older than the present doubt says nothing of how far this has come.
    pub(super) fn turn_page(&mut self, id: u64) {
        let Some(listing) = self.listings.get_mut(&id) else { return };
        let is_over = listing.ended && listing.unanswered == 0 && listing.is_of(self.doubt);
        match listing.more_after.take().filter(|_| is_over) {
            Some(told) => {
                self.extras.insert(listing.dir, Paging { told, is_asked: false });
            }
            None if is_over => {
                self.extras.remove(&listing.dir);
            }
            None => {}
        }
    }

    /// Asks for more names where those told are settled.
    pub(super) fn pump_extras(&mut self) {
        if !self.asks_for_extras() {
            return;
        }
        let waiting = self.extras.iter().filter(|(_, paging)| !paging.is_asked);
        let quiet = waiting.map(|(dir, _)| *dir).filter(|dir| self.marks.is_quiet_in(*dir));
        for dir in quiet.collect::<Vec<_>>() {
            if self.marks.count_in(dir) + EXTRAS_MAX > MARKS_PER_DIR_MAX {
                // So many have failed that there is no use in asking for more: they are problems.
                self.extras.remove(&dir);
                continue;
            }
            if let Some(paging) = self.extras.get_mut(&dir) {
                paging.is_asked = true;
            }
            self.unclear(dir);
        }
    }

    /// Whether names that only the sink has are still to be asked for.
    pub(super) fn asks_for_extras(&self) -> bool {
        self.extras.values().any(|paging| !paging.is_asked)
    }
}
