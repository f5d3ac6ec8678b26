//! Disks that lose power, fail, go read-only, or will not have one file. Each test has block
//! devices of its own and needs root.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use serde_json::Value;

use crate::support::disk::{Disk, Store, run};
use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::zoo::{self, Dice};
use crate::support::{until, until_true};

/// Ends a pair by a cutover, and judges.
#[track_caller]
fn cut_over(pair: &mut Pair, source: Operator, sink: Operator) {
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    // The root of a filesystem of its own holds what the filesystem wants.
    let lost = pair.sink_dir().join("lost+found");
    let time = fs::metadata(pair.sink_dir()).unwrap();
    if fs::remove_dir(lost).is_ok() {
        let nanos = u32::try_from(time.mtime_nsec()).unwrap();
        zoo::set_time(&pair.sink_dir(), time.mtime(), nanos);
    }
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

/// The number of the last durable barrier, as the marker in a sink's directory has it.
fn barrier(sink: &Path) -> Option<u64> {
    let mut names = fs::read_dir(sink).ok()?.flatten();
    let staging = names.find(|n| n.file_name().to_string_lossy().contains(".osync-staging-"))?;
    let bytes = fs::read(staging.path().join("marker")).ok()?;
    serde_json::from_slice::<Value>(&bytes).ok()?["barrier"].as_u64()
}

/// Bytes that the source has put on the wire so far.
fn on_wire(pair: &mut Pair) -> u64 {
    let dir = pair.source_dir();
    pair.status(&dir)["bytes_on_wire"].as_u64().expect("A figure")
}

/// Gives some of the files that are there zeros for content, with the size and the modification
/// time that they have at the source: what is left where room was allocated before the bytes came.
fn blank(source: &Path, sink: &Path) -> usize {
    let files = walkdir::WalkDir::new(sink).into_iter().flatten();
    let mut blanked = 0;
    for entry in files.filter(|entry| entry.file_type().is_file()).take(20) {
        let whole = fs::metadata(source.join(entry.path().strip_prefix(sink).unwrap())).unwrap();
        let file = OpenOptions::new().write(true).open(entry.path()).unwrap();
        file.set_len(0).unwrap();
        file.set_len(whole.size()).unwrap();
        file.set_modified(whole.modified().unwrap()).unwrap();
        blanked += 1;
    }
    blanked
}

/// Copies a pool to a sink whose power is cut after its first barrier; goes on with what was on
/// the disk at that instant.
fn lose_power(store: &Store, kind: &str, seed: u64) -> usize {
    let mut pair = Pair::new();
    let mut dice = Dice::new(seed);
    let disk = store.disk(&format!("{kind}.img"), kind, &pair.sink_dir());
    zoo::pool(&pair.source_dir(), 1_500, 12_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    until_true("a barrier is passed", SOON, || barrier(&pair.sink_dir()) > Some(0));
    let passed = on_wire(&mut pair);
    let late = pair.source_dir().join("late");
    fs::create_dir(&late).unwrap();
    let paths = zoo::pool(&late, 100 + dice.below(300), 9_000);
    let hole = File::create(late.join("sparse")).unwrap();
    hole.set_len(5_000_000).unwrap();
    hole.write_all_at(b"end", 4_999_000).unwrap();
    // A cutover would list it as open for writing.
    drop(hole);
    let some = paths.len() / 2 + dice.below(paths.len() / 2) - 1;
    let seen = pair.sink_dir().join(paths[some].strip_prefix(pair.source_dir()).unwrap());
    until_true("some of it has arrived", LONG, || seen.exists());
    // What a database beside it would do: it commits the journal, and with it all names.
    let unrelated = File::create(pair.sink_dir().join("unrelated")).unwrap();
    unrelated.sync_all().unwrap();
    let image = store.snapshot(&disk.image, &format!("{kind}-cut.img"));
    sink.kill();
    drop(unrelated);
    disk.unmount();
    let disk = Disk::mount(&image, &pair.sink_dir());
    let _ = fs::remove_file(pair.sink_dir().join("unrelated"));
    let blanked = blank(&late, &pair.sink_dir().join("late"));
    let sink = pair.start_sink(&[]);
    until_true("the sink says what it found", SOON, || sink.stderr().contains("without warning"));
    pair.until_ready();
    let sent = on_wire(&mut pair) - passed;
    // Sent once, lost, and sent again; on a busy host some of it a third time. The pool itself, 18
    // MB, is no part of it.
    let needed = 3 * (paths.len() as u64 * 9_000 + 5_000_000);
    eprintln!("{kind}: {sent} bytes after the barrier, {needed} allowed, {blanked} blanked");
    assert!(sent < needed, "{kind}: more was sent again than was in doubt");
    cut_over(&mut pair, source, sink);
    disk.unmount();
    blanked
}

#[test]
#[ignore = "needs root and loop devices: scripts/check.sh runs it where it can"]
fn needs_loop_h3_a_power_cut_costs_the_last_seconds() {
    let store = Store::new();
    let rounds = if super::rig::wants_all() { 10 } else { 1 };
    for seed in 0..rounds {
        let blanked = ["ext4", "xfs", "btrfs"].map(|kind| lose_power(&store, kind, seed));
        assert!(blanked.iter().sum::<usize>() > 0, "no name came through the power cut");
    }
}

#[test]
#[ignore = "needs root and loop devices: scripts/check.sh runs it where it can"]
fn needs_loop_h29_a_disk_that_fails_at_a_barrier_is_told_and_mended() {
    let store = Store::new();
    let mut pair = Pair::new();
    // The image has more room than what it lies on: writes fail when they reach the disk, long
    // after the sink has made them.
    let small = store.image("small");
    fs::create_dir(&small).unwrap();
    let tmpfs = small.to_str().unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=64m", "osync-test", tmpfs]);
    let image = small.join("image");
    File::create(&image).unwrap().set_len(300 << 20).unwrap();
    run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0", image.to_str().unwrap()]);
    let disk = Disk::mount(&image, &pair.sink_dir());
    zoo::pool(&pair.source_dir(), 900, 100_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    until_true("the sink tells that its disk fails", LONG, || {
        let said = sink.stderr();
        said.contains("durable") || said.contains("Read-only") || said.contains("read-only")
    });
    sink.kill();
    let image = disk.unmount();
    run("mount", &["-o", "remount,size=400m", tmpfs]);
    // It mends what it finds, and says so by its exit code.
    let _ = std::process::Command::new("e2fsck").arg("-fy").arg(&image).output();
    let disk = Disk::mount(&image, &pair.sink_dir());
    let sink = pair.start_sink(&[]);
    cut_over(&mut pair, source, sink);
    disk.unmount();
    run("umount", &[tmpfs]);
}

#[test]
#[ignore = "needs root and loop devices: scripts/check.sh runs it where it can"]
fn needs_loop_a_sink_that_is_read_only_for_a_while() {
    let store = Store::new();
    let mut pair = Pair::new();
    let disk = store.disk("ro.img", "ext4", &pair.sink_dir());
    zoo::pool(&pair.source_dir(), 300, 2_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    until_true("it may be read only", SOON, || {
        let remount = std::process::Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(pair.sink_dir())
            .output();
        remount.is_ok_and(|output| output.status.success())
    });
    for number in 0..50 {
        fs::write(pair.source_dir().join(format!("new-{number}")), "new").unwrap();
    }
    fs::remove_file(pair.source_dir().join("pool-000/file-000003")).unwrap();
    let dir = pair.source_dir();
    for dir in [dir, pair.sink_dir()] {
        until_true("both say so", SOON, || {
            let status = pair.status(&dir);
            let reason = status["reason"].as_str().unwrap_or_default();
            status["state"] == "HALTED" && reason.contains("read-only")
        });
    }
    assert!(sink.stderr().contains("read-only"));
    disk.remount("rw");
    cut_over(&mut pair, source, sink);
    disk.unmount();
}

#[test]
#[ignore = "needs root and loop devices: scripts/check.sh runs it where it can"]
fn needs_loop_h17_a_disk_that_stands_still_is_named() {
    let store = Store::new();
    let mut pair = Pair::new();
    let disk = store.disk("frozen.img", "ext4", &pair.sink_dir());
    zoo::pool(&pair.source_dir(), 100, 2_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let at_sink = pair.sink_dir();
    run("fsfreeze", &["--freeze", at_sink.to_str().unwrap()]);
    fs::write(pair.source_dir().join("late"), "late").unwrap();
    let named = |said: String| said.contains("waiting for the sink's disk");
    until_true("both name it", SOON, || named(source.stderr()) && named(sink.stderr()));
    let dir = pair.source_dir();
    assert!(pair.status(&dir)["reason"].as_str().is_some_and(|why| why.contains("sink's disk")));
    run("fsfreeze", &["--unfreeze", at_sink.to_str().unwrap()]);
    cut_over(&mut pair, source, sink);
    disk.unmount();
}

/// Where some bytes lie in an image.
fn find(image: &Path, bytes: &[u8]) -> u64 {
    let file = File::open(image).unwrap();
    let (step, mut at) = (1 << 20, 0);
    let mut buffer = vec![0; step + bytes.len()];
    loop {
        let read = file.read_at(&mut buffer, at).unwrap();
        assert!(read > 0, "They are not there");
        if let Some(found) = buffer[..read].windows(bytes.len()).position(|w| w == bytes) {
            return at + found as u64;
        }
        at += step as u64;
    }
}

/// Damages a file on a btrfs image so that it can't be read; the disk is mounted again.
fn damage(disk: Disk, bytes: &[u8], at: &Path) -> Disk {
    let image = disk.unmount();
    let place = find(&image, &bytes[4_096..4_160]);
    let file = OpenOptions::new().read(true).write(true).open(&image).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 1], place).unwrap();
    Disk::mount(&image, at)
}

#[test]
#[ignore = "needs root and loop devices: scripts/check.sh runs it where it can"]
fn needs_loop_one_file_that_can_not_be_read_stops_nothing_else() {
    let store = Store::new();
    let mut pair = Pair::new();
    let disk = store.disk("source.img", "btrfs", &pair.source_dir());
    zoo::pool(&pair.source_dir(), 100, 2_000);
    let bytes = zoo::content(99, 100_000);
    let bad = pair.source_dir().join("bad");
    fs::write(&bad, &bytes).unwrap();
    let disk = damage(disk, &bytes, &pair.source_dir());
    let file = File::open(&bad).unwrap();
    fadvise(file.as_fd(), 0, None, Advice::DontNeed).unwrap();
    assert!(fs::read(&bad).is_err(), "the damage has no effect");
    drop(file);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_status("the problem is told", SOON, |status| {
        status["problems"] == 1 && status["files_done"].as_u64().is_some_and(|done| done >= 100)
    });
    pair.cutover().assert_code(&[3]);
    sink.end(LONG).assert_code(&[3]).assert_says(&["bad"]);
    source.end(SOON).assert_code(&[3]);
    fs::write(&bad, b"good").unwrap();
    let (source, sink) = (pair.start_source(&[]), pair.start_sink(&[]));
    cut_over(&mut pair, source, sink);
    disk.unmount();
}
#[test]
#[ignore = "needs root and loop devices: scripts/check.sh runs it where it can"]
fn needs_loop_one_file_that_can_not_be_replaced_stops_nothing_else() {
    let store = Store::new();
    let mut pair = Pair::new();
    let disk = store.disk("flags.img", "ext4", &pair.sink_dir());
    zoo::pool(&pair.source_dir(), 100, 2_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let held = pair.sink_dir().join("pool-000/file-000010");
    // A filesystem mounted over it: nothing is renamed there.
    let held_text = held.to_str().unwrap();
    run("mount", &["--bind", held_text, held_text]);
    fs::write(pair.source_dir().join("pool-000/file-000010"), "other").unwrap();
    fs::write(pair.source_dir().join("pool-000/file-000011"), "other").unwrap();
    let free = pair.sink_dir().join("pool-000/file-000011");
    until("the other one has arrived", SOON, || {
        fs::read(&free).ok().filter(|bytes| bytes == b"other")
    });
    pair.until_status("the problem is told", SOON, |status| status["problems"] == 1);
    run("umount", &[held_text]);
    until("it is tried again", Duration::from_secs(120), || {
        fs::read(&held).ok().filter(|bytes| bytes == b"other")
    });
    cut_over(&mut pair, source, sink);
    disk.unmount();
}
