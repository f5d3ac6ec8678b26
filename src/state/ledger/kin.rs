//! Objects, by identity: which names they have, and which of these are one at the sink (hard
//! links).
//!
//! - Each name at which the sink has a certain object is noted by that object, for a second name
//!   may come at any time, and no event tells of the first.
//! - When the content of an object with several names is offered under one of them, a *generation*
//!   begins: the sink puts a new object there. Names that are linked to one of a generation are of
//!   it, and what the sink has of the object is known once for all of them.
//! - Before names were linked the object is what the first of them is.
//! - A name counts only as long as its record says that the sink has this object there; names of
//!   older generations, and those not linked yet, stand *apart*.
//! - All of this is on disk, so memory does not grow with it.

use super::record::Link;
use super::store::{Failed, Read};
use super::{Ledger, Moment, Record, SetNo, Step, View, record};
use crate::model::entry::Identity;
use crate::model::ledger::{Anchor, Facts, Kin, KinQuery, Kind, Known};
use crate::model::limits::{KIN_AT_ONCE_MAX, KIN_SKIPS_MAX, KIN_TRIES_MAX};
use crate::model::offer::Kinship;
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{Epoch, Stamp};

/// Bytes of the key of an object.
const OBJECT_BYTES: usize = 12;
/// Bytes of a generation before the record of an object.
const GENERATION_BYTES: usize = 16;
/// Names that an answer tells when not all are asked for.
const KIN_SOME: usize = 16;

/// What the sink has of an object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) generation: Moment,
    pub(super) record: Record,
    /// The name that it is, before any were linked.
    first: Option<Vec<u8>>,
    /// The name that others were linked to last: most likely it still is one of them.
    anchor: Vec<u8>,
}

impl Object {
    /// Whether a name was linked to the others, or is the first.
    fn may_have(&self, place: &[u8], link: &Link) -> bool {
        match &self.first {
            Some(first) => first == place,
            None => link.joined == Some(self.generation),
        }
    }
}

/// One name of an object, and what the sink has there.
struct Member {
    /// The set and the name.
    place: Vec<u8>,
    link: Link,
    record: Record,
}

/// The key of an object: neighbours on the disk stay neighbours. What else an identity has is in
/// the records.
fn object_key(identity: &Identity) -> [u8; OBJECT_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&identity.device.to_le_bytes());
    hasher.update(&identity.birth.to_le_bytes());
    let mut key = [0; OBJECT_BYTES];
    key[..8].copy_from_slice(&identity.inode.to_be_bytes());
    key[8..].copy_from_slice(&hasher.finalize().as_bytes()[..4]);
    key
}

/// Where a name of an object is: its set and itself.
fn place_of(set: SetNo, name: &[u8]) -> Vec<u8> {
    [&set.to_be_bytes()[..], name].concat()
}

/// The key of one name of an object.
fn member_key(identity: &Identity, set: SetNo, name: &[u8]) -> Vec<u8> {
    [&object_key(identity)[..], &place_of(set, name)].concat()
}

fn encode_object(generation: Moment, anchor: &[u8], object: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::encode(object, &mut bytes);
    let (epoch, stamp) = generation;
    // A set and a name: less than the highest number of two bytes.
    let anchor_bytes = u16::try_from(anchor.len()).unwrap_or(0);
    let anchor = &anchor[..usize::from(anchor_bytes)];
    let head = [&epoch.0.to_be_bytes()[..], &stamp.0.to_be_bytes(), &anchor_bytes.to_be_bytes()];
    [&head.concat()[..], anchor, &bytes].concat()
}

fn decode_object(bytes: &[u8]) -> Option<Object> {
    let (generation, rest) = bytes.split_first_chunk::<GENERATION_BYTES>()?;
    let generation = (
        Epoch(u64::from_be_bytes(*generation.first_chunk()?)),
        Stamp(u64::from_be_bytes(*generation.last_chunk()?)),
    );
    let (anchor_bytes, rest) = rest.split_first_chunk::<2>()?;
    let (anchor, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*anchor_bytes)))?;
    Some(Object { generation, record: record::decode(rest)?, first: None, anchor: anchor.to_vec() })
}

