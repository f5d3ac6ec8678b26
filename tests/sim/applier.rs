//! The applier against a model tree: the histories that concern the sink alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use osync::flow::applier::{Applier, Executed, Rules};
use osync::model::entry::{Entry, FileTime, Hash, Meta};
use osync::model::message::{ListingAnswer, Picked};
use osync::model::op::{
    Answer, Failure, Listed, ListingEnd, ListingPart, Need, Op, Operation, Version,
};
use osync::model::path::{Name, RelPath};
use osync::model::session::DeletePolicy;
use osync::model::stamp::{Lane, Stamp};
use proptest::prelude::{Strategy, any, proptest};

use super::tree::ModelTree;

pub fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn meta(mtime: i64) -> Meta {
    Meta { mode: 0o644, uid: 0, gid: 0, mtime: FileTime { seconds: mtime, nanos: 0 } }
}

fn file(content: &str, mtime: i64) -> Entry {
    Entry::File { size: content.len() as u64, meta: meta(mtime) }
}

fn dir() -> Entry {
    Entry::Dir { meta: meta(1) }
}

fn version(content: &str, mtime: i64) -> Version {
    let mtime = FileTime { seconds: mtime, nanos: 0 };
    Version::File { size: content.len() as u64, mtime, hash: None }
}

fn hash(content: &str) -> Hash {
    Hash(*blake3::hash(content.as_bytes()).as_bytes())
}

/// A sink with a hand for each operation.
struct Sink(Arc<Applier<ModelTree>>);

impl Sink {
    fn new() -> Sink {
        Sink::with(DeletePolicy::Live)
    }

    fn with(delete: DeletePolicy) -> Sink {
        let rules = Rules { delete, staging: Some(name(".osync-staging-0")) };
        Sink(Arc::new(Applier::new(ModelTree::new(1), rules)))
    }

    fn run(&self, stamp: u64, op: Op, content: &str) -> (Answer, Vec<RelPath>) {
        let operation = Operation { stamp: Stamp(stamp), op };
        let Executed { exceptions, made } = self.0.operations(&[operation], content.as_bytes());
        (exceptions.into_iter().next().map_or(Answer::Applied, |(_, answer)| answer), made)
    }

    fn put(&self, stamp: u64, at: &str, content: &str) -> Answer {
        let size = content.len() as u64;
        let (path, meta, hash) = (path(at), meta(stamp as i64), hash(content));
        self.run(stamp, Op::Put { path, size, meta, hash }, content).0
    }

    fn make_dir(&self, stamp: u64, at: &str) -> Answer {
        self.run(stamp, Op::MakeDir { path: path(at) }, "").0
    }

    fn remove(&self, stamp: u64, at: &str) -> Answer {
        self.run(stamp, Op::Remove { path: path(at) }, "").0
    }

    fn set_meta(&self, stamp: u64, at: &str, presumes: Version) -> Answer {
        let meta = Meta { mode: 0o600, ..meta(stamp as i64) };
        self.run(stamp, Op::SetMeta { path: path(at), presumes, meta }, "").0
    }

    fn rename(&self, stamp: u64, from: &str, to: &str, presumes: Version) -> Answer {
        self.run(stamp, Op::Rename { from: path(from), to: path(to), presumes }, "").0
    }

    fn list(&self, stamp: u64, at: &str, entries: &[(&str, Entry)]) -> ListingAnswer {
        self.list_part((1_000 + stamp, 0, ListingEnd::Complete), stamp, at, entries).0
    }

    fn list_part(
        &self,
        (listing, part, end): (u64, u32, ListingEnd),
        stamp: u64,
        at: &str,
        entries: &[(&str, Entry)],
    ) -> (ListingAnswer, Vec<RelPath>) {
        let listed =
            |(text, entry): &(&str, Entry)| Listed { name: name(text), entry: entry.clone() };
        self.0.compare(&ListingPart {
            listing,
            dir: if at.is_empty() { RelPath::root() } else { path(at) },
            stamp: Stamp(stamp),
            part,
            entries: entries.iter().map(listed).collect(),
            end,
        })
    }

