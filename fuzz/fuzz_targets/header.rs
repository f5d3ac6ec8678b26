//! Any bytes as a header: refused in words, or read, written and read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osync::wire::codec::{decode, encode};
use osync::wire::data::Header;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = decode::<Header>(bytes) {
        let again = encode(&value).expect("What was read can be written");
        assert_eq!(decode::<Header>(&again).expect("What was written can be read"), value);
    }
});
