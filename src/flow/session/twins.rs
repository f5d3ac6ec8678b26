//! Names that are one at a sink to which case does not count.
//!
//! Of such names of one directory the first that a listing meets is carried; each other is a
//! problem that names both, a loss that is counted, and is left alone, with all below it, until a
//! listing meets it alone. What was put there by an event before a listing has met both is mended
//! by the next listing: nobody but a listing knows which names stand side by side.

use std::collections::HashMap;

use crate::flow::session::{Session, Shared};
use crate::model::limits::PROBLEMS_MAX;
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// The names that one listing has met, as a sink sees them to which case does not count. It lasts
/// as long as the listing.
#[derive(Debug, Default)]
pub(super) struct Met(HashMap<Vec<u8>, Name>);

/// A name without its case, as most filesystems see it.
fn folded(name: &Name) -> Vec<u8> {
    match std::str::from_utf8(name.as_bytes()) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => name.as_bytes().to_ascii_lowercase(),
    }
}

/// What a person is told of a name that is one with another.
pub(super) fn words(other: &Name) -> String {
    let other = other.as_bytes().escape_ascii();
    format!(
        "At the sink this name and \"{other}\" beside it are one, for case does not count there: \
         rename one of them at the source"
    )
}

impl Session {
    /// The name that was met before and is one with this one at the sink.
    pub(super) fn meet_twin(&mut self, id: u64, dir: DirKey, name: &Name) -> Option<Name> {
        if !self.terms.abilities.folds_case {
            return None;
        }
        let met = &mut self.listings.get_mut(&id)?.met.0;
        let at = (dir, name.clone());
        let first = met.entry(folded(name)).or_insert_with(|| name.clone());
        if first == name {
            self.twins.remove(&at);
            return None;
        }
        let first = first.clone();
        if self.twins.len() < PROBLEMS_MAX {
            self.twins.insert(at, first.clone());
        }
        Some(first)
    }

    /// The name that was carried in the place of this one.
    pub(super) fn twin(&self, dir: DirKey, name: &Name) -> Option<&Name> {
        (!self.twins.is_empty()).then(|| self.twins.get(&(dir, name.clone()))).flatten()
    }

    /// Whether a directory, or one above it, is left alone for its name.
    pub(super) fn is_shadowed(&self, dir: DirKey, shared: &Shared) -> bool {
        let is_twin = |at| {
            let place = shared.map.get(at).and_then(|known| known.place().cloned());
            place.is_some_and(|place| self.twins.contains_key(&place))
        };
        !self.twins.is_empty() && shared.map.upwards(dir).any(is_twin)
    }
}