    fn content(&self, at: &str) -> Option<String> {
        let stands = self.0.target().stands(&path(at))?;
        match stands.entry {
            Entry::File { .. } => Some(String::from_utf8(stands.content).unwrap()),
            Entry::Dir { .. } => Some("<dir>".into()),
            _ => Some("<other>".into()),
        }
    }
}

fn remains(dir: &str, names: &[&str]) -> Answer {
    let names = names.iter().map(|text| name(text)).collect();
    Answer::Needed(Need::Remains { dir: path(dir), names })
}

#[test]
fn h4_attributes_that_overtake_their_content_leave_no_stamp() {
    let sink = Sink::new();
    let needed = Answer::Needed(Need::Content);
    assert_eq!(sink.set_meta(6, "f", version("new", 5)), needed);
    assert_eq!(sink.0.remembered(), 0);
    assert_eq!(sink.put(5, "f", "new"), Answer::Applied);
    assert_eq!(sink.set_meta(7, "f", version("old", 5)), Answer::Applied, "same size and time");
    assert_eq!(sink.set_meta(8, "f", version("old", 5)), needed, "another time now");
    let with_hash = |content| Version::File {
        size: 3,
        mtime: FileTime { seconds: 7, nanos: 0 },
        hash: Some(hash(content)),
    };
    assert_eq!(sink.set_meta(9, "f", with_hash("old")), needed);
    assert_eq!(sink.set_meta(9, "f", with_hash("new")), Answer::Applied);
}

#[test]
fn h5_each_entry_of_a_listing_has_its_own_answer() {
    let sink = Sink::new();
    sink.put(3, "d/same", "a");
    sink.put(3, "d/other", "b");
    sink.put(3, "d/mode", "c");
    sink.set_meta(4, "d/mode", version("c", 3));
    sink.put(9, "d/newer", "d");
    sink.make_dir(3, "d/sub");
    let entries = [
        ("same", file("a", 3)),
        ("other", file("bb", 3)),
        ("mode", file("c", 4)),
        ("newer", file("x", 5)),
        ("sub", dir()),
        ("fresh", dir()),
        ("gone", file("e", 5)),
    ];
    let answer = sink.list(5, "d", &entries);
    assert_eq!(answer.needed, Picked::Ranges(vec![(1, 1), (6, 1)]));
    assert_eq!(answer.retouch, Picked::Ranges(vec![(2, 1)]));
    assert_eq!(answer.superseded, Picked::Ranges(vec![(3, 1)]));
    assert_eq!((answer.failed, answer.extras), (None, vec![]));
    assert_eq!(sink.content("d/fresh").as_deref(), Some("<dir>"));
    assert_eq!(sink.put(4, "d/same", "older"), Answer::Superseded, "the listing has its stamp");
    assert_eq!(sink.put(5, "d/other", "bb"), Answer::Superseded, "d was listed wholly at 5");
    assert_eq!(sink.put(6, "d/other", "bb"), Answer::Applied);
}

#[test]
fn h7_a_directory_that_is_not_empty_stays() {
    let sink = Sink::new();
    sink.put(3, "p/x", "child");
    sink.put(3, "q", "file");
    assert_eq!(sink.remove(7, "p"), remains("p", &["x"]));
    assert_eq!(sink.put(8, "p", "file"), remains("p", &["x"]));
    let target = b"q".to_vec();
    let link = Op::Symlink { path: path("p"), target, meta: meta(8) };
    assert_eq!(sink.run(8, link, "").0, remains("p", &["x"]));
    assert_eq!(sink.rename(9, "q", "p", version("file", 3)), remains("p", &["x"]));
    sink.make_dir(3, "empty");
    assert_eq!(sink.rename(9, "empty", "p", Version::Dir), remains("p", &["x"]));
    assert_eq!(sink.put(4, "p/y", "older than all of these"), Answer::Applied);
    assert_eq!(sink.remove(10, "p/x"), Answer::Applied);
    assert_eq!(sink.remove(10, "p/y"), Answer::Applied);
    assert_eq!(sink.put(11, "p", "file"), Answer::Applied);
    assert_eq!(sink.content("p").as_deref(), Some("file"));
}

