//! Objects with several names: groups across directories, live, over restarts and kills.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use crate::support::churn::{Churn, Plan, Verb};
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::{assert_equal, groups};
use crate::support::until_true;
use crate::support::zoo;

/// Whether two names are one object.
fn are_one(a: &Path, b: &Path) -> bool {
    let inode = |path: &Path| fs::symlink_metadata(path).map(|found| found.ino());
    matches!((inode(a), inode(b)), (Ok(a), Ok(b)) if a == b)
}

#[test]
fn names_come_go_and_are_written_through_while_both_run() {
    let mut pair = Pair::new();
    let (from, to) = (pair.source_dir(), pair.sink_dir());
    for dir in ["a", "b"] {
        fs::create_dir(from.join(dir)).unwrap();
    }
    zoo::write_at(&from.join("a/one"), &zoo::content(1, 400_000), 1_700_000_000, 5);
    fs::hard_link(from.join("a/one"), from.join("b/two")).unwrap();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    assert!(are_one(&to.join("a/one"), &to.join("b/two")), "linked by the first copy");
    let on_wire = pair.status(&from)["bytes_on_wire"].as_u64().unwrap();
    fs::hard_link(from.join("b/two"), from.join("three")).unwrap();
    until_true("a name has come", SOON, || are_one(&to.join("a/one"), &to.join("three")));
    fs::remove_file(from.join("a/one")).unwrap();
    until_true("a name has gone", SOON, || !to.join("a/one").exists());
    let after = pair.status(&from)["bytes_on_wire"].as_u64().unwrap();
    assert!(after - on_wire < 100_000, "no content travels for a name: {}", after - on_wire);
    fs::write(from.join("three"), "another content").unwrap();
    let is_there = || fs::read(to.join("b/two")).is_ok_and(|read| read == b"another content");
    until_true("it is written through", SOON, is_there);
    until_true("and one again", SOON, || are_one(&to.join("b/two"), &to.join("three")));
    // No event names the other: the name through which it is written is replaced at once.
    fs::write(from.join("b/two"), "unseen").unwrap();
    fs::write(from.join("fresh"), "fresh").unwrap();
    fs::rename(from.join("fresh"), from.join("b/two")).unwrap();
    let is_there = || fs::read(to.join("three")).is_ok_and(|read| read == b"unseen");
    until_true("what no event told of is there", SOON, is_there);
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(SOON).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&from, &to);
}

#[test]
fn groups_survive_churn_and_kills() {
    let mut pair = Pair::new();
    let (from, to) = (pair.source_dir(), pair.sink_dir());
    let pool = zoo::pool(&from, 300, 700);
    for (number, path) in pool.iter().enumerate() {
        let above = from.join(format!("links{}", number % 7));
        fs::create_dir_all(&above).unwrap();
        for copy in 0..3 {
            fs::hard_link(path, above.join(format!("{number}-{copy}"))).unwrap();
        }
    }
    let mut source = pair.start_source(&[]);
    let mut sink = pair.start_sink(&[]);
    pair.until_ready();
    assert_eq!(groups(&from), groups(&to));
    let rest = Duration::from_millis(3);
    let (root, verbs) = (from.clone(), Verb::NAMES);
    let churn = Churn::start(&Plan { root, seed: 21, writers: 3, verbs, rest, pool });
    for round in 1..=4 {
        until_true("the churn goes on", LONG, || churn.done() > 400 * round);
        if round % 2 == 0 {
            source.kill();
            source = pair.start_source(&[]);
        } else {
            sink.kill();
            sink = pair.start_sink(&[]);
        }
    }
    churn.stop();
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&from, &to);
    assert!(groups(&to).len() > 100, "only {} groups are left", groups(&to).len());
}

#[test]
fn a_copy_without_links_is_linked_and_not_sent_again() {
    let mut pair = Pair::new();
    let (from, to) = (pair.source_dir(), pair.sink_dir());
    for (number, path) in zoo::pool(&from, 60, 20_000).iter().enumerate() {
        fs::hard_link(path, from.join(format!("other-{number}"))).unwrap();
    }
    let copied = std::process::Command::new("rsync")
        .args(["-a", "--modify-window=-1"])
        .args([from.join(""), to.join("")])
        .status();
    assert!(copied.unwrap().success());
    assert!(groups(&to).is_empty());
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let on_wire = pair.status(&from)["bytes_on_wire"].as_u64().unwrap();
    assert!(on_wire < 300_000, "{on_wire} bytes for a copy that lacks links alone");
    pair.cutover().assert_code(&[0]);
    sink.end(SOON).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&from, &to);
}

#[test]
fn names_that_are_one_at_the_sink_alone_part_when_their_attributes_do() {
    let mut pair = Pair::new();
    let (from, to) = (pair.source_dir(), pair.sink_dir());
    for (name, mode) in [("one", 0o600), ("two", 0o644), ("three", 0o640)] {
        zoo::write_at(&from.join(name), b"the same", 1_700_000_000, 5);
        fs::set_permissions(from.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    fs::hard_link(from.join("three"), from.join("four")).unwrap();
    // As a snapshot beside the sink has it, which is to stay as it is.
    let kept = to.parent().unwrap().join("kept");
    zoo::write_at(&kept, b"the same", 1_700_000_000, 5);
    fs::set_permissions(&kept, PermissionsExt::from_mode(0o400)).unwrap();
    for name in ["one", "two", "three", "four"] {
        fs::hard_link(&kept, to.join(name)).unwrap();
    }
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(SOON).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&from, &to);
    assert!(are_one(&to.join("three"), &to.join("four")));
    assert!(!are_one(&to.join("one"), &to.join("two")));
    let found = fs::metadata(&kept).unwrap();
    assert_eq!((found.mode() & 0o7777, found.nlink()), (0o400, 1));
}

#[test]
fn without_hard_links_each_name_is_a_file_of_its_own() {
    let mut pair = Pair::new();
    let (from, to) = (pair.source_dir(), pair.sink_dir());
    zoo::write_at(&from.join("one"), b"the same", 1_700_000_000, 5);
    fs::hard_link(from.join("one"), from.join("two")).unwrap();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&["--no-hard-links"]);
    pair.until_ready();
    fs::hard_link(from.join("two"), from.join("three")).unwrap();
    fs::write(from.join("one"), "another").unwrap();
    let has_all = |name: &str| fs::read(to.join(name)).is_ok_and(|read| read == b"another");
    let names = ["one", "two", "three"];
    until_true("all are written", SOON, || names.iter().all(|name| has_all(name)));
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(SOON).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert!(groups(&to).is_empty());
}
