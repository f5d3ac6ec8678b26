//! The selection, as looks heed it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Statx};

use crate::model::op::Listed;
use crate::model::path::{Name, RelPath};
use crate::tree::looker::{Dir, Looker};
use crate::tree::stat;

impl Looker {
    /// Whether a directory lies on another filesystem than the root, and stays empty for that.
    pub(super) fn is_beyond(&self, dir: &Dir) -> bool {
        self.selection.bounds().one_filesystem && dir.identity.device != self.root.identity.device
    }

    /// Whether a rule hides what an entry is said to be; of one whose kind is not known, whatever
    /// it is.
    pub(super) fn hides(&self, dir: &RelPath, name: &Name, kind: FileType) -> bool {
        match kind {
            FileType::Unknown => self.selection.hides_any(dir, name),
            kind => self.selection.hides(dir, name, kind == FileType::Directory),
        }
    }

    /// Whether what stands at a name is offered.
    pub(super) fn offers(&self, dir: &RelPath, listed: &Listed) -> bool {
        !self.selection.hides(dir, &listed.name, listed.entry.is_dir())
            && !self.selection.withholds(&listed.entry)
    }

    /// Whether what stands at a name is withheld, for its size or its kind.
    pub(super) fn withholds(&self, stat: &Statx) -> bool {
        let kinds = self.selection.bounds().kinds;
        match stat::file_type(stat) {
            FileType::RegularFile => self.selection.withholds_size(stat.stx_size),
            FileType::Symlink => kinds.symlinks,
            FileType::CharacterDevice | FileType::BlockDevice => kinds.devices,
            FileType::Fifo | FileType::Socket => kinds.specials,
            FileType::Directory | FileType::Unknown => false,
        }
    }

    /// Whether what stands at a path is hidden, or a directory above it.
    pub(super) fn is_hidden(&self, path: &RelPath, fd: &OwnedFd) -> bool {
        self.selection.has_rules()
            && stat::of_fd(fd.as_fd()).is_ok_and(|stat| {
                let is_dir = stat::file_type(&stat) == FileType::Directory;
                self.selection.hides_path(path, is_dir)
            })
    }
}
