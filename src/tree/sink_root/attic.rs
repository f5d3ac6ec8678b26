//! The attic: where what osync removes or replaces is kept, in the trash of the staging directory
//! or in a directory that a person has named.
//!
//! - Each name keeps its path. A directory on the way bears what the one in the tree bore when it
//!   was made, and one that is removed what it bore then; flags are left out and, where the user is
//!   not root, its owner may always enter it.
//! - What stood at a name first is kept; what is displaced there later goes, and so does what osync
//!   itself put there lately: a name that comes and goes costs no room.
//! - What is to be displaced moves by renames alone: it is found at its name, or in the attic. A
//!   crash may leave it there under a name that begins with `.osync-`. If the attic is on another
//!   filesystem a whole copy is there first.
//! - What can't be kept is not displaced.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Statx};
use rustix::io::Errno;

use crate::error::Error;
use crate::model::attributes::Flags;
use crate::model::backup::Backup;
use crate::model::entry::{Attributes, FileTime, Identity};
use crate::model::limits::OWN_KEPT;
use crate::model::owners::OwnerMap;
use crate::model::path::{Name, RelPath};
use crate::model::target::Obstacle;
use crate::tree::keeping::Recent;
use crate::tree::sink_root::attributes::Keeps;
use crate::tree::sink_root::birth::OWN;
use crate::tree::sink_root::staging::{Filesystem, Home, Staged};
use crate::tree::sink_root::{SinkRoot, obstacle, trash};
use crate::tree::xattrs::{self, Object};
use crate::tree::{beneath, hold, stat};

/// How the names begin that objects have on their way into the attic.
const PASSING: &str = ".osync-";

/// Where things are kept, and what is not worth it.
pub(super) struct Attic {
    place: Place,
    /// What osync itself placed lately, with the time of its last change.
    own: Mutex<Recent<Identity, FileTime>>,
}

enum Place {
    Trash,
    Dir(Arc<OwnedFd>),
}

/// A free name in the attic.
pub(super) struct Slot {
    dir: OwnedFd,
    name: Name,
}

fn words(obstacle: Obstacle) -> String {
    match obstacle {
        Obstacle::Other(text) => text,
        other => format!("{other:?}"),
    }
}

fn cant_keep(errno: Errno) -> Obstacle {
    obstacle("Can't keep what stands there", errno)
}

/// Room at the sink's own filesystem would not help.
fn no_room_apart(obstacle: Obstacle) -> Obstacle {
    match obstacle {
        Obstacle::NoRoom => Obstacle::Other("No room is left in the backup directory".into()),
        other => other,
    }
}

impl SinkRoot {
    /// Keeps what is removed or replaced from now on. A directory that is missing is made.
    ///
    /// # Errors
    /// `Disk` if the directory can't be made or opened; `Refused` if this filesystem can't exchange
    /// names.
    pub fn back_up(&mut self, backup: &Backup) -> Result<(), Error> {
        let place = match backup {
            Backup::Nothing => return Ok(()),
            Backup::Trash => Place::Trash,
            Backup::Dir(path) => Place::Dir(Arc::new(open_or_make(path)?)),
        };
        self.try_exchange().map_err(|errno| {
            let text =
                "What is replaced can't be kept: names can't be exchanged on this filesystem";
            Error::Refused(stat::words(text, errno))
        })?;
        self.attic = Some(Attic { place, own: Mutex::new(Recent::new(OWN_KEPT)) });
        Ok(())
    }

    fn try_exchange(&self) -> Result<(), Errno> {
        let stage = || self.staging.file(&self.ways, OWN).map_err(|_| Errno::IO);
        let ((_, a), (_, b)) = (stage()?, stage()?);
        let (from, to) = (&a.home.dir, &b.home.dir);
        rustix::fs::renameat_with(from, &*a.name, to, &*b.name, RenameFlags::EXCHANGE)
    }

