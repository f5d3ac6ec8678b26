//! A disk in memory: inodes with an identity, watches with a bounded queue, and a clock that only
//! ticks when something changes.
//!
//! It is the sink's tree (`Target`) and the source's filesystem: the mutations make the events that
//! inotify makes, and `run_look` answers looks as a worker would.

mod events;
mod faith;
mod look;
mod mount;
mod mutate;
mod outside;
mod target;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use osync::model::attributes::{Attributes, Marks, Xattr};
use osync::model::delta::Signature;
use osync::model::entry::{Entry, FileTime, Identity, Meta, Sighting, SpecialKind};
use osync::model::path::{Name, RelPath};
use osync::model::selection::Selection;
use osync::model::stamp::{DirKey, SinkId};
use osync::model::target::Obstacle;

use super::dice::Dice;
use events::Queue;
use look::{OpenFile, OpenListing};

pub use mutate::Changed;
pub use target::Staged;

/// Bounds of a model tree, small so that they are met.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Events that the queue holds.
    pub queue: usize,
    /// Directories that can be watched.
    pub watches: usize,
    /// Entries in one part of a listing.
    pub part_entries: usize,
    /// Content up to this many bytes is brought by a look.
    pub live_bytes: u64,
    /// Names that one object may have.
    pub links: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            queue: 1_000,
            watches: usize::MAX,
            part_entries: 3,
            live_bytes: 64,
            links: u64::MAX,
        }
    }
}

/// What is called before each verb of the target, without any lock of the tree.
pub type Hook = Arc<dyn Fn(&str, &RelPath) + Send + Sync>;

/// A disk in memory.
pub struct ModelTree {
    disk: Mutex<Disk>,
    hook: Mutex<Option<Hook>>,
}

/// Names a node; never used again, as inode numbers are.
type NodeId = usize;
const ROOT: NodeId = 0;

#[derive(Debug, Clone)]
struct Node {
    identity: Identity,
    body: Inside,
    meta: Meta,
    xattrs: Vec<Xattr>,
    ctime: FileTime,
    links: u64,
    /// Of a directory that is linked.
    parent: Option<(NodeId, Name)>,
}

#[derive(Debug, Clone)]
enum Inside {
    File(Vec<u8>),
    Dir(BTreeMap<Name, NodeId>),
    Symlink(Vec<u8>),
    Special(SpecialKind, u64),
}

struct Disk {
    nodes: Vec<Node>,
    ticks: u64,
    births: u64,
    /// Inode numbers that are free: the next object takes one at once, as on ext4.
    free: Vec<u64>,
    bounds: Bounds,
    dice: Dice,
    queue: Queue,
    watches: HashMap<NodeId, DirKey>,
    /// Descriptors that workers keep.
    kept: HashMap<DirKey, NodeId>,
    listings: HashMap<u64, OpenListing>,
    files: HashMap<u64, OpenFile>,
    /// Staged objects of transfers, at the sink.
    transfers: HashMap<u64, Vec<u8>>,
    /// What ranges of transfers come from, at the sink, by descriptor.
    bases: HashMap<u64, NodeId>,
    /// What the source keeps beside its ledgers.
    signatures: HashMap<(SinkId, RelPath), Arc<Signature>>,
    /// What was moved out of the tree, the last one last.
    outside: Vec<NodeId>,
    no_room: bool,
    unreadable: HashSet<RelPath>,
    /// Files that somebody has open for writing.
    writers: HashSet<NodeId>,
    /// Directories that a mounted filesystem hides, by the node that stands there now.
    covered: HashMap<NodeId, NodeId>,
    devices: u64,
    /// Whether the path to the root leads elsewhere.
    root_lost: bool,
    /// Whether the clock stands still.
    frozen: bool,
    /// What looks see of it.
    selection: Arc<Selection>,
}

/// What is on a disk at some moment.
#[derive(Debug, Clone)]
pub struct Image {
    nodes: Vec<Node>,
    free: Vec<u64>,
}

/// What stands at a path: the entry with the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// The entry.
    pub entry: Entry,
    /// Of a file.
    pub content: Vec<u8>,
}

impl ModelTree {
    /// A tree with nothing but its root.
    pub fn new(seed: u64) -> ModelTree {
        ModelTree::bounded(seed, Bounds::default())
    }

