//! The model tree as the sink's target.

use osync::model::delta::{Basis, Piece, Signature, Signer};
use osync::model::entry::{Attributes, Entry, Hash, Meta, SpecialKind};
use osync::model::item::Differences;
use osync::model::path::{Name, RelPath};
use osync::model::target::{Obstacle, Standing, Target};

use super::{Inside, ModelTree, NodeId};

/// A file or symlink that has no name yet.
#[derive(Debug)]
pub struct Staged {
    body: Option<Inside>,
    attributes: Attributes,
    /// What it is one more name of.
    link: Option<NodeId>,
}

impl ModelTree {
    /// Writes bytes of a transfer into its staged object.
    pub fn write_chunk(&self, transfer: u64, offset: u64, bytes: &[u8]) -> Result<(), Obstacle> {
        let mut disk = self.disk();
        if disk.no_room {
            return Err(Obstacle::NoRoom);
        }
        let staged = disk.transfers.entry(transfer).or_default();
        let end = offset as usize + bytes.len();
        staged.resize(staged.len().max(end), 0);
        staged[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    /// Opens what stands at a path as what a transfer takes ranges from; false if it is something
    /// else.
    pub fn open_basis(&self, transfer: u64, path: &RelPath, of: Basis) -> bool {
        let mut disk = self.disk();
        let Ok(id) = disk.at(path) else { return false };
        let node = &disk.nodes[id];
        let Inside::File(content) = &node.body else { return false };
        if content.len() as u64 != of.size || node.meta.mtime != of.mtime {
            return false;
        }
        disk.transfers.entry(transfer).or_default();
        disk.bases.insert(transfer, id);
        true
    }

    /// Writes ranges of a transfer; those that travel are in `new`.
    pub fn put_together(
        &self,
        transfer: u64,
        pieces: &[Piece],
        mut new: &[u8],
    ) -> Result<(), Obstacle> {
        for piece in pieces {
            let bytes = piece.bytes as usize;
            let basis = self.disk().bases.get(&transfer).copied();
            let range = match (piece.from, basis) {
                (Some(from), Some(id)) => {
                    let disk = self.disk();
                    let Inside::File(old) = &disk.nodes[id].body else { panic!("no file") };
                    let from = from as usize;
                    old.get(from..from + bytes).ok_or(Obstacle::Missing)?.to_vec()
                }
                (Some(_), None) => return Err(Obstacle::Missing),
                (None, _) => new.split_off(..bytes).unwrap().to_vec(),
            };
            self.write_chunk(transfer, piece.offset, &range)?;
        }
        Ok(())
    }

    /// Forgets the staged object of a transfer.
    pub fn drop_transfer(&self, transfer: u64) {
        let mut disk = self.disk();
        disk.transfers.remove(&transfer);
        disk.bases.remove(&transfer);
    }

    /// Forgets all staged objects, as a new epoch does.
    pub fn drop_transfers(&self) {
        let mut disk = self.disk();
        disk.transfers.clear();
        disk.bases.clear();
    }

    fn called(&self, verb: &str, path: &RelPath) {
        let hook = self.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(verb, path);
        }
    }

    fn stage(&self, body: Inside, attributes: &Attributes) -> Result<Staged, Obstacle> {
        if self.disk().no_room {
            return Err(Obstacle::NoRoom);
        }
        Ok(Staged { body: Some(body), attributes: attributes.clone(), link: None })
    }
}

impl Target for ModelTree {
    type Staged = Staged;

    fn stage_file(&self, content: &[u8], attributes: &Attributes) -> Result<Staged, Obstacle> {
        self.called("stage_file", &RelPath::root());
        self.stage(Inside::File(content.to_vec()), attributes)
    }

    fn stage_symlink(&self, target: &[u8], attributes: &Attributes) -> Result<Staged, Obstacle> {
        self.stage(Inside::Symlink(target.to_vec()), attributes)
    }

    fn stage_special(
        &self,
        kind: SpecialKind,
        device: u64,
        attributes: &Attributes,
    ) -> Result<Staged, Obstacle> {
        self.stage(Inside::Special(kind, device), attributes)
    }

    fn lack(&self, _staged: &Staged) -> Option<String> {
        None
    }

    fn take_transfer(
        &self,
        transfer: u64,
        size: u64,
        hash: &Hash,
        attributes: &Attributes,
    ) -> Result<Staged, Obstacle> {
        let content = self.disk().transfers.remove(&transfer).ok_or(Obstacle::Missing)?;
        if content.len() as u64 != size || blake3::hash(&content).as_bytes() != &hash.0 {
            return Err(Obstacle::Missing);
        }
        self.stage(Inside::File(content), attributes)
    }

    fn sign(&self, path: &RelPath) -> Option<Signature> {
        let disk = self.disk();
        let node = &disk.nodes[disk.at(path).ok()?];
        let Inside::File(content) = &node.body else { return None };
        let mut signer = Signer::to_tell(content.len() as u64)?;
        signer.update(content);
        signer.finish(node.meta.mtime)
    }

    fn link(&self, from: &RelPath, path: &RelPath) -> bool {
        self.called("link", from);
        let mut disk = self.disk();
        let (Ok(id), Ok((dir, name))) = (disk.at(from), disk.vacant(path)) else { return false };
        if disk.nodes[id].links >= disk.bounds.links {
            return false;
        }
        disk.link(dir, &name, id);
        true
    }

    fn stage_link(&self, from: &RelPath) -> Result<Staged, Obstacle> {
        self.called("stage_link", from);
        let disk = self.disk();
        let id = disk.at(from)?;
        let node = &disk.nodes[id];
        if node.links >= disk.bounds.links {
            return Err(Obstacle::NoMoreNames);
        }
        Ok(Staged { body: Some(node.body.clone()), attributes: node.attributes(), link: Some(id) })
    }

