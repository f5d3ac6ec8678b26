//! How much a filesystem holds, as it tells.

use std::os::fd::BorrowedFd;

use rustix::fs::{StatVfs, StatxAttributes};

use crate::model::abilities::Usage;
use crate::tree::stat;
use crate::tree::watch::mounts;

/// What is used of a filesystem.
pub(super) fn of(vfs: &StatVfs) -> Usage {
    Usage {
        bytes: vfs.f_blocks.saturating_sub(vfs.f_bfree).saturating_mul(vfs.f_frsize),
        inodes: vfs.f_files.saturating_sub(vfs.f_ffree),
    }
}

/// What is used of the filesystem that a directory is the whole of; nothing if it is a part of one,
/// or if that can't be told.
#[must_use]
pub fn of_whole(dir: BorrowedFd<'_>) -> Option<Usage> {
    let found = stat::of_fd(dir).ok()?;
    // A directory that is bound elsewhere is the root of a mount, and not of the filesystem.
    let is_whole = found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        && mounts::is_of_whole(found.stx_mnt_id);
    let vfs = is_whole.then(|| rustix::fs::fstatvfs(dir).ok()).flatten()?;
    Some(of(&vfs))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::of_whole;

    #[test]
    fn only_the_root_of_a_filesystem_tells_what_it_holds() {
        let part = tempfile::tempdir().unwrap();
        let part = std::fs::File::open(part.path()).unwrap();
        assert_eq!(of_whole(part.as_fd()), None);
        let whole = std::fs::File::open("/proc").unwrap();
        assert!(of_whole(whole.as_fd()).is_some());
    }
}
