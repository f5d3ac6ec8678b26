//! What is written into a ledger: offers before they leave, answers, and what has become durable.

use super::kin::object_of;
use super::store::Read;
use super::{
    Change, Changes, Deed, Entered, Entries, Error, Facts, LEDGER_EPOCHS_MAX, LEDGER_MOVES_MAX,
    LEDGER_TOMBS_MAX, Ledger, Moment, NEVER, NEXT, Name, OWN, Offer, Offering, Proof, Record,
    RelPath, SetNo, Step, key_into, key_of, record, split, store,
};
use crate::model::entry::{Hash, Identity};
use crate::model::ledger::{Kind, Unsettled};
use crate::model::stamp::Epoch;

type Written = Result<(), store::Failed>;

/// A directory with its own set, and what renames have brought there.
pub(super) struct Lately {
    dir: Vec<u8>,
    set: SetNo,
    layers: Vec<SetNo>,
}

/// One change of the ledger: the places that it touched, and room to work in.
pub(super) struct Pen<'a, 'b> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) change: &'a mut Change<'b>,
    pub(super) changes: Changes,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// Objects of which a name stands apart, which nobody knew.
    pub(super) strays: Vec<Identity>,
    /// The set whose own attributes were last noted as outstanding.
    undressed: Option<(SetNo, Moment)>,
    /// The directory that was written in last.
    pub(super) lately: Option<Lately>,
}

impl Ledger {
    /// Writes down what is about to leave the source. Nothing of it may leave after an error.
    ///
    /// # Errors
    /// `Disk` if it can't be written.
    pub fn offer(&mut self, epoch: Epoch, offers: &[Offering]) -> Result<(), Error> {
        self.write(|pen| {
            offers.iter().try_for_each(|made| pen.offer((epoch, made.stamp), &made.offer))
        })
        .map(drop)
    }

    /// Enters what a report told, and tells which objects with several names are to be looked
    /// after.
    ///
    /// # Errors
    /// `Disk` if it can't be written.
    pub fn enter(&mut self, entries: &Entries) -> Result<Unsettled, Error> {
        let Entries { epoch, report, deeds, durable_through, barrier } = entries;
        let strays = self.write(|pen| {
            for Entered { stamp, deed } in deeds {
                pen.enter((*epoch, *stamp), *report, deed)?;
            }
            pen.durable(*epoch, *durable_through, *barrier)
        })?;
        let parted = std::mem::take(&mut self.parted).into_iter().collect();
        Ok(Unsettled { strays, parted })
    }

    /// Forgets all names that the epoch has durably removed.
    pub(super) fn bury(&mut self) -> Result<(), Error> {
        if self.tombs.is_empty() {
            return Ok(());
        }
        self.write(|pen| pen.bury(0)).map(drop)
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut Pen<'_, '_>) -> Written,
    ) -> Result<Vec<Identity>, Error> {
        let mut strays = Vec::new();
        self.change(|ledger, change| {
            let mut pen = Pen {
                strays: Vec::new(),
                ledger,
                change,
                changes: Changes::new(),
                key: Vec::new(),
                value: Vec::new(),
                undressed: None,
                lately: None,
            };
            write(&mut pen)?;
            strays = std::mem::take(&mut pen.strays);
            pen.put_places()
        })?;
        Ok(strays)
    }

    pub(super) fn put_epochs(&self, change: &mut Change<'_>) -> Written {
        let mut bytes = Vec::new();
        for (epoch, through) in &self.durable {
            bytes.extend_from_slice(&epoch.0.to_be_bytes());
            bytes.extend_from_slice(&through.to_be_bytes());
        }
        change.put_value("durable", &bytes)?;
        if let Some((id, barrier)) = &self.marker {
            change.put_value("marker", &[&id.0[..], &barrier.to_be_bytes()].concat())?;
        }
        change.put_value("floor", &self.floor.0.to_be_bytes())
    }
}

