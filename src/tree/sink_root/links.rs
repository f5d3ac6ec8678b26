//! Hard links at the sink: one more name of an object, staged and then renamed into place, so that
//! no name is ever without what stands there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::model::attributes::Flags;
use crate::model::path::{Name, RelPath};
use crate::model::target::{Obstacle, Target};
use crate::tree::sink_root::attributes::keeping_mtime;
use crate::tree::sink_root::staging::{Home, Staged};
use crate::tree::sink_root::{SinkRoot, obstacle};
use crate::tree::{beneath, stat};

impl SinkRoot {
    /// Gives a name that is not taken to what stands at another.
    pub(super) fn link_at(
        &self,
        from: &RelPath,
        path: &RelPath,
    ) -> Result<Result<(), Errno>, Obstacle> {
        let (above, name) = SinkRoot::split(path)?;
        let dir = self.ways.dir(&above)?;
        self.ways.at(from, |at, old| {
            let (old, new) = (old.as_bytes(), name.as_bytes());
            rustix::fs::linkat(at, old, dir.fd.as_fd(), new, AtFlags::empty())
        })
    }

    /// Stages one more name, on the filesystem of the others. What refuses any change gets its
    /// flags back with that name.
    pub(super) fn link_staged(&self, from: &RelPath) -> Result<Staged, Obstacle> {
        let (flags, file) = self.sealed(from)?;
        let done = match self.link_into(&self.staging.root_home(&self.ways)?, from)? {
            Err(Errno::XDEV) => {
                let (above, _) = SinkRoot::split(from)?;
                self.link_into(&self.staging.home_of(&self.ways, &above)?, from)?
            }
            done => done,
        };
        let linked = done.map(|mut staged| {
            staged.seal = file.map(|file| (file, flags));
            staged
        });
        linked.map_err(|errno| match errno {
            Errno::MLINK | Errno::XDEV => Obstacle::NoMoreNames,
            Errno::NOENT => Obstacle::Missing,
            _ => obstacle("Can't link it", errno),
        })
    }

    /// The flags of what stands at a name, and the file, if it refuses changes by them.
    fn sealed(&self, path: &RelPath) -> Result<(Flags, Option<OwnedFd>), Obstacle> {
        let seen = self.ways.at(path, |dir, name| {
            let flags = stat::meta(&stat::of_name(dir, name)?).flags;
            if !flags.has(Flags::IMMUTABLE) && !flags.has(Flags::APPEND) {
                return Ok((flags, None));
            }
            Ok((flags, Some(beneath::open_file(dir, name)?)))
        });
        seen?.map_err(super::verbs::cant_look)
    }

    fn link_into(
        &self,
        home: &Arc<Home>,
        from: &RelPath,
    ) -> Result<Result<Staged, Errno>, Obstacle> {
        self.ways.at(from, |dir, name| {
            let link = |to: BorrowedFd<'_>, staged: &str| {
                rustix::fs::linkat(dir, name.as_bytes(), to, staged, AtFlags::empty())
            };
            self.staging.stage_in(home, link).map(|((), staged)| staged)
        })
    }

    /// Stages a copy of what stands at a name.
    pub(super) fn copy_of(&self, from: &RelPath) -> Result<Staged, Obstacle> {
        let (above, name) = SinkRoot::split(from)?;
        let dir = self.ways.fresh(&above)?;
        self.copy_to((dir.as_fd(), &name), None, &self.staging.root_home(&self.ways)?)
    }

    /// Puts a copy in the place of one of several names. Nothing that the source would tell of
    /// changes in the directory, so its times are given back.
    pub(super) fn part_copy(&self, path: &RelPath) -> Result<(), Obstacle> {
        let mut copy = self.copy_of(path)?;
        let (above, _) = SinkRoot::split(path)?;
        let dir = self.ways.fresh(&above)?;
        let placed = keeping_mtime(dir.as_fd(), || Ok(self.place(&mut copy, path)));
        placed.map_err(|errno| obstacle("Can't keep the time of its directory", errno))?
    }

    pub(super) fn are_one(&self, first: &RelPath, second: &RelPath) -> Result<bool, Obstacle> {
        let object = |path: &RelPath| {
            let stat = self.ways.at(path, |dir: BorrowedFd<'_>, name: &Name| {
                let stat = stat::of_name(dir, name)?;
                Ok((stat::device(&stat), stat.stx_ino))
            });
            stat?.map_err(super::verbs::cant_look)
        };
        let first = object(first)?;
        match object(second) {
            Ok(second) => Ok(first == second),
            Err(Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir) => Ok(false),
            Err(other) => Err(other),
        }
    }
}
