//! Contents that are packed on their way: the same tree arrives, in fewer bytes on the wire.

use std::fs;
use std::path::Path;

use crate::support::operator::{LONG, Pair};
use crate::support::oracle::assert_equal;
use crate::support::zoo::content;

/// Bytes that shrink to a small part.
fn text(bytes: usize, seed: u64) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 64);
    let mut line = seed;
    while text.len() < bytes {
        text.extend_from_slice(format!("line {line}: as it was, so it is\n").as_bytes());
        line += 1;
    }
    text.truncate(bytes);
    text
}

/// Small files and a large one of each sort, and one that is half of this and half of that. Bytes
/// that shrink, and all bytes.
fn fill(dir: &Path) -> (u64, u64) {
    let (mut shrinking, mut all) = (0, 0);
    let mut put = |name: String, bytes: Vec<u8>, share: u64| {
        shrinking += bytes.len() as u64 * share / 100;
        all += bytes.len() as u64;
        fs::write(dir.join(name), bytes).unwrap();
    };
    for number in 0..200 {
        put(format!("text{number}"), text(7_000, number), 100);
    }
    for number in 0..200 {
        put(format!("noise{number}"), content(number, 700), 0);
    }
    put("large-text".into(), text(5_000_000, 1), 100);
    put("large-noise".into(), content(99, 3_000_000), 0);
    put("half".into(), [content(98, 2_000_000), text(2_000_000, 5)].concat(), 50);
    put("empty".into(), Vec::new(), 0);
    (shrinking, all)
}

#[test]
fn what_shrinks_takes_less_of_the_wire_and_all_arrives() {
    let sent = |option: &[&str]| {
        let mut pair = Pair::new();
        let (shrinking, all) = fill(&pair.source_dir());
        let report = pair.arg("sink.json");
        let words = [&["--once", "--report", &report], option].concat();
        pair.start_local(&words).end(LONG).assert_code(&[0]);
        assert_equal(&pair.source_dir(), &pair.sink_dir());
        let report = pair.report("sink.json");
        (report["bytes_on_wire"].as_u64().expect("A figure"), shrinking, all)
    };
    let (plain, _, all) = sent(&[]);
    assert!(plain > all, "{plain} bytes on the wire for {all} of content");
    for option in [&["-z"][..], &["--compress", "auto"], &["--compress-level=19"]] {
        let (packed, shrinking, _) = sent(option);
        let most = plain - shrinking * 6 / 10;
        assert!(packed < most, "{option:?}: {packed} bytes, {most} at most, {plain} if plain");
    }
}
