//! Writers that never rest: seeded random changes of every kind to one tree, until told to stop.
//!
//! The writers share their names, so that they meet: most operations that fail do so because
//! another writer was faster, and that is as it should be.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};

use super::whole::{try_set_acl, try_set_xattr};
use super::zoo::{Dice, content, try_set_time};

/// Running writers. Dropped, they stop.
pub(crate) struct Churn {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    writers: Vec<JoinHandle<()>>,
}

/// What a writer can do.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    /// Creates or replaces the content of a file.
    Write,
    /// Adds a line.
    Append,
    /// Changes a byte in place.
    Rewrite,
    /// Halves a file.
    Truncate,
    /// Renames whatever stands at a name, maybe onto another.
    Rename,
    /// Renames a directory.
    RenameDir,
    /// Exchanges two names or two directories.
    Exchange,
    /// Unlinks.
    Remove,
    /// Removes a directory with all that is in it.
    RemoveTree,
    /// Makes a directory, and those above it.
    MakeDirs,
    /// Makes a symlink.
    Link,
    /// Gives a file one more name.
    Name,
    /// Changes a mode.
    Chmod,
    /// Changes a time.
    Touch,
    /// File, directory and symlink take each other's place.
    ChangeKind,
    /// Keeps a file open while it changes.
    WriteSlowly,
    /// Sets or removes an extended attribute.
    Xattr,
    /// Sets an access list.
    Acl,
    /// Changes an owner; needs root.
    Chown,
    /// Makes a socket or a device; needs root.
    Node,
}

impl Verb {
    /// All of them; those that people use most stand here more than once.
    pub(crate) const ALL: &[Verb] = &[
        Verb::Write,
        Verb::Write,
        Verb::Write,
        Verb::Append,
        Verb::Rewrite,
        Verb::Truncate,
        Verb::Rename,
        Verb::Rename,
        Verb::RenameDir,
        Verb::Exchange,
        Verb::Remove,
        Verb::RemoveTree,
        Verb::MakeDirs,
        Verb::Link,
        Verb::Name,
        Verb::Chmod,
        Verb::Touch,
        Verb::ChangeKind,
        Verb::WriteSlowly,
    ];

    /// What objects with several names live through.
    pub(crate) const NAMES: &[Verb] = &[
        Verb::Name,
        Verb::Name,
        Verb::Name,
        Verb::Write,
        Verb::Append,
        Verb::Rewrite,
        Verb::Rename,
        Verb::Rename,
        Verb::RenameDir,
        Verb::Exchange,
        Verb::Remove,
        Verb::RemoveTree,
        Verb::MakeDirs,
        Verb::Chmod,
        Verb::Touch,
        Verb::Link,
    ];

    /// The same with what only root may do, and what only some filesystems hold.
    pub(crate) const WHOLE: &[Verb] = &[
        Verb::Write,
        Verb::Write,
        Verb::Append,
        Verb::Rename,
        Verb::RenameDir,
        Verb::Exchange,
        Verb::Remove,
        Verb::RemoveTree,
        Verb::MakeDirs,
        Verb::Link,
        Verb::Name,
        Verb::Chmod,
        Verb::Touch,
        Verb::ChangeKind,
        Verb::Xattr,
        Verb::Xattr,
        Verb::Acl,
        Verb::Acl,
        Verb::Chown,
        Verb::Chown,
        Verb::Node,
    ];
}

/// What a churn is made of.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Where; everything happens at or below it.
    pub(crate) root: PathBuf,
    /// The first writer's seed; the others follow.
    pub(crate) seed: u64,
    /// How many write at once.
    pub(crate) writers: u64,
    /// What they do.
    pub(crate) verbs: &'static [Verb],
    /// Rest of each writer after each operation.
    pub(crate) rest: Duration,
    /// Files that are there already and shall change too.
    pub(crate) pool: Vec<PathBuf>,
}