#[test]
fn h7_a_commit_over_what_remains_keeps_its_transfer() {
    let sink = Sink::new();
    sink.put(3, "p/x", "child");
    let transfer = sink.0.target().write_chunk(9, 0, b"large");
    assert_eq!(transfer, Ok(()));
    let commit = |content: &str| Op::Commit {
        path: path("p"),
        transfer: 9,
        size: 5,
        meta: meta(8),
        hash: hash(content),
    };
    assert_eq!(sink.run(8, commit("large"), "").0, remains("p", &["x"]));
    sink.remove(9, "p/x");
    assert_eq!(sink.run(10, commit("large"), "").0, Answer::Applied);
    assert_eq!(sink.run(11, commit("large"), "").0, Answer::Needed(Need::Transfer));
    assert_eq!(sink.content("p").as_deref(), Some("large"));
}

#[test]
fn h8_a_late_child_does_not_turn_a_file_into_a_directory() {
    let sink = Sink::new();
    sink.make_dir(2, "p");
    assert_eq!(sink.put(7, "p", "file"), Answer::Applied);
    assert_eq!(sink.put(5, "p/y", "late"), Answer::Superseded);
    assert_eq!(sink.put(8, "p/y", "early"), Answer::Needed(Need::Parent));
    assert_eq!(sink.content("p").as_deref(), Some("file"));
    assert_eq!(sink.make_dir(9, "p"), Answer::Applied, "a change of kind");
    assert_eq!(sink.put(10, "p/y", "in time"), Answer::Applied);
}

#[test]
fn h8_a_parent_made_on_the_way_has_no_stamp_and_is_told() {
    let sink = Sink::new();
    let put = |at: &str| Op::Put { path: path(at), size: 0, meta: meta(9), hash: hash("") };
    let (answer, made) = sink.run(9, put("a/b/c/f"), "");
    assert_eq!(answer, Answer::Applied);
    assert_eq!(made, [path("a"), path("a/b"), path("a/b/c")]);
    assert_eq!(sink.0.target().stands(&path("a/b")).unwrap().entry.meta().mode, 0o700);
    assert_eq!(sink.set_meta(5, "a/b", Version::Dir), Answer::Applied, "older than the child");
    let (_, made) = sink.run(10, put("a/b/g"), "");
    assert!(made.is_empty());
}

#[test]
fn h8_what_was_removed_is_not_made_again_by_a_late_child() {
    let sink = Sink::new();
    assert_eq!(sink.remove(7, "p"), Answer::Applied, "it was never there");
    assert_eq!(sink.put(5, "p/x", "late"), Answer::Superseded);
    assert_eq!(sink.content("p"), None);
    let answer = sink.list(6, "p", &[("x", file("late", 5))]);
    assert_eq!(answer.failed, Some(Answer::Superseded));
    assert_eq!(sink.content("p"), None);
}

#[test]
fn h18_what_is_at_or_below_the_watermark_is_refused() {
    let sink = Sink::new();
    assert_eq!(sink.put(8, "x", "new"), Answer::Applied);
    sink.0.advance(Stamp(9));
    assert_eq!(sink.0.remembered(), 0);
    assert_eq!(sink.put(5, "x", "old"), Answer::Superseded);
    assert_eq!(sink.put(9, "y", "at"), Answer::Superseded);
    assert_eq!(sink.list(9, "d", &[]).failed, Some(Answer::Superseded));
    assert_eq!(sink.content("x").as_deref(), Some("new"));
}

#[test]
fn h18_a_failure_leaves_no_stamp() {
    let sink = Sink::new();
    sink.0.target().set_no_room(true);
    assert_eq!(sink.put(8, "x", "new"), Answer::Failed(Failure::NoRoom));
    assert_eq!(sink.0.remembered(), 0);
    sink.0.target().set_no_room(false);
    assert_eq!(sink.put(7, "x", "older"), Answer::Applied);
}

