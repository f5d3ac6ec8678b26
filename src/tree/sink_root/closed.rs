//! Directories that are closed to their own owner (0500, say), which an ordinary user meets: such
//! a user opens them for as long as something is done in them, as rsync does.
//!
//! - Only what this user owns is opened, through a descriptor of the very directory.
//! - Likewise what is immutable or may only be appended to: root takes that off for the change.
//! - The mode comes back with the directory's own attributes, which the source sends once nothing
//!   in it is outstanding (H21), and so do the flags; at the end of a run what is left is closed
//!   again.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::model::attributes::Flags;
use crate::model::limits::OPENED_MAX;
use crate::model::path::RelPath;
use crate::tree::sink_root::attributes::{seal_held, unseal};
use crate::tree::{beneath, hold, stat};

/// What an owner needs of a directory to work in it.
const OPEN: u16 = 0o700;

/// The directories that were opened, with what they were before.
#[derive(Default)]
pub(super) struct Opened {
    before: Mutex<BTreeMap<RelPath, Before>>,
    /// In a dry run nothing is opened.
    never: bool,
}

/// What a directory was before it was opened.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    mode: Option<u16>,
    flags: Flags,
}

impl Opened {
    /// What opens nothing.
    pub(super) fn never() -> Opened {
        Opened { never: true, ..Opened::default() }
    }

    /// Runs an act that may need the directories on the way to some paths, the last ones included,
    /// open to their owner, and may change what stands at `touched` and the directories above; if
    /// it is not permitted, opens what can be opened and runs it once more.
    pub(super) fn opening<T>(
        &self,
        root: BorrowedFd<'_>,
        paths: &[&RelPath],
        touched: &[&RelPath],
        act: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match act() {
            done if self.never => done,
            Err(Errno::PERM) => {
                let unsealed = touched.iter().filter(|path| self.unseal(root, path)).count();
                if unsealed > 0 { act() } else { Err(Errno::PERM) }
            }
            Err(Errno::ACCESS) => {
                let opened = paths.iter().filter(|path| self.open_way(root, path)).count();
                if opened > 0 { act() } else { Err(Errno::ACCESS) }
            }
            done => done,
        }
    }

    /// A directory has got its own attributes: its mode is what it should be.
    pub(super) fn settle(&self, path: &RelPath) {
        hold(&self.before).remove(path);
    }

    /// Closes again what is still open, from below; what has gone is left alone.
    pub(super) fn close(&self, root: BorrowedFd<'_>) {
        for (path, before) in std::mem::take(&mut *hold(&self.before)).into_iter().rev() {
            let closed = beneath::open(root, &path, beneath::DIR_PATH).and_then(|dir| {
                before.mode.map_or(Ok(()), |mode| set_mode(dir.as_fd(), mode))?;
                seal_held(dir.as_fd(), before.flags)
            });
            if let Err(errno) = closed {
                tracing::warn!("\"{path}\" stays open to its owner: {errno}");
            }
        }
    }

    /// Opens the directories on the way to a path, the last one included; true if one was closed.
    fn open_way(&self, root: BorrowedFd<'_>, path: &RelPath) -> bool {
        if rustix::process::geteuid().is_root() {
            return false;
        }
        let mut opened = self.open_one(root, &RelPath::root());
        let mut at: Option<OwnedFd> = None;
        let mut so_far = RelPath::root();
        for name in path.names() {
            let above = at.as_ref().map_or(root, AsFd::as_fd);
            let Ok(next) = beneath::open_name(above, &name) else { break };
            so_far = so_far.join(&name);
            opened |= self.open_one(next.as_fd(), &so_far);
            at = Some(next);
        }
        opened
    }

    fn open_one(&self, dir: BorrowedFd<'_>, path: &RelPath) -> bool {
        let Ok(Some(mode)) = open(dir) else { return false };
        self.remember(path, |before| before.mode = before.mode.or(Some(mode)));
        true
    }

    fn remember(&self, path: &RelPath, note: impl FnOnce(&mut Before)) {
        let mut opened = hold(&self.before);
        if opened.len() < OPENED_MAX || opened.contains_key(path) {
            note(opened.entry(path.clone()).or_default());
        }
    }

    /// Takes the flags that refuse changes off a name and off the directory above it; true if there
    /// were any.
    fn unseal(&self, root: BorrowedFd<'_>, path: &RelPath) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut unsealed = false;
        for path in path.parent().into_iter().chain([path.clone()]) {
            let Ok(object) = beneath::open(root, &path, flags) else { continue };
            let Ok(stat) = stat::of_fd(object.as_fd()) else { continue };
            let before = stat::meta(&stat).flags;
            if !unseal(object.as_fd(), before).unwrap_or(false) {
                continue;
            }
            unsealed = true;
            if stat::file_type(&stat) == FileType::Directory {
                self.remember(&path, |had| had.flags = had.flags.with(before));
            }
        }
        unsealed
    }
}

/// Runs an act in a directory, opened to its owner for that time alone.
pub(super) fn opening_shortly<T>(
    dir: BorrowedFd<'_>,
    act: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match act() {
        Err(Errno::ACCESS) => {
            let Some(mode) = open(dir)? else { return Err(Errno::ACCESS) };
            let done = act();
            set_mode(dir, mode)?;
            done
        }
        done => done,
    }
}

/// Opens one directory to its owner; gives the mode that it had if it was closed.
fn open(dir: BorrowedFd<'_>) -> Result<Option<u16>, Errno> {
    let stat = stat::of_fd(dir)?;
    let mode = stat::meta(&stat).mode;
    let ours = stat.stx_uid == rustix::process::geteuid().as_raw();
    let is_dir = stat::file_type(&stat) == FileType::Directory;
    if !ours || !is_dir || mode & OPEN == OPEN {
        return Ok(None);
    }
    set_mode(dir, mode | OPEN)?;
    Ok(Some(mode))
}

fn set_mode(dir: BorrowedFd<'_>, mode: u16) -> Result<(), Errno> {
    // A path-only descriptor takes no mode; this way leads to its object and no other.
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(u32::from(mode)), AtFlags::empty())
}
