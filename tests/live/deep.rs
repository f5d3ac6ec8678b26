//! Paths that are longer than any system call takes: `PATH_MAX` is no bound of osync's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::support::operator::{LONG, Pair, SOON};
use crate::support::until_true;

/// Levels of directories, with names of so many bytes.
const LEVELS: usize = 60;
const NAME_BYTES: usize = 200;
const _: () = assert!(LEVELS * NAME_BYTES > 2 * 4_096);

fn level(number: usize) -> String {
    format!("{number:x>NAME_BYTES$}")
}

fn open_dir(dir: BorrowedFd<'_>, name: &str) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty()).unwrap()
}

/// Makes the levels below a directory, each with a file; gives the lowest.
fn dig(root: &Path) -> OwnedFd {
    let mut at: OwnedFd = File::open(root).unwrap().into();
    for number in 0..LEVELS {
        rustix::fs::mkdirat(&at, level(number), Mode::RWXU).unwrap();
        at = open_dir(at.as_fd(), &level(number));
        write(at.as_fd(), "file", format!("at level {number}").as_bytes());
    }
    at
}

fn write(dir: BorrowedFd<'_>, name: &str, content: &[u8]) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let file = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).unwrap();
    File::from(file).write_all(content).unwrap();
}

/// What stands below a directory: mode, mtime and content by path, going by descriptors.
fn survey(dir: BorrowedFd<'_>, at: &str, found: &mut BTreeMap<String, (u32, i64, i64, Vec<u8>)>) {
    for entry in Dir::read_from(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap();
        if name == "." || name == ".." || (at.is_empty() && name.starts_with(".osync-")) {
            continue;
        }
        let path = format!("{at}/{name}");
        let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let mut content = Vec::new();
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            survey(open_dir(dir, name).as_fd(), &path, found);
        } else if let Ok(file) = rustix::fs::openat(dir, name, OFlags::RDONLY, Mode::empty()) {
            File::from(file).read_to_end(&mut content).unwrap();
        }
        found.insert(path, (stat.st_mode, stat.st_mtime, stat.st_mtime_nsec as i64, content));
    }
}

fn all(root: &Path) -> BTreeMap<String, (u32, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    survey(File::open(root).unwrap().as_fd(), "", &mut found);
    found
}

#[test]
fn paths_beyond_the_systems_bound_are_carried_changed_and_removed() {
    let mut pair = Pair::new();
    let (tree, copy) = (pair.source_dir(), pair.sink_dir());
    let lowest = dig(&tree);
    let source = pair.start_source(&["--max-delete=100%"]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    assert_eq!(all(&copy).len(), 2 * LEVELS);
    // Live, at the bottom: changed, made, renamed, removed.
    write(lowest.as_fd(), "file", b"another content");
    write(lowest.as_fd(), "new", b"new");
    rustix::fs::mkdirat(&lowest, "dir", Mode::RWXU).unwrap();
    write(open_dir(lowest.as_fd(), "dir").as_fd(), "in it", &vec![7; 3 << 20]);
    until_true("what changed has arrived", SOON, || all(&copy) == all(&tree));
    rustix::fs::renameat(&lowest, "dir", &lowest, "moved").unwrap();
    rustix::fs::unlinkat(&lowest, "new", AtFlags::empty()).unwrap();
    until_true("what moved and went has arrived", SOON, || all(&copy) == all(&tree));
    // All of it goes, but for the first level.
    let top = open_dir(File::open(&tree).unwrap().as_fd(), &level(0));
    remove_all(top.as_fd());
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_eq!(all(&copy), all(&tree));
    assert_eq!(all(&copy).len(), 1);
}

fn remove_all(dir: BorrowedFd<'_>) {
    let names: Vec<(String, FileType)> = Dir::read_from(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().to_str().unwrap().to_owned(), entry.file_type()))
        .filter(|(name, _)| name != "." && name != "..")
        .collect();
    for (name, kind) in names {
        let flags = if kind == FileType::Directory {
            remove_all(open_dir(dir, &name).as_fd());
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        rustix::fs::unlinkat(dir, &name, flags).unwrap();
    }
}
