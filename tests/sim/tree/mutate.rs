//! What people do to the source: each change makes the events that the kernel makes for it.

use std::collections::BTreeMap;

use osync::model::attributes::{Marks, Xattr};
use osync::model::entry::{FileTime, SpecialKind};
use osync::model::event::Happening;
use osync::model::path::{Name, RelPath};
use osync::model::target::Obstacle;

use super::{Disk, Inside, ModelTree, NodeId};

/// What a change came to: an obstacle where the kernel would refuse it.
pub type Changed = Result<(), Obstacle>;

impl ModelTree {
    /// Creates a file with content and closes it.
    pub fn create(&self, path: &RelPath, content: &[u8]) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.vacant(path)?;
        let id = disk.add_node(Inside::File(content.to_vec()), 0o644);
        disk.link(dir, &name, id);
        disk.tell(dir, Happening::Created { name: name.clone(), is_dir: false });
        if !content.is_empty() {
            disk.tell(dir, Happening::Written { name: name.clone() });
        }
        disk.tell(dir, Happening::Closed { name });
        Ok(())
    }

    /// Writes a file anew in place; `closes` tells whether the writer goes.
    pub fn write(&self, path: &RelPath, content: &[u8], closes: bool) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.place_below(path)?;
        let id = disk.at(path)?;
        let now = disk.tick();
        let node = &mut disk.nodes[id];
        let Inside::File(old) = &mut node.body else { return Err(Obstacle::IsDir) };
        *old = content.to_vec();
        (node.meta.mtime, node.ctime) = (now, now);
        disk.tell(dir, Happening::Written { name: name.clone() });
        if closes {
            disk.tell(dir, Happening::Closed { name });
        }
        Ok(())
    }

    /// Makes a directory.
    pub fn mkdir(&self, path: &RelPath) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.vacant(path)?;
        let id = disk.add_node(Inside::Dir(BTreeMap::new()), 0o755);
        disk.link(dir, &name, id);
        disk.tell(dir, Happening::Created { name, is_dir: true });
        Ok(())
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, path: &RelPath, target: &[u8]) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.vacant(path)?;
        let id = disk.add_node(Inside::Symlink(target.to_vec()), 0o777);
        disk.link(dir, &name, id);
        disk.tell(dir, Happening::Created { name, is_dir: false });
        Ok(())
    }

    /// Gives a file a second name.
    pub fn hard_link(&self, from: &RelPath, to: &RelPath) -> Changed {
        let mut disk = self.disk();
        let id = disk.at(from)?;
        if disk.nodes[id].is_dir() {
            return Err(Obstacle::IsDir);
        }
        let (dir, name) = disk.vacant(to)?;
        disk.link(dir, &name, id);
        disk.tell(dir, Happening::Created { name, is_dir: false });
        Ok(())
    }

    /// Removes a name that is no directory.
    pub fn remove_file(&self, path: &RelPath) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.place_below(path)?;
        let id = disk.at(path)?;
        if disk.nodes[id].is_dir() {
            return Err(Obstacle::IsDir);
        }
        disk.unlink(dir, &name);
        disk.bury(id);
        disk.tell(dir, Happening::Removed { name, is_dir: false });
        Ok(())
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, path: &RelPath) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.place_below(path)?;
        let id = disk.at(path)?;
        disk.is_vacant_dir(id)?;
        disk.unlink(dir, &name);
        disk.bury(id);
        let own_first = disk.dice.one_in(2);
        if own_first {
            disk.tell_gone(id);
        }
        disk.tell(dir, Happening::Removed { name, is_dir: true });
        if !own_first {
            disk.tell_gone(id);
        }
        Ok(())
    }

    /// Changes permission bits; a symlink has none.
    pub fn chmod(&self, path: &RelPath, mode: u16) -> Changed {
        let mut disk = self.disk();
        let (place, id) = (disk.place(path)?, disk.at(path)?);
        if matches!(disk.nodes[id].body, Inside::Symlink(_)) {
            return Err(Obstacle::Other("a symlink has no mode".into()));
        }
        let now = disk.tick();
        disk.nodes[id].meta.mode = mode;
        disk.nodes[id].ctime = now;
        disk.tell_retouched(place, id);
        Ok(())
    }

    /// Gives an object an extended attribute, or takes it off.
    pub fn set_xattr(&self, path: &RelPath, name: &str, value: Option<&[u8]>) -> Changed {
        let mut disk = self.disk();
        let (place, id) = (disk.place(path)?, disk.at(path)?);
        let now = disk.tick();
        let node = &mut disk.nodes[id];
        node.xattrs.retain(|xattr| xattr.name != name.as_bytes());
        let value = value.map(<[u8]>::to_vec);
        node.xattrs.extend(value.map(|value| Xattr { name: name.into(), value }));
        node.xattrs.sort();
        node.meta.marks = Marks::of(&node.xattrs);
        node.ctime = now;
        disk.tell_retouched(place, id);
        Ok(())
    }

    /// Makes a fifo, socket or device.
    pub fn make_node(&self, path: &RelPath, kind: SpecialKind, device: u64) -> Changed {
        let mut disk = self.disk();
        let (dir, name) = disk.vacant(path)?;
        let id = disk.add_node(Inside::Special(kind, device), 0o600);
        disk.link(dir, &name, id);
        disk.tell(dir, Happening::Created { name, is_dir: false });
        Ok(())
    }

    /// Sets the modification time.
    pub fn touch(&self, path: &RelPath, mtime: FileTime) -> Changed {
        let mut disk = self.disk();
        let (place, id) = (disk.place(path)?, disk.at(path)?);
        let now = disk.tick();
        disk.nodes[id].meta.mtime = mtime;
        disk.nodes[id].ctime = now;
        disk.tell_retouched(place, id);
        Ok(())
    }

    /// Moves a name, replacing what rename(2) replaces.
    pub fn rename(&self, from: &RelPath, to: &RelPath) -> Changed {
        self.disk().move_name(from, to)
    }

    /// Exchanges two names.
    pub fn exchange(&self, a: &RelPath, b: &RelPath) -> Changed {
        self.disk().swap_names(a, b)
    }
}

