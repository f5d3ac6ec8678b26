//! Source and sink apart, on trees that change while they are migrated, to a cutover.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::churn::{Churn, Plan, Verb};
use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::{assert_equal, differences, size};
use crate::support::until_true;
use crate::support::zoo::{self, Dice, content};

/// Ends a pair by a cutover at the sink: all three processes say 0, and the trees are equal.
#[track_caller]
fn cut_over(pair: &mut Pair, source: Operator, sink: Operator) {
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

/// Lets writers work for a while.
fn churn_for(time: Duration, plan: &Plan) -> u64 {
    let churn = Churn::start(plan);
    let started = Instant::now();
    until_true("the churn has had its time", time * 2, || started.elapsed() >= time);
    churn.stop()
}

#[test]
fn a_tree_that_changes_all_the_time_arrives_equal() {
    let mut pair = Pair::new();
    let pool = zoo::pool(&pair.source_dir(), 20_000, 700);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let plan = Plan {
        root: pair.source_dir(),
        seed: 20_260_101,
        writers: 4,
        verbs: Verb::ALL,
        rest: Duration::from_millis(2),
        pool,
    };
    let done = churn_for(Duration::from_secs(20), &plan);
    assert!(done > 2_000, "Only {done} operations: no churn");
    cut_over(&mut pair, source, sink);
}

/// Directories that come and go under two writers: after each storm all counts return to nothing.
#[test]
fn trees_that_come_and_go_leave_nothing_to_do() {
    const STORMS: [&[Verb]; 3] = [
        &[Verb::Write, Verb::MakeDirs, Verb::RemoveTree],
        &[Verb::Write, Verb::MakeDirs, Verb::RenameDir],
        &[Verb::Write, Verb::MakeDirs, Verb::Exchange],
    ];
    let mut pair = Pair::new();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_together();
    for (storm, seed) in STORMS.into_iter().cycle().zip(1..=6) {
        let plan = Plan {
            root: pair.source_dir(),
            seed,
            writers: 2,
            verbs: storm,
            rest: Duration::from_millis(2),
            pool: Vec::new(),
        };
        churn_for(Duration::from_secs(3), &plan);
        let wish = format!("the pair is READY after storm {seed}");
        pair.until_status(&wish, LONG, |status| status["state"] == "READY");
    }
    cut_over(&mut pair, source, sink);
}

#[test]
fn same_size_rewrites_leave_no_stale_file() {
    let mut pair = Pair::new();
    let files = zoo::pool(&pair.source_dir(), 100, 5_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let mut dice = Dice::new(7);
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        fs::write(dice.pick(&files), content(dice.next(), 5_000)).unwrap();
    }
    pair.until_ready();
    cut_over(&mut pair, source, sink);
}

#[test]
fn a_directory_renamed_in_mid_backlog_travels_once() {
    let mut pair = Pair::new();
    let first = pair.source_dir().join("first");
    fs::create_dir(&first).unwrap();
    for number in 0..10_000_u64 {
        fs::write(first.join(format!("f{number}")), content(number, 4_000)).unwrap();
    }
    let report = pair.arg("sink.json");
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&["--report", &report]);
    // Its own eyes, not a status command: the backlog may be over within a second.
    let arrived = pair.sink_dir().join("first");
    until_true("a part of the backlog has arrived", SOON, || {
        fs::read_dir(&arrived).is_ok_and(|names| names.take(500).count() == 500)
    });
    fs::rename(&first, pair.source_dir().join("second")).unwrap();
    cut_over(&mut pair, source, sink);
    let (_, bytes) = size(&pair.source_dir());
    let report = pair.report("sink.json");
    let wire = report["bytes_on_wire"].as_u64().expect("A figure");
    assert!(wire < bytes * 12 / 10, "{wire} bytes on the wire for {bytes} of content");
}

#[test]
fn a_new_file_overtakes_the_backlog() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 30_000, 2_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let begun = pair.sink_dir();
    until_true("the backlog has begun", SOON, || {
        fs::read_dir(&begun).is_ok_and(|names| names.count() > 3)
    });
    for number in 0..10 {
        let name = format!("new-{number}");
        let started = Instant::now();
        fs::write(pair.source_dir().join(&name), content(number, 1_000)).unwrap();
        let there = pair.sink_dir().join(&name);
        until_true("the new file is at the sink", SOON, || there.exists());
        let took = started.elapsed();
        assert!(took < Duration::from_secs(3), "{name} took {took:?} past the backlog");
    }
    cut_over(&mut pair, source, sink);
}

#[test]
fn what_is_removed_while_the_source_is_down_goes_at_the_sink_too() {
    let mut pair = Pair::new();
    let files = zoo::pool(&pair.source_dir(), 300, 500);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    source.kill();
    fs::remove_file(&files[3]).unwrap();
    fs::remove_dir_all(pair.source_dir().join("pool-001")).unwrap();
    fs::rename(pair.source_dir().join("pool-002"), pair.source_dir().join("elsewhere")).unwrap();
    fs::write(pair.sink_dir().join("foreign"), "mine").unwrap();
    let source = pair.start_source(&[]);
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    let left = differences(&pair.source_dir(), &pair.sink_dir());
    assert_eq!(left, "*deleting   foreign\n");
}

#[test]
fn kinds_that_change_while_nobody_looks_are_followed() {
    let mut pair = Pair::new();
    let root = pair.source_dir();
    make_kinds(&root, false);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    source.kill();
    for name in ["file to dir", "file to link", "link to file", "link to dir"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    for name in ["dir to file", "dir to link"] {
        fs::remove_dir_all(root.join(name)).unwrap();
    }
    make_kinds(&root, true);
    let source = pair.start_source(&[]);
    pair.until_ready();
    cut_over(&mut pair, source, sink);
}

/// One name for each change of kind, as it is before or after.
fn make_kinds(root: &Path, after: bool) {
    for name in
        ["file to dir", "file to link", "link to file", "link to dir", "dir to file", "dir to link"]
    {
        let (before, later) = name.split_once(" to ").unwrap();
        let path = root.join(name);
        match if after { later } else { before } {
            "file" => fs::write(path, name).unwrap(),
            "link" => std::os::unix::fs::symlink(name, path).unwrap(),
            _ => {
                fs::create_dir_all(path.join("a/b")).unwrap();
                fs::write(path.join("a/b/inside"), name).unwrap();
            }
        }
    }
}

#[test]
fn a_storm_of_directories_is_seen_to_its_ground() {
    let mut pair = Pair::new();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    for number in 0..300 {
        let dir = pair.source_dir().join(format!("storm-{number}/a/b/c"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("leaf"), content(number, 50)).unwrap();
    }
    cut_over(&mut pair, source, sink);
}

#[test]
fn ctrl_c_at_the_sink_is_a_cutover() {
    let mut pair = Pair::new();
    zoo::small(&pair.source_dir());
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    sink.interrupt();
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

#[test]
fn sigterm_stops_and_the_next_run_carries_on() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 5_000, 1_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let begun = pair.sink_dir();
    until_true("something has arrived", SOON, || {
        fs::read_dir(&begun).is_ok_and(|names| names.count() > 1)
    });
    sink.terminate();
    sink.end(SOON).assert_code(&[130]);
    source.terminate();
    source.end(SOON).assert_code(&[130]);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_together();
    cut_over(&mut pair, source, sink);
}
