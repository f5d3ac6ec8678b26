//! The verbs on real directories.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::SinkRoot;
use crate::error::Error;
use crate::model::attributes::Carried;
use crate::model::backup::Backup;
use crate::model::content::ContentHasher;
use crate::model::delta::{Basis, Piece};
use crate::model::entry::{Attributes, Entry, FileTime, Hash, Meta};
use crate::model::owners::{IdRule, OwnerMap};
use crate::model::path::{Name, RelPath};
use crate::model::target::{Obstacle, Target};

const STAGING: &str = ".osync-staging-0123456789abcdef";

struct Sink {
    dir: tempfile::TempDir,
    root: SinkRoot,
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}

fn meta(mode: u16) -> Meta {
    let mtime = FileTime { seconds: 1_234_567_890, nanos: 987_654_321 };
    let own = fs::metadata("/proc/self").unwrap();
    Meta::plain(mode, own.uid(), own.gid(), mtime)
}

fn dress(mode: u16) -> Attributes {
    Attributes::plain(meta(mode))
}

impl Sink {
    fn new() -> Sink {
        let dir = tempfile::tempdir().unwrap();
        let root = SinkRoot::open(&dir.path().join("root"), STAGING, false).unwrap();
        Sink { dir, root }
    }

    fn at(&self, text: &str) -> PathBuf {
        self.dir.path().join("root").join(text)
    }

    fn put(&self, text: &str, content: &[u8]) -> Result<(), Obstacle> {
        let mut staged = self.root.stage_file(content, &dress(0o640))?;
        self.root.place(&mut staged, &path(text))
    }

    fn link(&self, text: &str, target: &str) -> Result<(), Obstacle> {
        let mut staged = self.root.stage_symlink(target.as_bytes(), &dress(0o777))?;
        self.root.place(&mut staged, &path(text))
    }

    fn names(&self, text: &str) -> Vec<String> {
        let mut names = Vec::new();
        let each = &mut |name: Name| {
            names.push(name.to_string());
            true
        };
        self.root.read_dir(&path(text), each).unwrap();
        names.sort();
        names
    }

    fn staged(&self) -> usize {
        fs::read_dir(self.at(STAGING)).unwrap().count()
    }
}

#[test]
fn files_arrive_whole_with_their_attributes() {
    let sink = Sink::new();
    let raw = RelPath::new(&b"raw\xff\xfe\n"[..]).unwrap();
    let mut wanted = meta(0o6755);
    if sink.root.abilities().carried.owners {
        (wanted.uid, wanted.gid) = (12_345, 54_321);
    }
    let mut staged = sink.root.stage_file(b"content", &Attributes::plain(wanted)).unwrap();
    assert_eq!(sink.names(""), [""; 0], "nothing shows before it is placed");
    sink.root.place(&mut staged, &raw).unwrap();
    drop(staged);
    let standing = sink.root.look(&raw, true).unwrap();
    assert_eq!(standing.entry, Entry::File { size: 7, meta: wanted });
    assert_eq!(standing.hash, Some(hash(b"content")));
    assert!(sink.root.has_content(&raw, &hash(b"content")).unwrap());
    let on_disk = fs::metadata(sink.at("").join(std::ffi::OsStr::from_bytes(raw.as_bytes())));
    assert_eq!(on_disk.unwrap().mode() & 0o7777, 0o6755);
    sink.link("link", "../../etc/passwd").unwrap();
    let link = sink.root.look(&path("link"), true).unwrap();
    let Entry::Symlink { target, meta: seen } = &link.entry else { panic!("{link:?}") };
    assert_eq!((&target[..], seen.mtime), (&b"../../etc/passwd"[..], meta(0).mtime));
    assert!(sink.root.same_meta(&meta(0o1), seen, true), "a symlink's mode is not kept");
    sink.put("link", b"now a file").unwrap();
    assert_eq!(fs::read(sink.at("link")).unwrap(), b"now a file");
    assert_eq!(sink.staged(), 0);
    drop(sink.root.stage_file(b"dropped", &dress(0o600)).unwrap());
    assert_eq!(sink.staged(), 0, "what is not placed goes");
}

