//! What a new file is like before anything is set, so that nothing is set twice: of a pool's many
//! small files most belong to one owner and have a common mode.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::tree::stat;

/// The mode of what is ours until it has its attributes.
pub(super) const OWN: Mode = Mode::RUSR.union(Mode::WUSR);
/// The name of the file that is made to see it.
const TRIED: &str = "birth";
/// What a directory hands down to whatever is made in it.
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// What the files are like that are made in a staging directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Birth {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The bits that a file does not get though it is made with them.
    pub(super) masked: u16,
}

impl Birth {
    /// Tries it with a file of no content in an empty directory of ours. None where the directory
    /// hands down an access control list, or the filesystem refuses what is tried: then everything
    /// is to be set, whatever it is.
    pub(super) fn try_in(dir: BorrowedFd<'_>) -> Option<Birth> {
        match rustix::fs::fremovexattr(dir, DEFAULT_ACL) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(_) => return None,
        }
        let file = make(dir, TRIED, Mode::RWXU | Mode::RWXG | Mode::RWXO).ok()?;
        let seen = stat::of_fd(file.as_fd());
        rustix::fs::unlinkat(dir, TRIED, AtFlags::empty()).ok()?;
        let stat = seen.ok()?;
        let masked = 0o777 & !stat.stx_mode;
        Some(Birth { uid: stat.stx_uid, gid: stat.stx_gid, masked })
    }

    /// Whether a new file belongs to these, as far as they are given.
    pub(super) fn has_owner(self, uid: Option<Uid>, gid: Option<Gid>) -> bool {
        uid.is_none_or(|uid| uid.as_raw() == self.uid)
            && gid.is_none_or(|gid| gid.as_raw() == self.gid)
    }

    /// Whether a file that was made with the lower bits of a mode has that mode.
    pub(super) fn has_mode(self, mode: Mode) -> bool {
        mode.as_raw_mode() & !(0o777 & !u32::from(self.masked)) == 0
    }
}

/// Makes a new file to write and read.
pub(super) fn make(dir: BorrowedFd<'_>, name: &str, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, mode)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{Gid, Mode, Uid};

    use super::{Birth, make};

    #[test]
    fn a_file_is_born_as_was_tried() {
        let home = tempfile::tempdir().unwrap();
        let dir = std::fs::File::open(home.path()).unwrap();
        let birth = Birth::try_in(dir.as_fd()).unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left");
        let file = make(dir.as_fd(), "f", Mode::from_raw_mode(0o752)).unwrap();
        let found = std::fs::File::from(file).metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (birth.uid, birth.gid));
        assert_eq!(found.mode() & 0o7777, 0o752 & !u32::from(birth.masked));
        let masked = Birth { masked: 0o027, ..birth };
        for (mode, has) in [(0o750, true), (0o752, false), (0o770, false), (0o1750, false)] {
            assert_eq!(masked.has_mode(Mode::from_raw_mode(mode)), has, "{mode:o}");
        }
        let (uid, gid) = (Uid::from_raw(birth.uid), Gid::from_raw(birth.gid.wrapping_add(1)));
        assert!(birth.has_owner(Some(uid), None) && birth.has_owner(None, None));
        assert!(!birth.has_owner(Some(uid), Some(gid)));
    }
}
