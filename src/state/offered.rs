//! The journal of names offered to one sink: what it may be asked to remove (law 9, H15).
//!
//! - Append-only. What `record` was given is with the kernel before it returns, so it survives a
//!   crash of the process; a torn tail is cut off when the journal is opened.
//! - In memory are directories only: a tree of sets, see [`tree`]. Names are on disk alone, as
//!   hashes, chained for each set from the last record to the first.
//! - A name once offered stays offered at its path, also after a rename: the sink may not have
//!   followed it.

mod compact;
mod format;
mod tree;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::model::limits::JOURNAL_GROUP_MAX;
use crate::model::offer::Offer;
use crate::model::path::{Name, RelPath};

use self::format::{Block, Key, Record, key_of};
use self::tree::{Changes, SetNo, Tree};

/// Names that a journal holds at least before it is made compact.
const COMPACT_FROM: u64 = 4_096;

/// The journal for one source directory, one sink and one root of it.
pub struct Offered {
    path: PathBuf,
    file: File,
    /// Where the next block goes.
    end: u64,
    tree: Tree,
    /// Names in the journal, each counted as often as it stands there.
    names: u64,
    damage: Option<String>,
    /// The directory that was recorded in last.
    lately: Option<(Vec<u8>, SetNo)>,
}

impl Offered {
    /// Opens a journal, or begins one. A damaged one is moved aside: see [`Offered::damage`].
    ///
    /// # Errors
    /// `Disk` if the file can't be opened, read or written.
    pub fn open(path: &Path) -> Result<Offered, Error> {
        let failed = |error| Error::disk("Can't read the journal of offered names", path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        let (mut journal, unique) = match Offered::load(path, file).map_err(failed)? {
            Ok(loaded) => loaded,
            Err(damage) => {
                let aside = path.with_extension("damaged");
                std::fs::rename(path, &aside).map_err(failed)?;
                let file = options.open(path).map_err(failed)?;
                let fresh = Offered::load(path, file).map_err(failed)?;
                let (mut journal, unique) = fresh.map_err(|text| failed(io::Error::other(text)))?;
                journal.damage = Some(format!(
                    "The journal of offered names was damaged ({damage}) and moved to \"{}\": \
                     names removed at the source before now will stay at the sink",
                    aside.display()
                ));
                (journal, unique)
            }
        };
        if journal.names > 2 * unique + COMPACT_FROM {
            let compacted = compact::rewrite(&journal).map_err(failed)?;
            let loaded = Offered::load(path, compacted).map_err(failed)?;
            let (fresh, _) = loaded.map_err(|text| failed(io::Error::other(text)))?;
            journal = Offered { damage: journal.damage, ..fresh };
        }
        Ok(journal)
    }

    /// What was lost when the journal was opened, as a sentence.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// How many bytes the journal has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Writes down what is about to leave the source. Nothing of it may leave after an error.
    ///
    /// # Errors
    /// `Disk` if it can't be written; the journal is then as it was before.
    pub fn record(&mut self, offers: &[Offer]) -> Result<(), Error> {
        let failed = |path: &Path, error| {
            Error::disk("Can't write the journal of offered names", path, error)
        };
        let written = self.write(offers);
        let Err(error) = written else { return Ok(()) };
        let error = failed(&self.path, error);
        // Memory is ahead of the disk now: read it again.
        self.file.set_len(self.end).map_err(|error| failed(&self.path, error))?;
        let again = Offered::open(&self.path)?;
        let damage = self.damage.take();
        *self = Offered { damage: damage.or(again.damage), ..again };
        Err(error)
    }

    /// Which of these names were offered in a directory, in their order.
    #[must_use]
    pub fn was_offered(&self, dir: &RelPath, names: &[Name]) -> Vec<bool> {
        let keys: Vec<Key> = names.iter().map(|name| key_of(name.as_bytes())).collect();
        let sets = self.tree.sets_at(dir.as_bytes());
        let mut found: HashMap<Key, bool> = HashMap::with_capacity(keys.len());
        for key in &keys {
            found.insert(*key, sets.iter().any(|set| self.tree.has_dir(*set, key)));
        }
        let mut missing = found.values().filter(|found| !**found).count();
        for set in sets {
            if missing == 0 {
                break;
            }
            let scanned = format::scan_chain(&self.file, set, self.tree.last(set), |key| {
                if let Some(known @ false) = found.get_mut(key) {
                    *known = true;
                    missing -= 1;
                }
                missing > 0
            });
            if let Err(error) = scanned {
                let path = self.path.display();
                tracing::warn!("Can't read the journal of offered names \"{path}\": {error}");
            }
        }
        keys.iter().map(|key| found.get(key).copied().unwrap_or(false)).collect()
    }

    /// Replays a journal; the inner error says how it is damaged.
    fn load(path: &Path, file: File) -> io::Result<Result<(Offered, u64), String>> {
        let (mut tree, mut names) = (Tree::new(), 0);
        let replayed = format::replay(&file, |record, at| {
            if let Record::Names { keys, .. } = &record {
                names += keys.len() as u64;
            }
            tree.replay(&record, at)
        })?;
        let (end, unique) = match replayed {
            Ok(ends) => ends,
            Err(damage) => return Ok(Err(damage)),
        };
        // What follows was torn by a crash; the next block goes there.
        file.set_len(end)?;
        let (path, damage, lately) = (path.to_path_buf(), None, None);
        Ok(Ok((Offered { path, file, end, tree, names, damage, lately }, unique)))
    }

    fn write(&mut self, offers: &[Offer]) -> io::Result<()> {
        let mut block = Block::at(self.end);
        let mut group: Option<(SetNo, Vec<Key>)> = None;
        for offer in offers {
            if let Offer::Name(path) = offer {
                let (above, name) = split(path.as_bytes());
                let set = self.own_set(above, &mut block);
                self.put_name(set, name, &mut group, &mut block);
            } else {
                self.put_group(&mut group, &mut block);
                self.put_change(offer, &mut block);
            }
            if block.is_full() {
                self.put_group(&mut group, &mut block);
                self.flush(&mut block)?;
            }
        }
        self.put_group(&mut group, &mut block);
        self.flush(&mut block)
    }

    fn put_name(
        &mut self,
        set: SetNo,
        name: &[u8],
        group: &mut Option<(SetNo, Vec<Key>)>,
        block: &mut Block,
    ) {
        let key = key_of(name);
        match group {
            Some((of, keys)) if *of == set && keys.len() < JOURNAL_GROUP_MAX => keys.push(key),
            _ => {
                self.put_group(group, block);
                *group = Some((set, vec![key]));
            }
        }
    }

    fn put_group(&mut self, group: &mut Option<(SetNo, Vec<Key>)>, block: &mut Block) {
        if let Some((set, keys)) = group.take() {
            let before = self.tree.last(set);
            let at = block.push(&Record::Names { set, before, keys: (&keys[..]).into() });
            self.tree.set_last(set, at);
            self.names += keys.len() as u64;
        }
    }

    fn put_change(&mut self, offer: &Offer, block: &mut Block) {
        let mut changes = Changes::default();
        let mut arrived: Vec<&RelPath> = Vec::new();
        match offer {
            Offer::Name(_) => {}
            Offer::Dir(path) => {
                self.own_set(path.as_bytes(), block);
            }
            Offer::Moved { from, to } => {
                self.tree.moved(from.as_bytes(), to.as_bytes(), &mut changes);
                arrived.push(to);
            }
            Offer::Exchanged { a, b } => {
                self.tree.exchanged(a.as_bytes(), b.as_bytes(), &mut changes);
                arrived.extend([a, b]);
            }
        }
        if !arrived.is_empty() {
            self.lately = None;
        }
        block.push_all(changes);
        for path in arrived {
            // It may be a name that is no directory.
            let (above, name) = split(path.as_bytes());
            let set = self.own_set(above, block);
            let mut group = Some((set, vec![key_of(name)]));
            self.put_group(&mut group, block);
        }
    }

    /// The set that takes what is offered in a directory now.
    fn own_set(&mut self, dir: &[u8], block: &mut Block) -> SetNo {
        match &self.lately {
            Some((path, set)) if path == dir => return *set,
            _ => {}
        }
        let mut changes = Changes::default();
        let set = self.tree.own_set(dir, &mut changes);
        block.push_all(changes);
        self.lately = Some((dir.to_vec(), set));
        set
    }

    fn flush(&mut self, block: &mut Block) -> io::Result<()> {
        if let Some(bytes) = block.finish() {
            self.file.write_all_at(bytes, self.end)?;
            self.end += bytes.len() as u64;
        }
        *block = Block::at(self.end);
        Ok(())
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests;
