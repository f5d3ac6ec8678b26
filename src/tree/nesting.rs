//! Refuses a source inside its sink and a sink inside its source (H30), by what the directories
//! are, not by how their paths are spelled.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::tree::roots::no_directory;
use crate::tree::stat;

/// Device and inode of a directory.
type Place = (u64, u64);

/// Refuses two directories of which one is, or lies in, the other. The sink's may be missing yet.
///
/// # Errors
/// `Refused` if they contain each other; `Disk` if one can't be opened.
pub fn refuse_nested(source: &Path, sink: &Path) -> Result<(), Error> {
    let shown = |path: &Path| path.display().to_string();
    let source_places = places_upward(source)?;
    let (existing, missing) = nearest_existing(sink)?;
    let sink_places = places_upward(&existing)?;
    let (Some(source_place), Some(sink_place)) = (source_places.first(), sink_places.first())
    else {
        return Ok(());
    };
    let (source_shown, sink_shown) = (shown(source), shown(sink));
    if !missing && source_place == sink_place {
        return Err(Error::Refused(format!(
            "\"{source_shown}\" and \"{sink_shown}\" are the same directory"
        )));
    }
    if sink_places.contains(source_place) {
        return Err(Error::Refused(format!(
            "The sink \"{sink_shown}\" lies inside the source \"{source_shown}\": choose a place \
             outside of it"
        )));
    }
    if !missing && source_places.contains(sink_place) {
        return Err(Error::Refused(format!(
            "The source \"{source_shown}\" lies inside the sink \"{sink_shown}\": choose another \
             place for the sink"
        )));
    }
    Ok(())
}

/// The path itself, or the nearest directory above it that is there; and whether it is above.
fn nearest_existing(path: &Path) -> Result<(PathBuf, bool), Error> {
    let mut at = path.to_path_buf();
    let mut missing = false;
    loop {
        match rustix::fs::stat(&at) {
            Ok(_) => return Ok((at, missing)),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::disk("Can't look at", at, errno)),
        }
        missing = true;
        if !at.pop() {
            return Ok((PathBuf::from("/"), missing));
        }
        if at.as_os_str().is_empty() {
            at.push(".");
        }
    }
}

/// The directory and all above it, up to the root of the system.
fn places_upward(path: &Path) -> Result<Vec<Place>, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = |errno| match errno {
        Errno::NOTDIR => no_directory(path, "name a directory"),
        _ => Error::disk("Can't open", path, errno),
    };
    let place = |fd: &OwnedFd| stat::of_fd(fd.as_fd()).map(|s| (stat::device(&s), s.stx_ino));
    let mut fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    let mut places = vec![place(&fd).map_err(failed)?];
    loop {
        fd = rustix::fs::openat(&fd, c"..", flags, Mode::empty()).map_err(failed)?;
        let above = place(&fd).map_err(failed)?;
        if places.last() == Some(&above) {
            return Ok(places);
        }
        places.push(above);
    }
}

#[cfg(test)]
mod tests {
    use super::refuse_nested;

    #[test]
    fn containment_is_refused_however_it_is_spelled() {
        let dir = tempfile::tempdir().unwrap();
        let at = |text: &str| dir.path().join(text);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::create_dir(at("ab")).unwrap();
        std::os::unix::fs::symlink(at("a/b"), at("link")).unwrap();
        for (source, sink, fine) in [
            ("a", "ab", true),
            ("a", "ab/new", true),
            ("a", "a", false),
            ("a", "a/b", false),
            ("a", "a/b/new/deep", false),
            ("a", "link", false),
            ("a", "link/new", false),
            ("link", "a", false),
            ("a/b", "a/../a", false),
            ("a/b", "a/c", true),
        ] {
            let verdict = refuse_nested(&at(source), &at(sink));
            assert_eq!(verdict.is_ok(), fine, "{source} -> {sink}: {verdict:?}");
        }
    }
}
