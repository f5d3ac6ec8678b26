//! Invites: how a sink that nobody knows yet is let in, once.
//!
//! An invite carries the source's key and the secret of a one-time key, with which the sink hands
//! over its own. The source keeps only the public half, bound to one directory, until it expires.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::key::{KEY_BYTES, PublicKey, SecretKey};
use crate::model::limits::{INVITE_SECONDS, INVITES_MAX};
use crate::state::dir::{FileMark, StateDir};
use crate::state::lines::{self, Place};

const FILE: &str = "invites";
const HEADING: &str = "Invites that this host's sources have issued, one a line";
/// Opens the text of every invite.
const PREFIX: &str = "osync1-";
/// Bytes that show a slip of the hand.
const CHECK_BYTES: usize = 4;

/// What the operator of the source gives to the one of the sink. Whoever has it first may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The key by which the source is known.
    pub server: PublicKey,
    /// The one-time key for the hand-over.
    pub one_time: SecretKey,
}

impl Invite {
    fn check(&self) -> [u8; CHECK_BYTES] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(PREFIX.as_bytes());
        hasher.update(self.server.as_bytes());
        hasher.update(self.one_time.expose());
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_BYTES]);
        check
    }
}

impl fmt::Display for Invite {
    /// Letters, digits and one hyphen: safe in a shell, in any case, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = [self.server.as_bytes(), self.one_time.expose()]
            .into_iter()
            .flatten()
            .copied()
            .chain(self.check())
            .collect();
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for Invite {
    type Err = Error;

    /// Reads an invite, whatever line breaks, spaces and quotes it has met on its way.
    fn from_str(text: &str) -> Result<Invite, Error> {
        let text: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '`'))
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let damaged = || {
            Error::Usage(
                "The invite is damaged or not whole: copy all of it, as the source printed it"
                    .into(),
            )
        };
        let digits = text.strip_prefix(PREFIX).ok_or_else(|| {
            Error::Usage(format!(
                "This is no invite; one begins with {PREFIX} and is printed by \"osync source\""
            ))
        })?;
        let bytes =
            BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| damaged())?;
        let (server, rest) = bytes.split_at_checked(KEY_BYTES).ok_or_else(damaged)?;
        let (one_time, check) = rest.split_at_checked(KEY_BYTES).ok_or_else(damaged)?;
        let invite = Invite {
            server: PublicKey::from_slice(server).map_err(|_| damaged())?,
            one_time: SecretKey::from_slice(one_time).map_err(|_| damaged())?,
        };
        if check == invite.check() { Ok(invite) } else { Err(damaged()) }
    }
}

/// An invite as the source remembers it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Issued {
    key: PublicKey,
    directory: Place,
    issued: String,
    expires: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spent_by: Option<PublicKey>,
}

/// What becomes of an invite that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spending {
    /// It is good, or this very sink has spent it before.
    Accepted,
    /// Nobody issued it for this directory, or it has expired.
    Unknown,
    /// Another sink has spent it.
    Spent,
}

impl StateDir {
    /// Remembers an invite by its public half, for the (resolved) directory of a source.
    ///
    /// # Errors
    /// When the file is damaged or can't be written.
    pub fn issue_invite(
        &self,
        one_time: PublicKey,
        directory: &Path,
        now: u64,
    ) -> Result<(), Error> {
        self.locked(|| {
            let mut invites = self.live_invites(now)?;
            let surplus = (invites.len() + 1).saturating_sub(INVITES_MAX);
            invites.drain(..surplus);
            invites.push(Issued {
                key: one_time,
                directory: Place(directory.to_owned()),
                issued: lines::moment(now),
                expires: now.saturating_add(INVITE_SECONDS),
                spent_by: None,
            });
            lines::store(self, FILE, HEADING, &invites)
        })
    }

