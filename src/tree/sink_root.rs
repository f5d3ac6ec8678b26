//! The sink's tree on a real disk.
//!
//! - Every path is resolved beneath the root's descriptor; no symlink is followed anywhere, and
//!   nothing is removed recursively (laws 9 and 10).
//! - What gets a name is complete: staged, with its attributes, and renamed into place (law 11).
//! - Shared by all appliers; no lock is held while content is written, but for the one transfer
//!   that it belongs to.

mod across;
mod attic;
mod attributes;
mod birth;
mod closed;
mod differences;
mod inspection;
mod links;
mod marker;
mod probe;
mod staging;
mod transfers;
mod trash;
mod verbs;
mod ways;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::model::abilities::Abilities;
use crate::model::attributes::Carried;
use crate::model::entry::{Attributes, Entry, Identity};
use crate::model::limits::TRANSFERS_KEPT;
use crate::model::marker::Window;
use crate::model::owners::OwnerMap;
use crate::model::path::{Name, RelPath};
use crate::model::session::FreeRoom;
use crate::model::target::Obstacle;
use crate::tree::keeping::Shelf;
use crate::tree::sink_root::attic::Attic;
use crate::tree::sink_root::attributes::Keeps;
use crate::tree::sink_root::birth::Birth;
use crate::tree::sink_root::probe::Probed;
use crate::tree::sink_root::staging::Staging;
use crate::tree::sink_root::transfers::Incoming;
use crate::tree::sink_root::ways::Ways;
use crate::tree::{content, hold, stat};

pub use self::staging::Staged;
pub use self::trash::Thrown;

/// The tree below the sink's root.
pub struct SinkRoot {
    identity: Identity,
    ways: Ways,
    staging: Staging,
    abilities: Abilities,
    /// What is kept of attributes in the epoch under way.
    keeps: RwLock<Arc<Keeps>>,
    transfers: Mutex<Shelf<Mutex<Incoming>>>,
    /// When a file that was changed then may hold other content than it seems to.
    doubt: Mutex<Vec<Window>>,
    /// Whether each file is brought to the disk before it gets its name.
    sync_files: bool,
    /// Where what is removed or replaced is kept, if that is wanted.
    attic: Option<Attic>,
}

