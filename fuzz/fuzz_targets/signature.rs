//! Any bytes as a signature: refused, or read, written and read the same, and of some use: what is
//! compared with it comes out of pieces and new bytes.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use osync::model::delta::{Comparer, Delta, Signature, Signer};
use osync::model::entry::FileTime;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = Signature::decode(bytes) {
        assert_eq!(Signature::decode(&value.encode()), Ok(value));
    }
    // Half of the bytes are the old content, the other half, and some of the old, the new one.
    let (old, new) = bytes.split_at(bytes.len() / 2);
    let old = old.repeat(3_000 / (old.len() + 1) + 1);
    let mut signer = Signer::new(old.len() as u64).expect("It is small");
    signer.update(&old);
    let known = signer.finish(FileTime::default()).expect("It is whole");
    let new = [&old[old.len() / 3..], new, &old].concat();
    let (mut comparer, mut delta) = (Comparer::new(Arc::new(known)), Delta::default());
    new.chunks(700).for_each(|part| comparer.take(part, &mut delta));
    comparer.finish(&mut delta);
    let (mut built, mut rest) = (Vec::new(), &delta.literals[..]);
    for piece in &delta.pieces {
        let count = piece.bytes as usize;
        built.extend_from_slice(match piece.from {
            Some(from) => &old[from as usize..][..count],
            None => rest.split_off(..count).expect("What travels is there"),
        });
    }
    assert!(built == new && rest.is_empty());
});