    fn stage_copy(&self, from: &RelPath) -> Result<Staged, Obstacle> {
        let (body, attributes) = {
            let disk = self.disk();
            let node = &disk.nodes[disk.at(from)?];
            (node.body.clone(), node.attributes())
        };
        self.stage(body, &attributes)
    }

    fn count_names(&self, path: &RelPath) -> Result<u64, Obstacle> {
        let disk = self.disk();
        Ok(disk.nodes[disk.at(path)?].links)
    }

    fn part(&self, path: &RelPath) -> Result<(), Obstacle> {
        let mut copy = self.stage_copy(path)?;
        let above = |disk: &super::Disk| disk.place_below(path).map(|(dir, _)| dir);
        let time = {
            let disk = self.disk();
            disk.nodes[above(&disk)?].meta.mtime
        };
        self.place(&mut copy, path)?;
        let mut disk = self.disk();
        let dir = above(&disk)?;
        disk.nodes[dir].meta.mtime = time;
        Ok(())
    }

    fn is_same_object(&self, first: &RelPath, second: &RelPath) -> Result<bool, Obstacle> {
        let disk = self.disk();
        Ok(disk.at(second) == Ok(disk.at(first)?))
    }

    fn place(&self, staged: &mut Staged, path: &RelPath) -> Result<(), Obstacle> {
        self.called("place", path);
        let mut disk = self.disk();
        let (dir, name) = disk.place_below(path)?;
        let victim = disk.names(dir).and_then(|names| names.get(&name)).copied();
        if victim.is_some_and(|victim| disk.nodes[victim].is_dir()) {
            return Err(Obstacle::IsDir);
        }
        let body = staged.body.take().ok_or_else(|| Obstacle::Other("placed twice".into()))?;
        if let Some(victim) = victim {
            disk.unlink(dir, &name);
            disk.bury(victim);
        }
        let id = staged.link.unwrap_or_else(|| disk.add_node(body, 0));
        disk.link(dir, &name, id);
        disk.nodes[id].bear(&staged.attributes);
        Ok(())
    }

    fn look(&self, path: &RelPath, want_hash: bool) -> Result<Standing, Obstacle> {
        self.called("look", path);
        let disk = self.disk();
        let node = &disk.nodes[disk.at(path)?];
        let hash = match &node.body {
            Inside::File(content) if want_hash => Some(Hash(*blake3::hash(content).as_bytes())),
            _ => None,
        };
        Ok(Standing { entry: node.entry(), hash })
    }

    fn make_dir(&self, path: &RelPath) -> Result<(), Obstacle> {
        self.called("make_dir", path);
        let mut disk = self.disk();
        let (dir, name) = disk.vacant(path)?;
        let id = disk.add_node(Inside::Dir(std::collections::BTreeMap::new()), 0o700);
        disk.link(dir, &name, id);
        Ok(())
    }

    fn unlink(&self, path: &RelPath) -> Result<(), Obstacle> {
        self.called("unlink", path);
        self.remove_file(path)
    }

    fn remove_dir(&self, path: &RelPath) -> Result<(), Obstacle> {
        self.called("remove_dir", path);
        self.rmdir(path)
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), Obstacle> {
        self.called("rename", from);
        if from != to && self.is_same_object(from, to)? {
            return self.remove_file(from);
        }
        self.disk().move_name(from, to)
    }

    fn exchange(&self, a: &RelPath, b: &RelPath) -> Result<(), Obstacle> {
        self.called("exchange", a);
        self.disk().swap_names(a, b)
    }

    fn set_attributes(
        &self,
        path: &RelPath,
        attributes: &Attributes,
    ) -> Result<Option<String>, Obstacle> {
        self.called("set_attributes", path);
        let mut disk = self.disk();
        let id = disk.at(path)?;
        let now = disk.tick();
        disk.nodes[id].bear(attributes);
        disk.nodes[id].ctime = now;
        Ok(None)
    }

    fn differences(&self, theirs: &Meta, ours: &Meta, is_symlink: bool) -> Differences {
        let same_but = |ours: Meta| *theirs == ours;
        let mode = if is_symlink { theirs.mode } else { ours.mode };
        let ours = Meta { mode, ..*ours };
        Differences {
            time: theirs.mtime != ours.mtime,
            mode: theirs.mode != ours.mode,
            xattrs: !same_but(Meta { mtime: theirs.mtime, mode: theirs.mode, ..ours }),
            ..Differences::default()
        }
    }

    fn read_dir(&self, path: &RelPath, each: &mut dyn FnMut(Name) -> bool) -> Result<(), Obstacle> {
        self.called("read_dir", path);
        let names: Vec<Name> = {
            let disk = self.disk();
            let dir = disk.at(path)?;
            disk.names(dir).ok_or(Obstacle::NotDir)?.keys().cloned().collect()
        };
        for name in names {
            if !each(name) {
                break;
            }
        }
        Ok(())
    }

    fn look_many(
        &self,
        dir: &RelPath,
        names: &[&Name],
    ) -> Result<Vec<Result<Entry, Obstacle>>, Obstacle> {
        let found = {
            let disk = self.disk();
            let held = disk.names(disk.at(dir)?).ok_or(Obstacle::NotDir)?;
            let entry = |name: &Name| held.get(name).map(|&id| disk.nodes[id].entry());
            names.iter().map(|name| entry(name).ok_or(Obstacle::Missing)).collect()
        };
        // After the look: what happens here, the look has not seen.
        self.called("look_many", dir);
        Ok(found)
    }
}