impl Pen<'_, '_> {
    fn offer(&mut self, moment: Moment, offer: &Offer) -> Written {
        match offer {
            Offer::Name(path) => {
                let (set, name) = self.own_slot(path);
                self.undress(moment, set)?;
                let known = self.get(set, name)?;
                self.put(known, (set, name), moment, Step::Offered { kin: None })
            }
            Offer::Content { path, kin } => {
                let (set, name) = self.own_slot(path);
                self.undress(moment, set)?;
                let step = Step::Offered { kin: Some(kin.identity) };
                let known = self.get(set, name)?;
                self.put_at(known, (set, name), moment, step, Some(kin.home))?;
                self.begin_generation((set, name), moment, kin)
            }
            Offer::Link { path, kin } => {
                let (set, name) = self.own_slot(path);
                self.undress(moment, set)?;
                let step = Step::Offered { kin: Some(kin.identity) };
                let known = self.get(set, name)?;
                self.put_at(known, (set, name), moment, step, Some(kin.home))?;
                self.begin_link((set, name), &kin.identity, kin.home)
            }
            Offer::Dir(path) => self.offer_dir(moment, path),
            Offer::Listed { dir, names } => self.offer_listed(moment, dir, names),
            Offer::Retouched(path) => {
                let (set, name) = self.own_slot(path);
                let known = self.get(set, name)?;
                self.put(known, (set, name), moment, taken_back(known))?;
                match known.and_then(|record| object_of(&record.step)) {
                    Some(object) => self.object_offered((set, name), moment, &object),
                    None => Ok(()),
                }
            }
            Offer::Attributes(dir) => match self.ledger.tree.own_at(dir.as_bytes()) {
                Some(set) => self.undress(moment, set),
                None => Ok(()),
            },
            Offer::Moved { from, to } => {
                self.lately = None;
                self.ledger.tree.moved(from.as_bytes(), to.as_bytes(), &mut self.changes);
                self.offer_both(moment, from, to)?;
                self.thin_both(from, to)
            }
            Offer::Exchanged { a, b } => {
                self.lately = None;
                self.ledger.tree.exchanged(a.as_bytes(), b.as_bytes(), &mut self.changes);
                self.offer_both(moment, a, b)?;
                self.thin_both(a, b)
            }
        }
    }

    fn offer_both(&mut self, moment: Moment, first: &RelPath, second: &RelPath) -> Written {
        self.offer(moment, &Offer::Name(first.clone()))?;
        self.offer(moment, &Offer::Name(second.clone()))
    }

    fn thin_both(&mut self, first: &RelPath, second: &RelPath) -> Written {
        self.thin(first.as_bytes())?;
        self.thin(second.as_bytes())
    }

    fn offer_dir(&mut self, moment: Moment, path: &RelPath) -> Written {
        self.own_set(path.as_bytes());
        if path.is_root() {
            return Ok(());
        }
        let (set, name) = self.own_slot(path);
        self.announce(moment, set, name, true)
    }

    fn offer_listed(&mut self, moment: Moment, dir: &RelPath, names: &[(Name, bool)]) -> Written {
        let set = self.own_set(dir.as_bytes());
        for (name, is_dir) in names {
            if *is_dir {
                self.ledger.tree.own_child(set, key_of(name.as_bytes()), &mut self.changes);
            }
            self.announce(moment, set, name.as_bytes(), *is_dir)?;
        }
        Ok(())
    }

    /// Offers a name without taking anything back that is known of it, if that fits.
    fn announce(&mut self, moment: Moment, set: SetNo, name: &[u8], is_dir: bool) -> Written {
        let known = self.get(set, name)?;
        match known.map(|record| record.step) {
            Some(Step::Offered { .. }) => Ok(()),
            Some(Step::Applied { facts, .. }) if (facts.kind == Kind::Dir) == is_dir => Ok(()),
            _ => {
                self.undress(moment, set)?;
                self.put(known, (set, name), moment, Step::Offered { kin: None })
            }
        }
    }

