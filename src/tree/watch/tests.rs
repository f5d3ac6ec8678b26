//! Watches on real directories: one suite, which every way of watching has to pass.
//!
//! Marks on filesystems need root, and each test has a filesystem of its own for them.

use std::fs;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::Duration;

use tempfile::TempDir;

use super::fanotify::{Dialect, open_in};
use super::reader::Bell;
use super::{Handed, Notify, Watcher};
use crate::error::Error;
use crate::model::event::{Happening, Notice};
use crate::model::limits::WATCH_HELD_MAX;
use crate::model::look::WatchState;
use crate::model::path::Name;
use crate::model::stamp::DirKey;
use crate::tree::stat;

/// The ways to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Inotify,
    Fanotify(Dialect),
}

/// Makes each of these a test for every way to watch.
macro_rules! for_all_means {
    ($($name:ident),* $(,)?) => {
        mod by_inotify {
            $(#[test] fn $name() { super::$name(super::Means::Inotify); })*
        }
        mod needs_root_by_fanotify {
            $(#[test] #[ignore = "marks a filesystem, so it needs root: scripts/check.sh runs it"]
            fn $name() { super::$name(super::Means::Fanotify(super::Dialect::Renames)); })*
        }
        mod needs_root_by_fanotify_without_renames {
            $(#[test] #[ignore = "marks a filesystem, so it needs root: scripts/check.sh runs it"]
            fn $name() { super::$name(super::Means::Fanotify(super::Dialect::Halves)); })*
        }
    };
}

for_all_means!(
    each_change_is_told_before_the_drain_that_follows_it,
    a_directory_is_watched_once,
    renames_are_told_as_they_are,
    a_watch_ends_with_its_directory_or_when_it_is_taken_off,
    no_event_meets_a_watch_that_is_not_known_yet,
    what_can_not_be_watched_is_said_in_words,
    a_burst_that_nobody_takes_becomes_one_overflow,
    the_reader_ends_with_its_watcher,
);

/// A directory; for marks, a filesystem of its own. Dropped, it is unmounted.
struct Home {
    dir: TempDir,
    mounted: bool,
}

impl Home {
    fn new(means: Means) -> Home {
        let dir = tempfile::tempdir().unwrap();
        let mounted = means != Means::Inotify;
        if mounted {
            mount(dir.path());
        }
        Home { dir, mounted }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.mounted {
            unmount(self.path());
        }
    }
}

fn mount(at: &Path) {
    let args = ["-t", "tmpfs", "-o", "size=64m", "osync-test"];
    let status = Command::new("mount").args(args).arg(at).status().unwrap();
    assert!(status.success(), "This test mounts a tmpfs: run it as root");
}

fn unmount(at: &Path) {
    let _ = Command::new("umount").arg("--lazy").arg(at).status();
}

fn start(means: Means, home: &Home, notify: Notify) -> Result<Arc<Watcher>, Error> {
    let Means::Fanotify(dialect) = means else { return Watcher::by_inotify(notify) };
    let bell = Arc::new(Bell::new()?);
    let marks = open_in(dialect, File::open(home.path()).unwrap().as_fd(), &bell)?;
    Watcher::with_marks(marks, bell, notify)
}

fn arm(watcher: &Watcher, path: &Path, key: u64) -> WatchState {
    let dir = File::open(path).unwrap();
    let ground = stat::ground(&stat::of_fd(dir.as_fd()).unwrap());
    watcher.arm(dir.as_fd(), ground, DirKey(key))
}

struct Watch {
    watcher: Arc<Watcher>,
    notices: Receiver<Notice>,
    tickets: u64,
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

impl Watch {
    /// A watcher whose notices wait for the test, at most so many.
    fn with_room(means: Means, home: &Home, room: usize) -> Watch {
        let (send, notices) = sync_channel(room);
        let notify = move |notice| match send.try_send(notice) {
            Ok(()) => Handed::Taken,
            Err(TrySendError::Full(notice)) => Handed::Full(notice),
            Err(TrySendError::Disconnected(_)) => Handed::Gone,
        };
        let watcher = start(means, home, Box::new(notify)).unwrap();
        Watch { watcher, notices, tickets: 0 }
    }

    fn new(means: Means, home: &Home) -> Watch {
        Watch::with_room(means, home, 100_000)
    }

    fn arm(&self, path: &Path, key: u64) -> WatchState {
        arm(&self.watcher, path, key)
    }

    fn next(&self) -> Notice {
        self.notices.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// All that is told until now, in order.
    fn told(&mut self) -> Vec<Notice> {
        self.tickets += 1;
        self.watcher.request_drain(self.tickets);
        let mut told = Vec::new();
        loop {
            match self.next() {
                Notice::Drained(ticket) => {
                    assert_eq!(ticket, self.tickets);
                    return told;
                }
                notice => told.push(notice),
            }
        }
    }

    /// What happened until now, in order.
    fn drain(&mut self) -> Vec<(u64, Happening)> {
        let event = |notice| match notice {
            Notice::Event(event) => (event.dir.0, event.what),
            other => panic!("{other:?}"),
        };
        self.told().into_iter().map(event).collect()
    }
}

fn each_change_is_told_before_the_drain_that_follows_it(means: Means) {
    let home = Home::new(means);
    let mut watch = Watch::new(means, &home);
    assert_eq!(watch.arm(home.path(), 3), WatchState::Watched);
    assert_eq!(watch.drain(), []);
    let f = || name("f");
    fs::write(home.at("f"), b"x").unwrap();
    let mut happened = watch.drain();
    // Who closes what was written says all.
    happened.retain(|(_, what)| *what != Happening::Written { name: f() });
    let created = Happening::Created { name: f(), is_dir: false };
    assert_eq!(happened, [(3, created), (3, Happening::Closed { name: f() })]);
    File::options().write(true).open(home.at("f")).unwrap().set_len(0).unwrap();
    let written = |what: &Happening| matches!(what, Happening::Written { .. });
    let closed = |what: &Happening| matches!(what, Happening::Closed { .. });
    assert!(watch.drain().iter().any(|(_, what)| closed(what) || written(what)));
    let file = File::options().write(true).open(home.at("f")).unwrap();
    file.set_len(9).unwrap();
    assert_eq!(watch.drain(), [(3, Happening::Written { name: f() })]);
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    let retouched = Happening::Retouched { name: f(), is_dir: false };
    assert_eq!(watch.drain(), [(3, retouched)]);
    drop(file);
    assert_eq!(watch.drain(), [(3, Happening::Closed { name: f() })]);
    fs::create_dir(home.at("d")).unwrap();
    assert_eq!(watch.drain(), [(3, Happening::Created { name: name("d"), is_dir: true })]);
    fs::remove_dir(home.at("d")).unwrap();
    assert_eq!(watch.drain(), [(3, Happening::Removed { name: name("d"), is_dir: true })]);
    fs::remove_file(home.at("f")).unwrap();
    // That the last link went is told beforehand, perhaps.
    let removed = Happening::Removed { name: f(), is_dir: false };
    assert_eq!(watch.drain().last(), Some(&(3, removed)));
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(watch.drain(), [(3, Happening::SelfRetouched)]);
}

fn a_directory_is_watched_once(means: Means) {
    let home = Home::new(means);
    let watch = Watch::new(means, &home);
    assert_eq!(watch.arm(home.path(), 3), WatchState::Watched);
    assert_eq!(watch.arm(home.path(), 3), WatchState::Watched);
    assert_eq!(watch.arm(home.path(), 4), WatchState::Known(DirKey(3)));
    assert_eq!(watch.watcher.watches(), 1);
}

fn renames_are_told_as_they_are(means: Means) {
    let home = Home::new(means);
    let mut watch = Watch::new(means, &home);
    for dir in ["a", "b", "elsewhere"] {
        fs::create_dir(home.at(dir)).unwrap();
    }
    fs::create_dir(home.at("a/d")).unwrap();
    assert_eq!(watch.arm(&home.at("a"), 1), WatchState::Watched);
    assert_eq!(watch.arm(&home.at("b"), 2), WatchState::Watched);
    // What was done before may be told, too.
    watch.drain();
    fs::rename(home.at("a/d"), home.at("b/e")).unwrap();
    let happened = watch.drain();
    if means == Means::Fanotify(Dialect::Halves) {
        let gone = Happening::Removed { name: name("d"), is_dir: true };
        let there = Happening::Created { name: name("e"), is_dir: true };
        assert_eq!(happened, [(1, gone), (2, there)]);
    } else {
        let Happening::MovedFrom { cookie, .. } = happened[0].1 else { panic!("{happened:?}") };
        let from = Happening::MovedFrom { name: name("d"), cookie, is_dir: true };
        let to = Happening::MovedTo { name: name("e"), cookie, is_dir: true };
        assert_eq!(happened, [(1, from), (2, to)]);
    }
    // Out of what is watched, and into it.
    fs::rename(home.at("b/e"), home.at("elsewhere/e")).unwrap();
    let out = |(dir, what): &(u64, Happening)| match what {
        Happening::MovedFrom { name, .. } | Happening::Removed { name, .. } => {
            *dir == 2 && name.as_bytes() == b"e"
        }
        _ => false,
    };
    let happened = watch.drain();
    assert!(happened.len() == 1 && out(&happened[0]), "{happened:?}");
    fs::rename(home.at("elsewhere/e"), home.at("a/f")).unwrap();
    let into = |(dir, what): &(u64, Happening)| match what {
        Happening::MovedTo { name, .. } | Happening::Created { name, .. } => {
            *dir == 1 && name.as_bytes() == b"f"
        }
        _ => false,
    };
    let happened = watch.drain();
    assert!(happened.len() == 1 && into(&happened[0]), "{happened:?}");
    fs::write(home.at("elsewhere/nobody asked"), b"").unwrap();
    assert_eq!(watch.drain(), []);
}

fn a_watch_ends_with_its_directory_or_when_it_is_taken_off(means: Means) {
    let home = Home::new(means);
    let mut watch = Watch::new(means, &home);
    for (key, text) in [(1, "a"), (2, "b")] {
        fs::create_dir(home.at(text)).unwrap();
        assert_eq!(watch.arm(&home.at(text), key), WatchState::Watched);
    }
    fs::remove_dir(home.at("a")).unwrap();
    fs::write(home.at("b/x"), b"").unwrap();
    watch.watcher.disarm(DirKey(2));
    fs::write(home.at("b/y"), b"").unwrap();
    let happened = watch.drain();
    if means == Means::Fanotify(Dialect::Halves) {
        // It does not tell of the directory itself: that its name went is enough.
        assert_eq!(watch.watcher.watches(), 1);
    } else {
        assert!(happened.contains(&(1, Happening::SelfGone)), "{happened:?}");
        assert_eq!(watch.watcher.watches(), 0);
    }
    let late = Happening::Created { name: name("y"), is_dir: false };
    assert!(!happened.contains(&(2, late)));
    // The same directory again, under another key.
    assert_eq!(watch.arm(&home.at("b"), 5), WatchState::Watched);
    fs::remove_file(home.at("b/y")).unwrap();
    let gone = Happening::Removed { name: name("y"), is_dir: false };
    assert_eq!(watch.drain(), [(5, gone)]);
}

fn no_event_meets_a_watch_that_is_not_known_yet(means: Means) {
    let home = Home::new(means);
    let mut watch = Watch::new(means, &home);
    let mut created = 0;
    for n in 0..200_u64 {
        let path = home.at(&n.to_string());
        fs::create_dir(&path).unwrap();
        let busy = std::thread::spawn({
            let path = path.clone();
            move || (0..20).for_each(|f| fs::write(path.join(f.to_string()), b"").unwrap())
        });
        assert_eq!(watch.arm(&path, n), WatchState::Watched);
        let seen_by_reading = fs::read_dir(&path).unwrap().count();
        busy.join().unwrap();
        let happened = watch.drain();
        let is_created = |what: &Happening| matches!(what, Happening::Created { .. });
        let told = happened.iter().filter(|(key, what)| *key == n && is_created(what)).count();
        assert!(told + seen_by_reading >= 20, "{told} told, {seen_by_reading} read");
        created += told;
    }
    assert!(created > 0);
}

fn what_can_not_be_watched_is_said_in_words(means: Means) {
    let home = Home::new(means);
    let mut watch = Watch::new(means, &home);
    let file = tempfile::NamedTempFile::new().unwrap();
    // A mark may be put where a file is, but not by a name below it.
    let state = watch.arm(file.path(), 1);
    assert!(matches!(&state, WatchState::Unwatched(text) if text.starts_with("No watch")));
    assert!(watch.told().iter().all(|notice| matches!(notice, Notice::Note(_))));
}

fn a_burst_that_nobody_takes_becomes_one_overflow(means: Means) {
    let home = Home::new(means);
    let watch = Watch::with_room(means, &home, 1_000);
    assert_eq!(watch.arm(home.path(), 1), WatchState::Watched);
    let name_of = |number: usize| home.at(&number.to_string());
    fs::write(name_of(0), b"").unwrap();
    // More than the kernel's queue and ours hold together, and no two alike.
    for number in 0..WATCH_HELD_MAX + 20_000 {
        fs::rename(name_of(number), name_of(number + 1)).unwrap();
    }
    watch.watcher.request_drain(1);
    let mut overflows = 0;
    loop {
        match watch.next() {
            Notice::Overflow => overflows += 1,
            Notice::Drained(1) => break,
            Notice::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(overflows > 0);
    // What follows is told again.
    fs::write(home.at("after"), b"").unwrap();
    let is_after = |notice| match notice {
        Notice::Event(event) => event.what == Happening::Closed { name: name("after") },
        other => panic!("{other:?}"),
    };
    while !is_after(watch.next()) {}
    drop(watch.notices);
    watch.watcher.stop();
}

fn the_reader_ends_with_its_watcher(means: Means) {
    let home = Home::new(means);
    let mut watch = Watch::new(means, &home);
    assert_eq!(watch.drain(), []);
    let Watch { watcher, notices, .. } = watch;
    drop(watcher);
    assert!(notices.recv_timeout(Duration::from_secs(20)).is_err());
    let watch = Watch::new(means, &home);
    watch.watcher.stop();
    assert!(watch.notices.recv().is_err());
}

#[test]
fn writes_that_follow_each_other_are_told_once_in_one_reading() {
    let mut repeats = super::table::Repeats::new();
    let said: Vec<bool> = [("a", true), ("b", true), ("a", true), ("a", false), ("a", true)]
        .map(|(name, is_write)| repeats.note(name, is_write))
        .to_vec();
    assert_eq!(said, [false, false, true, false, false]);
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it"]
fn needs_root_a_filesystem_that_goes_is_told_before_a_drain() {
    for means in [Means::Inotify, Means::Fanotify(Dialect::Renames)] {
        let home = Home::new(Means::Fanotify(Dialect::Renames));
        let mut watch = Watch::new(means, &home);
        fs::create_dir(home.at("inner")).unwrap();
        mount(&home.at("inner"));
        fs::create_dir(home.at("inner/d")).unwrap();
        for (key, path) in [(0, ""), (1, "inner"), (2, "inner/d")] {
            assert_eq!(watch.arm(&home.at(path), key), WatchState::Watched, "{means:?}");
        }
        fs::write(home.at("inner/d/f"), b"").unwrap();
        let closed = (2, Happening::Closed { name: name("f") });
        assert!(watch.drain().contains(&closed), "{means:?}: each mount has its own mark");
        // It is kept alive by an open descriptor: it leaves the tree all the same.
        let kept = File::open(home.at("inner/d")).unwrap();
        unmount(&home.at("inner"));
        assert_eq!(watch.drain(), [(1, Happening::Unmounted)], "{means:?}");
        assert_eq!(watch.drain(), [], "{means:?}: it is told once");
        drop(kept);
    }
}

#[test]
#[ignore = "marks a filesystem, so it needs root: scripts/check.sh runs it"]
fn needs_root_what_can_not_be_marked_below_the_root_gets_inotify_watches() {
    let means = Means::Fanotify(Dialect::Renames);
    let home = Home::new(means);
    let mut watch = Watch::new(means, &home);
    assert_eq!(watch.arm(home.path(), 0), WatchState::Watched);
    for dir in ["lower", "upper", "work", "merged"] {
        fs::create_dir(home.at(dir)).unwrap();
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        home.at("lower").display(),
        home.at("upper").display(),
        home.at("work").display()
    );
    let mut command = Command::new("mount");
    command.args(["-t", "overlay", "-o", &options, "osync-test"]).arg(home.at("merged"));
    assert!(command.status().unwrap().success(), "This test mounts an overlay: run it as root");
    watch.drain();
    assert_eq!(watch.arm(&home.at("merged"), 1), WatchState::Watched);
    let told = watch.told();
    assert!(
        matches!(&told[..], [Notice::Note(text)] if text.contains("inotify")),
        "It is said in one sentence: {told:?}"
    );
    fs::create_dir(home.at("merged/d")).unwrap();
    let created = Happening::Created { name: name("d"), is_dir: true };
    assert_eq!(watch.drain(), [(1, created)]);
    assert_eq!(watch.arm(&home.at("merged/d"), 2), WatchState::Watched);
    assert_eq!(watch.told(), [], "It is said once");
    watch.watcher.disarm(DirKey(1));
    fs::remove_dir(home.at("merged/d")).unwrap();
    let happened = watch.drain();
    assert!(happened.contains(&(2, Happening::SelfGone)), "{happened:?}");
    unmount(&home.at("merged"));
}

#[test]
fn who_is_not_allowed_to_mark_is_told_so() {
    // No filesystem of handles, whoever asks.
    let proc = File::open("/proc/self").unwrap();
    let refused = Watcher::by_fanotify(proc.as_fd(), Box::new(|_| Handed::Taken)).err();
    let text = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("fanotify can't be used here: "), "{text}");
}
