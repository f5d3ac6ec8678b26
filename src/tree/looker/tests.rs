//! Looks at real directories.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use super::Looker;
use crate::model::content::ContentHasher;
use crate::model::entry::{Entry, Hash, Identity, SpecialKind};
use crate::model::limits::{LISTING_ENTRIES_MAX, LIVE_BYTES_MAX};
use crate::model::look::{Armed, DirAddress, LookJob, Seen, Sight, Task, Want, WatchState};
use crate::model::op::ListingEnd;
use crate::model::path::{Name, RelPath};
use crate::model::stamp::DirKey;
use crate::tree::watch::{Handed, Watcher};

struct Tree {
    dir: tempfile::TempDir,
    looker: Looker,
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::by_inotify(Box::new(|_| Handed::Taken)).unwrap();
        let looker = Looker::open(dir.path(), Some(watcher)).unwrap();
        Tree { dir, looker }
    }

    fn at(&self, text: &str) -> PathBuf {
        self.dir.path().join(text)
    }

    fn run(&self, key: u64, path: &str, identity: Option<Identity>, task: Task) -> Seen {
        let path = RelPath::new(path).unwrap();
        let dir = DirAddress { key: DirKey(key), path, identity };
        let job = LookJob { id: 7, sink: None, urgent: false, dir, task };
        let done = self.looker.run(&job);
        assert_eq!(done.id, 7);
        done.seen
    }

    fn arm(&self, key: u64, path: &str, files_max: usize) -> Armed {
        match self.run(key, path, None, Task::Arm { files_max }) {
            Seen::Armed(armed) => armed,
            other => panic!("{other:?}"),
        }
    }

    fn sights(&self, names: &[(&str, Want)]) -> (Vec<Sight>, Vec<u8>) {
        let names = names.iter().map(|(n, want)| (name(n), *want)).collect();
        match self.run(0, "", None, Task::Names(names)) {
            Seen::Names { sights, content, .. } => {
                (sights.into_iter().map(|(_, sight)| sight).collect(), content)
            }
            other => panic!("{other:?}"),
        }
    }

    fn sight(&self, text: &str, want: Want) -> Sight {
        self.sights(&[(text, want)]).0.remove(0)
    }
}

fn hash(bytes: &[u8]) -> Hash {
    let mut hasher = ContentHasher::new();
    hasher.update(bytes);
    hasher.finish()
}

