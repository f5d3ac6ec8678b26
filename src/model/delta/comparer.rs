//! Comparing a content, as it is read, with a signature.
//!
//! What comes is held until it is decided: a block is either where it is expected (behind the one
//! before it, as it was in the old content), or all zero, which needs no telling, or is searched
//! for byte by byte with the weak sum, or travels. The search costs the more the less it finds, so
//! it has bounds: blocks whose sums agree by chance are looked at only as long as that costs no
//! more than the search itself, and after `SEARCH_BYTES_MAX` bytes in vain only blocks at their
//! expected places are found.

use std::sync::Arc;

use crate::model::content::is_zero;
use crate::model::delta::rolling::{Rolling, WINDOW};
use crate::model::delta::signature::{Sums, strong};
use crate::model::delta::{Delta, Signature};
use crate::model::limits::{SEARCH_BYTES_MAX, SEARCH_TWINS_MAX};

/// Takes in a content from its beginning to its end, and tells what of it the old one has.
pub struct Comparer {
    known: Arc<Signature>,
    /// Made when something is first searched for.
    index: Option<Index>,
    /// Bytes that are not decided, and where they begin.
    held: Vec<u8>,
    at: u64,
    /// Where the old content is expected to have what is held: so much further on.
    shift: i128,
    /// Bytes searched in vain, since something was found last.
    searched: u64,
    /// Bytes of blocks looked at in vain, likewise.
    wasted: u64,
}

/// What a search came to.
enum Found {
    /// The block that begins there is at this place in the old content.
    Block(usize, u64),
    /// It is one that is expected there, or zeros are.
    Expected(usize),
    /// Nothing before there; what follows needs more bytes.
    Nothing(usize),
}

impl Comparer {
    /// Against that signature.
    #[must_use]
    pub fn new(known: Arc<Signature>) -> Comparer {
        let (index, held) = (None, Vec::new());
        Comparer { known, index, held, at: 0, shift: 0, searched: 0, wasted: 0 }
    }

    /// Where what comes next begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.at + self.held.len() as u64
    }

    /// All before there was told.
    #[must_use]
    pub fn decided(&self) -> u64 {
        self.at
    }

    /// Takes in the next bytes, and adds what is decided.
    pub fn take(&mut self, bytes: &[u8], delta: &mut Delta) {
        self.held.extend_from_slice(bytes);
        self.decide(false, delta);
    }

    /// Takes in a hole, up to that place: all before it is decided.
    pub fn skip(&mut self, to: u64, delta: &mut Delta) {
        self.finish(delta);
        self.at = self.at.max(to);
    }

    /// Decides all that is held.
    pub fn finish(&mut self, delta: &mut Delta) {
        self.decide(true, delta);
        debug_assert!(self.held.is_empty());
    }

    fn decide(&mut self, is_end: bool, delta: &mut Delta) {
        let mut done = 0;
        loop {
            if let Some((from, bytes)) = self.expected(done) {
                delta.copy(self.at + done as u64, bytes as u64, from);
                (self.searched, self.wasted) = (0, 0);
                done += bytes;
                continue;
            }
            if let Some(bytes) = self.zeros(done, is_end) {
                // What lies between pieces is zero.
                done += bytes;
                continue;
            }
            if !is_end && self.held.len() - done < self.known.block() as usize + WINDOW {
                break;
            }
            let found = self.search(done, is_end);
            let (Found::Block(to, _) | Found::Expected(to) | Found::Nothing(to)) = found;
            delta.bring(self.at + done as u64, &self.held[done..to]);
            done = to;
            match found {
                Found::Block(_, from) => {
                    self.shift = i128::from(from) - i128::from(self.at + done as u64);
                }
                Found::Expected(_) => {}
                Found::Nothing(_) => break,
            }
        }
        self.held.drain(..done);
        self.at += done as u64;
    }

    /// The block of the old content that is expected at a place of what is held, if it is all there
    /// and the same: where it begins, and how long it is.
    fn expected(&self, place: usize) -> Option<(u64, usize)> {
        let from = i128::from(self.at) + place as i128 + self.shift;
        let from = u64::try_from(from).ok()?;
        let block = self.known.block();
        let size = self.known.basis().size;
        if from >= size || !from.is_multiple_of(block) {
            return None;
        }
        let bytes = block.min(size - from) as usize;
        let held = self.held.get(place..place + bytes)?;
        let sums = self.known.sums().get((from / block) as usize)?;
        (strong(held) == sums.strong).then_some((from, bytes))
    }

    /// How many zeros lie at a place of what is held: a whole block, or what is left at the end.
    fn zeros(&self, place: usize, is_end: bool) -> Option<usize> {
        let left = self.held.len() - place;
        let block = self.known.block() as usize;
        let bytes = if is_end { block.min(left) } else { block };
        (bytes > 0 && is_zero(self.held.get(place..place + bytes)?)).then_some(bytes)
    }

    /// Searches for the next place at which a block of the old content begins, or zeros where one
    /// is expected.
    fn search(&mut self, begin: usize, is_end: bool) -> Found {
        let block = self.known.block() as usize;
        let last = if is_end { self.held.len() } else { self.held.len() - block };
        let mut place = begin;
        while place < last {
            let boundary = self.boundary(place + 1).min(last);
            if let Some(found) = self.search_moved(place, boundary) {
                return found;
            }
            place = boundary;
            let is_known = self.expected(place).is_some() || self.zeros(place, is_end).is_some();
            if place < last && is_known {
                return Found::Expected(place);
            }
        }
        Found::Nothing(last.max(begin))
    }

    /// The first place, not before that one, at which a block is expected.
    fn boundary(&self, place: usize) -> usize {
        let block = i128::from(self.known.block());
        let from = i128::from(self.at) + place as i128 + self.shift;
        place + (block - from.rem_euclid(block)).rem_euclid(block) as usize
    }

    /// Searches for blocks that begin from one place on and before another, wherever the old
    /// content has them.
    fn search_moved(&mut self, begin: usize, end: usize) -> Option<Found> {
        let block = self.known.block() as usize;
        let end = end.min((self.held.len() + 1).saturating_sub(block));
        if begin >= end || self.searched > SEARCH_BYTES_MAX {
            return None;
        }
        let known = Arc::clone(&self.known);
        let index = self.index.get_or_insert_with(|| Index::of(&known));
        let mut rolling = Rolling::over(&self.held[begin..]);
        for place in begin..end {
            let sum = rolling.sum();
            if index.has(sum) && self.wasted <= self.searched + 16 * block as u64 {
                let window = &self.held[place..place + block];
                let beside = (self.at + place as u64) / block as u64;
                match index.find(&known, sum, strong(window), beside) {
                    Some(number) => return Some(Found::Block(place, number * block as u64)),
                    None => self.wasted += block as u64,
                }
            }
            self.searched += 1;
            if let Some(&next) = self.held.get(place + WINDOW) {
                rolling.roll(next);
            }
        }
        None
    }
}

