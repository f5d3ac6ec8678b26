//! The applier against a model tree: the histories that concern the sink alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use osync::flow::applier::{Applier, Executed, Rules};
use osync::model::entry::{Attributes, Entry, FileTime, Hash, Meta};
use osync::model::message::{ListingAnswer, Picked};
use osync::model::op::{
    Answer, Failure, Listed, ListingEnd, ListingPart, Need, Op, Operation, Spared, Version,
};
use osync::model::path::{Name, RelPath};
use osync::model::session::DeletePolicy;
use osync::model::stamp::{Lane, Stamp};
use osync::model::target::Target;
use proptest::prelude::{Strategy, any, proptest};

use super::tree::ModelTree;
use crate::support::operator::SOON;

pub fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn dress(mtime: i64) -> Attributes {
    Attributes::plain(meta(mtime))
}

fn meta(mtime: i64) -> Meta {
    Meta::plain(0o644, 0, 0, FileTime { seconds: mtime, nanos: 0 })
}

pub fn file(content: &str, mtime: i64) -> Entry {
    Entry::File { size: content.len() as u64, meta: meta(mtime) }
}

pub fn dir() -> Entry {
    Entry::Dir { meta: meta(1) }
}

pub fn version(content: &str, mtime: i64) -> Version {
    let mtime = FileTime { seconds: mtime, nanos: 0 };
    Version::File { size: content.len() as u64, mtime, hash: None }
}

fn hash(content: &str) -> Hash {
    Hash(*blake3::hash(content.as_bytes()).as_bytes())
}

/// A sink with a hand for each operation.
pub struct Sink(pub Arc<Applier<ModelTree>>);

impl Sink {
    pub fn new() -> Sink {
        Sink::with(DeletePolicy::Live)
    }

    pub fn with(delete: DeletePolicy) -> Sink {
        let rules = Rules {
            delete,
            staging: Some(name(".osync-staging-0")),
            is_declared: false,
            dry: None,
        };
        Sink(Arc::new(Applier::new(Arc::new(ModelTree::new(1)), rules)))
    }

    pub fn run(&self, stamp: u64, op: Op, content: &str) -> (Answer, Vec<RelPath>) {
        let operation = Operation { stamp: Stamp(stamp), op };
        let Executed { exceptions, made, lacking: _ } =
            self.0.operations(&[operation], content.as_bytes());
        (exceptions.into_iter().next().map_or(Answer::Applied, |(_, answer)| answer), made)
    }

    pub fn put(&self, stamp: u64, at: &str, content: &str) -> Answer {
        let size = content.len() as u64;
        let (path, attributes, hash) = (path(at), dress(stamp as i64), hash(content));
        self.run(stamp, Op::Put { path, size, attributes, hash }, content).0
    }

    pub fn make_dir(&self, stamp: u64, at: &str) -> Answer {
        self.run(stamp, Op::MakeDir { path: path(at) }, "").0
    }

    pub fn remove(&self, stamp: u64, at: &str) -> Answer {
        self.run(stamp, Op::Remove { path: path(at), spared: Spared::Nothing }, "").0
    }

    pub fn set_meta(&self, stamp: u64, at: &str, presumes: Version) -> Answer {
        let attributes = Attributes::plain(Meta { mode: 0o600, ..meta(stamp as i64) });
        self.run(stamp, Op::SetMeta { path: path(at), presumes, attributes, names: 1 }, "").0
    }

    pub fn rename(&self, stamp: u64, from: &str, to: &str, presumes: Version) -> Answer {
        self.run(stamp, Op::Rename { from: path(from), to: path(to), presumes }, "").0
    }

    pub fn link(&self, stamp: u64, at: &str, from: &str, since: u64, presumes: Version) -> Answer {
        let (path, from, since) = (path(at), path(from), Stamp(since));
        self.run(stamp, Op::Link { path, from, presumes, since }, "").0
    }

    /// Whether both are names of one object.
    pub fn are_one(&self, a: &str, b: &str) -> bool {
        self.0.target().is_same_object(&path(a), &path(b)) == Ok(true)
    }

