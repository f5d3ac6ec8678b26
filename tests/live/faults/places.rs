//! Somebody is at the sink's tree: its directory goes or is another, its content is edited,
//! emptied or put back, a directory becomes a symlink under the sink's hands.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::mount::Mount;
use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::{assert_equal, size};
use crate::support::{until_true, zoo};

/// Ends a pair by a cutover.
#[track_caller]
fn cut_over(pair: &mut Pair, source: Operator, sink: Operator) {
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

/// A pair whose pool has arrived.
fn settled() -> (Pair, Operator, Operator) {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 500, 1_000);
    zoo::small(&pair.source_dir());
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    (pair, source, sink)
}

/// The staging directory at the sink, while there is one.
fn staging(sink: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(sink).ok()?.flatten();
    let mut paths = names.map(|entry| entry.path());
    paths.find(|path| path.to_string_lossy().contains(".osync-staging-"))
}

/// Copies a tree as it is.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp can be run");
    assert!(status.success());
}

#[test]
fn a_sink_whose_directory_is_replaced_halts() {
    let (mut pair, source, sink) = settled();
    let aside = pair.path("aside");
    let before = size(&pair.sink_dir());
    fs::rename(pair.sink_dir(), &aside).unwrap();
    fs::create_dir(pair.sink_dir()).unwrap();
    sink.end(SOON).assert_code(&[5]).assert_says(&["removed, replaced or unmounted"]);
    assert_eq!(size(&pair.sink_dir()), (0, 0), "something was written to another directory");
    fs::remove_dir(pair.sink_dir()).unwrap();
    fs::rename(&aside, pair.sink_dir()).unwrap();
    assert!(size(&pair.sink_dir()).0 >= before.0 - 1);
    let sink = pair.start_sink(&[]);
    cut_over(&mut pair, source, sink);
}

#[test]
fn a_sink_whose_directory_is_removed_halts_and_all_is_sent_again() {
    let (mut pair, source, sink) = settled();
    fs::rename(pair.sink_dir(), pair.path("away")).unwrap();
    sink.end(SOON).assert_code(&[5]).assert_says(&["removed, replaced or unmounted"]);
    let sink = pair.start_sink(&[]);
    cut_over(&mut pair, source, sink);
}

#[test]
fn h2_a_marker_that_goes_makes_the_sink_compare_everything() {
    let (mut pair, source, sink) = settled();
    let staging = staging(&pair.sink_dir()).expect("A staging directory");
    fs::remove_dir_all(pair.sink_dir().join("pool-000")).unwrap();
    fs::remove_dir_all(&staging).unwrap();
    // The next barrier notices: something has to be made durable for that.
    fs::write(pair.source_dir().join("new"), "new").unwrap();
    let back = pair.sink_dir().join("pool-000/file-000042");
    until_true("what was removed is back", LONG, || back.exists());
    cut_over(&mut pair, source, sink);
}

/// Edits the sink's tree while the sink is down, in ways that neither size nor time betray.
fn edit(sink: &Path) {
    let victim = sink.join("pool-000/file-000007");
    let time = fs::metadata(&victim).unwrap().modified().unwrap();
    let bytes = fs::read(&victim).unwrap();
    fs::write(&victim, &bytes[1..]).unwrap();
    fs::File::options().write(true).open(&victim).unwrap().set_modified(time).unwrap();
    fs::remove_file(sink.join("pool-001/file-000142")).unwrap();
    fs::rename(sink.join("pool-002"), sink.join("deep/pool-002")).unwrap();
    fs::remove_file(sink.join("one")).unwrap();
    fs::create_dir(sink.join("one")).unwrap();
    fs::remove_dir_all(sink.join("deep/er")).unwrap();
    symlink("/tmp", sink.join("deep/er")).unwrap();
}

#[test]
fn h2_what_was_edited_while_the_sink_was_down_is_mended() {
    let (mut pair, source, sink) = settled();
    sink.terminate_and_end();
    edit(&pair.sink_dir());
    let sink = pair.start_sink(&["--delete", "all"]);
    cut_over(&mut pair, source, sink);
}

#[test]
fn h2_a_sink_that_was_emptied_is_filled_again() {
    let (mut pair, source, sink) = settled();
    sink.kill();
    for entry in fs::read_dir(pair.sink_dir()).unwrap().flatten() {
        // As `rm -rf *` does, which leaves what begins with a dot.
        if !entry.file_name().to_string_lossy().starts_with('.') {
            let path = entry.path();
            let removed = if entry.file_type().unwrap().is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.unwrap();
        }
    }
    let sink = pair.start_sink(&[]);
    cut_over(&mut pair, source, sink);
}

#[test]
fn h2_an_old_copy_put_back_is_brought_up_to_date() {
    let (mut pair, source, sink) = settled();
    sink.terminate_and_end();
    copy(&pair.sink_dir(), &pair.path("old"));
    let sink = pair.start_sink(&[]);
    fs::write(pair.source_dir().join("pool-000/file-000001"), "changed").unwrap();
    fs::remove_file(pair.source_dir().join("pool-000/file-000002")).unwrap();
    let changed = pair.sink_dir().join("pool-000/file-000001");
    until_true("the change has arrived", SOON, || {
        fs::read(&changed).is_ok_and(|bytes| bytes == b"changed")
    });
    pair.until_ready();
    sink.kill();
    fs::rename(pair.sink_dir(), pair.path("away")).unwrap();
    copy(&pair.path("old"), &pair.sink_dir());
    // Another root: what was once removed here is foreign there.
    let sink = pair.start_sink(&["--delete", "all"]);
    cut_over(&mut pair, source, sink);
}

#[test]
fn h30_a_directory_that_becomes_a_symlink_leads_nowhere() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 3_000, 2_000);
    let outside = pair.path("outside");
    fs::create_dir(&outside).unwrap();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let dirs: Vec<PathBuf> =
        (0..30).map(|number| pair.sink_dir().join(format!("pool-{number:03}"))).collect();
    let mut swapped = 0;
    for (number, dir) in dirs.iter().enumerate().skip(1).step_by(4) {
        until_true("the directory is there", LONG, || {
            fs::read_dir(dir).is_ok_and(|mut names| names.next().is_some())
        });
        let aside = pair.sink_dir().join(format!("aside-{number}"));
        if fs::rename(dir, &aside).is_ok() && symlink(&outside, dir).is_ok() {
            swapped += 1;
        }
    }
    assert!(swapped > 0, "the sink was always faster");
    pair.until_ready();
    assert_eq!(size(&outside), (0, 0), "the sink has left its root");
    // What was put aside is foreign.
    for number in 0..30 {
        let _ = fs::remove_dir_all(pair.sink_dir().join(format!("aside-{number}")));
    }
    cut_over(&mut pair, source, sink);
}

#[test]
#[ignore = "mounts filesystems, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_a_filesystem_below_the_sinks_root_goes_and_another_comes() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir().join("held"), 300, 1_000);
    zoo::pool(&pair.source_dir().join("beside"), 100, 1_000);
    let at = pair.sink_dir().join("held");
    fs::create_dir(&at).unwrap();
    let first = Mount::small(&at, "64m");
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    // Lazily: the sink may hold it.
    drop(first);
    fs::write(pair.source_dir().join("held/new"), "after it went").unwrap();
    until_true("what is new has come", SOON, || at.join("new").exists());
    let second = Mount::small(&at, "64m");
    cut_over(&mut pair, source, sink);
    drop(second);
}