impl SinkRoot {
    /// Opens the root, which is made if only its last name is missing; empties the staging
    /// directory that an earlier run may have left, but for its marker, and tries what this
    /// filesystem keeps. With `sync_files` each file is on disk before it gets its name.
    ///
    /// # Errors
    /// `Usage` if the staging name is no name; `Disk` if the root can't be made or opened;
    /// `Refused` if nothing can be staged in it.
    pub fn open(root: &Path, staging_name: &str, sync_files: bool) -> Result<SinkRoot, Error> {
        let name = Name::new(staging_name.as_bytes())
            .map_err(|error| Error::Usage(format!("The staging name can't be used: {error}")))?;
        match rustix::fs::mkdir(root, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::disk("Can't make the directory", root, errno)),
        }
        let (identity, fd) = open_root(root)?;
        let ways = Ways::new(Arc::new(fd), identity.device);
        let staging = Staging::new(name);
        let probed = probe::probe(&staging, &ways).map_err(|obstacle| {
            // What is refused is left as it was.
            staging.leave_empty();
            let root = root.display();
            let why = match obstacle {
                Obstacle::Other(text) => text,
                Obstacle::NoRoom => "no room is left".into(),
                Obstacle::ReadOnly => "the filesystem is read-only".into(),
                other => format!("{other:?}"),
            };
            Error::Refused(format!("Can't prepare files below \"{root}\": {why}"))
        })?;
        Ok(SinkRoot::with(identity, ways, staging, probed, sync_files))
    }

    /// Opens the root for a dry run, in which nothing is changed and nothing staged. What its
    /// filesystem keeps is tried on a file without a name, as far as that tells; if the root is
    /// missing an empty directory stands for it, and the one above tells.
    ///
    /// # Errors
    /// As `open`, but for `Refused`.
    pub fn peek(root: &Path, staging_name: &str) -> Result<SinkRoot, Error> {
        let name = Name::new(staging_name.as_bytes())
            .map_err(|error| Error::Usage(format!("The staging name can't be used: {error}")))?;
        let is_missing = matches!(root.try_exists(), Ok(false));
        let tried = if is_missing { root.parent().unwrap_or(root) } else { root };
        let (_, tried) = open_root(tried)?;
        let (identity, fd) = if is_missing { open_nowhere()? } else { open_root(root)? };
        let probed = probe::guess(tried.as_fd(), &name);
        let ways = Ways::never_opening(Arc::new(fd), identity.device);
        Ok(SinkRoot::with(identity, ways, Staging::new(name), probed, false))
    }

    fn with(
        identity: Identity,
        ways: Ways,
        staging: Staging,
        probed: Probed,
        sync_files: bool,
    ) -> SinkRoot {
        SinkRoot {
            identity,
            ways,
            staging,
            abilities: probed.abilities,
            keeps: RwLock::new(Arc::new(probed.keeps)),
            transfers: Mutex::new(Shelf::new(TRANSFERS_KEPT)),
            doubt: Mutex::default(),
            sync_files,
            attic: None,
        }
    }

    /// What the root is.
    #[must_use]
    pub fn root_identity(&self) -> Identity {
        self.identity
    }

    /// What can be held here.
    #[must_use]
    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// What the source carries, and a person wants: attributes that are not among these are
    /// neither compared nor set from now on, and these owners become others.
    pub fn carry(&self, carried: &Carried, owners: &OwnerMap) {
        let mut keeps = self.keeps.write().unwrap_or_else(PoisonError::into_inner);
        let carried = self.abilities.carried.and(carried);
        *keeps = Arc::new(Keeps { carried, owners: owners.clone(), ..Keeps::clone(&keeps) });
    }

    /// From now on holes of files are written out as zeros.
    pub fn fill_holes(&self) {
        let mut keeps = self.keeps.write().unwrap_or_else(PoisonError::into_inner);
        *keeps = Arc::new(Keeps { holes: false, ..Keeps::clone(&keeps) });
    }

    fn keeps(&self) -> Arc<Keeps> {
        Arc::clone(&self.keeps.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What room there is for content, as far as the root's filesystem tells: no bytes if it has no
    /// inode left, or is read-only. None if it does not tell.
    #[must_use]
    pub fn room(&self) -> Option<FreeRoom> {
        let stat = rustix::fs::fstatvfs(self.ways.root()).ok()?;
        let is_read_only = stat.f_flag.contains(StatVfsMountFlags::RDONLY);
        let inodes = (stat.f_files > 0).then_some(stat.f_favail);
        if is_read_only || inodes == Some(0) {
            return Some(FreeRoom { bytes: 0, inodes });
        }
        // A filesystem without an end of its own does not count its blocks.
        let bytes = (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))?;
        Some(FreeRoom { bytes, inodes })
    }

    /// The name of the staging directory.
    #[must_use]
    pub fn staging_name(&self) -> &Name {
        &self.staging.name
    }

    /// Writes a part of a transfer's content; the first part makes its staged object. With `holes`
    /// blocks of zeros take no room.
    ///
    /// # Errors
    /// `NoRoom` or `Other`; the transfer is then to be given up.
    pub fn write_chunk(
        &self,
        transfer: u64,
        offset: u64,
        bytes: &[u8],
        holes: bool,
    ) -> Result<(), Obstacle> {
        self.take_in(transfer, offset, bytes, holes)
    }

    /// Gives a transfer up and removes what it staged.
    pub fn drop_transfer(&self, transfer: u64) {
        if hold(&self.transfers).take(transfer).is_none() {
            // It may be of an earlier epoch: dropped, it is removed.
            let _ = self.staging.transfer(&self.ways, transfer, false);
        }
    }

    /// Gives all transfers up.
    pub fn clear_transfers(&self) {
        drop(hold(&self.transfers).take_all());
    }

    /// Makes all that was done before this call durable, on every filesystem that was touched.
    ///
    /// # Errors
    /// A sentence; everything since the last success is then in doubt (H29).
    pub fn sync(&self) -> Result<(), String> {
        self.ways.sync()
    }

    /// Whether something that was removed or replaced is kept in a staging directory.
    #[must_use]
    pub fn has_trash(&self) -> bool {
        self.staging.has_trash(&self.ways)
    }

    /// Removes for good what was kept in the staging directories.
    ///
    /// # Errors
    /// The first obstacle met; what was not removed is still kept.
    pub fn throw_away(&self) -> Result<Thrown, Obstacle> {
        self.staging.throw_away(&self.ways)
    }

    /// Removes the staging directories, with whatever is in them but for the trash, and gives the
    /// directories that held them their times again; closes again what was closed to its owner.
    /// Later staging makes them anew.
    ///
    /// # Errors
    /// The first obstacle met; the others are removed nevertheless.
    pub fn finish(&self) -> Result<(), Obstacle> {
        self.clear_transfers();
        let finished = self.staging.finish(&self.ways);
        self.ways.opened.close(self.ways.root().as_fd());
        finished
    }

    /// Ends a run that another one goes on with: what has come of transfers stays, and directories
    /// that were opened to their owner get their modes again.
    pub fn rest(&self) {
        self.keep_transfers();
        self.ways.opened.close(self.ways.root().as_fd());
    }

    /// Brings a staged file to the disk, if that is wanted for each.
    fn sync_file(&self, file: BorrowedFd<'_>) -> Result<(), Obstacle> {
        if !self.sync_files {
            return Ok(());
        }
        rustix::fs::fsync(file).map_err(|errno| obstacle("Can't make the file durable", errno))
    }

    /// What stands at a name, with the marks of its extended attributes.
    fn entry_at(&self, dir: BorrowedFd<'_>, name: &Name) -> Result<Entry, Errno> {
        let mut entry = stat::sighting_at(dir, name, &stat::of_name(dir, name)?)?.entry;
        self.keeps().mark(dir, name, &mut entry)?;
        Ok(entry)
    }

    /// Gives a staged file its attributes, and what it gets with its name; `birth` if it was just
    /// made, and for these.
    fn dress_file(
        &self,
        file: OwnedFd,
        mut staged: Staged,
        attributes: &Attributes,
        (keeps, birth): (&Keeps, Option<Birth>),
    ) -> Result<Staged, Obstacle> {
        if !keeps.holes {
            content::fill_holes(file.as_fd())
                .map_err(|errno| obstacle("Can't write out the holes of the file", errno))?;
        }
        staged.lack = keeps.set_on_file(file.as_fd(), attributes, birth)?;
        self.sync_file(file.as_fd())?;
        let flags = keeps.flags(&attributes.meta);
        staged.seal = (!flags.is_empty()).then_some((file, flags));
        Ok(staged)
    }

    /// The name that a verb is about and the directory above it; the root is in no directory.
    fn split(path: &RelPath) -> Result<(RelPath, Name), Obstacle> {
        path.split_last().ok_or_else(|| Obstacle::Other("It is the root itself".into()))
    }
}

