//! The bytes of a record: a tag, then numbers in as few bytes as they need.

use crate::model::entry::{FileTime, Hash, Identity};
use crate::model::ledger::{Facts, Kind, Moment, Proof, Record, Step};
use crate::model::stamp::{Epoch, Stamp};

const OFFERED: u8 = 0;
const APPLIED: u8 = 1;
const GONE: u8 = 2;
const STEP: u8 = 0b0000_0011;
const KIND_SHIFT: u8 = 2;
const RACY: u8 = 0b0001_0000;
const HASH: u8 = 0b0010_0000;
const STALE: u8 = 0b0100_0000;
const LINKED: u8 = 0b1000_0000;

/// Writes a record.
pub(super) fn encode(record: &Record, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.push(tag(&record.step));
    put(bytes, u128::from(record.epoch.0));
    put(bytes, u128::from(record.stamp.0));
    if let Some(report) = record.step.report() {
        put(bytes, u128::from(report));
    }
    if let Step::Offered { kin: Some(kin) } = &record.step {
        put_identity(bytes, kin);
    }
    let Step::Applied { facts, proof, .. } = &record.step else { return };
    put_identity(bytes, &facts.identity);
    put(bytes, u128::from(facts.size));
    for time in [facts.mtime, facts.ctime] {
        put_signed(bytes, i128::from(time.seconds));
        put(bytes, u128::from(time.nanos));
    }
    if let Some(hash) = proof.hash() {
        bytes.extend_from_slice(&hash.0);
    }
}

/// Writes of a name of an object in which generation it was linked to others, if it was, and its
/// directory at the source.
pub(super) fn encode_link(link: &Link, bytes: &mut Vec<u8>) {
    bytes.clear();
    let (epoch, stamp) = link.joined.unwrap_or_default();
    put(bytes, u128::from(epoch.0));
    put(bytes, u128::from(stamp.0));
    put_identity(bytes, &link.home);
}

/// Reads one back; nothing if the bytes are none.
pub(super) fn decode_link(bytes: &[u8]) -> Option<Link> {
    let mut rest = Rest(bytes);
    let joined = (Epoch(rest.number()?), Stamp(rest.number()?));
    let home = rest.identity()?;
    let joined = Some(joined).filter(|joined| *joined != Moment::default());
    rest.0.is_empty().then_some(Link { joined, home })
}

/// One name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// The generation of the object at the sink that it is a name of; nothing if it is none yet.
    pub(super) joined: Option<Moment>,
    /// The directory at the source that it is in.
    pub(super) home: Identity,
}

fn put_identity(bytes: &mut Vec<u8>, identity: &Identity) {
    put(bytes, u128::from(identity.device));
    put(bytes, u128::from(identity.inode));
    put_signed(bytes, identity.birth);
}

fn tag(step: &Step) -> u8 {
    match step {
        Step::Offered { kin } => OFFERED | if kin.is_some() { LINKED } else { 0 },
        Step::Gone { .. } => GONE,
        Step::Applied { facts, proof, .. } => {
            let kind = match facts.kind {
                Kind::File => 0,
                Kind::Dir => 1,
                Kind::Symlink => 2,
                Kind::Special => 3,
            };
            let proved = match proof {
                Proof::None => 0,
                Proof::Stale(_) => HASH | STALE,
                Proof::Agreed(_) => HASH,
            };
            let linked = if facts.has_others { LINKED } else { 0 };
            let racy = if facts.is_young { RACY } else { 0 };
            APPLIED | (kind << KIND_SHIFT) | racy | proved | linked
        }
    }
}

/// Reads a record; nothing if the bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    let (&tag, rest) = bytes.split_first()?;
    let mut rest = Rest(rest);
    let (epoch, stamp) = (Epoch(rest.number()?), Stamp(rest.number()?));
    let step = match tag & STEP {
        OFFERED if tag & LINKED == 0 => Step::Offered { kin: None },
        OFFERED => Step::Offered { kin: Some(rest.identity()?) },
        GONE => Step::Gone { report: rest.number()? },
        APPLIED => rest.applied(tag)?,
        _ => return None,
    };
    rest.0.is_empty().then_some(Record { epoch, stamp, step })
}

