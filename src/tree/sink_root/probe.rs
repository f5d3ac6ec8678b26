//! What the sink's filesystem and its user can hold, tried in the staging directory.
//!
//! Nothing but a try tells: a filesystem may refuse what its documents promise, a mount option may
//! have been given, a user may lack the right.

mod names;
mod placing;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};

use crate::model::abilities::Abilities;
use crate::model::attributes::{Carried, Flags, Namespace};
use crate::model::entry::Meta;
use crate::model::owners::OwnerMap;
use crate::model::path::Name;
use crate::model::target::Obstacle;
use crate::tree::sink_root::attributes::{self, Keeps};
use crate::tree::sink_root::birth::OWN;
use crate::tree::sink_root::obstacle;
use crate::tree::sink_root::staging::{Staged, Staging};
use crate::tree::sink_root::ways::Ways;
use crate::tree::{pathconf, stat, usage};

/// What was found, and what of attributes follows from it.
pub(super) struct Probed {
    pub(super) abilities: Abilities,
    pub(super) keeps: Keeps,
}

/// An owner that a probe may set.
const PROBE_OWNER: u32 = 65_534;
/// Sizes that a file may be unable to have, greatest first.
const FILE_BYTES: [u64; 6] = [
    (8 << 60) - 1 - (64 << 10),
    1 << 50,
    (16 << 40) - (64 << 10),
    1 << 41,
    (4 << 30) - 1,
    (2 << 30) - 1,
];
/// What the kernel calls FAT.
const FAT: rustix::fs::FsWord = 0x4d44;
/// Names of one object where the filesystem does not say.
const LINKS_UNKNOWN: u64 = 65_000;

/// Tries all of it.
pub(super) fn probe(staging: &Staging, ways: &Ways) -> Result<Probed, Obstacle> {
    let cant_look = |errno| obstacle("Can't look at a staged file", errno);
    let granule = placing::try_placing(staging, ways)?;
    let (file, staged) = staging.file(ways, OWN)?;
    let look = || stat::of_fd(file.as_fd()).map(|stat| stat::meta(&stat)).map_err(cant_look);
    let made = look()?;
    let mut carried = try_attributes(file.as_fd(), &look);
    let dir = staged.home.dir.as_fd();
    let links = links(dir, &staged);
    carried.links = links > 1;
    let vfs = rustix::fs::fstatvfs(dir).map_err(cant_look)?;
    let names = names::try_names(dir, vfs.f_namemax);
    let makes = |file_type, device| makes_node(dir, file_type, device);
    let abilities = Abilities {
        carried,
        owner: (made.uid, made.gid),
        granule: u64::try_from(granule).unwrap_or(1),
        symlinks: makes_symlink(dir),
        specials: makes(FileType::Fifo, 0) && makes(FileType::Socket, 0),
        devices: makes(FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        links,
        sparse: keeps_holes(file.as_fd()),
        folds_case: names.folds_case,
        any_bytes: names.any_bytes,
        barred: names.barred,
        barred_ends: names.barred_ends,
        name_bytes: names.bytes,
        file_bytes: file_bytes(file.as_fd()),
        free_bytes: vfs.f_bavail.saturating_mul(vfs.f_frsize),
        free_inodes: if vfs.f_files == 0 { u64::MAX } else { vfs.f_favail },
        used: usage::of(&vfs),
        staging_name: staging.name.to_string(),
    };
    let (labels, owners) = (has_labels(), OwnerMap::default());
    Ok(Probed { abilities, keeps: Keeps { carried, granule, labels, owners, holes: true } })
}

/// What can be told without a staging directory: attributes are tried on a file that has no name;
/// of what takes a name to be tried, and where such files can't be made, the best is thought.
pub(super) fn guess(dir: BorrowedFd<'_>, staging_name: &Name) -> Probed {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, ".", flags, Mode::RUSR | Mode::WUSR);
    let (carried, granule) = file.as_ref().ok().and_then(try_nameless).unwrap_or_else(|| {
        let is_root = rustix::process::geteuid().is_root();
        let best = Carried { atimes: true, owners: is_root, groups: is_root, ..Carried::all() };
        (best, 1)
    });
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let full = Abilities::full(&staging_name.to_string());
    let granule_told = u64::try_from(granule).unwrap_or(1);
    let carried = Carried { links: true, ..carried };
    let abilities = Abilities { carried, owner, granule: granule_told, ..full };
    let (labels, owners) = (has_labels(), OwnerMap::default());
    Probed { abilities, keeps: Keeps { carried, granule, labels, owners, holes: true } }
}

/// What of attributes a file without a name takes, and the step of its times.
fn try_nameless(file: &OwnedFd) -> Option<(Carried, i128)> {
    let cant_look = |errno| obstacle("Can't look at a file without a name", errno);
    let look = || stat::of_fd(file.as_fd()).map(|stat| stat::meta(&stat)).map_err(cant_look);
    let granule = placing::try_time(file.as_fd())?;
    Some((try_attributes(file.as_fd(), &look), granule))
}

/// Tries which attributes a file takes.
fn try_attributes(file: BorrowedFd<'_>, look: &dyn Fn() -> Result<Meta, Obstacle>) -> Carried {
    let mut carried = Carried { atimes: true, ..nothing() };
    carried.modes = keeps_modes(file, look);
    carried.namespaces = Namespace::ALL.map(|namespace| keeps_xattrs(file, namespace));
    carried.flags = keeps_flags(file);
    // Last: who is not the owner may do less.
    let owns = rustix::process::geteuid().is_root() && keeps_owners(file, look);
    (carried.owners, carried.groups) = (owns, owns);
    carried
}

/// Whether this host's security policy gives labels to all objects.
fn has_labels() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists() || Path::new("/sys/fs/smackfs/load").exists()
}

