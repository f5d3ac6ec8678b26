//! Looks at the source's tree: runs a [`LookJob`] and says what was seen.
//!
//! - A look goes through a descriptor of the very directory that is asked for, by identity; a path
//!   that holds another is answered [`Seen::Elsewhere`].
//! - Arming and the first part of a listing always resolve the path; single names go through a
//!   descriptor kept from before, if there is one.
//! - A directory gets its watch before its names are read.
//! - Nothing here waits for a FIFO, a lease or a device, and only regular files are opened.
//! - What the selection hides is as if it were not there: neither watched, nor looked at, nor read.

mod difference;
mod listing;
mod names;
mod transfer;
mod view;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags, Statx};
use rustix::io::Errno;

use crate::error::Error;
use crate::model::abilities::Usage;
use crate::model::attributes::{Carried, Marks};
use crate::model::delta::Signatures;
use crate::model::entry::{FileTime, Identity, Sighting};
use crate::model::limits::{LISTINGS_KEPT, LOOK_DIR_CACHE, TRANSFERS_KEPT, XATTR_BYTES_MAX};
use crate::model::look::{DirAddress, LookDone, LookJob, Seen, Task, WatchState};
use crate::model::path::RelPath;
use crate::model::selection::Selection;
use crate::model::stamp::DirKey;
use crate::tree::distant::Distances;
use crate::tree::keeping::{Recent, Shelf};
use crate::tree::watch::{Ground, Watcher};
use crate::tree::xattrs::Object;
use crate::tree::{beneath, distant, hold, stat, usage, xattrs};

use self::listing::{Listing, probe};
use self::transfer::Transfer;

/// Files that have changed so long before the source began are still probed for writers: pages of
/// a mapping that were stored to then may not have been written back yet, and a store to them
/// moves no time.
const PROBED_SECONDS: i64 = 10 * 60;

/// Looks at the tree below one root; shared by all threads that look.
pub struct Looker {
    root: Dir,
    root_path: PathBuf,
    watcher: Option<Arc<Watcher>>,
    /// What of the tree is offered.
    selection: Arc<Selection>,
    /// Which filesystems others change without an event.
    distances: Distances,
    /// Whether these are watched nevertheless.
    watches_distant: bool,
    /// Files that have changed since then are probed for writers.
    probed_since: FileTime,
    /// The attributes that are carried.
    carried: Carried,
    dirs: Mutex<Recent<DirKey, Dir>>,
    listings: Mutex<Shelf<Mutex<Listing>>>,
    transfers: Mutex<Shelf<Transfer>>,
    /// Where signatures are kept of what was sent, if differences are to be sent at all.
    signatures: Option<Arc<dyn Signatures>>,
}

/// An open directory, and what it is.
#[derive(Clone)]
struct Dir {
    fd: Arc<OwnedFd>,
    identity: Identity,
    ground: Ground,
}

/// Why a look saw nothing.
enum Unseen {
    Elsewhere,
    Unreadable(String),
}

impl From<Unseen> for Seen {
    fn from(unseen: Unseen) -> Seen {
        match unseen {
            Unseen::Elsewhere => Seen::Elsewhere,
            Unseen::Unreadable(text) => Seen::Unreadable(text),
        }
    }
}

impl Dir {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether it was removed while it was held.
    fn is_removed(&self) -> bool {
        stat::of_fd(self.fd()).is_ok_and(|stat| stat.stx_nlink == 0)
    }
}

