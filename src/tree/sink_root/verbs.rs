//! The verbs of [`Target`] over a real disk.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::model::delta::Signature;
use crate::model::entry::{Attributes, Entry, Hash, Meta, SpecialKind};
use crate::model::item::Differences;
use crate::model::path::{Name, RelPath};
use crate::model::target::{Obstacle, Standing, Target};
use crate::tree::sink_root::attributes;
use crate::tree::sink_root::staging::Staged;
use crate::tree::sink_root::ways::may_be_stale;
use crate::tree::sink_root::{SinkRoot, is_absent, is_unnameable, obstacle};
use crate::tree::{beneath, content, stat};

impl Target for SinkRoot {
    type Staged = Staged;

    fn stage_file(&self, content: &[u8], attributes: &Attributes) -> Result<Staged, Obstacle> {
        let keeps = self.keeps();
        let mode = keeps.mode_at_birth(&attributes.meta);
        let (file, staged) = self.staging.file(&self.ways, mode)?;
        let write = if attributes.holes { content::write_around_holes } else { content::write_at };
        write(file.as_fd(), content, 0)
            .map_err(|errno| obstacle("Can't write to the staged file", errno))?;
        let birth = staged.home.birth;
        self.dress_file(file, staged, attributes, (&keeps, birth))
    }

    fn stage_symlink(&self, target: &[u8], attributes: &Attributes) -> Result<Staged, Obstacle> {
        let staged = self.staging.symlink(&self.ways, target)?;
        staged.dressed(attributes, true, &self.keeps())
    }

    fn stage_special(
        &self,
        kind: SpecialKind,
        device: u64,
        attributes: &Attributes,
    ) -> Result<Staged, Obstacle> {
        let staged = self.staging.special(&self.ways, kind, device)?;
        staged.dressed(attributes, false, &self.keeps())
    }

    fn lack(&self, staged: &Staged) -> Option<String> {
        staged.lack.clone()
    }

    fn take_transfer(
        &self,
        transfer: u64,
        size: u64,
        hash: &Hash,
        attributes: &Attributes,
    ) -> Result<Staged, Obstacle> {
        self.take_whole(transfer, size, hash, attributes)
    }

    fn link(&self, from: &RelPath, path: &RelPath) -> bool {
        self.link_at(from, path).is_ok_and(|linked| linked.is_ok())
    }

    fn stage_link(&self, from: &RelPath) -> Result<Staged, Obstacle> {
        self.link_staged(from)
    }

    fn stage_copy(&self, from: &RelPath) -> Result<Staged, Obstacle> {
        self.copy_of(from)
    }

    fn count_names(&self, path: &RelPath) -> Result<u64, Obstacle> {
        let count = |dir: BorrowedFd<'_>, name: &Name| stat::of_name(dir, name);
        let stat = self.ways.at(path, count)?.map_err(cant_look)?;
        Ok(u64::from(stat.stx_nlink))
    }

    fn part(&self, path: &RelPath) -> Result<(), Obstacle> {
        self.part_copy(path)
    }

    fn is_same_object(&self, first: &RelPath, second: &RelPath) -> Result<bool, Obstacle> {
        self.are_one(first, second)
    }

    fn place(&self, staged: &mut Staged, path: &RelPath) -> Result<(), Obstacle> {
        match self.rename_staged(staged, path)? {
            Err(Errno::XDEV) => self.place_across(staged, path),
            done => placed(staged, done),
        }
    }