    pub fn list(&self, stamp: u64, at: &str, entries: &[(&str, Entry)]) -> ListingAnswer {
        self.list_part((1_000 + stamp, 0, ListingEnd::Complete), stamp, at, entries).0
    }

    pub fn list_part(
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
            others: vec![],
            linked: vec![],
            end,
            after: None,
        })
    }

    pub fn content(&self, at: &str) -> Option<String> {
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
fn h12_a_link_is_refused_to_what_came_meanwhile() {
    let (sink, needed) = (Sink::new(), Answer::Needed(Need::Content));
    sink.put(5, "a", "old");
    assert_eq!(sink.link(6, "b", "a", 5, version("older", 5)), needed, "another size");
    assert_eq!(sink.link(6, "b", "x", 5, version("old", 5)), needed, "nothing there");
    assert_eq!(sink.link(6, "d/b", "a", 5, version("old", 5)), Answer::Applied);
    assert!(sink.are_one("a", "d/b"));
    // Replaced by another object of the same size and time, which the source did not know of.
    sink.put(7, "a", "new");
    sink.set_meta(8, "a", version("new", 7));
    assert_eq!(sink.link(9, "c", "a", 5, version("new", 8)), Answer::Superseded);
    assert_eq!(sink.content("c"), None);
    assert_eq!(sink.content("d/b").unwrap(), "old", "one with a no more");
    assert_eq!(sink.link(9, "c", "a", 8, version("new", 8)), Answer::Applied);
    assert_eq!(sink.link(10, "d/b", "a", 8, version("new", 8)), Answer::Applied, "replaces");
    assert!(sink.are_one("c", "d/b") && sink.are_one("a", "c"));
    // A directory that came to where the other name was counts for all below it.
    sink.remove(11, "d/b");
    sink.remove(12, "d");
    sink.put(13, "d/b", "odd");
    assert_eq!(sink.link(14, "e", "d/b", 11, version("odd", 13)), Answer::Superseded);
    let odd = version("odd", 13);
    assert_eq!(sink.link(9, "c", "d/b", 13, odd), Answer::Superseded, "an older look");
}

#[test]
fn h7_a_directory_that_is_not_empty_stays() {
    let sink = Sink::new();
    sink.put(3, "p/x", "child");
    sink.put(3, "q", "file");
    assert_eq!(sink.remove(7, "p"), remains("p", &["x"]));
    assert_eq!(sink.put(8, "p", "file"), remains("p", &["x"]));
    let target = b"q".to_vec();
    let link = Op::Symlink { path: path("p"), target, attributes: dress(8) };
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
fn h7_what_remains_is_told_in_answers_that_fit_a_report() {
    let sink = Sink::new();
    let long = "x".repeat(240);
    let mut operations = Vec::new();
    for at in 0..12 {
        for name in 0..300 {
            sink.put(3, &format!("d{at}/{long}{name}"), "");
        }
        let op = Op::Remove { path: path(&format!("d{at}")), spared: Spared::Nothing };
        operations.push(Operation { stamp: Stamp(7), op });
    }
    let executed = sink.0.operations(&operations, &[]);
    let counts: Vec<usize> = executed
        .exceptions
        .iter()
        .map(|(_, answer)| match answer {
            Answer::Needed(Need::Remains { names, .. }) => names.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((counts[0], counts[11]), (300, 1), "at least one, however many there are");
    let body = osync::model::message::Body::Operations(operations);
    let answer = sink.0.execute((Lane::Live, 1), Stamp(0), &body, &[]).unwrap();
    assert!(answer.about_bytes() < 700_000, "{}", answer.about_bytes());
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
        attributes: dress(8),
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
    let put = |at: &str| Op::Put { path: path(at), size: 0, attributes: dress(9), hash: hash("") };
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
fn h32_a_removal_of_a_directory_waits_for_all_others() {
    let sink = Sink::new();
    sink.make_dir(3, "p");
    let (other, removing) = (Arc::clone(&sink.0), AtomicBool::new(false));
    let (told, removed) = std::sync::mpsc::sync_channel(1);
    let hook = move |verb: &str, at: &RelPath| {
        if verb == "remove_dir" {
            removing.store(true, Ordering::SeqCst);
        }
        if verb == "place" && *at == path("p/x") {
            let (other, told) = (Sink(Arc::clone(&other)), told.clone());
            std::thread::spawn(move || told.send(other.remove(7, "p")));
            for _ in 0..20_000 {
                std::thread::yield_now();
                assert!(!removing.load(Ordering::SeqCst), "it did not wait");
            }
        }
    };
    sink.0.target().set_hook(Some(Arc::new(hook)));
    assert_eq!(sink.put(5, "p/x", "child"), Answer::Applied);
    assert_eq!(removed.recv().unwrap(), remains("p", &["x"]));
    sink.0.target().set_hook(None);
}

/// Whoever brings content takes his time: no name waits for him, not even the very one.
#[test]
fn h17g_content_is_staged_without_a_lock_on_names() {
    let sink = Sink::new();
    sink.make_dir(3, "p");
    sink.put(4, "p/z", "to be moved");
    let other = Arc::clone(&sink.0);
    let (told, heard) = std::sync::mpsc::sync_channel(1);
    let heard = std::sync::Mutex::new(heard);
    let hook = move |verb: &str, _: &RelPath| {
        if verb != "stage_file" {
            return;
        }
        other.target().set_hook(None);
        let (other, told) = (Sink(Arc::clone(&other)), told.clone());
        std::thread::spawn(move || {
            let presumes = version("to be moved", 4);
            let live = [
                other.put(7, "p/x", "live"),
                other.rename(8, "p/z", "q", presumes),
                other.list(9, "p", &[("x", file("live", 7))]).failed.unwrap_or(Answer::Applied),
                other.remove(10, "p/x"),
            ];
            told.send(live).unwrap();
        });
        let live = heard.lock().unwrap().recv_timeout(SOON).expect("live waits for the content");
        assert!(live.iter().all(|answer| *answer == Answer::Applied), "{live:?}");
    };
    sink.0.target().set_hook(Some(Arc::new(hook)));
    assert_eq!(sink.put(5, "p/x", "a long time coming"), Answer::Superseded);
    assert_eq!((sink.content("p/x"), sink.content("q")), (None, Some("to be moved".into())));
}

#[test]
fn h23_never_removes_nothing() {
    let sink = Sink::with(DeletePolicy::Never);
    let forbidden = |answer| matches!(answer, Answer::Failed(Failure::Forbidden(_)));
    sink.put(3, "f", "file");
    sink.make_dir(3, "d");
    let link =
        |at: &str| Op::Symlink { path: path(at), target: b"t".to_vec(), attributes: dress(4) };
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
fn the_root_and_the_staging_directory_are_not_touched() {
    let sink = Sink::new();
    let forbidden = |answer| matches!(answer, Answer::Failed(Failure::Forbidden(_)));
    for at in [".osync-staging-0", "d/.osync-staging-0/x"] {
        assert!(forbidden(sink.put(3, at, "")));
        assert!(forbidden(sink.list(3, at, &[]).failed.unwrap()));
    }
    let root = RelPath::root();
    assert!(forbidden(
        sink.run(3, Op::Remove { path: root.clone(), spared: Spared::Nothing }, "").0
    ));
    assert_eq!(sink.run(3, Op::MakeDir { path: root.clone() }, "").0, Answer::Applied);
    let meta = meta(77);
    let attributes = Attributes::plain(meta);
    let set = Op::SetMeta { path: root.clone(), presumes: Version::Dir, attributes, names: 0 };
    assert_eq!(sink.run(4, set, "").0, Answer::Applied);
    assert_eq!(sink.0.target().stands(&root).unwrap().entry.meta(), &meta);
    let listed = sink.list(5, "", &[(".osync-staging-0", dir()), ("f", file("", 3))]);
    assert_eq!(listed.needed, Picked::All, "the operation that follows will say why");
}

#[test]
fn content_that_is_not_what_it_says_is_needed() {
    let sink = Sink::new();
    let put = |size| Op::Put { path: path("f"), size, attributes: dress(3), hash: hash("content") };
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