#[test]
fn h18_a_listing_sees_what_came_between_its_look_and_its_judgement() {
    let sink = Sink::new();
    sink.put(3, "x", "same");
    let (other, done) = (Arc::clone(&sink.0), AtomicBool::new(false));
    let hook = move |verb: &str, _: &RelPath| {
        if verb == "look_many" && !done.swap(true, Ordering::SeqCst) {
            // Older than the listing, newer than what stands there, and visible only now.
            let other = Sink(Arc::clone(&other));
            let put = std::thread::spawn(move || other.put(4, "x", "other"));
            assert_eq!(put.join().unwrap(), Answer::Applied);
        }
    };
    sink.0.target().set_hook(Some(Arc::new(hook)));
    let answer = sink.list(5, "", &[("x", file("same", 3))]);
    sink.0.target().set_hook(None);
    assert_eq!(answer.needed, Picked::All, "the look is out of date");
}

#[test]
fn h18_an_operation_that_hangs_is_waited_for_by_a_listing() {
    let sink = Sink::new();
    sink.put(3, "x", "same");
    let (other, done) = (Arc::clone(&sink.0), AtomicBool::new(false));
    let (told, listed) = std::sync::mpsc::sync_channel(1);
    let hook = move |verb: &str, _: &RelPath| {
        if verb == "place" && !done.swap(true, Ordering::SeqCst) {
            // Stamp 4 is recorded, its change not yet visible.
            let (other, told) = (Sink(Arc::clone(&other)), told.clone());
            std::thread::spawn(move || told.send(other.list(5, "", &[("x", file("same", 3))])));
        }
    };
    sink.0.target().set_hook(Some(Arc::new(hook)));
    assert_eq!(sink.put(4, "x", "other"), Answer::Applied);
    assert_eq!(listed.recv().unwrap().needed, Picked::All);
    sink.0.target().set_hook(None);
}

#[test]
fn h23_never_removes_nothing() {
    let sink = Sink::with(DeletePolicy::Never);
    let forbidden = |answer| matches!(answer, Answer::Failed(Failure::Forbidden(_)));
    sink.put(3, "f", "file");
    sink.make_dir(3, "d");
    let link = |at: &str| Op::Symlink { path: path(at), target: b"t".to_vec(), meta: meta(4) };
    assert!(forbidden(sink.make_dir(4, "f")));
    assert!(forbidden(sink.put(4, "d", "file")));
    assert!(forbidden(sink.run(4, link("d"), "").0));
    assert!(forbidden(sink.run(4, link("f"), "").0));
    assert!(forbidden(sink.remove(4, "f")));
    assert!(forbidden(sink.rename(4, "f", "g", version("file", 3))));
    assert!(forbidden(sink.list(4, "f", &[]).failed.unwrap()));
    assert_eq!(
        sink.list(4, "", &[("f", dir()), ("d", dir())]).needed,
        Picked::Ranges(vec![(0, 1)])
    );
    assert_eq!(sink.put(5, "f", "content may change"), Answer::Applied);
    assert_eq!(sink.make_dir(5, "d"), Answer::Applied);
    assert_eq!(sink.0.target().snapshot().len(), 3);
}

#[test]
fn a_rename_presumes_what_it_moves_and_fences_both_names() {
    let sink = Sink::new();
    let needed = Answer::Needed(Need::Content);
    sink.put(3, "a", "file");
    assert_eq!(sink.rename(5, "gone", "b", Version::Dir), needed);
    assert_eq!(sink.rename(5, "a", "b", Version::Dir), needed);
    assert_eq!(sink.rename(5, "a", "b", version("file", 4)), needed);
    let wrong = Version::File {
        size: 4,
        mtime: FileTime { seconds: 3, nanos: 0 },
        hash: Some(hash("flie")),
    };
    assert_eq!(sink.rename(5, "a", "b", wrong), needed);
    assert_eq!(sink.rename(5, "a", "new/b", version("file", 3)), Answer::Applied);
    assert_eq!(sink.content("new/b").as_deref(), Some("file"));
    for (at, stamp, answer) in [
        ("a", 5, Answer::Superseded),
        ("a/x", 4, Answer::Superseded),
        ("new/b", 4, Answer::Superseded),
        ("a", 6, Answer::Applied),
    ] {
        assert_eq!(sink.put(stamp, at, "late"), answer, "{at} @{stamp}");
    }
    sink.make_dir(7, "new/b/d");
    assert!(matches!(sink.rename(8, "new", "new/b/c", Version::Dir), Answer::Failed(_)));
}

