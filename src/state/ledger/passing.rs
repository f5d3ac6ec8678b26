//! A place in the temporary directory for the copy of a ledger: a dry run's, which goes with it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::state::ledger::seal::SEAL;
use crate::state::ledger::store::DATA_FILE;

/// The place; it holds the copy, and nothing deeper than that.
pub(super) struct Passing {
    place: PathBuf,
}

impl Passing {
    /// Makes a place for its owner alone, and copies a ledger to it, if there is one.
    pub(super) fn copy(ledger: &Path) -> io::Result<Passing> {
        let drawn = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let place = std::env::temp_dir().join(format!("osync-dry-run-{drawn:016x}"));
        DirBuilder::new().mode(0o700).create(&place)?;
        let passing = Passing { place };
        DirBuilder::new().mode(0o700).create(passing.ledger())?;
        for file in [DATA_FILE, SEAL] {
            match std::fs::copy(ledger.join(file), passing.ledger().join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(passing)
    }

    /// Where the copy is.
    pub(super) fn ledger(&self) -> PathBuf {
        self.place.join("ledger")
    }

    /// Removes what was copied: files in directories, as `copy` and the ledger have made them.
    fn remove(&self) -> io::Result<()> {
        for dir in std::fs::read_dir(&self.place)? {
            let dir = dir?.path();
            for file in std::fs::read_dir(&dir)? {
                std::fs::remove_file(file?.path())?;
            }
            std::fs::remove_dir(dir)?;
        }
        std::fs::remove_dir(&self.place)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            let place = self.place.display();
            tracing::warn!("The copy of a ledger stays in \"{place}\": {error}");
        }
    }
}