    fn enter(&mut self, moment: Moment, report: u64, deed: &Deed) -> Written {
        match deed {
            Deed::Stands { path, facts, hash } => self.stands(moment, report, path, facts, *hash),
            Deed::Listed { dir, names } => names.iter().try_for_each(|(name, facts)| {
                self.stands_equal(moment, report, dir, name.as_bytes(), facts)
            }),
            Deed::Alike { dir, names } => names.iter().try_for_each(|(name, facts)| {
                self.stands_equal(moment, NEVER, dir, name.as_bytes(), facts)
            }),
            Deed::Dressed { dir, facts } => {
                let Some(set) = self.ledger.tree.own_at(dir.as_bytes()) else { return Ok(()) };
                let step = Step::Applied { report, facts: *facts, proof: Proof::None };
                let known = self.get(set, OWN)?;
                self.answer(known, (set, OWN), moment, step).map(drop)
            }
            Deed::Linked { path, from, facts, generation } => {
                let (dir, name) = split(path.as_bytes());
                let Some((set, before)) = self.find(dir, name)? else { return Ok(()) };
                let object = self.ledger.object(self.change, &facts.identity)?;
                let object = object.filter(|object| object.generation == *generation);
                let known = object.as_ref().map(|object| object.record.step);
                // What the sink has is what it had under the other name.
                let step = match known {
                    Some(Step::Applied { facts: had, proof, .. }) => {
                        Step::Applied { report, facts: Facts { home: facts.home, ..had }, proof }
                    }
                    _ => Step::Offered { kin: Some(facts.identity) },
                };
                if !self.answer(before, (set, name), moment, step)? {
                    return Ok(());
                }
                let (dir, anchor) = split(from.as_bytes());
                let anchor = self.find(dir, anchor)?.map(|(set, _)| (set, anchor));
                self.linked((set, name), anchor, (object, *generation), facts)
            }
            Deed::Parted(path) => {
                let (dir, name) = split(path.as_bytes());
                let Some((set, known)) = self.find(dir, name)? else { return Ok(()) };
                self.answer(known, (set, name), moment, Step::Offered { kin: None }).map(drop)
            }
            Deed::Gone(path) => self.gone(moment, report, path),
            Deed::Moved { from, to, seen } => {
                self.gone(moment, report, from)?;
                let (facts, hash) = seen.map_or((Facts::of_any_dir(), None), |(f, h)| (f, Some(h)));
                self.stands(moment, report, to, &facts, hash)?;
                if self.ledger.moves.len() < LEDGER_MOVES_MAX {
                    self.ledger.moves.push_back((report, from.clone(), to.clone()));
                }
                Ok(())
            }
            Deed::Lost(path) => {
                // What was not durable was not counted upon.
                let (dir, name) = split(path.as_bytes());
                let record = self.find(dir, name)?.and_then(|(_, record)| record);
                if record.is_some_and(|record| self.ledger.is_durable(&record)) {
                    self.lately = None;
                    self.ledger.tree.freeze(path.as_bytes(), &mut self.changes);
                }
                Ok(())
            }
        }
    }

    fn stands(
        &mut self,
        moment: Moment,
        report: u64,
        path: &RelPath,
        facts: &Facts,
        hash: Option<Hash>,
    ) -> Written {
        let (dir, name) = split(path.as_bytes());
        let Some((set, known)) = self.find(dir, name)? else { return Ok(()) };
        if let Some(record) = known
            && (record.epoch, record.stamp) > moment
            && let Step::Applied { report, facts: later, proof: Proof::None } = record.step
            && let Some(hash) = hash
            && later.is_same(facts)
        {
            // A listing has found the same since, by size and time: the hash is news.
            let step = Step::Applied { report, facts: later, proof: Proof::Agreed(hash) };
            return self.put(known, (set, name), (record.epoch, record.stamp), step);
        }
        let after = |known| step_after(known, report, facts, hash);
        if self.answer(known, (set, name), moment, after(known))? {
            self.object_stands((set, name), moment, facts, after)?;
        }
        Ok(())
    }

    /// The sink had what a listing told, by size and time.
    fn stands_equal(
        &mut self,
        moment: Moment,
        report: u64,
        dir: &RelPath,
        name: &[u8],
        facts: &Facts,
    ) -> Written {
        let Some((set, known)) = self.find(dir.as_bytes(), name)? else { return Ok(()) };
        let floor = self.ledger.floor;
        let after = |known: Option<Record>| step_listed(known, report, facts, floor);
        let is_known = known.is_some_and(|record| {
            let same = |before: Facts| before.is_like(facts) && before.ctime == facts.ctime;
            super::facts_of(&record).is_some_and(same) && self.ledger.is_durable(&record)
        });
        // The stamp of what others are linked to has to be that of the last answer.
        if is_known && !facts.has_others
            || !self.answer(known, (set, name), moment, after(known))?
        {
            return Ok(());
        }
        self.object_stands((set, name), moment, facts, after)
    }

    fn gone(&mut self, moment: Moment, report: u64, path: &RelPath) -> Written {
        let (dir, name) = split(path.as_bytes());
        let Some((set, known)) = self.find(dir, name)? else { return Ok(()) };
        self.answer(known, (set, name), moment, Step::Gone { report })?;
        self.ledger.tombs.push_back((set, name.to_vec()));
        Ok(())
    }

    /// Writes an answer over what was just read, unless something newer was offered there since;
    /// tells whether it did.
    fn answer(
        &mut self,
        known: Option<Record>,
        (set, name): (SetNo, &[u8]),
        moment: Moment,
        step: Step,
    ) -> Result<bool, store::Failed> {
        if known.is_some_and(|record| (record.epoch, record.stamp) > moment) {
            return Ok(false);
        }
        self.put(known, (set, name), moment, step)?;
        Ok(true)
    }

