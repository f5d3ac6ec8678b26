//! Signatures of what a sink has, kept beside its ledger: one file for each name.
//!
//! They may be lost, stale or torn at any time: what is put together by one has to have the hash of
//! the whole. So nothing is synced, and what makes no sense is no signature. The oldest go when
//! there are too many.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::delta::Signature;
use crate::model::limits::{SIGNATURES_BYTES_MAX, SIGNATURES_MAX};
use crate::model::path::RelPath;

/// Bytes of the name of a file.
const NAME_BYTES: usize = 32;
/// Where one is written before it gets its name.
const PASSING: &str = "passing";

/// The signatures for one sink.
pub struct SignatureStore {
    dir: PathBuf,
    /// By name: its place in the order of writing, and its bytes.
    known: HashMap<String, (u64, u64)>,
    order: BTreeMap<u64, String>,
    bytes: u64,
    next: u64,
    bounds: Bounds,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    files: usize,
    bytes: u64,
}

impl SignatureStore {
    /// Opens those in a directory, which is made when something is first kept.
    #[must_use]
    pub fn open(dir: &Path) -> SignatureStore {
        let bounds = Bounds { files: SIGNATURES_MAX, bytes: SIGNATURES_BYTES_MAX };
        SignatureStore::bounded(dir, bounds)
    }

    fn bounded(dir: &Path, bounds: Bounds) -> SignatureStore {
        let mut store = SignatureStore {
            dir: dir.to_path_buf(),
            known: HashMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            next: 0,
            bounds,
        };
        let mut found: Vec<(SystemTime, String, u64)> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                let meta = entry.metadata().ok()?;
                let is_one = name.len() == NAME_BYTES && meta.is_file();
                is_one.then_some((meta.modified().ok()?, name, meta.len()))
            })
            .collect();
        found.sort_unstable();
        for (_, name, bytes) in found {
            store.note(name, bytes);
        }
        store.make_room(0, 0);
        store
    }

    /// What is kept for a path, if it makes sense.
    #[must_use]
    pub fn load(&self, path: &RelPath) -> Option<Arc<Signature>> {
        let name = name_of(path);
        self.known.get(&name)?;
        let bytes = fs::read(self.dir.join(name)).ok()?;
        Signature::decode(&bytes).ok().map(Arc::new)
    }

    /// Keeps a signature in place of what was kept for that path. If that fails, none is kept.
    pub fn store(&mut self, path: &RelPath, signature: &Signature) {
        let (name, bytes) = (name_of(path), signature.encode());
        self.forget(&name);
        self.make_room(1, bytes.len() as u64);
        match self.write(&name, &bytes) {
            Ok(()) => self.note(name, bytes.len() as u64),
            Err(error) => {
                tracing::debug!(%error, "a signature can't be kept");
                // What is left of an older one is stale.
                let _ = fs::remove_file(self.dir.join(&name));
            }
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let passing = self.dir.join(PASSING);
        match fs::write(&passing, bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).create(&self.dir)?;
                fs::write(&passing, bytes)?;
            }
            other => other?,
        }
        fs::rename(passing, self.dir.join(name))
    }

    fn note(&mut self, name: String, bytes: u64) {
        self.known.insert(name.clone(), (self.next, bytes));
        self.order.insert(self.next, name);
        self.next += 1;
        self.bytes += bytes;
    }

    fn forget(&mut self, name: &str) {
        if let Some((place, bytes)) = self.known.remove(name) {
            self.order.remove(&place);
            self.bytes -= bytes;
        }
    }

    /// Lets the oldest go until there is room for so many more, of so many bytes.
    fn make_room(&mut self, files: usize, bytes: u64) {
        let Bounds { files: most, bytes: most_bytes } = self.bounds;
        while self.known.len() + files > most || self.bytes + bytes > most_bytes {
            let Some((_, name)) = self.order.first_key_value() else { return };
            let name = name.clone();
            // One that can't be removed is found again by the next run.
            let _ = fs::remove_file(self.dir.join(&name));
            self.forget(&name);
        }
    }
}

/// The name of the file for a path.
fn name_of(path: &RelPath) -> String {
    blake3::hash(path.as_bytes()).to_hex()[..NAME_BYTES].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Bounds, SignatureStore, name_of};
    use crate::model::delta::{Signature, Signer};
    use crate::model::entry::FileTime;
    use crate::model::path::RelPath;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn signature(byte: u8) -> Signature {
        let mut signer = Signer::new(5_000).unwrap();
        signer.update(&[byte; 5_000]);
        signer.finish(FileTime::default()).unwrap()
    }

    #[test]
    fn a_signature_outlasts_the_process_and_damage_makes_it_none() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("signatures");
        let mut store = SignatureStore::open(&dir);
        assert!(store.load(&path("a")).is_none());
        store.store(&path("a"), &signature(1));
        store.store(&path("a"), &signature(2));
        store.store(&path("a/b"), &signature(3));
        let store = SignatureStore::open(&dir);
        assert_eq!(*store.load(&path("a")).unwrap(), signature(2));
        assert_eq!(*store.load(&path("a/b")).unwrap(), signature(3));
        let file = dir.join(name_of(&path("a")));
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert!(store.load(&path("a")).is_none());
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let home = tempfile::tempdir().unwrap();
        let bytes = signature(1).encode().len() as u64;
        for bounds in [Bounds { files: 2, bytes: u64::MAX }, Bounds { files: 9, bytes: 2 * bytes }]
        {
            let mut store = SignatureStore::bounded(home.path(), bounds);
            for name in ["a", "b", "a", "c"] {
                store.store(&path(name), &signature(1));
            }
            assert!(store.load(&path("b")).is_none());
            assert!(store.load(&path("a")).is_some() && store.load(&path("c")).is_some());
            assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2);
            assert_eq!(SignatureStore::bounded(home.path(), bounds).known.len(), 2);
        }
    }
}