    /// The same with other bounds.
    pub fn bounded(seed: u64, bounds: Bounds) -> ModelTree {
        let mut disk = Disk {
            nodes: Vec::new(),
            ticks: 0,
            births: 0,
            free: Vec::new(),
            queue: Queue::new(bounds.queue),
            bounds,
            dice: Dice::new(seed),
            watches: HashMap::new(),
            kept: HashMap::new(),
            listings: HashMap::new(),
            files: HashMap::new(),
            transfers: HashMap::new(),
            bases: HashMap::new(),
            signatures: HashMap::new(),
            outside: Vec::new(),
            no_room: false,
            unreadable: HashSet::new(),
            writers: HashSet::new(),
            covered: HashMap::new(),
            devices: 1,
            root_lost: false,
            frozen: false,
            selection: Arc::default(),
        };
        disk.add_node(Inside::Dir(BTreeMap::new()), 0o755);
        disk.nodes[ROOT].links = 1;
        ModelTree { disk: Mutex::new(disk), hook: Mutex::new(None) }
    }

    /// Calls this before each verb of the target from now on.
    pub fn set_hook(&self, hook: Option<Hook>) {
        *self.hook.lock().unwrap() = hook;
    }

    /// Looks see only what is selected from now on.
    pub fn select(&self, selection: &Arc<Selection>) {
        self.disk().selection = Arc::clone(selection);
    }

    /// So many names an object may have from now on.
    pub fn limit_links(&self, links: u64) {
        self.disk().bounds.links = links;
    }

    /// Whether staging finds no room from now on.
    pub fn set_no_room(&self, no_room: bool) {
        self.disk().no_room = no_room;
    }

    /// Whether the clock stands still from now on: what changes bears one time.
    pub fn freeze(&self, frozen: bool) {
        let mut disk = self.disk();
        disk.tick();
        disk.frozen = frozen;
    }

    /// Whether looks at this path fail from now on.
    pub fn set_unreadable(&self, path: &RelPath, unreadable: bool) {
        let mut disk = self.disk();
        if unreadable {
            disk.unreadable.insert(path.clone());
        } else {
            disk.unreadable.remove(path);
        }
    }

    /// Everything below the root, and the root.
    pub fn snapshot(&self) -> BTreeMap<RelPath, Stands> {
        let disk = self.disk();
        disk.paths().into_iter().map(|(path, id)| (path, disk.nodes[id].stands())).collect()
    }

    /// Of each path that is one of several names of one object, which object that is.
    pub fn groups(&self) -> BTreeMap<RelPath, usize> {
        let disk = self.disk();
        let paths = disk.paths();
        let mut names: HashMap<NodeId, usize> = HashMap::new();
        paths.iter().for_each(|(_, id)| *names.entry(*id).or_default() += 1);
        paths.into_iter().filter(|(_, id)| names[id] > 1).collect()
    }

    /// What stands at a path.
    pub fn stands(&self, path: &RelPath) -> Option<Stands> {
        let disk = self.disk();
        disk.at(path).ok().map(|id| disk.nodes[id].stands())
    }

    /// The identity of what stands at a path.
    pub fn identity(&self, path: &RelPath) -> Option<Identity> {
        let disk = self.disk();
        disk.at(path).ok().map(|id| disk.nodes[id].identity)
    }

    /// All that is on the disk.
    pub fn image(&self) -> Image {
        let disk = self.disk();
        Image { nodes: disk.nodes.clone(), free: disk.free.clone() }
    }

    /// The disk is what it was; time goes on.
    pub fn restore(&self, image: &Image) {
        let mut disk = self.disk();
        disk.nodes.clone_from(&image.nodes);
        disk.free.clone_from(&image.free);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn entry(&self) -> Entry {
        let meta = self.meta;
        match &self.body {
            Inside::File(content) => Entry::File { size: content.len() as u64, meta },
            Inside::Dir(_) => Entry::Dir { meta },
            Inside::Symlink(target) => Entry::Symlink { target: target.clone(), meta },
            Inside::Special(kind, device) => Entry::Special { kind: *kind, device: *device, meta },
        }
    }

    /// Takes on attributes that came; the marks are those of what came.
    fn bear(&mut self, attributes: &Attributes) {
        self.meta = attributes.meta;
        self.xattrs.clone_from(&attributes.xattrs);
        self.meta.marks = Marks::of(&self.xattrs);
    }

    fn stands(&self) -> Stands {
        let content = match &self.body {
            Inside::File(content) => content.clone(),
            _ => Vec::new(),
        };
        Stands { entry: self.entry(), content }
    }

    fn is_dir(&self) -> bool {
        matches!(self.body, Inside::Dir(_))
    }

    fn attributes(&self) -> Attributes {
        Attributes { xattrs: self.xattrs.clone(), ..Attributes::plain(self.meta) }
    }

    fn sighting(&self) -> Sighting {
        Sighting {
            entry: self.entry(),
            identity: self.identity,
            ctime: self.ctime,
            xattrs: self.xattrs.clone(),
            atime: None,
            holes: false,
            links: self.links,
            is_young: false,
        }
    }
}

impl Disk {
    /// The time now, one tick later than before.
    fn tick(&mut self) -> FileTime {
        self.ticks += u64::from(!self.frozen);
        self.now()
    }

