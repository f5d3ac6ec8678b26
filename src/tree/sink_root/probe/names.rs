//! Which names can be given.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::model::limits::NAME_BYTES_MAX;

/// What no name may end with on some filesystems, or loses there.
const ENDS: &str = ". ";

/// Names as a filesystem takes them.
pub(super) struct Names {
    /// Whether names that differ in case alone are one.
    pub(super) folds_case: bool,
    /// Whether they may be any bytes.
    pub(super) any_bytes: bool,
    /// Characters of ASCII that can't be in a name.
    pub(super) barred: String,
    /// Those that can't end one.
    pub(super) barred_ends: String,
    /// Bytes in the longest.
    pub(super) bytes: u64,
}

/// Tries names in a directory that is ours alone; `told` is what it says of their length.
pub(super) fn try_names(dir: BorrowedFd<'_>, told: u64) -> Names {
    // Some filesystems count characters, and say bytes.
    let is_long = can_be_named(dir, &[b'n'; NAME_BYTES_MAX]);
    Names {
        folds_case: is_also(dir, "probe-case", "PROBE-CASE"),
        any_bytes: can_be_named(dir, b"\xff"),
        barred: barred(dir),
        barred_ends: ENDS.chars().filter(|&end| is_barred_end(dir, end)).collect(),
        bytes: if is_long { NAME_BYTES_MAX as u64 } else { told },
    }
}

/// All at once first: most filesystems take them all.
fn barred(dir: BorrowedFd<'_>) -> String {
    let doubtful = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'/';
    let characters = || (1..=127).filter(doubtful).map(char::from);
    let takes = |middle: String| can_be_named(dir, format!("probe-{middle}-name").as_bytes());
    if takes(characters().collect()) {
        return String::new();
    }
    characters().filter(|character| !takes(character.to_string())).collect()
}

fn is_barred_end(dir: BorrowedFd<'_>, end: char) -> bool {
    let name = format!("probe-end{end}");
    !can_be_named(dir, name.as_bytes()) || is_also(dir, &name, "probe-end")
}

/// Whether what is made at one name stands at another, too.
fn is_also(dir: BorrowedFd<'_>, name: &str, other: &str) -> bool {
    let made = make_file(dir, name.as_bytes()).is_ok();
    let stands = rustix::fs::statat(dir, other, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
    made && stands
}

/// Whether a name is taken. What is refused for want of room is not refused for its name.
fn can_be_named(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    let made = make_file(dir, name);
    let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
    matches!(made, Ok(()) | Err(Errno::EXIST | Errno::NOSPC | Errno::DQUOT | Errno::ROFS))
}

fn make_file(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map(drop)
}