#[test]
fn each_obstacle_has_its_name() {
    let sink = Sink::new();
    sink.root.make_dir(&path("d")).unwrap();
    sink.root.make_dir(&path("d/e")).unwrap();
    sink.put("d/f", b"f").unwrap();
    sink.link("s", "d").unwrap();
    let root = &sink.root;
    let (make, unlink) = (|p: &str| root.make_dir(&path(p)), |p: &str| root.unlink(&path(p)));
    let remove = |p: &str| root.remove_dir(&path(p));
    let rename = |a: &str, b: &str| root.rename(&path(a), &path(b));
    let look = |p: &str| root.look(&path(p), false).map(|_| ());
    let read = |p: &str| root.read_dir(&path(p), &mut |_| true);
    for (row, (done, expected)) in [
        (sink.put("d", b""), Obstacle::IsDir),
        (sink.put("none/f", b""), Obstacle::NoParent),
        (sink.put("d/f/g", b""), Obstacle::NotDir),
        (sink.put("s/g", b""), Obstacle::NotDir),
        (sink.link("d/e", "x"), Obstacle::IsDir),
        (make("d"), Obstacle::Exists),
        (make("d/f"), Obstacle::Exists),
        (make("none/x"), Obstacle::NoParent),
        (make("s/x"), Obstacle::NotDir),
        (make(""), Obstacle::Exists),
        (unlink("d"), Obstacle::IsDir),
        (unlink("none"), Obstacle::Missing),
        (unlink("none/x"), Obstacle::NoParent),
        (unlink("d/f/x"), Obstacle::NotDir),
        (remove("d"), Obstacle::NotEmpty),
        (remove("d/f"), Obstacle::NotDir),
        (remove("s"), Obstacle::NotDir),
        (remove("none"), Obstacle::Missing),
        (rename("none", "x"), Obstacle::Missing),
        (rename("d/f", "none/x"), Obstacle::NoParent),
        (rename("d/f", "d/e"), Obstacle::IsDir),
        (rename("d/e", "d/f"), Obstacle::NotDir),
        (look("none"), Obstacle::Missing),
        (look("none/x"), Obstacle::NoParent),
        (look("s/f"), Obstacle::NotDir),
        (read("none"), Obstacle::Missing),
        (read("none/x"), Obstacle::NoParent),
        (read("d/f"), Obstacle::NotDir),
        (read("s"), Obstacle::NotDir),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(done.unwrap_err(), expected, "row {row}");
    }
    root.make_dir(&path("full")).unwrap();
    root.make_dir(&path("full/x")).unwrap();
    assert_eq!(rename("d/e", "full").unwrap_err(), Obstacle::NotEmpty);
    assert!(matches!(remove("").unwrap_err(), Obstacle::Other(_)));
    assert_eq!(sink.names(""), ["d", "full", "s"]);
}

#[test]
fn a_staged_object_survives_an_obstacle() {
    let sink = Sink::new();
    sink.root.make_dir(&path("way")).unwrap();
    let mut staged = sink.root.stage_file(b"again", &dress(0o600)).unwrap();
    assert_eq!(sink.root.place(&mut staged, &path("way")).unwrap_err(), Obstacle::IsDir);
    sink.root.remove_dir(&path("way")).unwrap();
    sink.root.place(&mut staged, &path("way")).unwrap();
    assert_eq!(fs::read(sink.at("way")).unwrap(), b"again");
}

#[test]
fn moves_are_followed_by_the_ways_kept() {
    let sink = Sink::new();
    for dir in ["a", "a/b", "c"] {
        sink.root.make_dir(&path(dir)).unwrap();
    }
    sink.put("a/b/f", b"1").unwrap();
    sink.put("c/f", b"2").unwrap();
    sink.root.rename(&path("a"), &path("moved")).unwrap();
    assert_eq!(sink.put("a/b/g", b"").unwrap_err(), Obstacle::NoParent);
    sink.root.make_dir(&path("a")).unwrap();
    sink.root.make_dir(&path("a/b")).unwrap();
    sink.put("a/b/g", b"new").unwrap();
    assert_eq!(sink.names("moved/b"), ["f"]);
    assert_eq!(sink.names("a/b"), ["g"]);
    sink.root.exchange(&path("a"), &path("moved")).unwrap();
    sink.put("a/b/h", b"").unwrap();
    assert_eq!(sink.names("a/b"), ["f", "h"]);
    // By another's hand: found out at once where the kept way is dead.
    fs::remove_dir_all(sink.at("a")).unwrap();
    assert_eq!(sink.put("a/b/i", b"").unwrap_err(), Obstacle::NoParent);
    fs::create_dir_all(sink.at("a/b")).unwrap();
    sink.put("a/b/i", b"").unwrap();
    assert_eq!(sink.names("a/b"), ["i"]);
    assert_eq!(sink.root.exchange(&path("a"), &path("none")).unwrap_err(), Obstacle::Missing);
}

