//! What has changed in a large file, against a signature of what the sink has of it.
//!
//! - A [`Signature`] tells of each block of a content two sums, twelve bytes together. It is made
//!   beside the hash by whoever reads the content ([`Signer`]), and kept.
//! - A [`Comparer`] takes in the new content and says which ranges of it the old one has
//!   ([`Piece`]), and what bytes are new. Blocks at their old places are found first, for that is
//!   what becomes of logs, databases and images; what moved is found by a rolling sum.
//! - Nothing relies on these sums: what is put together from pieces must have the hash of the
//!   whole. A signature that is stale, or not true, costs time.

mod comparer;
mod rolling;
mod signature;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::entry::FileTime;
use crate::model::limits::{DELTA_SPAN_MAX, PIECES_MAX};
use crate::model::path::RelPath;
use crate::model::stamp::SinkId;

pub use self::comparer::Comparer;
pub use self::signature::{BadSignature, Signature, Signer, block_for};

/// Which version of a content a signature is of, as far as the sink can tell without reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Length in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: FileTime,
}

/// A range of the new content, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Where it begins in the new content.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// Where the same bytes begin in what the sink has; nothing if they travel.
    pub from: Option<u64>,
}

/// Whether pieces follow each other and ask for no more work than those of an honest source: one
/// reading may go beyond the bounds that it is held to.
#[must_use]
pub fn are_bounded(pieces: &[Piece]) -> bool {
    let bytes = pieces.iter().fold(0_u64, |bytes, piece| bytes.saturating_add(piece.bytes));
    let in_order = pieces.windows(2).all(|two| two[0].end() <= two[1].offset);
    in_order && pieces.len() <= 2 * PIECES_MAX && bytes <= 2 * DELTA_SPAN_MAX
}

impl Piece {
    /// Where it ends in the new content; the greatest number if that is beyond all numbers.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

/// The difference between two contents, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// Ranges in rising order; what lies between them is zero.
    pub pieces: Vec<Piece>,
    /// The bytes of those that travel, one after the other.
    pub literals: Vec<u8>,
}

impl Delta {
    /// Adds a range that the old content has.
    fn copy(&mut self, offset: u64, bytes: u64, from: u64) {
        if let Some(last) = self.pieces.last_mut()
            && last.end() == offset
            && last.from.is_some_and(|begin| begin + last.bytes == from)
        {
            last.bytes += bytes;
        } else {
            self.pieces.push(Piece { offset, bytes, from: Some(from) });
        }
    }

    /// Adds new bytes.
    fn bring(&mut self, offset: u64, new: &[u8]) {
        if new.is_empty() {
            return;
        }
        let bytes = new.len() as u64;
        self.literals.extend_from_slice(new);
        match self.pieces.last_mut() {
            Some(last) if last.from.is_none() && last.end() == offset => last.bytes += bytes,
            _ => self.pieces.push(Piece { offset, bytes, from: None }),
        }
    }
}

/// Where signatures are kept, of what each sink has at a name.
pub trait Signatures: Send + Sync {
    /// What is kept for a name, if anything that makes sense.
    fn load(&self, sink: SinkId, path: &RelPath) -> Option<Arc<Signature>>;

    /// Keeps a signature in place of what was kept for that name; it may be let go at any time.
    fn store(&self, sink: SinkId, path: &RelPath, signature: &Signature);
}

#[cfg(test)]
mod tests;
