//! Filesystems that a test mounts for itself. They need root.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted filesystem; dropped, it is unmounted.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// A tmpfs of a size such as `24m`.
    pub(crate) fn small(at: &Path, size: &str) -> Mount {
        Mount::with(at, "tmpfs", &format!("size={size},mode=0755"))
    }

    /// An overlay of three directories.
    pub(crate) fn overlay(at: &Path, lower: &Path, upper: &Path, work: &Path) -> Mount {
        let (lower, upper, work) = (lower.display(), upper.display(), work.display());
        Mount::with(at, "overlay", &format!("lowerdir={lower},upperdir={upper},workdir={work}"))
    }

    fn with(at: &Path, kind: &str, options: &str) -> Mount {
        let args = ["-t", kind, "-o", options, "osync-test"].map(OsStr::new);
        let status = Command::new("mount").args(args).arg(at).status().expect("mount can be run");
        assert!(status.success(), "This test mounts a filesystem ({kind}): run it as root");
        Mount(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
