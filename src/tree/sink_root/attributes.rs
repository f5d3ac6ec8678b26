//! Attributes: set in the order that lets them all survive, compared as far as the disk keeps them.
//!
//! Content first, then the owner (which clears set-id bits and capabilities), then the mode, then
//! ACLs (which a mode would change), other extended attributes, the times, and the flags last: an
//! immutable object takes nothing more, not even its name.
//!
//! Both times are always set together: many a daemon of FUSE (each whose library is libfuse 2)
//! drops a modification time that comes alone, and says that it was set.

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, IFlags, Mode, OFlags, Statx, Timespec, Timestamps, UTIME_NOW, Uid,
};
use rustix::io::Errno;

use crate::model::attributes::{Carried, Flags, Marks, Namespace};
use crate::model::entry::{Attributes, Entry, FileTime, Meta};
use crate::model::item::Differences;
use crate::model::owners::OwnerMap;
use crate::model::path::Name;
use crate::model::target::Obstacle;
use crate::tree::sink_root::birth::Birth;
use crate::tree::sink_root::obstacle;
use crate::tree::xattrs::Object;
use crate::tree::{stat, xattrs};

const GIGA: i128 = 1_000_000_000;

/// An owner and a group to set, each as far as it is kept.
type Owner = (Option<Uid>, Option<Gid>);

/// What of attributes could not be set, in words, if anything.
pub(super) type Lack = Option<String>;

/// What the sink keeps of attributes: what its filesystem can hold and what is wanted of it.
#[derive(Debug, Clone)]
pub(super) struct Keeps {
    /// Which of them.
    pub(super) carried: Carried,
    /// The step of its modification times in nanoseconds.
    pub(super) granule: i128,
    /// Whether this host's security policy gives labels to all objects.
    pub(super) labels: bool,
    /// Other owners than the source's.
    pub(super) owners: OwnerMap,
    /// Whether files keep their holes.
    pub(super) holes: bool,
}

impl Keeps {
    /// In what attributes differ, as far as they are kept.
    pub(super) fn differences(&self, theirs: &Meta, ours: &Meta, is_symlink: bool) -> Differences {
        let (carried, theirs) = (&self.carried, &self.owners.of_meta(theirs));
        let time = |meta: &Meta| floor(nanos(meta.mtime), self.granule);
        let flags = carried.flags && theirs.flags != ours.flags;
        let mut others = Namespace::ALL.into_iter().filter(|one| *one != Namespace::Acl);
        Differences {
            content: false,
            size: false,
            time: time(theirs) != time(ours),
            mode: !is_symlink && carried.modes && theirs.mode != ours.mode,
            owner: carried.owners && theirs.uid != ours.uid,
            group: carried.groups && theirs.gid != ours.gid,
            acl: !self.same_mark(Namespace::Acl, theirs, ours),
            xattrs: flags || others.any(|namespace| !self.same_mark(namespace, theirs, ours)),
        }
    }

    fn same_mark(&self, namespace: Namespace, theirs: &Meta, ours: &Meta) -> bool {
        let (theirs, ours) = (theirs.marks.unwrap_or_default(), ours.marks.unwrap_or_default());
        let at = namespace.index();
        let is_labelled = self.labels && namespace == Namespace::Security;
        // Lists that name other owners have other marks; that there is one is all that is told.
        let is_mapped = namespace == Namespace::Acl && !self.owners.is_empty();
        !self.carried.namespaces[at]
            || is_labelled
            || theirs.0[at] == ours.0[at]
            || is_mapped && (theirs.0[at] == 0) == (ours.0[at] == 0)
    }

    /// Adds the marks of an object's extended attributes to what was seen of it.
    pub(super) fn mark(
        &self,
        dir: BorrowedFd<'_>,
        name: &Name,
        entry: &mut Entry,
    ) -> Result<(), Errno> {
        let xattrs = xattrs::read(Object::Named(dir, name), &self.carried.namespaces)?;
        entry.meta_mut().marks = Marks::of(&xattrs);
        Ok(())
    }

