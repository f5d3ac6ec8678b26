//! The bytes of the journal: a head, then blocks of records, each with its checksum.
//!
//! Numbers are little-endian. A block is written by one call; it is whole or it is the torn tail.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::model::limits::{JOURNAL_BLOCK_MAX, JOURNAL_GROUP_MAX};
use crate::state::offered::tree::SetNo;

/// What a name is known by: the first bytes of its BLAKE3.
pub(super) type Key = [u8; KEY_BYTES];

const KEY_BYTES: usize = 16;
const MAGIC: &[u8; 16] = b"osync offered 1\n";
/// The magic, the names that were in it when it was made compact, a checksum.
const HEAD_BYTES: usize = 32;
/// Length and checksum of a block.
const BLOCK_HEAD: usize = 12;
/// Bytes after which a block is written.
const BLOCK_BYTES: usize = 1024 * 1024;
/// Kind, set, place of the record before, count.
const NAMES_HEAD: usize = 1 + 4 + 8 + 4;

const KIND_PLACE: u8 = 1;
const KIND_NAMES: u8 = 2;
const KIND_SETS: u8 = 3;

/// The key of a name.
pub(super) fn key_of(name: &[u8]) -> Key {
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&blake3::hash(name).as_bytes()[..KEY_BYTES]);
    key
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// There are as many sets.
    Sets(u32),
    /// What stands at a name in a set: a set of its own from now on, and more layers.
    Place {
        /// The set of the directory above.
        set: SetNo,
        /// The name.
        key: Key,
        /// The set that takes what is offered there.
        own: SetNo,
        /// What is laid under it besides.
        layers: Cow<'a, [SetNo]>,
    },
    /// Names that were offered.
    Names {
        /// In this set.
        set: SetNo,
        /// Where the record of names before this one stands, for the same set; 0 for nowhere.
        before: u64,
        /// The names.
        keys: Cow<'a, [Key]>,
    },
}

/// A block that is being filled.
pub(super) struct Block {
    bytes: Vec<u8>,
    start: u64,
}

impl Block {
    /// A block that will stand at this place.
    pub(super) fn at(start: u64) -> Block {
        Block { bytes: vec![0; BLOCK_HEAD], start }
    }

    /// Appends a record; says where it will stand.
    pub(super) fn push(&mut self, record: &Record<'_>) -> u64 {
        let at = self.start + self.bytes.len() as u64;
        let bytes = &mut self.bytes;
        match record {
            Record::Sets(count) => {
                bytes.push(KIND_SETS);
                bytes.extend_from_slice(&count.to_le_bytes());
            }
            Record::Place { set, key, own, layers } => {
                bytes.push(KIND_PLACE);
                bytes.extend_from_slice(&set.to_le_bytes());
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(&own.to_le_bytes());
                bytes.extend_from_slice(&(layers.len() as u32).to_le_bytes());
                for layer in layers.iter() {
                    bytes.extend_from_slice(&layer.to_le_bytes());
                }
            }
            Record::Names { set, before, keys } => {
                bytes.push(KIND_NAMES);
                bytes.extend_from_slice(&set.to_le_bytes());
                bytes.extend_from_slice(&before.to_le_bytes());
                bytes.extend_from_slice(&(keys.len() as u32).to_le_bytes());
                bytes.extend_from_slice(keys.as_flattened());
            }
        }
        at
    }

    /// Appends records.
    pub(super) fn push_all(&mut self, records: Vec<Record<'static>>) {
        for record in records {
            self.push(&record);
        }
    }

    /// Whether it is time to write it.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES
    }

    /// The bytes to write; nothing if there is no record in it.
    pub(super) fn finish(&mut self) -> Option<&[u8]> {
        let (head, payload) = self.bytes.split_at_mut(BLOCK_HEAD);
        if payload.is_empty() {
            return None;
        }
        head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[4..].copy_from_slice(&checksum(payload));
        Some(&self.bytes)
    }
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    sum
}

/// The head of a journal that holds so many names once each.
pub(super) fn head(unique: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..16].copy_from_slice(MAGIC);
    head[16..24].copy_from_slice(&unique.to_le_bytes());
    let sum = checksum(&head[..24]);
    head[24..].copy_from_slice(&sum);
    head
}