impl Churn {
    /// Starts the writers.
    pub(crate) fn start(plan: &Plan) -> Churn {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let writers = (0..plan.writers)
            .map(|number| {
                let (plan, stop, done) = (plan.clone(), Arc::clone(&stop), Arc::clone(&done));
                std::thread::spawn(move || {
                    let mut writer = Writer { dice: Dice::new(plan.seed + number), plan };
                    while !stop.load(Ordering::Relaxed) {
                        if writer.step().is_ok() {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        std::thread::sleep(writer.plan.rest);
                    }
                })
            })
            .collect();
        Churn { stop, done, writers }
    }

    /// Operations that have succeeded so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Stops the writers and waits for them; returns how many operations succeeded.
    pub(crate) fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            writer.join().expect("A writer never panics");
        }
        self.done()
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Writer {
    dice: Dice,
    plan: Plan,
}

impl Writer {
    /// A directory of the shared names: the root or up to three below it.
    fn dir(&mut self) -> PathBuf {
        let mut dir = self.plan.root.clone();
        for _ in 0..self.dice.below(4) {
            dir.push(format!("d{}", self.dice.below(4)));
        }
        dir
    }

    /// A shared name in a shared directory.
    fn name(&mut self) -> PathBuf {
        let dir = self.dir();
        dir.join(format!("n{}", self.dice.below(24)))
    }

    /// Anything below the root: a name or a directory.
    fn any(&mut self) -> PathBuf {
        if self.dice.below(3) == 0 { self.dir() } else { self.name() }
    }

    /// A file to change: now and then one of the pool.
    fn file(&mut self) -> PathBuf {
        if !self.plan.pool.is_empty() && self.dice.below(3) == 0 {
            let pool = std::mem::take(&mut self.plan.pool);
            let path = self.dice.pick(&pool).clone();
            self.plan.pool = pool;
            return path;
        }
        self.name()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let size = *self.dice.pick(&[0, 1, 100, 1_000, 4_096, 20_000, 300_000]);
        content(self.dice.next(), size)
    }

    /// One random operation.
    fn step(&mut self) -> io::Result<()> {
        match *self.dice.pick(self.plan.verbs) {
            Verb::Write => {
                let (path, bytes) = (self.file(), self.bytes());
                fs::write(path, bytes)
            }
            Verb::Append => {
                let path = self.file();
                OpenOptions::new().append(true).open(path)?.write_all(b"one line more\n")
            }
            Verb::Rewrite => self.rewrite_same_size(),
            Verb::Truncate => {
                let file = OpenOptions::new().write(true).open(self.file())?;
                let size = file.metadata()?.len();
                file.set_len(size / 2)
            }
            Verb::Rename => {
                let (from, to) = (self.file(), self.name());
                fs::rename(from, to)
            }
            Verb::RenameDir => self.rename_dir(),
            Verb::Exchange => self.exchange(),
            Verb::Remove => fs::remove_file(self.file()),
            Verb::RemoveTree => {
                let dir = self.dir();
                if dir == self.plan.root { Ok(()) } else { fs::remove_dir_all(dir) }
            }
            Verb::MakeDirs => fs::create_dir_all(self.dir()),
            Verb::Link => self.link(),
            Verb::Name => {
                let (from, to) = (self.file(), self.name());
                fs::hard_link(from, to)
            }
            Verb::Chmod => {
                let path = self.file();
                let mode = *self.dice.pick(&[0o600, 0o644, 0o700, 0o755, 0o4755, 0o1777]);
                refuse_symlink(&path)?;
                fs::set_permissions(path, Permissions::from_mode(mode))
            }
            Verb::Touch => self.touch(),
            Verb::ChangeKind => self.change_kind(),
            Verb::WriteSlowly => self.write_slowly(),
            Verb::Xattr => {
                let (path, value) = (self.any(), self.dice.next().to_le_bytes());
                match self.dice.below(3) {
                    0 => Ok(rustix::fs::lremovexattr(path, "user.a")?),
                    1 => try_set_xattr(&path, "user.a", &value),
                    _ => try_set_xattr(&path, "trusted.b", &value),
                }
            }
            Verb::Acl => {
                let (path, rights) = (self.any(), self.dice.below(8) as u16);
                try_set_acl(&path, 1_000 + u32::from(rights), rights)
            }
            Verb::Chown => {
                let (path, owner) = (self.any(), self.dice.below(5) as u32);
                lchown(path, Some(owner), Some(owner + 1))
            }
            Verb::Node => self.make_node(),
        }
    }

