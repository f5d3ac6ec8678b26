//! What is written into a ledger: offers before they leave, answers, and what has become durable.

use super::{
    Change, Changes, Deed, Entered, Entries, Error, Facts, LEDGER_EPOCHS_MAX, LEDGER_MOVES_MAX,
    LEDGER_TOMBS_MAX, Ledger, Moment, NEVER, Name, OWN, Offer, Offering, Proof, Record, RelPath,
    SetNo, Step, key_into, key_of, record, split, store,
};
use crate::model::entry::Hash;
use crate::model::ledger::Kind;
use crate::model::stamp::Epoch;

type Written = Result<(), store::Failed>;

/// One change of the ledger: the places that it touched, and room to work in.
struct Pen<'a, 'b> {
    ledger: &'a mut Ledger,
    change: &'a mut Change<'b>,
    changes: Changes,
    key: Vec<u8>,
    value: Vec<u8>,
    /// The set whose own attributes were last noted as outstanding.
    undressed: Option<(SetNo, Moment)>,
    /// The directory that was offered in last, with its own set.
    lately: Option<(Vec<u8>, SetNo)>,
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
    }

    /// Enters what a report told.
    ///
    /// # Errors
    /// `Disk` if it can't be written.
    pub fn enter(&mut self, entries: &Entries) -> Result<(), Error> {
        let Entries { epoch, report, deeds, durable_through, barrier } = entries;
        self.write(|pen| {
            for Entered { stamp, deed } in deeds {
                pen.enter((*epoch, *stamp), *report, deed)?;
            }
            pen.durable(*epoch, *durable_through, *barrier)
        })
    }

    /// Forgets all names that the epoch has durably removed.
    pub(super) fn bury(&mut self) -> Result<(), Error> {
        if self.tombs.is_empty() {
            return Ok(());
        }
        self.write(|pen| pen.bury(0))
    }

    fn write(&mut self, write: impl FnOnce(&mut Pen<'_, '_>) -> Written) -> Result<(), Error> {
        self.change(|ledger, change| {
            let mut pen = Pen {
                ledger,
                change,
                changes: Changes::new(),
                key: Vec::new(),
                value: Vec::new(),
                undressed: None,
                lately: None,
            };
            write(&mut pen)?;
            pen.put_places()
        })
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
                self.put(set, name, moment, Step::Offered)
            }
            Offer::Dir(path) => self.offer_dir(moment, path),
            Offer::Listed { dir, names } => self.offer_listed(moment, dir, names),
            Offer::Retouched(path) => {
                let (set, name) = self.own_slot(path);
                let known = self.get(set, name)?;
                self.put(set, name, moment, taken_back(known))
            }
            Offer::Attributes(dir) => match self.ledger.tree.own_at(dir.as_bytes()) {
                Some(set) => self.undress(moment, set),
                None => Ok(()),
            },
            Offer::Moved { from, to } => {
                self.lately = None;
                self.ledger.tree.moved(from.as_bytes(), to.as_bytes(), &mut self.changes);
                self.offer_both(moment, from, to)
            }
            Offer::Exchanged { a, b } => {
                self.lately = None;
                self.ledger.tree.exchanged(a.as_bytes(), b.as_bytes(), &mut self.changes);
                self.offer_both(moment, a, b)
            }
        }
    }

    fn offer_both(&mut self, moment: Moment, first: &RelPath, second: &RelPath) -> Written {
        self.offer(moment, &Offer::Name(first.clone()))?;
        self.offer(moment, &Offer::Name(second.clone()))
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
        match self.get(set, name)?.map(|record| record.step) {
            Some(Step::Offered) => Ok(()),
            Some(Step::Applied { facts, .. }) if (facts.kind == Kind::Dir) == is_dir => Ok(()),
            _ => {
                self.undress(moment, set)?;
                self.put(set, name, moment, Step::Offered)
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
                self.answer(set, OWN, moment, step)
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
            && later == *facts
        {
            // A listing has found the same since, by size and time: the hash is news.
            let step = Step::Applied { report, facts: later, proof: Proof::Agreed(hash) };
            return self.put(set, name, (record.epoch, record.stamp), step);
        }
        let before = known.and_then(|record| match record.step {
            Step::Applied { facts: before, proof, .. } if before.is_like(facts) => {
                Some((proof, before.ctime))
            }
            _ => None,
        });
        let stale = before.and_then(|(proof, _)| proof.hash()).map(Proof::Stale);
        let proof = hash.map(Proof::Agreed).or(stale).unwrap_or(Proof::None);
        // Attributes were set, on what was put there by an answer that is not entered yet, or that
        // no side has read: its content may have changed between the two, and bear the same size
        // and mtime.
        let is_seen = match before {
            None => false,
            Some((Proof::None, ctime)) => ctime == facts.ctime,
            Some(_) => true,
        };
        let is_unseen = hash.is_none() && !is_seen && facts.kind == Kind::File;
        let facts = Facts { is_young: facts.is_young || is_unseen, ..*facts };
        self.answer(set, name, moment, Step::Applied { report, facts, proof })
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
        let mut proof = Proof::None;
        if let Some(record) = known
            && let Step::Applied { facts: before, proof: known, .. } = record.step
            && record.epoch >= self.ledger.floor
            && before.is_like(facts)
        {
            if before.ctime == facts.ctime && self.ledger.is_durable(&record) {
                return Ok(());
            }
            proof = match known.hash() {
                Some(hash) if before.ctime != facts.ctime => Proof::Stale(hash),
                _ => known,
            };
        }
        self.answer(set, name, moment, Step::Applied { report, facts: *facts, proof })
    }

    fn gone(&mut self, moment: Moment, report: u64, path: &RelPath) -> Written {
        let (dir, name) = split(path.as_bytes());
        let Some((set, _)) = self.find(dir, name)? else { return Ok(()) };
        self.answer(set, name, moment, Step::Gone { report })?;
        self.ledger.tombs.push_back((set, name.to_vec()));
        Ok(())
    }

    /// Writes an answer, unless something newer was offered there since.
    fn answer(&mut self, set: SetNo, name: &[u8], moment: Moment, step: Step) -> Written {
        let known = self.get(set, name)?;
        if known.is_some_and(|record| (record.epoch, record.stamp) > moment) {
            return Ok(());
        }
        self.put(set, name, moment, step)
    }

    /// Where a name is written at a path: in the directory's own set, or, if it has none, in the
    /// layer that knows of it.
    fn find(
        &mut self,
        dir: &[u8],
        name: &[u8],
    ) -> Result<Option<(SetNo, Option<Record>)>, store::Failed> {
        if let Some(set) = self.ledger.tree.own_at(dir) {
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
        self.put(set, OWN, moment, taken_back(known))
    }

    fn own_slot<'p>(&mut self, path: &'p RelPath) -> (SetNo, &'p [u8]) {
        let (above, name) = split(path.as_bytes());
        (self.own_set(above), name)
    }

    /// The set that takes what is offered in a directory now.
    fn own_set(&mut self, dir: &[u8]) -> SetNo {
        match &self.lately {
            Some((path, set)) if path == dir => return *set,
            _ => {}
        }
        let set = self.ledger.tree.own_set(dir, &mut self.changes);
        self.lately = Some((dir.to_vec(), set));
        set
    }

    fn get(&mut self, set: SetNo, name: &[u8]) -> Result<Option<Record>, store::Failed> {
        key_into(set, name, &mut self.key);
        Ok(self.change.name(&self.key)?.and_then(record::decode))
    }

    fn put(&mut self, set: SetNo, name: &[u8], moment: Moment, step: Step) -> Written {
        let (epoch, stamp) = moment;
        record::encode(&Record { epoch, stamp, step }, &mut self.value);
        key_into(set, name, &mut self.key);
        self.change.put_name(&self.key, &self.value)
    }

    fn put_places(&mut self) -> Written {
        let mut changes = std::mem::take(&mut self.changes);
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
        _ => Step::Offered,
    }
}
