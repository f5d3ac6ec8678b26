//! Bytes that this version of the protocol has once written: each later program of that version
//! must still read them, and write the same. `OSYNC_GOLDEN=write` writes them anew.

use std::collections::BTreeSet;
use std::path::PathBuf;

use osync::model::message::Report;
use osync::wire::codec::{decode, decode_envelope, encode, encode_envelope};
use osync::wire::command::{PROTOCOL_VERSION, Reply, Request};
use osync::wire::data::Header;

use super::zoo;

fn folder() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/golden").join(format!("v{PROTOCOL_VERSION}"))
}

/// Compares one value's bytes with its file; hands the file's bytes on.
fn golden(seen: &mut BTreeSet<String>, kind: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let file = format!("{kind}-{name}.msgpack");
    let path = folder().join(&file);
    if std::env::var("OSYNC_GOLDEN").is_ok_and(|wish| wish == "write") {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(stored, bytes, "{file}: written otherwise; is this a new version of the protocol?");
    assert!(seen.insert(file), "{name} is there twice");
    stored
}

#[test]
fn old_bytes_are_still_read_and_written() {
    let mut seen = BTreeSet::new();
    for (name, header) in zoo::headers() {
        let stored = golden(&mut seen, "header", &name, &encode(&header).unwrap());
        assert_eq!(decode::<Header>(&stored).unwrap(), header, "{name}");
    }
    for (name, report) in zoo::reports() {
        let stored = golden(&mut seen, "report", &name, &encode(&report).unwrap());
        assert_eq!(decode::<Report>(&stored).unwrap(), report, "{name}");
    }
    for (name, request) in zoo::requests() {
        let bytes = encode_envelope(request.clone()).unwrap();
        let stored = golden(&mut seen, "request", &name, &bytes);
        assert_eq!(decode_envelope::<Request>(&stored).unwrap(), request, "{name}");
    }
    for (name, reply) in zoo::replies() {
        let bytes = encode_envelope(reply.clone()).unwrap();
        let stored = golden(&mut seen, "reply", &name, &bytes);
        assert_eq!(decode_envelope::<Reply>(&stored).unwrap(), reply, "{name}");
    }
    for entry in std::fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(seen.contains(&file), "{file} belongs to nothing");
    }
}
