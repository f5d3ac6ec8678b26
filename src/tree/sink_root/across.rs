//! Objects that go to another filesystem, staged ones and those that are to be kept: copied there,
//! with all they bear.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use crate::model::attributes::Flags;
use crate::model::entry::{Attributes, Entry};
use crate::model::owners::OwnerMap;
use crate::model::path::{Name, RelPath};
use crate::model::target::Obstacle;
use crate::tree::sink_root::attributes::Keeps;
use crate::tree::sink_root::birth::{self, OWN};
use crate::tree::sink_root::staging::{Home, Staged};
use crate::tree::sink_root::verbs::placed;
use crate::tree::sink_root::{SinkRoot, obstacle};
use crate::tree::xattrs::Object;
use crate::tree::{beneath, content, stat, xattrs};

fn failed(errno: Errno) -> Obstacle {
    obstacle("Can't copy it to the filesystem where it goes", errno)
}

impl SinkRoot {
    /// Copies what is staged to the filesystem where it goes, and renames it there.
    pub(super) fn place_across(&self, staged: &mut Staged, path: &RelPath) -> Result<(), Obstacle> {
        let (above, _) = SinkRoot::split(path)?;
        if let Some(home) = self.staging.home_for(&self.ways, &above, staged)? {
            *staged = self.copy_staged(staged, &home)?;
            match self.rename_staged(staged, path)? {
                Err(Errno::XDEV) => {}
                done => return placed(staged, done),
            }
        }
        self.staging.with_passing_home(&self.ways, &above, |home| {
            let mut copy = self.copy_staged(staged, home)?;
            let done = self.rename_staged(&copy, path)?;
            placed(&mut copy, done)
        })
        // The first copy is removed when the caller drops it.
    }

    fn copy_staged(&self, staged: &Staged, home: &Arc<Home>) -> Result<Staged, Obstacle> {
        let name = Name::new(staged.name.as_bytes())
            .map_err(|error| Obstacle::Other(error.to_string()))?;
        let flags = staged.seal.as_ref().map(|(_, flags)| *flags);
        self.copy_to((staged.home.dir.as_fd(), &name), flags, home)
    }

    /// Copies what stands at a name of a directory into a staging directory; with `flags`, it is
    /// to get these.
    pub(super) fn copy_to(
        &self,
        (from, name): (BorrowedFd<'_>, &Name),
        flags: Option<Flags>,
        home: &Arc<Home>,
    ) -> Result<Staged, Obstacle> {
        let seen = stat::of_name(from, name).map_err(failed)?;
        let entry = stat::sighting_at(from, name, &seen).map_err(failed)?.entry;
        let attributes = self.attributes_of((from, name), flags, &entry)?;
        // Its owners are those of this side already.
        let keeps = Keeps { owners: OwnerMap::default(), ..Keeps::clone(&self.keeps()) };
        match &entry {
            Entry::Symlink { target, .. } => {
                let make =
                    |dir: BorrowedFd<'_>, name: &str| rustix::fs::symlinkat(&**target, dir, name);
                let ((), copy) = self.staging.stage_in(home, make).map_err(failed)?;
                copy.dressed(&attributes, true, &keeps)
            }
            Entry::Special { device, .. } => {
                let file_type = stat::file_type(&seen);
                let make =
                    |dir: BorrowedFd<'_>, name: &str| make_node(dir, name, file_type, *device);
                let ((), copy) = self.staging.stage_in(home, make).map_err(failed)?;
                copy.dressed(&attributes, false, &keeps)
            }
            Entry::File { .. } | Entry::Dir { .. } => {
                let original = beneath::open_file(from, name).map_err(failed)?;
                let make = |dir: BorrowedFd<'_>, name: &str| birth::make(dir, name, OWN);
                let (file, copy) = self.staging.stage_in(home, make).map_err(failed)?;
                content::copy(original.as_fd(), file.as_fd()).map_err(failed)?;
                self.dress_file(file, copy, &attributes, (&keeps, None))
            }
        }
    }

    /// What an object bears, with the flags that it is to get.
    fn attributes_of(
        &self,
        (dir, name): (BorrowedFd<'_>, &Name),
        flags: Option<Flags>,
        entry: &Entry,
    ) -> Result<Attributes, Obstacle> {
        let mut meta = *entry.meta();
        meta.flags = flags.unwrap_or(meta.flags);
        let chosen = &self.keeps().carried.namespaces;
        let xattrs = xattrs::read(Object::Named(dir, name), chosen).map_err(failed)?;
        Ok(Attributes { meta, xattrs, atime: None, holes: false })
    }
}

fn make_node(
    dir: BorrowedFd<'_>,
    name: &str,
    file_type: FileType,
    device: u64,
) -> Result<(), Errno> {
    rustix::fs::mknodat(dir, name, file_type, Mode::RUSR | Mode::WUSR, device)
}
