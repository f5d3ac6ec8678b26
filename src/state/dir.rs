//! The state directory: where it is, who may read it, how its files are replaced.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// Of root.
const SYSTEM_DIR: &str = "/var/lib/osync";
/// Mode bits that let others write.
const OTHERS_WRITE: u32 = 0o022;
/// Mode bits that let others do anything.
const OTHERS_ALL: u32 = 0o077;
/// Held while a file is read, changed and replaced.
const LOCK_FILE: &str = "lock";

/// An operator's memory.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
    /// In a dry run: files written, which stay in memory.
    aside: Option<Arc<Mutex<Aside>>>,
}

/// What a dry run has written, by the names of files.
#[derive(Debug, Default)]
struct Aside {
    files: HashMap<String, String>,
    /// Counts what was written.
    writes: u64,
}

/// How private a file has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privacy {
    /// Nobody else may write it.
    Ours,
    /// Nobody else may read it either.
    Secret,
}

/// Tells whether a file is still the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMark(Option<(u64, u64, i64, i64)>, u64);

impl StateDir {
    /// Opens the state directory and makes it if need be, for its owner alone.
    ///
    /// # Errors
    /// When it can't be made, or others may write to it.
    pub fn open(path: Option<&Path>) -> Result<StateDir, Error> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => default_path(
                rustix::process::geteuid().is_root(),
                std::env::var_os("XDG_STATE_HOME").map(PathBuf::from),
                std::env::var_os("HOME").map(PathBuf::from),
            )?,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|e| Error::disk("Can't make the state directory", &path, e))?;
        let metadata = std::fs::metadata(&path)
            .map_err(|e| Error::disk("Can't open the state directory", &path, e))?;
        if metadata.mode() & OTHERS_WRITE != 0 {
            return Err(Error::Refused(format!(
                "Others may write to the state directory \"{0}\": run: chmod 700 '{0}'",
                path.display()
            )));
        }
        Ok(StateDir { path, aside: None })
    }

    /// The state directory at a path for a dry run: it is read, if it is there, and whatever is
    /// written stays in memory, for as long as this value and its clones live.
    #[must_use]
    pub fn peek(path: &Path) -> StateDir {
        StateDir { path: path.to_owned(), aside: Some(Arc::default()) }
    }

    fn aside(&self) -> Option<MutexGuard<'_, Aside>> {
        let aside = self.aside.as_ref()?;
        Some(aside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of it is.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Does something while no other process changes a file.
    pub(super) fn locked<T>(&self, change: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        if self.aside.is_some() {
            return change();
        }
        let path = self.file(LOCK_FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::disk("Can't open", &path, e))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| Error::disk("Can't lock", &path, e))?;
        change()
    }

    /// Reads a whole file, if it is there and private enough.
    pub(super) fn read(&self, name: &str, privacy: Privacy) -> Result<Option<String>, Error> {
        if let Some(text) = self.aside().and_then(|aside| aside.files.get(name).cloned()) {
            return Ok(Some(text));
        }
        let path = self.file(name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::disk("Can't open", path, e)),
        };
        let metadata = file.metadata().map_err(|e| Error::disk("Can't read", &path, e))?;
        let (forbidden, what) = match privacy {
            Privacy::Ours => (OTHERS_WRITE, "write"),
            Privacy::Secret => (OTHERS_ALL, "read"),
        };
        if metadata.mode() & forbidden != 0 {
            return Err(Error::Refused(format!(
                "Others may {what} \"{0}\" (mode {1:04o}), so it can't be trusted: \
                 run: chmod 600 '{0}'",
                path.display(),
                metadata.mode() & 0o7777
            )));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| Error::disk("Can't read", path, e))?;
        Ok(Some(text))
    }

    /// Replaces a file in one step; it is on disk when this returns.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        if let Some(mut aside) = self.aside() {
            aside.files.insert(name.to_owned(), text.to_owned());
            aside.writes += 1;
            return Ok(());
        }
        write_private(&self.file(name), text.as_bytes())
    }

    /// What to compare to know whether a file has been replaced.
    pub(super) fn mark(&self, name: &str) -> FileMark {
        let metadata = std::fs::metadata(self.file(name)).ok();
        let writes = self.aside().map_or(0, |aside| aside.writes);
        FileMark(metadata.map(|m| (m.ino(), m.size(), m.mtime(), m.mtime_nsec())), writes)
    }
}

/// Writes a file that only its owner can read, in one step and durably.
///
/// # Errors
/// When the disk says no; the old file is then still there.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{unique}.new", std::process::id()));
    let temporary = PathBuf::from(name);
    let write = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
        // The umask may have taken from the mode, never added to it; this settles it.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        Error::disk("Can't write", path, e)
    })
}

fn default_path(
    root: bool,
    state_home: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Result<PathBuf, Error> {
    if root {
        return Ok(PathBuf::from(SYSTEM_DIR));
    }
    let absolute = |path: &PathBuf| path.is_absolute();
    state_home
        .filter(absolute)
        .or_else(|| home.filter(absolute).map(|home| home.join(".local/state")))
        .map(|base| base.join("osync"))
        .ok_or_else(|| {
            Error::Usage("There is no HOME to keep osync's state in: give --state DIR".into())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_state_lies() {
        let path = |text: &str| Some(PathBuf::from(text));
        let at = |root, state, home| default_path(root, state, home).ok();
        assert_eq!(at(true, path("/x"), path("/home/a")), path(SYSTEM_DIR));
        assert_eq!(at(false, path("/x"), path("/home/a")), path("/x/osync"));
        assert_eq!(at(false, path("x"), path("/home/a")), path("/home/a/.local/state/osync"));
        assert_eq!(at(false, None, None), None);
    }

    #[test]
    fn made_for_its_owner_alone() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        let state = StateDir::open(Some(&path)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        state.write("file", "text").unwrap();
        let file = std::fs::metadata(state.file("file")).unwrap();
        assert_eq!(file.mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        let sentence = StateDir::open(Some(&path)).unwrap_err().to_string();
        assert!(sentence.contains("chmod 700"), "{sentence}");
    }

    #[test]
    fn a_replaced_file_is_noticed() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        let none = state.mark("file");
        state.write("file", "a").unwrap();
        let first = state.mark("file");
        state.write("file", "b").unwrap();
        assert!(none != first && first != state.mark("file"));
        assert_eq!(state.mark("file"), state.mark("file"));
    }
}
