//! Changes that make no event, and files that are open for writing at the end.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::mount::Mount;
use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::silent::{Mapping, write_asynchronously};
use crate::support::zoo::content;
use crate::support::{until, until_true};

const BYTES: usize = 20_000;
const NAMES: [&str; 6] = ["mapped", "synced", "aio", "linked", "cut", "grown"];

/// A pair at rest, over a tree of these files in a directory; some have a second name outside.
fn pair_at_rest() -> (Pair, Operator, Operator) {
    let mut pair = Pair::new();
    let dir = pair.source_dir().join("d");
    fs::create_dir(&dir).unwrap();
    for (at, name) in NAMES.iter().enumerate() {
        fs::write(dir.join(name), content(at as u64, BYTES)).unwrap();
        fs::hard_link(dir.join(name), outside(&pair, name)).unwrap();
    }
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    (pair, source, sink)
}

fn outside(pair: &Pair, name: &str) -> PathBuf {
    pair.path(&format!("outside {name}"))
}

/// Those who have files of the pair open for writing.
struct Writers {
    mapped: Mapping,
    synced: Mapping,
    aio: File,
}

/// Changes all files without an event in the tree.
fn change_all(pair: &Pair) -> Writers {
    let writer = |name| OpenOptions::new().write(true).open(outside(pair, name)).unwrap();
    let mut mapped = Mapping::of(&pair.source_dir().join("d/mapped"));
    let mut synced = Mapping::of(&outside(pair, "synced"));
    mapped.fill(b'm');
    synced.fill(b's');
    synced.sync();
    // Opened by its name in the tree, as is the mapped one: its end makes an event, but no write.
    let aio = OpenOptions::new().write(true).open(pair.source_dir().join("d/aio")).unwrap();
    write_asynchronously(&aio, &content(77, BYTES));
    writer("linked").write_all_at(b"through another name", 100).unwrap();
    writer("cut").set_len(5).unwrap();
    writer("grown").set_len(2 * BYTES as u64).unwrap();
    Writers { mapped, synced, aio }
}

fn is_same(pair: &Pair, name: &str) -> bool {
    let read = |root: &Path| fs::read(root.join("d").join(name)).unwrap();
    read(&pair.source_dir()) == read(&pair.sink_dir())
}

#[test]
fn what_makes_no_event_arrives_while_the_session_lasts() {
    let (mut pair, source, sink) = pair_at_rest();
    let mut writers = change_all(&pair);
    for name in NAMES {
        until_true("a patrol finds it", LONG, || is_same(&pair, name));
    }
    assert!(pair.status(&pair.source_dir())["sweeps"].as_u64() > Some(0));
    // Not brought to the disk: the page is dirty, and its file's times stand still.
    writers.mapped.fill(b'M');
    drop(writers);
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    assert!(fs::read(pair.sink_dir().join("d/mapped")).unwrap().iter().all(|byte| *byte == b'M'));
}

#[test]
fn the_closing_sweep_finds_what_made_no_event() {
    let (mut pair, source, sink) = pair_at_rest();
    drop(change_all(&pair));
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

#[test]
fn what_is_open_for_writing_at_the_end_is_hot() {
    let (mut pair, source, sink) = pair_at_rest();
    let Writers { mapped, synced, aio } = change_all(&pair);
    drop(synced);
    let ended = pair.cutover();
    ended.assert_code(&[3]);
    for name in ["\"d/mapped\"", "\"d/aio\""] {
        let line = format!("is open for writing: {name}");
        assert!(ended.stdout.contains(&line), "{}", ended.stdout);
    }
    assert_eq!(ended.stdout.matches("is open for writing: ").count(), 2, "{}", ended.stdout);
    assert!(ended.stdout.contains("some files are still open for writing"), "{}", ended.stdout);
    sink.end(LONG).assert_code(&[3]);
    source.end(SOON).assert_code(&[3]);
    // They stood still.
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    drop((mapped, aio));
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
}

/// A directory seen through a process; dropped, it is unmounted.
struct Bound(PathBuf);

impl Bound {
    fn mount(from: &Path, at: &Path) -> Bound {
        let status = Command::new("bindfs").arg(from).arg(at).status();
        let status = status.expect("This test needs bindfs: apt install bindfs");
        assert!(status.success(), "This test mounts by FUSE: run it as root");
        Bound(at.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
#[ignore = "mounts by FUSE, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_what_others_change_behind_fuse_is_swept() {
    for below in [false, true] {
        let mut pair = Pair::watching_by("auto");
        let inner = Mount::small(&pair.source_dir(), "100m");
        let (behind, at) = (pair.path("behind"), pair.source_dir().join("fuse"));
        fs::create_dir(&behind).unwrap();
        fs::create_dir(&at).unwrap();
        fs::create_dir(behind.join("sub")).unwrap();
        fs::write(behind.join("sub/f"), "before").unwrap();
        let bound = Bound::mount(&behind, &at);
        if !below {
            pair.set_source_dir(at);
        }
        let source = pair.start_source(&[]);
        let sink = pair.start_sink(&[]);
        pair.until_ready();
        let where_to = if below { "\"fuse\"" } else { "the whole tree" };
        let said = until("the source says what it sweeps", SOON, || {
            let said = source.stderr();
            said.contains("Swept in turn").then_some(said)
        });
        assert!(said.contains("On FUSE, others may change files"), "{said}");
        assert!(said.contains(where_to) && !said.contains("fanotify can't"), "{said}");
        fs::write(behind.join("sub/new"), "behind its back").unwrap();
        fs::write(behind.join("sub/f"), "after!").unwrap();
        let there = pair.sink_dir().join(if below { "fuse/sub" } else { "sub" });
        until_true("a patrol finds it", LONG, || {
            let has = |name: &str, text: &str| {
                fs::read_to_string(there.join(name)).is_ok_and(|found| found == text)
            };
            has("new", "behind its back") && has("f", "after!")
        });
        pair.cutover().assert_code(&[0]);
        sink.end(LONG).assert_code(&[0]);
        source.end(SOON).assert_code(&[0]);
        assert_equal(&pair.source_dir(), &pair.sink_dir());
        drop(bound);
        drop(inner);
    }
}
