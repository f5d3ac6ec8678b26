//! The journal on a real disk.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::{Offered, format};
use crate::model::offer::Offer;
use crate::model::path::{Name, RelPath};

struct Journal {
    _dir: tempfile::TempDir,
    path: PathBuf,
    offered: Offered,
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

impl Journal {
    fn new() -> Journal {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offered");
        let offered = Offered::open(&path).unwrap();
        Journal { _dir: dir, path, offered }
    }

    fn name(&mut self, text: &str) {
        self.offered.record(&[Offer::Name(path(text))]).unwrap();
    }

    fn moved(&mut self, from: &str, to: &str) {
        self.offered.record(&[Offer::Moved { from: path(from), to: path(to) }]).unwrap();
    }

    fn has(&self, text: &str) -> bool {
        let (dir, name) = path(text).split_last().unwrap();
        self.offered.was_offered(&dir, &[name]) == [true]
    }

    fn reopen(&mut self) {
        self.offered = Offered::open(&self.path).unwrap();
    }

    /// Checks now and after the journal was opened again.
    fn check(&mut self, present: &[&str], absent: &[&str]) {
        for _ in 0..2 {
            for text in present {
                assert!(self.has(text), "{text} was offered");
            }
            for text in absent {
                assert!(!self.has(text), "{text} was not offered");
            }
            self.reopen();
            assert_eq!(self.offered.damage(), None);
        }
    }
}

#[test]
fn names_and_directories_are_found_at_their_paths() {
    let mut journal = Journal::new();
    let raw = RelPath::new(&b"d/\xff\xfe"[..]).unwrap();
    let offers = [
        Offer::Name(path("top")),
        Offer::Dir(path("d")),
        Offer::Name(path("d/one")),
        Offer::Name(path("d/two")),
        Offer::Name(raw),
        Offer::Dir(path("d/empty/below")),
        Offer::Name(path("d/one")),
    ];
    journal.offered.record(&offers).unwrap();
    journal.check(
        &["top", "d", "d/one", "d/two", "d/empty", "d/empty/below"],
        &["one", "d/top", "e", "d/empty/one", "unknown/one"],
    );
    let asked = [&b"two"[..], b"three", b"\xff\xfe", b"two"].map(|n| Name::new(n).unwrap());
    assert_eq!(journal.offered.was_offered(&path("d"), &asked), [true, false, true, true]);
}

#[test]
fn a_rename_brings_what_was_offered_and_leaves_it_too() {
    let mut journal = Journal::new();
    for text in ["a/x", "a/sub/y", "b/old", "file"] {
        journal.name(text);
    }
    journal.moved("a", "b");
    journal.moved("file", "filed");
    journal.check(
        &["b/x", "b/sub/y", "b/old", "a/x", "a/sub/y", "filed", "file", "b"],
        &["a/old", "x"],
    );
    journal.name("b/new");
    journal.name("b/sub/new");
    journal.name("a/again");
    journal.check(&["b/new", "b/sub/new", "a/again"], &["a/new", "a/sub/new", "b/again"]);
    // Back and forth, with news in between: no circle, nothing lost.
    for turn in 0..20 {
        journal.moved("b", "a");
        journal.name(&format!("a/turn{turn}"));
        journal.moved("a", "b");
    }
    journal.check(&["b/turn0", "b/turn19", "a/turn7", "b/sub/y", "b/again"], &["b/turn20"]);
}

#[test]
fn a_rename_of_the_parent_carries_an_earlier_one() {
    let mut journal = Journal::new();
    journal.name("p/q/f");
    journal.moved("p/q", "r");
    journal.moved("p", "r/s");
    journal.moved("r", "t/u");
    journal.check(&["r/f", "t/u/f", "t/u/s/q/f", "r/s/q/f", "p/q/f"], &["t/f", "t/u/q/f"]);
}

#[test]
fn an_exchange_holds_both_at_both() {
    let mut journal = Journal::new();
    journal.name("a/x");
    journal.name("b/y");
    journal.offered.record(&[Offer::Exchanged { a: path("a"), b: path("b") }]).unwrap();
    journal.name("a/z");
    journal.check(&["a/x", "a/y", "b/x", "b/y", "a/z"], &["b/z"]);
}

#[test]
fn a_torn_tail_is_cut_off_and_what_stands_before_it_stays() {
    let mut journal = Journal::new();
    journal.name("kept");
    let whole = journal.offered.bytes();
    journal.name("d/torn");
    let end = journal.offered.bytes();
    for cut in whole + 1..end {
        let copy = journal.path.with_extension("copy");
        std::fs::copy(&journal.path, &copy).unwrap();
        std::fs::OpenOptions::new().write(true).open(&copy).unwrap().set_len(cut).unwrap();
        let mut offered = Offered::open(&copy).unwrap();
        assert_eq!(offered.damage(), None, "cut at {cut}");
        assert_eq!(offered.bytes(), whole);
        let names = ["kept", "d"].map(|n| Name::new(n.as_bytes()).unwrap());
        assert_eq!(offered.was_offered(&RelPath::root(), &names), [true, false]);
        offered.record(&[Offer::Name(path("d/after"))]).unwrap();
        let offered = Offered::open(&copy).unwrap();
        let after = [Name::new(*b"after").unwrap()];
        assert_eq!(offered.was_offered(&path("d"), &after), [true]);
    }
    // A power cut may leave zeros in the place of the last block.
    let file = std::fs::OpenOptions::new().write(true).open(&journal.path).unwrap();
    file.write_all_at(&vec![0; (end - whole) as usize], whole).unwrap();
    journal.reopen();
    assert!(journal.has("kept") && !journal.has("d/torn"));
}

#[test]
fn a_damaged_journal_is_moved_aside_and_said_aloud() {
    let mut journal = Journal::new();
    journal.name("one");
    let place = journal.offered.bytes() - 3;
    journal.name("two");
    let file = std::fs::OpenOptions::new().write(true).open(&journal.path).unwrap();
    file.write_all_at(b"\x55\xaa", place).unwrap();
    journal.reopen();
    let damage = journal.offered.damage().unwrap();
    assert!(damage.contains("offered.damaged"), "{damage}");
    assert!(!journal.has("one") && !journal.has("two"));
    assert!(journal.path.with_extension("damaged").exists());
    journal.name("three");
    journal.check(&["three"], &["one"]);
}

#[test]
fn names_offered_again_and_again_do_not_make_it_grow() {
    let mut journal = Journal::new();
    let offers: Vec<Offer> =
        (0..6_000).map(|n| Offer::Name(path(&format!("d{}/f{n}", n % 7)))).collect();
    journal.offered.record(&offers).unwrap();
    journal.moved("d1", "e");
    journal.reopen();
    let once = journal.offered.bytes();
    for _ in 0..6 {
        journal.offered.record(&offers).unwrap();
        journal.reopen();
        assert!(journal.offered.bytes() < 4 * once, "{} of {once}", journal.offered.bytes());
    }
    journal.check(&["d0/f0", "d6/f5998", "e/f1", "d1/f1", "d1", "e"], &["d0/f1", "e/f0"]);
}

#[test]
fn many_sets_of_names_cross_blocks() {
    let mut journal = Journal::new();
    let offers: Vec<Offer> = (0..100_000).map(|n| Offer::Name(path(&format!("d/f{n}")))).collect();
    journal.offered.record(&offers).unwrap();
    journal.check(&["d/f0", "d/f99999", "d/f50000"], &["d/f100000"]);
    let names: Vec<Name> =
        (99_990..100_010).map(|n| Name::new(format!("f{n}").into_bytes()).unwrap()).collect();
    let known = journal.offered.was_offered(&path("d"), &names);
    assert_eq!(known.iter().filter(|known| **known).count(), 10);
    assert_eq!(format::head(7).len(), 32);
}
