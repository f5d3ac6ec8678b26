//! Who is known: the sinks that may take from this host's sources, and the sources of its sinks.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::key::PublicKey;
use crate::state::dir::{FileMark, StateDir};
use crate::state::lines::{self, Place};

const SINKS: &str = "authorised-sinks";
const SINKS_HEADING: &str = "Sinks that may take from this host's sources, one a line";
const SOURCES: &str = "known-sources";
const SOURCES_HEADING: &str = "Sources that this host's sinks know, one a line";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SinkLine {
    key: PublicKey,
    directory: Place,
    since: String,
    host: String,
}

/// A sink that may take a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorisedSink {
    /// The sink's own key.
    pub key: PublicKey,
    /// The directory that it may have.
    pub directory: PathBuf,
    /// Since when, for people.
    pub since: String,
    /// From where, for people.
    pub host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SourceLine {
    host: String,
    port: u16,
    key: PublicKey,
    sink_directory: Place,
    since: String,
}

/// A source that a sink has taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSource {
    /// Its host, as the person wrote it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its key.
    pub key: PublicKey,
    /// The directory of this host that takes from it.
    pub sink_directory: PathBuf,
    /// Since when, for people.
    pub since: String,
}

impl StateDir {
    /// All sinks that may take from this host, in the order of the file.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn authorised_sinks(&self) -> Result<Vec<AuthorisedSink>, Error> {
        let sinks: Vec<SinkLine> = lines::load(self, SINKS)?;
        Ok(sinks
            .into_iter()
            .map(|line| AuthorisedSink {
                key: line.key,
                directory: line.directory.0,
                since: line.since,
                host: line.host,
            })
            .collect())
    }

    /// Lets a sink take a (resolved) directory. Again is no harm: only the host's name changes.
    ///
    /// # Errors
    /// When the file is damaged or can't be written.
    pub fn authorise_sink(
        &self,
        key: PublicKey,
        directory: &Path,
        host: &str,
        now: u64,
    ) -> Result<(), Error> {
        self.locked(|| {
            let mut sinks: Vec<SinkLine> = lines::load(self, SINKS)?;
            match sinks.iter_mut().find(|s| s.key == key && s.directory.is(directory)) {
                Some(line) if line.host == host => return Ok(()),
                Some(line) => host.clone_into(&mut line.host),
                None => sinks.push(SinkLine {
                    key,
                    directory: Place(directory.to_owned()),
                    since: lines::moment(now),
                    host: host.to_owned(),
                }),
            }
            lines::store(self, SINKS, SINKS_HEADING, &sinks)
        })
    }

    /// Lets a sink take nothing any more, or not this directory; returns how many lines went.
    ///
    /// # Errors
    /// When the file is damaged or can't be written.
    pub fn revoke_sink(&self, key: &PublicKey, directory: Option<&Path>) -> Result<usize, Error> {
        self.locked(|| {
            let mut sinks: Vec<SinkLine> = lines::load(self, SINKS)?;
            let before = sinks.len();
            sinks.retain(|s| s.key != *key || directory.is_some_and(|d| !s.directory.is(d)));
            let gone = before - sinks.len();
            if gone > 0 {
                lines::store(self, SINKS, SINKS_HEADING, &sinks)?;
            }
            Ok(gone)
        })
    }

    /// Changes whenever a sink is authorised or revoked.
    #[must_use]
    pub fn sinks_mark(&self) -> FileMark {
        self.mark(SINKS)
    }

    /// All sources that this host's sinks know, in the order of the file.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn known_sources(&self) -> Result<Vec<KnownSource>, Error> {
        let sources: Vec<SourceLine> = lines::load(self, SOURCES)?;
        Ok(sources
            .into_iter()
            .map(|line| KnownSource {
                host: line.host,
                port: line.port,
                key: line.key,
                sink_directory: line.sink_directory.0,
                since: line.since,
            })
            .collect())
    }

    /// The key by which a source is known: to this sink directory, or else at this host and port,
    /// or else at this host if all its sources have the same.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn source_key(
        &self,
        sink_directory: &Path,
        host: &str,
        port: u16,
    ) -> Result<Option<PublicKey>, Error> {
        let sources = self.known_sources()?;
        let same_host = |s: &&KnownSource| s.host.eq_ignore_ascii_case(host);
        let by_directory = sources.iter().find(|s| s.sink_directory == sink_directory);
        let by_port = sources.iter().filter(same_host).rfind(|s| s.port == port);
        if let Some(source) = by_directory.or(by_port) {
            return Ok(Some(source.key));
        }
        let mut keys = sources.iter().filter(same_host).map(|s| s.key);
        let first = keys.next();
        Ok(first.filter(|first| keys.all(|key| key == *first)))
    }

    /// Remembers the source that a sink directory takes from, in place of any before.
    ///
    /// # Errors
    /// When the file is damaged or can't be written.
    pub fn remember_source(
        &self,
        sink_directory: &Path,
        host: &str,
        port: u16,
        key: PublicKey,
        now: u64,
    ) -> Result<(), Error> {
        self.locked(|| {
            let mut sources: Vec<SourceLine> = lines::load(self, SOURCES)?;
            let known = sources.iter().any(|s| {
                s.sink_directory.is(sink_directory)
                    && s.host == host
                    && s.port == port
                    && s.key == key
            });
            if known {
                return Ok(());
            }
            sources.retain(|s| !s.sink_directory.is(sink_directory));
            sources.push(SourceLine {
                host: host.to_owned(),
                port,
                key,
                sink_directory: Place(sink_directory.to_owned()),
                since: lines::moment(now),
            });
            lines::store(self, SOURCES, SOURCES_HEADING, &sources)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        (base, state)
    }

    #[test]
    fn sinks_come_and_go() {
        let (_base, state) = state();
        let (one, two) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let (data, home) = (Path::new("/data"), Path::new("/home"));
        let nothing = state.sinks_mark();
        state.authorise_sink(one, data, "new", 0).unwrap();
        state.authorise_sink(one, data, "newer", 1).unwrap();
        state.authorise_sink(one, home, "new", 0).unwrap();
        state.authorise_sink(two, data, "new", 0).unwrap();
        assert!(state.sinks_mark() != nothing);
        let sinks = state.authorised_sinks().unwrap();
        assert_eq!((sinks.len(), sinks[0].host.as_str()), (3, "newer"));
        assert_eq!(sinks[0].since, "1970-01-01T00:00:00Z");
        assert_eq!(state.revoke_sink(&one, Some(home)).unwrap(), 1);
        assert_eq!(state.revoke_sink(&one, None).unwrap(), 1);
        assert_eq!(state.revoke_sink(&one, None).unwrap(), 0);
        assert_eq!(state.authorised_sinks().unwrap().len(), 1);
    }

    #[test]
    fn sources_are_known_by_directory_then_address() {
        let (_base, state) = state();
        let (one, two) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let (a, b, c) = (Path::new("/a"), Path::new("/b"), Path::new("/c"));
        state.remember_source(a, "old", 9753, one, 0).unwrap();
        let key = |directory, host, port| state.source_key(directory, host, port).unwrap();
        assert_eq!(key(a, "moved", 1), Some(one));
        assert_eq!(key(c, "OLD", 9753), Some(one));
        assert_eq!(key(c, "old", 1), Some(one));
        assert_eq!(key(c, "moved", 9753), None);
        state.remember_source(b, "old", 9760, two, 0).unwrap();
        assert_eq!(key(c, "old", 9760), Some(two));
        assert_eq!(key(c, "old", 1), None);
        state.remember_source(a, "old", 9753, two, 0).unwrap();
        assert_eq!(key(a, "old", 9753), Some(two));
        assert_eq!(state.known_sources().unwrap().len(), 2);
    }
}
