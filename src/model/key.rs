//! CURVE keys as plain values. What can be computed with them is the network's business.
//!
//! - A [`PublicKey`] names a peer; as text it is 64 hexadecimal digits.
//! - A [`SecretKey`] never shows itself: neither `Debug` nor an error prints it.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes of a key, public or secret.
pub const KEY_BYTES: usize = 32;

/// Why some text or bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("A key is 64 hexadecimal digits")]
pub struct KeyError;

/// Names a peer: the half of its key that everybody may know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub [u8; KEY_BYTES]);

impl PublicKey {
    /// Takes the bytes of a key.
    ///
    /// # Errors
    /// When they are not 32.
    pub fn from_slice(bytes: &[u8]) -> Result<PublicKey, KeyError> {
        bytes.try_into().map(PublicKey).map_err(|_| KeyError)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The first 16 digits, for people who compare two screens.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        HEXLOWER.encode(&self.0[..8])
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<PublicKey, KeyError> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| KeyError)?;
        PublicKey::from_slice(&bytes)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<PublicKey, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

/// The half of a key that never leaves its host, but for an invite's.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    /// Takes the bytes of a key.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> SecretKey {
        SecretKey(bytes)
    }

    /// Takes the bytes of a key.
    ///
    /// # Errors
    /// When they are not 32.
    pub fn from_slice(bytes: &[u8]) -> Result<SecretKey, KeyError> {
        bytes.try_into().map(SecretKey).map_err(|_| KeyError)
    }

    /// Reads the digits that [`SecretKey::reveal`] wrote.
    ///
    /// # Errors
    /// When they are not 64 hexadecimal digits.
    pub fn from_digits(text: &str) -> Result<SecretKey, KeyError> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| KeyError)?;
        SecretKey::from_slice(&bytes)
    }

    /// The bytes, for the one who has to use them.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The digits, for a file that only its owner can read.
    #[must_use]
    pub fn reveal(&self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip() {
        let key = PublicKey([0xa5; KEY_BYTES]);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(format!(" {key}\n").to_uppercase().parse(), Ok(key));
        assert_eq!(key.fingerprint(), "a5a5a5a5a5a5a5a5");
        assert_eq!("a5".parse::<PublicKey>(), Err(KeyError));
        assert_eq!("x".repeat(64).parse::<PublicKey>(), Err(KeyError));
    }

    #[test]
    fn secrets_hide() {
        let secret = SecretKey::new([7; KEY_BYTES]);
        assert!(!format!("{secret:?}").contains('7'));
        assert_eq!(SecretKey::from_digits(&secret.reveal()), Ok(secret));
    }
}
