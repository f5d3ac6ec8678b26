//! The ledger on a real disk.

use std::path::PathBuf;

use super::Ledger;
use crate::model::entry::{FileTime, Hash, Identity};
use crate::model::ledger::{Deed, Entered, Entries, Facts, Kind, Known, Proof};
use crate::model::limits::LEDGER_LAYERS_MAX;
use crate::model::marker::{Marker, MarkerId};
use crate::model::offer::{Offer, Offering};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{Epoch, Stamp};

const HASH: Hash = Hash([9; 32]);

struct Book {
    _dir: tempfile::TempDir,
    path: PathBuf,
    ledger: Option<Ledger>,
    stamp: u64,
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn facts(inode: u64) -> Facts {
    let time = FileTime { seconds: 5, nanos: 6 };
    let identity = Identity { device: 1, inode, birth: 3 };
    Facts {
        identity,
        kind: Kind::File,
        size: 4,
        mtime: time,
        ctime: time,
        is_young: false,
        has_others: false,
        home: None,
    }
}

impl Book {
    fn new() -> Book {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut ledger = Ledger::open(&path).unwrap();
        assert!(ledger.meet(&marker(1, 0), Epoch(1)).unwrap());
        Book { _dir: dir, path, ledger: Some(ledger), stamp: 0 }
    }

    fn ledger(&mut self) -> &mut Ledger {
        self.ledger.as_mut().unwrap()
    }

    fn offer(&mut self, offer: Offer) {
        self.stamp += 1;
        let stamp = Stamp(self.stamp);
        self.ledger().offer(Epoch(1), &[Offering { stamp, offer }]).unwrap();
    }

    fn name(&mut self, text: &str) {
        self.offer(Offer::Name(path(text)));
    }

    fn moved(&mut self, from: &str, to: &str) {
        self.offer(Offer::Moved { from: path(from), to: path(to) });
    }

    fn enter(&mut self, report: u64, stamp: u64, deed: Deed, durable_through: u64) {
        let deeds = vec![Entered { stamp: Stamp(stamp), deed }];
        let entries =
            Entries { epoch: Epoch(1), report, deeds, durable_through, barrier: durable_through };
        self.ledger().enter(&entries).unwrap();
    }

    fn stands(&mut self, report: u64, text: &str, hash: Option<Hash>) {
        let deed = Deed::Stands { path: path(text), facts: facts(report), hash };
        self.enter(report, self.stamp, deed, 0);
    }

    fn durable(&mut self, through: u64) {
        let entries = Entries {
            epoch: Epoch(1),
            report: through,
            deeds: vec![],
            durable_through: through,
            barrier: through,
        };
        self.ledger().enter(&entries).unwrap();
    }

    fn has(&mut self, text: &str) -> bool {
        let (dir, name) = path(text).split_last().unwrap();
        self.ledger().was_offered(&dir, &[name]) == [true]
    }

    /// What the next epoch would know.
    fn known(&mut self, text: &str) -> Option<Known> {
        self.ledger().current = Epoch(2);
        let (dir, name) = path(text).split_last().unwrap();
        self.ledger().recall(&dir, [(&name, &facts(1))].into_iter()).map(|known| known[0].0)
    }

    fn missing(&mut self, text: &str, seen: &[&str]) -> Vec<String> {
        let dir = RelPath::new(text).unwrap_or_default();
        let is_seen = |name: &[u8]| seen.iter().any(|one| one.as_bytes() == name);
        let missing = self.ledger().missing(&dir, is_seen);
        missing.iter().map(ToString::to_string).collect()
    }

    fn reopen(&mut self) {
        self.ledger = None;
        self.ledger = Some(Ledger::open(&self.path).unwrap());
    }

