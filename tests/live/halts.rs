//! Removals that halt: what vanishes at the source all at once, and what is too many, waits for a
//! person (law 9).

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::mount::Mount;
use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::{until_true, zoo};

fn is_halted(status: &Value) -> bool {
    status["state"] == "HALTED"
}

/// Says that removals may go on, and sees the pair to its end.
#[track_caller]
fn resume(pair: &mut Pair, source: Operator, sink: Operator) {
    let dir = pair.arg("source");
    pair.run(&["set", &dir, "resume"]).assert_code(&[0]);
    finish(pair, source, sink);
}

/// Sees the pair to its end.
#[track_caller]
fn finish(pair: &mut Pair, source: Operator, sink: Operator) {
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn h13c_a_source_that_was_replaced_halts_removals() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 30, 100);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let (aside, at_sink) = (pair.path("aside"), pair.sink_dir().join("pool-000"));
    let files = count(&at_sink);
    assert!(files > 0);
    fs::rename(pair.source_dir(), &aside).unwrap();
    fs::create_dir(pair.source_dir()).unwrap();
    let halted = pair.until_status("removals are halted", SOON, is_halted);
    assert!(halted["reason"].as_str().unwrap().contains("resume"), "{halted}");
    fs::remove_dir_all(aside.join("pool-000")).unwrap();
    fs::write(aside.join("later"), "what comes goes on").unwrap();
    let later = pair.sink_dir().join("later");
    until_true("what came later is at the sink", SOON, || later.exists());
    assert_eq!(count(&at_sink), files, "removals went on");
    fs::remove_dir(pair.source_dir()).unwrap();
    fs::rename(&aside, pair.source_dir()).unwrap();
    pair.until_status("its return ends the halt", SOON, |status| !is_halted(status));
    assert!(source.stderr().contains("mended"), "{}", source.stderr());
    finish(&mut pair, source, sink);
    assert!(!at_sink.exists());
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_h13b_an_unmounted_filesystem_halts_removals() {
    let mut pair = Pair::new();
    let below = pair.source_dir().join("volume");
    fs::create_dir(&below).unwrap();
    let mount = Mount::small(&below, "24m");
    zoo::pool(&below, 30, 100);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let at_sink = pair.sink_dir().join("volume/pool-000");
    let files = count(&at_sink);
    assert!(files > 0);
    drop(mount);
    pair.until_status("removals are halted", SOON, is_halted);
    fs::write(pair.source_dir().join("later"), "what comes goes on").unwrap();
    let later = pair.sink_dir().join("later");
    until_true("what came later is at the sink", SOON, || later.exists());
    assert_eq!(count(&at_sink), files, "removals went on");
    resume(&mut pair, source, sink);
    assert!(!at_sink.exists());
}

#[test]
fn too_many_removals_wait_for_resume() {
    let mut pair = Pair::new();
    let files = zoo::pool(&pair.source_dir(), 60, 100);
    let source = pair.start_source(&["--max-delete", "10"]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let (gone, kept) = files.split_at(40);
    gone.iter().for_each(|file| fs::remove_file(file).unwrap());
    fs::write(&kept[0], "changed").unwrap();
    let halted = pair.until_status("removals are halted", SOON, is_halted);
    assert!(halted["reason"].as_str().unwrap().contains("osync set DIR resume"), "{halted}");
    let at_sink = |pair: &Pair, file: &Path| {
        pair.sink_dir().join(file.strip_prefix(pair.source_dir()).unwrap())
    };
    let changed = at_sink(&pair, &kept[0]);
    until_true("the rest goes on", SOON, || {
        fs::read(&changed).is_ok_and(|content| content == b"changed")
    });
    let left = gone.iter().filter(|file| at_sink(&pair, file).exists()).count();
    assert!(left >= 30, "{left} of 40 are left, and 10 may go");
    pair.cutover().assert_code(&[5]);
    let resume =
        |pair: &mut Pair, dir: &OsStr| pair.run(&[OsStr::new("set"), dir, OsStr::new("resume")]);
    let (at_sink, at_source) = (pair.sink_dir(), pair.source_dir());
    resume(&mut pair, at_sink.as_os_str()).assert_code(&[1]).assert_says(&["source"]);
    resume(&mut pair, at_source.as_os_str()).assert_code(&[0]);
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

#[test]
fn a_cutover_without_a_source_directory_comes_to_an_end() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 30, 100);
    let _source = pair.start_source(&[]);
    let _sink = pair.start_sink(&[]);
    pair.until_ready();
    fs::remove_dir_all(pair.source_dir()).unwrap();
    pair.until_status("removals are halted", SOON, is_halted);
    pair.cutover().assert_code(&[5]);
}