#[test]
fn a_rename_replaces_files_and_empty_directories_of_any_kind() {
    for (from_is_dir, to_is_dir) in [(false, false), (false, true), (true, false), (true, true)] {
        let sink = Sink::new();
        for (at, is_dir) in [("from", from_is_dir), ("to", to_is_dir)] {
            let made = if is_dir { sink.make_dir(3, at) } else { sink.put(3, at, "old") };
            assert_eq!(made, Answer::Applied);
        }
        let presumes = if from_is_dir { Version::Dir } else { version("old", 3) };
        assert_eq!(sink.rename(5, "from", "to", presumes), Answer::Applied);
        assert_eq!(sink.content("to").as_deref() == Some("<dir>"), from_is_dir);
        assert_eq!(sink.content("from"), None);
    }
}

#[test]
fn an_exchange_wants_both_and_a_directory() {
    let sink = Sink::new();
    let swap = |stamp, a, b| sink.run(stamp, Op::Exchange { a: path(a), b: path(b) }, "").0;
    sink.put(3, "d/x", "child");
    sink.put(3, "f", "file");
    sink.put(3, "g", "gile");
    assert_eq!(swap(5, "f", "gone"), Answer::Needed(Need::Content));
    assert_eq!(swap(5, "f", "g"), Answer::Needed(Need::Content));
    assert!(matches!(swap(5, "d", "d/x"), Answer::Failed(_)));
    assert_eq!(swap(5, "d", "f"), Answer::Applied);
    assert_eq!(sink.content("f/x").as_deref(), Some("child"));
    assert_eq!(sink.content("d").as_deref(), Some("file"));
    assert_eq!(sink.put(4, "d/x", "late"), Answer::Superseded);
}

#[test]
fn a_listing_into_an_empty_directory_needs_no_look() {
    let sink = Sink::new();
    let hook = |verb: &str, _: &RelPath| assert!(!verb.starts_with("look"), "{verb}");
    sink.0.target().set_hook(Some(Arc::new(hook)));
    let part = (1, 0, ListingEnd::More);
    let (answer, made) = sink.list_part(part, 5, "d", &[("a", file("a", 3)), ("b", file("b", 3))]);
    assert_eq!(answer, ListingAnswer::all_needed(1, 0));
    assert_eq!(made, [path("d")]);
    assert_eq!(sink.put(6, "d/a", "a"), Answer::Applied);
    let part = (1, 1, ListingEnd::Complete);
    let (answer, made) = sink.list_part(part, 5, "d", &[("c", file("c", 3)), ("sub", dir())]);
    assert_eq!(answer.needed, Picked::Ranges(vec![(0, 1)]));
    assert_eq!((answer.extras, made), (vec![], vec![]));
    assert_eq!(sink.content("d/sub").as_deref(), Some("<dir>"));
}

#[test]
fn extras_come_with_the_part_that_makes_the_listing_whole() {
    let sink = Sink::new();
    for at in ["d/a", "d/b", "d/extra", "d/.osync-staging-1"] {
        sink.put(3, at, "");
    }
    sink.put(9, "d/newer", "");
    let list = |part, end, stamp, entry: &str| {
        sink.list_part((1, part, end), stamp, "d", &[(entry, file("", 3))]).0
    };
    assert!(list(1, ListingEnd::Complete, 7, "b").extras.is_empty());
    let answer = list(0, ListingEnd::More, 6, "a");
    assert_eq!(answer.extras, [name(".osync-staging-1"), name("extra")], "another's staging too");
    assert_eq!(sink.put(6, "d/c", "late"), Answer::Superseded, "it may bring back what is gone");
    assert_eq!(sink.put(7, "d/c", "in time"), Answer::Applied);
    let abandoned = sink.list_part((2, 0, ListingEnd::More), 10, "d", &[]).0;
    assert!(abandoned.extras.is_empty());
    let abandoned = sink.list_part((2, 1, ListingEnd::Abandoned), 11, "d", &[]).0;
    assert!(abandoned.extras.is_empty());
}