/// Reads a journal from its head to its end, or to where a crash tore it; begins an empty one.
/// Gives where it ends and the number in its head; the inner error says how it is damaged.
pub(super) fn replay(
    file: &File,
    mut each: impl FnMut(Record<'_>, u64) -> Result<(), String>,
) -> io::Result<Result<(u64, u64), String>> {
    let length = file.metadata()?.len();
    let mut at = HEAD_BYTES as u64;
    if length < at {
        file.write_all_at(&head(0), 0)?;
        return Ok(Ok((at, 0)));
    }
    let mut first = [0; HEAD_BYTES];
    file.read_exact_at(&mut first, 0)?;
    let unique = first[16..24].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    if first != head(unique) {
        return Ok(Err("it has another head".into()));
    }
    let mut payload = Vec::new();
    while at < length {
        match read_block(file, at, length, &mut payload)? {
            Found::Torn => break,
            Found::Damaged => return Ok(Err(format!("the block at {at} is damaged"))),
            Found::Whole => {}
        }
        let start = at + BLOCK_HEAD as u64;
        let mut rest = Reader { bytes: &payload, at: 0 };
        while rest.at < payload.len() {
            let place = start + rest.at as u64;
            let record = rest.record().ok_or_else(|| format!("no record at {place}"));
            if let Err(damage) = record.and_then(|record| each(record, place)) {
                return Ok(Err(damage));
            }
        }
        at = start + payload.len() as u64;
    }
    Ok(Ok((at, unique)))
}

enum Found {
    Whole,
    Torn,
    Damaged,
}

fn read_block(file: &File, at: u64, length: u64, payload: &mut Vec<u8>) -> io::Result<Found> {
    let mut head = [0; BLOCK_HEAD];
    let left = length - at;
    if left < BLOCK_HEAD as u64 {
        return Ok(Found::Torn);
    }
    file.read_exact_at(&mut head, at)?;
    let bytes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let reach = (BLOCK_HEAD + bytes) as u64;
    if bytes <= JOURNAL_BLOCK_MAX && reach > left {
        return Ok(Found::Torn);
    }
    if bytes > 0 && bytes <= JOURNAL_BLOCK_MAX {
        payload.resize(bytes, 0);
        file.read_exact_at(payload, at + BLOCK_HEAD as u64)?;
        if checksum(payload) == head[4..] {
            return Ok(Found::Whole);
        }
    }
    // After a power cut the last block may have its length, and zeros or half of its bytes.
    let torn = reach == left || is_zero(file, at, length)?;
    Ok(if torn { Found::Torn } else { Found::Damaged })
}

fn is_zero(file: &File, mut at: u64, length: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 64 * 1024];
    while at < length {
        let read = file.read_at(&mut buffer, at)?;
        if buffer[..read].iter().any(|&b| b != 0) {
            return Ok(false);
        }
        if read == 0 {
            break;
        }
        at += read as u64;
    }
    Ok(true)
}

/// Takes records off some bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn record(&mut self) -> Option<Record<'static>> {
        let [kind] = self.take()?;
        match kind {
            KIND_SETS => self.number().map(Record::Sets),
            KIND_PLACE => {
                let (set, key, own) = (self.number()?, self.take()?, self.number()?);
                let count = self.number()?;
                let layers = (0..count).map(|_| self.number()).collect::<Option<Vec<_>>>()?;
                Some(Record::Place { set, key, own, layers: layers.into() })
            }
            KIND_NAMES => {
                let set = self.number()?;
                let before = u64::from_le_bytes(self.take()?);
                let count = self.number()?;
                let keys = (0..count).map(|_| self.take()).collect::<Option<Vec<_>>>()?;
                Some(Record::Names { set, before, keys: keys.into() })
            }
            _ => None,
        }
    }
}

/// Goes through the names of a set, from the last record to the first, until `each` is false.
pub(super) fn scan_chain(
    file: &File,
    set: SetNo,
    mut at: u64,
    mut each: impl FnMut(&Key) -> bool,
) -> io::Result<()> {
    let broken = || io::Error::other("its records do not hang together");
    let mut buffer = Vec::new();
    while at != 0 {
        let mut head = [0; NAMES_HEAD];
        file.read_exact_at(&mut head, at)?;
        let mut reader = Reader { bytes: &head, at: 0 };
        let mut parts = || Some((reader.take::<1>()?, reader.number()?, reader.take()?));
        let (kind, of, before) = parts().ok_or_else(broken)?;
        let count = reader.number().ok_or_else(broken)? as usize;
        let before = u64::from_le_bytes(before);
        if kind != [KIND_NAMES] || of != set || before >= at || count > JOURNAL_GROUP_MAX {
            return Err(broken());
        }
        buffer.resize(count * KEY_BYTES, 0);
        file.read_exact_at(&mut buffer, at + NAMES_HEAD as u64)?;
        let (keys, _) = buffer.as_chunks::<KEY_BYTES>();
        if !keys.iter().all(&mut each) {
            return Ok(());
        }
        at = before;
    }
    Ok(())
}