/// The object that a record speaks of, if that is known and no directory.
pub(super) fn object_of(step: &Step) -> Option<Identity> {
    match step {
        Step::Offered { kin } => *kin,
        Step::Applied { facts, .. } => (facts.kind != Kind::Dir).then_some(facts.identity),
        Step::Gone { .. } => None,
    }
}

/// The name to which one of an object is linked: the same for all of them, so that no two are
/// linked to each other at once. That one has none.
fn anchor((object, member): (Object, Member), own: (Identity, &[u8])) -> Option<Anchor> {
    let name = &member.place[4..];
    if (member.link.home, name) == own {
        return None;
    }
    Some(Anchor {
        home: member.link.home,
        name: Name::new(name).ok()?,
        facts: super::facts_of(&object.record)?,
        generation: object.generation,
        offered: (member.record.epoch, member.record.stamp),
    })
}

impl Ledger {
    /// What is known of a name at which something was just seen, and another name of that, to be
    /// linked to.
    #[must_use]
    pub fn recollect(&self, dir: &RelPath, name: &Name, seen: &Facts) -> (Known, Option<Anchor>) {
        let ask = |view: &View<'_>| {
            self.known(view, self.tree.own_at(dir.as_bytes()), name.as_bytes(), seen)
        };
        self.read(ask).unwrap_or((Known::Nothing, None))
    }

    /// What is known of a name, and another one of its object that it should be one with. The set
    /// is that of its directory, if that was ever offered.
    pub(super) fn known(
        &self,
        view: &View<'_>,
        set: Option<SetNo>,
        name: &[u8],
        seen: &Facts,
    ) -> Result<(Known, Option<Anchor>), Failed> {
        let several = match seen.home.filter(|_| seen.has_others) {
            Some(home) => Some(home).zip(self.object_with(view, &seen.identity)?),
            None => None,
        };
        let known = match (set, &several) {
            (None, _) => None,
            (Some(set), Some((_, (object, _)))) => {
                self.known_of_several(view, (set, name), &seen.identity, object)?
            }
            (Some(_), None) => None,
        };
        let known = match (known, set) {
            (Some(known), _) => known,
            (None, Some(set)) => self.known_alone(view, set, name)?,
            (None, None) => Known::Nothing,
        };
        let anchor = several.and_then(|(home, found)| anchor(found, (home, name)));
        Ok((known, anchor))
    }

    /// Names of an object.
    #[must_use]
    pub fn kin(&self, query: &KinQuery) -> Kin {
        let KinQuery { identity, after, whole } = query;
        let key = object_key(identity);
        let after = after.as_ref().map_or(key.to_vec(), |after| [&key[..], after].concat());
        let most = if *whole { KIN_AT_ONCE_MAX } else { KIN_SOME };
        let ask = |view: &View<'_>| {
            let object = self.object(view, identity)?;
            let (mut kin, mut met) = (Kin::default(), 0);
            view.kin_after(&key, &after, &mut |place, value| {
                if met == most {
                    return Ok(false);
                }
                met += 1;
                kin.next = Some(place.to_vec());
                let Some(link) = record::decode_link(value) else { return Ok(true) };
                let Ok(name) = Name::new(&place[4..]) else { return Ok(true) };
                let is_joined = match &object {
                    Some(object) => self.member(view, identity, object, place, link)?.is_some(),
                    None => false,
                };
                if !is_joined {
                    kin.apart.push((link.home, name));
                } else if !whole {
                    kin.joined.push((link.home, name));
                }
                Ok(true)
            })?;
            kin.next = kin.next.filter(|_| *whole && met == most);
            Ok(kin)
        };
        self.read(ask).unwrap_or_default()
    }

    /// How a name of an object with several stands to the others; nothing if it is to be judged by
    /// what is known of the name alone.
    pub(super) fn known_of_several(
        &self,
        view: &View<'_>,
        (set, name): (SetNo, &[u8]),
        identity: &Identity,
        object: &Object,
    ) -> Result<Option<Known>, Failed> {
        let key = member_key(identity, set, name);
        let own = view.kin(&key)?.and_then(record::decode_link);
        let own = match own {
            Some(link) => self.member(view, identity, object, &key[OBJECT_BYTES..], link)?,
            None => None,
        };
        Ok(match own {
            Some(_) => self.copy_of(&object.record),
            None => Some(Known::Apart),
        })
    }

    /// What the sink has of an object: by its present generation or, if it has no name of that, by
    /// the first name that it has.
    pub(super) fn object(
        &self,
        read: &impl Read,
        identity: &Identity,
    ) -> Result<Option<Object>, Failed> {
        Ok(self.object_with(read, identity)?.map(|(object, _)| object))
    }

    /// The same, with one of its names.
    fn object_with(
        &self,
        read: &impl Read,
        identity: &Identity,
    ) -> Result<Option<(Object, Member)>, Failed> {
        if let Some(object) = self.generation(read, identity)?
            && let Some(member) = self.a_member(read, identity, &object)?
        {
            return Ok(Some((object, member)));
        }
        let key = object_key(identity);
        let (mut found, mut tries) = (None, 0);
        read.kin_after(&key, &key, &mut |place, value| {
            tries += 1;
            if let Some(link) = record::decode_link(value)
                && let Some(record) = self.record_there(read, identity, place)?
            {
                let place = place.to_vec();
                let object = Object {
                    generation: (record.epoch, record.stamp),
                    record,
                    first: Some(place.clone()),
                    anchor: place.clone(),
                };
                found = Some((object, Member { place, link, record }));
            }
            Ok(found.is_none() && tries < KIN_TRIES_MAX)
        })?;
        Ok(found)
    }

    /// The generation of an object that began last, if that counts.
    fn generation(&self, read: &impl Read, identity: &Identity) -> Result<Option<Object>, Failed> {
        let object = read.kin(&object_key(identity))?.and_then(decode_object);
        Ok(object.filter(|object| object.generation.0 >= self.floor))
    }

    /// One of the names of an object that are one at the sink: as long as it may be the same one.
    fn a_member(
        &self,
        read: &impl Read,
        identity: &Identity,
        object: &Object,
    ) -> Result<Option<Member>, Failed> {
        let key = object_key(identity);
        let likely = read.kin(&[&key[..], &object.anchor].concat())?.and_then(record::decode_link);
        if let Some(link) = likely
            && let Some(member) = self.member(read, identity, object, &object.anchor, link)?
        {
            return Ok(Some(member));
        }
        let (mut found, mut tries, mut skips) = (None, 0, 0);
        read.kin_after(&key, &key, &mut |place, value| {
            let link = record::decode_link(value);
            let link = link.filter(|link| object.may_have(place, link));
            match link {
                Some(link) => {
                    tries += 1;
                    found = self.member(read, identity, object, place, link)?;
                }
                None => skips += 1,
            }
            Ok(found.is_none() && tries < KIN_TRIES_MAX && skips < KIN_SKIPS_MAX)
        })?;
        Ok(found)
    }

    /// A name of an object, if the sink has it there and it is of the present generation.
    fn member(
        &self,
        read: &impl Read,
        identity: &Identity,
        object: &Object,
        place: &[u8],
        link: Link,
    ) -> Result<Option<Member>, Failed> {
        if !object.may_have(place, &link) {
            return Ok(None);
        }
        let record = self.record_there(read, identity, place)?;
        Ok(record.map(|record| Member { place: place.to_vec(), link, record }))
    }

    /// The record of a name, if the sink has that object there. What a renamed directory brought
    /// along may be hidden by what was offered since, and tells nothing.
    fn record_there(
        &self,
        read: &impl Read,
        identity: &Identity,
        place: &[u8],
    ) -> Result<Option<Record>, Failed> {
        let Some((set, _)) = place.split_first_chunk() else { return Ok(None) };
        if !self.tree.is_live(SetNo::from_be_bytes(*set)) {
            return Ok(None);
        }
        let record = read.name(place)?.and_then(record::decode);
        let is_it = |record: &Record| {
            let facts = super::facts_of(record);
            facts.is_some_and(|facts| facts.identity == *identity) && self.is_certain(record)
        };
        Ok(record.filter(is_it))
    }
}

