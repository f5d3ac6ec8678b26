//! Bad bytes are refused in words; nothing panics, and nothing bad gets in.

use osync::error::Error;
use osync::model::message::Report;
use osync::wire::codec::{decode, decode_envelope, encode, encode_envelope};
use osync::wire::command::{Envelope, MAGIC, PROTOCOL_VERSION, Reply, Request};
use osync::wire::data::Header;
use proptest::prelude::{any, prop_assert, proptest};

use super::zoo;

/// Decodes bytes as everything; whatever is read must be written and read the same.
fn read_as_everything(bytes: &[u8]) {
    if let Ok(header) = decode::<Header>(bytes) {
        assert_eq!(decode::<Header>(&encode(&header).unwrap()).unwrap(), header);
    }
    if let Ok(report) = decode::<Report>(bytes) {
        assert_eq!(decode::<Report>(&encode(&report).unwrap()).unwrap(), report);
    }
    if let Ok(request) = decode_envelope::<Request>(bytes) {
        let again = encode_envelope(request.clone()).unwrap();
        assert_eq!(decode_envelope::<Request>(&again).unwrap(), request);
    }
    if let Ok(reply) = decode_envelope::<Reply>(bytes) {
        let again = encode_envelope(reply.clone()).unwrap();
        assert_eq!(decode_envelope::<Reply>(&again).unwrap(), reply);
    }
}

/// The bytes of everything in the zoo.
fn samples() -> Vec<Vec<u8>> {
    let headers = zoo::headers().into_iter().map(|(_, header)| encode(&header).unwrap());
    let reports = zoo::reports().into_iter().map(|(_, report)| encode(&report).unwrap());
    let requests = zoo::requests().into_iter().map(|(_, one)| encode_envelope(one).unwrap());
    let replies = zoo::replies().into_iter().map(|(_, one)| encode_envelope(one).unwrap());
    headers.chain(reports).chain(requests).chain(replies).collect()
}

#[test]
fn a_message_cut_short_or_with_a_tail_is_refused() {
    for bytes in samples() {
        for length in 0..bytes.len() {
            read_as_everything(&bytes[..length]);
            assert!(decode::<Header>(&bytes[..length]).is_err());
            assert!(decode::<Report>(&bytes[..length]).is_err());
            assert!(decode_envelope::<Request>(&bytes[..length]).is_err());
            assert!(decode_envelope::<Reply>(&bytes[..length]).is_err());
        }
        let tail = [&bytes[..], &[0xc0]].concat();
        assert!(decode::<Header>(&tail).is_err() && decode::<Report>(&tail).is_err());
        assert!(decode_envelope::<Request>(&tail).is_err());
        assert!(decode_envelope::<Reply>(&tail).is_err());
    }
}

#[test]
fn a_stranger_and_another_version_are_told_apart() {
    let stranger = Envelope { magic: *b"HELLO", version: PROTOCOL_VERSION, body: Reply::Ready };
    let other =
        Envelope { magic: MAGIC, version: PROTOCOL_VERSION + 1, body: "quite another body" };
    let bytes = rmp_serde::to_vec_named(&stranger).unwrap();
    assert!(matches!(decode_envelope::<Reply>(&bytes), Err(Error::Protocol(_))));
    let bytes = rmp_serde::to_vec_named(&other).unwrap();
    let refused = decode_envelope::<Reply>(&bytes).unwrap_err();
    assert!(matches!(refused, Error::Version { ours, theirs } if theirs == ours + 1));
    assert!(refused.to_string().contains("install the same osync"));
}

#[test]
fn no_name_that_leaves_the_root_gets_in() {
    let (_, header) = zoo::headers().remove(0);
    let bytes = encode(&header).unwrap();
    let plain = b"dir/name";
    let at = bytes.windows(plain.len()).position(|window| window == plain).unwrap();
    for bad in [b"../../et", b"/etc/pas", b"dir//nam", b"dir/./na", b"dir/nam\0"] {
        let mut bytes = bytes.clone();
        bytes[at..at + plain.len()].copy_from_slice(bad);
        assert!(decode::<Header>(&bytes).is_err(), "{}", bad.escape_ascii());
    }
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    for start in [0xdc_u8, 0xdd, 0xde, 0xdf, 0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb] {
        let lie = [&[start][..], &[0xff; 8]].concat();
        read_as_everything(&lie);
        read_as_everything(&[&[0x95, 0x01, 0xa4], &b"Live"[..], &[0x01, 0x01], &lie].concat());
    }
    read_as_everything(&vec![0x91; 100_000]);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn bytes_that_were_hurt_never_panic(
        which in any::<proptest::sample::Index>(),
        hurts in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let samples = samples();
        let mut bytes = which.get(&samples).clone();
        for (at, byte) in hurts {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_as_everything(&bytes);
        prop_assert!(decode::<Header>(&[]).is_err());
    }
}
