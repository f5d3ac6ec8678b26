//! The last epoch of each directory: a greater one is on disk before it is used, so that no two
//! lives of a pair ever share a number.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::stamp::Epoch;
use crate::state::dir::StateDir;
use crate::state::keys::KeyRole;
use crate::state::lines::{self, Place};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    directory: Place,
    epoch: Epoch,
}

/// The last epoch that a source has granted, or that a sink has seen, for one directory.
#[derive(Debug, Clone)]
pub struct EpochStore {
    state: StateDir,
    role: KeyRole,
    directory: PathBuf,
}

impl EpochStore {
    /// The memory of one operator, by its (resolved) directory.
    #[must_use]
    pub fn new(state: &StateDir, role: KeyRole, directory: &Path) -> EpochStore {
        EpochStore { state: state.clone(), role, directory: directory.to_owned() }
    }

    /// The last one; 0 for none, or if a sink's file is damaged: that is moved aside.
    ///
    /// # Errors
    /// When the file can't be read, or a source's is damaged.
    pub fn last(&self) -> Result<Epoch, Error> {
        let all = self.load()?;
        let own = all.iter().find(|line| line.directory.is(&self.directory));
        Ok(own.map_or(Epoch(0), |line| line.epoch))
    }

    /// Draws an epoch greater than any before, and than the one that the peer remembers.
    ///
    /// # Errors
    /// When the file is damaged or can't be written, or there is no greater number.
    pub fn next(&self, peer: Epoch) -> Result<Epoch, Error> {
        self.state.locked(|| {
            let next = self.last()?.max(peer).0.checked_add(1).map(Epoch).ok_or_else(|| {
                Error::Protocol("The sink remembers an epoch beyond all numbers".into())
            })?;
            self.put(next)
        })
    }

    /// Remembers an epoch that the peer has granted. A smaller one than before changes nothing.
    ///
    /// # Errors
    /// When the file is damaged or can't be written.
    pub fn saw(&self, epoch: Epoch) -> Result<Epoch, Error> {
        self.state.locked(|| {
            let last = self.last()?;
            if epoch > last { self.put(epoch) } else { Ok(last) }
        })
    }

    fn load(&self) -> Result<Vec<Line>, Error> {
        match self.role {
            KeyRole::Source => lines::load(&self.state, self.file().0),
            // The source remembers what it has granted, and its ledger the marker and barrier of
            // the sink: a number that comes again shows as another state there (H2, H9).
            KeyRole::Sink => lines::load_dispensable(&self.state, self.file().0),
        }
    }

    fn put(&self, epoch: Epoch) -> Result<Epoch, Error> {
        let mut all = self.load()?;
        all.retain(|line| !line.directory.is(&self.directory));
        all.push(Line { directory: Place(self.directory.clone()), epoch });
        let (file, heading) = self.file();
        lines::store(&self.state, file, heading, &all)?;
        Ok(epoch)
    }

    fn file(&self) -> (&'static str, &'static str) {
        match self.role {
            KeyRole::Source => ("epochs-granted", "The last epoch granted, by source directory"),
            KeyRole::Sink => ("epochs-seen", "The last epoch seen, by sink directory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn always_greater() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        let store = || EpochStore::new(&state, KeyRole::Source, Path::new("/data"));
        assert_eq!(store().last().unwrap(), Epoch(0));
        assert_eq!(store().next(Epoch(0)).unwrap(), Epoch(1));
        assert_eq!(store().next(Epoch(7)).unwrap(), Epoch(8));
        assert_eq!(store().next(Epoch(7)).unwrap(), Epoch(9));
        assert!(store().next(Epoch(u64::MAX)).is_err());
        let other = EpochStore::new(&state, KeyRole::Sink, Path::new("/data"));
        assert_eq!(other.saw(Epoch(5)).unwrap(), Epoch(5));
        assert_eq!(other.saw(Epoch(4)).unwrap(), Epoch(5));
        assert_eq!(other.last().unwrap(), Epoch(5));
        assert_eq!(store().last().unwrap(), Epoch(9));
    }

    #[test]
    fn a_sink_goes_on_without_its_memory_and_a_source_does_not() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        for role in [KeyRole::Source, KeyRole::Sink] {
            let store = EpochStore::new(&state, role, Path::new("/data"));
            let file = state.file(store.file().0);
            state.write(store.file().0, "junk\n").unwrap();
            if role == KeyRole::Source {
                assert!(store.next(Epoch(0)).unwrap_err().to_string().contains("mend it"));
                continue;
            }
            assert_eq!(store.last().unwrap(), Epoch(0));
            assert_eq!(store.saw(Epoch(3)).unwrap(), Epoch(3));
            let aside = std::fs::read(file.with_extension("damaged")).unwrap();
            assert_eq!(aside, b"junk\n");
        }
    }
}
