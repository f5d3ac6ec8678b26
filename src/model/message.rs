//! What travels on the two one-way streams, but for its frame: bodies of data messages, reports.

use serde::{Deserialize, Serialize};

use crate::model::delta::{Basis, Piece};
use crate::model::op::{Answer, Failure, ListingPart, Need, Operation};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{Epoch, Lane, Sequence};

/// What a data message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Operations; one content frame follows, the contents of its `Put`s one after the other.
    Operations(Vec<Operation>),
    /// Part of a listing; no frame follows.
    Listing(ListingPart),
    /// Bytes for the staged object of a transfer; one content frame follows.
    Chunk {
        /// Names the staged object.
        transfer: u64,
        /// Where the bytes go; what lies between them and those before is zero.
        offset: u64,
        /// Whether zeros among them are to be holes.
        holes: bool,
    },
    /// Asks for a signature of the file at a path. No frame follows.
    Sign {
        /// Where it stands.
        path: RelPath,
    },
    /// What stands at a path is what the pieces of a transfer come from. No frame follows.
    Basis {
        /// Names the staged object, which is made if need be.
        transfer: u64,
        /// Where it stands.
        path: RelPath,
        /// What it must be.
        of: Basis,
    },
    /// Ranges for the staged object of a transfer: from its basis, or from the content frame that
    /// follows, in which the bytes of those lie one after the other.
    Delta {
        /// Names the staged object.
        transfer: u64,
        /// Whether zeros among them are to be holes, and what lies between them, which is zero.
        holes: bool,
        /// The ranges, in rising order.
        pieces: Vec<Piece>,
    },
    /// The transfer is given up; its staged object may go. No frame follows.
    Drop {
        /// Names the staged object.
        transfer: u64,
    },
}

impl Body {
    /// What it is, in one word, for logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Operations(_) => "operations",
            Body::Listing(_) => "listing",
            Body::Chunk { .. } => "chunk",
            Body::Sign { .. } => "sign",
            Body::Basis { .. } => "basis",
            Body::Delta { .. } => "delta",
            Body::Drop { .. } => "drop",
        }
    }

    /// How many operations or entries it holds.
    #[must_use]
    pub fn items(&self) -> usize {
        match self {
            Body::Operations(operations) => operations.len(),
            Body::Listing(part) => part.entries.len(),
            Body::Delta { pieces, .. } => pieces.len(),
            Body::Chunk { .. } | Body::Sign { .. } | Body::Basis { .. } | Body::Drop { .. } => 1,
        }
    }

    /// How many bytes its content frame has; nothing if it does not tell.
    #[must_use]
    pub fn frame_bytes(&self) -> Option<u64> {
        let sum = |bytes: &mut dyn Iterator<Item = u64>| bytes.fold(0, u64::saturating_add);
        match self {
            Body::Operations(operations) => {
                Some(sum(&mut operations.iter().map(|one| one.op.frame_bytes())))
            }
            Body::Delta { pieces, .. } => {
                let new = pieces.iter().filter(|piece| piece.from.is_none());
                Some(sum(&mut new.map(|piece| piece.bytes)))
            }
            Body::Chunk { .. } => None,
            Body::Listing(_) | Body::Sign { .. } | Body::Basis { .. } | Body::Drop { .. } => {
                Some(0)
            }
        }
    }
}

/// One report of the sink: answers in bulk, and what has become durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The epoch that the report belongs to.
    pub epoch: Epoch,
    /// Its number, from 1, without holes.
    pub number: u64,
    /// One for each message answered.
    pub answers: Vec<MessageAnswer>,
    /// All that was answered `applied` in reports up to this number is on disk; 0 for none.
    pub durable_through: u64,
    /// The number of the last durable barrier, as it stands in the sink's marker.
    pub barrier: u64,
    /// Directories that another's hand has changed at the sink, or that hold what may not have
    /// reached its disk: each is to be listed again. At most `DISTURBED_PER_REPORT_MAX`.
    pub disturbed: Vec<RelPath>,
    /// The sink has looked over its whole tree since it started: all that it found stands in this
    /// report or in an earlier one of this epoch.
    pub inspected: bool,
}

/// The answer to one message. What is not named was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageAnswer {
    /// The lane of the message.
    pub lane: Lane,
    /// Its number.
    pub sequence: Sequence,
    /// Operations (by index) that were not applied.
    pub exceptions: Vec<(u32, Answer)>,
    /// Directories that were made on the way, or stood there otherwise than one would think.
    pub made: Vec<RelPath>,
    /// Operations (by index) that were applied without some attributes, and which.
    pub lacking: Vec<(u32, String)>,
    /// The answer to a part of a listing.
    pub listing: Option<ListingAnswer>,
    /// The signature that was asked for, as bytes; empty if there is none.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// What the sink says of one part of a listing. Entries not named are there, equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingAnswer {
    /// Names the listing.
    pub listing: u64,
    /// The part that is answered.
    pub part: u32,
    /// The entries whose content is needed.
    pub needed: Picked,
    /// Those of them at whose name nothing stands.
    pub absent: Picked,
    /// The entries whose content is right and whose attributes are not.
    pub retouch: Picked,
    /// The entries for which something newer was applied.
    pub superseded: Picked,
    /// The directories that had to be made.
    pub made: Picked,
    /// The entries that are not one with the name that they were told to be linked to.
    pub apart: Picked,
    /// The directory itself could not be listed or made.
    pub failed: Option<Answer>,
    /// With the last part: names that the sink has and no part had; at most `EXTRAS_MAX`.
    pub extras: Vec<Name>,
    /// Whether there are more of them: the directory is then to be listed again.
    pub more_extras: bool,
}