    /// Where in the attic what stands at a name is to go; nothing if it need not be kept.
    pub(super) fn slot(&self, path: &RelPath) -> Result<Option<Slot>, Obstacle> {
        let Some(attic) = &self.attic else { return Ok(None) };
        let standing = match self.ways.at(path, stat::of_name)? {
            Ok(standing) => standing,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(cant_keep(errno)),
        };
        let is_dir = stat::file_type(&standing) == FileType::Directory;
        if is_dir || attic.is_own(stat::identity(&standing), Some(stat::changed(&standing))) {
            return Ok(None);
        }
        let (above, name) = SinkRoot::split(path)?;
        let dir = match self.make_way(self.floor(attic, &above)?.as_fd(), &above) {
            // What stood there first was no directory.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            dir => dir.map_err(cant_keep)?,
        };
        match stat::of_name(dir.as_fd(), &name) {
            Err(Errno::NOENT) => {}
            Ok(_) => return Ok(None),
            Err(errno) => return Err(cant_keep(errno)),
        }
        let slot = Slot { dir, name };
        match &attic.place {
            Place::Dir(base) if self.is_apart(base, &above)? => {
                self.copy_apart(base, path, &standing, &slot).map_err(no_room_apart)?;
                Ok(None)
            }
            _ => Ok(Some(slot)),
        }
    }

    /// Whether nothing can be renamed from a directory of the tree into the attic.
    fn is_apart(&self, base: &Arc<OwnedFd>, above: &RelPath) -> Result<bool, Obstacle> {
        let filesystem = |dir| Filesystem::of_dir(dir).map_err(cant_keep);
        Ok(filesystem(self.ways.dir(above)?.fd.as_fd())? != filesystem(base.as_fd())?)
    }

    /// Copies what is to be displaced to its slot on another filesystem.
    fn copy_apart(
        &self,
        base: &Arc<OwnedFd>,
        path: &RelPath,
        standing: &Statx,
        slot: &Slot,
    ) -> Result<(), Obstacle> {
        let (above, name) = SinkRoot::split(path)?;
        let there = stat::of_fd(slot.dir.as_fd()).map_err(cant_keep)?;
        self.ways.touch(stat::device(&there), slot.dir.as_fd())?;
        let home = self.staging.home_in(base)?;
        let from = self.ways.dir(&above)?.fd;
        let mut copy = self.copy_to((from.as_fd(), &name), Some(Flags::none()), &home)?;
        let now = stat::of_name(from.as_fd(), &name).map_err(cant_keep)?;
        let seen = |stat: &Statx| (stat::identity(stat), stat::changed(stat));
        if seen(&now) != seen(standing) {
            return Err(Obstacle::Other("It changed while it was copied to be kept".into()));
        }
        slot.settle(home.dir.as_fd(), copy.name.as_bytes()).map_err(cant_keep)?;
        copy.placed = true;
        Ok(())
    }

    /// Gives a directory that is to be removed its place in the attic.
    pub(super) fn keep_dir(&self, path: &RelPath) -> Result<(), Obstacle> {
        let Some(attic) = &self.attic else { return Ok(()) };
        let (above, _) = SinkRoot::split(path)?;
        let Ok(standing) = self.ways.at(path, stat::of_name)? else { return Ok(()) };
        let is_dir = stat::file_type(&standing) == FileType::Directory;
        if !is_dir || attic.is_own(stat::identity(&standing), None) {
            return Ok(());
        }
        match self.make_way(self.floor(attic, &above)?.as_fd(), path) {
            // It is complete: what came into it has moved its times.
            Ok(kept) => self.dress_dir(kept.as_fd(), path),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(errno) => Err(cant_keep(errno)),
        }
    }