    /// The mode to make a file with that is to have this one.
    pub(super) fn mode_at_birth(&self, meta: &Meta) -> Mode {
        self.mode_of_new(meta) & (Mode::RWXU | Mode::RWXG | Mode::RWXO)
    }

    /// Sets the attributes of an open regular file that is staged, but for its flags. One that was
    /// just made with `mode_at_birth` has some of them by its birth.
    pub(super) fn set_on_file(
        &self,
        file: BorrowedFd<'_>,
        attributes: &Attributes,
        birth: Option<Birth>,
    ) -> Result<Lack, Obstacle> {
        let meta = &attributes.meta;
        let times = self.times(attributes, now())?;
        if let Some((uid, gid)) = self.owner(meta)?
            && !birth.is_some_and(|birth| birth.has_owner(uid, gid))
        {
            rustix::fs::fchown(file, uid, gid).map_err(no_owner)?;
        }
        let mode = self.mode_of_new(meta);
        let is_bare = birth.is_some() && attributes.xattrs.is_empty();
        let takes = is_bare || takes_xattrs(mode);
        if !(takes && birth.is_some_and(|birth| birth.has_mode(mode))) {
            let first = if takes { mode } else { mode | Mode::WUSR };
            self.kept_mode(rustix::fs::fchmod(file, first))?;
        }
        let lack = if is_bare { None } else { self.set_xattrs(Object::Open(file), attributes) };
        if !takes {
            self.kept_mode(rustix::fs::fchmod(file, mode))?;
        }
        rustix::fs::futimens(file, &times).map_err(no_time)?;
        Ok(lack)
    }

    /// Sets the attributes of a symlink or a special file that stands in a directory which is ours
    /// alone.
    pub(super) fn set_on_staged(
        &self,
        dir: BorrowedFd<'_>,
        name: &str,
        attributes: &Attributes,
        is_symlink: bool,
    ) -> Result<Lack, Obstacle> {
        let meta = &attributes.meta;
        let times = self.times(attributes, now())?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = self.owner(meta)? {
            rustix::fs::chownat(dir, name, uid, gid, flags).map_err(no_owner)?;
        }
        if !is_symlink {
            let mode = self.mode_of_new(meta);
            self.kept_mode(rustix::fs::chmodat(dir, name, mode, AtFlags::empty()))?;
        }
        let staged =
            Name::new(name.as_bytes()).map_err(|error| Obstacle::Other(error.to_string()))?;
        let lack = self.set_xattrs(Object::Named(dir, &staged), attributes);
        rustix::fs::utimensat(dir, name, &times, flags).map_err(no_time)?;
        Ok(lack)
    }

    /// Sets the attributes of what a path-only descriptor holds, of whatever kind.
    pub(super) fn set_on_object(
        &self,
        object: BorrowedFd<'_>,
        stat: &Statx,
        attributes: &Attributes,
    ) -> Result<Lack, Obstacle> {
        let meta = &attributes.meta;
        let times = self.times(attributes, timespec(stat::read_last(stat)))?;
        let now = stat::meta(stat);
        unseal(object, now.flags).map_err(no_flags)?;
        let mut chowned = false;
        if let Some((uid, gid)) = self.owner(meta)?
            && (uid.is_some_and(|uid| uid.as_raw() != now.uid)
                || gid.is_some_and(|gid| gid.as_raw() != now.gid))
        {
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(object, c"", uid, gid, flags).map_err(no_owner)?;
            chowned = true;
        }
        let is_symlink = stat::file_type(stat) == FileType::Symlink;
        let bits = if self.carried.modes { meta.mode } else { now.mode };
        let mode = Mode::from_raw_mode(u32::from(bits & 0o7777));
        let takes = is_symlink || takes_xattrs(mode);
        let first = if takes { mode } else { mode | Mode::WUSR };
        // A path-only descriptor takes no mode; this way leads to its object and no other.
        let set_mode =
            |mode| self.kept_mode(rustix::fs::chmodat(CWD, held(object), mode, AtFlags::empty()));
        if !is_symlink && (chowned || u32::from(now.mode) != first.as_raw_mode()) {
            set_mode(first)?;
        }
        let lack = self.set_xattrs(Object::Held(object), attributes);
        if !takes {
            set_mode(mode)?;
        }
        set_times(object, &times).map_err(no_time)?;
        self.seal_object(object, meta.flags, now.flags).map_err(no_flags)?;
        Ok(lack)
    }

