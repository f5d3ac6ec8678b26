//! Any bytes as a packed content, and any length announced: refused in words, or as long as that.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osync::wire::packing::Unpacker;

fuzz_target!(|input: (u32, &[u8])| {
    let (plain, bytes) = input;
    let mut unpacker = Unpacker::new().expect("There is room for one");
    if let Ok(content) = unpacker.unpack(bytes, plain) {
        assert_eq!(content.len(), plain as usize);
    }
});
