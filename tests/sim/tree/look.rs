//! Looks at the model tree, as a worker at the source would run them.

use std::collections::VecDeque;
use std::sync::Arc;

use osync::model::delta::{Comparer, Delta, Signature, Signer};
use osync::model::entry::{Entry, FileTime, Hash, Sighting};
use osync::model::ledger::{Facts, Standing};
use osync::model::look::{
    Armed, Comparing, DirAddress, Found, LookDone, LookJob, ReadContent, Seen, Sight, Task, Want,
    WatchState,
};
use osync::model::op::{Listed, ListingEnd};
use osync::model::path::{Name, RelPath};
use osync::model::stamp::DirKey;
use osync::model::target::Obstacle;

use super::{Disk, Inside, ModelTree, NodeId};

/// A directory that is being listed: what is left of the names it had when it was opened.
pub(super) struct OpenListing {
    dir: NodeId,
    path: RelPath,
    rest: VecDeque<Name>,
    changed: FileTime,
}

/// A large file that is being read.
pub(super) struct OpenFile {
    id: NodeId,
    hasher: blake3::Hasher,
    bytes: u64,
    mtime: FileTime,
    signer: Signer,
    comparer: Option<Comparer>,
}

impl ModelTree {
    /// Runs one look, as one step.
    pub fn run_look(&self, job: &LookJob) -> LookDone {
        LookDone { id: job.id, seen: self.disk().run(job) }
    }
}

impl Disk {
    fn run(&mut self, job: &LookJob) -> Seen {
        match &job.task {
            Task::CloseListing { listing } => {
                self.listings.remove(listing);
                return Seen::Closed;
            }
            Task::CloseTransfer { transfer } => {
                self.files.remove(transfer);
                return Seen::Closed;
            }
            Task::Paths(paths) => return Seen::Paths(self.gone(paths)),
            Task::Chunk { transfer, offset, bytes } => {
                // A transfer that is compared goes on by itself.
                return self.chunk(*transfer, *offset, *bytes);
            }
            Task::List { listing, first: false, .. } => {
                return self.next_part(*listing, job.dir.key);
            }
            _ => {}
        }
        if self.unreadable.contains(&job.dir.path) {
            return Seen::Unreadable("Permission denied".into());
        }
        let resolves = matches!(job.task, Task::Arm { .. } | Task::List { .. });
        let Some(dir) = self.open_dir(&job.dir, resolves) else { return Seen::Elsewhere };
        match &job.task {
            Task::Arm { files_max } => Seen::Armed(self.arm(dir, &job.dir, *files_max)),
            Task::List { listing, .. } => self.first_part(*listing, dir, &job.dir),
            Task::Names(names) => self.look_at_names(dir, &job.dir.path, names),
            Task::Probe(names) => self.probe(dir, names),
            Task::OwnMeta if self.nodes[dir].links == 0 => Seen::Elsewhere,
            Task::OwnMeta => Seen::Own(self.nodes[dir].sighting()),
            Task::Compare { transfer, name, told } => {
                self.compare(job, *transfer, name, told.as_ref())
            }
            Task::Finish { transfer, name } => {
                self.sign(job, *transfer, name);
                self.finish(dir, *transfer, name)
            }
            _ => unreachable!("Handled above"),
        }
    }

    /// Opens a directory by its path, checked, or by the descriptor that a worker kept; arming and
    /// the first part of a listing always go by the path.
    fn open_dir(&mut self, address: &DirAddress, resolves: bool) -> Option<NodeId> {
        let is_it = |disk: &Disk, id: NodeId| {
            let node = &disk.nodes[id];
            node.is_dir() && address.identity.is_none_or(|identity| identity == node.identity)
        };
        let is_lost = resolves && self.root_lost && address.path.is_root();
        let by_path = self.at(&address.path).ok().filter(|&id| !is_lost && is_it(self, id));
        let kept = address.identity.and_then(|_| self.kept.get(&address.key)).copied();
        let kept = kept.filter(|&id| is_it(self, id));
        if resolves || kept.is_none() || self.dice.one_in(2) { by_path } else { kept }
    }

    /// Whether a rule hides a node at a name.
    fn hides(&self, dir: &RelPath, name: &Name, id: NodeId) -> bool {
        self.selection.hides(dir, name, self.nodes[id].is_dir())
    }

    fn withholds(&self, id: NodeId) -> bool {
        self.selection.withholds(&self.nodes[id].entry())
    }

