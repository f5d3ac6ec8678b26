//! What an operator remembers between runs: its keys, its peers, invites, epochs; and what the
//! marker says that stands in the sink's own tree.
//!
//! - All of it lies in one private directory, in files that people can read; secrets lie in files
//!   that nobody else may read, and are refused if somebody may.
//! - Files change by rename, under a lock, and are on disk before the change is used: operators
//!   of several directories may share one state directory.
//! - A damaged line is an error that names its file and its number, never passed over.

pub mod dir;
pub mod epochs;
pub mod invite;
pub mod keys;
pub mod ledger;
mod lines;
pub mod marker;
pub mod peers;
pub mod signatures;

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
