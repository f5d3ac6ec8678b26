//! What is kept of listings whose parts have not all come: their names, as 8-byte hashes.
//!
//! Parts may be processed in any order by several appliers. The source opens a bounded number of
//! listings; should more pile up here, the one longest untouched is forgotten: what it would have
//! told of names beyond it waits for the next listing of that directory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

use crate::model::limits::LISTINGS_KEPT_MAX;
use crate::model::op::{ListingEnd, ListingPart};
use crate::model::path::Name;
use crate::model::stamp::Stamp;

/// The listings whose parts have not all come.
#[derive(Debug, Default)]
pub(super) struct OpenListings {
    open: BTreeMap<u64, Listing>,
    hasher: RandomState,
    touched: u64,
}

/// What was gathered of one listing.
#[derive(Debug)]
pub(super) struct Listing {
    /// The oldest stamp of its parts.
    pub(super) first_stamp: Stamp,
    /// Whether the directory held nothing when its first part came.
    pub(super) began_empty: bool,
    names: HashSet<u64>,
    parts: BTreeSet<u32>,
    /// The number of parts, once the last one has come.
    total: Option<u32>,
    touched: u64,
    hasher: RandomState,
}

impl OpenListings {
    /// Notes one part; gives the whole listing back when this part was the one still missing.
    pub(super) fn note(&mut self, part: &ListingPart, empty: bool) -> Noted {
        if part.end == ListingEnd::Abandoned {
            self.open.remove(&part.listing);
            return Noted { began_empty: empty, whole: None };
        }
        self.touched += 1;
        let listing = self.open.entry(part.listing).or_insert_with(|| Listing {
            first_stamp: part.stamp,
            began_empty: empty,
            names: HashSet::new(),
            parts: BTreeSet::new(),
            total: None,
            touched: 0,
            hasher: self.hasher.clone(),
        });
        listing.touched = self.touched;
        listing.first_stamp = listing.first_stamp.min(part.stamp);
        listing.parts.insert(part.part);
        if part.end == ListingEnd::Complete {
            listing.total = Some(part.part.saturating_add(1));
        }
        let named = part.entries.iter().map(|listed| &listed.name).chain(&part.others);
        listing.names.extend(named.map(|name| self.hasher.hash_one(name.as_bytes())));
        let began_empty = listing.began_empty;
        let whole = listing.is_whole().then(|| self.open.remove(&part.listing)).flatten();
        self.forget_oldest();
        Noted { began_empty, whole }
    }

    fn forget_oldest(&mut self) {
        while self.open.len() > LISTINGS_KEPT_MAX {
            let oldest = self.open.iter().min_by_key(|(_, kept)| kept.touched).map(|(&id, _)| id);
            if let Some(id) = oldest {
                self.open.remove(&id);
            }
        }
    }
}

/// What noting a part told.
#[derive(Debug)]
pub(super) struct Noted {
    /// Whether the directory held nothing when the listing's first part came.
    pub(super) began_empty: bool,
    /// The listing, if it is whole now.
    pub(super) whole: Option<Listing>,
}

impl Listing {
    /// Whether a part had this name.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.names.contains(&self.hasher.hash_one(name.as_bytes()))
    }

    fn is_whole(&self) -> bool {
        self.total.is_some_and(|total| {
            self.parts.len() as u64 >= u64::from(total)
                && self.parts.last().is_some_and(|last| last.saturating_add(1) == total)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::OpenListings;
    use crate::model::limits::LISTINGS_KEPT_MAX;
    use crate::model::op::{ListingEnd, ListingPart};
    use crate::model::path::RelPath;
    use crate::model::stamp::Stamp;

    fn part(listing: u64, part: u32, end: ListingEnd) -> ListingPart {
        let stamp = Stamp(10 + u64::from(part));
        ListingPart {
            listing,
            dir: RelPath::root(),
            stamp,
            part,
            entries: vec![],
            others: vec![],
            linked: vec![],
            end,
            after: None,
        }
    }

    #[test]
    fn a_listing_is_whole_in_any_order() {
        let mut open = OpenListings::default();
        assert!(open.note(&part(1, 2, ListingEnd::Complete), false).whole.is_none());
        assert!(open.note(&part(1, 0, ListingEnd::More), false).whole.is_none());
        assert!(open.note(&part(1, 0, ListingEnd::More), false).whole.is_none());
        let whole = open.note(&part(1, 1, ListingEnd::More), false).whole.unwrap();
        assert_eq!(whole.first_stamp, Stamp(10));
        assert!(open.open.is_empty());
    }

    #[test]
    fn abandoned_and_surplus_listings_are_forgotten() {
        let mut open = OpenListings::default();
        open.note(&part(1, 0, ListingEnd::More), false);
        open.note(&part(1, 1, ListingEnd::Abandoned), false);
        assert!(open.open.is_empty());
        for listing in 0..2 * LISTINGS_KEPT_MAX as u64 {
            open.note(&part(listing, 0, ListingEnd::More), false);
        }
        assert_eq!(open.open.len(), LISTINGS_KEPT_MAX);
    }
}