    fn set_xattrs(&self, object: Object<'_>, attributes: &Attributes) -> Lack {
        if self.carried.namespaces == [false; 4] {
            return None;
        }
        let mut wanted = Cow::Borrowed(&attributes.xattrs[..]);
        if !self.owners.is_empty() {
            wanted.to_mut().iter_mut().for_each(|xattr| self.owners.change_acl(xattr));
        }
        let set = xattrs::set(object, &wanted, &self.carried.namespaces);
        set.err().map(|(name, errno)| match name.as_slice() {
            b"" => stat::words("Can't read its extended attributes", errno),
            name => {
                let doing = format!("Can't set the attribute \"{}\"", name.escape_ascii());
                stat::words(&doing, errno)
            }
        })
    }

    /// The flags that an object is to get once it has its name.
    pub(super) fn flags(&self, meta: &Meta) -> Flags {
        if self.carried.flags { meta.flags } else { Flags::none() }
    }

    /// Makes the flags of an object those wanted; seals that were taken off come back even where
    /// flags are not carried.
    fn seal_object(
        &self,
        object: BorrowedFd<'_>,
        wanted: Flags,
        before: Flags,
    ) -> Result<(), Errno> {
        let wanted = if self.carried.flags { wanted } else { before };
        let now = stat::meta(&stat::of_fd(object)?).flags;
        if wanted == now { Ok(()) } else { seal(open_held(object)?.as_fd(), wanted) }
    }

    /// The mode of an object that was just made: where modes are not carried the one that this
    /// process would give it.
    fn mode_of_new(&self, meta: &Meta) -> Mode {
        let bits = u32::from(meta.mode & 0o7777);
        if self.carried.modes {
            return Mode::from_raw_mode(bits);
        }
        Mode::from_raw_mode(bits & 0o777 & !umask())
    }

    /// What became of setting a mode: a filesystem that keeps none may refuse to be told of one.
    fn kept_mode(&self, set: Result<(), Errno>) -> Result<(), Obstacle> {
        if self.carried.modes { set.map_err(no_mode) } else { Ok(()) }
    }

    /// The owner to set, as far as it is kept; the highest number means none.
    fn owner(&self, meta: &Meta) -> Result<Option<Owner>, Obstacle> {
        let Carried { owners, groups, .. } = self.carried;
        let meta = self.owners.of_meta(meta);
        if owners && meta.uid == u32::MAX || groups && meta.gid == u32::MAX {
            return Err(Obstacle::Other("Its owner is a number that Linux does not know".into()));
        }
        let uid = owners.then(|| Uid::from_raw(meta.uid));
        let gid = groups.then(|| Gid::from_raw(meta.gid));
        Ok((owners || groups).then_some((uid, gid)))
    }

    /// The times to set, `read` where the one of the last reading is not carried. The kernel gives
    /// some numbers of nanoseconds a meaning of their own.
    fn times(&self, attributes: &Attributes, read: Timespec) -> Result<Timestamps, Obstacle> {
        let (mtime, atime) = (attributes.meta.mtime, attributes.atime);
        let is_time = |time: FileTime| i128::from(time.nanos) < GIGA;
        if !is_time(mtime) || !atime.is_none_or(is_time) {
            return Err(Obstacle::Other("Its modification time is no time".into()));
        }
        let atime = atime.filter(|_| self.carried.atimes);
        let last_access = atime.map_or(read, timespec);
        Ok(Timestamps { last_access, last_modification: timespec(mtime) })
    }
}

