//! What a delta must do: give back the new content, and be small where little has changed.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Comparer, Delta, Signature, Signer, block_for};
use crate::model::entry::FileTime;
use crate::model::limits::{SIGNATURE_BLOCK_MAX, SIGNATURE_BLOCKS_MAX};

/// Bytes without any order, other ones for each seed.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut noise = vec![0; bytes];
    reader.fill(&mut noise);
    noise
}

fn sign(content: &[u8]) -> Signature {
    let mut signer = Signer::new(content.len() as u64).unwrap();
    content.chunks(70_001).for_each(|part| signer.update(part));
    signer.finish(FileTime { seconds: -7, nanos: 8 }).unwrap()
}

fn compare(old: &Signature, new: &[u8], step: usize) -> Delta {
    let (mut comparer, mut delta) = (Comparer::new(Arc::new(old.clone())), Delta::default());
    new.chunks(step).for_each(|part| comparer.take(part, &mut delta));
    comparer.finish(&mut delta);
    delta
}

/// What lies between the pieces, and behind the last one up to `size`, is zero.
fn apply(old: &[u8], delta: &Delta, size: usize) -> Vec<u8> {
    let (mut new, mut rest) = (Vec::new(), &delta.literals[..]);
    for piece in &delta.pieces {
        assert!(piece.offset as usize >= new.len() && piece.bytes > 0);
        new.resize(piece.offset as usize, 0);
        let bytes = piece.bytes as usize;
        match piece.from {
            Some(from) => new.extend_from_slice(&old[from as usize..][..bytes]),
            None => new.extend_from_slice(rest.split_off(..bytes).unwrap()),
        }
    }
    assert!(rest.is_empty());
    new.resize(size, 0);
    new
}

/// The bytes that travel from one content to another.
fn travelling(old: &[u8], new: &[u8]) -> usize {
    let delta = compare(&sign(old), new, 100_000);
    assert!(apply(old, &delta, new.len()) == new);
    delta.literals.len() + delta.pieces.len() * 16
}

#[test]
fn what_is_appended_travels_alone() {
    let old = noise(3_000_123, 1);
    let mut new = old.clone();
    new.extend(noise(5_000, 2));
    assert!(travelling(&old, &new) <= 5_100);
    assert!(travelling(&new, &old) <= 1_100, "what is cut off costs one block at the most");
    assert!(travelling(&old, &old) <= 16);
}

#[test]
fn a_changed_page_costs_its_blocks() {
    let old = noise(8 << 20, 1);
    let mut new = old.clone();
    for page in [0, 77, 500, 1_023] {
        new[page * 8_192..(page + 1) * 8_192].copy_from_slice(&noise(8_192, page as u64 + 2));
    }
    assert!(travelling(&old, &new) <= 4 * 8_192 + 200);
}

#[test]
fn an_inserted_byte_costs_a_block_and_so_does_a_removed_one() {
    let old = noise(4 << 20, 1);
    let mut new = old.clone();
    new.insert(1_234_567, 9);
    assert!(travelling(&old, &new) <= 1_200);
    assert!(travelling(&new, &old) <= 2_200);
    new.remove(3_000_000);
    assert!(travelling(&old, &new) <= 3_300);
}

#[test]
fn zeros_do_not_travel() {
    let old = noise(8 << 20, 1);
    let mut new = old.clone();
    new[1 << 20..2 << 20].fill(0);
    new[3_000_001..4_000_000].fill(0);
    new[7_500_000..].fill(0);
    // What is left of blocks at both ends of a run.
    assert!(travelling(&old, &new) <= 4 * 1_024 + 200);
    new.extend(vec![0; 1 << 20]);
    assert!(travelling(&old, &new) <= 4 * 1_024 + 200);
    assert!(travelling(&old, &vec![0; 4 << 20]) == 0);
}

#[test]
fn what_moved_far_is_found() {
    let old = noise(4 << 20, 1);
    let mut new = old[2 << 20..].to_vec();
    new.extend(&old[..2 << 20]);
    assert!(travelling(&old, &new) <= 100);
}

