//! Signatures: two sums of each block of a content.

use thiserror::Error;
use twox_hash::XxHash3_64;

use crate::model::delta::Basis;
use crate::model::delta::rolling::Rolling;
use crate::model::entry::FileTime;
use crate::model::limits::{
    SIGNATURE_BLOCK_MAX, SIGNATURE_BLOCK_MIN, SIGNATURE_BLOCK_USUAL, SIGNATURE_BLOCKS_MAX,
    TOLD_BLOCKS_MAX, TOLD_BLOCKS_USUAL,
};

/// How a signature in bytes begins.
const MAGIC: [u8; 4] = *b"osg1";
/// Blocks that travel are doubled below this: the page of most databases.
const TOLD_BLOCK_LEAST: u64 = 8 * 1024;
/// Bytes before the sums.
const HEAD_BYTES: usize = 28;
/// Bytes of one block's sums.
const SUMS_BYTES: usize = 12;
/// Bytes of the check at the end.
const CHECK_BYTES: usize = 8;

/// What is known of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    /// Over its first bytes; it can roll.
    pub(super) weak: u32,
    /// Over all of it.
    pub(super) strong: u64,
}

impl Sums {
    fn of(block: &[u8]) -> Sums {
        Sums { weak: Rolling::over(block).sum(), strong: strong(block) }
    }
}

/// The strong sum of a block. It need not withstand malice: the hash of the whole does.
pub(super) fn strong(block: &[u8]) -> u64 {
    XxHash3_64::oneshot(block)
}

/// The sums of all blocks of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    basis: Basis,
    block: u64,
    sums: Vec<Sums>,
}

/// Bytes that are no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is no signature of a content")]
pub struct BadSignature;

/// How large the blocks of a content are: half the root of its length, a power of two; nothing if
/// the content is too large for any.
#[must_use]
pub fn block_for(size: u64) -> Option<u64> {
    let usual = (size.isqrt() / 2).max(1);
    let usual = 1 << usual.ilog2();
    let mut block = usual.clamp(SIGNATURE_BLOCK_MIN, SIGNATURE_BLOCK_USUAL);
    while size.div_ceil(block) > SIGNATURE_BLOCKS_MAX {
        block *= 2;
    }
    (block <= SIGNATURE_BLOCK_MAX).then_some(block)
}

impl Signature {
    /// What it is of.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Bytes of a block; the last one may be shorter.
    #[must_use]
    pub fn block(&self) -> u64 {
        self.block
    }

    pub(super) fn sums(&self) -> &[Sums] {
        &self.sums
    }

    /// As bytes, with a check at their end.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bytes = HEAD_BYTES + self.sums.len() * SUMS_BYTES + CHECK_BYTES;
        let mut out = Vec::with_capacity(bytes);
        out.extend(MAGIC);
        out.extend((self.block as u32).to_le_bytes());
        out.extend(self.basis.size.to_le_bytes());
        out.extend(self.basis.mtime.seconds.to_le_bytes());
        out.extend(self.basis.mtime.nanos.to_le_bytes());
        for sums in &self.sums {
            out.extend(sums.weak.to_le_bytes());
            out.extend(sums.strong.to_le_bytes());
        }
        let check = strong(&out);
        out.extend(check.to_le_bytes());
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are not what [`Signature::encode`] has written, or speak of impossible blocks.
    pub fn decode(bytes: &[u8]) -> Result<Signature, BadSignature> {
        let end = bytes.len().checked_sub(CHECK_BYTES).ok_or(BadSignature)?;
        let (body, check) = bytes.split_at(end);
        if check != strong(body).to_le_bytes() {
            return Err(BadSignature);
        }
        let (head, rest) = body.split_first_chunk::<HEAD_BYTES>().ok_or(BadSignature)?;
        let number = |at: usize| head.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let short = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let block = u64::from(short(4).ok_or(BadSignature)?);
        let size = number(8).ok_or(BadSignature)?;
        let seconds = number(16).ok_or(BadSignature)?.cast_signed();
        let nanos = short(24).ok_or(BadSignature)?;
        let is_sound = head.starts_with(&MAGIC)
            && (SIGNATURE_BLOCK_MIN..=SIGNATURE_BLOCK_MAX).contains(&block)
            && size.div_ceil(block) <= SIGNATURE_BLOCKS_MAX
            && size.div_ceil(block) * SUMS_BYTES as u64 == rest.len() as u64;
        if !is_sound {
            return Err(BadSignature);
        }
        let sums = rest.as_chunks::<SUMS_BYTES>().0.iter().map(|bytes| {
            let [a, b, c, d, strong @ ..] = *bytes;
            Sums { weak: u32::from_le_bytes([a, b, c, d]), strong: u64::from_le_bytes(strong) }
        });
        let basis = Basis { size, mtime: FileTime { seconds, nanos } };
        Ok(Signature { basis, block, sums: sums.collect() })
    }
}