    fn probe(&self, dir: NodeId, names: &[Name]) -> Seen {
        let all = self.names(dir);
        let is_written = |name: &&Name| {
            all.and_then(|all| all.get(*name)).is_some_and(|id| self.writers.contains(id))
        };
        Seen::Writers(names.iter().filter(is_written).cloned().collect())
    }

    fn arm(&mut self, dir: NodeId, address: &DirAddress, files_max: usize) -> Armed {
        let watch = self.watch(dir, address.key);
        let (mut dirs, mut files) = (Vec::new(), Vec::new());
        for (name, &id) in self.names(dir).into_iter().flatten() {
            if self.hides(&address.path, name, id) {
                continue;
            }
            if self.nodes[id].is_dir() { dirs.push(name.clone()) } else { files.push(name.clone()) }
        }
        let complete = files.len() <= files_max;
        files.truncate(files_max);
        Armed { identity: self.nodes[dir].identity, watch, dirs, files, complete }
    }

    fn watch(&mut self, dir: NodeId, key: DirKey) -> WatchState {
        // A descriptor would keep people from unmounting.
        if self.nodes[dir].identity.device == self.nodes[super::ROOT].identity.device {
            self.kept.insert(key, dir);
        }
        match self.watches.get(&dir) {
            Some(&known) if known == key => WatchState::Watched,
            Some(&known) => WatchState::Known(known),
            None if self.nodes[dir].links == 0 => WatchState::Unwatched("it is gone".into()),
            None if self.watches.len() >= self.bounds.watches => {
                WatchState::Unwatched("no more watches".into())
            }
            None => {
                self.watches.retain(|_, known| *known != key);
                self.watches.insert(dir, key);
                WatchState::Watched
            }
        }
    }

    fn first_part(&mut self, listing: u64, dir: NodeId, address: &DirAddress) -> Seen {
        let rest = self.names(dir).into_iter().flatten().map(|(name, _)| name.clone()).collect();
        let (changed, path) = (self.nodes[dir].ctime, address.path.clone());
        self.listings.insert(listing, OpenListing { dir, path, rest, changed });
        self.next_part(listing, address.key)
    }

    fn next_part(&mut self, listing: u64, key: DirKey) -> Seen {
        let Some(mut open) = self.listings.remove(&listing) else {
            return Seen::Unreadable("No such listing is open".into());
        };
        let watch = self.watch(open.dir, key);
        let (mut entries, mut problems) = (Vec::new(), Vec::new());
        while entries.len() < self.bounds.part_entries {
            let Some(name) = open.rest.pop_front() else { break };
            let Some(&id) = self.names(open.dir).and_then(|names| names.get(&name)) else {
                continue;
            };
            if self.hides(&open.path, &name, id) || self.withholds(id) {
                continue;
            }
            if self.unreadable.contains(&open.path.join(&name)) && !self.nodes[id].is_dir() {
                problems.push((name, "Permission denied".into()));
                continue;
            }
            let node = &self.nodes[id];
            let home = Some(self.nodes[open.dir].identity);
            let (listed, facts) =
                (Listed { name, entry: node.entry() }, Facts::of(&node.sighting(), home));
            let (standing, has_writer) = (Standing::Unknown, self.writers.contains(&id));
            let takes = listed.entry.content_bytes();
            entries.push(Found { listed, facts, standing, beside: None, has_writer, takes });
        }
        let end = if open.rest.is_empty() { ListingEnd::Complete } else { ListingEnd::More };
        let (identity, changed) = (self.nodes[open.dir].identity, open.changed);
        if end == ListingEnd::More {
            self.listings.insert(listing, open);
        }
        Seen::Part { identity, changed, watch, entries, problems, end, missing: None }
    }

    fn look_at_names(&mut self, dir: NodeId, path: &RelPath, names: &[(Name, Want)]) -> Seen {
        let (mut sights, mut content) = (Vec::new(), Vec::new());
        for (name, want) in names {
            let sight = self.sight(dir, path, name, *want, &mut content);
            sights.push((name.clone(), sight));
        }
        Seen::Names { sights, content, notes: Vec::new() }
    }

