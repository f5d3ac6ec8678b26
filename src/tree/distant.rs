//! Filesystems that others change behind the kernel's back: their changes make no events here.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Mutex;

use crate::model::limits::FILESYSTEMS_MAX;
use crate::tree::hold;

/// Kinds of them, by the magic number that statfs(2) gives.
const KINDS: [(u32, &str); 16] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x2003_0528, "OrangeFS"),
    (0x786f_4256, "a folder shared by VirtualBox"),
];

/// What kind of distant filesystem has that magic number, if it is one.
fn kind(magic: u32) -> Option<&'static str> {
    KINDS.iter().find(|(known, _)| *known == magic).map(|(_, kind)| *kind)
}

/// The kind of the filesystem that a path lies on, if it is distant.
#[must_use]
pub fn kind_at(path: &Path) -> Option<&'static str> {
    // The number is one of 32 bits.
    rustix::fs::statfs(path).ok().and_then(|stat| kind(stat.f_type as u32))
}

/// Which filesystems are distant: asked once for each, for that may mean to ask another host.
#[derive(Debug, Default)]
pub(super) struct Distances(Mutex<BTreeMap<u64, Option<&'static str>>>);

impl Distances {
    /// The kind of the filesystem that a directory of this device lies on, if it is distant.
    pub(super) fn kind_of(&self, dir: BorrowedFd<'_>, device: u64) -> Option<&'static str> {
        if let Some(known) = hold(&self.0).get(&device) {
            return *known;
        }
        // What can't be asked is watched: that does no harm.
        let kind = rustix::fs::fstatfs(dir).ok().and_then(|stat| kind(stat.f_type as u32));
        let mut known = hold(&self.0);
        if known.len() >= FILESYSTEMS_MAX {
            known.clear();
        }
        known.insert(device, kind);
        kind
    }
}

/// Why no events are expected of such a filesystem, and what to do if that is wrong.
pub(super) fn words(kind: &str) -> String {
    format!(
        "On {kind}, others may change files without an event here (if none do, insist on `--watch \
         inotify`)"
    )
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::{Distances, kind};

    #[test]
    fn distant_is_what_other_hosts_or_processes_serve() {
        for (magic, expected) in [
            (0x6969, Some("NFS")),
            (0x6573_5546, Some("FUSE")),
            (0xff53_4d42, Some("CIFS")),
            (0x0102_1997, Some("9p")),
            (0xef53, None),
            (0x0102_1994, None),
            (0x9123_683e, None),
            (0x794c_7630, None),
        ] {
            assert_eq!(kind(magic), expected, "{magic:#x}");
        }
    }

    #[test]
    fn each_filesystem_is_asked_once() {
        let distances = Distances::default();
        let shm = File::open("/dev/shm").unwrap();
        assert_eq!(distances.kind_of(shm.as_fd(), 7), None);
        distances.0.lock().unwrap().insert(7, Some("NFS"));
        assert_eq!(distances.kind_of(shm.as_fd(), 7), Some("NFS"));
        assert_eq!(distances.kind_of(shm.as_fd(), 8), None);
    }
}