#[test]
fn the_zoo_is_seen_as_it_is() {
    let tree = Tree::new();
    fs::write(tree.at("file"), b"abc").unwrap();
    fs::set_permissions(tree.at("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(tree.at("file"), tree.at("file2")).unwrap();
    fs::write(tree.at("empty"), b"").unwrap();
    fs::create_dir(tree.at("dir")).unwrap();
    symlink("/nowhere/\u{e9}", tree.at("link")).unwrap();
    let fifo = tree.at("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.at("socket")).unwrap();
    let all = ["file", "empty", "dir", "link", "fifo", "socket", "missing"];
    let (sights, content) = tree.sights(&all.map(|n| (n, Want::Content)));
    assert_eq!(content, b"abc");
    let Sight::There { sighting, read: Some(read) } = &sights[0] else { panic!("{sights:?}") };
    assert_eq!((read.hash, read.bytes, read.brought), (hash(b"abc"), 3, true));
    let on_disk = fs::metadata(tree.at("file")).unwrap();
    let meta = sighting.entry.meta();
    assert_eq!((meta.mode, meta.uid), (0o4751, on_disk.uid()));
    assert_eq!(meta.mtime.seconds, on_disk.mtime());
    assert_eq!(i64::from(meta.mtime.nanos), on_disk.mtime_nsec());
    assert_eq!(sighting.links, 2);
    assert_eq!(sighting.identity.inode, on_disk.ino());
    assert_eq!(sighting.identity.device, on_disk.dev());
    assert!(matches!(&sights[1], Sight::There { read: Some(read), .. } if read.bytes == 0));
    let entry = |sight: &Sight| match sight {
        Sight::There { sighting, read: None } => sighting.entry.clone(),
        other => panic!("{other:?}"),
    };
    assert!(entry(&sights[2]).is_dir());
    let target = "/nowhere/\u{e9}".as_bytes();
    assert!(matches!(entry(&sights[3]), Entry::Symlink { target: t, .. } if t == target));
    assert!(matches!(entry(&sights[4]), Entry::Special { kind: SpecialKind::Fifo, .. }));
    assert!(matches!(entry(&sights[5]), Entry::Special { kind: SpecialKind::Socket, .. }));
    assert_eq!(sights[6], Sight::Gone);
}

#[test]
fn only_small_content_is_brought() {
    let tree = Tree::new();
    let small = vec![7; LIVE_BYTES_MAX as usize];
    let large = vec![8; LIVE_BYTES_MAX as usize + 1];
    fs::write(tree.at("small"), &small).unwrap();
    fs::write(tree.at("large"), &large).unwrap();
    let wants = [
        ("small", Want::Content),
        ("large", Want::Content),
        ("large", Want::Hash),
        ("small", Want::Meta),
    ];
    let (sights, content) = tree.sights(&wants);
    assert_eq!(content, small);
    assert!(matches!(&sights[0], Sight::There { read: Some(r), .. } if r.hash == hash(&small)));
    assert!(matches!(&sights[1], Sight::There { read: None, .. }));
    let Sight::There { sighting, read: Some(read) } = &sights[2] else { panic!("{sights:?}") };
    assert_eq!((read.hash, read.bytes, read.brought), (hash(&large), large.len() as u64, false));
    assert_eq!(sighting.entry.content_bytes(), large.len() as u64);
    assert!(matches!(&sights[3], Sight::There { read: None, .. }));
}

#[test]
fn a_directory_is_known_by_what_it_is() {
    let tree = Tree::new();
    fs::create_dir_all(tree.at("a/b")).unwrap();
    fs::write(tree.at("a/b/f"), b"f").unwrap();
    let armed = tree.arm(2, "a/b", 8);
    assert_eq!(armed.watch, WatchState::Watched);
    let is = Some(armed.identity);
    // Each under a key of its own: a key that has a descriptor does not resolve again.
    let ask = |path: &str, identity| {
        let key = 100 + path.len() as u64;
        tree.run(key, path, identity, Task::Names(vec![(name("f"), Want::Meta)]))
    };
    assert!(matches!(ask("a/b", is), Seen::Names { .. }));
    assert_eq!(ask("a", is), Seen::Elsewhere);
    assert_eq!(ask("a/none", is), Seen::Elsewhere);
    assert_eq!(ask("a/b/f", is), Seen::Elsewhere);
    fs::rename(tree.at("a"), tree.at("moved")).unwrap();
    symlink("moved", tree.at("a")).unwrap();
    // A fresh key resolves the path, and no symlink is followed, not even to the right place.
    let fresh = tree.run(4, "a/b", is, Task::OwnMeta);
    assert_eq!(fresh, Seen::Elsewhere);
    // The key that has a descriptor goes on through it.
    let kept = tree.run(2, "a/b", is, Task::Names(vec![(name("f"), Want::Content)]));
    assert!(matches!(&kept, Seen::Names { content, .. } if content == b"f"));
    // Arming always resolves, and finds the same directory at its new place.
    assert_eq!(tree.run(2, "a/b", is, Task::Arm { files_max: 0 }), Seen::Elsewhere);
    assert_eq!(tree.arm(5, "moved/b", 0).watch, WatchState::Known(DirKey(2)));
    fs::remove_dir_all(tree.at("moved")).unwrap();
    assert_eq!(tree.run(2, "a/b", is, Task::OwnMeta), Seen::Elsewhere);
}

#[test]
fn arming_reads_names_within_its_bound() {
    let tree = Tree::new();
    for n in ["d1", "d2"] {
        fs::create_dir(tree.at(n)).unwrap();
    }
    for n in ["f1", "f2", "f3"] {
        fs::write(tree.at(n), b"").unwrap();
    }
    let armed = tree.arm(0, "", 3);
    let mut dirs = armed.dirs.clone();
    dirs.sort();
    assert_eq!(dirs, [name("d1"), name("d2")]);
    assert_eq!((armed.files.len(), armed.complete), (3, true));
    let armed = tree.arm(0, "", 2);
    assert_eq!((armed.dirs.len(), armed.files.len(), armed.complete), (2, 2, false));
    assert!(armed.identity == tree.looker.root_identity() && tree.looker.root_stands());
}

#[test]
fn a_listing_comes_in_parts() {
    let tree = Tree::new();
    let count = LISTING_ENTRIES_MAX * 2 + 3;
    for n in 0..count - 1 {
        fs::write(tree.at(&format!("file{n}")), n.to_string()).unwrap();
    }
    symlink("target", tree.at("link")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for part in 0.. {
        let task = Task::List { listing: 9, first: part == 0, recall: false, probe: false };
        let Seen::Part { entries, problems, watch, end, .. } = tree.run(0, "", None, task) else {
            panic!("no part");
        };
        assert!(
            watch == WatchState::Watched
                && problems.is_empty()
                && entries.len() <= LISTING_ENTRIES_MAX
        );
        seen.extend(entries.into_iter().map(|found| found.listed.name));
        match end {
            ListingEnd::More => {}
            ListingEnd::Complete => break,
            ListingEnd::Abandoned => panic!("abandoned"),
        }
    }
    assert_eq!(seen.len(), count);
    let is = Some(tree.looker.root_identity());
    let lost =
        tree.run(0, "", is, Task::List { listing: 9, first: false, recall: false, probe: false });
    assert!(matches!(lost, Seen::Part { end: ListingEnd::Abandoned, .. }));
}

#[test]
fn a_listing_that_was_closed_or_lost_its_directory_is_abandoned() {
    let tree = Tree::new();
    fs::create_dir(tree.at("d")).unwrap();
    for n in 0..LISTING_ENTRIES_MAX + 1 {
        fs::write(tree.at(&format!("d/{n}")), b"").unwrap();
    }
    let list = |first| {
        tree.run(1, "d", None, Task::List { listing: 4, first, recall: false, probe: false })
    };
    let Seen::Part { identity, end: ListingEnd::More, .. } = list(true) else { panic!("no part") };
    fs::remove_dir_all(tree.at("d")).unwrap();
    let Seen::Part { end: ListingEnd::Abandoned, .. } = list(false) else { panic!("not given up") };
    let closed = tree.run(1, "d", None, Task::CloseListing { listing: 4 });
    assert_eq!(closed, Seen::Closed);
    let again = tree.run(
        1,
        "d",
        Some(identity),
        Task::List { listing: 4, first: true, recall: false, probe: false },
    );
    assert_eq!(again, Seen::Elsewhere);
}

#[test]
fn gone_is_said_only_for_certain() {
    let tree = Tree::new();
    fs::create_dir_all(tree.at("d/e")).unwrap();
    fs::write(tree.at("d/f"), b"").unwrap();
    symlink("d", tree.at("link")).unwrap();
    let rows = [
        ("d", false),
        ("d/f", false),
        ("link", false),
        ("d/none", true),
        ("none/below", true),
        ("d/f/below", true),
        ("link/f", true),
    ];
    let paths = rows.iter().map(|(path, _)| RelPath::new(*path).unwrap()).collect();
    let Seen::Paths(gone) = tree.run(0, "", None, Task::Paths(paths)) else { panic!() };
    for ((path, expected), (asked, gone)) in rows.iter().zip(gone) {
        assert_eq!((gone, asked.to_string()), (*expected, (*path).to_string()));
    }
}

#[test]
fn a_path_longer_than_the_kernel_takes_is_walked() {
    let tree = Tree::new();
    let part = "p".repeat(250);
    let mut path = String::new();
    let mut dir =
        rustix::fs::open(tree.dir.path(), rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())
            .unwrap();
    for _ in 0..40 {
        rustix::fs::mkdirat(&dir, &*part, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::PATH;
        dir = rustix::fs::openat(&dir, &*part, flags, rustix::fs::Mode::empty()).unwrap();
        path = if path.is_empty() { part.clone() } else { format!("{path}/{part}") };
    }
    rustix::fs::symlinkat("deep", &dir, "bottom").unwrap();
    assert!(path.len() > 10_000);
    let armed = tree.arm(1, &path, 8);
    assert_eq!(armed.files, [name("bottom")]);
    assert_eq!(
        tree.run(2, &path, Some(armed.identity), Task::CloseListing { listing: 1 }),
        Seen::Closed
    );
    let deeper = RelPath::new(format!("{path}/none")).unwrap();
    let there = RelPath::new(format!("{path}/bottom")).unwrap();
    let Seen::Paths(gone) = tree.run(0, "", None, Task::Paths(vec![deeper, there])) else {
        panic!()
    };
    assert_eq!(gone.iter().map(|(_, gone)| *gone).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_large_file_comes_in_chunks_with_the_hash_of_all() {
    let tree = Tree::new();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n / 7) as u8).collect();
    fs::write(tree.at("big"), &bytes).unwrap();
    assert!(matches!(
        tree.sight("big", Want::Open { transfer: 5 }),
        Sight::There { read: None, .. }
    ));
    let chunk =
        |offset| match tree.run(0, "", None, Task::Chunk { transfer: 5, offset, bytes: 300_000 }) {
            Seen::Chunk { bytes, .. } => bytes,
            other => panic!("{other:?}"),
        };
    // Threads may finish in another order than they began.
    let mut read = [chunk(600_000), chunk(0), chunk(900_000), chunk(300_000)];
    read.sort_by_key(|chunk| bytes.windows(64).position(|w| w == &chunk[..64]));
    assert_eq!(read.concat().len(), bytes.len());
    assert!(chunk(1_000_000).is_empty());
    let finish = || tree.run(0, "", None, Task::Finish { transfer: 5, name: name("big") });
    let Seen::Finished { hash: seen, bytes: count, still_named: true, .. } = finish() else {
        panic!("not finished");
    };
    assert_eq!((seen, count), (hash(&bytes), 1_000_000));
    fs::write(tree.at("other"), b"").unwrap();
    fs::rename(tree.at("other"), tree.at("big")).unwrap();
    assert!(matches!(finish(), Seen::Finished { still_named: false, .. }));
    assert_eq!(tree.run(0, "", None, Task::CloseTransfer { transfer: 5 }), Seen::Closed);
    assert!(matches!(finish(), Seen::Unreadable(_)));
}

#[test]
fn a_name_that_keeps_changing_its_kind_never_blocks_a_look() {
    let tree = Arc::new(Tree::new());
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let churn = std::thread::spawn({
        let (tree, stop) = (Arc::clone(&tree), Arc::clone(&stop));
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(tree.at("new"), b"content").unwrap();
                fs::rename(tree.at("new"), tree.at("name")).unwrap();
                let new = tree.at("new");
                rustix::fs::mkfifoat(rustix::fs::CWD, &new, rustix::fs::Mode::RUSR).unwrap();
                fs::rename(tree.at("new"), tree.at("name")).unwrap();
                symlink("/etc/passwd", tree.at("new")).unwrap();
                fs::rename(tree.at("new"), tree.at("name")).unwrap();
            }
        }
    });
    let (mut files, mut others) = (0, 0);
    while files < 300 || others < 300 {
        match tree.sight("name", Want::Content) {
            Sight::There { sighting, read: Some(read) } => {
                assert_eq!(sighting.entry.content_bytes(), 7);
                assert_eq!(read.hash, hash(b"content"));
                files += 1;
            }
            Sight::There { sighting, read: None } => {
                assert!(!matches!(sighting.entry, Entry::File { .. }));
                others += 1;
            }
            Sight::Gone | Sight::Withheld => {}
            Sight::Problem(text) => assert!(text.contains("faster"), "{text}"),
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    churn.join().unwrap();
}

#[test]
fn what_is_punched_while_it_is_read_travels_as_zeros() {
    let tree = Tree::new();
    let file = fs::File::create(tree.at("big")).unwrap();
    file.write_all_at(&[7; 1_000_000], 0).unwrap();
    tree.sight("big", Want::Open { transfer: 5 });
    let chunk =
        |offset| match tree.run(0, "", None, Task::Chunk { transfer: 5, offset, bytes: 262_144 }) {
            Seen::Chunk { offset, bytes, .. } => (offset, bytes),
            other => panic!("{other:?}"),
        };
    assert_eq!(chunk(0), (0, vec![7; 262_144]));
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, flags, 262_144, 262_144).unwrap();
    assert_eq!(chunk(262_144), (262_144, vec![0; 262_144]), "found dense once, and believed");
    assert_eq!(chunk(524_288), (524_288, vec![7; 262_144]));
}
