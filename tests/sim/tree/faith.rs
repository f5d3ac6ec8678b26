//! The model keeps faith with the kernel: what was measured there holds here.

use osync::model::entry::{Entry, FileTime};
use osync::model::event::{Event, Happening, Notice};
use osync::model::look::{DirAddress, LookJob, Seen, Sight, Task, Want, WatchState};
use osync::model::op::ListingEnd;
use osync::model::path::{Name, RelPath};
use osync::model::stamp::DirKey;

use super::{Bounds, ModelTree};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn job(tree: &ModelTree, key: u64, dir: &str, task: Task) -> LookJob {
    let path = if dir.is_empty() { RelPath::root() } else { path(dir) };
    let identity = tree.identity(&path);
    let dir = DirAddress { key: DirKey(key), path, identity };
    LookJob { id: 1, sink: None, urgent: false, dir, task }
}

fn arm(tree: &ModelTree, key: u64, dir: &str) -> WatchState {
    match tree.run_look(&job(tree, key, dir, Task::Arm { files_max: 9 })).seen {
        Seen::Armed(armed) => armed.watch,
        other => panic!("{other:?}"),
    }
}

/// The hints that wait, as one word and a name each.
fn hints(tree: &ModelTree) -> Vec<String> {
    let word = |notice: Notice| match notice {
        Notice::Event(Event { dir, what }) => {
            let text = format!("{what:?}");
            let word = text.split([' ', '{']).next().unwrap_or_default().to_string();
            let name = text.split('"').nth(1).unwrap_or("").to_string();
            format!("{}:{word} {name}", dir.0).trim_end().to_string()
        }
        other => format!("{other:?}"),
    };
    tree.take_notices(usize::MAX).into_iter().map(word).collect()
}

#[test]
fn each_change_makes_the_events_of_the_kernel() {
    let tree = ModelTree::new(4);
    tree.mkdir(&path("d")).unwrap();
    assert_eq!((arm(&tree, 0, ""), arm(&tree, 1, "d")), (WatchState::Watched, WatchState::Watched));
    assert_eq!(arm(&tree, 7, "d"), WatchState::Known(DirKey(1)));
    tree.create(&path("d/f"), b"x").unwrap();
    assert_eq!(hints(&tree), ["1:Created f", "1:Written f", "1:Closed f"]);
    tree.write(&path("d/f"), b"y", false).unwrap();
    tree.write(&path("d/f"), b"z", false).unwrap();
    assert_eq!(hints(&tree), ["1:Written f"], "what repeats itself is one event");
    tree.hard_link(&path("d/f"), &path("l")).unwrap();
    tree.write(&path("l"), b"by the other name", true).unwrap();
    assert_eq!(hints(&tree), ["0:Created l", "0:Written l", "0:Closed l"]);
    tree.chmod(&path("d"), 0o700).unwrap();
    tree.touch(&path("d/f"), FileTime { seconds: 1, nanos: 2 }).unwrap();
    assert_eq!(hints(&tree), ["0:Retouched d", "1:SelfRetouched", "1:Retouched f"]);
    tree.rename(&path("l"), &path("d/f")).unwrap();
    assert!(hints(&tree).is_empty(), "two names of one inode");
    tree.symlink(&path("s"), b"t").unwrap();
    tree.rename(&path("s"), &path("d/s")).unwrap();
    assert_eq!(hints(&tree), ["0:Created s", "0:MovedFrom s", "1:MovedTo s"]);
    tree.exchange(&path("d"), &path("l")).unwrap();
    assert_eq!(hints(&tree), ["0:MovedFrom d", "0:MovedTo l", "0:MovedFrom l", "0:MovedTo d"]);
    tree.remove_file(&path("l/f")).unwrap();
    tree.remove_file(&path("l/s")).unwrap();
    assert_eq!(hints(&tree), ["1:Removed f", "1:Removed s"], "its watch moved with it");
    tree.rmdir(&path("l")).unwrap();
    let mut gone = hints(&tree);
    gone.sort();
    assert_eq!(gone, ["0:Removed l", "1:SelfGone"]);
}

#[test]
fn halves_of_a_rename_bear_one_cookie_and_exchanges_two() {
    let tree = ModelTree::new(4);
    arm(&tree, 0, "");
    tree.mkdir(&path("a")).unwrap();
    tree.mkdir(&path("b")).unwrap();
    tree.exchange(&path("a"), &path("b")).unwrap();
    let cookies: Vec<u32> = tree
        .take_notices(99)
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::Event(Event { what: Happening::MovedFrom { cookie, .. }, .. })
            | Notice::Event(Event { what: Happening::MovedTo { cookie, .. }, .. }) => Some(cookie),
            _ => None,
        })
        .collect();
    assert_eq!(cookies, [1, 1, 2, 2]);
}