#[test]
fn runs_of_one_byte_and_repetitions_cost_no_time_without_end() {
    let mut old = vec![0; 4 << 20];
    old[1 << 20..2 << 20].copy_from_slice(&noise(1 << 20, 3));
    let mut new = vec![0; 5];
    new.extend(&old);
    assert!(travelling(&old, &new) < 10_000);
    let [ones, shifted] = [&old, &new].map(|zeros| zeros.iter().map(|byte| byte | 1).collect());
    let (ones, shifted): (Vec<u8>, Vec<u8>) = (ones, shifted);
    // Not all, for a run of one byte is no place to find.
    assert!(travelling(&ones, &shifted) < 1_100_000);
    // Blocks that all begin alike.
    let alike = |seed: u64| {
        let pages = (0..512).flat_map(|page| {
            let mut bytes = noise(8_192, seed * 1_000 + page);
            bytes[..128].fill(b'#');
            bytes[64] = 1;
            bytes
        });
        pages.collect::<Vec<u8>>()
    };
    travelling(&alike(1), &alike(2));
}

#[test]
fn a_signature_in_bytes_is_the_same_and_damage_is_seen() {
    for bytes in [0, 1, 1_024, 300_000] {
        let signature = sign(&noise(bytes, 1));
        let mut encoded = signature.encode();
        assert_eq!(Signature::decode(&encoded), Ok(signature));
        let at = encoded.len() / 2;
        encoded[at] ^= 1;
        assert!(Signature::decode(&encoded).is_err());
        assert!(Signature::decode(&encoded[..at]).is_err());
    }
}

#[test]
fn blocks_grow_with_the_content() {
    for (size, block) in [(0, 1 << 10), (64 << 20, 4 << 10), (1 << 30, 16 << 10)] {
        assert_eq!(block_for(size), Some(block), "{size}");
    }
    for bits in 20..41 {
        assert!((1_u64 << bits).div_ceil(block_for(1 << bits).unwrap()) <= SIGNATURE_BLOCKS_MAX);
    }
    assert_eq!(block_for(SIGNATURE_BLOCK_MAX * SIGNATURE_BLOCKS_MAX + 1), None);
    assert_eq!(block_for(u64::MAX), None);
}

#[test]
fn a_hole_is_a_run_of_zeros() {
    let mut content = noise(100_000, 1);
    content.extend(vec![0; 1_000_000]);
    content.extend(noise(777, 2));
    let mut signer = Signer::new(content.len() as u64).unwrap();
    signer.update(&content[..100_000]);
    signer.skip(1_000_000);
    signer.update(&content[1_100_000..]);
    let signature = sign(&content);
    assert_eq!(signer.finish(FileTime { seconds: -7, nanos: 8 }).unwrap(), signature);
    let (mut comparer, mut delta) = (Comparer::new(Arc::new(signature)), Delta::default());
    comparer.take(&content[..100_000], &mut delta);
    comparer.skip(1_100_000, &mut delta);
    comparer.take(&content[1_100_000..], &mut delta);
    comparer.finish(&mut delta);
    assert!(apply(&content, &delta, content.len()) == content);
    assert!(delta.literals.len() < 4_096);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_was_done_the_new_content_comes_out(
        bytes in 0..60_000_usize,
        edits in proptest::collection::vec((any::<u32>(), 0..9_000_usize, 0..4_u8), 0..6),
        is_plain in any::<bool>(),
        plain in 0..2_u8,
        step in 1..40_000_usize,
    ) {
        let old = if is_plain { vec![plain; bytes] } else { noise(bytes, 1) };
        let mut new = old.clone();
        for (number, (at, bytes, kind)) in (2..).zip(edits) {
            let begin = at as usize % (new.len() + 1);
            let end = if kind == 0 { begin } else { (begin + bytes).min(new.len()) };
            let put = match kind {
                1 => Vec::new(),
                3 => vec![0; bytes],
                _ => noise(bytes, number),
            };
            new.splice(begin..end, put);
        }
        let signature = sign(&old);
        let delta = compare(&signature, &new, step);
        prop_assert!(apply(&old, &delta, new.len()) == new);
        prop_assert!(delta.literals.len() <= new.len());
    }

    #[test]
    fn noise_is_no_signature(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Signature::decode(&bytes).is_err());
    }
}