    fn now(&self) -> FileTime {
        FileTime { seconds: 1_000_000 + (self.ticks / 1_000) as i64, nanos: self.now_nanos() }
    }

    fn now_nanos(&self) -> u32 {
        (self.ticks % 1_000) as u32 * 1_000_000 + 1
    }

    fn add_node(&mut self, body: Inside, mode: u16) -> NodeId {
        self.births += 1;
        let now = self.tick();
        let inode = self.free.pop().unwrap_or(self.nodes.len() as u64 + 2);
        self.nodes.push(Node {
            identity: Identity { device: 1, inode, birth: i128::from(self.births) },
            body,
            meta: Meta::plain(mode, 0, 0, now),
            xattrs: Vec::new(),
            ctime: now,
            links: 0,
            parent: None,
        });
        self.nodes.len() - 1
    }

    /// The names of a directory, with what stands at each.
    fn names(&self, dir: NodeId) -> Option<&BTreeMap<Name, NodeId>> {
        match &self.nodes[dir].body {
            Inside::Dir(names) => Some(names),
            _ => None,
        }
    }

    fn names_mut(&mut self, dir: NodeId) -> &mut BTreeMap<Name, NodeId> {
        match &mut self.nodes[dir].body {
            Inside::Dir(names) => names,
            _ => panic!("No directory"),
        }
    }

    /// All paths, with what stands at each.
    fn paths(&self) -> Vec<(RelPath, NodeId)> {
        let mut all = Vec::new();
        let mut left = vec![(RelPath::root(), ROOT)];
        while let Some((path, id)) = left.pop() {
            if let Inside::Dir(names) = &self.nodes[id].body {
                left.extend(names.iter().map(|(name, &child)| (path.join(name), child)));
            }
            all.push((path, id));
        }
        all
    }

    /// What stands at a path; no symlink is followed.
    fn at(&self, path: &RelPath) -> Result<NodeId, Obstacle> {
        let Some((dir, name)) = self.place(path)? else { return Ok(ROOT) };
        self.names(dir).and_then(|names| names.get(&name)).copied().ok_or(Obstacle::Missing)
    }

    /// The directory and the name that a path means; nothing for the root.
    fn place(&self, path: &RelPath) -> Result<Option<(NodeId, Name)>, Obstacle> {
        let Some((above, last)) = path.split_last() else { return Ok(None) };
        let mut dir = ROOT;
        for name in above.names() {
            let names = self.names(dir).ok_or(Obstacle::NotDir)?;
            dir = *names.get(&name).ok_or(Obstacle::NoParent)?;
        }
        if !self.nodes[dir].is_dir() {
            return Err(Obstacle::NotDir);
        }
        Ok(Some((dir, last)))
    }

    /// As `place`, for what must not be the root.
    fn place_below(&self, path: &RelPath) -> Result<(NodeId, Name), Obstacle> {
        self.place(path)?.ok_or_else(|| Obstacle::Other("this is the root".into()))
    }

    /// Enters a node into a directory, which then bears a new time.
    fn link(&mut self, dir: NodeId, name: &Name, id: NodeId) {
        self.names_mut(dir).insert(name.clone(), id);
        let now = self.tick();
        self.nodes[id].identity.device = self.nodes[dir].identity.device;
        self.nodes[id].links += 1;
        self.nodes[id].ctime = now;
        if self.nodes[id].is_dir() {
            self.nodes[id].parent = Some((dir, name.clone()));
        }
        self.nodes[dir].meta.mtime = now;
        self.nodes[dir].ctime = now;
    }

    /// Takes a name out of a directory; the inode number is free once no name is left.
    fn unlink(&mut self, dir: NodeId, name: &Name) -> Option<NodeId> {
        let id = self.names_mut(dir).remove(name)?;
        let now = self.tick();
        let node = &mut self.nodes[id];
        node.links -= 1;
        node.ctime = now;
        node.parent = None;
        self.nodes[dir].meta.mtime = now;
        self.nodes[dir].ctime = now;
        Some(id)
    }

    /// Lets a node go that no name is left for.
    fn bury(&mut self, id: NodeId) {
        if self.nodes[id].links == 0 {
            self.free.push(self.nodes[id].identity.inode);
        }
    }
}
