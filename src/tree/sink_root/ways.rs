//! The ways to directories: resolved beneath the root, kept for a moment, dropped when they change.
//!
//! A kept descriptor is trusted for `DIR_TRUST_MS` at most, so that a directory which somebody
//! else moved away is soon found out; what osync itself moves or removes is dropped at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::model::limits::{DIR_CACHE, DIR_TRUST_MS, FILESYSTEMS_MAX};
use crate::model::path::{Name, RelPath};
use crate::model::target::Obstacle;
use crate::tree::keeping::Recent;
use crate::tree::sink_root::closed::Opened;
use crate::tree::sink_root::{SinkRoot, obstacle};
use crate::tree::{beneath, hold, stat};

/// The ways below one root.
pub(super) struct Ways {
    root: Arc<OwnedFd>,
    device: u64,
    /// Directories that were closed to this user.
    pub(super) opened: Opened,
    kept: Mutex<Kept>,
    /// Every filesystem touched, by device, the root's first; each opened at its first use.
    filesystems: Mutex<Vec<(u64, Arc<OwnedFd>)>>,
}

struct Kept {
    dirs: Recent<RelPath, (Arc<OwnedFd>, Instant)>,
    /// Counts what may have made a way wrong, so that one resolved before is not kept after.
    changes: u64,
}

/// An open directory.
pub(super) struct Dir {
    pub(super) fd: Arc<OwnedFd>,
    /// Whether it was kept from before and may lead elsewhere by now.
    pub(super) kept: bool,
}

/// Whether a verb that failed thus is to be tried again over a way resolved anew.
pub(super) fn may_be_stale(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::STALE)
}

fn is_trusted(since: Instant) -> bool {
    since.elapsed() < Duration::from_millis(DIR_TRUST_MS)
}

impl Ways {
    pub(super) fn new(root: Arc<OwnedFd>, device: u64) -> Ways {
        let kept = Kept { dirs: Recent::new(DIR_CACHE), changes: 0 };
        let filesystems = Mutex::new(vec![(device, Arc::clone(&root))]);
        Ways { root, device, opened: Opened::default(), kept: Mutex::new(kept), filesystems }
    }

    /// The same for a dry run: no directory is opened to its owner.
    pub(super) fn never_opening(root: Arc<OwnedFd>, device: u64) -> Ways {
        Ways { opened: Opened::never(), ..Ways::new(root, device) }
    }

    pub(super) fn root(&self) -> &Arc<OwnedFd> {
        &self.root
    }

    /// The directory at a path.
    pub(super) fn dir(&self, path: &RelPath) -> Result<Dir, Obstacle> {
        if path.is_root() {
            return Ok(Dir { fd: Arc::clone(&self.root), kept: false });
        }
        let kept = hold(&self.kept).dirs.get(path);
        match kept {
            Some((fd, since)) if is_trusted(since) => Ok(Dir { fd, kept: true }),
            _ => match self.beside_kept(path) {
                Some(fd) => Ok(Dir { fd, kept: true }),
                None => Ok(Dir { fd: self.fresh(path)?, kept: false }),
            },
        }
    }

    /// The directory at a path, resolved now.
    pub(super) fn fresh(&self, path: &RelPath) -> Result<Arc<OwnedFd>, Obstacle> {
        if path.is_root() {
            return Ok(Arc::clone(&self.root));
        }
        let (changes, now) = (hold(&self.kept).changes, Instant::now());
        let fd = Arc::new(self.open(path).map_err(|errno| match errno {
            Errno::NOENT => Obstacle::NoParent,
            Errno::NOTDIR | Errno::LOOP => Obstacle::NotDir,
            _ => obstacle("Can't open the directory above", errno),
        })?);
        let stat = stat::of_fd(fd.as_fd())
            .map_err(|errno| obstacle("Can't look at the directory above", errno))?;
        self.touch(stat::device(&stat), fd.as_fd())?;
        self.keep(path, &fd, now, changes);
        Ok(fd)
    }

    /// The directory at a path that is itself what is asked for.
    pub(super) fn listed(&self, path: &RelPath) -> Result<Arc<OwnedFd>, Obstacle> {
        let missing = |found| match (found, path.parent()) {
            (Obstacle::NoParent, Some(above)) if self.fresh(&above).is_ok() => Obstacle::Missing,
            (other, _) => other,
        };
        match self.beside_kept(path) {
            Some(fd) => Ok(fd),
            None => self.fresh(path).map_err(missing),
        }
    }

