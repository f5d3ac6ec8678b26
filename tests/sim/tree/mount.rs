//! Filesystems that are mounted below the root, and a root that is no longer where it was.

use std::collections::BTreeMap;

use osync::model::event::{Event, Happening, Notice};
use osync::model::path::RelPath;

use super::mutate::Changed;
use super::{Inside, ModelTree, NodeId, Obstacle};

impl ModelTree {
    /// Mounts an empty filesystem over a directory. Nobody is told.
    pub fn mount(&self, path: &RelPath) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.place_below(path)?;
        let below = disk.at(path)?;
        if !disk.nodes[below].is_dir() {
            return Err(Obstacle::NotDir);
        }
        disk.devices += 1;
        let device = disk.devices;
        let top = disk.add_node(Inside::Dir(BTreeMap::new()), 0o755);
        disk.nodes[top].identity.device = device;
        disk.nodes[top].links = 1;
        disk.nodes[top].parent = Some((dir, name.clone()));
        disk.names_mut(dir).insert(name, top);
        disk.covered.insert(top, below);
        Ok(())
    }

    /// Takes a mounted filesystem away, with all that is in it: those who watch it are told, and
    /// nobody else.
    pub fn unmount(&self, path: &RelPath) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.place_below(path)?;
        let top = disk.at(path)?;
        let below = disk.covered.remove(&top).ok_or(Obstacle::Missing)?;
        disk.names_mut(dir).insert(name, below);
        let device = disk.nodes[top].identity.device;
        let mut watched: Vec<NodeId> = disk.watches.keys().copied().collect();
        watched.retain(|&id| disk.nodes[id].identity.device == device);
        watched.sort_unstable();
        for id in watched {
            if let Some(key) = disk.watches.remove(&id) {
                let event = Event { dir: key, what: Happening::Unmounted };
                disk.queue.push(Notice::Event(event));
            }
        }
        Ok(())
    }

    /// Another directory stands where the root was; the descriptor of the old one goes on.
    pub fn lose_root(&self, lost: bool) {
        self.disk().root_lost = lost;
    }
}
