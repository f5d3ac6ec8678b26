//! `osync key`: the keys of this host, and whom it knows.

use std::path::Path;

use osync::control::{escaped, tame};
use osync::error::Error;
use osync::keyring;
use osync::model::key::PublicKey;
use osync::state::dir::StateDir;
use osync::state::keys::KeyRole;
use osync::state::unix_now;

use crate::ask::told;
use crate::cli::{KeyArgs, KeyCommand, RoleWord};
use crate::exit::Exit;
use crate::output::{print, tell};
use crate::resolve;

/// What stands for the host of a sink that was authorised by a person.
const BY_HAND: &str = "by-hand";

/// `osync key`.
pub fn key(args: &KeyArgs) -> Result<Exit, Error> {
    let state = StateDir::open(Some(&resolve::state(args.state.as_deref())?))?;
    match &args.command {
        KeyCommand::Show => show(&state),
        KeyCommand::New { role } => renew(&state, *role),
        KeyCommand::Authorise { key, directory } => authorise(&state, key, directory),
        KeyCommand::Revoke { key, directory } => revoke(&state, key, directory.as_deref()),
        KeyCommand::List => list(&state),
    }
}

fn show(state: &StateDir) -> Result<Exit, Error> {
    for role in [RoleWord::Source, RoleWord::Sink] {
        let key = keyring::show(state, role.into())?;
        told(print(&format!("{} {key}", role.word())))?;
    }
    Ok(Exit::Done)
}

fn renew(state: &StateDir, only: Option<RoleWord>) -> Result<Exit, Error> {
    for role in [RoleWord::Source, RoleWord::Sink] {
        if only.is_none_or(|only| only == role) {
            let key = keyring::renew(state, role.into())?;
            told(print(&format!("{} {key}", role.word())))?;
        }
    }
    tell("Peers that knew the old key have to be told: by a new invite, or `osync key authorise`");
    Ok(Exit::Done)
}

fn authorise(state: &StateDir, key: &PublicKey, directory: &Path) -> Result<Exit, Error> {
    let directory = real(directory)?;
    state.authorise_sink(*key, &directory, BY_HAND, unix_now())?;
    let shown = directory.display();
    tell(&format!("The sink {} may have \"{shown}\"", key.fingerprint()));
    Ok(Exit::Done)
}

fn revoke(state: &StateDir, key: &PublicKey, directory: Option<&Path>) -> Result<Exit, Error> {
    // A directory that has gone may have been authorised all the same.
    let directory = directory
        .map(|directory| real(directory).or_else(|_| resolve::absolute(directory)))
        .transpose()?;
    if state.revoke_sink(key, directory.as_deref())? == 0 {
        tell(&format!("The sink {} was not authorised: see `osync key list`", key.fingerprint()));
        return Ok(Exit::Failed);
    }
    tell(&format!("The sink {} is not authorised any more", key.fingerprint()));
    Ok(Exit::Done)
}

fn list(state: &StateDir) -> Result<Exit, Error> {
    use std::os::unix::ffi::OsStrExt;
    let shown = |path: &Path| escaped(path.as_os_str().as_bytes());
    for sink in state.authorised_sinks()? {
        let (directory, host) = (shown(&sink.directory), tame(&sink.host));
        let line = format!("sink {} may have \"{directory}\" ({host}, {})", sink.key, sink.since);
        told(print(&line))?;
    }
    for source in state.known_sources()? {
        let (directory, host) = (shown(&source.sink_directory), tame(&source.host));
        told(print(&format!(
            "source {} at {host}:{} fills \"{directory}\" ({})",
            source.key, source.port, source.since
        )))?;
    }
    Ok(Exit::Done)
}

fn real(directory: &Path) -> Result<std::path::PathBuf, Error> {
    directory
        .canonicalize()
        .map_err(|error| Error::disk("Can't find the directory", directory, error))
}

impl From<RoleWord> for KeyRole {
    fn from(role: RoleWord) -> KeyRole {
        match role {
            RoleWord::Source => KeyRole::Source,
            RoleWord::Sink => KeyRole::Sink,
        }
    }
}
