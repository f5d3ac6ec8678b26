//! Any bytes as a request: refused in words, or read, written and read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osync::wire::codec::{decode_envelope, encode_envelope};
use osync::wire::command::Request;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = decode_envelope::<Request>(bytes) {
        let again = encode_envelope(value.clone()).expect("What was read can be written");
        assert_eq!(
            decode_envelope::<Request>(&again).expect("What was written can be read"),
            value
        );
    }
});
