//! Any bytes as a report: refused in words, or read, written and read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osync::model::message::Report;
use osync::wire::codec::{decode, encode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = decode::<Report>(bytes) {
        let again = encode(&value).expect("What was read can be written");
        assert_eq!(decode::<Report>(&again).expect("What was written can be read"), value);
    }
});