    /// Where a name is written at a path: in the directory's own set, or, if it has none, in the
    /// layer that knows of it.
    fn find(
        &mut self,
        dir: &[u8],
        name: &[u8],
    ) -> Result<Option<(SetNo, Option<Record>)>, store::Failed> {
        let lately = self.lately.as_ref().filter(|lately| lately.dir == dir);
        if let Some(set) = lately.map(|lately| lately.set) {
            return Ok(Some((set, self.get(set, name)?)));
        }
        if let Some(set) = self.ledger.tree.own_at(dir) {
            self.stay(dir, set);
            return Ok(Some((set, self.get(set, name)?)));
        }
        for set in self.ledger.tree.sets_at(dir) {
            if let Some(record) = self.get(set, name)? {
                return Ok(Some((set, Some(record))));
            }
        }
        Ok(None)
    }

    /// All that reports up to this one told of is on the sink's disk.
    fn durable(&mut self, epoch: Epoch, through: u64, barrier: u64) -> Written {
        if through == 0 || self.ledger.durable.get(&epoch).is_some_and(|known| *known >= through) {
            return Ok(());
        }
        self.ledger.durable.insert(epoch, through);
        if let Some((_, last)) = &mut self.ledger.marker {
            *last = barrier.max(*last);
        }
        while self.ledger.durable.len() > LEDGER_EPOCHS_MAX {
            self.ledger.durable.pop_first();
        }
        self.ledger.put_epochs(self.change)?;
        while let Some((report, ..)) = self.ledger.moves.front()
            && *report <= through
            && let Some((report, from, to)) = self.ledger.moves.pop_front()
        {
            self.settle(report, &from, &to)?;
        }
        self.bury(LEDGER_TOMBS_MAX)
    }

    /// A rename is durable. What has been offered since at either name stays in doubt.
    fn settle(&mut self, report: u64, from: &RelPath, to: &RelPath) -> Written {
        let mut stands = |path: &RelPath| -> Result<bool, store::Failed> {
            let (dir, name) = split(path.as_bytes());
            let record = self.find(dir, name)?.and_then(|(_, record)| record);
            Ok(record.is_some_and(|record| record.step.report() == Some(report)))
        };
        if stands(from)? && stands(to)? {
            self.lately = None;
            self.ledger.tree.settled(from.as_bytes(), to.as_bytes(), &mut self.changes);
        }
        Ok(())
    }

    /// Forgets names that are durably gone, but for so many of the youngest.
    fn bury(&mut self, keep: usize) -> Written {
        while self.ledger.tombs.len() > keep
            && let Some((set, name)) = self.ledger.tombs.pop_front()
        {
            self.forget(set, &name)?;
        }
        Ok(())
    }

    fn forget(&mut self, set: SetNo, name: &[u8]) -> Written {
        if !self.get(set, name)?.is_some_and(|record| self.ledger.is_gone(&record)) {
            return Ok(());
        }
        self.lately = None;
        key_into(set, name, &mut self.key);
        self.change.drop_name(&self.key)?;
        match self.ledger.tree.remove(set, key_of(name), &mut self.changes) {
            Some(own) => self.change.drop_names(&own.to_be_bytes()),
            None => Ok(()),
        }
    }

    /// The own attributes of a directory are outstanding (H21).
    fn undress(&mut self, moment: Moment, set: SetNo) -> Written {
        if self.undressed == Some((set, moment)) {
            return Ok(());
        }
        self.undressed = Some((set, moment));
        let known = self.get(set, OWN)?;
        if known.is_some_and(|record| (record.epoch, record.stamp) > moment) {
            return Ok(());
        }
        self.put(known, (set, OWN), moment, taken_back(known))
    }

