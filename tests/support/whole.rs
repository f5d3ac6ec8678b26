//! The whole file: one of every kind and every attribute, single changes of them, and a judge that
//! reads what rsync does not: all extended attributes and the inode flags. Making it needs root.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, IFlags, Mode, XattrFlags, mknodat};
use walkdir::WalkDir;

use super::oracle::assert_equal;
use super::zoo::{content, set_time};

/// An access list: the owner, one other user, the group, the mask, all others.
fn acl(user: u32, rights: u16, mode: u16) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let (owner, group, others) = (mode >> 6 & 7, mode >> 3 & 7, mode & 7);
    let entries = [
        (0x01, owner, NOBODY),
        (0x02, rights, user),
        (0x04, group, NOBODY),
        (0x10, group | rights, NOBODY),
        (0x20, others, NOBODY),
    ];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend_from_slice(&u16::to_le_bytes(tag));
        bytes.extend_from_slice(&rights.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Sets an extended attribute of anything, symlinks themselves included.
pub(crate) fn try_set_xattr(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?)
}

#[track_caller]
fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    let set = try_set_xattr(path, name, value);
    set.unwrap_or_else(|error| panic!("{name} of {}, as root? {error}", path.display()));
}

/// Gives something an access list.
pub(crate) fn try_set_acl(path: &Path, user: u32, rights: u16) -> io::Result<()> {
    let mode = fs::symlink_metadata(path)?.permissions().mode() as u16;
    try_set_xattr(path, "system.posix_acl_access", &acl(user, rights, mode))
}

/// A capability to use raw sockets, or to bind low ports.
fn capability(bit: u8) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 2];
    bytes.extend_from_slice(&(1_u32 << bit).to_le_bytes());
    bytes.resize(20, 0);
    bytes
}

/// Sets or clears inode flags.
#[track_caller]
pub(crate) fn flag(path: &Path, flags: IFlags, on: bool) {
    let file = File::open(path).expect("A file or a directory");
    let mut have = rustix::fs::ioctl_getflags(&file).expect("This filesystem has inode flags");
    have.set(flags, on);
    rustix::fs::ioctl_setflags(&file, have).expect("Flags can be set, as root");
}

/// Makes one of everything.
#[track_caller]
pub(crate) fn make(root: &Path) {
    let file = |name: &str, bytes: usize| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("Below the root")).expect("A directory");
        fs::write(&path, content(bytes as u64, bytes)).expect("A file");
        path
    };
    for name in ["d/plain", "d/marked", "d/listed", "d/capable", "d/owned", "d/sealed", "d/grown"] {
        file(name, 100);
    }
    set_xattr(&root.join("d/marked"), "user.one", b"1");
    set_xattr(&root.join("d/marked"), "user.none", b"");
    set_xattr(&root.join("d/marked"), "trusted.two", &content(7, 300));
    try_set_acl(&root.join("d/listed"), 1_001, 6).expect("This filesystem has access lists");
    chown(root.join("d/capable"), Some(12), Some(13)).expect("An owner, as root");
    fs::set_permissions(root.join("d/capable"), Permissions::from_mode(0o4711)).expect("A mode");
    set_xattr(&root.join("d/capable"), "security.capability", &capability(13));
    let large = file("d/large", 700_000);
    set_xattr(&large, "user.large", b"large");
    let heir = root.join("heir");
    fs::create_dir(&heir).expect("A directory");
    set_xattr(&heir, "system.posix_acl_default", &acl(1_002, 5, 0o750));
    file("heir/born", 10);
    fs::create_dir(root.join("heir/below")).expect("A directory");
    set_xattr(&root.join("heir/below"), "user.dir", b"dir");
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
        ("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("disk", FileType::BlockDevice, rustix::fs::makedev(7, 299)),
    ] {
        let path = root.join(name);
        mknodat(CWD, &path, kind, Mode::RUSR, device).expect("A node, as root");
        chown(&path, Some(3), Some(4)).expect("An owner");
        set_time(&path, 1_111_111_111, 11);
    }
    set_xattr(&root.join("fifo"), "trusted.fifo", b"f");
    symlink("nowhere", root.join("link")).expect("A symlink");
    lchown(root.join("link"), Some(5), Some(6)).expect("An owner");
    set_xattr(&root.join("link"), "trusted.link", b"l");
    set_time(&root.join("link"), 999_999_999, 1);
    file("fixed/inside", 10);
    for name in ["d/sealed", "d/grown", "d/capable", "d/listed", "fifo", "null", "link", "socket"] {
        let other = root.join("others").join(name.replace('/', "-"));
        fs::create_dir_all(root.join("others")).expect("A directory");
        fs::hard_link(root.join(name), other).expect("A name");
    }
    flag(&large, IFlags::IMMUTABLE, true);
    flag(&root.join("d/sealed"), IFlags::IMMUTABLE, true);
    flag(&root.join("d/grown"), IFlags::APPEND, true);
    flag(&root.join("d/plain"), IFlags::NODUMP, true);
    flag(&root.join("fixed"), IFlags::IMMUTABLE, true);
}