fn nothing() -> Carried {
    Carried {
        owners: false,
        groups: false,
        modes: false,
        atimes: false,
        flags: false,
        links: false,
        namespaces: [false; 4],
    }
}

fn keeps_modes(file: BorrowedFd<'_>, look: &dyn Fn() -> Result<Meta, Obstacle>) -> bool {
    [0o4751, 0o600].into_iter().all(|mode| {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).is_ok()
            && look().is_ok_and(|meta| u32::from(meta.mode) == mode)
    })
}

fn keeps_owners(file: BorrowedFd<'_>, look: &dyn Fn() -> Result<Meta, Obstacle>) -> bool {
    let (uid, gid) =
        (rustix::fs::Uid::from_raw(PROBE_OWNER), rustix::fs::Gid::from_raw(PROBE_OWNER));
    rustix::fs::fchown(file, Some(uid), Some(gid)).is_ok()
        && look().is_ok_and(|meta| (meta.uid, meta.gid) == (PROBE_OWNER, PROBE_OWNER))
}

fn keeps_xattrs(file: BorrowedFd<'_>, namespace: Namespace) -> bool {
    // An ACL of the owner, one other user, the group, the mask and all others.
    const ACL: &[u8] = &[
        2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 4, 0, 0xfe, 0xff, 0, 0, 4, 0, 4, 0,
        0xff, 0xff, 0xff, 0xff, 0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 0, 0, 0xff, 0xff,
        0xff, 0xff,
    ];
    // A capability (to bind low ports) in the format of version 2.
    const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (name, value): (&str, &[u8]) = match namespace {
        Namespace::User => ("user.osync.probe", b"1"),
        Namespace::Acl => ("system.posix_acl_access", ACL),
        Namespace::Security => ("security.capability", CAPABILITY),
        Namespace::Trusted => ("trusted.osync.probe", b"1"),
    };
    let mut kept = [0; 64];
    // Some take an attribute, and have none.
    let keeps = rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()).is_ok()
        && rustix::fs::fgetxattr(file, name, &mut kept[..])
            .is_ok_and(|bytes| kept[..bytes] == *value);
    rustix::fs::fremovexattr(file, name).is_ok() && keeps
}

fn keeps_flags(file: BorrowedFd<'_>) -> bool {
    let all = Flags::IMMUTABLE.with(Flags::NODUMP);
    let kept = attributes::seal(file, all).is_ok()
        && stat::of_fd(file).is_ok_and(|stat| stat::meta(&stat).flags == all);
    // What can be set can be taken off by the same right.
    let cleared = attributes::seal(file, Flags::none());
    kept && cleared.is_ok()
}

fn keeps_holes(file: BorrowedFd<'_>) -> bool {
    const BYTES: u64 = 8 << 20;
    let holds = rustix::fs::ftruncate(file, BYTES).is_ok()
        && stat::of_fd(file).is_ok_and(|stat| stat.stx_blocks.saturating_mul(512) < BYTES);
    let _ = rustix::fs::ftruncate(file, 0);
    holds
}

/// The largest of the sizes tried that a file can have. Where holes can't be kept, a try would
/// write as many bytes: there only what is known of FAT counts.
fn file_bytes(file: BorrowedFd<'_>) -> u64 {
    if !keeps_holes(file) {
        let is_fat = rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type == FAT);
        return if is_fat { (4 << 30) - 1 } else { u64::MAX };
    }
    // A try beyond what this process may write would end it.
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    let may = |bytes: &u64| allowed.is_none_or(|allowed| *bytes <= allowed);
    let fits = |bytes: &u64| rustix::fs::ftruncate(file, *bytes).is_ok();
    let bytes = FILE_BYTES.into_iter().filter(may).find(fits).unwrap_or(u64::MAX);
    let _ = rustix::fs::ftruncate(file, 0);
    bytes
}

fn makes_symlink(dir: BorrowedFd<'_>) -> bool {
    let made = rustix::fs::symlinkat("probe", dir, "probe-symlink").is_ok();
    let _ = rustix::fs::unlinkat(dir, "probe-symlink", AtFlags::empty());
    made
}

fn makes_node(dir: BorrowedFd<'_>, file_type: FileType, device: u64) -> bool {
    let mode = Mode::RUSR | Mode::WUSR;
    let made = rustix::fs::mknodat(dir, "probe-node", file_type, mode, device).is_ok();
    let _ = rustix::fs::unlinkat(dir, "probe-node", AtFlags::empty());
    made
}

/// How many names one object can have.
fn links(dir: BorrowedFd<'_>, staged: &Staged) -> u64 {
    let link = rustix::fs::linkat(dir, &*staged.name, dir, "probe-link", AtFlags::empty());
    let _ = rustix::fs::unlinkat(dir, "probe-link", AtFlags::empty());
    if link.is_err() {
        return 1;
    }
    pathconf::link_max(dir).unwrap_or(LINKS_UNKNOWN)
}