    /// Gives a directory in the attic the attributes of the one that stands in the tree. Without
    /// them it is still a copy: what can't be had is told in the log.
    fn dress_dir(&self, kept: BorrowedFd<'_>, path: &RelPath) -> Result<(), Obstacle> {
        let Ok(original) = self.ways.dir(path) else { return Ok(()) };
        let stat = stat::of_fd(original.fd.as_fd()).map_err(cant_keep)?;
        let mut meta = stat::meta(&stat);
        meta.flags = Flags::none();
        if !rustix::process::geteuid().is_root() {
            // More may come into it, and it is emptied in the end.
            meta.mode |= 0o700;
        }
        let chosen = self.keeps().carried.namespaces;
        let xattrs = xattrs::read(Object::Held(original.fd.as_fd()), &chosen).unwrap_or_default();
        let attributes = Attributes { meta, xattrs, atime: None, holes: false };
        // Its owners are those of this side already.
        let keeps = Keeps { owners: OwnerMap::default(), ..Keeps::clone(&self.keeps()) };
        let now = stat::of_fd(kept).map_err(cant_keep)?;
        let lack = keeps.set_on_object(kept, &now, &attributes).unwrap_or_else(|o| Some(words(o)));
        if let Some(lack) = lack {
            tracing::warn!(%path, "a directory is kept without some of its attributes: {lack}");
        }
        Ok(())
    }

    /// Opens a directory of the attic, made with all above it if it is missing, as they are in the
    /// tree now.
    fn make_way(&self, floor: BorrowedFd<'_>, path: &RelPath) -> Result<OwnedFd, Errno> {
        make_way(floor, path, &mut |made, path| {
            // It is told there; the way is what matters.
            let _ = self.dress_dir(made, path);
        })
    }

    /// The directory in the attic that stands for the root, for what lies in a directory.
    fn floor(&self, attic: &Attic, above: &RelPath) -> Result<OwnedFd, Obstacle> {
        match &attic.place {
            Place::Trash => {
                let home = self.staging.home_of(&self.ways, above)?;
                trash::open_or_make(home.dir.as_fd()).map_err(cant_keep)
            }
            Place::Dir(dir) => beneath::open_to_read(dir.as_fd()).map_err(cant_keep),
        }
    }

    /// Notes that osync itself made what stands at a name.
    pub(super) fn note_own(&self, path: &RelPath) {
        let Some(attic) = &self.attic else { return };
        if let Ok(Ok(stat)) = self.ways.at(path, stat::of_name) {
            hold(&attic.own).insert(stat::identity(&stat), stat::changed(&stat));
        }
    }

    /// Puts what is staged in the place of what goes to a slot; the name is never without either.
    pub(super) fn exchange_staged(
        &self,
        staged: &Staged,
        path: &RelPath,
        slot: &Slot,
    ) -> Result<Result<(), Errno>, Obstacle> {
        let passing = match self.pass(&staged.home, staged.name.as_bytes(), slot) {
            Ok(passing) => passing,
            Err(errno) => return Ok(Err(errno)),
        };
        let done = self.ways.at(path, |dir, name| slot.exchange(&passing, dir, name));
        if !matches!(done, Ok(Ok(()))) {
            // If it can't go back, it is found missing.
            let (dir, home) = (&slot.dir, &staged.home.dir);
            let _ = rustix::fs::renameat(dir, &*passing, home, &*staged.name);
        }
        done
    }

    /// Moves what is staged beside a slot; gives the name that it has there.
    fn pass(&self, home: &Arc<Home>, name: &[u8], slot: &Slot) -> Result<String, Errno> {
        loop {
            let passing = format!("{PASSING}{}", self.staging.number());
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&home.dir, name, &slot.dir, &*passing, flags) {
                Err(Errno::EXIST) => {}
                done => return done.map(|()| passing),
            }
        }
    }

    /// Moves a name over another, what stood there going to a slot.
    pub(super) fn rename_keeping(
        &self,
        from: &RelPath,
        to: &RelPath,
        slot: &Slot,
    ) -> Result<(), Obstacle> {
        self.move_names(from, to, RenameFlags::EXCHANGE)?;
        let kept = self.ways.at(from, |dir, name| slot.take(dir, name));
        if matches!(kept, Ok(Ok(()))) {
            return Ok(());
        }
        self.move_names(from, to, RenameFlags::EXCHANGE)?;
        kept?.map_err(cant_keep)
    }
}

