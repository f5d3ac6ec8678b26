//! From what the kernel tells of an object to values of the model.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::model::attributes::Flags;
use crate::model::entry::{Entry, FileTime, Identity, Meta, Sighting, SpecialKind};
use crate::model::limits::CLOCK_GRANULE_MS;
use crate::model::path::Name;
use crate::tree::watch::Ground;

/// Looks at a name without following it; a name of no bytes is the descriptor's own object.
fn statx(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<Statx, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    let flags = flags | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::io::retry_on_intr(|| rustix::fs::statx(dir, name, flags, wanted))
}

/// Looks at a name in a directory, without following it.
pub(super) fn of_name(dir: BorrowedFd<'_>, name: &Name) -> Result<Statx, Errno> {
    statx(dir, name.as_bytes(), AtFlags::empty())
}

/// The same, by what the filesystem itself says now: the kernel's own memory of it does not count.
pub(super) fn of_name_afresh(dir: BorrowedFd<'_>, name: &Name) -> Result<Statx, Errno> {
    statx(dir, name.as_bytes(), AtFlags::STATX_FORCE_SYNC)
}

/// Looks at what a descriptor holds.
pub(super) fn of_fd(fd: BorrowedFd<'_>) -> Result<Statx, Errno> {
    statx(fd, b"", AtFlags::EMPTY_PATH)
}

/// The device that an object lies on, as one number.
pub(super) fn device(stat: &Statx) -> u64 {
    rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

/// Whether a file takes less room than it is long.
pub(super) fn has_holes(stat: &Statx) -> bool {
    stat.stx_blocks.saturating_mul(512) < stat.stx_size
}

/// Bytes of room that the content of a file takes, at most as many as it is long.
pub(super) fn takes(stat: &Statx) -> u64 {
    stat.stx_blocks.saturating_mul(512).min(stat.stx_size)
}

/// Where the object lies.
pub(super) fn ground(stat: &Statx) -> Ground {
    Ground { device: device(stat), mount: stat.stx_mnt_id }
}

/// What the object is.
pub(super) fn identity(stat: &Statx) -> Identity {
    let birth = match stat.stx_mask & StatxFlags::BTIME.bits() {
        0 => 0,
        _ => {
            let time = stat.stx_btime;
            i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
        }
    };
    Identity { device: device(stat), inode: stat.stx_ino, birth }
}

/// The object's kind.
pub(super) fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(RawMode::from(stat.stx_mode))
}

/// When the content changed last.
pub(super) fn modified(stat: &Statx) -> FileTime {
    FileTime { seconds: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec }
}

/// When it was read last, as far as the filesystem keeps that.
pub(super) fn read_last(stat: &Statx) -> FileTime {
    FileTime { seconds: stat.stx_atime.tv_sec, nanos: stat.stx_atime.tv_nsec }
}

/// When anything of the object changed last, by the clock of its filesystem.
pub(super) fn changed(stat: &Statx) -> FileTime {
    FileTime { seconds: stat.stx_ctime.tv_sec, nanos: stat.stx_ctime.tv_nsec }
}

/// The attributes, but for what no look at the inode tells: the extended ones.
pub(super) fn meta(stat: &Statx) -> Meta {
    Meta {
        mode: stat.stx_mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: modified(stat),
        flags: flags(stat),
        marks: None,
    }
}

/// The inode flags, as far as they are carried.
fn flags(stat: &Statx) -> Flags {
    let known = [
        (StatxAttributes::IMMUTABLE, Flags::IMMUTABLE),
        (StatxAttributes::APPEND, Flags::APPEND),
        (StatxAttributes::NODUMP, Flags::NODUMP),
    ];
    let set = known.into_iter().filter(|(bit, _)| stat.stx_attributes.contains(*bit));
    set.fold(Flags::none(), |flags, (_, flag)| flags.with(flag))
}

/// The entry of anything but a symlink, whose target the kernel tells apart.
fn entry(stat: &Statx) -> Entry {
    let meta = meta(stat);
    let special = |kind, device| Entry::Special { kind, device, meta };
    let device = rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor);
    match file_type(stat) {
        FileType::Directory => Entry::Dir { meta },
        FileType::Fifo => special(SpecialKind::Fifo, 0),
        FileType::Socket => special(SpecialKind::Socket, 0),
        FileType::CharacterDevice => special(SpecialKind::Character, device),
        FileType::BlockDevice => special(SpecialKind::Block, device),
        FileType::RegularFile | FileType::Symlink | FileType::Unknown => {
            Entry::File { size: stat.stx_size, meta }
        }
    }
}

fn sighting_with(stat: &Statx, entry: Entry) -> Sighting {
    let ctime = FileTime { seconds: stat.stx_ctime.tv_sec, nanos: stat.stx_ctime.tv_nsec };
    Sighting {
        entry,
        identity: identity(stat),
        ctime,
        xattrs: Vec::new(),
        atime: None,
        holes: file_type(stat) == FileType::RegularFile && has_holes(stat),
        links: u64::from(stat.stx_nlink),
        is_young: is_young(ctime, now()),
    }
}

/// The time of this host's clock, which its filesystems go by.
fn now() -> FileTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    FileTime { seconds: i64::try_from(now.as_secs()).unwrap_or(0), nanos: now.subsec_nanos() }
}

/// The time so many seconds ago.
pub(super) fn before_now(seconds: i64) -> FileTime {
    let now = now();
    FileTime { seconds: now.seconds - seconds, ..now }
}

/// Whether a ctime lies within the last granule before `now`; one in the future does not.
fn is_young(ctime: FileTime, now: FileTime) -> bool {
    let nanos = |time: FileTime| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    (0..=i128::from(CLOCK_GRANULE_MS) * 1_000_000).contains(&(nanos(now) - nanos(ctime)))
}

/// The sighting of anything but a symlink.
pub(super) fn sighting(stat: &Statx) -> Sighting {
    sighting_with(stat, entry(stat))
}

/// The sighting of a name that was just looked at. A symlink is looked at once more through a
/// descriptor, so that attributes and target are of one object; it may be gone by then.
pub(super) fn sighting_at(
    dir: BorrowedFd<'_>,
    name: &Name,
    stat: &Statx,
) -> Result<Sighting, Errno> {
    if file_type(stat) != FileType::Symlink {
        return Ok(sighting(stat));
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name.as_bytes(), flags, Mode::empty())?;
    let stat = of_fd(std::os::fd::AsFd::as_fd(&fd))?;
    if file_type(&stat) != FileType::Symlink {
        return Ok(sighting(&stat));
    }
    let target = rustix::fs::readlinkat(&fd, c"", Vec::new())?.into_bytes();
    Ok(sighting_with(&stat, Entry::Symlink { target, meta: meta(&stat) }))
}

/// A sentence: what could not be done, and what the system says.
pub(super) fn words(doing: &str, errno: Errno) -> String {
    format!("{doing}: {}", io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use super::is_young;
    use crate::model::entry::FileTime;

    #[test]
    fn h19_young_is_what_changed_just_now_and_not_what_comes() {
        let at = |seconds, nanos| FileTime { seconds, nanos };
        let now = at(100, 5_000_000);
        for (ctime, young) in [
            (at(100, 5_000_000), true),
            (at(99, 995_000_000), true),
            (at(99, 994_999_999), false),
            (at(100, 5_000_001), false),
            (at(4_102_444_800, 0), false),
            (at(-1, 0), false),
        ] {
            assert_eq!(is_young(ctime, now), young, "{ctime:?}");
        }
    }
}
