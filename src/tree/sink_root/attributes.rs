//! Attributes: set in the order that lets them all survive, compared as far as the disk keeps them.
//!
//! Content first, then the owner (which clears the set-id bits), then the mode, then the time.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Statx, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
};
use rustix::io::Errno;

use crate::model::entry::{FileTime, Meta};
use crate::model::target::Obstacle;
use crate::tree::sink_root::obstacle;
use crate::tree::sink_root::staging::Staging;
use crate::tree::sink_root::ways::Ways;
use crate::tree::stat;

const GIGA: i128 = 1_000_000_000;

/// What the sink's filesystem keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeps {
    /// Whether owners can be set.
    pub(super) owners: bool,
    /// The step of its modification times in nanoseconds.
    granule: i128,
}

/// A moment that shows every granule that filesystems have.
const PROBE_TIME: FileTime = FileTime { seconds: 1_600_000_001, nanos: 123_456_789 };
/// An owner that a probe may set.
const PROBE_OWNER: u32 = 65_534;

impl Keeps {
    /// Tries it on a staged file.
    pub(super) fn probe(staging: &Staging, ways: &Ways) -> Result<Keeps, Obstacle> {
        let (file, _staged) = staging.file(ways)?;
        let probe = |owners| Meta {
            mode: 0o600,
            uid: if owners { PROBE_OWNER } else { 0 },
            gid: if owners { PROBE_OWNER } else { 0 },
            mtime: PROBE_TIME,
        };
        let with = |owners| Keeps { owners, granule: 1 };
        let may = rustix::process::geteuid().is_root();
        let owners = may && with(true).set_on_file(file.as_fd(), &probe(true)).is_ok();
        with(false).set_on_file(file.as_fd(), &probe(false))?;
        let stat = stat::of_fd(file.as_fd())
            .map_err(|errno| obstacle("Can't look at a staged file", errno))?;
        let kept = nanos(stat::modified(&stat));
        let granules = [1, 100, 1_000, 1_000_000, 10_000_000, GIGA, 2 * GIGA];
        let rounded = |granule: &i128| floor(nanos(PROBE_TIME), *granule) == kept;
        let granule = granules.into_iter().find(|granule| rounded(granule)).unwrap_or(1);
        Ok(Keeps { owners, granule })
    }

    /// Whether attributes agree, as far as they are kept.
    pub(super) fn same(&self, theirs: &Meta, ours: &Meta, is_symlink: bool) -> bool {
        let owner = !self.owners || (theirs.uid, theirs.gid) == (ours.uid, ours.gid);
        let mode = is_symlink || theirs.mode == ours.mode;
        let time = |meta: &Meta| floor(nanos(meta.mtime), self.granule);
        owner && mode && time(theirs) == time(ours)
    }

    /// Sets the attributes of an open regular file.
    pub(super) fn set_on_file(&self, file: BorrowedFd<'_>, meta: &Meta) -> Result<(), Obstacle> {
        let times = times(meta)?;
        if self.owners {
            let (uid, gid) = owner(meta)?;
            rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(no_owner)?;
        }
        rustix::fs::fchmod(file, mode(meta)).map_err(no_mode)?;
        rustix::fs::futimens(file, &times).map_err(no_time)
    }

    /// Sets the attributes of a symlink that stands in a directory which is ours alone.
    pub(super) fn set_on_symlink(
        &self,
        dir: BorrowedFd<'_>,
        name: &str,
        meta: &Meta,
    ) -> Result<(), Obstacle> {
        let times = times(meta)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.owners {
            let (uid, gid) = owner(meta)?;
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), flags).map_err(no_owner)?;
        }
        rustix::fs::utimensat(dir, name, &times, flags).map_err(no_time)
    }

    /// Sets the attributes of what a path-only descriptor holds, of whatever kind.
    pub(super) fn set_on_object(
        &self,
        object: BorrowedFd<'_>,
        stat: &Statx,
        meta: &Meta,
    ) -> Result<(), Obstacle> {
        let times = times(meta)?;
        let now = stat::meta(stat);
        let mut chowned = false;
        if self.owners && (now.uid, now.gid) != (meta.uid, meta.gid) {
            let (uid, gid) = owner(meta)?;
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(object, c"", Some(uid), Some(gid), flags).map_err(no_owner)?;
            chowned = true;
        }
        let is_symlink = stat::file_type(stat) == FileType::Symlink;
        if !is_symlink && (chowned || now.mode != meta.mode) {
            // A path-only descriptor takes no mode; this way leads to its object and no other.
            let path = format!("/proc/self/fd/{}", object.as_raw_fd());
            rustix::fs::chmodat(CWD, path, mode(meta), AtFlags::empty()).map_err(no_mode)?;
        }
        set_times(object, &times).map_err(no_time)
    }
}

/// Sets the times of what a path-only descriptor holds.
fn set_times(object: BorrowedFd<'_>, times: &Timestamps) -> Result<(), Errno> {
    rustix::fs::utimensat(object, c"", times, AtFlags::EMPTY_PATH)
}

/// Sets the modification time of an open directory to the present, by the filesystem's own clock.
pub(super) fn touch(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    rustix::fs::futimens(dir, &Timestamps { last_access: omit, last_modification: now })
}

/// Makes a change in a directory that its modification time is not to show.
pub(super) fn keeping_mtime<T>(
    dir: BorrowedFd<'_>,
    change: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let before = stat::modified(&stat::of_fd(dir)?);
    let done = change()?;
    set_times(dir, &only_mtime(before))?;
    Ok(done)
}

fn only_mtime(time: FileTime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) },
    }
}

/// The times to set. The kernel gives some numbers of nanoseconds a meaning of their own.
fn times(meta: &Meta) -> Result<Timestamps, Obstacle> {
    if i128::from(meta.mtime.nanos) >= GIGA {
        return Err(Obstacle::Other("Its modification time is no time".into()));
    }
    Ok(only_mtime(meta.mtime))
}

/// The owner to set; the highest number means none.
fn owner(meta: &Meta) -> Result<(Uid, Gid), Obstacle> {
    if meta.uid == u32::MAX || meta.gid == u32::MAX {
        return Err(Obstacle::Other("Its owner is a number that Linux does not know".into()));
    }
    Ok((Uid::from_raw(meta.uid), Gid::from_raw(meta.gid)))
}

fn mode(meta: &Meta) -> Mode {
    Mode::from_raw_mode(u32::from(meta.mode & 0o7777))
}

fn no_owner(errno: Errno) -> Obstacle {
    obstacle("Can't set the owner", errno)
}

fn no_mode(errno: Errno) -> Obstacle {
    obstacle("Can't set the mode", errno)
}

fn no_time(errno: Errno) -> Obstacle {
    obstacle("Can't set the modification time", errno)
}

fn nanos(time: FileTime) -> i128 {
    i128::from(time.seconds) * GIGA + i128::from(time.nanos)
}

fn floor(nanos: i128, granule: i128) -> i128 {
    nanos.div_euclid(granule) * granule
}