    /// Changes bytes in place; neither size nor name tells.
    fn rewrite_same_size(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.file())?;
        let size = file.metadata()?.len();
        if size == 0 {
            return Ok(());
        }
        let at = self.dice.next() % size;
        file.write_all_at(&self.dice.next().to_le_bytes()[..1], at)
    }

    fn rename_dir(&mut self) -> io::Result<()> {
        let (from, to) = (self.dir(), self.dir());
        if from == self.plan.root || to == self.plan.root {
            return Ok(());
        }
        fs::rename(from, to)
    }

    fn exchange(&mut self) -> io::Result<()> {
        let dirs = self.dice.below(2) == 0;
        let (a, b) = if dirs { (self.dir(), self.dir()) } else { (self.name(), self.name()) };
        if a == b || a == self.plan.root || b == self.plan.root {
            return Ok(());
        }
        Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
    }

    fn link(&mut self) -> io::Result<()> {
        let path = self.name();
        let target = format!("../somewhere/{}", self.dice.below(1_000));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(target, path),
        }
    }

    /// A fifo would keep the other writers waiting; nobody can write to a socket.
    fn make_node(&mut self) -> io::Result<()> {
        let path = self.name();
        let (kind, device) = match self.dice.below(2) {
            0 => (FileType::Socket, 0),
            _ => (FileType::CharacterDevice, makedev(1, 3)),
        };
        Ok(mknodat(CWD, path, kind, Mode::RUSR, device)?)
    }

    fn touch(&mut self) -> io::Result<()> {
        let path = self.file();
        let seconds = i64::try_from(self.dice.below(2_000_000_000)).unwrap_or(0);
        let nanos = u32::try_from(self.dice.below(1_000_000_000)).unwrap_or(0);
        try_set_time(&path, seconds, nanos)
    }

    /// File, directory and symlink take each other's place at one name.
    fn change_kind(&mut self) -> io::Result<()> {
        let path = self.name();
        remove_any(&path)?;
        match self.dice.below(3) {
            0 => fs::write(path, b"now a file"),
            1 => symlink("now/a/symlink", path),
            _ => {
                fs::create_dir(&path)?;
                fs::write(path.join("inside"), b"of a name that was a file")
            }
        }
    }

    /// Keeps a file open while it changes.
    fn write_slowly(&mut self) -> io::Result<()> {
        let mut file = File::create(self.file())?;
        for part in 0..4_u8 {
            file.write_all(&[part; 700])?;
            std::thread::sleep(self.plan.rest);
        }
        file.seek(SeekFrom::Start(0))?;
        file.write_all(b"begun last")
    }
}

fn refuse_symlink(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(())
}

fn remove_any(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[test]
fn a_churn_changes_things_and_stops() {
    let home = tempfile::tempdir().unwrap();
    let plan = Plan {
        root: home.path().to_owned(),
        seed: 1,
        writers: 3,
        verbs: Verb::ALL,
        rest: Duration::ZERO,
        pool: Vec::new(),
    };
    let churn = Churn::start(&plan);
    super::until_true("a thousand operations", Duration::from_secs(60), || churn.done() > 1_000);
    assert!(churn.stop() > 1_000);
    assert!(super::oracle::size(home.path()).0 > 0);
}
