//! What is beyond the tree: names that leave it and come back, what no event tells of, and a source
//! that starts anew.

use osync::model::event::Happening;
use osync::model::path::RelPath;
use osync::model::stamp::DirKey;

use super::mutate::Changed;
use super::{Inside, ModelTree, Obstacle};

impl ModelTree {
    /// Moves a name out of the tree, with all below it; its watches stay on it.
    pub fn move_out(&self, path: &RelPath) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.place_below(path)?;
        let id = disk.unlink(dir, &name).ok_or(Obstacle::Missing)?;
        disk.outside.push(id);
        disk.queue.cookies += 1;
        let (cookie, is_dir) = (disk.queue.cookies, disk.nodes[id].is_dir());
        disk.tell(dir, Happening::MovedFrom { name, cookie, is_dir });
        Ok(())
    }

    /// Moves what left last back into the tree, under a name that is not taken.
    pub fn move_in(&self, path: &RelPath) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.vacant(path)?;
        let id = disk.outside.pop().ok_or(Obstacle::Missing)?;
        disk.link(dir, &name, id);
        disk.queue.cookies += 1;
        let (cookie, is_dir) = (disk.queue.cookies, disk.nodes[id].is_dir());
        disk.tell(dir, Happening::MovedTo { name, cookie, is_dir });
        Ok(())
    }

    /// Writes a file anew, through a mapping or a name outside the tree: no event tells of it.
    pub fn write_silently(&self, path: &RelPath, content: &[u8], keeps_mtime: bool) -> Changed {
        let mut disk = self.disk();
        let id = disk.at(path)?;
        let now = disk.tick();
        let node = &mut disk.nodes[id];
        let Inside::File(old) = &mut node.body else { return Err(Obstacle::IsDir) };
        *old = content.to_vec();
        node.ctime = now;
        if !keeps_mtime {
            node.meta.mtime = now;
        }
        Ok(())
    }

    /// Whether somebody has a file open for writing from now on.
    pub fn set_written(&self, path: &RelPath, is_written: bool) {
        let mut disk = self.disk();
        let id = disk.at(path).unwrap();
        if is_written {
            disk.writers.insert(id);
        } else {
            disk.writers.remove(&id);
        }
    }

    /// Lets go of the watch and the descriptor of a directory.
    pub fn forget(&self, key: DirKey) {
        let mut disk = self.disk();
        disk.kept.remove(&key);
        disk.watches.retain(|_, known| *known != key);
    }

    /// The process that watched and looked is gone, with all it had open.
    pub fn forget_all(&self) {
        let mut disk = self.disk();
        disk.kept.clear();
        disk.watches.clear();
        disk.listings.clear();
        disk.files.clear();
        disk.queue.forget();
    }
}

impl ModelTree {
    /// Lets the clock run ahead, so that no time here is one of another tree.
    pub fn skip_time(&self) {
        self.disk().ticks += 5_000_000_000;
    }
}
