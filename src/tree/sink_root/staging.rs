//! Staging directories: one in the root, one more for each other filesystem below it (H24).
//!
//! - Each is named alike, is ours alone (0700), and holds flat names that are used once.
//! - Making or removing one leaves the time of the directory that holds it as it was (H21).

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx};
use rustix::io::Errno;

use crate::model::attributes::Flags;
use crate::model::entry::{Attributes, SpecialKind};
use crate::model::limits::{STAGING_LEFT_MAX, TRANSFERS_KEPT};
use crate::model::path::{Name, RelPath};
use crate::model::session::Partial;
use crate::model::target::Obstacle;
use crate::tree::sink_root::attributes::{Keeps, Lack, keeping_mtime};
use crate::tree::sink_root::birth::{self, Birth};
use crate::tree::sink_root::closed::opening_shortly;
use crate::tree::sink_root::marker::MARKER;
use crate::tree::sink_root::obstacle;
use crate::tree::sink_root::trash::{self, TRASH, Thrown};
use crate::tree::sink_root::ways::Ways;
use crate::tree::{beneath, hold, stat};

/// A staged object; removed when it is dropped without having been placed.
pub struct Staged {
    pub(super) home: Arc<Home>,
    pub(super) name: String,
    pub(super) placed: bool,
    /// The flags that it gets with its name, and the file to give them to.
    pub(super) seal: Option<(OwnedFd, Flags)>,
    /// What of its attributes could not be set, in words.
    pub(super) lack: Lack,
}

impl Staged {
    fn new(home: Arc<Home>, name: String) -> Staged {
        Staged { home, name, placed: false, seal: None, lack: None }
    }

    /// Gives a symlink or a special file its attributes.
    pub(super) fn dressed(
        mut self,
        attributes: &Attributes,
        is_symlink: bool,
        keeps: &Keeps,
    ) -> Result<Staged, Obstacle> {
        let dir = self.home.dir.as_fd();
        self.lack = keeps.set_on_staged(dir, &self.name, attributes, is_symlink)?;
        Ok(self)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            // What stays here is removed with the staging directory.
            let _ = rustix::fs::unlinkat(&self.home.dir, &*self.name, AtFlags::empty());
        }
    }
}

/// A staging directory.
pub(super) struct Home {
    pub(super) dir: OwnedFd,
    holder: Arc<OwnedFd>,
    held_in: Filesystem,
    /// Device and inode of the directory that holds it.
    holder_is: (u64, u64),
    /// What new files in it are like.
    pub(super) birth: Option<Birth>,
}

/// What can be renamed within, as far as the kernel tells beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Filesystem {
    device: u64,
    mount: u64,
}

impl Filesystem {
    /// The one that a directory lies on.
    pub(super) fn of_dir(dir: BorrowedFd<'_>) -> Result<Filesystem, Errno> {
        stat::of_fd(dir).map(|stat| Filesystem::of(&stat))
    }

    fn of(stat: &Statx) -> Filesystem {
        Filesystem { device: stat::device(stat), mount: stat.stx_mnt_id }
    }
}

/// All staging directories of a sink.
pub(super) struct Staging {
    pub(super) name: Name,
    next: AtomicU64,
    homes: Mutex<HashMap<Filesystem, Arc<Home>>>,
    /// What the root lies on, once that was asked for.
    root_in: OnceLock<Filesystem>,
    /// Directories in which an earlier run has left one.
    left: Mutex<BTreeSet<RelPath>>,
    /// Held while a home is made for one object alone, beside the place where it goes.
    passing: Mutex<()>,
}

/// How the name of a transfer's staged object begins; other names are numbers.
const TRANSFER: &str = "transfer-";

fn cant_stage(errno: Errno) -> Obstacle {
    obstacle("Can't prepare it in the staging directory", errno)
}

impl Staging {
    pub(super) fn new(name: Name) -> Staging {
        Staging {
            name,
            next: AtomicU64::new(1),
            homes: Mutex::new(HashMap::new()),
            root_in: OnceLock::new(),
            left: Mutex::new(BTreeSet::new()),
            passing: Mutex::new(()),
        }
    }

