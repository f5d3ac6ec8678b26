//! Whether a file can be put in the place of another, as every file is: written, given its time,
//! closed, renamed. A filesystem that loses anything on that way takes no copy.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::model::entry::{Attributes, FileTime, Meta};
use crate::model::owners::OwnerMap;
use crate::model::path::Name;
use crate::model::target::Obstacle;
use crate::tree::sink_root::attributes::{Keeps, floor, nanos};
use crate::tree::sink_root::birth::OWN;
use crate::tree::sink_root::obstacle;
use crate::tree::sink_root::probe::nothing;
use crate::tree::sink_root::staging::{Staged, Staging};
use crate::tree::sink_root::ways::Ways;
use crate::tree::{beneath, content, stat};

/// A moment that shows every granule that filesystems have.
const TIME: FileTime = FileTime { seconds: 1_600_000_001, nanos: 123_456_789 };
/// What stands at the name first, and what comes in its place.
const FIRST: &[u8] = b"the first one, which is longer";
const SECOND: &[u8] = b"the second one";

/// Tries it; returns the step of modification times in nanoseconds.
pub(super) fn try_placing(staging: &Staging, ways: &Ways) -> Result<i128, Obstacle> {
    let first = written(staging, ways, FIRST)?;
    let mut second = written(staging, ways, SECOND)?;
    let dir = first.home.dir.as_fd();
    let kept = replace(dir, &first.name, &mut second)
        .map_err(|errno| obstacle("Can't put a file in the place of another", errno))?;
    let kept = kept.ok_or_else(|| {
        Obstacle::Other(
            "this filesystem loses a file that is renamed to a name that another has: none could \
             ever be replaced"
                .into(),
        )
    })?;
    granule_of(kept).ok_or_else(|| {
        Obstacle::Other(
            "this filesystem does not keep the modification time that a file was given before it \
             got its name: none could ever be known to be unchanged"
                .into(),
        )
    })
}

/// The step of modification times in nanoseconds, by what an open file keeps.
pub(super) fn try_time(file: BorrowedFd<'_>) -> Option<i128> {
    let owners = OwnerMap::default();
    let bare = Keeps { carried: nothing(), granule: 1, labels: false, owners, holes: true };
    bare.set_on_file(file, &Attributes::plain(Meta::plain(0o600, 0, 0, TIME)), None).ok()?;
    granule_of(stat::modified(&stat::of_fd(file).ok()?))
}

/// Stages a file with content and a time, and closes it.
fn written(staging: &Staging, ways: &Ways, bytes: &[u8]) -> Result<Staged, Obstacle> {
    let owners = OwnerMap::default();
    let bare = Keeps { carried: nothing(), granule: 1, labels: false, owners, holes: true };
    let (file, staged) = staging.file(ways, OWN)?;
    content::write_at(file.as_fd(), bytes, 0)
        .map_err(|errno| obstacle("Can't write to a staged file", errno))?;
    bare.set_on_file(file.as_fd(), &Attributes::plain(Meta::plain(0o600, 0, 0, TIME)), None)?;
    Ok(staged)
}

/// Renames the second file to the name of the first; the time that stands there then, or nothing
/// if it is not the second file alone.
fn replace(
    dir: BorrowedFd<'_>,
    first: &str,
    second: &mut Staged,
) -> Result<Option<FileTime>, Errno> {
    let name = |text: &str| Name::new(text.as_bytes()).map_err(|_| Errno::INVAL);
    let (here, gone) = (name(first)?, name(&second.name)?);
    rustix::fs::renameat(dir, &*second.name, dir, first)?;
    let has_gone = stat::of_name_afresh(dir, &gone).is_err_and(|errno| errno == Errno::NOENT);
    second.placed = has_gone;
    let stands = match stat::of_name_afresh(dir, &here) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let mut bytes = [0; FIRST.len()];
    let read = rustix::io::pread(beneath::open_file(dir, &here)?, &mut bytes, 0)?;
    let is_second = has_gone && bytes[..read] == *SECOND;
    Ok(is_second.then(|| stat::modified(&stands)))
}

fn granule_of(kept: FileTime) -> Option<i128> {
    let giga = 1_000_000_000;
    let granules = [1, 100, 1_000, 1_000_000, 10_000_000, giga, 2 * giga];
    granules.into_iter().find(|granule| floor(nanos(TIME), *granule) == nanos(kept))
}