impl Attic {
    /// Whether osync itself made an object lately, and nobody has changed it since.
    fn is_own(&self, identity: Identity, changed: Option<FileTime>) -> bool {
        let known = hold(&self.own).get(&identity);
        known.is_some_and(|known| changed.is_none_or(|changed| changed == known))
    }
}

impl Slot {
    /// Moves a name of the tree here, but for a directory.
    pub(super) fn take(&self, dir: BorrowedFd<'_>, name: &Name) -> Result<(), Errno> {
        self.settle(dir, name.as_bytes())?;
        if self.holds_dir(self.name.as_bytes()) {
            let flags = RenameFlags::NOREPLACE;
            let (from, to) = (self.name.as_bytes(), name.as_bytes());
            rustix::fs::renameat_with(&self.dir, from, dir, to, flags)?;
            return Err(Errno::ISDIR);
        }
        Ok(())
    }

    /// Exchanges what stands here under a passing name with a name of the tree, but for a
    /// directory, and keeps what came.
    fn exchange(&self, passing: &str, dir: BorrowedFd<'_>, name: &Name) -> Result<(), Errno> {
        let name = name.as_bytes();
        let exchange =
            || rustix::fs::renameat_with(&self.dir, passing, dir, name, RenameFlags::EXCHANGE);
        exchange()?;
        if self.holds_dir(passing.as_bytes()) {
            exchange()?;
            return Err(Errno::ISDIR);
        }
        if let Err(errno) = self.settle(self.dir.as_fd(), passing.as_bytes()) {
            tracing::warn!(passing, "what was replaced has a strange name in its backup: {errno}");
        }
        Ok(())
    }

    /// Gives something its name here; something else that has come first stays.
    fn settle(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(dir, name, &self.dir, self.name.as_bytes(), flags) {
            Err(Errno::EXIST) => rustix::fs::unlinkat(dir, name, AtFlags::empty()),
            done => done,
        }
    }

