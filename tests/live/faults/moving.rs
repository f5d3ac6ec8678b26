//! Files that are not what they were when they are read, or that may not be read at all.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::{assert_equal, differences};
use crate::support::{until, until_true, zoo};

/// Bytes of a file that takes some time to read.
const LARGE: usize = 24 * 1024 * 1024;

/// What becomes of a large file while it travels; told how often it was called.
type Fate = (&'static str, fn(&Path, u64));

const FATES: [Fate; 6] = [
    ("grows", |path, _| {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
    }),
    ("shrinks", |path, round| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len((LARGE as u64).saturating_sub(round * 3_000_000)).unwrap();
    }),
    ("is rewritten", |path, round| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[round as u8; 4_096], round * 1_000_000).unwrap();
    }),
    ("vanishes", |path, _| {
        let _ = fs::remove_file(path);
    }),
    ("becomes a directory", |path, round| {
        let _ = fs::remove_file(path);
        fs::create_dir_all(path).unwrap();
        fs::write(path.join(format!("inside-{round}")), "inside").unwrap();
    }),
    ("becomes a symlink", |path, round| {
        let _ = fs::remove_file(path);
        symlink(format!("nowhere-{round}"), path).unwrap();
    }),
];

#[test]
fn files_change_while_they_are_read() {
    let mut pair = Pair::new();
    let bytes = zoo::content(1, LARGE);
    let path = |pair: &Pair, what: &str| pair.source_dir().join(what);
    for (what, _) in FATES {
        fs::write(path(&pair, what), &bytes).unwrap();
    }
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_together();
    for round in 1..=6 {
        for (what, fate) in FATES {
            fate(&path(&pair, what), round);
        }
        std::thread::sleep(Duration::from_millis(40));
    }
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

#[test]
fn a_file_that_may_not_be_read_stops_nothing_else() {
    // Root may read everything.
    let mut pair = Pair::of_ordinary_user();
    zoo::pool(&pair.source_dir(), 200, 1_000);
    let closed = pair.source_dir().join("pool-000/file-000050");
    let dir = pair.source_dir().join("closed");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("inside"), "inside").unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o000)).unwrap();
    pair.give_source();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let status = pair.until_status("the problems are told", SOON, |status| {
        status["problems"].as_u64().is_some_and(|count| count >= 2)
            && status["files_done"].as_u64().is_some_and(|done| done >= 199)
    });
    assert!(pair.sink_dir().join("pool-001/file-000199").exists(), "{status}");
    pair.cutover().assert_code(&[3]);
    let said = sink.end(LONG);
    said.assert_code(&[3]).assert_says(&["file-000050"]).assert_says(&["closed"]);
    source.end(SOON).assert_code(&[3]);
    fs::set_permissions(&closed, Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&["--once"]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    let left =
        until("rsync has looked", SOON, || Some(differences(&pair.source_dir(), &pair.sink_dir())));
    assert!(left.is_empty(), "{left}");
    until_true("nothing is left", SOON, || pair.sink_dir().join("closed/inside").exists());
}
