//! Filesystems of a test's own. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs; dropped, it is unmounted.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts one of that size over a directory.
    pub(crate) fn small(at: &Path, size: &str) -> Mount {
        let options = format!("size={size},mode=0755");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "osync-test"])
            .arg(at)
            .status()
            .expect("mount can be run");
        assert!(status.success(), "This test mounts a tmpfs: run it as root");
        Mount(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