impl Looker {
    /// Opens a root. Without a watcher every directory is unwatched.
    ///
    /// # Errors
    /// `Disk` if the root is no directory or can't be opened.
    pub fn open(root: &Path, watcher: Option<Arc<Watcher>>) -> Result<Looker, Error> {
        let failed = |errno| Error::disk("Can't open", root, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(failed)?;
        let stat = stat::of_fd(fd.as_fd()).map_err(failed)?;
        let (identity, ground) = (stat::identity(&stat), stat::ground(&stat));
        Ok(Looker {
            root: Dir { fd: Arc::new(fd), identity, ground },
            root_path: root.to_path_buf(),
            watcher,
            selection: Arc::default(),
            distances: Distances::default(),
            watches_distant: true,
            probed_since: stat::before_now(PROBED_SECONDS),
            carried: Carried::all(),
            dirs: Mutex::new(Recent::new(LOOK_DIR_CACHE)),
            listings: Mutex::new(Shelf::new(LISTINGS_KEPT)),
            transfers: Mutex::new(Shelf::new(TRANSFERS_KEPT)),
            signatures: None,
        })
    }

    /// What is used of the root's filesystem, if the root is the whole of it.
    #[must_use]
    pub fn held(&self) -> Option<Usage> {
        usage::of_whole(self.root.fd())
    }

    /// Leaves filesystems unwatched that others may change without an event: they are swept.
    #[must_use]
    pub fn sweep_distant(self) -> Looker {
        Looker { watches_distant: false, ..self }
    }

    /// Looks at these attributes alone.
    #[must_use]
    pub fn carrying(self, carried: Carried) -> Looker {
        Looker { carried, ..self }
    }

    /// Compares large files with what a sink has of them, by signatures that are kept there.
    #[must_use]
    pub fn comparing(self, signatures: Arc<dyn Signatures>) -> Looker {
        Looker { signatures: Some(signatures), ..self }
    }

    /// Sees only what is selected.
    #[must_use]
    pub fn select(self, selection: Arc<Selection>) -> Looker {
        Looker { selection, ..self }
    }

    /// What the root is.
    #[must_use]
    pub fn root_identity(&self) -> Identity {
        self.root.identity
    }

    /// Whether the path that the root was opened by still leads to it (law 9).
    #[must_use]
    pub fn root_stands(&self) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.root_path, flags, Mode::empty())
            .and_then(|fd| stat::of_fd(fd.as_fd()))
            .is_ok_and(|stat| stat::identity(&stat) == self.root.identity)
    }

    /// Lets go of a directory that left the tree: of its watch and of its descriptor, which would
    /// keep the kernel from telling that it is gone.
    pub fn forget(&self, key: DirKey) {
        hold(&self.dirs).remove(&key);
        if let Some(watcher) = &self.watcher {
            watcher.disarm(key);
        }
    }

    /// Runs one job to its end.
    #[must_use]
    pub fn run(&self, job: &LookJob) -> LookDone {
        let seen = self.look(job).unwrap_or_else(Seen::from);
        LookDone { id: job.id, seen }
    }

    fn look(&self, job: &LookJob) -> Result<Seen, Unseen> {
        let dir = &job.dir;
        match &job.task {
            Task::Arm { files_max } => self.arm_and_read(dir, *files_max),
            Task::List { listing, first: true, probe, .. } => {
                self.list_first(dir, *listing, *probe)
            }
            Task::List { listing, first: false, probe, .. } => {
                self.list_next(dir, *listing, *probe)
            }
            Task::Probe(names) => Ok(probe(&self.through(dir)?, names)),
            Task::CloseListing { listing } => {
                hold(&self.listings).take(*listing);
                Ok(Seen::Closed)
            }
            Task::Names(names) => Ok(self.look_at_names(&self.through(dir)?, &dir.path, names)),
            Task::OwnMeta => self.look_at_itself(dir),
            Task::Paths(paths) => {
                let gone = |path: &RelPath| (path.clone(), self.is_gone(path));
                Ok(Seen::Paths(paths.iter().map(gone).collect()))
            }
            Task::Chunk { transfer, offset, bytes } => self.chunk(*transfer, *offset, *bytes),
            Task::Compare { transfer, name, told } => {
                self.compare(job, *transfer, name, told.as_ref())
            }
            Task::Finish { transfer, name } => {
                let finished = self.finish(&self.through(dir)?, *transfer, name)?;
                self.keep_signature(job, *transfer, name);
                Ok(finished)
            }
            Task::CloseTransfer { transfer } => {
                hold(&self.transfers).take(*transfer);
                Ok(Seen::Closed)
            }
        }
    }

    /// A directory by a descriptor kept from before, or else by its path.
    fn through(&self, dir: &DirAddress) -> Result<Dir, Unseen> {
        if dir.path.is_root() {
            return self.root_dir(dir);
        }
        let kept = hold(&self.dirs).get(&dir.key);
        match kept {
            Some(kept) if dir.identity.is_none_or(|identity| identity == kept.identity) => Ok(kept),
            _ => self.resolve(dir),
        }
    }

    /// A directory by its path, which must hold what it should.
    fn resolve(&self, dir: &DirAddress) -> Result<Dir, Unseen> {
        if dir.path.is_root() {
            return if self.root_stands() { self.root_dir(dir) } else { Err(Unseen::Elsewhere) };
        }
        let opened = self.open_path(&dir.path, beneath::DIR_PATH).and_then(|fd| {
            let stat = stat::of_fd(fd.as_fd())?;
            let (identity, ground) = (stat::identity(&stat), stat::ground(&stat));
            Ok(Dir { fd: Arc::new(fd), identity, ground })
        });
        let found = opened.map_err(|errno| {
            if beneath::leads_nowhere(errno) {
                return Unseen::Elsewhere;
            }
            Unseen::Unreadable(stat::words("Can't open the directory", errno))
        })?;
        if dir.identity.is_some_and(|identity| identity != found.identity) {
            return Err(Unseen::Elsewhere);
        }
        // A descriptor on another filesystem would keep people from unmounting it.
        if found.identity.device == self.root.identity.device {
            hold(&self.dirs).insert(dir.key, found.clone());
        } else {
            hold(&self.dirs).remove(&dir.key);
        }
        Ok(found)
    }

    fn root_dir(&self, dir: &DirAddress) -> Result<Dir, Unseen> {
        if dir.identity.is_some_and(|identity| identity != self.root.identity) {
            return Err(Unseen::Elsewhere);
        }
        Ok(self.root.clone())
    }

    /// Opens a path beneath the root; when descriptors run out, lets go of kept ones and tries
    /// once more.
    fn open_path(&self, path: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
        match beneath::open(self.root.fd(), path, flags) {
            Err(Errno::MFILE | Errno::NFILE) => {
                hold(&self.dirs).shrink();
                beneath::open(self.root.fd(), path, flags)
            }
            other => other,
        }
    }

    fn arm(&self, dir: &Dir, key: DirKey) -> WatchState {
        if self.is_beyond(dir) {
            // Nothing in it is offered, so that no event is missed.
            return WatchState::Watched;
        }
        let distant = || self.distances.kind_of(dir.fd(), dir.ground.device);
        let kind = if self.watches_distant { None } else { distant() };
        match (&self.watcher, kind) {
            (_, Some(kind)) => WatchState::Unwatched(distant::words(kind)),
            (Some(watcher), None) => watcher.arm(dir.fd(), dir.ground, key),
            (None, None) => {
                WatchState::Unwatched("Nothing is watched: changes are found by sweeps".into())
            }
        }
    }

    fn look_at_itself(&self, address: &DirAddress) -> Result<Seen, Unseen> {
        let dir = self.through(address)?;
        let stat = stat::of_fd(dir.fd()).map_err(|errno| {
            Unseen::Unreadable(stat::words("Can't look at the directory", errno))
        })?;
        if stat.stx_nlink == 0 {
            hold(&self.dirs).remove(&address.key);
            return Err(Unseen::Elsewhere);
        }
        let mut seen = stat::sighting(&stat);
        self.dress(Object::Held(dir.fd()), &stat, &mut seen)
            .map_err(|errno| Unseen::Unreadable(no_xattrs(errno)))?;
        Ok(Seen::Own(seen))
    }

    /// Adds to a sighting what its inode alone does not tell.
    fn dress(
        &self,
        object: Object<'_>,
        stat: &Statx,
        sighting: &mut Sighting,
    ) -> Result<(), Errno> {
        sighting.xattrs = xattrs::read(object, &self.carried.namespaces)?;
        sighting.entry.meta_mut().marks = Marks::of(&sighting.xattrs);
        sighting.atime = self.carried.atimes.then(|| stat::read_last(stat));
        Ok(())
    }

    /// Whether nothing that is offered stands at a path, for certain: a name on the way is missing,
    /// is no directory, or is hidden. Any other error leaves it open.
    fn is_gone(&self, path: &RelPath) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match self.open_path(path, flags) {
            Ok(fd) => self.is_hidden(path, &fd),
            Err(errno) => beneath::leads_nowhere(errno),
        }
    }
}

/// Why extended attributes can't be carried.
fn no_xattrs(errno: Errno) -> String {
    match errno {
        Errno::TOOBIG => format!(
            "It has more than {} KiB of extended attributes, which are not carried",
            XATTR_BYTES_MAX / 1024
        ),
        _ => stat::words("Can't read its extended attributes", errno),
    }
}

#[cfg(test)]
mod tests;
