//! Writes a journal anew with each name once, in bounded memory: by passes over the keys.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crate::model::limits::{COMPACT_BYTES_MAX, JOURNAL_GROUP_MAX};
use crate::state::offered::Offered;
use crate::state::offered::format::{self, Block, Key, Record};
use crate::state::offered::tree::SetNo;

/// Bytes that one name takes while it is sorted.
const NAME_BYTES: usize = size_of::<(SetNo, Key)>();

/// The new journal while it is written.
struct Writer {
    file: File,
    end: u64,
    block: Block,
    /// By set: where its last names stand.
    last: Vec<u64>,
    unique: u64,
}

/// Writes the journal anew beside the old one and puts it in its place.
pub(super) fn rewrite(old: &Offered) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let path = old.path.with_extension("new");
    let file = options.open(&path)?;
    let end = format::head(0).len() as u64;
    let last = vec![0; old.tree.sets()];
    let mut new = Writer { file, end, block: Block::at(end), last, unique: 0 };
    for record in old.tree.records() {
        new.push(&record)?;
    }
    let passes = 1 + old.names.saturating_mul(NAME_BYTES as u64) / COMPACT_BYTES_MAX as u64;
    for pass in 0..passes {
        new.names_of_pass(&old.file, pass, passes)?;
    }
    new.flush()?;
    new.file.write_all_at(&format::head(new.unique), 0)?;
    new.file.sync_all()?;
    std::fs::rename(&path, &old.path)?;
    Ok(new.file)
}

impl Writer {
    fn names_of_pass(&mut self, old: &File, pass: u64, passes: u64) -> io::Result<()> {
        let mut names: Vec<(SetNo, Key)> = Vec::new();
        let replayed = format::replay(old, |record, _| {
            if let Record::Names { set, keys, .. } = record {
                let mine = keys.iter().filter(|key| u64::from(bucket(key)) % passes == pass);
                names.extend(mine.map(|key| (set, *key)));
            }
            Ok(())
        })?;
        replayed.map_err(io::Error::other)?;
        names.sort_unstable();
        names.dedup();
        for of_set in names.chunk_by(|a, b| a.0 == b.0) {
            for group in of_set.chunks(JOURNAL_GROUP_MAX) {
                let set = group[0].0;
                let keys: Vec<Key> = group.iter().map(|(_, key)| *key).collect();
                let before = self.last[set as usize];
                let names = Record::Names { set, before, keys: keys.into() };
                self.last[set as usize] = self.push(&names)?;
                self.unique += group.len() as u64;
            }
        }
        Ok(())
    }

    fn push(&mut self, record: &Record<'_>) -> io::Result<u64> {
        if self.block.is_full() {
            self.flush()?;
        }
        Ok(self.block.push(record))
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(bytes) = self.block.finish() {
            self.file.write_all_at(bytes, self.end)?;
            self.end += bytes.len() as u64;
        }
        self.block = Block::at(self.end);
        Ok(())
    }
}

fn bucket(key: &Key) -> u32 {
    u32::from_le_bytes([key[0], key[1], key[2], key[3]])
}