/// Changes each attribute by itself, and things that their flags protect.
#[track_caller]
pub(crate) fn change(root: &Path) {
    let at = |name: &str| root.join(name);
    set_xattr(&at("d/marked"), "user.one", b"changed");
    rustix::fs::removexattr(at("d/marked"), "user.none").expect("An attribute that was there");
    try_set_acl(&at("d/listed"), 1_003, 4).expect("An access list");
    rustix::fs::removexattr(at("heir/born"), "system.posix_acl_access").expect("An inherited list");
    rustix::fs::removexattr(at("heir"), "system.posix_acl_default").expect("A default list");
    set_xattr(&at("d/capable"), "security.capability", &capability(10));
    chown(at("d/owned"), Some(21), Some(22)).expect("An owner");
    chown(at("null"), Some(9), Some(9)).expect("An owner");
    fs::set_permissions(at("fifo"), Permissions::from_mode(0o620)).expect("A mode");
    lchown(at("link"), Some(77), Some(77)).expect("An owner");
    set_time(&at("d/owned"), 1_000_000_000, 999_999_999);
    flag(&at("d/sealed"), IFlags::IMMUTABLE, false);
    fs::write(at("d/sealed"), "written anew").expect("It is no longer immutable");
    fs::hard_link(at("d/sealed"), at("others/sealed once more")).expect("A name");
    flag(&at("d/sealed"), IFlags::IMMUTABLE, true);
    flag(&at("d/grown"), IFlags::APPEND, false);
    fs::remove_file(at("d/grown")).expect("It may go");
    fs::rename(at("others/d-capable"), at("capable too")).expect("The name may move");
    fs::hard_link(at("others/link"), at("d/link once more")).expect("A name");
    fs::remove_file(at("others/fifo")).expect("It may go");
    flag(&at("d/plain"), IFlags::NODUMP, false);
    flag(&at("fixed"), IFlags::IMMUTABLE, false);
    fs::write(at("fixed/more"), "more").expect("The directory takes more");
    fs::rename(at("fixed"), at("moved")).expect("The directory may move");
    flag(&at("moved"), IFlags::IMMUTABLE, true);
    flag(&at("d/large"), IFlags::IMMUTABLE, false);
    rustix::fs::removexattr(at("d/large"), "user.large").expect("An attribute that was there");
}

/// Takes the flags off again that keep a tree from being removed.
pub(crate) fn release(root: &Path) {
    for entry in WalkDir::new(root).into_iter().flatten() {
        // Whoever opens a fifo waits for its other end.
        let kind = entry.file_type();
        if !kind.is_file() && !kind.is_dir() {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else { continue };
        let Ok(mut flags) = rustix::fs::ioctl_getflags(&file) else { continue };
        flags.remove(IFlags::IMMUTABLE | IFlags::APPEND);
        // What stays is seen when the test's directory can't be removed.
        let _ = rustix::fs::ioctl_setflags(&file, flags);
    }
}

/// All extended attributes and the flags of everything in a tree.
#[track_caller]
fn bearings(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in WalkDir::new(root) {
        let entry = entry.expect("The tree stands still");
        let mut names = vec![0; 64 * 1024];
        let bytes = rustix::fs::llistxattr(entry.path(), &mut names[..]).unwrap_or(0);
        let mut lines = Vec::new();
        // XFS shows its ACLs once more, under names of its own.
        let is_one = |name: &&[u8]| !name.is_empty() && !name.starts_with(b"trusted.SGI_ACL_");
        for name in names[..bytes].split(|byte| *byte == 0).filter(is_one) {
            let mut value = vec![0; 64 * 1024];
            let bytes = rustix::fs::lgetxattr(entry.path(), name, &mut value[..]);
            let value = &value[..bytes.expect("An attribute that was just listed")];
            lines.push(format!("{}={}", name.escape_ascii(), value.escape_ascii()));
        }
        lines.sort();
        let kind = entry.file_type();
        if kind.is_file() || kind.is_dir() {
            let file = File::open(entry.path()).expect("Root reads everything");
            let flags = rustix::fs::ioctl_getflags(&file).unwrap_or(IFlags::empty());
            let carried = IFlags::IMMUTABLE | IFlags::APPEND | IFlags::NODUMP;
            lines.push(format!("{:?}", flags & carried));
        }
        let below = entry.path().strip_prefix(root).expect("Below the root").to_owned();
        all.insert(below, lines.join(" "));
    }
    all
}

/// Fails unless both trees are equal, in the eyes of rsync and in all that rsync does not see.
#[track_caller]
pub(crate) fn assert_wholly_equal(source: &Path, sink: &Path) {
    assert_equal(source, sink);
    let (source, sink) = (bearings(source), bearings(sink));
    for (path, bears) in &source {
        assert_eq!(Some(bears), sink.get(path), "{}", path.display());
    }
    assert_eq!(source.len(), sink.len());
}