#[test]
fn no_symlink_leads_out_however_it_is_swapped() {
    let sink = Sink::new();
    let outside = sink.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), b"victim").unwrap();
    for dir in ["d", "d/e"] {
        sink.root.make_dir(&path(dir)).unwrap();
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::rename(sink.at("d/e"), sink.at("d/real")).unwrap();
                symlink(&outside, sink.at("d/e")).unwrap();
                fs::remove_file(sink.at("d/e")).unwrap();
                fs::rename(sink.at("d/real"), sink.at("d/e")).unwrap();
            }
        });
        for _ in 0..2_000 {
            let _ = sink.put("d/e/new", b"x");
            let _ = sink.root.unlink(&path("d/e/victim"));
            let _ = sink.root.set_attributes(&path("d/e/victim"), &dress(0o777));
            let _ = sink.root.make_dir(&path("d/e/dir"));
            let _ = sink.root.rename(&path("d/e/new"), &path("d/e/victim"));
            if let Ok(standing) = sink.root.look(&path("d/e/victim"), true) {
                assert_ne!(standing.hash, Some(hash(b"victim")));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        churn.join().unwrap();
    });
    let left: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["victim"]);
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"victim");
    assert_ne!(fs::metadata(outside.join("victim")).unwrap().mode() & 0o777, 0o777);
    // The attributes of a symlink are its own, never its target's.
    symlink(outside.join("victim"), sink.at("link")).unwrap();
    sink.root.set_attributes(&path("link"), &dress(0o777)).unwrap();
    let touched = fs::symlink_metadata(sink.at("link")).unwrap();
    assert_eq!(touched.mtime(), 1_234_567_890);
    assert_ne!(fs::metadata(outside.join("victim")).unwrap().mtime(), 1_234_567_890);
}

#[test]
fn attributes_that_make_no_sense_are_refused() {
    let sink = Sink::new();
    sink.put("f", b"").unwrap();
    let bad_time = FileTime { seconds: 0, nanos: 0x3fff_ffff };
    let bad = Meta { mtime: bad_time, ..meta(0o600) };
    assert!(matches!(
        sink.root.set_attributes(&path("f"), &Attributes::plain(bad)),
        Err(Obstacle::Other(_))
    ));
    assert!(matches!(sink.root.stage_file(b"", &Attributes::plain(bad)), Err(Obstacle::Other(_))));
    if sink.root.abilities().carried.owners {
        let nobody = Meta { uid: u32::MAX, ..meta(0o600) };
        assert!(matches!(
            sink.root.set_attributes(&path("f"), &Attributes::plain(nobody)),
            Err(Obstacle::Other(_))
        ));
    }
    let early = Meta { mtime: FileTime { seconds: -5, nanos: 7 }, ..meta(0o1777) };
    sink.root.set_attributes(&RelPath::root(), &Attributes::plain(early)).unwrap();
    let root = sink.root.look(&RelPath::root(), false).unwrap();
    assert_eq!(root.entry, Entry::Dir { meta: early });
}

#[test]
fn what_a_crash_left_is_removed_and_the_root_keeps_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let at = |text: &str| dir.path().join(text);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let mtime = || fs::metadata(dir.path()).unwrap().modified().unwrap();
    fs::create_dir(at("sub")).unwrap();
    fs::create_dir(at(STAGING)).unwrap();
    fs::write(at(STAGING).join("17"), b"half").unwrap();
    fs::create_dir(at("sub").join(STAGING)).unwrap();
    fs::write(at("sub").join(STAGING).join("18"), b"half").unwrap();
    fs::File::open(dir.path()).unwrap().set_modified(long_ago).unwrap();
    let root = SinkRoot::open(dir.path(), STAGING, false).unwrap();
    assert_eq!(fs::read_dir(at(STAGING)).unwrap().count(), 0);
    assert!(root.is_empty(&path("sub")).unwrap(), "by its exact name it is left out");
    root.stage_file(b"x", &dress(0o600)).unwrap();
    root.finish().unwrap();
    assert!(!at(STAGING).exists() && !at("sub").join(STAGING).exists());
    assert_eq!(mtime(), long_ago);
    // A change after the end begins staging anew.
    let mut staged = root.stage_file(b"late", &dress(0o600)).unwrap();
    root.place(&mut staged, &path("late")).unwrap();
    root.finish().unwrap();
    assert_eq!(fs::read(at("late")).unwrap(), b"late");
    assert!(!at(STAGING).exists());
    fs::create_dir(at("sub").join(STAGING)).unwrap();
    root.remove_dir(&path("sub")).unwrap();
    assert!(!at("sub").exists());
    symlink("/tmp", at(STAGING)).unwrap();
    let refused = SinkRoot::open(dir.path(), STAGING, false);
    assert!(matches!(refused, Err(Error::Refused(text)) if text.contains("is in the way")));
}

