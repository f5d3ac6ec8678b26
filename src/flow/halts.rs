//! Why nothing may be removed at the sinks, as long as that is so (law 9).
//!
//! Each cause stands by itself: a later one is said even while an earlier one lasts, and one that
//! has gone is lifted without a person's word where nothing can have been lost meanwhile.

use std::collections::BTreeMap;

use crate::model::limits::HALTS_MAX;
use crate::model::path::RelPath;
use crate::model::stamp::SinkId;

/// What halts removals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The source's root is not at its place. Lifted when that very directory is back.
    Root,
    /// A filesystem came, went or was replaced at a path. A person has to look.
    Mount(RelPath),
    /// Too many names went for this sink. Lifted when enough of them have come back.
    TooMany(SinkId),
}

/// The causes that stand, each with a sentence for people.
#[derive(Debug, Default)]
pub struct Halts(BTreeMap<Cause, String>);

impl Halts {
    /// Whether removals are halted.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether this cause stands.
    #[must_use]
    pub fn has(&self, cause: &Cause) -> bool {
        self.0.contains_key(cause)
    }

    /// Notes a cause; true if it is new. Beyond a bound it changes nothing.
    pub fn add(&mut self, cause: Cause, words: &str) -> bool {
        if self.has(&cause) || self.0.len() >= HALTS_MAX {
            return false;
        }
        self.0.insert(cause, words.to_owned());
        true
    }

    /// A cause is there no more; true if it was.
    pub fn lift(&mut self, cause: &Cause) -> bool {
        self.0.remove(cause).is_some()
    }

    /// A person says that none counts any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Why removals are halted, if they are: all causes.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let all: Vec<&str> = self.0.values().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
