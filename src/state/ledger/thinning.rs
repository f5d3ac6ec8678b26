//! Few layers: what renames have laid at one place is poured into one set once it is many.
//!
//! - Without it a tree whose directories change places all day would have as many layers as
//!   renames, and each name would be looked for in all of them.
//! - What is poured together is known to have been offered, and nothing more: what the sink has of
//!   it is compared again. It was in doubt anyway.
//! - Large layers stay as they are: that many names are not offered between any two renames.

use super::kin::object_of;
use super::store::Failed;
use super::tree::{Key, SetNo};
use super::writing::Pen;
use super::{Record, Step, key_into, record};
use crate::model::limits::{LEDGER_LAYER_NAMES_MAX, LEDGER_LAYERS_MAX};

/// Where something stands: a set, and the key of a name.
type Slot = (SetNo, Key);

impl Pen<'_, '_> {
    /// Sees to it that few layers lie at a path, and at what is below it.
    pub(super) fn thin(&mut self, path: &[u8]) -> Result<(), Failed> {
        let Some(slot) = self.ledger.tree.slot(path) else { return Ok(()) };
        let mut slots = vec![slot];
        while let Some(slot) = slots.pop() {
            let layers = self.ledger.tree.place(slot.0, &slot.1).map(|place| place.layers.clone());
            let layers = layers.unwrap_or_default();
            if layers.len() > LEDGER_LAYERS_MAX {
                // The tables tell of what is below them.
                self.put_places()?;
                self.pour_together(slot, layers, &mut slots)?;
            }
        }
        Ok(())
    }

    /// Pours the small ones of some layers into one; adds the places below that.
    fn pour_together(
        &mut self,
        slot: Slot,
        layers: Vec<SetNo>,
        below: &mut Vec<Slot>,
    ) -> Result<(), Failed> {
        let mut small = Vec::new();
        for layer in layers {
            if self.is_small(layer)? {
                small.push(layer);
            }
        }
        if small.len() < 2 {
            return Ok(());
        }
        self.lately = None;
        let whole = self.ledger.tree.begin_layer();
        let nowhere = self.ledger.tree.change_layers(slot, &small, whole, &mut self.changes);
        for layer in small {
            let is_nowhere = nowhere.contains(&layer);
            self.pour_names(layer, whole, is_nowhere)?;
            self.pour_places(layer, whole, is_nowhere, below)?;
        }
        Ok(())
    }

    fn is_small(&self, layer: SetNo) -> Result<bool, Failed> {
        let (mut names, prefix) = (0, layer.to_be_bytes());
        self.change.names_of(&prefix, |_, _| {
            names += 1;
            names <= LEDGER_LAYER_NAMES_MAX
        })?;
        let mut places = 0;
        self.change.places_of(&prefix, |_| {
            places += 1;
            places <= LEDGER_LAYER_NAMES_MAX
        })?;
        Ok(names.max(places) <= LEDGER_LAYER_NAMES_MAX)
    }

    fn pour_names(&mut self, layer: SetNo, whole: SetNo, is_nowhere: bool) -> Result<(), Failed> {
        let mut rows = Vec::new();
        self.change.names_of(&layer.to_be_bytes(), |name, value| {
            rows.push((name.to_vec(), record::decode(value)));
            true
        })?;
        for (name, record) in rows {
            let Some(record) = record else { continue };
            if is_nowhere && let Some(object) = object_of(&record.step) {
                self.leave_object(layer, &name, &object)?;
            }
            let known = self.get(whole, &name)?;
            record::encode(&either(record, known), &mut self.value);
            key_into(whole, &name, &mut self.key);
            self.change.put_name(&self.key, &self.value)?;
        }
        if is_nowhere {
            self.change.drop_names(&layer.to_be_bytes())?;
        }
        Ok(())
    }

    fn pour_places(
        &mut self,
        layer: SetNo,
        whole: SetNo,
        is_nowhere: bool,
        below: &mut Vec<Slot>,
    ) -> Result<(), Failed> {
        let mut keys: Vec<Key> = Vec::new();
        self.change.places_of(&layer.to_be_bytes(), |key| {
            keys.extend(key.as_array());
            true
        })?;
        for key in keys {
            self.ledger.tree.share_place((layer, key), (whole, key), is_nowhere, &mut self.changes);
            below.push((whole, key));
        }
        Ok(())
    }
}

/// What is known of a name by two records, of which either may be true: that it was offered, unless
/// both say that it is gone.
fn either(record: Record, known: Option<Record>) -> Record {
    let moment = |record: &Record| (record.epoch, record.stamp);
    let last = known.filter(|known| moment(known) > moment(&record)).unwrap_or(record);
    let is_gone = |record: &Record| matches!(record.step, Step::Gone { .. });
    if is_gone(&record) && known.as_ref().is_none_or(is_gone) {
        return last;
    }
    Record { step: Step::Offered { kin: None }, ..last }
}
