//! Trees to migrate: a small zoo of every kind and odd name, and pools of many files.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

/// Sets the modification time of anything, symlinks themselves included.
pub(crate) fn try_set_time(path: &Path, seconds: i64, nanos: u32) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// As [`try_set_time`], of what is certainly there.
#[track_caller]
pub(crate) fn set_time(path: &Path, seconds: i64, nanos: u32) {
    try_set_time(path, seconds, nanos).expect("A time can be set");
}

/// Writes a file and gives it a time.
#[track_caller]
pub(crate) fn write_at(path: &Path, content: &[u8], seconds: i64, nanos: u32) {
    fs::write(path, content).expect("A file can be written");
    set_time(path, seconds, nanos);
}

/// Content that differs from one number to the next and does not compress to nothing.
pub(crate) fn content(number: u64, bytes: usize) -> Vec<u8> {
    let mut dice = Dice::new(number);
    let mut bytes_made = Vec::with_capacity(bytes + 8);
    while bytes_made.len() < bytes {
        bytes_made.extend_from_slice(&dice.next().to_le_bytes());
    }
    bytes_made.truncate(bytes);
    bytes_made
}

/// Every kind that this version carries, odd names, odd times, odd sizes.
#[track_caller]
pub(crate) fn small(root: &Path) {
    let dir = |name: &str| {
        fs::create_dir_all(root.join(name)).expect("A directory can be made");
        root.join(name)
    };
    dir("empty");
    let deep = dir("deep/er/and/deeper/still");
    write_at(&deep.join("leaf"), b"leaf", 0, 0);
    write_at(&root.join("nothing"), b"", 1, 1);
    write_at(&root.join("before 1970"), b"old", -1_000_000, 999_999_999);
    write_at(&root.join("in 2100"), b"new", 4_102_444_800, 1);
    for (name, bytes) in [
        ("one", 1),
        ("page", 4_096),
        ("live limit", 256 * 1024),
        ("over it", 256 * 1024 + 1),
        ("chunks", 3 * 1024 * 1024 + 7),
    ] {
        fs::write(root.join(name), content(bytes as u64, bytes)).expect("A file can be written");
    }
    for odd in [&b"caf\xc3\xa9"[..], b"latin \xe9 1", b"new\nline", b"\xff\xfe", b"-dash", b"*?[]"]
    {
        fs::write(root.join(OsStr::from_bytes(odd)), odd).expect("Names are bytes");
    }
    fs::write(root.join("n".repeat(255)), b"long").expect("A long name");
    symlink("deep/er", root.join("to a directory")).expect("A symlink");
    symlink("gone", root.join("to nothing")).expect("A symlink");
    symlink(OsStr::from_bytes(b"/abs/\xff"), root.join("to bytes")).expect("A symlink");
    set_time(&root.join("to nothing"), 1_234_567_890, 123_456_789);
    for (name, mode) in [("setuid", 0o4755), ("sticky", 0o1777), ("read only", 0o444)] {
        fs::write(root.join(name), name).expect("A file can be written");
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).expect("A mode");
    }
    let closed = dir("read only directory");
    fs::write(closed.join("inside"), b"inside").expect("A file can be written");
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).expect("A mode");
    set_time(&dir("deep/er"), 1_000_000_000, 42);
    set_time(root, 1_600_000_000, 7);
}

/// A named pipe.
#[track_caller]
pub(crate) fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).expect("A fifo can be made");
}

/// A file that an ordinary user can't read, not even its owner.
#[track_caller]
pub(crate) fn closed_file(path: &Path) {
    fs::write(path, "nobody reads this").expect("A file can be written");
    fs::set_permissions(path, Permissions::from_mode(0o000)).expect("A mode can be set");
}

/// Many files of `bytes` each, a hundred in a directory; returns their paths.
#[track_caller]
pub(crate) fn pool(root: &Path, files: usize, bytes: usize) -> Vec<PathBuf> {
    let mut paths = Vec::with_capacity(files);
    for number in 0..files {
        let dir = root.join(format!("pool-{:03}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&dir).expect("A directory can be made");
        }
        let path = dir.join(format!("file-{number:06}"));
        fs::write(&path, content(number as u64, bytes)).expect("A file can be written");
        paths.push(path);
    }
    paths
}

/// Seeded numbers (SplitMix64): the same seed gives the same history.
pub(crate) struct Dice(u64);

impl Dice {
    /// Numbers of this seed.
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("Below a usize")
    }

    /// One of some things.
    pub(crate) fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}
