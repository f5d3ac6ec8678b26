//! Sinks on filesystems of other systems, which hold less: what is lost is told and counted, and
//! all the rest arrives.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, IFlags, Mode, mknodat};
use serde_json::{Value, json};

use crate::support::disk::Foreign;
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::{until_true, whole, zoo};

const RESERVED: &str = "names with reserved characters";

/// Takes the flag off again when a test ends.
struct Sealed<'a>(&'a Path);

impl Drop for Sealed<'_> {
    fn drop(&mut self) {
        whole::release(self.0);
    }
}

/// Something of everything that these may be unable to hold; all times have a fraction, and that of
/// `exact` is one that NTFS keeps.
fn make(root: &Path) {
    fs::create_dir_all(root.join("d")).unwrap();
    fs::create_dir(root.join("dir:bad")).unwrap();
    fs::create_dir(root.join("sealed")).unwrap();
    let not_utf8 = OsStr::from_bytes(b"latin\xff");
    let plain = ["plain", "exact", "marked", "listed", "suid", "first", "d/in", "sealed/in"];
    let named = ["bad:name?", "control\u{1}", "dir:bad/in"];
    for path in plain.iter().chain(&named).map(OsStr::new).chain([not_utf8]) {
        fs::write(root.join(path), path.as_bytes()).unwrap();
    }
    fs::write(root.join("large"), zoo::content(5, 700_000)).unwrap();
    fs::hard_link(root.join("first"), root.join("d/second")).unwrap();
    symlink("plain", root.join("link")).unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let null = rustix::fs::makedev(1, 3);
    mknodat(CWD, root.join("null"), FileType::CharacterDevice, Mode::RUSR, null).unwrap();
    whole::try_set_xattr(&root.join("marked"), "user.mark", b"1").unwrap();
    whole::try_set_acl(&root.join("listed"), 1_001, 6).unwrap();
    fs::set_permissions(root.join("suid"), Permissions::from_mode(0o4711)).unwrap();
    for entry in walkdir::WalkDir::new(root).contents_first(true) {
        let entry = entry.unwrap();
        let nanos = if entry.file_name() == "exact" { 500_000_100 } else { 123_456_789 };
        zoo::set_time(entry.path(), 1_500_000_001, nanos);
    }
    whole::flag(&root.join("sealed"), IFlags::IMMUTABLE, true);
}

/// What a user sees of the difference of the content, of the names and of times.
fn differences(source: &Path, sink: &Path) -> Vec<String> {
    let mut rsync = Command::new("rsync");
    rsync.args(["-nrtc", "-i", "-8", "--modify-window=2", "--delete"]);
    let output = rsync.arg(source.join("")).arg(sink.join("")).output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout);
    let is_change = |line: &&str| !line.starts_with("skipping");
    lines.lines().filter(is_change).map(str::to_owned).collect()
}

/// A copy, a second run, and live changes, all of which end with problems that are known.
fn migrate(kind: &str, lost: &Value, missing: &[&str], problems: &[&str]) {
    let mut pair = Pair::new();
    let _mount = Foreign::mount(kind, &pair.sink_dir());
    let (tree, copy) = (pair.source_dir(), pair.sink_dir());
    make(&tree);
    let _sealed = Sealed(&tree);
    pair.start_local(&["--once", "--strict"]).end(LONG).assert_code(&[4]).assert_says(&["strict"]);
    assert_eq!(
        fs::read_dir(&copy)
            .unwrap()
            .filter(|entry| { !entry.as_ref().unwrap().file_name().as_bytes().starts_with(b".") })
            .count(),
        0,
        "--strict copies nothing"
    );
    for (number, most) in [(1, 2_000_000), (2, 20_000)] {
        let report = pair.arg("report.json");
        pair.start_local(&["--once", "--report", &report]).end(LONG).assert_code(&[3]);
        let report = pair.report("report.json");
        assert_eq!(&report["lost_attributes"], lost, "{kind}, run {number}: {report:#}");
        let told: Vec<&str> = report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["path"].as_str().unwrap_or("no UTF-8"))
            .collect();
        assert_eq!(told, problems, "{kind}, run {number}: {report:#}");
        assert_eq!(differences(&tree, &copy), missing, "{kind}, run {number}");
        assert!(report["bytes_on_wire"].as_u64().unwrap() < most, "run {number}: {report:#}");
    }
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    fs::write(tree.join("plain"), "changed while both run").unwrap();
    fs::rename(tree.join("bad:name?"), tree.join("a good name")).unwrap();
    fs::rename(tree.join("dir:bad"), tree.join("a good directory")).unwrap();
    fs::rename(tree.join("d"), tree.join("d:bad")).unwrap();
    fs::write(tree.join("d:bad/born"), "nowhere").unwrap();
    fs::remove_file(tree.join("control\u{1}")).unwrap();
    fs::remove_file(tree.join(OsStr::from_bytes(b"latin\xff"))).unwrap();
    until_true("the live change has arrived", SOON, || {
        fs::read(copy.join("plain")).is_ok_and(|bytes| bytes == b"changed while both run")
            && copy.join("a good name").exists()
            && copy.join("a good directory/in").exists()
    });
    if kind == "exfat" {
        until_true("what is renamed out of what it can hold has gone", SOON, || {
            !copy.join("d").exists()
        });
    }
    fs::rename(tree.join("d:bad"), tree.join("d")).unwrap();
    for name in ["link", "fifo", "null"] {
        fs::remove_file(tree.join(name)).unwrap();
    }
    pair.cutover().assert_code(&[0]);
    sink.end(SOON).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_eq!(differences(&tree, &copy), [""; 0], "{kind}, at the end");
}

