//! The directories that the operators are started on: found, or refused with what to do.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The directory that a source is to offer, its links resolved.
///
/// # Errors
/// `Usage` if it is missing or no directory; `Disk` if it can't be reached.
pub fn source_directory(path: &Path) -> Result<PathBuf, Error> {
    let shown = path.display();
    match path.canonicalize() {
        Ok(resolved) if resolved.is_dir() => Ok(resolved),
        Ok(_) => Err(no_directory(path, "name the directory that is to be moved")),
        Err(error) if is_missing(error.kind()) => Err(Error::Usage(format!(
            "The source's directory \"{shown}\" does not exist: name the directory that is to be \
             moved, or mount it first"
        ))),
        Err(error) => Err(Error::disk("Can't open the source's directory", path, error)),
    }
}

/// The directory that a sink is to fill, its links resolved; made if only its last name is missing.
///
/// # Errors
/// `Usage` if more of it is missing, or if it is no directory; `Disk` if it can't be made.
pub fn sink_directory(path: &Path) -> Result<PathBuf, Error> {
    match std::fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) if is_missing(error.kind()) => return Err(nothing_above(path)),
        Err(error) => return Err(Error::disk("Can't make the sink's directory", path, error)),
    }
    let resolved = path
        .canonicalize()
        .map_err(|error| Error::disk("Can't open the sink's directory", path, error))?;
    if resolved.is_dir() {
        return Ok(resolved);
    }
    Err(no_directory(path, "name the directory that is to receive the files"))
}

/// The directory that a sink would fill, its links resolved; it may be missing, as the last name of
/// the path alone.
///
/// # Errors
/// As `sink_directory`.
pub fn future_directory(path: &Path) -> Result<PathBuf, Error> {
    if path.symlink_metadata().is_ok() {
        return sink_directory(path);
    }
    let place = path.parent().zip(path.file_name());
    match place.and_then(|(above, name)| Some((above.canonicalize().ok()?, name))) {
        Some((above, name)) if above.is_dir() => Ok(above.join(name)),
        _ => Err(nothing_above(path)),
    }
}

fn is_missing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Something that is no directory stands where one should.
pub(super) fn no_directory(path: &Path, advice: &str) -> Error {
    Error::Usage(format!("\"{}\" is no directory: {advice}", path.display()))
}

fn nothing_above(path: &Path) -> Error {
    Error::Usage(format!(
        "There is no directory to make \"{}\" in: make the one above it first, or mount it",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::{sink_directory, source_directory};
    use crate::error::Error;

    #[test]
    fn what_is_no_directory_is_refused_with_advice() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        for name in ["file", "missing", "file/below", "dangling"] {
            let error = source_directory(&at(name)).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{name}: {error}");
            assert!(error.to_string().contains("name the directory that is to be moved"));
        }
        for name in ["file", "missing/below", "file/below"] {
            let error = sink_directory(&at(name)).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{name}: {error}");
        }
        assert!(sink_directory(&at("new")).unwrap().is_dir());
        assert_eq!(source_directory(&at("new")).unwrap(), sink_directory(&at("new")).unwrap());
    }
}