impl super::writing::Pen<'_, '_> {
    /// An object is offered under one of its names. If it has others, a generation begins.
    pub(super) fn begin_generation(
        &mut self,
        (set, name): (SetNo, &[u8]),
        moment: Moment,
        kin: &Kinship,
    ) -> Result<(), Failed> {
        let Kinship { identity, home, has_others } = kin;
        if !self.ledger.has_groups && !has_others {
            return Ok(());
        }
        let last = self.ledger.generation(self.change, identity)?;
        if last.is_none() && !has_others {
            return Ok(());
        }
        let is_newest = last.is_none_or(|object| object.generation < moment);
        let joined = is_newest.then_some(moment);
        if is_newest {
            let step = Step::Offered { kin: None };
            let record = Record { epoch: moment.0, stamp: moment.1, step };
            let anchor = place_of(set, name);
            self.put_object(identity, moment, &anchor, &record)?;
        }
        self.put_member((set, name), identity, Link { joined, home: *home })
    }

    /// A name is to become one of an object.
    pub(super) fn begin_link(
        &mut self,
        (set, name): (SetNo, &[u8]),
        identity: &Identity,
        home: Identity,
    ) -> Result<(), Failed> {
        self.put_member((set, name), identity, Link { joined: None, home })
    }

    /// Attributes of an object are on their way under one of its names: what the sink has of it is
    /// not certain.
    pub(super) fn object_offered(
        &mut self,
        (set, name): (SetNo, &[u8]),
        moment: Moment,
        identity: &Identity,
    ) -> Result<(), Failed> {
        if !self.ledger.has_groups {
            return Ok(());
        }
        let Some(object) = self.joined_to(set, name, identity)? else { return Ok(()) };
        if (object.record.epoch, object.record.stamp) < moment {
            let record = super::writing::taken_back_at(moment, Some(object.record));
            self.put_object(identity, object.generation, &object.anchor, &record)?;
        }
        Ok(())
    }