/// Seven bits in each byte, the lowest first; the eighth tells that more follow.
fn put(bytes: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The sign goes to the lowest bit, so that small numbers of either sign are short.
fn put_signed(bytes: &mut Vec<u8>, number: i128) {
    put(bytes, ((number << 1) ^ (number >> 127)) as u128);
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn wide(&mut self) -> Option<u128> {
        let (mut number, mut shift) = (0u128, 0);
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u128::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn number(&mut self) -> Option<u64> {
        self.wide()?.try_into().ok()
    }

    fn signed(&mut self) -> Option<i128> {
        let number = self.wide()?;
        Some((number >> 1) as i128 ^ -((number & 1) as i128))
    }

    fn time(&mut self) -> Option<FileTime> {
        let seconds = self.signed()?.try_into().ok()?;
        Some(FileTime { seconds, nanos: self.number()?.try_into().ok()? })
    }

    fn identity(&mut self) -> Option<Identity> {
        Some(Identity { device: self.number()?, inode: self.number()?, birth: self.signed()? })
    }

    fn applied(&mut self, tag: u8) -> Option<Step> {
        let report = self.number()?;
        let identity = self.identity()?;
        let kind = match (tag >> KIND_SHIFT) & 3 {
            0 => Kind::File,
            1 => Kind::Dir,
            2 => Kind::Symlink,
            _ => Kind::Special,
        };
        let (size, mtime, ctime) = (self.number()?, self.time()?, self.time()?);
        let (is_young, has_others) = (tag & RACY != 0, tag & LINKED != 0);
        let home = None;
        let facts = Facts { identity, kind, size, mtime, ctime, is_young, has_others, home };
        let proof = if tag & HASH == 0 {
            Proof::None
        } else {
            let (hash, rest) = self.0.split_first_chunk::<32>()?;
            self.0 = rest;
            if tag & STALE == 0 { Proof::Agreed(Hash(*hash)) } else { Proof::Stale(Hash(*hash)) }
        };
        Some(Step::Applied { report, facts, proof })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Link, decode, decode_link, encode, encode_link};
    use crate::model::entry::{FileTime, Hash, Identity};
    use crate::model::ledger::{Facts, Kind, Proof, Record, Step};
    use crate::model::stamp::{Epoch, Stamp};

    fn time() -> impl Strategy<Value = FileTime> {
        (any::<i64>(), 0..1_000_000_000u32).prop_map(|(seconds, nanos)| FileTime { seconds, nanos })
    }

    fn identity() -> impl Strategy<Value = Identity> {
        (any::<u64>(), any::<u64>(), any::<i128>()).prop_map(|(device, inode, birth)| Identity {
            device,
            inode,
            birth,
        })
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let kinds = [Kind::File, Kind::Dir, Kind::Symlink, Kind::Special];
        let flags = (any::<bool>(), any::<bool>());
        (identity(), 0..4usize, any::<u64>(), time(), time(), flags).prop_map(
            move |(identity, kind, size, mtime, ctime, (is_young, has_others))| Facts {
                identity,
                kind: kinds[kind],
                size,
                mtime,
                ctime,
                is_young,
                has_others,
                home: None,
            },
        )
    }

    fn record() -> impl Strategy<Value = Record> {
        let proof = prop_oneof![
            Just(Proof::None),
            any::<[u8; 32]>().prop_map(|hash| Proof::Stale(Hash(hash))),
            any::<[u8; 32]>().prop_map(|hash| Proof::Agreed(Hash(hash))),
        ];
        let step = prop_oneof![
            proptest::option::of(identity()).prop_map(|kin| Step::Offered { kin }),
            any::<u64>().prop_map(|report| Step::Gone { report }),
            (any::<u64>(), facts(), proof).prop_map(|(report, facts, proof)| Step::Applied {
                report,
                facts,
                proof
            }),
        ];
        (any::<u64>(), any::<u64>(), step).prop_map(|(epoch, stamp, step)| Record {
            epoch: Epoch(epoch),
            stamp: Stamp(stamp),
            step,
        })
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(record in record()) {
            let mut bytes = Vec::new();
            encode(&record, &mut bytes);
            prop_assert_eq!(decode(&bytes), Some(record));
            prop_assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn a_link_comes_back_as_it_was(
            home in identity(),
            joined in proptest::option::of((1..u64::MAX, 1..u64::MAX)),
        ) {
            let joined = joined.map(|(epoch, stamp)| (Epoch(epoch), Stamp(stamp)));
            let (link, mut bytes) = (Link { joined, home }, Vec::new());
            encode_link(&link, &mut bytes);
            prop_assert_eq!(decode_link(&bytes), Some(link));
            prop_assert_eq!(decode_link(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn other_bytes_are_no_record(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            // Whatever they are: they are read without harm, and what is read can be written.
            if let Some(record) = decode(&bytes) {
                let mut again = Vec::new();
                encode(&record, &mut again);
                prop_assert_eq!(decode(&again), Some(record));
            }
        }
    }
}