    fn check(&mut self, present: &[&str], absent: &[&str]) {
        for _ in 0..2 {
            for text in present {
                assert!(self.has(text), "{text} was offered");
            }
            for text in absent {
                assert!(!self.has(text), "{text} was not offered");
            }
            self.reopen();
            assert_eq!(self.ledger().damage(), None);
        }
    }
}

#[test]
fn names_and_directories_are_found_at_their_paths() {
    let mut book = Book::new();
    for text in ["top", "d/one", "d/two"] {
        book.name(text);
    }
    book.offer(Offer::Name(RelPath::new(&b"d/\xff\xfe"[..]).unwrap()));
    book.offer(Offer::Dir(path("d/empty/below")));
    let names = [("l", false), ("m", true)];
    let names = names.map(|(name, is_dir)| (Name::new(name.as_bytes()).unwrap(), is_dir));
    book.offer(Offer::Listed { dir: path("d"), names: names.into() });
    book.check(
        &["top", "d", "d/one", "d/two", "d/empty", "d/empty/below", "d/l", "d/m"],
        &["one", "d/top", "e", "d/empty/one", "unknown/one", "l"],
    );
    let asked = [&b"two"[..], b"three", b"\xff\xfe", b"two"].map(|n| Name::new(n).unwrap());
    assert_eq!(book.ledger().was_offered(&path("d"), &asked), [true, false, true, true]);
}

#[test]
fn a_rename_brings_what_was_offered_and_leaves_it_too() {
    let mut book = Book::new();
    for text in ["a/x", "a/sub/y", "b/old", "file"] {
        book.name(text);
    }
    book.moved("a", "b");
    book.moved("file", "filed");
    book.check(
        &["b/x", "b/sub/y", "b/old", "a/x", "a/sub/y", "filed", "file", "b"],
        &["a/old", "x"],
    );
    book.name("b/new");
    book.name("b/sub/new");
    book.name("a/again");
    book.check(&["b/new", "b/sub/new", "a/again"], &["a/new", "a/sub/new", "b/again"]);
    for turn in 0..20 {
        book.moved("b", "a");
        book.name(&format!("a/turn{turn}"));
        book.moved("a", "b");
    }
    book.check(&["b/turn0", "b/turn19", "a/turn7", "b/sub/y", "b/again"], &["b/turn20"]);
}

#[test]
fn an_exchange_holds_both_at_both() {
    let mut book = Book::new();
    book.name("a/x");
    book.name("b/y");
    book.offer(Offer::Exchanged { a: path("a"), b: path("b") });
    book.name("a/z");
    book.check(&["a/x", "a/y", "b/x", "b/y", "a/z"], &["b/z"]);
}

#[test]
fn directories_that_change_places_all_the_time_stay_cheap() {
    let mut book = Book::new();
    for dir in ["a", "b", "c/d"] {
        book.name(&format!("{dir}/first"));
        book.name(&format!("{dir}/sub/deep/first"));
    }
    for turn in 0..100 {
        let dirs = ["a", "b", "c/d"];
        let (one, other) = (dirs[turn % 3], dirs[(turn + 1) % 3]);
        book.offer(Offer::Exchanged { a: path(one), b: path(other) });
        book.name(&format!("{one}/turn{turn}"));
        book.name(&format!("{other}/sub/deep/turn{turn}"));
        book.stands(turn as u64 + 1, &format!("{one}/turn{turn}"), Some(HASH));
        if turn % 10 == 0 {
            book.moved("c", "e");
            book.moved("e", "c");
        }
    }
    for dir in ["a", "b", "c/d", "a/sub/deep", "b/sub/deep", "c/d/sub/deep"] {
        let layers = book.ledger().tree.sets_at(dir.as_bytes()).len();
        assert!(layers <= 4 * LEDGER_LAYERS_MAX, "{dir} has {layers} layers");
    }
    let missing = book.missing("a", &[]);
    for name in ["first", "turn0", "turn49", "turn99"] {
        assert!(missing.iter().any(|missing| missing == name), "{name} is missed");
    }
    book.check(
        &["a/first", "b/turn0", "c/d/turn50", "e/d/turn10", "b/sub/deep/turn0", "a/sub/deep/first"],
        &["a/turn100", "a/deep", "c/first", "a/sub/first", "e/turn10"],
    );
}

#[test]
fn what_lies_below_a_renamed_directory_outlives_the_layers_elsewhere() {
    let mut book = Book::new();
    book.name("d/x/f");
    book.moved("d", "e");
    book.moved("e/x", "g");
    for turn in 0..30 {
        book.name(&format!("g/new{turn}"));
        book.offer(Offer::Exchanged { a: path("g"), b: path("h") });
    }
    book.check(&["d/x/f", "e/x/f", "g/f", "h/f", "h/new0"], &["d/x/new0", "e/x/new0"]);
}

#[test]
fn a_new_directory_never_inherits_what_was_offered_in_one_that_is_gone() {
    for turns in [1, 3, 40] {
        let mut book = Book::new();
        book.name("keep");
        let mut names = Vec::new();
        for turn in 0..turns {
            book.name(&format!("a/x{turn}"));
            book.name(&format!("b/y{turn}"));
            book.offer(Offer::Exchanged { a: path("a"), b: path("b") });
            names.extend([format!("x{turn}"), format!("y{turn}")]);
        }
        book.name("a/last");
        book.name("b/last");
        let below = ["a", "b"].into_iter().flat_map(|dir| {
            names.iter().map(move |name| format!("{dir}/{name}")).chain([format!("{dir}/last")])
        });
        let gone: Vec<String> = below.chain(["a".to_owned(), "b".to_owned()]).collect();
        let mut report = 0;
        for gone in &gone {
            (report, book.stamp) = (report + 1, book.stamp + 1);
            book.enter(report, book.stamp, Deed::Gone(path(gone)), 0);
        }
        book.durable(report);
        for epoch in [2, 3] {
            assert!(book.ledger().meet(&marker(1, report), Epoch(epoch)).unwrap());
            book.reopen();
        }
        for number in 0..200 {
            book.name(&format!("new{number}/new"));
            let missing = book.missing(&format!("new{number}"), &["new"]);
            assert_eq!(missing, [""; 0], "new{number} after {turns} exchanges");
        }
    }
}

#[test]
fn durable_follows_only_from_a_barrier_and_ends_with_the_next_offer() {
    let mut book = Book::new();
    book.name("d/f");
    assert_eq!(book.known("d/f"), Some(Known::Nothing));
    book.stands(3, "d/f", Some(HASH));
    let copy =
        |is_durable| Some(Known::Copy { facts: facts(3), proof: Proof::Agreed(HASH), is_durable });
    let unproved = Known::Copy { facts: facts(3), proof: Proof::None, is_durable: false };
    assert_eq!(book.known("d/f"), Some(unproved), "no barrier ever came");
    book.durable(2);
    assert_eq!(book.known("d/f"), copy(false));
    book.durable(3);
    assert_eq!(book.known("d/f"), copy(true));
    book.reopen();
    assert_eq!(book.known("d/f"), copy(true));
    book.offer(Offer::Retouched(path("d/f")));
    assert_eq!(book.known("d/f"), copy(false), "its content is still known");
    book.name("d/f");
    assert_eq!(book.known("d/f"), Some(Known::Nothing));
}

#[test]
fn an_answer_to_something_older_changes_nothing() {
    let mut book = Book::new();
    book.name("f");
    book.name("f");
    book.enter(1, 1, Deed::Gone(path("f")), 1);
    book.reopen();
    assert!(book.ledger().meet(&marker(1, 1), Epoch(2)).unwrap());
    assert!(book.has("f"));
}

fn marker(id: u8, barrier: u64) -> Marker {
    Marker { id: MarkerId([id; 16]), barrier, clean: true }
}

#[test]
fn what_is_gone_is_forgotten_once_it_is_durable() {
    let mut book = Book::new();
    book.offer(Offer::Dir(path("d")));
    book.name("d/f");
    book.enter(1, 9, Deed::Gone(path("d/f")), 0);
    book.enter(1, 9, Deed::Gone(path("d")), 0);
    assert_eq!(book.missing("", &[]), ["d"]);
    assert_eq!(book.missing("d", &[]), ["f"]);
    book.durable(1);
    assert_eq!(book.missing("", &[]), [""; 0]);
    assert!(book.has("d/f"), "an older answer may still speak of it");
    assert!(book.ledger().meet(&marker(1, 1), Epoch(2)).unwrap());
    book.check(&[], &["d", "d/f"]);
}

#[test]
fn a_durable_rename_takes_all_below_along_in_one_step() {
    let mut book = Book::new();
    book.offer(Offer::Dir(path("a")));
    let deed = Deed::Stands { path: path("a"), facts: Facts::of_any_dir(), hash: None };
    book.enter(1, book.stamp, deed, 1);
    book.name("a/x");
    book.stands(2, "a/x", Some(HASH));
    let dir = Facts { kind: Kind::Dir, ..facts(8) };
    assert_eq!(book.known("a"), Some(Known::Nothing), "never compared");
    book.enter(2, book.stamp, Deed::Dressed { dir: path("a"), facts: dir }, 0);
    book.durable(2);
    book.moved("a", "b");
    let stamp = book.stamp;
    assert_eq!(book.known("b/x"), None, "in doubt");
    let deed = Deed::Moved { from: path("a"), to: path("b"), seen: None };
    book.enter(3, stamp, deed, 2);
    assert_eq!(book.known("b/x"), None, "not durable");
    book.durable(3);
    let copy = Known::Copy { facts: facts(2), proof: Proof::Agreed(HASH), is_durable: true };
    assert_eq!(book.known("b/x"), Some(copy));
    assert_eq!(book.known("b"), Some(Known::Dir { dressed: Some(dir) }));
    book.check(&["b/x", "b"], &["a/x"]);
}

#[test]
fn a_rename_back_before_the_first_is_durable_loses_nothing() {
    let mut book = Book::new();
    book.offer(Offer::Dir(path("a")));
    book.name("a/x");
    book.moved("a", "b");
    let first = book.stamp;
    book.enter(1, first, Deed::Moved { from: path("a"), to: path("b"), seen: None }, 0);
    book.moved("b", "a");
    book.durable(1);
    let deed = Deed::Moved { from: path("b"), to: path("a"), seen: None };
    book.enter(2, book.stamp, deed, 2);
    assert!(book.has("a/x"));
    book.reopen();
    assert!(book.has("a/x"));
}

#[test]
fn what_a_rename_brought_is_missed_though_its_directory_was_offered_anew() {
    let mut book = Book::new();
    book.offer(Offer::Dir(path("a")));
    book.name("a/x");
    book.name("a/y");
    book.moved("a", "b");
    let moved = book.stamp;
    book.offer(Offer::Dir(path("b")));
    book.name("b/z");
    let deed = Deed::Moved { from: path("a"), to: path("b"), seen: None };
    book.enter(1, moved, deed, 1);
    assert_eq!(book.missing("b", &["z"]), ["x", "y"]);
    book.enter(2, book.stamp + 1, Deed::Gone(path("b/x")), 2);
    book.reopen();
    assert_eq!(book.missing("b", &[]), ["y", "z"]);
}

#[test]
fn a_sink_that_is_not_what_it_was_makes_all_an_offer() {
    let mut book = Book::new();
    book.name("f");
    book.stands(1, "f", None);
    book.durable(1);
    assert!(book.ledger().meet(&marker(1, 1), Epoch(2)).unwrap());
    assert!(book.ledger().meet(&marker(1, 7), Epoch(3)).unwrap(), "it knows more");
    assert!(matches!(book.known("f"), Some(Known::Copy { is_durable: true, .. })));
    for shown in [marker(1, 0), marker(2, 9)] {
        let mut book = Book::new();
        book.name("f");
        book.stands(1, "f", None);
        book.durable(1);
        assert!(!book.ledger().meet(&shown, Epoch(4)).unwrap());
        for _ in 0..2 {
            assert_eq!(book.known("f"), Some(Known::Nothing));
            assert!(book.has("f"));
            book.reopen();
        }
    }
}

#[test]
fn a_directory_that_was_lost_is_known_no_more() {
    let mut book = Book::new();
    book.offer(Offer::Dir(path("d")));
    let dir = Facts::of_any_dir();
    let deed = Deed::Stands { path: path("d"), facts: dir, hash: None };
    book.enter(1, book.stamp, deed, 0);
    book.name("d/f");
    book.stands(1, "d/f", None);
    book.enter(1, 0, Deed::Lost(path("d")), 0);
    assert!(book.known("d/f").is_some(), "it was not counted upon");
    book.durable(1);
    book.enter(2, 0, Deed::Lost(path("d")), 1);
    assert_eq!(book.known("d/f"), None);
    assert!(book.has("d/f"));
}

#[test]
fn a_directory_is_dressed_until_something_in_it_is_offered() {
    let mut book = Book::new();
    book.offer(Offer::Dir(path("d")));
    book.stands(1, "d", None);
    let dir = Facts { kind: Kind::Dir, ..facts(8) };
    let deed = Deed::Stands { path: path("d"), facts: dir, hash: None };
    book.enter(1, book.stamp, deed, 0);
    book.enter(2, book.stamp, Deed::Dressed { dir: path("d"), facts: dir }, 2);
    assert_eq!(book.known("d"), Some(Known::Dir { dressed: Some(dir) }));
    book.name("d/f");
    assert_eq!(book.known("d"), Some(Known::Dir { dressed: None }));
    // The answer to what was sent before that comes too late.
    book.enter(3, 1, Deed::Dressed { dir: path("d"), facts: dir }, 3);
    assert_eq!(book.known("d"), Some(Known::Dir { dressed: None }));
}

#[test]
fn a_damaged_ledger_is_moved_aside_and_said_aloud() {
    let seal = |book: &Book| book.path.join("seal");
    type Harm<'a> = (&'a str, &'a dyn Fn(&Book));
    let cut = |book: &Book| {
        let file = std::fs::OpenOptions::new().write(true).open(book.path.join("data.mdb"));
        file.unwrap().set_len(5_000).unwrap();
    };
    let flip = |book: &Book| {
        let data = book.path.join("data.mdb");
        let mut bytes = std::fs::read(&data).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&data, bytes).unwrap();
    };
    let harms: [Harm<'_>; 5] = [
        ("cut short", &cut),
        ("a bit flipped", &flip),
        ("no seal", &|book| std::fs::remove_file(seal(book)).unwrap()),
        ("another seal", &|book| std::fs::write(seal(book), b"\xff\n").unwrap()),
        ("a crash of the host", &|book| std::fs::write(seal(book), "open 1-2\n").unwrap()),
    ];
    for (what, harm) in harms {
        let mut book = Book::new();
        book.name("f");
        book.ledger = None;
        harm(&book);
        book.ledger = Some(Ledger::open(&book.path).unwrap());
        assert!(book.ledger().damage().is_some_and(|said| said.contains("moved")), "{what}");
        assert!(!book.has("f"), "{what}");
        assert!(book.path.with_extension("damaged-1").is_dir(), "{what}");
        book.name("g");
        book.check(&["g"], &["f"]);
    }
}

#[test]
fn what_is_no_ledger_is_moved_aside_and_said() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("ledger");
    std::fs::write(&place, "not ours").unwrap();
    let ledger = Ledger::open(&place).unwrap();
    assert!(ledger.damage().is_some_and(|damage| damage.contains("no directory")));
    drop(ledger);
    let aside = home.path().join("ledger.damaged-1");
    assert_eq!(std::fs::read(aside).unwrap(), b"not ours");
    assert!(Ledger::open(&place).unwrap().damage().is_none());
}
