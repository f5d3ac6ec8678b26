//! The init phase: the source prepares its service, the sink registers with it over a secure
//! channel, both make sure that the other is ready.
//!
//! - [`source`] answers: it knows who may come in, and grants the same epoch for the same nonce.
//! - [`sink`] asks: with its own key or, once, with that of an invite; again and again, with
//!   growing pauses, until it is let in.

pub mod sink;
pub mod source;

use crate::error::Error;
use crate::net::curve::KeyPair;
use crate::state::dir::StateDir;
use crate::state::keys::{KeyRole, StoredKey};

/// This host's key in a role, made on the first start.
///
/// # Errors
/// When the key file can be read by others, is damaged, or can't be written.
pub fn own_keys(state: &StateDir, role: KeyRole) -> Result<KeyPair, Error> {
    let stored = state.key_or_new(role, draw)?;
    let keys = KeyPair::from_secret(stored.secret)?;
    if keys.public != stored.public {
        return Err(Error::Refused(format!(
            "The two halves of the key in \"{}\" do not belong together: put back a copy of the \
             file, or make a new key with \"osync key new\"",
            state.path().display()
        )));
    }
    Ok(keys)
}

/// A new key for this host in place of the old; peers have to be introduced again.
///
/// # Errors
/// When it can't be written.
pub fn renew_keys(state: &StateDir, role: KeyRole) -> Result<KeyPair, Error> {
    KeyPair::from_secret(state.replace_key(role, draw()?)?.secret)
}

fn draw() -> Result<StoredKey, Error> {
    let keys = KeyPair::generate()?;
    Ok(StoredKey { public: keys.public, secret: keys.secret })
}