    /// The sink has an object under one of its names. `step_after` tells what is known then, by
    /// what was known before.
    pub(super) fn object_stands(
        &mut self,
        (set, name): (SetNo, &[u8]),
        moment: Moment,
        facts: &Facts,
        step_after: impl FnOnce(Option<Record>) -> Step,
    ) -> Result<(), Failed> {
        if !self.ledger.has_groups && !facts.has_others {
            return Ok(());
        }
        let identity = &facts.identity;
        if let Some(object) = self.joined_to(set, name, identity)? {
            if (object.record.epoch, object.record.stamp) <= moment {
                let step = step_after(Some(object.record));
                let record = Record { epoch: moment.0, stamp: moment.1, step };
                self.put_object(identity, object.generation, &object.anchor, &record)?;
            }
            if object.generation == moment {
                // Names of older generations are none of this object.
                self.strays.push(*identity);
            }
        } else if facts.has_others || self.ledger.generation(self.change, identity)?.is_some() {
            let place = place_of(set, name);
            let object = self.ledger.object(self.change, identity)?;
            if object.is_some_and(|object| object.first.as_ref() != Some(&place)) {
                self.strays.push(*identity);
            }
        }
        Ok(())
    }

    /// A name was linked to another; what that was one of may not be the same any more.
    pub(super) fn linked(
        &mut self,
        (set, name): (SetNo, &[u8]),
        anchor: Option<(SetNo, &[u8])>,
        (object, generation): (Option<Object>, Moment),
        facts: &Facts,
    ) -> Result<(), Failed> {
        let (identity, Some(home)) = (&facts.identity, facts.home) else { return Ok(()) };
        let place = anchor.map(|(at, anchor)| place_of(at, anchor));
        let object = object.filter(|object| object.first.is_none() || object.first == place);
        let joined = object.as_ref().map(|_| generation);
        match (object, anchor) {
            (None, _) => self.strays.push(*identity),
            // The first two names: from now on they are a generation.
            (Some(Object { first: Some(place), record, .. }), Some((at, anchor))) => {
                self.put_object(identity, generation, &place, &record)?;
                if let Some(link) = self.link_of(at, anchor, identity)? {
                    self.put_member((at, anchor), identity, Link { joined, ..link })?;
                }
            }
            (Some(Object { record, anchor, .. }), _) => {
                if let Some(place) = place.filter(|place| *place != anchor) {
                    self.put_object(identity, generation, &place, &record)?;
                }
            }
        }
        self.put_member((set, name), identity, Link { joined, home })
    }

