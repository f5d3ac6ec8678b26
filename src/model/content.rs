//! The hash of a file's content, by which both sides tell whether they have the same.
//!
//! - Up to `CONTENT_BLOCK` bytes it is BLAKE3 of the content.
//! - Of more it is BLAKE3 of the blocks that are not all zero, each behind its number, and of the
//!   length: so holes cost nothing, however the filesystems on both sides lay them out.

use crate::model::entry::Hash;
use crate::model::limits::CONTENT_BLOCK;

/// Takes in a content from its beginning to its end.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    /// Of the first block alone.
    first: blake3::Hasher,
    /// Of the blocks that are not all zero.
    blocks: blake3::Hasher,
    bytes: u64,
    /// Whether the block under way is zero so far.
    is_zero: bool,
}

impl ContentHasher {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> ContentHasher {
        ContentHasher { is_zero: true, ..ContentHasher::default() }
    }

    /// How much was taken in.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = CONTENT_BLOCK - self.bytes % CONTENT_BLOCK;
            let here = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let (now, rest) = bytes.split_at(here);
            self.take(now);
            bytes = rest;
        }
    }

    /// Takes in so many zeros, at no cost for whole blocks.
    pub fn skip(&mut self, mut zeros: u64) {
        const ZEROS: &[u8] = &[0; 4096];
        let ahead = CONTENT_BLOCK - self.bytes % CONTENT_BLOCK;
        let mut dense = zeros.min(ahead);
        zeros -= dense;
        while dense > 0 {
            let here = dense.min(ZEROS.len() as u64);
            self.take(&ZEROS[..here as usize]);
            dense -= here;
        }
        // Whole blocks are left out; the start of the last one is zero as yet.
        self.bytes += zeros;
    }

    /// The hash of what was taken in.
    #[must_use]
    pub fn finish(&self) -> Hash {
        if self.bytes <= CONTENT_BLOCK {
            return Hash(*self.first.finalize().as_bytes());
        }
        let mut whole = self.blocks.clone();
        whole.update(&self.bytes.to_le_bytes());
        Hash(*whole.finalize().as_bytes())
    }

    /// Takes in bytes of one block.
    fn take(&mut self, bytes: &[u8]) {
        let at = self.bytes % CONTENT_BLOCK;
        if self.bytes < CONTENT_BLOCK {
            self.first.update(bytes);
        }
        if self.is_zero && is_zero(bytes) {
            self.bytes += bytes.len() as u64;
        } else {
            if self.is_zero {
                self.blocks.update(&(self.bytes / CONTENT_BLOCK).to_le_bytes());
                self.feed_zeros(at);
                self.is_zero = false;
            }
            self.blocks.update(bytes);
            self.bytes += bytes.len() as u64;
        }
        self.is_zero |= self.bytes.is_multiple_of(CONTENT_BLOCK);
    }

    fn feed_zeros(&mut self, mut count: u64) {
        const ZEROS: &[u8] = &[0; 4096];
        while count > 0 {
            let here = count.min(ZEROS.len() as u64);
            self.blocks.update(&ZEROS[..here as usize]);
            count -= here;
        }
    }
}

/// Whether all bytes are zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (head, words, tail) = (bytes.len() % 16, bytes.chunks_exact(16), bytes);
    words.into_iter().all(|word| word == [0; 16])
        && tail[tail.len() - head..].iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ContentHasher, is_zero};
    use crate::model::entry::Hash;
    use crate::model::limits::CONTENT_BLOCK;

    fn hash(bytes: &[u8]) -> Hash {
        let mut hasher = ContentHasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn a_small_content_has_its_plain_hash() {
        for bytes in [0, 1, 5_000, CONTENT_BLOCK as usize] {
            for byte in [0, 7] {
                let content = vec![byte; bytes];
                assert_eq!(hash(&content).0, *blake3::hash(&content).as_bytes());
            }
        }
    }

    #[test]
    fn what_differs_by_zeros_differs() {
        let block = CONTENT_BLOCK as usize;
        let mut contents = vec![vec![0; block + 1], vec![0; 2 * block], vec![0; 2 * block + 1]];
        let mut one = vec![0; 3 * block];
        one[0] = 1;
        contents.push(one.clone());
        one.rotate_right(block);
        contents.push(one.clone());
        one.rotate_right(1);
        contents.push(one);
        for (at, content) in contents.iter().enumerate() {
            for other in &contents[at + 1..] {
                assert_ne!(hash(content), hash(other));
            }
        }
    }

    #[test]
    fn zeros_are_seen_wherever_they_end() {
        for bytes in 0..40 {
            assert!(is_zero(&vec![0; bytes]));
            for at in 0..bytes {
                let mut content = vec![0; bytes];
                content[at] = 1;
                assert!(!is_zero(&content), "{at} of {bytes}");
            }
        }
    }

    #[test]
    fn a_terabyte_of_holes_takes_no_time() {
        let mut hasher = ContentHasher::new();
        hasher.update(b"begin");
        hasher.skip(1 << 40);
        hasher.update(b"end");
        assert_eq!(hasher.bytes(), (1 << 40) + 8);
        assert_ne!(hasher.finish(), hash(b"beginend"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn holes_and_zeros_are_one(
            pieces in proptest::collection::vec((0..300_000_usize, any::<bool>()), 1..8)
        ) {
            let mut content = Vec::new();
            let mut skipping = ContentHasher::new();
            for (bytes, is_hole) in pieces {
                let piece = vec![if is_hole { 0 } else { 5 }; bytes];
                if is_hole {
                    skipping.skip(bytes as u64);
                } else {
                    piece.chunks(70_001).for_each(|part| skipping.update(part));
                }
                content.extend(piece);
            }
            prop_assert_eq!(skipping.bytes(), content.len() as u64);
            prop_assert_eq!(skipping.finish(), hash(&content));
        }
    }
}