#[test]
fn a_transfer_is_taken_only_as_it_was_announced() {
    let sink = Sink::new();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n / 3) as u8).collect();
    let write = |number, order: &[usize]| {
        for part in order {
            let chunk = &bytes[part * 50_000..(part + 1) * 50_000];
            sink.root.write_chunk(number, *part as u64 * 50_000, chunk, false).unwrap();
        }
    };
    let take =
        |number, size, of: &[u8]| sink.root.take_transfer(number, size, &hash(of), &dress(0o600));
    write(1, &[0, 1, 2, 3]);
    write(2, &[2, 0, 3, 1]);
    write(3, &[0, 1, 2]);
    write(4, &[0, 1, 2, 3]);
    assert_eq!(sink.staged(), 4);
    for number in [1, 2] {
        let mut staged = take(number, 200_000, &bytes).unwrap();
        sink.root.place(&mut staged, &path("big")).unwrap();
        assert_eq!(fs::read(sink.at("big")).unwrap(), bytes);
    }
    assert_eq!(take(3, 200_000, &bytes).err(), Some(Obstacle::Missing), "too short");
    assert_eq!(take(4, 200_000, b"other").err(), Some(Obstacle::Missing), "another hash");
    assert_eq!(take(1, 200_000, &bytes).err(), Some(Obstacle::Missing), "taken before");
    assert_eq!(sink.staged(), 0);
    write(5, &[0]);
    write(6, &[0]);
    sink.root.drop_transfer(5);
    assert_eq!(sink.staged(), 1);
    sink.root.clear_transfers();
    assert_eq!(sink.staged(), 0);
    sink.root.sync().unwrap();
}

#[test]
fn many_names_are_looked_at_in_one_directory() {
    let sink = Sink::new();
    sink.root.make_dir(&path("d")).unwrap();
    sink.put("d/f", b"12345").unwrap();
    sink.link("d/l", "t").unwrap();
    let names = [name("f"), name("none"), name("l")];
    let names: Vec<&Name> = names.iter().collect();
    let seen = sink.root.look_many(&path("d"), &names).unwrap();
    assert!(matches!(seen[0], Ok(Entry::File { size: 5, .. })));
    assert_eq!(seen[1], Err(Obstacle::Missing));
    assert!(matches!(&seen[2], Ok(Entry::Symlink { target, .. }) if target == b"t"));
    assert_eq!(sink.root.look_many(&path("none"), &names).unwrap_err(), Obstacle::Missing);
}

#[test]
fn paths_longer_than_the_kernel_takes_are_changed_too() {
    let sink = Sink::new();
    let part = "p".repeat(200);
    let mut deep = part.clone();
    sink.root.make_dir(&path(&deep)).unwrap();
    for _ in 0..30 {
        deep = format!("{deep}/{part}");
        sink.root.make_dir(&path(&deep)).unwrap();
    }
    let file = format!("{deep}/file");
    sink.put(&file, b"deep").unwrap();
    assert!(sink.root.has_content(&path(&file), &hash(b"deep")).unwrap());
    sink.root.unlink(&path(&file)).unwrap();
    assert!(sink.root.is_empty(&path(&deep)).unwrap());
}

/// A filesystem of its own in a directory, taken away in the end.
struct Mount(PathBuf);