    /// The public halves of all invites for a directory that have not expired; spent ones too, so
    /// that whoever shows one can be told.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn invites(&self, directory: &Path, now: u64) -> Result<Vec<PublicKey>, Error> {
        let invites = self.live_invites(now)?;
        Ok(invites.iter().filter(|i| i.directory.is(directory)).map(|i| i.key).collect())
    }

    /// Spends an invite on a sink's own key.
    ///
    /// # Errors
    /// When the file is damaged or can't be written.
    pub fn spend_invite(
        &self,
        one_time: &PublicKey,
        directory: &Path,
        sink: PublicKey,
        now: u64,
    ) -> Result<Spending, Error> {
        self.locked(|| {
            let mut invites = self.live_invites(now)?;
            let Some(invite) =
                invites.iter_mut().find(|i| i.key == *one_time && i.directory.is(directory))
            else {
                return Ok(Spending::Unknown);
            };
            match invite.spent_by {
                Some(other) if other != sink => return Ok(Spending::Spent),
                Some(_) => return Ok(Spending::Accepted),
                None => invite.spent_by = Some(sink),
            }
            lines::store(self, FILE, HEADING, &invites)?;
            Ok(Spending::Accepted)
        })
    }

    /// Changes with every issued or spent invite.
    #[must_use]
    pub fn invites_mark(&self) -> FileMark {
        self.mark(FILE)
    }

    fn live_invites(&self, now: u64) -> Result<Vec<Issued>, Error> {
        let mut invites: Vec<Issued> = lines::load(self, FILE)?;
        invites.retain(|invite| invite.expires > now);
        Ok(invites)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Invite {
        Invite { server: PublicKey([0xab; 32]), one_time: SecretKey::new([0x17; 32]) }
    }

    #[test]
    fn text_survives_its_journey() {
        let text = sample().to_string();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{text}");
        for form in [
            text.clone(),
            format!("  {text}\n"),
            format!("\"{}\r\n  {}\"", &text[..60], &text[60..]),
            text.to_uppercase(),
        ] {
            assert_eq!(form.parse::<Invite>().unwrap(), sample(), "{form}");
        }
    }

    #[test]
    fn a_slip_is_noticed() {
        let text = sample().to_string();
        let mut slip = text.clone();
        slip.replace_range(20..21, if &text[20..21] == "a" { "b" } else { "a" });
        for bad in ["", "osync1-", "osync2-abc", &text[..text.len() - 1], &slip, "osync1-\u{e4}"] {
            assert!(matches!(bad.parse::<Invite>(), Err(Error::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn spent_by_one_sink_for_one_directory_in_one_day() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        let (key, data, other) = (PublicKey([1; 32]), Path::new("/data"), Path::new("/other"));
        let (sink, thief) = (PublicKey([2; 32]), PublicKey([3; 32]));
        state.issue_invite(key, data, 1000).unwrap();
        let spend = |directory, sink, now| {
            // Each time from disk, as after a restart.
            let state = StateDir::open(Some(base.path())).unwrap();
            state.spend_invite(&key, directory, sink, now).unwrap()
        };
        assert_eq!(spend(other, sink, 1001), Spending::Unknown);
        assert_eq!(spend(data, sink, 1001), Spending::Accepted);
        assert_eq!(spend(data, sink, 1002), Spending::Accepted);
        assert_eq!(spend(data, thief, 1002), Spending::Spent);
        assert_eq!(state.invites(data, 1003).unwrap(), [key]);
        assert_eq!(spend(data, sink, 1000 + INVITE_SECONDS), Spending::Unknown);
        assert!(state.invites(data, 1000 + INVITE_SECONDS).unwrap().is_empty());
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        let line = |n: usize| Issued {
            key: PublicKey([u8::try_from(n % 251).unwrap(); 32]),
            directory: Place("/data".into()),
            issued: String::new(),
            expires: 10,
            spent_by: None,
        };
        let all: Vec<Issued> = (0..INVITES_MAX).map(line).collect();
        lines::store(&state, FILE, HEADING, &all).unwrap();
        state.issue_invite(PublicKey([255; 32]), Path::new("/data"), 1).unwrap();
        let kept = state.invites(Path::new("/data"), 1).unwrap();
        assert_eq!((kept.len(), kept[0]), (INVITES_MAX, line(1).key));
    }
}
