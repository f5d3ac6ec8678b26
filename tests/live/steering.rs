//! Limits: bytes leave no faster than they may, live changes go on beside them, and all of it can
//! be changed while the pair runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::until_true;

const MEGABYTE: u64 = 1 << 20;

/// A file that no filesystem makes small.
fn large(at: &Path, bytes: u64) {
    let content: Vec<u8> = (0..bytes).map(|n| ((n * 2_654_435_761) >> 13) as u8).collect();
    fs::write(at, content).unwrap();
}

#[track_caller]
fn set(pair: &mut Pair, dir: &str, settings: &[&str]) {
    let dir = pair.arg(dir);
    pair.run(&[&["set", &dir], settings].concat()).assert_code(&[0]);
}

/// Ends the session, and sees both operators to their ends.
#[track_caller]
fn finish(pair: &mut Pair, source: Operator, sink: Operator) {
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

fn on_wire(status: &Value) -> u64 {
    status["bytes_on_wire"].as_u64().unwrap_or_default()
}

#[test]
fn a_large_file_goes_at_the_rate_and_live_changes_go_on() {
    let mut pair = Pair::new();
    let big = pair.source_dir().join("big");
    large(&big, 24 * MEGABYTE);
    let source = pair.start_source(&["--bwlimit", "1M"]);
    let sink = pair.start_sink(&[]);
    pair.until_status("the large file is on its way", SOON, |status| on_wire(status) > MEGABYTE);
    let (since, dir) = (Instant::now(), pair.sink_dir());
    let first = pair.status(&dir);
    assert_eq!(first["bwlimit"], MEGABYTE);
    for n in 0..20 {
        fs::write(pair.source_dir().join(format!("live-{n}")), vec![n; 1_000]).unwrap();
        let there = pair.sink_dir().join(format!("live-{n}"));
        until_true("a live change arrives", SOON, || there.exists());
    }
    let last = pair.status(&dir);
    assert!(!dir.join("big").exists(), "what is live did not overtake: {last}");
    // The depth of the bucket and some messages beside what the rate gives.
    let given = since.elapsed() + Duration::from_millis(500);
    let most = (given.as_secs_f64() * 1.02 * MEGABYTE as f64) as u64;
    let sent = on_wire(&last) - on_wire(&first);
    assert!(sent <= most, "{sent} bytes in {given:?}");
    assert!(last["reason"].is_null(), "it does not stand still: {last}");
    set(&mut pair, "source", &["bwlimit=off"]);
    finish(&mut pair, source, sink);
}

#[test]
fn of_the_limits_at_both_sides_the_lower_one_counts_and_each_can_be_changed() {
    let mut pair = Pair::new();
    large(&pair.source_dir().join("big"), 4 * MEGABYTE);
    let source = pair.start_source(&["--iops", "5000"]);
    let sink = pair.start_sink(&["--bwlimit=100K"]);
    let until_limit = |pair: &mut Pair, limit: Value| {
        let wish = format!("the limit is {limit}");
        pair.until_status(&wish, SOON, |status| status["bwlimit"] == limit);
    };
    until_limit(&mut pair, json!(100 * 1024));
    set(&mut pair, "sink", &["bwlimit=00:00,50K 12:00,50K"]);
    until_limit(&mut pair, json!(50 * 1024));
    set(&mut pair, "source", &["bwlimit=20K", "iops=500", "nice=3"]);
    until_limit(&mut pair, json!(20 * 1024));
    let (at_source, at_sink) = (pair.source_dir(), pair.sink_dir());
    let settings = pair.status(&at_source)["settings"].clone();
    let expected = json!({ "bwlimit": "20K", "iops": 500, "nice": 3, "ionice": "none" });
    assert_eq!(settings, expected);
    assert_eq!(pair.status(&at_sink)["settings"]["bwlimit"], "00:00,50K 12:00,50K");
    let said = pair.run(&["status", at_source.to_str().unwrap()]);
    let said = said.assert_code(&[0]).stdout.clone();
    assert!(said.contains("limits: 20.00 KiB a second, bwlimit 20K, iops 500, nice 3"), "{said}");
    for (dir, setting) in [(&at_sink, "iops=5"), (&at_sink, "resume")] {
        pair.run(&["set", dir.to_str().unwrap(), setting]).assert_code(&[1]);
    }
    pair.run(&["set", at_source.to_str().unwrap(), "bwlimit=fast"]).assert_code(&[2]);
    set(&mut pair, "source", &["bwlimit=0"]);
    until_limit(&mut pair, json!(50 * 1024));
    set(&mut pair, "sink", &["bwlimit=off"]);
    until_limit(&mut pair, Value::Null);
    finish(&mut pair, source, sink);
}

/// Names of threads with how nice they are.
fn threads(process: u32) -> Vec<(String, i64)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let niceness = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        // The name stands in brackets, and may have any letters in it.
        let (before, after) = stat.rsplit_once(") ")?;
        let name = before.split_once(" (")?.1.to_owned();
        Some((name, after.split(' ').nth(16)?.parse().ok()?))
    };
    tasks.flatten().filter_map(niceness).collect()
}

#[test]
fn the_threads_of_the_backlog_become_gentle_and_those_of_live_do_not() {
    let mut pair = Pair::new();
    large(&pair.source_dir().join("big"), 4 * MEGABYTE);
    let source = pair.start_source(&["--bwlimit", "200K"]);
    let sink = pair.start_sink(&["--nice", "11", "--ionice", "idle"]);
    pair.until_together();
    let plain = threads(std::process::id())[0].1;
    set(&mut pair, "source", &["nice=12", "ionice=best-effort:7"]);
    let is_so = |process: u32, gentle: &[&str], live: &[&str], nice: i64| {
        let threads = threads(process);
        let all = |names: &[&str], wanted: i64| {
            names.iter().all(|name| {
                let mut meant = threads.iter().filter(|(other, _)| other == name).peekable();
                meant.peek().is_some() && meant.any(|(_, nice)| *nice == wanted)
            })
        };
        let spared = threads.iter().filter(|(name, _)| live.contains(&name.as_str()));
        all(gentle, nice) && all(live, plain) && spared.into_iter().all(|(_, n)| *n == plain)
    };
    let (at_source, at_sink) = (source.id(), sink.id());
    until_true("the source is gentle", SOON, || {
        is_so(at_source, &["look", "send-backlog"], &["look-live", "send-live"], 12)
    });
    until_true("the sink is gentle", SOON, || {
        is_so(at_sink, &["chunks", "recv-backlog"], &["apply-live", "recv-live"], 11)
    });
    fs::write(pair.source_dir().join("live"), "goes on").unwrap();
    let there = pair.sink_dir().join("live");
    until_true("a live change arrives", SOON, || there.exists());
    set(&mut pair, "source", &["bwlimit=off"]);
    finish(&mut pair, source, sink);
}