impl Mount {
    /// Nothing where this user may not mount.
    fn new(at: &Path, args: &[&str]) -> Option<Mount> {
        let done = Command::new("mount").args(args).arg(at).output().ok()?;
        done.status.success().then(|| Mount(at.to_path_buf()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn another_filesystem_below_the_root_gets_a_staging_directory() {
    let sink = Sink::new();
    sink.root.make_dir(&path("m")).unwrap();
    let Some(mount) = Mount::new(&sink.at("m"), &["-t", "tmpfs", "none"]) else { return };
    fs::create_dir_all(sink.at("m/a/b")).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::open(sink.at("m")).unwrap().set_modified(long_ago).unwrap();
    let mtime = |text: &str| fs::metadata(sink.at(text)).unwrap().modified().unwrap();
    sink.put("m/a/b/f", b"across").unwrap();
    sink.link("m/a/b/l", "target").unwrap();
    assert!(sink.root.has_content(&path("m/a/b/f"), &hash(b"across")).unwrap());
    let standing = sink.root.look(&path("m/a/b/f"), false).unwrap();
    assert_eq!(*standing.entry.meta(), meta(0o640));
    assert_eq!(fs::read_link(sink.at("m/a/b/l")).unwrap(), Path::new("target"));
    assert_eq!(sink.names("m"), ["a"]);
    assert!(sink.at("m").join(STAGING).is_dir(), "in the highest directory of that filesystem");
    assert_eq!(fs::read_dir(sink.at("m").join(STAGING)).unwrap().count(), 0);
    assert_eq!((mtime("m"), sink.staged()), (long_ago, 0));
    let own = fs::metadata("/proc/self").unwrap().uid();
    let rule = |first, to| IdRule { first, last: first, to };
    let owners = OwnerMap { users: vec![rule(own, 7), rule(7, 9)], groups: Vec::new() };
    sink.root.carry(&Carried::all(), &owners);
    sink.put("m/a/f", b"again").unwrap();
    assert_eq!(fs::metadata(sink.at("m/a/f")).unwrap().uid(), 7, "given once, not twice");
    let busy = sink.root.remove_dir(&path("m")).unwrap_err();
    assert_eq!(
        busy,
        Obstacle::Other("Can't remove the directory: a filesystem is mounted there".into())
    );
    let across = sink.root.rename(&path("m/a/f"), &path("f")).unwrap_err();
    assert!(matches!(across, Obstacle::Other(text) if text.contains("another filesystem")));
    sink.root.sync().unwrap();
    sink.root.finish().unwrap();
    assert!(!sink.at("m").join(STAGING).exists());
    assert_eq!(mtime("m"), long_ago);
    drop(mount);
}

#[test]
fn what_is_displaced_on_another_filesystem_is_kept() {
    for trash in [true, false] {
        let mut sink = Sink::new();
        sink.root.make_dir(&path("m")).unwrap();
        let Some(mount) = Mount::new(&sink.at("m"), &["-t", "tmpfs", "none"]) else { return };
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for name in ["m/old", "m/gone"] {
            fs::write(sink.at(name), b"old").unwrap();
            let file = fs::File::open(sink.at(name)).unwrap();
            file.set_permissions(fs::Permissions::from_mode(0o604)).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        symlink("target", sink.at("m/link")).unwrap();
        let beside = sink.dir.path().join("backup");
        let backup = if trash { Backup::Trash } else { Backup::Dir(beside.clone()) };
        sink.root.back_up(&backup).unwrap();
        sink.put("m/old", b"new").unwrap();
        sink.root.unlink(&path("m/gone")).unwrap();
        sink.root.rename(&path("m/old"), &path("m/link")).unwrap();
        let kept = if trash { sink.at("m").join(STAGING).join("trash") } else { beside.clone() };
        for name in ["m/old", "m/gone"] {
            assert_eq!(fs::read(kept.join(name)).unwrap(), b"old", "{}", kept.display());
            let stat = fs::metadata(kept.join(name)).unwrap();
            assert_eq!((stat.mode() & 0o7777, stat.modified().unwrap()), (0o604, long_ago));
        }
        assert_eq!(fs::read_link(kept.join("m/link")).unwrap(), Path::new("target"));
        assert_eq!(fs::read(sink.at("m/link")).unwrap(), b"new");
        assert_eq!(sink.names("m"), ["link"]);
        let names = if trash { 3 } else { 0 };
        assert_eq!(sink.root.throw_away().unwrap().names, names);
        sink.root.finish().unwrap();
        assert!(!sink.at("m").join(STAGING).exists() && !beside.join(STAGING).exists());
        drop(mount);
    }
}

#[test]
fn a_bind_mount_of_the_same_filesystem_is_another_one_to_a_rename() {
    let sink = Sink::new();
    for dir in ["m", "there", "there/x"] {
        sink.root.make_dir(&path(dir)).unwrap();
    }
    let there = sink.at("there");
    let Some(mount) = Mount::new(&sink.at("m"), &["--bind", there.to_str().unwrap()]) else {
        return;
    };
    sink.put("m/x/f", b"bound").unwrap();
    assert_eq!(fs::read(sink.at("there/x/f")).unwrap(), b"bound");
    sink.root.finish().unwrap();
    assert!(!there.join(STAGING).exists() && !sink.at("").join(STAGING).exists());
    drop(mount);
}

#[test]
fn no_room_is_told_apart() {
    let sink = Sink::new();
    sink.root.make_dir(&path("m")).unwrap();
    let args = ["-t", "tmpfs", "-o", "size=64k", "none"];
    let Some(mount) = Mount::new(&sink.at("m"), &args) else { return };
    assert_eq!(sink.put("m/f", &vec![1; 1_000_000]).unwrap_err(), Obstacle::NoRoom);
    sink.put("m/small", b"fits").unwrap();
    assert_eq!((sink.names("m"), sink.staged()), (vec!["small".into()], 0));
    drop(mount);
}

#[test]
fn a_missing_root_is_made_but_not_its_parents() {
    let dir = tempfile::tempdir().unwrap();
    let root = SinkRoot::open(&dir.path().join("new"), STAGING, false).unwrap();
    let mode = fs::metadata(dir.path().join("new")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    assert_eq!(root.staging_name().to_string(), STAGING);
    assert!(matches!(
        SinkRoot::open(&dir.path().join("no/new"), STAGING, false),
        Err(Error::Disk { .. })
    ));
    assert!(matches!(SinkRoot::open(dir.path(), "a/b", false), Err(Error::Usage(_))));
}

#[test]
fn zeros_that_did_not_travel_take_room_where_they_are_to() {
    let sink = Sink::new();
    let size = 1_000_000;
    let mut whole = vec![0; size];
    whole[..10_000].fill(1);
    whole[500_000..510_000].fill(2);
    fs::write(sink.at("old"), [1; 10_000]).unwrap();
    let old = fs::metadata(sink.at("old")).unwrap();
    let mtime = FileTime { seconds: old.mtime(), nanos: old.mtime_nsec() as u32 };
    for (transfer, holes) in [(1, false), (2, true)] {
        let of = Basis { size: 10_000, mtime };
        assert!(sink.root.open_basis(transfer, &path("old"), of).unwrap());
        let first = Piece { offset: 0, bytes: 10_000, from: Some(0) };
        let second = Piece { offset: 500_000, bytes: 10_000, from: None };
        sink.root.put_together(transfer, &[first], &[], holes).unwrap();
        sink.root.put_together(transfer, &[second], &[2; 10_000], holes).unwrap();
        let attributes = Attributes { holes, ..dress(0o600) };
        let mut hasher = ContentHasher::new();
        hasher.update(&whole);
        let hash = hasher.finish();
        let staged = sink.root.take_transfer(transfer, size as u64, &hash, &attributes);
        let mut staged = staged.unwrap();
        sink.root.place(&mut staged, &path("new")).unwrap();
        assert!(fs::read(sink.at("new")).unwrap() == whole);
        let room = fs::metadata(sink.at("new")).unwrap().blocks() * 512;
        assert_eq!(room < size as u64, holes, "{room} bytes");
    }
}

#[test]
fn a_transfer_goes_on_in_a_later_run_and_its_hash_tells() {
    let sink = Sink::new();
    let whole = b"first half, second half";
    let (first, second) = whole.split_at(10);
    for transfer in [7, 8] {
        sink.root.write_chunk(transfer, 0, first, false).unwrap();
    }
    sink.root.keep_transfers();
    let again = SinkRoot::open(&sink.at(""), STAGING, false).unwrap();
    let mut known: Vec<u64> = again.partials().unwrap().iter().map(|one| one.transfer).collect();
    known.sort_unstable();
    assert_eq!(known, [7, 8]);
    fs::write(sink.at(STAGING).join("transfer-0000000000000008"), [0; 10]).unwrap();
    let size = whole.len() as u64;
    let take = |transfer| {
        again.write_chunk(transfer, 10, second, false).unwrap();
        again.take_transfer(transfer, size, &hash(whole), &dress(0o640))
    };
    let mut staged = take(7).unwrap();
    again.place(&mut staged, &path("whole")).unwrap();
    assert_eq!(fs::read(sink.at("whole")).unwrap(), whole);
    assert!(matches!(take(8), Err(Obstacle::Missing)), "zeros are not what was sent");
    assert_eq!(again.partials().unwrap(), [], "what is wrong is thrown away");
    again.write_chunk(9, 0, first, false).unwrap();
    again.keep_transfers();
    again.drop_partials();
    assert_eq!(again.partials().unwrap(), []);
}
