//! What a watcher tells: hints in the past tense, never instructions (law 2).

use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// One hint about one name in one watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The directory, by the token under which it was armed.
    pub dir: DirKey,
    /// What is said of it.
    pub what: Happening,
}

/// What happened, as far as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A name appeared (not by a rename).
    Created {
        /// The name.
        name: Name,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// Content was written; the writer may go on.
    Written {
        /// The name.
        name: Name,
    },
    /// A descriptor that could write was closed.
    Closed {
        /// The name.
        name: Name,
    },
    /// Attributes changed.
    Retouched {
        /// The name.
        name: Name,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// A name went (not by a rename).
    Removed {
        /// The name.
        name: Name,
        /// Whether it was a directory.
        is_dir: bool,
    },
    /// A name left by a rename; its other half bears the same cookie.
    MovedFrom {
        /// The name.
        name: Name,
        /// Pairs the halves.
        cookie: u32,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// A name arrived by a rename.
    MovedTo {
        /// The name.
        name: Name,
        /// Pairs the halves.
        cookie: u32,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// The directory's own attributes changed.
    SelfRetouched,
    /// The directory itself is gone and its watch with it.
    SelfGone,
    /// The filesystem below the watch was unmounted.
    Unmounted,
}

/// What a watcher hands on, in the order of the kernel's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A hint.
    Event(Event),
    /// The kernel's queue overflowed: anything may have been missed.
    Overflow,
    /// The queue was read empty after this ticket was asked for.
    Drained(u64),
    /// Something that a person should know.
    Note(String),
    /// The watcher failed for good; the text says how.
    Failed(String),
}