    fn sight(
        &mut self,
        dir: NodeId,
        path: &RelPath,
        name: &Name,
        want: Want,
        content: &mut Vec<u8>,
    ) -> Sight {
        let Some(&id) = self.names(dir).and_then(|names| names.get(name)) else {
            return Sight::Gone;
        };
        if self.hides(path, name, id) {
            return Sight::Gone;
        }
        if self.withholds(id) {
            return Sight::Withheld;
        }
        if self.unreadable.contains(&path.join(name)) {
            return Sight::Problem("Permission denied".into());
        }
        let sighting = self.sighting(id);
        let node = &self.nodes[id];
        let mut read = None;
        if let Inside::File(bytes) = &node.body {
            let small = bytes.len() as u64 <= self.bounds.live_bytes;
            let hash = Hash(*blake3::hash(bytes).as_bytes());
            let bytes_read = bytes.len() as u64;
            match want {
                Want::Content if small => {
                    content.extend_from_slice(bytes);
                    read = Some(ReadContent { hash, bytes: bytes_read, brought: true });
                }
                Want::Hash => read = Some(ReadContent { hash, bytes: bytes_read, brought: false }),
                Want::Open { transfer } => {
                    let hasher = blake3::Hasher::new();
                    let (mtime, comparer) = (node.meta.mtime, None);
                    let signer = Signer::new(bytes_read).unwrap();
                    let file = OpenFile { id, hasher, bytes: 0, mtime, signer, comparer };
                    self.files.insert(transfer, file);
                }
                Want::Content | Want::Meta => {}
            }
        }
        Sight::There { sighting, read }
    }

    /// What a look sees of a node; what changed since the clock stands still is young.
    fn sighting(&self, id: NodeId) -> Sighting {
        let node = &self.nodes[id];
        let is_young = self.frozen && node.ctime == self.now();
        Sighting { is_young, ..node.sighting() }
    }

    fn gone(&self, paths: &[RelPath]) -> Vec<(RelPath, bool)> {
        let gone = |path: &RelPath| match self.at(path) {
            Ok(id) => self.selection.hides_path(path, self.nodes[id].is_dir()),
            Err(obstacle) => {
                matches!(obstacle, Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir)
            }
        };
        paths.iter().map(|path| (path.clone(), gone(path))).collect()
    }

    fn chunk(&mut self, transfer: u64, offset: u64, bytes: u64) -> Seen {
        let Some(open) = self.files.get_mut(&transfer) else {
            return Seen::Unreadable("No such transfer is open".into());
        };
        let Inside::File(content) = &self.nodes[open.id].body else {
            return Seen::Unreadable("No file".into());
        };
        let begin = (offset as usize).min(content.len());
        let end = begin.saturating_add(bytes as usize).min(content.len());
        let chunk = content[begin..end].to_vec();
        open.hasher.update(&chunk);
        open.signer.update(&chunk);
        open.bytes += chunk.len() as u64;
        let is_last = chunk.len() < bytes as usize;
        if let Some(comparer) = &mut open.comparer {
            let mut delta = Delta::default();
            comparer.take(&chunk, &mut delta);
            if is_last {
                comparer.finish(&mut delta);
            }
            return Seen::Delta { delta, end: comparer.decided(), is_last };
        }
        Seen::Chunk { offset, bytes: chunk, is_last }
    }

    fn compare(
        &mut self,
        job: &LookJob,
        transfer: u64,
        name: &Name,
        told: Option<&Arc<Signature>>,
    ) -> Seen {
        let key = job.sink.map(|sink| (sink, job.dir.path.join(name)));
        let kept = || key.and_then(|key| self.signatures.get(&key).cloned());
        let known = told.cloned().or_else(kept);
        let Some(open) = self.files.get_mut(&transfer) else {
            return Seen::Unreadable("No such transfer is open".into());
        };
        let basis = known.as_ref().map(|known| known.basis());
        open.comparer = known.map(Comparer::new);
        Seen::Comparing(basis.map_or(Comparing::Unsigned, Comparing::With))
    }

    fn sign(&mut self, job: &LookJob, transfer: u64, name: &Name) {
        let (Some(sink), Some(open)) = (job.sink, self.files.get_mut(&transfer)) else { return };
        let signer = std::mem::replace(&mut open.signer, Signer::new(0).unwrap());
        if let Some(signature) = signer.finish(open.mtime) {
            self.signatures.insert((sink, job.dir.path.join(name)), Arc::new(signature));
        }
    }

    fn finish(&mut self, dir: NodeId, transfer: u64, name: &Name) -> Seen {
        let Some(open) = self.files.get(&transfer) else {
            return Seen::Unreadable("No such transfer is open".into());
        };
        let file = self.nodes[open.id].sighting();
        debug_assert!(matches!(file.entry, Entry::File { .. }));
        let still_named = self.names(dir).and_then(|names| names.get(name)) == Some(&open.id);
        let hash = Hash(*open.hasher.finalize().as_bytes());
        Seen::Finished { file, still_named, hash, bytes: open.bytes }
    }
}
