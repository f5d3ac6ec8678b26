//! `-n`: what would be done is told as rsync tells it, and nothing is changed anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, hard_link};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use walkdir::WalkDir;

use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::until_true;
use crate::support::zoo::{self, content};

/// All that tells whether anything was done to a tree: of each name what it is, its attributes, and
/// when it was changed last.
fn snapshot(tree: &Path) -> BTreeMap<String, String> {
    let entries = WalkDir::new(tree).into_iter().flatten();
    let told = entries.map(|entry| {
        let at = entry.path().strip_prefix(tree).expect("Below the tree");
        let meta = fs::symlink_metadata(entry.path()).expect("It is there");
        let what = (meta.ino(), meta.mode(), meta.uid(), meta.gid(), meta.size(), meta.nlink());
        let when = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        (at.to_string_lossy().into_owned(), format!("{what:?} {when:?}"))
    });
    told.collect()
}

/// A pool with one of everything that an ordinary user can make, and a sink that differs in each
/// kind of way.
fn differ_in_every_way(source: &Path, sink: &Path) {
    zoo::small(source);
    let file = |tree: &Path, name: &str, text: &str| {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().expect("Below the tree")).expect("A directory");
        fs::write(&path, text).expect("A file");
        path
    };
    let fifo = |tree: &Path, name: &str| {
        mknodat(CWD, tree.join(name), FileType::Fifo, Mode::RWXU, 0).expect("A fifo");
    };
    for name in ["grown", "moded", "timed", "dir/file-for-dir", "link-for-file", "fifo-for-file"] {
        file(source, name, "at the source");
    }
    file(source, "dir-for-file/in/deeper", "new");
    file(source, "dir-for-link/in", "new");
    fifo(source, "fifo");
    fifo(source, "fifo-new");
    fifo(source, "file-for-fifo");
    symlink("there", source.join("link")).unwrap();
    symlink("there", source.join("link-for-dir")).unwrap();
    symlink("there", source.join("file-for-link")).unwrap();
    for name in ["twins/new", "twins/changed", "twins/apart", "twins/fine"] {
        let first = file(source, &format!("{name}-a"), name);
        hard_link(first, source.join(format!("{name}-b"))).unwrap();
    }
    copy(&source.join(""), sink);
    for name in ["grown", "twins/changed-a"] {
        file(sink, name, "some other words");
    }
    fs::set_permissions(sink.join("moded"), PermissionsExt::from_mode(0o600)).unwrap();
    zoo::set_time(&sink.join("timed"), 1_500_000_000, 3);
    zoo::set_time(&sink.join("dir"), 1_500_000_000, 3);
    let remove = |name: &str| remove(&sink.join(name));
    for name in ["dir/file-for-dir", "link-for-dir", "dir-for-file", "dir-for-link", "fifo-new"] {
        remove(name);
    }
    file(sink, "dir/file-for-dir/foreign/file", "mine");
    file(sink, "link-for-dir/foreign", "mine");
    file(sink, "dir-for-file", "mine");
    symlink("elsewhere", sink.join("dir-for-link")).unwrap();
    for (name, to) in [("link", true), ("link-for-file", true), ("fifo-for-file", false)] {
        remove(name);
        if to { symlink("elsewhere", sink.join(name)).unwrap() } else { fifo(sink, name) }
    }
    for name in ["file-for-fifo", "file-for-link"] {
        remove(name);
        file(sink, name, "mine");
    }
    for name in ["twins/new-a", "twins/new-b"] {
        remove(name);
    }
    remove("twins/apart-b");
    copy(&source.join("twins/apart-b"), &sink.join("twins/apart-b"));
    file(sink, "foreign/below/file", "mine");
    file(sink, "foreign-file", "mine");
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).expect("It is there").is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("rsync").args(["-aHAX"]).arg(from).arg(to).status();
    assert!(done.expect("These tests need rsync").success());
}

