//! Where control sockets lie and what they are called.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::model::status::Role;

/// Longest path of a socket that Linux takes, less the zero at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Room for the longest name that [`Names`] makes, and for the one it bears while it is made.
const SOCKET_NAME_BYTES: usize = 64;

/// What the socket of an operator is called.
pub(super) struct Names {
    /// By device and inode of the directory, if it is there.
    pub(super) by_identity: Option<String>,
    /// By the directory's path: as given, made absolute, and with its links resolved.
    pub(super) by_path: Vec<String>,
}

impl Names {
    /// The names for an operator of this role on this directory, which may have gone.
    pub(super) fn of(directory: &Path, role: Role) -> Names {
        let identity = directory.metadata().ok();
        let by_identity =
            identity.map(|meta: Metadata| format!("{role}-{:x}-{:x}", meta.dev(), meta.ino()));
        let absolute = std::path::absolute(directory).ok();
        let resolved = directory.canonicalize().ok();
        let mut by_path: Vec<String> = absolute
            .into_iter()
            .chain(resolved)
            .map(|path| {
                let clean: PathBuf = path.components().collect();
                let hash = blake3::hash(clean.as_os_str().as_bytes()).to_hex();
                format!("{role}-at-{}", &hash[..16])
            })
            .collect();
        by_path.dedup();
        Names { by_identity, by_path }
    }
}

/// The directories where this user's sockets may lie, the best first.
pub(super) fn candidates() -> Vec<PathBuf> {
    let user = rustix::process::geteuid();
    let mut places = Vec::new();
    if user.is_root() {
        places.push(PathBuf::from("/run/osync"));
    }
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
        && runtime.is_absolute()
    {
        places.push(runtime.join("osync"));
    }
    places.push(std::env::temp_dir().join(format!("osync-{}", user.as_raw())));
    places.retain(|place| place.as_os_str().len() + 1 + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES_MAX);
    places
}

/// Makes the best place that can be had; nobody else may write in it.
pub(super) fn open() -> Result<PathBuf, Error> {
    let mut failure = None;
    for place in candidates() {
        match make_private(&place) {
            Ok(()) => return Ok(place),
            Err(error) => failure = Some((place, error)),
        }
    }
    Err(match failure {
        Some((place, error)) => {
            Error::disk("Can't make the directory for control sockets", place, error)
        }
        None => Error::Usage(
            "No directory for control sockets has a path short enough: set XDG_RUNTIME_DIR".into(),
        ),
    })
}

fn make_private(place: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => is_private(place),
    }
}

/// Whether a place is a directory of this user's, and nobody else may write in it.
pub(super) fn is_private(place: &Path) -> io::Result<()> {
    let meta = place.symlink_metadata()?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if meta.is_dir() && ours && meta.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(io::Error::other("it stands there already and others may write in it"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{Names, is_private};
    use crate::model::status::Role;

    #[test]
    fn a_name_follows_the_directory_and_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        let before = Names::of(&one, Role::Sink);
        std::fs::rename(&one, &two).unwrap();
        let (moved, gone) = (Names::of(&two, Role::Sink), Names::of(&one, Role::Sink));
        assert_eq!(before.by_identity, moved.by_identity);
        assert_eq!(gone.by_identity, None);
        assert!(before.by_path.contains(&gone.by_path[0]));
        assert_ne!(before.by_identity, Names::of(&two, Role::Source).by_identity);
    }

    #[test]
    fn a_place_where_others_write_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_private(dir.path()).is_ok());
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(is_private(dir.path()).is_err());
    }
}
