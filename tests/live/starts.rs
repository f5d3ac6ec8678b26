//! Where a migration starts: sinks that are filled already, and what a person wants of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use crate::support::disk::Store;
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::{until_true, whole, zoo};

/// Both sides have `file`, of one size and time, and not of one content.
fn filled_wrongly(pair: &Pair) {
    for (dir, content) in [(pair.source_dir(), "right"), (pair.sink_dir(), "wrong")] {
        zoo::write_at(&dir.join("file"), content.as_bytes(), 1_000_000_000, 5);
        zoo::write_at(&dir.join("large"), &vec![content.as_bytes()[0]; 400_000], 1_000_000_000, 6);
        zoo::write_at(&dir.join("alike"), b"alike", 1_000_000_000, 7);
        zoo::set_time(&dir, 1_000_000_000, 8);
    }
}

#[test]
fn a_filled_sink_is_believed_by_times_or_read_for_a_checksum() {
    let mut pair = Pair::new();
    filled_wrongly(&pair);
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    let content = |pair: &Pair, name: &str| fs::read(pair.sink_dir().join(name)).unwrap();
    assert_eq!(content(&pair, "file"), b"wrong", "size and time were believed");
    let mut pair = Pair::new();
    filled_wrongly(&pair);
    let alike = fs::metadata(pair.sink_dir().join("alike")).unwrap().ino();
    pair.start_local(&["--once", "--checksum"]).end(LONG).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    let after = fs::metadata(pair.sink_dir().join("alike")).unwrap().ino();
    assert_eq!(alike, after, "what is alike does not travel");
}

#[test]
fn a_sink_that_is_declared_up_to_date_gets_changes_only() {
    let mut pair = Pair::new();
    filled_wrongly(&pair);
    let (source_dir, sink_dir) = (pair.source_dir(), pair.sink_dir());
    fs::write(source_dir.join("only at the source"), "only").unwrap();
    for dir in [&source_dir, &sink_dir] {
        fs::write(dir.join("to go"), "to go").unwrap();
    }
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&["--changes-only"]);
    pair.until_ready();
    fs::write(source_dir.join("new"), "new").unwrap();
    fs::write(source_dir.join("alike"), "changed").unwrap();
    fs::remove_file(source_dir.join("to go")).unwrap();
    until_true("the changes have come", SOON, || {
        fs::read(sink_dir.join("new")).is_ok_and(|bytes| bytes == b"new")
            && fs::read(sink_dir.join("alike")).is_ok_and(|bytes| bytes == b"changed")
            && !sink_dir.join("to go").exists()
    });
    pair.cutover().assert_code(&[0]);
    sink.end(SOON).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_eq!(fs::read(sink_dir.join("file")).unwrap(), b"wrong", "it has not changed since");
    assert!(!sink_dir.join("only at the source").exists());
}

#[test]
#[ignore = "needs root: scripts/check.sh runs it where it can"]
fn needs_root_other_owners_at_the_sink() {
    let mut pair = Pair::new();
    let (tree, copy) = (pair.source_dir(), pair.sink_dir());
    for (name, uid, gid) in [("a", 1_000, 50), ("b", 1_001, 51), ("c", 7, 7)] {
        fs::write(tree.join(name), name).unwrap();
        chown(tree.join(name), Some(uid), Some(gid)).unwrap();
    }
    whole::try_set_acl(&tree.join("c"), 1_001, 6).unwrap();
    let args = ["--once", "--usermap", "1000-1099:65534,7:root", "--groupmap", "*:5"];
    pair.start_local(&args).end(LONG).assert_code(&[0]);
    let owner = |name: &str| {
        let found = fs::metadata(copy.join(name)).unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner("a"), (65_534, 5));
    assert_eq!(owner("b"), (65_534, 5));
    assert_eq!(owner("c"), (0, 5));
    let mut list = [0; 64];
    let bytes = rustix::fs::getxattr(copy.join("c"), "system.posix_acl_access", &mut list[..]);
    let list = &list[..bytes.unwrap()];
    let mapped = 65_534_u32.to_le_bytes();
    assert!(list.windows(4).any(|id| id == mapped), "the list names another user: {list:?}");
    // A second run finds nothing to do.
    let report = pair.arg("report.json");
    let again = [&args[..], &["--report", &report]].concat();
    pair.start_local(&again).end(LONG).assert_code(&[0]);
    assert_eq!(pair.report("report.json")["outcome"], "equal");
}

#[test]
fn strict_makes_a_loss_an_error() {
    let mut pair = Pair::of_ordinary_user();
    let tree = pair.source_dir();
    fs::write(tree.join("mine"), "mine").unwrap();
    pair.give_source();
    pair.start_local(&["--once", "--strict"]).end(LONG).assert_code(&[0]);
    if rustix::process::geteuid().is_root() {
        fs::write(tree.join("others"), "others").unwrap();
        let ended = pair.start_local(&["--once", "--strict"]).end(LONG);
        ended.assert_code(&[3]).assert_says(&["owners and groups", "1 times"]);
    }
}

#[test]
#[ignore = "needs root and loop devices: scripts/check.sh runs it where it can"]
fn needs_loop_a_filesystem_of_old_loses_fractions_of_times_and_says_so() {
    let store = Store::new();
    let mut pair = Pair::new();
    let image = store.image("old");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    crate::support::disk::run("mkfs.ext2", &["-q", "-F", "-I", "128", image.to_str().unwrap()]);
    let disk = crate::support::disk::Disk::mount(&image, &pair.sink_dir());
    fs::remove_dir(pair.sink_dir().join("lost+found")).unwrap();
    zoo::write_at(&pair.source_dir().join("whole second"), b"1", 1_000_000_000, 0);
    zoo::write_at(&pair.source_dir().join("fraction"), b"2", 1_000_000_000, 500_000_000);
    zoo::set_time(&pair.source_dir(), 1_000_000_000, 0);
    let refused = pair.start_local(&["--once", "--strict"]).end(LONG);
    refused.assert_code(&[4]).assert_says(&["--strict", "fractions of modification times"]);
    let report = pair.arg("report.json");
    pair.start_local(&["--once", "--report", &report]).end(LONG).assert_code(&[0]);
    let report = pair.report("report.json");
    assert_eq!(report["lost_attributes"]["fractions of modification times"], 1, "{report}");
    let kept = fs::metadata(pair.sink_dir().join("fraction")).unwrap();
    assert_eq!((kept.mtime(), kept.mtime_nsec()), (1_000_000_000, 0));
    disk.unmount();
}
