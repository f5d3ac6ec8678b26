//! First halves of renames, held back for a moment until their second half comes.
//!
//! The two halves bear the same cookie and need not be neighbours in the queue. A half whose
//! partner does not come was moved out of the tree, or to a place that is not armed yet.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::limits::HALVES_MAX;
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// How long a first half waits.
pub const HOLD_BACK: Duration = Duration::from_millis(30);

/// A name that left by a rename.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Half {
    /// Pairs it with its second half.
    pub cookie: u32,
    /// The directory that it left.
    pub dir: DirKey,
    /// The name that it had.
    pub name: Name,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// When it was read.
    pub at: Duration,
}

/// The halves held back, oldest first.
#[derive(Debug, Default)]
pub struct Halves {
    held: VecDeque<Half>,
}

impl Halves {
    /// Holds a half back; beyond the bound the oldest is given up and returned.
    pub fn hold(&mut self, half: Half) -> Option<Half> {
        self.held.push_back(half);
        if self.held.len() > HALVES_MAX { self.held.pop_front() } else { None }
    }

    /// Takes the half with that cookie.
    pub fn take(&mut self, cookie: u32) -> Option<Half> {
        let at = self.held.iter().position(|half| half.cookie == cookie)?;
        self.held.remove(at)
    }

    /// Takes the oldest half if it has waited long enough.
    pub fn expire(&mut self, now: Duration) -> Option<Half> {
        let due = self.held.front().is_some_and(|half| now >= half.at + HOLD_BACK);
        if due { self.held.pop_front() } else { None }
    }

    /// When the oldest half is to be given up.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.held.front().map(|half| half.at + HOLD_BACK)
    }

    /// Whether no half is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The halves held, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Half> {
        self.held.iter()
    }

    /// Forgets all halves and returns them.
    pub fn clear(&mut self) -> Vec<Half> {
        self.held.drain(..).collect()
    }
}
