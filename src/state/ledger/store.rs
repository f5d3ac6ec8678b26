//! The ledger on disk: an LMDB environment with four sorted tables.
//!
//! - A commit is with the kernel when it returns, and so outlives the process; it is on disk only
//!   after `sync`. What a crash of the whole host leaves is not used: see `seal`.
//! - The only home of `heed`, and of the one `unsafe` call that opening a map of a file needs.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};

use crate::model::limits::LEDGER_BYTES_MAX;
use crate::state::ledger::resident::Resident;

/// The file that LMDB maps.
pub(super) const DATA_FILE: &str = "data.mdb";

type Table = Database<Bytes, Bytes>;

/// An error of the store, in words.
pub(super) type Failed = heed::Error;

/// The tables; a clone is another handle to the same.
#[derive(Clone)]
pub(super) struct Store {
    env: Env<WithoutTls>,
    /// By set and name: a record.
    names: Table,
    /// By set and key of a name: what stands there as a directory.
    places: Table,
    /// By object, and by set and name: in which generation the name was linked to others, and where
    /// it is; of an object with several names also what the sink has of it.
    kin: Table,
    /// Single values.
    values: Table,
    resident: Arc<Resident>,
}

/// A change of the store: all of it, or nothing.
pub(super) struct Change<'a> {
    store: &'a Store,
    txn: heed::RwTxn<'a>,
}

/// A view of the store that does not change.
pub(super) struct View<'a> {
    store: &'a Store,
    txn: heed::RoTxn<'a, WithoutTls>,
}

impl Store {
    /// Opens the store in a directory, or begins one.
    pub(super) fn open(dir: &Path) -> Result<Store, Failed> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(LEDGER_BYTES_MAX).max_dbs(4).max_readers(64);
        // SAFETY: a file that is mapped must not change under us. It lies in a directory that is
        // ours alone, under the lock of its source directory, and only LMDB ever writes to it.
        // Without a sync at each commit it may be torn after a crash of the host: then it is not
        // opened any more.
        let env = unsafe {
            options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_READ_AHEAD);
            options.open(dir)?
        };
        let mut txn = env.write_txn()?;
        let names = env.create_database(&mut txn, Some("names"))?;
        let places = env.create_database(&mut txn, Some("places"))?;
        let kin = env.create_database(&mut txn, Some("kin"))?;
        let values = env.create_database(&mut txn, Some("values"))?;
        txn.commit()?;
        let resident = Arc::new(Resident::of(&dir.join(DATA_FILE)));
        Ok(Store { env, names, places, kin, values, resident })
    }

    /// Begins a change.
    pub(super) fn change(&self) -> Result<Change<'_>, Failed> {
        self.resident.bound();
        Ok(Change { store: self, txn: self.env.write_txn()? })
    }

    /// Begins to read.
    pub(super) fn view(&self) -> Result<View<'_>, Failed> {
        self.resident.bound();
        Ok(View { store: self, txn: self.env.read_txn()? })
    }

    /// Lets the pages of its file go that are in memory.
    #[cfg(test)]
    pub(super) fn let_go(&self) -> bool {
        self.resident.let_go()
    }

    /// Brings all to the disk.
    pub(super) fn sync(&self) -> Result<(), Failed> {
        self.env.force_sync()
    }
}

/// What is done with each row, and whether there is to be another.
pub(super) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, Failed> + 'a;

/// What can be read of names and of objects, in a view as well as within a change.
pub(super) trait Read {
    /// The record of a name.
    fn name(&self, key: &[u8]) -> Result<Option<&[u8]>, Failed>;

    /// What is known of an object with several names, or of one of these.
    fn kin(&self, key: &[u8]) -> Result<Option<&[u8]>, Failed>;

    /// All that is known of the names of an object, in order and after one of them, until `each`
    /// is false or fails.
    fn kin_after(&self, object: &[u8], after: &[u8], each: &mut Each<'_>) -> Result<(), Failed>;
}

/// Implements [`Read`] over the transaction that `$type` holds.
macro_rules! read_by {
    ($type:ident) => {
        impl Read for $type<'_> {
            fn name(&self, key: &[u8]) -> Result<Option<&[u8]>, Failed> {
                self.store.resident.meet_row();
                self.store.names.get(&self.txn, key)
            }

            fn kin(&self, key: &[u8]) -> Result<Option<&[u8]>, Failed> {
                self.store.resident.meet_row();
                self.store.kin.get(&self.txn, key)
            }

            fn kin_after(
                &self,
                object: &[u8],
                after: &[u8],
                each: &mut Each<'_>,
            ) -> Result<(), Failed> {
                let range = (Bound::Excluded(after), Bound::Unbounded);
                for row in self.store.kin.range(&self.txn, &range)? {
                    self.store.resident.meet_row();
                    let (key, value) = row?;
                    let Some(place) = key.strip_prefix(object) else { break };
                    // A set comes before each name; what is shorter is damaged.
                    if place.len() > size_of::<u32>() && !each(place, value)? {
                        break;
                    }
                }
                Ok(())
            }
        }
    };
}