/// The lines of rsync's dry run.
fn by_rsync(source: &Path, sink: &Path) -> String {
    let output = Command::new("rsync")
        .args(["-naHAXSi", "--delete", "--modify-window=-1"])
        .arg(source.join(""))
        .arg(sink.join(""))
        .output()
        .expect("These tests need rsync");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// What a dry run says, as a set: without which name of an object comes first, for either may.
fn lines(text: &str) -> BTreeSet<String> {
    let told = text.lines().filter(|line| line.as_bytes().get(11) == Some(&b' '));
    let plain = told.map(|line| {
        let (code, rest) = line.split_at(12);
        let name = rest.split(" => ").next().and_then(|rest| rest.split(" -> ").next());
        let name = name.unwrap_or(rest);
        let is_twin = name.starts_with("twins/") && !code.starts_with('*');
        match name.strip_prefix("twins/apart-") {
            Some(_) => "one of the twins apart".to_owned(),
            None if is_twin => format!("twin {name}"),
            None => format!("{code}{name}"),
        }
    });
    plain.collect()
}

fn assert_like_rsync(ours: &str, theirs: &str) {
    let (told, expected) = (lines(ours), lines(theirs));
    let missing: Vec<_> = expected.difference(&told).collect();
    let beyond: Vec<_> = told.difference(&expected).collect();
    assert!(missing.is_empty() && beyond.is_empty(), "missing {missing:#?}, beyond {beyond:#?}");
    assert_eq!(ours.lines().count(), told.len(), "each name once: {ours}");
}

#[test]
fn a_dry_run_tells_what_rsync_tells_and_changes_nothing() {
    let mut pair = Pair::new();
    let (source, sink) = (pair.source_dir(), pair.sink_dir());
    differ_in_every_way(&source, &sink);
    let (state, before) = (snapshot(&pair.path("")), snapshot(&sink));
    let dry = pair.start_local(&["-n", "--delete", "all"]).end(LONG);
    dry.assert_code(&[0]).assert_says(&["dry run: nothing was changed"]);
    assert_like_rsync(&dry.stdout, &by_rsync(&source, &sink));
    assert!(dry.stdout.contains("twins/new-"), "{}", dry.stdout);
    assert_eq!(snapshot(&sink), before, "the sink was touched");
    let left: Vec<_> = snapshot(&pair.path("")).into_keys().collect();
    let made: Vec<_> = left.iter().filter(|name| !state.contains_key(*name)).collect();
    // What the test itself keeps of the run: its output.
    let is_output = |name: &&&String| {
        name.starts_with("run/") || name.ends_with(".out") || name.ends_with(".err")
    };
    assert_eq!(made.iter().filter(|name| !is_output(name)).count(), 0, "made {made:?}");
    pair.start_local(&["--once", "--delete", "all"]).end(LONG).assert_code(&[0]);
    assert_equal(&source, &sink);
    let again = pair.start_local(&["-n", "--delete", "all"]).end(LONG);
    assert_eq!(again.assert_code(&[0]).stdout, "", "nothing is left to be done");
}

#[test]
fn a_sink_that_is_missing_is_told_of_and_not_made() {
    let mut pair = Pair::new();
    zoo::small(&pair.source_dir());
    fs::remove_dir(pair.sink_dir()).unwrap();
    let dry = pair.start_local(&["-ni"]).end(LONG);
    dry.assert_code(&[0]);
    assert!(
        dry.stdout.starts_with("cd+++++++++ ./\n") || dry.stdout.contains("\ncd+++++++++ ./\n")
    );
    assert!(!pair.sink_dir().exists());
    let names = WalkDir::new(pair.source_dir()).into_iter().flatten().count();
    assert_eq!(dry.stdout.lines().count(), names, "{}", dry.stdout);
}

#[test]
fn a_dry_sink_leaves_a_source_and_its_invite_as_they_were() {
    let mut pair = Pair::new();
    let (source, sink) = (pair.source_dir(), pair.sink_dir());
    zoo::pool(&source, 30, 1_000);
    let running = pair.start_source(&[]);
    let before = snapshot(&sink);
    for _ in 0..2 {
        let dry = pair.start_sink(&["-n"]).end(LONG);
        dry.assert_code(&[0]);
        assert_eq!(dry.stdout.lines().filter(|line| line.starts_with(">f+")).count(), 30);
    }
    assert_eq!(snapshot(&sink), before);
    // The invite is as good as new, and the first epoch is the first.
    pair.start_sink(&["--once"]).end(LONG).assert_code(&[0]);
    running.end(LONG).assert_code(&[0]);
    assert_equal(&source, &sink);
}

#[test]
fn only_what_was_offered_would_be_removed() {
    let mut pair = Pair::new();
    let (source, sink) = (pair.source_dir(), pair.sink_dir());
    let files = zoo::pool(&source, 20, 100);
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    fs::remove_file(&files[3]).unwrap();
    fs::write(&files[4], content(5, 200)).unwrap();
    fs::write(sink.join("foreign"), "mine").unwrap();
    let gone = files[3].strip_prefix(&source).unwrap().display().to_string();
    let (before, ledgers) = (snapshot(&sink), snapshot(&pair.path("local-state")));
    let dry = pair.start_local(&["-n"]).end(LONG);
    dry.assert_code(&[0]).assert_says(&["foreign, left alone"]);
    let deleted: Vec<&str> =
        dry.stdout.lines().filter_map(|line| line.strip_prefix("*deleting   ")).collect();
    assert_eq!(deleted, [gone.as_str()]);
    assert_eq!(dry.stdout.matches(">f.st......").count(), 1, "{}", dry.stdout);
    assert_eq!((snapshot(&sink), snapshot(&pair.path("local-state"))), (before, ledgers));
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    assert!(!sink.join(&gone).exists() && sink.join("foreign").exists());
}

#[test]
fn a_dry_source_makes_its_sinks_dry_and_ends_with_one() {
    let mut pair = Pair::new();
    let (source, sink) = (pair.source_dir(), pair.sink_dir());
    zoo::pool(&source, 30, 1_000);
    fs::remove_dir(&sink).unwrap();
    let mut running = pair.start_source(&["-n"]);
    until_true("a cutover is refused, once people can ask", SOON, || {
        let refused = pair.run(&["cutover", source.to_str().unwrap()]);
        assert!(refused.status.code() != Some(0), "{refused:#?}");
        refused.stderr.contains("This is a dry run")
    });
    assert!(running.try_end().is_none());
    let dry = pair.start_sink(&[]).end(LONG);
    dry.assert_code(&[0]).assert_says(&["dry run: nothing was changed"]);
    assert_eq!(dry.stdout.lines().filter(|line| line.starts_with(">f+")).count(), 30);
    running.end(LONG).assert_code(&[0]);
    assert!(!sink.exists());
    let running = pair.start_source(&[]);
    pair.start_sink(&["--once"]).end(LONG).assert_code(&[0]);
    running.end(LONG).assert_code(&[0]);
    assert_equal(&source, &sink);
}

#[test]
fn all_removals_are_told_however_many_there_are_in_one_directory() {
    let mut pair = Pair::new();
    fs::write(pair.source_dir().join("one"), "one").unwrap();
    for number in 0..5_000 {
        fs::write(pair.sink_dir().join(format!("more-{number:04}")), "").unwrap();
    }
    let dry = pair.start_local(&["--once", "-n", "--delete", "all"]).end(LONG);
    dry.assert_code(&[0]);
    let removals = dry.stdout.lines().filter(|line| line.starts_with("*deleting"));
    assert_eq!(removals.count(), 5_000);
}
