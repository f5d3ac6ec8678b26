//! A full disk at the sink: said aloud, waited out, nothing lost. Needs root, for a small tmpfs.

use std::fs;

use serde_json::Value;

use crate::support::mount::Mount;
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::{until_true, zoo};

const MIB: usize = 1024 * 1024;

fn is_full(status: &Value) -> bool {
    let reason = status["reason"].as_str().unwrap_or_default();
    status["state"] == "HALTED" && reason.contains("full")
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_a_file_that_does_not_fit_is_sent_once() {
    let mut pair = Pair::new();
    let mount = Mount::small(&pair.sink_dir(), "24m");
    let ballast = pair.sink_dir().join("ballast");
    fs::write(&ballast, vec![1; 15 * MIB]).unwrap();
    zoo::pool(&pair.source_dir(), 5, 40_000);
    fs::write(pair.source_dir().join("large"), zoo::content(1, 20 * MIB)).unwrap();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let full = pair.until_status("the sink is full", SOON, |s| is_full(s) && s["files_done"] == 5);
    let both = [pair.source_dir(), pair.sink_dir()];
    until_true("it waits for a while", LONG, || {
        // It goes on asking all the while; each time the answer is the same.
        let told = both.iter().all(|dir| is_full(&pair.status(dir)));
        assert!(told, "The state flickers");
        pair.status(&both[0])["lag_seconds"].as_f64().is_some_and(|lag| lag > 12.0)
    });
    let later = pair.status(&both[0]);
    let on_wire = |status: &Value| status["bytes_on_wire"].as_u64().unwrap();
    let again = on_wire(&later) - on_wire(&full).min(on_wire(&later));
    assert!(on_wire(&later) < 20 * MIB as u64, "{again} bytes more: {later}");
    assert_eq!((&later["files_done"], &later["backlog_files"]), (&5.into(), &1.into()));
    let dir = pair.arg("source");
    let cutover = pair.start(&["cutover", &dir]);
    until_true("the cutover says why it waits", SOON, || cutover.stderr().contains("full"));
    fs::remove_file(&ballast).unwrap();
    cutover.end(LONG).assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    drop(mount);
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_what_is_there_already_or_takes_no_room_needs_none() {
    let mut pair = Pair::new();
    let mount = Mount::small(&pair.sink_dir(), "24m");
    for number in 0..2 {
        let name = number.to_string();
        let [ours, theirs] = [pair.source_dir(), pair.sink_dir()].map(|dir| dir.join(&name));
        fs::write(&ours, zoo::content(number, 8 * MIB)).unwrap();
        fs::copy(&ours, &theirs).unwrap();
        let time = fs::metadata(&ours).unwrap().modified().unwrap();
        fs::File::open(&theirs).unwrap().set_modified(time).unwrap();
    }
    fs::File::create(pair.source_dir().join("hole")).unwrap().set_len(1 << 30).unwrap();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&["--strict"]);
    pair.until_ready();
    assert!(pair.status(&pair.sink_dir())["shortfall"].is_null());
    assert!(![&source, &sink].iter().any(|one| one.stderr().contains("too little room")));
    pair.cutover().assert_code(&[0]);
    drop((source, sink, mount));
}

/// 80 MiB that are to go to a sink of 24 MiB.
fn too_much() -> (Pair, Mount) {
    let pair = Pair::new();
    let mount = Mount::small(&pair.sink_dir(), "24m");
    for number in 0..40 {
        let name = pair.source_dir().join(number.to_string());
        fs::write(name, zoo::content(number, 2 * MIB)).unwrap();
    }
    (pair, mount)
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_too_little_room_is_told() {
    let (mut pair, mount) = too_much();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let short = pair.until_status("the room is short", SOON, |s| s["shortfall"].is_object());
    let needed = short["shortfall"]["needed_bytes"].as_u64().unwrap();
    let free = short["shortfall"]["free"]["bytes"].as_u64().unwrap();
    assert!(needed > free && needed <= 80 * MIB as u64 && free <= 24 * MIB as u64, "{short}");
    until_true("both say it", SOON, || {
        [&source, &sink].iter().all(|one| one.stderr().contains("too little room"))
    });
    drop((source, sink, mount));
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_too_little_room_is_refused_where_losses_are_errors() {
    let (mut pair, mount) = too_much();
    let source = pair.start_source(&[]);
    let ended = pair.start_sink(&["--strict"]).end(SOON);
    ended.assert_code(&[4]).assert_says(&["--strict", "too little room"]);
    drop((source, mount));
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_a_full_disk_is_waited_out() {
    let mut pair = Pair::new();
    let mount = Mount::small(&pair.sink_dir(), "24m");
    let ballast = pair.sink_dir().join("ballast");
    fs::write(&ballast, vec![1; 16 * 1024 * 1024]).unwrap();
    zoo::pool(&pair.source_dir(), 400, 40_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    until_true("the sink says that the disk is full", SOON, || {
        let said = sink.stderr().to_lowercase();
        said.contains("no room") || said.contains("no space") || said.contains("full")
    });
    fs::remove_file(&ballast).unwrap();
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    drop(mount);
}