    /// The directory at a path by way of the one above it, if that is kept: how deep it lies does
    /// not count then. It is trusted no longer than the one above; nothing if it can't be opened.
    fn beside_kept(&self, path: &RelPath) -> Option<Arc<OwnedFd>> {
        let (above, name) = path.split_last()?;
        let (changes, kept) = {
            let mut kept = hold(&self.kept);
            (kept.changes, kept.dirs.get(&above))
        };
        let (above, since) = kept.filter(|(_, since)| is_trusted(*since))?;
        let fd = Arc::new(beneath::open_name(above.as_fd(), &name).ok()?);
        let stat = stat::of_fd(fd.as_fd()).ok()?;
        self.touch(stat::device(&stat), fd.as_fd()).ok()?;
        self.keep(path, &fd, since, changes);
        Some(fd)
    }

    /// Keeps a way, unless it may have become wrong since `changes` were counted.
    fn keep(&self, path: &RelPath, fd: &Arc<OwnedFd>, since: Instant, changes: u64) {
        let mut kept = hold(&self.kept);
        if kept.changes == changes {
            kept.dirs.insert(path.clone(), (Arc::clone(fd), since));
        }
    }

    fn open(&self, path: &RelPath) -> Result<OwnedFd, Errno> {
        let open = || beneath::open(self.root.as_fd(), path, beneath::DIR_PATH);
        let above = path.parent().unwrap_or_default();
        match self.opened.opening(self.root.as_fd(), &[&above], &[], open) {
            Err(Errno::MFILE | Errno::NFILE) => {
                hold(&self.kept).dirs.shrink();
                open()
            }
            other => other,
        }
    }

    /// Runs a verb on a name in its directory; once more over a new way if the kept one may have
    /// been stale. The outer error is one of the way, the inner one the verb's own.
    pub(super) fn at<T>(
        &self,
        path: &RelPath,
        verb: impl Fn(BorrowedFd<'_>, &Name) -> Result<T, Errno>,
    ) -> Result<Result<T, Errno>, Obstacle> {
        let (above, name) = SinkRoot::split(path)?;
        let dir = self.dir(&above)?;
        let run = |dir: &OwnedFd| {
            let act = || verb(dir.as_fd(), &name);
            self.opened.opening(self.root.as_fd(), &[&above], &[path], act)
        };
        match run(&dir.fd) {
            Err(errno) if dir.kept && may_be_stale(errno) => Ok(run(&*self.fresh(&above)?)),
            done => Ok(done),
        }
    }

    /// Opens a directory that is held to read its names.
    pub(super) fn reader(
        &self,
        path: &RelPath,
        dir: BorrowedFd<'_>,
    ) -> Result<rustix::fs::Dir, Errno> {
        let open = || beneath::open_to_read(dir);
        self.opened.opening(self.root.as_fd(), &[path], &[], open).and_then(rustix::fs::Dir::new)
    }

    /// Drops the ways at and below a path. To be called before such a change and after it.
    pub(super) fn changed(&self, path: &RelPath) {
        let mut kept = hold(&self.kept);
        kept.changes += 1;
        kept.dirs.retain(|kept| !kept.is_at_or_below(path));
    }

    /// Notes that a filesystem was touched; its descriptor is opened before anything is written.
    pub(super) fn touch(&self, device: u64, dir: BorrowedFd<'_>) -> Result<(), Obstacle> {
        if device == self.device {
            return Ok(());
        }
        let mut filesystems = hold(&self.filesystems);
        if filesystems.iter().any(|(known, _)| *known == device) {
            return Ok(());
        }
        if filesystems.len() >= FILESYSTEMS_MAX {
            return Err(Obstacle::Other("Too many filesystems are mounted below the root".into()));
        }
        let fd = beneath::open_to_read(dir)
            .map_err(|errno| obstacle("Can't open the filesystem to make it durable", errno))?;
        filesystems.push((device, Arc::new(fd)));
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), String> {
        let filesystems = hold(&self.filesystems).clone();
        let mut result = Ok(());
        for (_, fd) in filesystems {
            if let Err(errno) = rustix::io::retry_on_intr(|| rustix::fs::syncfs(&*fd)) {
                result = Err(stat::words("Can't make the sink's filesystem durable", errno));
            }
        }
        result
    }
}
