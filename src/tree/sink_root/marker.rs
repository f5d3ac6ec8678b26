//! The marker's file, the filesystem's own clock and life, and whether the root is where it was.
//!
//! The marker lies in the root's staging directory: so it stands in the tree without a name of its
//! own, and goes wherever the tree goes (H2). What it says is not this module's affair.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

use crate::model::entry::FileTime;
use crate::model::limits::MARKER_BYTES_MAX;
use crate::model::marker::Window;
use crate::model::path::RelPath;
use crate::model::target::Obstacle;
use crate::tree::sink_root::{SinkRoot, obstacle};
use crate::tree::{hold, stat};

/// In the staging directory, where all other names are numbers.
pub(super) const MARKER: &str = "marker";
const NEW_MARKER: &str = "marker.new";
/// Asks for a mount's number that is never used again; kernels before 6.8 give the plain one.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

impl SinkRoot {
    /// The bytes of the marker; nothing if there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read_marker(&self) -> Result<Option<Vec<u8>>, Obstacle> {
        let home = self.staging.root_home(&self.ways)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&home.dir, MARKER, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(obstacle("Can't open the marker", errno)),
        };
        let mut bytes = Vec::new();
        file.take(MARKER_BYTES_MAX as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| Obstacle::Other(format!("Can't read the marker: {error}")))?;
        Ok(Some(bytes))
    }

    /// Replaces the marker in one step; with `durable`, it is on disk when this returns.
    ///
    /// # Errors
    /// When the disk says no; the old marker is then still there.
    pub fn write_marker(&self, bytes: &[u8], durable: bool) -> Result<(), Obstacle> {
        let home = self.staging.root_home(&self.ways)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&home.dir, NEW_MARKER, flags, Mode::RUSR | Mode::WUSR);
        let write = |file: OwnedFd| {
            let mut file = File::from(file);
            file.write_all(bytes)?;
            if durable { file.sync_all() } else { Ok(()) }
        };
        let cant = |errno| obstacle("Can't write the marker", errno);
        write(open().map_err(cant)?)
            .map_err(|error| cant(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        rustix::fs::renameat(&home.dir, NEW_MARKER, &home.dir, MARKER).map_err(cant)?;
        if durable { rustix::fs::fsync(&home.dir).map_err(cant) } else { Ok(()) }
    }

    /// The time by the clock that the root's filesystem gives its files.
    ///
    /// # Errors
    /// When the staging directory can't be touched.
    pub fn clock(&self) -> Result<FileTime, Obstacle> {
        let home = self.staging.root_home(&self.ways)?;
        let cant = |errno| obstacle("Can't touch the staging directory", errno);
        super::attributes::touch(home.dir.as_fd()).map_err(cant)?;
        stat::of_fd(home.dir.as_fd()).map(|stat| stat::changed(&stat)).map_err(cant)
    }

    /// Tells this boot's mount of the root's filesystem from any other.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn life(&self) -> Result<String, Obstacle> {
        let cant = |why: String| Obstacle::Other(format!("Can't tell what is mounted: {why}"));
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_err(|error| cant(error.to_string()))?;
        let flags = AtFlags::EMPTY_PATH;
        let stat = rustix::fs::statx(self.ways.root(), c"", flags, MNT_ID_UNIQUE)
            .map_err(|errno| cant(errno.to_string()))?;
        Ok(format!("{}/{:x}/{:x}", boot.trim(), stat::device(&stat), stat.stx_mnt_id))
    }

    /// Whether a path still leads to this root.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let there = rustix::fs::open(path, flags, Mode::empty()).and_then(|dir| {
            let stat = stat::of_fd(dir.as_fd())?;
            Ok((stat::identity(&stat), stat.stx_mnt_id))
        });
        let here = stat::of_fd(self.ways.root().as_fd()).map(|stat| stat.stx_mnt_id);
        match (there, here) {
            (Ok((identity, mount)), Ok(own)) => identity == self.identity && mount == own,
            // A moment without descriptors says nothing about the root.
            (Err(errno), _) => !matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::STALE),
            (_, Err(_)) => true,
        }
    }

    /// Sets the windows in which a change of a file casts doubt on its content.
    pub fn set_doubt(&self, windows: &[Window]) {
        *hold(&self.doubt) = windows.to_vec();
    }

    pub(super) fn is_in_doubt(&self, path: &RelPath) -> bool {
        if hold(&self.doubt).is_empty() {
            return false;
        }
        let look = self.ways.at(path, stat::of_name);
        look.is_ok_and(|found| found.is_ok_and(|stat| self.casts_doubt(&stat)))
    }

    fn casts_doubt(&self, stat: &Statx) -> bool {
        let changed = stat::changed(stat);
        stat.stx_size > 0 && hold(&self.doubt).iter().any(|window| window.holds(changed))
    }
}