/// Makes a signature of a content, from its beginning to its end.
#[derive(Debug)]
pub struct Signer {
    block: u64,
    sums: Vec<Sums>,
    /// The beginning of the block under way.
    part: Vec<u8>,
    bytes: u64,
    /// Of a block of zeros, once there was one.
    zeros: Option<Sums>,
}

impl Signer {
    /// For a content of about that size; nothing if it is too large.
    #[must_use]
    pub fn new(size: u64) -> Option<Signer> {
        let block = block_for(size)?;
        Some(Signer { block, sums: Vec::new(), part: Vec::new(), bytes: 0, zeros: None })
    }

    /// The same for a signature that is to travel: its blocks are larger.
    #[must_use]
    pub fn to_tell(size: u64) -> Option<Signer> {
        let root = size.isqrt().max(1);
        let mut block = (1 << root.ilog2()).clamp(SIGNATURE_BLOCK_MIN, SIGNATURE_BLOCK_MAX);
        if block < TOLD_BLOCK_LEAST {
            block *= 2;
        }
        while size.div_ceil(block) > TOLD_BLOCKS_USUAL && block < SIGNATURE_BLOCK_MAX {
            block *= 2;
        }
        let is_short = size.div_ceil(block) <= TOLD_BLOCKS_MAX;
        let (sums, part, zeros) = (Vec::new(), Vec::new(), None);
        is_short.then_some(Signer { block, sums, part, bytes: 0, zeros })
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let block = self.block as usize;
        if !self.part.is_empty() {
            let missing = (block - self.part.len()).min(bytes.len());
            let (head, rest) = bytes.split_at(missing);
            self.part.extend_from_slice(head);
            bytes = rest;
            if self.part.len() < block {
                return;
            }
            let part = std::mem::take(&mut self.part);
            self.push(Sums::of(&part));
        }
        let (blocks, rest) = bytes.split_at(bytes.len() - bytes.len() % block);
        blocks.chunks_exact(block).for_each(|block| self.push(Sums::of(block)));
        self.part.extend_from_slice(rest);
    }

    /// Takes in so many zeros.
    pub fn skip(&mut self, mut zeros: u64) {
        let ahead = (self.block - self.part.len() as u64).min(zeros);
        if !self.part.is_empty() {
            self.update(&vec![0; ahead as usize]);
            zeros -= ahead;
        }
        let block = self.block;
        while zeros >= block && !self.is_too_long() {
            let sums = *self.zeros.get_or_insert_with(|| Sums::of(&vec![0; block as usize]));
            self.push(sums);
            self.bytes += block;
            zeros -= block;
        }
        self.update(&vec![0; zeros.min(block) as usize]);
    }

    /// The signature of all that was taken in, if it became none too large.
    #[must_use]
    pub fn finish(mut self, mtime: FileTime) -> Option<Signature> {
        if !self.part.is_empty() {
            let part = std::mem::take(&mut self.part);
            self.push(Sums::of(&part));
        }
        let basis = Basis { size: self.bytes, mtime };
        let is_whole = self.sums.len() as u64 == basis.size.div_ceil(self.block);
        is_whole.then_some(Signature { basis, block: self.block, sums: self.sums })
    }

    fn is_too_long(&self) -> bool {
        self.sums.len() as u64 >= SIGNATURE_BLOCKS_MAX
    }

    fn push(&mut self, sums: Sums) {
        if !self.is_too_long() {
            self.sums.push(sums);
        }
    }
}