read_by!(View);
read_by!(Change);

impl View<'_> {
    /// A single value.
    pub(super) fn value(&self, key: &str) -> Result<Option<&[u8]>, Failed> {
        self.store.values.get(&self.txn, key.as_bytes())
    }

    /// All records whose key begins so, in order, until `each` is false.
    pub(super) fn names(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Failed> {
        for row in self.store.names.prefix_iter(&self.txn, prefix)? {
            self.store.resident.meet_row();
            let (key, value) = row?;
            if !each(key, value) {
                break;
            }
        }
        Ok(())
    }

    /// The last key of a name.
    pub(super) fn last_name(&self) -> Result<Option<&[u8]>, Failed> {
        Ok(self.store.names.last(&self.txn)?.map(|(key, _)| key))
    }

    /// All directories.
    pub(super) fn places(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Failed> {
        for row in self.store.places.iter(&self.txn)? {
            self.store.resident.meet_row();
            let (key, value) = row?;
            each(key, value);
        }
        Ok(())
    }
}

impl Change<'_> {
    /// Writes the record of a name.
    pub(super) fn put_name(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failed> {
        self.store.resident.meet_row();
        self.store.names.put(&mut self.txn, key, value)
    }

    /// Forgets a name.
    pub(super) fn drop_name(&mut self, key: &[u8]) -> Result<(), Failed> {
        self.store.resident.meet_row();
        self.store.names.delete(&mut self.txn, key).map(drop)
    }

    /// Forgets all names whose key begins so.
    pub(super) fn drop_names(&mut self, prefix: &[u8; 4]) -> Result<(), Failed> {
        let end = u32::from_be_bytes(*prefix).saturating_add(1).to_be_bytes();
        let range = (Bound::Included(&prefix[..]), Bound::Excluded(&end[..]));
        self.store.names.delete_range(&mut self.txn, &range).map(drop)
    }

    /// Writes what stands at a directory's name, or forgets it.
    pub(super) fn put_place(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Failed> {
        self.store.resident.meet_row();
        match value {
            Some(value) => self.store.places.put(&mut self.txn, key, value),
            None => self.store.places.delete(&mut self.txn, key).map(drop),
        }
    }

    /// Writes what is known of an object with several names, or of one of these; or forgets it.
    pub(super) fn put_kin(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Failed> {
        self.store.resident.meet_row();
        match value {
            Some(value) => self.store.kin.put(&mut self.txn, key, value),
            None => self.store.kin.delete(&mut self.txn, key).map(drop),
        }
    }

    /// Writes what is known of one of the names of an object, unless something is known already:
    /// then gives that.
    pub(super) fn keep_kin(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        self.store.resident.meet_row();
        let known = self.store.kin.get_or_put(&mut self.txn, key, value)?;
        Ok(known.map(<[u8]>::to_vec))
    }

    /// Writes a single value.
    pub(super) fn put_value(&mut self, key: &str, value: &[u8]) -> Result<(), Failed> {
        self.store.values.put(&mut self.txn, key.as_bytes(), value)
    }

    /// All records of a set, by name, until `each` is false.
    pub(super) fn names_of(
        &self,
        set: &[u8; 4],
        each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Failed> {
        self.rows_of(&self.store.names, set, each)
    }

    /// The keys of all directories of a set, until `each` is false.
    pub(super) fn places_of(
        &self,
        set: &[u8; 4],
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Failed> {
        self.rows_of(&self.store.places, set, |key, _| each(key))
    }

    fn rows_of(
        &self,
        table: &Table,
        set: &[u8; 4],
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Failed> {
        for row in table.prefix_iter(&self.txn, set)? {
            self.store.resident.meet_row();
            let (key, value) = row?;
            if !each(&key[set.len()..], value) {
                break;
            }
        }
        Ok(())
    }

    /// Hands the change to the kernel.
    pub(super) fn commit(self) -> Result<(), Failed> {
        self.txn.commit()
    }
}
