//! MessagePack encoding and decoding. Decoding refuses; it never panics.
//!
//! - Commands and replies are self-describing: structures are maps with field names, so that
//!   another version can still read the opening and say what is wrong.
//! - Data and reports are terse: structures are arrays. The version agreed at registration
//!   guards them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::wire::command::{Envelope, MAGIC, PROTOCOL_VERSION};

/// Encodes a header or a report, tersely.
///
/// # Errors
/// Never for the types of `wire`; the signature is that of the encoder.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    rmp_serde::to_vec(value).map_err(|e| Error::Protocol(format!("Can't encode: {e}")))
}

/// Encodes a request or a reply in its envelope, with field names.
///
/// # Errors
/// Never for the types of `wire`; the signature is that of the encoder.
pub fn encode_envelope<T: Serialize>(body: T) -> Result<Vec<u8>, Error> {
    rmp_serde::to_vec_named(&Envelope::new(body))
        .map_err(|e| Error::Protocol(format!("Can't encode: {e}")))
}

/// Decodes one value; trailing bytes are refused.
///
/// # Errors
/// When the bytes are no such value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut rest = bytes;
    let value = rmp_serde::from_read(&mut rest)
        .map_err(|e| Error::Protocol(format!("Malformed message from the peer: {e}")))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(Error::Protocol(format!("{} bytes too many in a message", rest.len())))
    }
}

/// The part of an envelope that every version can read.
#[derive(serde::Deserialize)]
struct Opening {
    magic: [u8; 5],
    version: u32,
}

/// Decodes an envelope, telling a stranger and another version from garbage.
///
/// # Errors
/// `Protocol` for what is no osync message, `Version` for another version, naming both.
pub fn decode_envelope<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let opening: Opening = rmp_serde::from_slice(bytes)
        .map_err(|_| Error::Protocol("The peer does not speak osync's protocol".into()))?;
    if opening.magic != MAGIC {
        return Err(Error::Protocol("The peer does not speak osync's protocol".into()));
    }
    if opening.version != PROTOCOL_VERSION {
        return Err(Error::Version { ours: PROTOCOL_VERSION, theirs: opening.version });
    }
    decode::<Envelope<T>>(bytes).map(|envelope| envelope.body)
}
