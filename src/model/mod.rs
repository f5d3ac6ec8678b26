//! Plain values that every floor shares: names, entries, stamps, events, operations, limits.
//!
//! Nothing here does I/O, takes a lock or reads a clock. This floor imports no other. One trait
//! stands here because floors that never meet share it: [`target::Target`].

pub mod abilities;
pub mod attributes;
pub mod backup;
pub mod bandwidth;
pub mod content;
pub mod delta;
pub mod entry;
pub mod event;
pub mod item;
pub mod key;
pub mod ledger;
pub mod limits;
pub mod look;
pub mod marker;
pub mod message;
pub mod offer;
pub mod op;
pub mod owners;
pub mod packing;
pub mod path;
pub mod priority;
pub mod removal;
pub mod selection;
pub mod session;
pub mod setting;
pub mod stamp;
pub mod status;
pub mod target;