fn open_root(root: &Path) -> Result<(Identity, OwnedFd), Error> {
    let failed = |errno| Error::disk("Can't open", root, errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(failed)?;
    let identity = stat::identity(&stat::of_fd(fd.as_fd()).map_err(failed)?);
    Ok((identity, fd))
}

/// An empty directory at no place, and in which nothing can be made.
fn open_nowhere() -> Result<(Identity, OwnedFd), Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Error::Refused(format!("Can't draw a random number: {error}")))?;
    let passing = format!("osync-nowhere-{:016x}", u64::from_ne_bytes(random));
    let passing = std::env::temp_dir().join(passing);
    let failed = |errno| Error::disk("Can't make", &passing, errno);
    rustix::fs::mkdir(&passing, Mode::RWXU).map_err(failed)?;
    let opened = open_root(&passing);
    rustix::fs::rmdir(&passing).map_err(failed)?;
    opened
}

/// Whether an error of a look or a removal says that nothing stands at the name: it is missing, or
/// is no name that this filesystem could have.
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::ILSEQ | Errno::NAMETOOLONG)
}

/// Whether an error of giving a name says that this filesystem does not take such names.
fn is_unnameable(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG)
}

/// What an error of the system means for a verb, where it has no meaning of its own.
fn obstacle(doing: &str, errno: Errno) -> Obstacle {
    match errno {
        Errno::NOSPC | Errno::DQUOT => Obstacle::NoRoom,
        Errno::ROFS => Obstacle::ReadOnly,
        Errno::XDEV => Obstacle::Other(format!("{doing}: it is on another filesystem")),
        Errno::BUSY => Obstacle::Other(format!("{doing}: a filesystem is mounted there")),
        _ => Obstacle::Other(stat::words(doing, errno)),
    }
}

#[cfg(test)]
mod tests;