    fn look(&self, path: &RelPath, want_hash: bool) -> Result<Standing, Obstacle> {
        if path.is_root() {
            let stat = stat::of_fd(self.ways.root().as_fd()).map_err(cant_look)?;
            return Ok(Standing { entry: stat::sighting(&stat).entry, hash: None });
        }
        let look = |dir: BorrowedFd<'_>, name: &Name| {
            if want_hash {
                return look_with_hash(dir, name);
            }
            Ok(Standing { entry: self.entry_at(dir, name)?, hash: None })
        };
        self.ways.at(path, look)?.map_err(cant_look)
    }

    fn sign(&self, path: &RelPath) -> Option<Signature> {
        self.signature_of(path)
    }

    fn is_doubtful(&self, path: &RelPath) -> bool {
        self.is_in_doubt(path)
    }

    fn make_dir(&self, path: &RelPath) -> Result<(), Obstacle> {
        if path.is_root() {
            return Err(Obstacle::Exists);
        }
        let make = |dir: BorrowedFd<'_>, name: &Name| {
            rustix::fs::mkdirat(dir, name.as_bytes(), Mode::RWXU)
        };
        self.ways.at(path, make)?.map_err(|errno| match errno {
            Errno::EXIST => Obstacle::Exists,
            Errno::NOENT => Obstacle::NoParent,
            _ if is_unnameable(errno) => Obstacle::Unnameable,
            _ => obstacle("Can't make the directory", errno),
        })?;
        self.note_own(path);
        Ok(())
    }

    fn unlink(&self, path: &RelPath) -> Result<(), Obstacle> {
        let slot = self.slot(path)?;
        let unlink = |dir: BorrowedFd<'_>, name: &Name| match &slot {
            Some(slot) => slot.take(dir, name),
            None => rustix::fs::unlinkat(dir, name.as_bytes(), AtFlags::empty()),
        };
        self.ways.at(path, unlink)?.map_err(|errno| match errno {
            Errno::ISDIR => Obstacle::IsDir,
            _ if is_absent(errno) => Obstacle::Missing,
            _ => obstacle("Can't remove it", errno),
        })
    }

    fn remove_dir(&self, path: &RelPath) -> Result<(), Obstacle> {
        self.keep_dir(path)?;
        match self.remove_empty(path) {
            // It may hold nothing but a staging directory, which `read_dir` does not show.
            Err(Obstacle::NotEmpty) if self.is_empty(path)? => {
                self.staging.clear_away(&self.ways.fresh(path)?)?;
                self.remove_empty(path)
            }
            other => other,
        }
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), Obstacle> {
        if self.are_one(from, to)? {
            // The kernel would leave both names.
            return self.unlink(from);
        }
        match self.slot(to)? {
            Some(slot) => self.rename_keeping(from, to, &slot),
            None => self.move_names(from, to, RenameFlags::empty()),
        }
    }

    fn exchange(&self, a: &RelPath, b: &RelPath) -> Result<(), Obstacle> {
        self.move_names(a, b, RenameFlags::EXCHANGE)
    }

    fn set_attributes(
        &self,
        path: &RelPath,
        attributes: &Attributes,
    ) -> Result<Option<String>, Obstacle> {
        if path.is_root() {
            self.ways.opened.settle(path);
            return self.set_on(self.ways.root().as_fd(), attributes);
        }
        let open = |dir: BorrowedFd<'_>, name: &Name| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name.as_bytes(), flags, Mode::empty())
        };
        let object = self.ways.at(path, open)?.map_err(cant_look)?;
        self.ways.opened.settle(path);
        self.set_on(object.as_fd(), attributes)
    }

    fn differences(&self, theirs: &Meta, ours: &Meta, is_symlink: bool) -> Differences {
        self.keeps().differences(theirs, ours, is_symlink)
    }

    fn read_dir(&self, path: &RelPath, each: &mut dyn FnMut(Name) -> bool) -> Result<(), Obstacle> {
        let cant_read = |errno| match errno {
            Errno::NOENT => Obstacle::Missing,
            _ => obstacle("Can't read the directory", errno),
        };
        let dir = self.ways.listed(path)?;
        let mut reader = self.ways.reader(path, dir.as_fd()).map_err(cant_read)?;
        while let Some(entry) = reader.read() {
            let entry = entry.map_err(cant_read)?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let Ok(name) = Name::new(bytes) else { continue };
            if self.staging.is_home(path, dir.as_fd(), &name) {
                continue;
            }
            if !each(name) {
                break;
            }
        }
        Ok(())
    }

    fn look_many(
        &self,
        dir: &RelPath,
        names: &[&Name],
    ) -> Result<Vec<Result<Entry, Obstacle>>, Obstacle> {
        let listed = self.ways.listed(dir)?;
        let look = |name: &Name| {
            let fd = listed.as_fd();
            let look = || self.entry_at(fd, name);
            self.ways.opened.opening(self.ways.root().as_fd(), &[dir], &[], look).map_err(cant_look)
        };
        Ok(names.iter().map(|name| look(name)).collect())
    }
}

impl SinkRoot {
    /// Renames what is staged to its name; what stood there is kept, if that is wanted.
    pub(super) fn rename_staged(
        &self,
        staged: &Staged,
        path: &RelPath,
    ) -> Result<Result<(), Errno>, Obstacle> {
        let done = match self.slot(path)? {
            Some(slot) => self.exchange_staged(staged, path, &slot)?,
            None => self.ways.at(path, |dir, name| {
                rustix::fs::renameat(&staged.home.dir, &*staged.name, dir, name.as_bytes())
            })?,
        };
        if done.is_ok() {
            self.note_own(path);
        }
        Ok(done)
    }