/// Some of the entries of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Picked {
    /// None of them.
    None,
    /// All of them.
    All,
    /// These, as (first, count) ranges in rising order.
    Ranges(Vec<(u32, u32)>),
}

impl MessageAnswer {
    /// Bytes that this takes in a report, about.
    #[must_use]
    pub fn about_bytes(&self) -> usize {
        let names =
            |names: &[Name]| names.iter().map(|name| name.as_bytes().len() + 2).sum::<usize>();
        let answer = |answer: &Answer| match answer {
            Answer::Needed(Need::Spared { path }) => path.as_bytes().len(),
            Answer::Needed(Need::Remains { dir, names: all }) => dir.as_bytes().len() + names(all),
            Answer::Failed(Failure::Other(text) | Failure::Forbidden(text)) => text.len(),
            _ => 0,
        };
        let picked = |picked: &Picked| match picked {
            Picked::Ranges(ranges) => ranges.len() * 8,
            Picked::None | Picked::All => 0,
        };
        let exceptions: usize = self.exceptions.iter().map(|(_, one)| answer(one) + 24).sum();
        let made: usize = self.made.iter().map(|path| path.as_bytes().len() + 5).sum();
        let lacking: usize = self.lacking.iter().map(|(_, text)| text.len() + 8).sum();
        let listing = self.listing.as_ref().map_or(0, |l| {
            let failed = l.failed.as_ref().map_or(0, answer);
            let picks = [&l.needed, &l.absent, &l.retouch, &l.superseded, &l.made, &l.apart];
            let picks = picks.map(picked);
            let picks: usize = picks.iter().sum();
            names(&l.extras) + failed + picks + 64
        });
        exceptions + made + lacking + listing + self.signature.len() + 32
    }
}

impl Picked {
    /// Gathers rising indexes out of `total` entries.
    #[must_use]
    pub fn from_indexes(indexes: &[u32], total: usize) -> Picked {
        if indexes.is_empty() {
            return Picked::None;
        }
        if indexes.len() == total {
            return Picked::All;
        }
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for &index in indexes {
            match ranges.last_mut() {
                Some((first, count)) if *first + *count == index => *count += 1,
                _ => ranges.push((index, 1)),
            }
        }
        Picked::Ranges(ranges)
    }

    /// The indexes below `total` that are meant, rising, each once; whatever lies beyond is left
    /// out, and so is what a peer says twice.
    #[must_use]
    pub fn indexes(&self, total: usize) -> Vec<usize> {
        match self {
            Picked::None => Vec::new(),
            Picked::All => (0..total).collect(),
            Picked::Ranges(ranges) => {
                let mut is_meant = vec![false; total];
                for &(first, count) in ranges {
                    let first = (first as usize).min(total);
                    let end = first.saturating_add(count as usize).min(total);
                    is_meant[first..end].fill(true);
                }
                (0..total).filter(|&index| is_meant[index]).collect()
            }
        }
    }
}

impl ListingAnswer {
    /// Everything in this part is needed, for nothing of it is there.
    #[must_use]
    pub fn all_absent(listing: u64, part: u32) -> ListingAnswer {
        let (needed, absent) = (Picked::All, Picked::All);
        ListingAnswer { needed, absent, ..ListingAnswer::equal(listing, part) }
    }

    /// Everything in this part is there already.
    #[must_use]
    pub fn equal(listing: u64, part: u32) -> ListingAnswer {
        ListingAnswer {
            listing,
            part,
            needed: Picked::None,
            absent: Picked::None,
            retouch: Picked::None,
            apart: Picked::None,
            superseded: Picked::None,
            made: Picked::None,
            failed: None,
            extras: Vec::new(),
            more_extras: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Picked;

    #[test]
    fn picked_keeps_the_indexes() {
        for indexes in [vec![], vec![0, 1, 2, 3], vec![0, 2, 3], vec![3]] {
            let picked = Picked::from_indexes(&indexes, 4);
            let back: Vec<u32> = picked.indexes(4).into_iter().map(|i| i as u32).collect();
            assert_eq!(back, indexes);
        }
        assert_eq!(Picked::Ranges(vec![(2, u32::MAX)]).indexes(4), [2, 3]);
        assert_eq!(Picked::Ranges(vec![(2, 9), (1, 2), (7, 1), (1, 2)]).indexes(4), [1, 2, 3]);
    }
}