    /// Notes a name by its object.
    pub(super) fn enrol(
        &mut self,
        (set, name): (SetNo, &[u8]),
        identity: &Identity,
        home: Identity,
    ) -> Result<(), Failed> {
        record::encode_link(&Link { joined: None, home }, &mut self.value);
        let key = member_key(identity, set, name);
        let Some(known) = self.change.keep_kin(&key, &self.value)? else { return Ok(()) };
        match record::decode_link(&known) {
            Some(link) if link.home == home => Ok(()),
            Some(link) => self.put_member((set, name), identity, Link { home, ..link }),
            None => self.put_member((set, name), identity, Link { joined: None, home }),
        }
    }

    /// A name was offered where a renamed directory had brought it along: that one is no more.
    pub(super) fn hide(
        &mut self,
        layer: SetNo,
        name: &[u8],
        (object, home): (Option<Identity>, Option<Identity>),
    ) -> Result<(), Failed> {
        let former = self.get(layer, name)?.and_then(|record| object_of(&record.step));
        let Some(former) = former else { return Ok(()) };
        match self.link_of(layer, name, &former)? {
            Some(link) if home == Some(link.home) && object == Some(former) => {
                self.change.put_kin(&member_key(&former, layer, name), None)
            }
            Some(link) if home == Some(link.home) => self.part(layer, name, &former),
            _ => Ok(()),
        }
    }

    /// A name is none of an object any more.
    pub(super) fn part(
        &mut self,
        set: SetNo,
        name: &[u8],
        identity: &Identity,
    ) -> Result<(), Failed> {
        if !self.leave_object(set, name, identity)? {
            self.ledger.parted.insert(*identity);
        }
        Ok(())
    }

    /// The same, of a name that did not count. Tells whether it was the last one noted.
    pub(super) fn leave_object(
        &mut self,
        set: SetNo,
        name: &[u8],
        identity: &Identity,
    ) -> Result<bool, Failed> {
        self.change.put_kin(&member_key(identity, set, name), None)?;
        let key = object_key(identity);
        let mut is_last = true;
        self.change.kin_after(&key, &key, &mut |_, _| {
            is_last = false;
            Ok(false)
        })?;
        if is_last {
            self.change.put_kin(&key, None)?;
        }
        Ok(is_last)
    }

    /// The generation that a name is of at the sink, as far as answers told.
    fn joined_to(
        &mut self,
        set: SetNo,
        name: &[u8],
        identity: &Identity,
    ) -> Result<Option<Object>, Failed> {
        let joined = self.link_of(set, name, identity)?.and_then(|link| link.joined);
        if joined.is_none() {
            return Ok(None);
        }
        let object = self.ledger.generation(self.change, identity)?;
        Ok(object.filter(|object| joined == Some(object.generation)))
    }

    fn link_of(
        &self,
        set: SetNo,
        name: &[u8],
        identity: &Identity,
    ) -> Result<Option<Link>, Failed> {
        let link = self.change.kin(&member_key(identity, set, name))?;
        Ok(link.and_then(record::decode_link))
    }

    fn put_object(
        &mut self,
        identity: &Identity,
        generation: Moment,
        anchor: &[u8],
        record: &Record,
    ) -> Result<(), Failed> {
        if !self.ledger.has_groups {
            self.ledger.has_groups = true;
            self.change.put_value(super::GROUPS, super::SOME_GROUPS)?;
        }
        let bytes = encode_object(generation, anchor, record);
        self.change.put_kin(&object_key(identity), Some(&bytes))
    }

    fn put_member(
        &mut self,
        (set, name): (SetNo, &[u8]),
        identity: &Identity,
        link: Link,
    ) -> Result<(), Failed> {
        record::encode_link(&link, &mut self.value);
        self.change.put_kin(&member_key(identity, set, name), Some(&self.value))
    }
}