    fn own_slot<'p>(&mut self, path: &'p RelPath) -> (SetNo, &'p [u8]) {
        let (above, name) = split(path.as_bytes());
        (self.own_set(above), name)
    }

    /// The set that takes what is offered in a directory now.
    fn own_set(&mut self, dir: &[u8]) -> SetNo {
        match &self.lately {
            Some(lately) if lately.dir == dir => return lately.set,
            _ => {}
        }
        let set = self.ledger.tree.own_set(dir, &mut self.changes);
        self.stay(dir, set);
        set
    }

    fn stay(&mut self, dir: &[u8], set: SetNo) {
        let layers = self.ledger.tree.layers_at(dir, set);
        self.lately = Some(Lately { dir: dir.to_vec(), set, layers });
    }

    pub(super) fn get(&mut self, set: SetNo, name: &[u8]) -> Result<Option<Record>, store::Failed> {
        key_into(set, name, &mut self.key);
        Ok(self.change.name(&self.key)?.and_then(record::decode))
    }

    /// Writes a record over what was just read.
    fn put(
        &mut self,
        known: Option<Record>,
        slot: (SetNo, &[u8]),
        moment: Moment,
        step: Step,
    ) -> Written {
        let home = match &step {
            Step::Applied { facts, .. } => facts.home,
            Step::Offered { .. } | Step::Gone { .. } => None,
        };
        self.put_at(known, slot, moment, step, home)
    }

    /// The same for a name of which it is known in which directory of the source it is.
    fn put_at(
        &mut self,
        known: Option<Record>,
        (set, name): (SetNo, &[u8]),
        (epoch, stamp): Moment,
        step: Step,
        home: Option<Identity>,
    ) -> Written {
        let object = object_of(&step);
        self.hide_below(set, name, (object, home))?;
        if let Some(former) = known.and_then(|known| object_of(&known.step))
            && object != Some(former)
        {
            self.part(set, name, &former)?;
        }
        if let (Step::Applied { .. }, Some(object), Some(home)) = (&step, object, home) {
            self.enrol((set, name), &object, home)?;
        }
        record::encode(&Record { epoch, stamp, step }, &mut self.value);
        key_into(set, name, &mut self.key);
        self.change.put_name(&self.key, &self.value)
    }

    fn hide_below(
        &mut self,
        set: SetNo,
        name: &[u8],
        seen: (Option<Identity>, Option<Identity>),
    ) -> Written {
        let Some(lately) = self.lately.take_if(|at| at.set == set && !at.layers.is_empty()) else {
            return Ok(());
        };
        let hidden = lately.layers.iter().try_for_each(|layer| self.hide(*layer, name, seen));
        self.lately = Some(lately);
        hidden
    }

    pub(super) fn put_places(&mut self) -> Written {
        let mut changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() {
            self.change.put_value(NEXT, &self.ledger.tree.next().to_be_bytes())?;
        }
        changes.sort_unstable();
        changes.dedup();
        for (set, key) in changes {
            key_into(set, &key, &mut self.key);
            let place = self.ledger.tree.place(set, &key).map(super::Place::to_bytes);
            self.change.put_place(&self.key, place.as_deref())?;
        }
        Ok(())
    }
}

/// Durable is off; what was known is still known.
fn taken_back(known: Option<Record>) -> Step {
    match known.map(|record| record.step) {
        Some(Step::Applied { facts, proof, .. }) => Step::Applied { report: NEVER, facts, proof },
        known => Step::Offered { kin: known.as_ref().and_then(object_of) },
    }
}

/// The same, at some moment.
pub(super) fn taken_back_at((epoch, stamp): Moment, known: Option<Record>) -> Record {
    Record { epoch, stamp, step: taken_back(known) }
}

/// What is known once an operation was applied, by what was known before.
fn step_after(known: Option<Record>, report: u64, facts: &Facts, hash: Option<Hash>) -> Step {
    let before = known.and_then(|record| match record.step {
        Step::Applied { facts: before, proof, .. } if before.is_like(facts) => {
            Some((proof, before.ctime))
        }
        _ => None,
    });
    let stale = before.and_then(|(proof, _)| proof.hash()).map(Proof::Stale);
    let proof = hash.map(Proof::Agreed).or(stale).unwrap_or(Proof::None);
    // Attributes were set, on what was put there by an answer that is not entered yet, or that no
    // side has read: its content may have changed between the two, and bear the same size and
    // mtime.
    let is_seen = match before {
        None => false,
        Some((Proof::None, ctime)) => ctime == facts.ctime,
        Some(_) => true,
    };
    let is_unseen = hash.is_none() && !is_seen && facts.kind == Kind::File;
    let facts = Facts { is_young: facts.is_young || is_unseen, ..*facts };
    Step::Applied { report, facts, proof }
}

/// What is known once a listing showed that the sink has it, by size and time. What was recorded
/// before the floor does not count.
fn step_listed(known: Option<Record>, report: u64, facts: &Facts, floor: Epoch) -> Step {
    let mut proof = Proof::None;
    if let Some(record) = known
        && let Step::Applied { facts: before, proof: known, .. } = record.step
        && record.epoch >= floor
        && before.is_like(facts)
    {
        proof = match known.hash() {
            Some(hash) if before.ctime != facts.ctime => Proof::Stale(hash),
            _ => known,
        };
    }
    Step::Applied { report, facts: *facts, proof }
}