impl Disk {
    /// The place of a name that is not taken.
    pub(super) fn vacant(&self, path: &RelPath) -> Result<(NodeId, Name), Obstacle> {
        let (dir, name) = self.place(path)?.ok_or(Obstacle::Exists)?;
        if self.names(dir).is_some_and(|names| names.contains_key(&name)) {
            return Err(Obstacle::Exists);
        }
        Ok((dir, name))
    }

    pub(super) fn is_vacant_dir(&self, id: NodeId) -> Changed {
        match self.names(id) {
            None => Err(Obstacle::NotDir),
            Some(names) if names.is_empty() => Ok(()),
            Some(_) => Err(Obstacle::NotEmpty),
        }
    }

    pub(super) fn move_name(&mut self, from: &RelPath, to: &RelPath) -> Changed {
        let (from_dir, from_name) = self.place_below(from)?;
        let id = self.at(from)?;
        let (to_dir, to_name) = self.place_below(to)?;
        if to.is_at_or_below(from) && to != from && self.nodes[id].is_dir() {
            return Err(Obstacle::Other("a directory can't move below itself".into()));
        }
        let victim = self.names(to_dir).and_then(|names| names.get(&to_name)).copied();
        if victim == Some(id) {
            return Ok(());
        }
        let is_dir = self.nodes[id].is_dir();
        if let Some(victim) = victim {
            match (is_dir, self.nodes[victim].is_dir()) {
                (true, true) => self.is_vacant_dir(victim)?,
                (true, false) => return Err(Obstacle::NotDir),
                (false, true) => return Err(Obstacle::IsDir),
                (false, false) => {}
            }
            self.unlink(to_dir, &to_name);
            self.bury(victim);
        }
        self.unlink(from_dir, &from_name);
        self.link(to_dir, &to_name, id);
        self.tell_move((from_dir, &from_name), (to_dir, &to_name), is_dir);
        if let Some(victim) = victim.filter(|&victim| self.nodes[victim].is_dir()) {
            self.tell_gone(victim);
        }
        Ok(())
    }

    pub(super) fn swap_names(&mut self, a: &RelPath, b: &RelPath) -> Changed {
        let (a_dir, a_name) = self.place_below(a)?;
        let (b_dir, b_name) = self.place_below(b)?;
        let (a_id, b_id) = (self.at(a)?, self.at(b)?);
        if a.is_at_or_below(b) || b.is_at_or_below(a) {
            return Err(Obstacle::Other("one name lies below the other".into()));
        }
        self.unlink(a_dir, &a_name);
        self.unlink(b_dir, &b_name);
        self.link(b_dir, &b_name, a_id);
        self.link(a_dir, &a_name, b_id);
        let (a_is_dir, b_is_dir) = (self.nodes[a_id].is_dir(), self.nodes[b_id].is_dir());
        self.tell_move((a_dir, &a_name), (b_dir, &b_name), a_is_dir);
        self.tell_move((b_dir, &b_name), (a_dir, &a_name), b_is_dir);
        Ok(())
    }
}