    fn remove_empty(&self, path: &RelPath) -> Result<(), Obstacle> {
        self.ways.changed(path);
        let removed = self
            .ways
            .at(path, |dir, name| rustix::fs::unlinkat(dir, name.as_bytes(), AtFlags::REMOVEDIR));
        self.ways.changed(path);
        removed?.map_err(|errno| match errno {
            Errno::NOENT => Obstacle::Missing,
            Errno::NOTDIR => Obstacle::NotDir,
            Errno::NOTEMPTY | Errno::EXIST => Obstacle::NotEmpty,
            _ => obstacle("Can't remove the directory", errno),
        })
    }

    pub(super) fn move_names(
        &self,
        from: &RelPath,
        to: &RelPath,
        how: RenameFlags,
    ) -> Result<(), Obstacle> {
        let (from_above, from_name) = SinkRoot::split(from)?;
        let (to_above, to_name) = SinkRoot::split(to)?;
        let changed = || {
            self.ways.changed(from);
            self.ways.changed(to);
        };
        changed();
        let (from_dir, to_dir) = (self.ways.dir(&from_above)?, self.ways.dir(&to_above)?);
        let (from_name, to_name) = (from_name.as_bytes(), to_name.as_bytes());
        // A directory that goes elsewhere is itself written to: its way up changes.
        let ways: &[&RelPath] =
            if how.contains(RenameFlags::EXCHANGE) { &[from, to] } else { &[from, &to_above] };
        let rename = |from_dir: &OwnedFd, to_dir: &OwnedFd| {
            self.ways.opened.opening(self.ways.root().as_fd(), ways, &[from, to], || {
                rustix::fs::renameat_with(from_dir, from_name, to_dir, to_name, how)
            })
        };
        let mut done = rename(&from_dir.fd, &to_dir.fd);
        if (from_dir.kept || to_dir.kept) && done.is_err_and(may_be_stale) {
            let (from_dir, to_dir) = (self.ways.fresh(&from_above)?, self.ways.fresh(&to_above)?);
            done = rename(&from_dir, &to_dir);
        }
        changed();
        done.map_err(|errno| match errno {
            Errno::NOENT => Obstacle::Missing,
            Errno::ISDIR => Obstacle::IsDir,
            Errno::NOTDIR => Obstacle::NotDir,
            Errno::NOTEMPTY | Errno::EXIST => Obstacle::NotEmpty,
            _ => obstacle("Can't move it", errno),
        })
    }

    fn set_on(
        &self,
        object: BorrowedFd<'_>,
        attributes: &Attributes,
    ) -> Result<Option<String>, Obstacle> {
        let stat = stat::of_fd(object).map_err(cant_look)?;
        if stat::file_type(&stat) == FileType::Directory {
            self.ways.touch(stat::device(&stat), object)?;
        }
        self.keeps().set_on_object(object, &stat, attributes)
    }
}

/// What renaming a staged object came to.
pub(super) fn placed(staged: &mut Staged, done: Result<(), Errno>) -> Result<(), Obstacle> {
    match done {
        Ok(()) => {
            staged.placed = true;
            match staged.seal.take() {
                Some((file, flags)) => attributes::seal(file.as_fd(), flags)
                    .map_err(|errno| obstacle("Can't set the inode flags", errno)),
                None => Ok(()),
            }
        }
        Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => Err(Obstacle::IsDir),
        Err(Errno::NOENT) => {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::statat(&staged.home.dir, &*staged.name, flags) {
                Ok(_) => Err(Obstacle::NoParent),
                Err(_) => Err(Obstacle::Other("What was prepared for it has gone".into())),
            }
        }
        Err(errno) if is_unnameable(errno) => Err(Obstacle::Unnameable),
        Err(errno) => Err(obstacle("Can't put it there", errno)),
    }
}

pub(super) fn cant_look(errno: Errno) -> Obstacle {
    if is_absent(errno) { Obstacle::Missing } else { obstacle("Can't look at it", errno) }
}

/// Looks at a name and, if it is a file, reads it for its hash.
fn look_with_hash(dir: BorrowedFd<'_>, name: &Name) -> Result<Standing, Errno> {
    let stat = stat::of_name(dir, name)?;
    if stat::file_type(&stat) != FileType::RegularFile {
        return Ok(Standing { entry: stat::sighting_at(dir, name, &stat)?.entry, hash: None });
    }
    let file = beneath::open_file(dir, name)?;
    let stat = stat::of_fd(file.as_fd())?;
    let entry = stat::sighting(&stat).entry;
    if stat::file_type(&stat) != FileType::RegularFile {
        return Ok(Standing { entry, hash: None });
    }
    let (hash, _) = content::hash_of(file.as_fd(), stat.stx_size)?;
    Ok(Standing { entry, hash: Some(hash) })
}
