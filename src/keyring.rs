//! The keys of this host, for people: what `osync key` shows and renews. It stands beside the
//! operators, since a key is made by the network's means and kept by the state directory.

use crate::error::Error;
use crate::model::key::PublicKey;
use crate::phases::init::{own_keys, renew_keys};
use crate::state::dir::StateDir;
use crate::state::keys::KeyRole;

/// The public key of a role; made at its first use.
///
/// # Errors
/// When others may read the file, it is damaged, or none can be made.
pub fn show(state: &StateDir, role: KeyRole) -> Result<PublicKey, Error> {
    own_keys(state, role).map(|keys| keys.public)
}

/// A new key for a role in place of the old one, by which no peer knows this host any more.
///
/// # Errors
/// When none can be made or written.
pub fn renew(state: &StateDir, role: KeyRole) -> Result<PublicKey, Error> {
    renew_keys(state, role).map(|keys| keys.public)
}