/// Whether an object of this mode takes attributes of the user's: from anybody but root only one
/// that its owner may write to does. Where there is an access control list the mode that comes
/// after it changes nothing, for it is the one that the list stands for.
fn takes_xattrs(mode: Mode) -> bool {
    mode.contains(Mode::WUSR) || rustix::process::geteuid().is_root()
}

/// Takes off what would refuse any change; `flags` is what the object has.
pub(super) fn unseal(object: BorrowedFd<'_>, flags: Flags) -> Result<bool, Errno> {
    if !flags.has(Flags::IMMUTABLE) && !flags.has(Flags::APPEND) {
        return Ok(false);
    }
    let kept = if flags.has(Flags::NODUMP) { Flags::NODUMP } else { Flags::none() };
    seal(open_held(object)?.as_fd(), kept)?;
    Ok(true)
}

/// Gives an open file or directory its inode flags; those that are not carried stay.
pub(super) fn seal(file: BorrowedFd<'_>, flags: Flags) -> Result<(), Errno> {
    let known = [
        (Flags::IMMUTABLE, IFlags::IMMUTABLE),
        (Flags::APPEND, IFlags::APPEND),
        (Flags::NODUMP, IFlags::NODUMP),
    ];
    let mut wanted = rustix::fs::ioctl_getflags(file)?;
    for (flag, bit) in known {
        wanted.set(bit, flags.has(flag));
    }
    rustix::fs::ioctl_setflags(file, wanted)
}

/// The same for what a path-only descriptor holds; nothing is done for no flags.
pub(super) fn seal_held(object: BorrowedFd<'_>, flags: Flags) -> Result<(), Errno> {
    if flags.is_empty() { Ok(()) } else { seal(open_held(object)?.as_fd(), flags) }
}

/// Opens a regular file or a directory that is held, to give it flags.
fn open_held(object: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(held(object), flags, Mode::empty())
}

fn held(object: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", object.as_raw_fd())
}

/// The mode bits that this process takes from what it makes. The call that tells them would change
/// them for all threads; the kernel's account of the process does not.
fn umask() -> u32 {
    static MASK: OnceLock<u32> = OnceLock::new();
    *MASK.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let digits = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        digits.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok()).unwrap_or(0o022)
    })
}

/// Sets the times of what a path-only descriptor holds.
fn set_times(object: BorrowedFd<'_>, times: &Timestamps) -> Result<(), Errno> {
    rustix::fs::utimensat(object, c"", times, AtFlags::EMPTY_PATH)
}

/// Sets the modification time of an open directory to the present, by the filesystem's own clock.
pub(super) fn touch(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::futimens(dir, &Timestamps { last_access: now(), last_modification: now() })
}

/// Makes a change in a directory that its times are not to show.
pub(super) fn keeping_mtime<T>(
    dir: BorrowedFd<'_>,
    change: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let before = stat::of_fd(dir)?;
    let done = change()?;
    if stat::modified(&stat::of_fd(dir)?) == stat::modified(&before) {
        // The root of a FAT has no times at all, and not everybody takes that for granted.
        return Ok(done);
    }
    let last_access = timespec(stat::read_last(&before));
    let last_modification = timespec(stat::modified(&before));
    set_times(dir, &Timestamps { last_access, last_modification })?;
    Ok(done)
}

fn timespec(time: FileTime) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) }
}

/// The present, as a time to set.
fn now() -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }
}

fn no_owner(errno: Errno) -> Obstacle {
    obstacle("Can't set the owner", errno)
}

fn no_mode(errno: Errno) -> Obstacle {
    obstacle("Can't set the mode", errno)
}

fn no_flags(errno: Errno) -> Obstacle {
    obstacle("Can't change the inode flags", errno)
}

fn no_time(errno: Errno) -> Obstacle {
    obstacle("Can't set the modification time", errno)
}

pub(super) fn nanos(time: FileTime) -> i128 {
    i128::from(time.seconds) * GIGA + i128::from(time.nanos)
}

pub(super) fn floor(nanos: i128, granule: i128) -> i128 {
    nanos.div_euclid(granule) * granule
}
