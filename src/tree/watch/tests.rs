//! Watches on real directories.

use std::fs;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::Watcher;
use crate::model::event::{Happening, Notice};
use crate::model::look::WatchState;
use crate::model::path::Name;
use crate::model::stamp::DirKey;

struct Watch {
    watcher: Arc<Watcher>,
    notices: Receiver<Notice>,
    tickets: u64,
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

impl Watch {
    fn new() -> Watch {
        let (send, notices) = sync_channel(100_000);
        let watcher = Watcher::start(Box::new(move |notice| send.send(notice).is_ok())).unwrap();
        Watch { watcher, notices, tickets: 0 }
    }

    fn arm(&self, path: &Path, key: u64) -> WatchState {
        self.watcher.arm(File::open(path).unwrap().as_fd(), DirKey(key))
    }

    fn next(&self) -> Notice {
        self.notices.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// What happened until now, in order.
    fn drain(&mut self) -> Vec<(u64, Happening)> {
        self.tickets += 1;
        self.watcher.request_drain(self.tickets);
        let mut happened = Vec::new();
        loop {
            match self.next() {
                Notice::Drained(ticket) => {
                    assert_eq!(ticket, self.tickets);
                    return happened;
                }
                Notice::Event(event) => happened.push((event.dir.0, event.what)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn events_come_in_order_before_the_drain_that_follows_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = |text: &str| dir.path().join(text);
    let mut watch = Watch::new();
    assert_eq!(watch.arm(dir.path(), 3), WatchState::Watched);
    assert_eq!(watch.arm(dir.path(), 3), WatchState::Watched);
    assert_eq!(watch.arm(dir.path(), 4), WatchState::Known(DirKey(3)));
    assert_eq!(watch.watcher.watches(), 1);
    assert_eq!(watch.drain(), []);
    fs::write(at("f"), b"x").unwrap();
    fs::create_dir(at("d")).unwrap();
    fs::set_permissions(at("d"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(at("f"), at("g")).unwrap();
    fs::remove_dir(at("d")).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let happened: Vec<Happening> = watch
        .drain()
        .into_iter()
        .map(|(key, what)| {
            assert_eq!(key, 3);
            what
        })
        .collect();
    let Happening::MovedFrom { cookie, .. } = happened[5] else { panic!("{happened:?}") };
    let (f, g, d) = (name("f"), name("g"), name("d"));
    assert_eq!(
        happened,
        [
            Happening::Created { name: f.clone(), is_dir: false },
            Happening::Written { name: f.clone() },
            Happening::Closed { name: f.clone() },
            Happening::Created { name: d.clone(), is_dir: true },
            Happening::Retouched { name: d.clone(), is_dir: true },
            Happening::MovedFrom { name: f, cookie, is_dir: false },
            Happening::MovedTo { name: g, cookie, is_dir: false },
            Happening::Removed { name: d, is_dir: true },
            Happening::SelfRetouched,
        ]
    );
}

#[test]
fn a_watch_ends_with_its_directory_or_when_it_is_taken_off() {
    let dir = tempfile::tempdir().unwrap();
    let at = |text: &str| dir.path().join(text);
    let mut watch = Watch::new();
    for (key, text) in [(1, "a"), (2, "b"), (3, "c")] {
        fs::create_dir(at(text)).unwrap();
        assert_eq!(watch.arm(&at(text), key), WatchState::Watched);
    }
    fs::remove_dir(at("a")).unwrap();
    fs::write(at("b/x"), b"").unwrap();
    watch.watcher.disarm(DirKey(2));
    watch.watcher.rekey(DirKey(3), DirKey(9));
    fs::write(at("b/y"), b"").unwrap();
    fs::write(at("c/z"), b"").unwrap();
    let happened = watch.drain();
    assert!(happened.contains(&(1, Happening::SelfGone)));
    assert!(happened.contains(&(9, Happening::Closed { name: name("z") })));
    let late = Happening::Created { name: name("y"), is_dir: false };
    assert!(!happened.contains(&(2, late)));
    assert_eq!(watch.watcher.watches(), 1);
    // The same directory again, under another key.
    assert_eq!(watch.arm(&at("b"), 5), WatchState::Watched);
    fs::remove_file(at("b/y")).unwrap();
    let gone = Happening::Removed { name: name("y"), is_dir: false };
    assert_eq!(watch.drain(), [(5, gone)]);
}

#[test]
fn no_event_meets_a_watch_that_is_not_known_yet() {
    let dir = tempfile::tempdir().unwrap();
    let mut watch = Watch::new();
    let mut created = 0;
    for n in 0..200_u64 {
        let path = dir.path().join(n.to_string());
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

#[test]
fn a_directory_that_is_none_and_a_closed_one_are_unwatched_in_words() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let watch = Watch::new();
    let state = watch.watcher.arm(file.as_file().as_fd(), DirKey(1));
    assert!(matches!(state, WatchState::Unwatched(text) if text.starts_with("No watch")));
}

#[test]
fn an_overflow_is_told_and_what_follows_comes_again() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    // Nobody receives, so the reader waits and the kernel's queue fills.
    let (send, notices) = sync_channel(0);
    let watcher = Watcher::start(Box::new(move |notice| send.send(notice).is_ok())).unwrap();
    let held = File::open(dir.path()).unwrap();
    assert_eq!(watcher.arm(held.as_fd(), DirKey(1)), WatchState::Watched);
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&a, b"").unwrap();
    // The reader may take some bufferfuls before it waits.
    for _ in 0..limit + 20_000 {
        fs::rename(&a, &b).unwrap();
        fs::rename(&b, &a).unwrap();
    }
    watcher.request_drain(1);
    let mut overflows = 0;
    let next = || notices.recv_timeout(Duration::from_secs(20)).unwrap();
    loop {
        match next() {
            Notice::Overflow => overflows += 1,
            Notice::Drained(1) => break,
            Notice::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(overflows, 1);
    fs::remove_file(&a).unwrap();
    assert!(
        matches!(next(), Notice::Event(event) if matches!(event.what, Happening::Removed { .. }))
    );
    drop(notices);
    watcher.stop();
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
fn the_reader_ends_with_its_watcher() {
    let mut watch = Watch::new();
    assert_eq!(watch.drain(), []);
    let Watch { watcher, notices, .. } = watch;
    drop(watcher);
    assert!(notices.recv_timeout(Duration::from_secs(20)).is_err());
    let (send, receive) = sync_channel(1);
    let watcher = Watcher::start(Box::new(move |notice| send.send(notice).is_ok())).unwrap();
    watcher.stop();
    assert!(receive.recv().is_err());
}