/// The blocks by their weak sums.
struct Index {
    /// Weak sums with the numbers of their blocks, sorted.
    blocks: Vec<(u32, u32)>,
    /// A bit for each weak sum, of those that share it.
    filter: Vec<u64>,
}

impl Index {
    fn of(known: &Signature) -> Index {
        let sums = known.sums();
        let whole = (known.basis().size / known.block()) as usize;
        // A run of one byte is everywhere, and costs a search dearly.
        let dull: Vec<u32> = (0..=u8::MAX).map(|b| Rolling::over(&[b; WINDOW]).sum()).collect();
        let blocks = sums.iter().take(whole).zip(0..);
        let blocks = blocks.filter(|(sums, _)| !dull.contains(&sums.weak));
        let mut blocks: Vec<(u32, u32)> =
            blocks.map(|(sums, number)| (sums.weak, number)).collect();
        blocks.sort_unstable();
        let words = (blocks.len() / 2).next_power_of_two();
        let mut index = Index { blocks, filter: vec![0; words] };
        for at in 0..index.blocks.len() {
            let (word, bit) = index.place(index.blocks[at].0);
            index.filter[word] |= bit;
        }
        index
    }

    fn place(&self, sum: u32) -> (usize, u64) {
        let sum = sum as usize;
        ((sum / 64) & (self.filter.len() - 1), 1 << (sum % 64))
    }

    /// Whether a block has that weak sum.
    fn has(&self, sum: u32) -> bool {
        let (word, bit) = self.place(sum);
        self.filter[word] & bit != 0
            && self.blocks.binary_search_by_key(&sum, |(weak, _)| *weak).is_ok()
    }

    /// The number of a block with both sums; of several the one nearest to `beside`.
    fn find(&self, known: &Signature, weak: u32, strong: u64, beside: u64) -> Option<u64> {
        let near = u32::try_from(beside).unwrap_or(u32::MAX);
        let begin = self.blocks.partition_point(|block| *block < (weak, near));
        let is_it = |number: u32| {
            known.sums().get(number as usize).is_some_and(|sums: &Sums| sums.strong == strong)
        };
        let twins = |block: &&(u32, u32)| block.0 == weak;
        let above = self.blocks[begin..].iter().take_while(twins).take(SEARCH_TWINS_MAX);
        let below = self.blocks[..begin].iter().rev().take_while(twins).take(SEARCH_TWINS_MAX);
        let mut found = above.chain(below).filter(|(_, number)| is_it(*number));
        found.next().map(|(_, number)| u64::from(*number))
    }
}
