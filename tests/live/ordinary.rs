//! A pair run by an ordinary user: directories that are closed to their own owner are no obstacle.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::until_true;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Does something in a directory that is closed meanwhile opened, as its owner would.
fn opened(dir: &Path, act: impl FnOnce()) {
    chmod(dir, 0o700);
    act();
    chmod(dir, 0o500);
}

fn closed_tree(root: &Path) {
    fs::create_dir_all(root.join("closed/below/deeper")).unwrap();
    fs::create_dir_all(root.join("closed/gone/with all")).unwrap();
    fs::create_dir(root.join("open")).unwrap();
    for name in ["closed/file", "closed/below/file", "closed/below/deeper/file", "open/file"] {
        fs::write(root.join(name), name).unwrap();
    }
    fs::write(root.join("closed/gone/with all/file"), "to go").unwrap();
    for dir in
        ["closed/gone/with all", "closed/gone", "closed/below/deeper", "closed/below", "closed", ""]
    {
        chmod(&root.join(dir), 0o500);
    }
}

#[test]
fn directories_closed_to_their_owner_are_filled_changed_and_emptied() {
    let mut pair = Pair::of_ordinary_user();
    let root = pair.source_dir();
    closed_tree(&root);
    pair.give_source();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let closed = root.join("closed");
    opened(&closed, || {
        fs::write(closed.join("new"), "new").unwrap();
        fs::remove_file(closed.join("file")).unwrap();
        chmod(&closed.join("below"), 0o700);
        opened(&root, || fs::rename(closed.join("below"), root.join("moved")).unwrap());
        chmod(&root.join("moved"), 0o500);
        chmod(&closed.join("gone"), 0o700);
        chmod(&closed.join("gone/with all"), 0o700);
        fs::remove_dir_all(closed.join("gone")).unwrap();
    });
    pair.give_source();
    let (new, gone) = (pair.sink_dir().join("closed/new"), pair.sink_dir().join("closed/gone"));
    until_true("what is new has come, what is gone has gone", SOON, || {
        new.exists() && !gone.exists()
    });
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&root, &pair.sink_dir());
}

#[test]
fn a_closed_tree_is_brought_up_to_date_by_a_second_run() {
    let mut pair = Pair::of_ordinary_user();
    let root = pair.source_dir();
    closed_tree(&root);
    pair.give_source();
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    assert_equal(&root, &pair.sink_dir());
    opened(&root.join("closed"), || {
        fs::write(root.join("closed/file"), "other content").unwrap();
        fs::remove_dir_all(root.join("closed/gone")).unwrap();
    });
    pair.give_source();
    // What the sink once had without the way in has to be found all the same.
    chmod(&pair.sink_dir().join("closed/below"), 0o000);
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    assert_equal(&root, &pair.sink_dir());
}

#[test]
fn a_file_that_becomes_readable_is_read_at_once() {
    let mut pair = Pair::of_ordinary_user();
    let (file, at_sink) = (pair.source_dir().join("file"), pair.sink_dir().join("file"));
    fs::write(&file, "content").unwrap();
    chmod(&file, 0);
    pair.give_source();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let told = pair.until_status("the problem is told", SOON, |status| {
        status["problems"] == 1 && !status["reason"].is_null()
    });
    assert!(told["reason"].as_str().unwrap().contains("\"file\""), "{told}");
    chmod(&file, 0o600);
    // Half of what it would wait otherwise.
    until_true("it has come", Duration::from_secs(15), || at_sink.exists());
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}