#[test]
fn a_full_queue_overflows_once_and_tickets_come_when_it_is_empty() {
    let tree = ModelTree::bounded(1, Bounds { queue: 3, ..Bounds::default() });
    arm(&tree, 0, "");
    for at in ["a", "b", "c", "d", "e"] {
        tree.mkdir(&path(at)).unwrap();
    }
    tree.ask_drained(5);
    assert_eq!(tree.notices_waiting(), 4);
    assert_eq!(tree.take_notices(3).len(), 3);
    assert_eq!(tree.take_notices(3), [Notice::Overflow, Notice::Drained(5)]);
}

#[test]
fn inode_numbers_come_back_at_once_but_identities_never() {
    let tree = ModelTree::new(1);
    tree.mkdir(&path("a")).unwrap();
    let old = tree.identity(&path("a")).unwrap();
    tree.rmdir(&path("a")).unwrap();
    tree.mkdir(&path("b")).unwrap();
    let new = tree.identity(&path("b")).unwrap();
    assert_eq!(old.inode, new.inode);
    assert_ne!(old, new);
}

#[test]
fn looks_go_through_the_directory_they_mean() {
    let tree = ModelTree::new(1);
    tree.mkdir(&path("d")).unwrap();
    tree.create(&path("d/f"), b"content").unwrap();
    arm(&tree, 1, "d");
    let look = job(&tree, 1, "d", Task::Names(vec![(name("f"), Want::Content)]));
    tree.rename(&path("d"), &path("e")).unwrap();
    tree.mkdir(&path("d")).unwrap();
    let mut elsewhere = 0;
    for _ in 0..50 {
        match tree.run_look(&look).seen {
            Seen::Elsewhere => elsewhere += 1,
            Seen::Names { content, .. } => assert_eq!(content, b"content"),
            other => panic!("{other:?}"),
        }
    }
    assert!((5..45).contains(&elsewhere), "by path and by descriptor: {elsewhere}");
    let gone = tree.run_look(&job(&tree, 2, "d", Task::Paths(vec![path("d/f"), path("e/f")])));
    assert_eq!(gone.seen, Seen::Paths(vec![(path("d/f"), true), (path("e/f"), false)]));
    tree.set_unreadable(&path("e/f"), true);
    let look = job(&tree, 1, "e", Task::Names(vec![(name("f"), Want::Meta)]));
    let Seen::Names { sights, .. } = tree.run_look(&look).seen else { panic!() };
    assert!(matches!(sights[0].1, Sight::Problem(_)));
    tree.set_unreadable(&path("e/f"), false);
}

#[test]
fn listings_come_in_parts_and_transfers_in_chunks() {
    let tree = ModelTree::bounded(1, Bounds { part_entries: 2, watches: 0, ..Bounds::default() });
    for at in ["a", "b", "c"] {
        tree.create(&path(at), at.as_bytes()).unwrap();
    }
    let mut counts = Vec::new();
    for first in [true, false] {
        let part = tree.run_look(&job(
            &tree,
            0,
            "",
            Task::List { listing: 1, first, recall: false, probe: false },
        ));
        let Seen::Part { entries, end, watch, .. } = part.seen else { panic!() };
        assert!(matches!(watch, WatchState::Unwatched(_)), "there are no watches");
        counts.push((entries.len(), end));
    }
    assert_eq!(counts, [(2, ListingEnd::More), (1, ListingEnd::Complete)]);
    tree.create(&path("large"), b"0123456789").unwrap();
    let names = vec![(name("large"), Want::Open { transfer: 3 })];
    tree.run_look(&job(&tree, 0, "", Task::Names(names)));
    for offset in [0, 6] {
        let chunk = Task::Chunk { transfer: 3, offset, bytes: 6 };
        let seen = tree.run_look(&job(&tree, 0, "", chunk)).seen;
        let expected = if offset == 0 { 6 } else { 4 };
        assert!(matches!(seen, Seen::Chunk { bytes, .. } if bytes.len() == expected));
    }
    tree.rename(&path("large"), &path("moved")).unwrap();
    let finish = Task::Finish { transfer: 3, name: name("large") };
    let seen = tree.run_look(&job(&tree, 0, "", finish)).seen;
    let Seen::Finished { file, still_named, bytes, .. } = seen else { panic!("{seen:?}") };
    assert!(!still_named && bytes == 10 && matches!(file.entry, Entry::File { size: 10, .. }));
    tree.write_chunk(8, 0, b"x").unwrap();
    tree.drop_transfer(8);
    for task in [Task::CloseListing { listing: 1 }, Task::CloseTransfer { transfer: 3 }] {
        assert_eq!(tree.run_look(&job(&tree, 0, "", task)).seen, Seen::Closed);
    }
    assert!(matches!(tree.run_look(&job(&tree, 0, "", Task::OwnMeta)).seen, Seen::Own(_)));
}