    /// Stages an empty file, made with a mode.
    pub(super) fn file(&self, ways: &Ways, mode: Mode) -> Result<(OwnedFd, Staged), Obstacle> {
        self.stage(ways, |dir, name| birth::make(dir, name, mode))
    }

    /// The staged object of a transfer, mode 0600: the one that is there or, if wished, a new one.
    pub(super) fn transfer(
        &self,
        ways: &Ways,
        number: u64,
        begin: bool,
    ) -> Result<Option<(OwnedFd, Staged)>, Obstacle> {
        let home = if begin { Some(self.root_home(ways)?) } else { self.known_home(ways) };
        let Some(home) = home else { return Ok(None) };
        let name = name_of(number);
        let create = if begin { OFlags::CREATE } else { OFlags::empty() };
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | create;
        match rustix::fs::openat(&home.dir, &*name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Some((file, Staged::new(home, name)))),
            Err(Errno::NOENT) if !begin => Ok(None),
            Err(errno) => Err(cant_stage(errno)),
        }
    }

    /// What is left of transfers, the longest ones if there are too many.
    pub(super) fn partials(&self, ways: &Ways) -> Result<Vec<Partial>, Obstacle> {
        let Some(home) = self.known_home(ways) else { return Ok(Vec::new()) };
        let reader = beneath::open_to_read(home.dir.as_fd()).and_then(rustix::fs::Dir::new);
        let mut reader = reader.map_err(cant_stage)?;
        let mut partials = Vec::new();
        while let Some(entry) = reader.read() {
            let entry = entry.map_err(cant_stage)?;
            let Some(transfer) = transfer_of(entry.file_name().to_bytes()) else { continue };
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let Ok(stat) = rustix::fs::statat(&home.dir, entry.file_name(), flags) else {
                continue;
            };
            partials.push(Partial { transfer, bytes: stat.st_size.unsigned_abs() });
        }
        partials.sort_unstable_by_key(|partial| std::cmp::Reverse(partial.bytes));
        partials.truncate(TRANSFERS_KEPT);
        Ok(partials)
    }

    /// Stages a symlink.
    pub(super) fn symlink(&self, ways: &Ways, target: &[u8]) -> Result<Staged, Obstacle> {
        let make = |dir: BorrowedFd<'_>, name: &str| rustix::fs::symlinkat(target, dir, name);
        self.stage(ways, make).map(|((), staged)| staged)
    }

    /// Stages a fifo, socket or device, mode 0600.
    pub(super) fn special(
        &self,
        ways: &Ways,
        kind: SpecialKind,
        device: u64,
    ) -> Result<Staged, Obstacle> {
        let file_type = match kind {
            SpecialKind::Fifo => FileType::Fifo,
            SpecialKind::Socket => FileType::Socket,
            SpecialKind::Character => FileType::CharacterDevice,
            SpecialKind::Block => FileType::BlockDevice,
        };
        let make = |dir: BorrowedFd<'_>, name: &str| {
            rustix::fs::mknodat(dir, name, file_type, Mode::RUSR | Mode::WUSR, device)
        };
        self.stage(ways, make).map(|((), staged)| staged)
    }

    /// Makes an object in the root's staging directory, which is made anew if it has gone.
    fn stage<T>(
        &self,
        ways: &Ways,
        make: impl Fn(BorrowedFd<'_>, &str) -> Result<T, Errno>,
    ) -> Result<(T, Staged), Obstacle> {
        let home = self.first_home(ways)?;
        match self.stage_in(&home, &make) {
            Err(Errno::NOENT) => {
                self.lose(&home);
                let home = self.home_in(ways.root())?;
                self.stage_in(&home, &make).map_err(cant_stage)
            }
            other => other.map_err(cant_stage),
        }
    }

    /// A number that no name of this run has.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes an object in a staging directory, under a new name.
    pub(super) fn stage_in<T>(
        &self,
        home: &Arc<Home>,
        make: impl Fn(BorrowedFd<'_>, &str) -> Result<T, Errno>,
    ) -> Result<(T, Staged), Errno> {
        loop {
            let name = self.number().to_string();
            match make(home.dir.as_fd(), &name) {
                Err(Errno::EXIST | Errno::INTR) => {}
                Err(errno) => return Err(errno),
                Ok(made) => {
                    return Ok((made, Staged::new(Arc::clone(home), name)));
                }
            }
        }
    }

    /// The staging directory on another filesystem than the root's: in the highest directory on
    /// the way to `above` that lies on it, where no removal at the source can be in its way.
    /// Nothing if `above` is on the same filesystem as what is staged already.
    pub(super) fn home_for(
        &self,
        ways: &Ways,
        above: &RelPath,
        staged: &Staged,
    ) -> Result<Option<Arc<Home>>, Obstacle> {
        let there = Filesystem::of_dir(ways.fresh(above)?.as_fd()).map_err(cant_stage)?;
        if there == staged.home.held_in {
            return Ok(None);
        }
        self.home_of(ways, above).map(Some)
    }

    /// The staging directory on the filesystem of a directory.
    pub(super) fn home_of(&self, ways: &Ways, above: &RelPath) -> Result<Arc<Home>, Obstacle> {
        let filesystem = |dir: &Arc<OwnedFd>| Filesystem::of_dir(dir.as_fd()).map_err(cant_stage);
        let mut highest = ways.dir(above)?.fd;
        let wanted = filesystem(&highest)?;
        if wanted == filesystem(ways.root())? {
            return self.root_home(ways);
        }
        if let Some(home) = hold(&self.homes).get(&wanted) {
            return Ok(Arc::clone(home));
        }
        for path in above.ancestors() {
            let dir = ways.fresh(&path)?;
            if filesystem(&dir)? != wanted {
                break;
            }
            highest = dir;
        }
        self.home_in(&highest)
    }

    /// Runs with a staging directory beside the place itself, which lasts for this one object: for
    /// places that no other directory of their filesystem can be renamed to (project quotas).
    pub(super) fn with_passing_home<T>(
        &self,
        ways: &Ways,
        above: &RelPath,
        act: impl FnOnce(&Arc<Home>) -> Result<T, Obstacle>,
    ) -> Result<T, Obstacle> {
        let _alone = hold(&self.passing);
        let holder = ways.fresh(above)?;
        if self.holds_home(holder.as_fd()) {
            return Err(cant_stage(Errno::XDEV));
        }
        let home = Arc::new(self.open_home(&holder)?);
        let done = act(&home);
        if home.remove(&self.name).is_err() {
            self.remember_left(above);
        }
        done
    }

    /// The root's staging directory, wherever it may be by now: one that was met before costs no
    /// look.
    fn first_home(&self, ways: &Ways) -> Result<Arc<Home>, Obstacle> {
        let known = self.root_in.get().and_then(|key| hold(&self.homes).get(key).map(Arc::clone));
        if let Some(home) = known {
            return Ok(home);
        }
        let home = self.home_in(ways.root())?;
        // The root is held by one descriptor as long as this lasts.
        let _ = self.root_in.set(home.held_in);
        Ok(home)
    }

    /// The root's staging directory, if it is there.
    fn known_home(&self, ways: &Ways) -> Option<Arc<Home>> {
        let stat = stat::of_fd(ways.root().as_fd()).ok()?;
        hold(&self.homes).get(&Filesystem::of(&stat)).map(Arc::clone)
    }

    /// The root's staging directory, which is made anew if it has gone.
    pub(super) fn root_home(&self, ways: &Ways) -> Result<Arc<Home>, Obstacle> {
        let home = self.home_in(ways.root())?;
        let stands = stat::of_fd(home.dir.as_fd()).is_ok_and(|stat| stat.stx_nlink > 0);
        if stands {
            return Ok(home);
        }
        self.lose(&home);
        self.home_in(ways.root())
    }

    /// The staging directory in a directory that is the highest on its filesystem.
    pub(super) fn home_in(&self, holder: &Arc<OwnedFd>) -> Result<Arc<Home>, Obstacle> {
        let stat = stat::of_fd(holder.as_fd()).map_err(cant_stage)?;
        let mut homes = hold(&self.homes);
        if let Some(home) = homes.get(&Filesystem::of(&stat)) {
            return Ok(Arc::clone(home));
        }
        let home = Arc::new(self.open_home(holder)?);
        homes.insert(home.held_in, Arc::clone(&home));
        Ok(home)
    }

    /// Opens or makes a staging directory, and empties it but for the marker.
    fn open_home(&self, holder: &Arc<OwnedFd>) -> Result<Home, Obstacle> {
        let open = || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(holder, self.name.as_bytes(), flags, Mode::empty())
        };
        let make = || rustix::fs::mkdirat(holder, self.name.as_bytes(), Mode::RWXU);
        let opened = match open() {
            Err(Errno::NOENT) => {
                let make = || keeping_mtime(holder.as_fd(), make);
                opening_shortly(holder.as_fd(), make).and_then(|()| open())
            }
            other => self.check_ours(other),
        };
        let dir = opened.map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP | Errno::ACCESS => Obstacle::Other(format!(
                "\"{}\" is in the way, and osync did not make it: remove it",
                self.name
            )),
            _ => cant_stage(errno),
        })?;
        empty(dir.as_fd(), &outlasts).map_err(cant_stage)?;
        let stat = stat::of_fd(holder.as_fd()).map_err(cant_stage)?;
        let holder_is = (stat::device(&stat), stat.stx_ino);
        let (holder, held_in) = (Arc::clone(holder), Filesystem::of(&stat));
        let birth = Birth::try_in(dir.as_fd());
        Ok(Home { dir, holder, held_in, holder_is, birth })
    }

    /// A directory found under our name must be ours alone: others could exchange what is staged.
    fn check_ours(&self, opened: Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
        let dir = opened?;
        if stat::of_fd(dir.as_fd())?.stx_uid != rustix::process::geteuid().as_raw() {
            return Err(Errno::ACCESS);
        }
        match rustix::fs::fchmod(&dir, Mode::RWXU) {
            // Where there are no modes, nobody's is wrong.
            Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP) => Ok(dir),
            Err(errno) => Err(errno),
        }
    }

    /// Forgets a staging directory that has gone.
    fn lose(&self, home: &Arc<Home>) {
        hold(&self.homes).retain(|_, known| !Arc::ptr_eq(known, home));
    }

    /// Whether a name in a directory is a staging directory. One that an earlier run left there is
    /// remembered for `finish`.
    pub(super) fn is_home(&self, path: &RelPath, dir: BorrowedFd<'_>, name: &Name) -> bool {
        if *name != self.name {
            return false;
        }
        let is_dir = |stat: &Statx| stat::file_type(stat) == rustix::fs::FileType::Directory;
        if !stat::of_name(dir, name).is_ok_and(|stat| is_dir(&stat)) {
            return false;
        }
        if !self.holds_home(dir) {
            self.remember_left(path);
        }
        true
    }

    fn remember_left(&self, path: &RelPath) {
        let mut left = hold(&self.left);
        if left.len() < STAGING_LEFT_MAX {
            left.insert(path.clone());
        }
    }

    fn holds_home(&self, dir: BorrowedFd<'_>) -> bool {
        stat::of_fd(dir).is_ok_and(|stat| {
            let place = (stat::device(&stat), stat.stx_ino);
            hold(&self.homes).values().any(|home| home.holder_is == place)
        })
    }

    /// Removes the staging directory in a directory that holds nothing else and is to go.
    pub(super) fn clear_away(&self, dir: &Arc<OwnedFd>) -> Result<(), Obstacle> {
        let mut homes = hold(&self.homes);
        let stat = stat::of_fd(dir.as_fd()).map_err(cant_stage)?;
        let place = (stat::device(&stat), stat.stx_ino);
        homes.retain(|_, home| home.holder_is != place);
        let home = self.open_home(dir)?;
        home.remove(&self.name).map_err(cant_stage)
    }

    /// Whether a staging directory has a trash.
    pub(super) fn has_trash(&self, ways: &Ways) -> bool {
        hold(&self.homes).values().any(|home| trash::stands(home.dir.as_fd()))
            || self.homes_left(ways).iter().any(|home| trash::stands(home.as_fd()))
    }

    /// The staging directories that an earlier run has left below the root.
    fn homes_left(&self, ways: &Ways) -> Vec<OwnedFd> {
        let left = hold(&self.left).clone();
        let open = |path: &RelPath| {
            let holder = ways.fresh(path).ok()?;
            beneath::open_name(holder.as_fd(), &self.name).ok()
        };
        left.iter().filter_map(open).collect()
    }

    /// Removes for good what the staging directories keep in their trash.
    pub(super) fn throw_away(&self, ways: &Ways) -> Result<Thrown, Obstacle> {
        let cant = |errno| obstacle("Can't remove what was kept", errno);
        let mut thrown = Thrown::default();
        let homes: Vec<_> = hold(&self.homes).values().map(Arc::clone).collect();
        for home in homes {
            thrown += trash::throw_away(home.dir.as_fd()).map_err(cant)?;
        }
        for home in self.homes_left(ways) {
            thrown += trash::throw_away(home.as_fd()).map_err(cant)?;
        }
        Ok(thrown)
    }

    /// Removes the staging directories in which nothing is.
    pub(super) fn leave_empty(&self) {
        for home in hold(&self.homes).values() {
            // What has anything in it stays for a later run.
            let _ = home.unlink(&self.name);
        }
    }

    /// Removes all staging directories, but for those that have a trash.
    pub(super) fn finish(&self, ways: &Ways) -> Result<(), Obstacle> {
        let mut result = Ok(());
        let homes = std::mem::take(&mut *hold(&self.homes));
        for home in homes.into_values() {
            if let Err(errno) = home.remove(&self.name) {
                result = Err(obstacle("Can't remove the staging directory", errno));
            }
        }
        for path in std::mem::take(&mut *hold(&self.left)) {
            let Ok(holder) = ways.fresh(&path) else { continue };
            if beneath::open_name(holder.as_fd(), &self.name).is_err() {
                continue;
            }
            let removed = self.open_home(&holder).and_then(|home| {
                let doing = "Can't remove an old staging directory";
                home.remove(&self.name).map_err(|errno| obstacle(doing, errno))
            });
            result = result.and(removed);
        }
        result
    }
}