    fn holds_dir(&self, name: &[u8]) -> bool {
        let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

/// Opens a directory, which is made if only its last name is missing.
fn open_or_make(path: &Path) -> Result<OwnedFd, Error> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::disk("Can't make the backup directory", path, errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::disk("Can't open the backup directory", path, errno))
}

/// Opens a directory below another, made with all above it if it is missing; those made are told.
fn make_way(
    floor: BorrowedFd<'_>,
    path: &RelPath,
    made: &mut dyn FnMut(BorrowedFd<'_>, &RelPath),
) -> Result<OwnedFd, Errno> {
    match beneath::open(floor, path, beneath::DIR_PATH) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let (mut at, mut here): (Option<OwnedFd>, RelPath) = (None, RelPath::root());
    for name in path.names() {
        let above = at.as_ref().map_or(floor, AsFd::as_fd);
        here = here.join(&name);
        let is_made = match rustix::fs::mkdirat(above, name.as_bytes(), Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno),
        };
        let dir = beneath::open_name(above, &name)?;
        if is_made {
            made(dir.as_fd(), &here);
        }
        at = Some(dir);
    }
    at.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::model::entry::{Attributes, Meta};
    use crate::model::target::Target;
    use crate::tree::sink_root::Thrown;

    const STAGING: &str = ".osync-staging-0123456789abcdef";

    struct Sink {
        home: tempfile::TempDir,
        root: SinkRoot,
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    impl Sink {
        /// A sink that was filled before: names with their content.
        fn filled(names: &[(&str, &str)], trash: bool) -> Sink {
            let home = tempfile::tempdir().unwrap();
            for (name, content) in names {
                let at = home.path().join("root").join(name);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(at, content).unwrap();
            }
            let backup = home.path().join("backup");
            let backup = if trash { Backup::Trash } else { Backup::Dir(backup) };
            Sink { root: open(&home.path().join("root"), &backup).unwrap(), home }
        }

        fn at(&self, text: &str) -> PathBuf {
            self.home.path().join("root").join(text)
        }

        fn kept(&self, text: &str) -> PathBuf {
            match self.root.attic.as_ref().unwrap().place {
                Place::Trash => self.at(STAGING).join("trash").join(text),
                Place::Dir(_) => self.home.path().join("backup").join(text),
            }
        }

        fn put(&self, text: &str, content: &str) -> Result<(), Obstacle> {
            let own = fs::metadata("/proc/self").unwrap();
            let meta = Meta::plain(0o640, own.uid(), own.gid(), FileTime::default());
            let attributes = Attributes::plain(meta);
            let mut staged = self.root.stage_file(content.as_bytes(), &attributes)?;
            self.root.place(&mut staged, &path(text))
        }
    }

    fn open(root: &Path, backup: &Backup) -> Result<SinkRoot, Error> {
        let mut root = SinkRoot::open(root, STAGING, false)?;
        root.back_up(backup).map(|()| root)
    }

    #[track_caller]
    fn assert_holds(at: &Path, content: &str) {
        assert_eq!(fs::read_to_string(at).ok().as_deref(), Some(content), "{}", at.display());
    }

    #[test]
    fn what_stood_at_a_name_first_is_kept() {
        for trash in [true, false] {
            let old = [("d/replaced", "old"), ("d/removed", "gone"), ("from", "moved")];
            let sink = Sink::filled(&[&old[..], &[("to", "under")]].concat(), trash);
            let before = fs::metadata(sink.at("d/replaced")).unwrap();
            sink.put("d/replaced", "new").unwrap();
            assert_holds(&sink.at("d/replaced"), "new");
            let kept = fs::metadata(sink.kept("d/replaced")).unwrap();
            assert_eq!((kept.ino(), kept.mtime_nsec()), (before.ino(), before.mtime_nsec()));
            sink.root.unlink(&path("d/removed")).unwrap();
            sink.root.rename(&path("from"), &path("to")).unwrap();
            assert_holds(&sink.at("to"), "moved");
            assert!(!sink.at("from").exists() && !sink.at("d/removed").exists());
            // Another hand's version, which is not the first.
            fs::write(sink.at("d/replaced"), "edited").unwrap();
            sink.put("d/replaced", "newer").unwrap();
            for (name, content) in [("d/replaced", "old"), ("d/removed", "gone"), ("to", "under")] {
                assert_holds(&sink.kept(name), content);
            }
            assert!(fs::read_dir(sink.kept("d")).unwrap().count() == 2, "nothing under way");
            assert_eq!(sink.root.unlink(&path("d/none")), Err(Obstacle::Missing));
            assert_eq!(sink.root.unlink(&path("d")), Err(Obstacle::IsDir));
            assert_eq!(sink.put("d", "file"), Err(Obstacle::IsDir));
            assert_eq!(sink.put("no/file", "file"), Err(Obstacle::NoParent));
            assert_eq!(fs::read_dir(sink.at(STAGING)).unwrap().count(), usize::from(trash));
        }
    }

    #[test]
    fn what_osync_put_there_itself_is_not_kept_but_what_others_made_of_it_is() {
        let sink = Sink::filled(&[("d/old", "old")], true);
        for _ in 0..3 {
            sink.put("d/own", "comes and goes").unwrap();
        }
        sink.root.unlink(&path("d/own")).unwrap();
        sink.root.make_dir(&path("own")).unwrap();
        sink.root.remove_dir(&path("own")).unwrap();
        assert!(!sink.root.has_trash());
        sink.put("d/own", "again").unwrap();
        let changed = || {
            let stat = fs::metadata(sink.at("d/own")).unwrap();
            (stat.ctime(), stat.ctime_nsec())
        };
        let placed = changed();
        // The filesystem's clock may stand still for some milliseconds.
        while changed() == placed {
            fs::write(sink.at("d/own"), "edited by another").unwrap();
        }
        sink.put("d/own", "once more").unwrap();
        assert_holds(&sink.kept("d/own"), "edited by another");
    }

    #[test]
    fn kinds_that_change_and_directories_find_their_place() {
        let sink = Sink::filled(&[("a/b/c", "c"), ("f", "f"), ("empty/x", "x")], true);
        symlink("nowhere", sink.at("link")).unwrap();
        fs::remove_file(sink.at("empty/x")).unwrap();
        sink.root.remove_dir(&path("empty")).unwrap();
        assert!(sink.kept("empty").is_dir());
        sink.put("link", "no link").unwrap();
        assert_eq!(fs::read_link(sink.kept("link")).unwrap(), Path::new("nowhere"));
        // A file becomes a directory, and what another hand put into that goes again.
        sink.root.unlink(&path("f")).unwrap();
        sink.root.make_dir(&path("f")).unwrap();
        fs::write(sink.at("f/new"), "new").unwrap();
        sink.root.unlink(&path("f/new")).unwrap();
        sink.root.remove_dir(&path("f")).unwrap();
        assert_holds(&sink.kept("f"), "f");
        // And a directory a file.
        sink.root.unlink(&path("a/b/c")).unwrap();
        sink.root.remove_dir(&path("a/b")).unwrap();
        fs::write(sink.at("a/b"), "file").unwrap();
        sink.root.unlink(&path("a/b")).unwrap();
        assert_holds(&sink.kept("a/b/c"), "c");
    }

    #[test]
    fn directories_that_are_removed_bear_what_they_bore() {
        for trash in [true, false] {
            let sink = Sink::filled(&[("a/b/c", "c"), ("a/stays", "s")], trash);
            let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
            for (name, bits) in [("a/b", 0o2751), ("a", 0o755)] {
                fs::set_permissions(sink.at(name), fs::Permissions::from_mode(bits)).unwrap();
            }
            let before = fs::metadata(sink.at("a")).unwrap();
            sink.root.unlink(&path("a/b/c")).unwrap();
            let emptied = fs::metadata(sink.at("a/b")).unwrap();
            assert_eq!(mode(&sink.kept("a")), 0o755, "made on the way");
            sink.root.remove_dir(&path("a/b")).unwrap();
            let kept = fs::metadata(sink.kept("a/b")).unwrap();
            assert_eq!(kept.mode() & 0o7777, 0o2751);
            let times = |stat: &fs::Metadata| (stat.mtime(), stat.mtime_nsec());
            assert_eq!(times(&kept), times(&emptied));
            assert_eq!((kept.uid(), kept.gid()), (before.uid(), before.gid()));
        }
    }

    #[test]
    fn the_trash_outlasts_a_run_until_it_is_thrown_away() {
        let mut sink = Sink::filled(&[("one", "1"), ("two", "22"), ("three", "333")], true);
        sink.put("one", "new").unwrap();
        sink.root.rest();
        sink.root = open(&sink.at(""), &Backup::Trash).unwrap();
        assert_holds(&sink.kept("one"), "1");
        let deep = ["deep"; 1_000].join("/");
        let floor = trash::open_or_make(home(&sink).as_fd()).unwrap();
        make_way(floor.as_fd(), &path(&deep), &mut |_, _| ()).unwrap();
        sink.root.unlink(&path("two")).unwrap();
        sink.root.finish().unwrap();
        assert_holds(&sink.kept("two"), "22");
        // A run that keeps nothing more lets go of it nevertheless.
        let root = open(&sink.at(""), &Backup::Nothing).unwrap();
        root.unlink(&path("three")).unwrap();
        assert!(root.has_trash());
        assert_eq!(root.throw_away().unwrap(), Thrown { names: 2, bytes: 3 });
        root.finish().unwrap();
        assert_eq!(fs::read_dir(sink.at("")).unwrap().count(), 1, "one is left, and no staging");
    }

    fn home(sink: &Sink) -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(sink.at(STAGING), flags, Mode::empty()).unwrap()
    }

    #[test]
    fn the_directory_above_a_backup_directory_has_to_be_there() {
        let home = tempfile::tempdir().unwrap();
        let missing = Backup::Dir(home.path().join("no/backup"));
        assert!(matches!(open(&home.path().join("root"), &missing), Err(Error::Disk { .. })));
    }
}
