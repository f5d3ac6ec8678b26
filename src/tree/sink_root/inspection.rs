//! The sink looks over its own tree: which directories have changed since a moment, by their own
//! times of change or by those of what stands in them.
//!
//! Times of change can't be set by programs, so that an edit which keeps size and modification
//! time is found too. What was removed or moved shows in the directory that held it.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;

use crate::model::entry::FileTime;
use crate::model::path::{Name, RelPath};
use crate::tree::sink_root::SinkRoot;
use crate::tree::{beneath, stat};

impl SinkRoot {
    /// Calls `each` with every directory in which something has changed since a moment, until it
    /// returns false. What goes away meanwhile is passed over; what can't be read has changed.
    pub fn inspect(&self, since: FileTime, each: &mut dyn FnMut(&RelPath) -> bool) {
        let mut left = vec![RelPath::root()];
        while let Some(path) = left.pop() {
            let Ok(dir) = self.ways.listed(&path) else { continue };
            let changed = self.has_changed(&path, dir.as_fd(), since, &mut left);
            if changed && !each(&path) {
                return;
            }
        }
    }

    /// Whether anything in a directory has changed; notes the directories in it.
    fn has_changed(
        &self,
        path: &RelPath,
        dir: BorrowedFd<'_>,
        since: FileTime,
        left: &mut Vec<RelPath>,
    ) -> bool {
        let own = stat::of_fd(dir).map(|stat| stat::changed(&stat));
        let mut changed = own.map_or(true, |moment| moment >= since);
        let reader = beneath::open_to_read(dir).and_then(rustix::fs::Dir::new);
        let Ok(mut reader) = reader else { return true };
        while let Some(entry) = reader.read() {
            let Ok(entry) = entry else { return true };
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let Ok(name) = Name::new(bytes) else { continue };
            if self.staging.is_home(path, dir, &name) {
                continue;
            }
            let Ok(stat) = stat::of_name(dir, &name) else { continue };
            let is_dir = stat::file_type(&stat) == FileType::Directory;
            if is_dir {
                left.push(path.join(&name));
            }
            changed |= !is_dir && stat::changed(&stat) >= since;
        }
        changed
    }
}