impl Home {
    /// Empties and removes it, but for its trash; one that has gone already will do.
    fn remove(&self, name: &Name) -> Result<(), Errno> {
        empty(self.dir.as_fd(), &|name| name == TRASH.as_bytes())?;
        if trash::stands(self.dir.as_fd()) {
            return Ok(());
        }
        match self.unlink(name) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// Removes it if it is empty.
    fn unlink(&self, name: &Name) -> Result<(), Errno> {
        let flags = AtFlags::REMOVEDIR;
        let remove = || rustix::fs::unlinkat(&self.holder, name.as_bytes(), flags);
        opening_shortly(self.holder.as_fd(), || keeping_mtime(self.holder.as_fd(), remove))
    }
}

/// Whether a name in a staging directory is there to stay from one run to the next.
fn outlasts(name: &[u8]) -> bool {
    name == MARKER.as_bytes() || name == TRASH.as_bytes() || transfer_of(name).is_some()
}

/// The name of the staged object of a transfer.
fn name_of(transfer: u64) -> String {
    format!("{TRANSFER}{transfer:016x}")
}

/// The transfer whose staged object has that name.
fn transfer_of(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(TRANSFER.as_bytes())?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Removes the names in a staging directory, but for some: flat, and all our own.
fn empty(dir: BorrowedFd<'_>, kept: &dyn Fn(&[u8]) -> bool) -> Result<(), Errno> {
    let mut reader = rustix::fs::Dir::new(beneath::open_to_read(dir)?)?;
    while let Some(entry) = reader.read() {
        let entry = entry?;
        let name = entry.file_name();
        if kept(name.to_bytes()) || name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
