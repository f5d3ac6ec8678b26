//! Key pairs, and how a socket is put under CURVE. The bound end is always the CURVE server.

use crate::error::Error;
use crate::model::key::{PublicKey, SecretKey};
use crate::net::{sys, trouble};

/// Both halves of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The half that names this host to its peers.
    pub public: PublicKey,
    /// The half that proves it.
    pub secret: SecretKey,
}

impl KeyPair {
    /// Draws a new key.
    ///
    /// # Errors
    /// When the library has no CURVE.
    pub fn generate() -> Result<KeyPair, Error> {
        let pair = zmq::CurveKeyPair::new().map_err(|e| trouble("Can't make a key", e))?;
        Ok(KeyPair { public: PublicKey(pair.public_key), secret: SecretKey::new(pair.secret_key) })
    }

    /// Computes the public half of a secret key.
    ///
    /// # Errors
    /// When the library has no CURVE.
    pub fn from_secret(secret: SecretKey) -> Result<KeyPair, Error> {
        let public = sys::public_key(&secret)
            .map_err(|e| Error::Network(format!("Can't compute a public key: {e}")))?;
        Ok(KeyPair { public, secret })
    }
}

/// Makes a socket, before it is bound, admit only whom the gatekeeper knows in this domain.
pub(super) fn guard(socket: &mut zmq::Socket, keys: &KeyPair, domain: &str) -> Result<(), Error> {
    let set = |socket: &zmq::Socket| -> zmq::Result<()> {
        socket.set_curve_server(true)?;
        socket.set_curve_publickey(keys.public.as_bytes())?;
        socket.set_curve_secretkey(keys.secret.expose())?;
        socket.set_zap_domain(domain)
    };
    set(socket).map_err(|e| trouble("Can't secure a socket", e))?;
    sys::enforce_domain(socket).map_err(|e| Error::Network(format!("Can't secure a socket: {e}")))
}

/// Makes a socket, before it connects, show its own key and insist on the server's.
pub(super) fn present(
    socket: &zmq::Socket,
    own: &KeyPair,
    server: &PublicKey,
) -> Result<(), Error> {
    let set = || -> zmq::Result<()> {
        socket.set_curve_serverkey(server.as_bytes())?;
        socket.set_curve_publickey(own.public.as_bytes())?;
        socket.set_curve_secretkey(own.secret.expose())
    };
    set().map_err(|e| trouble("Can't secure a socket", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_half_follows_from_the_secret() {
        let pair = KeyPair::generate().unwrap();
        assert_eq!(KeyPair::from_secret(pair.secret.clone()).unwrap(), pair);
        assert!(!format!("{pair:?}").contains(&pair.secret.reveal()));
    }
}
