//! Listings against a model tree: what the sink says of each part, and what it holds for true.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use osync::model::message::{ListingAnswer, Picked};
use osync::model::op::{Answer, ListingEnd, Need};
use osync::model::path::RelPath;

use super::applier::{Sink, dir, file, name, path, version};

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
fn h18_a_listing_sees_a_rename_that_came_between() {
    let sink = Sink::new();
    sink.put(3, "x", "same");
    let (other, done) = (Arc::clone(&sink.0), AtomicBool::new(false));
    let hook = move |verb: &str, _: &RelPath| {
        if verb == "look_many" && !done.swap(true, Ordering::SeqCst) {
            let other = Sink(Arc::clone(&other));
            let presumes = version("same", 3);
            let rename = std::thread::spawn(move || other.rename(4, "x", "y", presumes));
            assert_eq!(rename.join().unwrap(), Answer::Applied);
        }
    };
    sink.0.target().set_hook(Some(Arc::new(hook)));
    let answer = sink.list(5, "", &[("x", file("same", 3))]);
    sink.0.target().set_hook(None);
    assert_eq!((answer.needed, answer.extras), (Picked::All, vec![name("y")]));
}

#[test]
fn a_listing_has_a_stamp_at_all_that_it_showed_to_be_there() {
    let sink = Sink::new();
    sink.put(2, "d/same", "a");
    let (answer, _) = sink.list_part((1, 0, ListingEnd::More), 5, "d", &[("same", file("a", 2))]);
    assert_eq!(answer, ListingAnswer::equal(1, 0));
    assert_eq!(sink.put(4, "d/same", "older"), Answer::Superseded);
    assert_eq!(sink.remove(4, "d/same"), Answer::Superseded);
    assert_eq!(sink.remove(4, "d"), Answer::Superseded, "it was there at 5");
    assert_eq!(sink.put(4, "d/unlisted", "older"), Answer::Applied);
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
            std::thread::spawn(move || {
                let answer = other.list(5, "", &[("x", file("same", 3))]);
                told.send(answer.needed)
            });
        }
    };
    sink.0.target().set_hook(Some(Arc::new(hook)));
    assert_eq!(sink.put(4, "x", "other"), Answer::Applied);
    assert_eq!(listed.recv().unwrap(), Picked::All);
    sink.0.target().set_hook(None);
}

#[test]
fn a_listing_into_an_empty_directory_needs_no_look() {
    let sink = Sink::new();
    let hook = |verb: &str, _: &RelPath| assert!(!verb.starts_with("look"), "{verb}");
    sink.0.target().set_hook(Some(Arc::new(hook)));
    let part = (1, 0, ListingEnd::More);
    let (answer, made) = sink.list_part(part, 5, "d", &[("a", file("a", 3)), ("b", file("b", 3))]);
    assert_eq!(answer, ListingAnswer::all_absent(1, 0));
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
    sink.list_part((3, 1, ListingEnd::Abandoned), 12, "moved", &[]);
    assert_eq!(sink.content("moved"), None, "a listing that was given up makes nothing");
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