#[test]
#[ignore = "needs root and daemons of FUSE: scripts/check.sh runs it where it can"]
fn needs_fuse_exfat_gets_what_it_can_hold() {
    let lost = json!({
        "permissions": 13,
        "fractions of modification times": 13,
        "inode flags": 1,
        "user extended attributes": 1,
        "POSIX ACLs": 1,
        "symbolic links": 1,
        "fifos and sockets": 1,
        "devices": 1,
        "names that are not UTF-8": 1,
        RESERVED: 3,
        "hard links": 2,
    });
    let missing = [
        ">f+++++++++ bad:name?",
        ">f+++++++++ control\\#001",
        "cd+++++++++ dir:bad/",
        ">f+++++++++ dir:bad/in",
    ];
    let problems = ["bad:name?", "control\u{1}", "dir:bad", "fifo", "no UTF-8", "link", "null"];
    migrate("exfat", &lost, &missing, &problems);
}

#[test]
#[ignore = "needs root and daemons of FUSE: scripts/check.sh runs it where it can"]
fn needs_fuse_ntfs_gets_what_it_can_hold() {
    let lost = json!({
        "permissions": 19,
        "fractions of modification times": 19,
        "inode flags": 1,
        "POSIX ACLs": 1,
        "names that are not UTF-8": 1,
    });
    migrate("ntfs", &lost, &[], &["no UTF-8"]);
}

#[test]
#[ignore = "needs root and daemons of FUSE: scripts/check.sh runs it where it can"]
fn needs_fuse_a_filesystem_that_loses_times_is_refused_and_left_as_it_was() {
    let mut pair = Pair::new();
    let _mount = Foreign::mount("vfat", &pair.sink_dir());
    fs::write(pair.source_dir().join("file"), "file").unwrap();
    let ended = pair.start_local(&["--once"]).end(LONG);
    ended.assert_code(&[4]).assert_says(&["does not keep the modification time"]);
    assert_eq!(fs::read_dir(pair.sink_dir()).unwrap().count(), 0);
}

#[test]
#[ignore = "needs root and daemons of FUSE: scripts/check.sh runs it where it can"]
fn needs_fuse_a_name_that_is_refused_unforeseen_is_a_problem_and_no_more() {
    let mut pair = Pair::new();
    let _mount = Foreign::mount("windows", &pair.sink_dir());
    let (tree, copy) = (pair.source_dir(), pair.sink_dir());
    // No character of these is at fault.
    fs::create_dir(tree.join("AUX")).unwrap();
    fs::write(tree.join("AUX/in"), "in").unwrap();
    for name in ["CON", "console", "end.", "start"] {
        fs::write(tree.join(name), name).unwrap();
    }
    let report = pair.arg("report.json");
    let ended = pair.start_local(&["--once", "--report", &report]).end(LONG);
    ended.assert_code(&[3]).assert_says(&["can't hold this name"]);
    let lost = &pair.report("report.json")["lost_attributes"];
    assert_eq!(lost[RESERVED], 1, "that with a dot at its end: {lost:#}");
    let missing = [">f+++++++++ CON", ">f+++++++++ end.", "cd+++++++++ AUX/", ">f+++++++++ AUX/in"];
    assert_eq!(differences(&tree, &copy), missing);
}