#[test]
fn a_file_where_a_directory_is_listed_changes_its_kind() {
    let sink = Sink::new();
    sink.put(3, "p", "file");
    let answer = sink.list(5, "p", &[("x", file("x", 3))]);
    assert_eq!((answer.failed, answer.needed), (None, Picked::All));
    sink.put(9, "q", "newer");
    assert_eq!(sink.list(5, "q", &[]).failed, Some(Answer::Superseded));
    assert_eq!(sink.list(5, "q/r", &[]).failed, Some(Answer::Superseded));
    assert_eq!(sink.list(10, "q/r", &[]).failed, Some(Answer::Needed(Need::Parent)));
    assert_eq!(sink.list(11, "", &[("q", dir())]).needed, Picked::None);
    assert_eq!(sink.content("q").as_deref(), Some("<dir>"));
}

#[test]
fn the_root_and_the_staging_directory_are_not_touched() {
    let sink = Sink::new();
    let forbidden = |answer| matches!(answer, Answer::Failed(Failure::Forbidden(_)));
    for at in [".osync-staging-0", "d/.osync-staging-0/x"] {
        assert!(forbidden(sink.put(3, at, "")));
        assert!(forbidden(sink.list(3, at, &[]).failed.unwrap()));
    }
    let root = RelPath::root();
    assert!(forbidden(sink.run(3, Op::Remove { path: root.clone() }, "").0));
    assert_eq!(sink.run(3, Op::MakeDir { path: root.clone() }, "").0, Answer::Applied);
    let meta = meta(77);
    let set = Op::SetMeta { path: root.clone(), presumes: Version::Dir, meta };
    assert_eq!(sink.run(4, set, "").0, Answer::Applied);
    assert_eq!(sink.0.target().stands(&root).unwrap().entry.meta(), &meta);
    let listed = sink.list(5, "", &[(".osync-staging-0", dir()), ("f", file("", 3))]);
    assert_eq!(listed.needed, Picked::All, "the operation that follows will say why");
}

#[test]
fn content_that_is_not_what_it_says_is_needed() {
    let sink = Sink::new();
    let put = |size| Op::Put { path: path("f"), size, meta: meta(3), hash: hash("content") };
    for (size, content) in [(7, "cONTENT"), (7, "con"), (u64::MAX, "content"), (3, "content")] {
        assert_eq!(sink.run(3, put(size), content).0, Answer::Needed(Need::Content));
    }
    assert_eq!(sink.run(3, put(7), "content").0, Answer::Applied);
    let place = (Lane::Live, 1);
    let body = osync::model::message::Body::Drop { transfer: 1 };
    assert!(sink.0.execute(place, Stamp(0), &body, &[]).is_none());
}

/// One operation on one of a few names that have nothing below them.
fn flat_operation() -> impl Strategy<Value = (usize, u8)> {
    (0_usize..4, 0_u8..4)
}

proptest! {
    #[test]
    fn each_name_keeps_its_newest_operation(
        drawn in proptest::collection::vec(flat_operation(), 1..40),
        order in any::<u64>(),
        threads in 1_usize..4,
    ) {
        let names = ["a", "b", "d/c", "d/e"];
        let sink = Sink::new();
        sink.make_dir(1, "d");
        let mut operations: Vec<_> = (2_u64..).zip(drawn.iter().copied()).collect();
        let mut dice = super::dice::Dice::new(order);
        for index in (1..operations.len()).rev() {
            operations.swap(index, dice.below(index + 1));
        }
        let run = |&(stamp, (at, kind)): &(u64, (usize, u8))| match kind {
            0 => sink.remove(stamp, names[at]),
            1 => sink.make_dir(stamp, names[at]),
            _ => sink.put(stamp, names[at], &stamp.to_string()),
        };
        std::thread::scope(|scope| {
            for share in operations.chunks(operations.len().div_ceil(threads)) {
                scope.spawn(move || share.iter().for_each(|one| drop(run(one))));
            }
        });
        for (at, text) in names.iter().enumerate() {
            let newest = operations.iter().filter(|one| one.1.0 == at).max();
            let expected = newest.and_then(|&(stamp, (_, kind))| match kind {
                0 => None,
                1 => Some("<dir>".to_string()),
                _ => Some(stamp.to_string()),
            });
            assert_eq!(sink.content(text), expected, "{text} after {newest:?}");
        }
    }
}
