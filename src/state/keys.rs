//! The long-term keys of this host, one for each role.

use std::io;

use crate::error::Error;
use crate::model::key::{PublicKey, SecretKey};
use crate::state::dir::{Privacy, StateDir};

/// Which operator a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// The source.
    Source,
    /// The sink.
    Sink,
}

impl KeyRole {
    fn file(self) -> &'static str {
        match self {
            KeyRole::Source => "source.key",
            KeyRole::Sink => "sink.key",
        }
    }
}

/// Both halves of a key, as they lie on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The half that everybody may know.
    pub public: PublicKey,
    /// The half that nobody else may know.
    pub secret: SecretKey,
}

impl StateDir {
    /// The key of a role, if there is one.
    ///
    /// # Errors
    /// When others may read the file, or it is damaged.
    pub fn key(&self, role: KeyRole) -> Result<Option<StoredKey>, Error> {
        let Some(text) = self.read(role.file(), Privacy::Secret)? else { return Ok(None) };
        let field = |name: &str| {
            text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(' '))
        };
        let public = field("public").and_then(|digits| digits.parse().ok());
        let secret = field("secret").and_then(|digits| SecretKey::from_digits(digits).ok());
        match (public, secret) {
            (Some(public), Some(secret)) => Ok(Some(StoredKey { public, secret })),
            _ => Err(Error::disk(
                "Can't read",
                self.file(role.file()),
                io::Error::other(
                    "it holds no key: put back a copy of it, or make a new one with \
                     \"osync key new\" (peers that knew the old one need a new invite)",
                ),
            )),
        }
    }

    /// The key of a role, drawn by `make` if there is none yet.
    ///
    /// # Errors
    /// When others may read the file, it is damaged, or none can be made.
    pub fn key_or_new(
        &self,
        role: KeyRole,
        make: impl FnOnce() -> Result<StoredKey, Error>,
    ) -> Result<StoredKey, Error> {
        if let Some(key) = self.key(role)? {
            return Ok(key);
        }
        self.locked(|| match self.key(role)? {
            Some(key) => Ok(key),
            None => self.put_key(role, make()?),
        })
    }

    /// Replaces the key of a role; peers that know the old one will not know this host any more.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn replace_key(&self, role: KeyRole, key: StoredKey) -> Result<StoredKey, Error> {
        self.locked(|| self.put_key(role, key))
    }

    fn put_key(&self, role: KeyRole, key: StoredKey) -> Result<StoredKey, Error> {
        let text = format!(
            "# The key of an osync operator. Whoever can read it can pass for this host.\n\
             public {}\nsecret {}\n",
            key.public,
            key.secret.reveal()
        );
        self.write(role.file(), &text)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn sample(byte: u8) -> StoredKey {
        StoredKey { public: PublicKey([byte; 32]), secret: SecretKey::new([byte; 32]) }
    }

    #[test]
    fn made_once_and_kept() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        assert_eq!(state.key(KeyRole::Sink).unwrap(), None);
        assert_eq!(state.key_or_new(KeyRole::Sink, || Ok(sample(1))).unwrap(), sample(1));
        assert_eq!(state.key_or_new(KeyRole::Sink, || Ok(sample(2))).unwrap(), sample(1));
        assert_eq!(state.key(KeyRole::Source).unwrap(), None);
        state.replace_key(KeyRole::Sink, sample(2)).unwrap();
        assert_eq!(state.key(KeyRole::Sink).unwrap(), Some(sample(2)));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        state.key_or_new(KeyRole::Source, || Ok(sample(1))).unwrap();
        let path = base.path().join("source.key");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = state.key(KeyRole::Source).unwrap_err();
        assert!(matches!(error, Error::Refused(_)));
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert!(state.key_or_new(KeyRole::Source, || Ok(sample(2))).is_err());
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        state.write("sink.key", "public 00\n").unwrap();
        assert!(state.key_or_new(KeyRole::Sink, || Ok(sample(2))).is_err());
    }
}
