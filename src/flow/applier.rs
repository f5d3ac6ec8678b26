//! The sink's end of the logic: executes messages against a [`Target`], under the stamp table.
//!
//! Shared by several applier threads. Locks, in the order in which they are taken:
//! - the *gate*: ordinary operations pass it together; renames, exchanges, removals of
//!   directories, changes of kind and parents made on the way pass it alone (H32);
//! - the *shard* of the name: check of the stamp, its record and the change are one step (law 3); a
//!   hard link takes those of both its names, in the order of the shards;
//! - the stamp table and the open listings, each for a moment.
//!
//! Content is staged and hashed before any lock on names is taken (H17g). Nothing is ever removed
//! recursively (H7). One applier lives as long as one epoch (H9).

mod compare;
mod links;
mod listings;
mod moves;
mod names;
mod preview;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::flow::applier::listings::OpenListings;
use crate::flow::applier::preview::Preview;
use crate::flow::stamps::{Reach, StampTable};
use crate::model::entry::{Entry, FileTime, Meta};
use crate::model::limits::{ANSWER_BYTES_MAX, APPLIER_SHARDS, REMAINS_MAX};
use crate::model::message::{Body, MessageAnswer};
use crate::model::op::{Answer, Failure, Need, Op, Operation, Version};
use crate::model::path::{Name, RelPath};
use crate::model::session::DeletePolicy;
use crate::model::stamp::{Lane, Sequence, Stamp};
use crate::model::target::{Obstacle, Standing, Target};

/// What is said of a source's name that is taken at the sink.
const STAGING_NAME: &str =
    "the name is that of the staging directory at the sink: rename it at the source";

/// Executes the messages of one epoch.
pub struct Applier<T> {
    target: Arc<T>,
    rules: Rules,
    /// Counts those who passed alone.
    gate: RwLock<u64>,
    /// Each counts the operations that passed through it.
    shards: Vec<Mutex<u64>>,
    shard_of: RandomState,
    stamps: Mutex<StampTable>,
    listings: Mutex<OpenListings>,
    /// What was told, if this is a dry run.
    preview: Option<Preview>,
}

/// What the person at the sink has laid down.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What may be removed.
    pub delete: DeletePolicy,
    /// The name of the staging directories: no operation may touch one.
    pub staging: Option<Name>,
    /// Whether all that is listed is declared to be here already.
    pub is_declared: bool,
    /// Nothing is to be changed: what would be done is told.
    pub dry: Option<Dry>,
}

/// What a dry run has to know of its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dry {
    /// The root does not exist: an empty directory stands for it.
    pub makes_root: bool,
}

/// What became of a message's operations. What is not named was applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Executed {
    /// By index.
    pub exceptions: Vec<(u32, Answer)>,
    /// Directories made on the way, outermost first.
    pub made: Vec<RelPath>,
    /// What was applied without some attributes, by index, in words.
    pub lacking: Vec<(u32, String)>,
}

/// What an operation did beside what it was asked for.
#[derive(Debug, Default)]
struct Effects {
    /// Directories made on the way, outermost first.
    made: Vec<RelPath>,
    /// What of the attributes could not be set, in words.
    lack: Option<String>,
}

/// What one try at a name came to.
enum Step {
    /// The end of it.
    Answer(Answer),
    /// It concerns more than one name: once more, alone.
    Alone,
}

impl<T: Target> Applier<T> {
    /// An applier for a new epoch.
    pub fn new(target: Arc<T>, rules: Rules) -> Applier<T> {
        Applier {
            target,
            preview: rules.dry.map(|_| Preview::default()),
            rules,
            gate: RwLock::new(0),
            shards: (0..APPLIER_SHARDS).map(|_| Mutex::new(0)).collect(),
            shard_of: RandomState::new(),
            stamps: Mutex::new(StampTable::new()),
            listings: Mutex::new(OpenListings::default()),
        }
    }

    /// The tree.
    pub fn target(&self) -> &T {
        &self.target
    }

    /// Whether nothing is changed.
    pub fn is_dry(&self) -> bool {
        self.preview.is_some()
    }

    /// How many names have a stamp that is remembered.
    pub fn remembered(&self) -> usize {
        self.stamps().len()
    }

    /// Executes the body of one message and answers it; nothing for chunks and drops, which
    /// concern no name. `watermark` is that of the message's header.
    pub fn execute(
        &self,
        place: (Lane, Sequence),
        watermark: Stamp,
        body: &Body,
        content: &[u8],
    ) -> Option<MessageAnswer> {
        self.advance(watermark);
        let (lane, sequence) = place;
        let mut answer = MessageAnswer {
            lane,
            sequence,
            exceptions: vec![],
            made: vec![],
            lacking: vec![],
            listing: None,
            signature: vec![],
        };
        match body {
            Body::Operations(operations) => {
                let executed = self.operations(operations, content);
                (answer.exceptions, answer.made) = (executed.exceptions, executed.made);
                answer.lacking = executed.lacking;
            }
            Body::Listing(part) => {
                let (listing, made) = self.compare(part);
                (answer.listing, answer.made) = (Some(listing), made);
            }
            Body::Sign { path } => answer.signature = self.signature(path),
            Body::Chunk { .. } | Body::Basis { .. } | Body::Delta { .. } | Body::Drop { .. } => {
                return None;
            }
        }
        Some(answer)
    }

    /// A signature of the file at a path, in bytes; empty if there is none.
    fn signature(&self, path: &RelPath) -> Vec<u8> {
        let signature = if self.is_dry() { None } else { self.target.sign(path) };
        signature.map(|signature| signature.encode()).unwrap_or_default()
    }

    /// Forgets the stamps at or below a watermark, and refuses them from now on.
    pub fn advance(&self, watermark: Stamp) {
        self.stamps().advance(watermark);
    }

    /// Executes operations in their order; `content` holds the bytes of the `Put`s.
    pub fn operations(&self, operations: &[Operation], content: &[u8]) -> Executed {
        let mut executed = Executed::default();
        let mut effects = Effects::default();
        let mut rest = content;
        let mut room = ANSWER_BYTES_MAX;
        for (index, operation) in (0..).zip(operations) {
            let size = usize::try_from(operation.op.frame_bytes()).ok();
            let bytes = size.and_then(|size| rest.split_at_checked(size));
            let (bytes, after) = bytes.unwrap_or((&[], &[]));
            rest = after;
            match self.operation(operation, bytes, &mut effects) {
                Answer::Applied => {
                    executed.lacking.extend(effects.lack.take().map(|lack| (index, lack)));
                }
                answer => executed.exceptions.push((index, cut(answer, &mut room))),
            }
        }
        executed.made = effects.made;
        keep_short(&mut executed.made);
        executed
    }

    fn operation(&self, operation: &Operation, bytes: &[u8], effects: &mut Effects) -> Answer {
        let stamp = operation.stamp;
        if let Some(answer) = self.refused(&operation.op) {
            return answer;
        }
        if let Some(preview) = &self.preview {
            return self.preview_operation(&operation.op, preview);
        }
        match &operation.op {
            Op::Put { path, size, attributes, hash } => {
                if bytes.len() as u64 != *size || blake3::hash(bytes).as_bytes() != &hash.0 {
                    return Answer::Needed(Need::Content);
                }
                let stage = || self.target.stage_file(bytes, attributes).map_err(failed);
                self.put(path, stamp, names::Kind::File, stage, effects)
            }
            Op::Commit { path, transfer, size, attributes, hash } => {
                let stage = || self.take(path, *transfer, *size, hash, attributes);
                self.put(path, stamp, names::Kind::File, stage, effects)
            }
            Op::Symlink { path, target, attributes } => {
                let stage = || self.target.stage_symlink(target, attributes).map_err(failed);
                self.put(path, stamp, names::Kind::Symlink, stage, effects)
            }
            Op::Special { path, kind, device, attributes } => {
                let stage =
                    || self.target.stage_special(*kind, *device, attributes).map_err(failed);
                self.put(path, stamp, names::Kind::Special, stage, effects)
            }
            Op::MakeDir { path } => self.make_dir(path, stamp, effects),
            Op::SetMeta { path, presumes, attributes, names } => {
                self.set_attributes(path, stamp, presumes, (attributes, *names), effects)
            }
            Op::Remove { path, spared } => self.remove(path, *spared, stamp),
            Op::Rename { from, to, presumes } => self.rename((from, to), stamp, presumes, effects),
            Op::Exchange { a, b } => self.exchange((a, b), stamp),
            Op::Link { path, from, presumes, since } => {
                self.link((path, from), (stamp, *since), presumes, effects)
            }
        }
    }

    /// What may not be done, whoever asks.
    fn refused(&self, op: &Op) -> Option<Answer> {
        let paths: &[&RelPath] = match op {
            Op::Rename { from, to, .. } => &[from, to],
            Op::Link { path, from, .. } => &[path, from],
            Op::Exchange { a, b } => &[a, b],
            other => &[other.path()],
        };
        let root_may = matches!(op, Op::MakeDir { .. } | Op::SetMeta { .. });
        if !root_may && paths.iter().any(|path| path.is_root()) {
            return Some(forbidden("the root itself can't be replaced or removed".into()));
        }
        if paths.iter().any(|path| self.is_staging(path)) {
            return Some(forbidden(STAGING_NAME.into()));
        }
        None
    }

    fn is_staging(&self, path: &RelPath) -> bool {
        let bytes = self.rules.staging.as_ref().map(Name::as_bytes);
        bytes.is_some_and(|staging| path.as_bytes().split(|&b| b == b'/').any(|n| n == staging))
    }

    /// Runs `act` under the lock of one name and, if it asks for that, once more alone.
    fn at_name(&self, path: &RelPath, act: impl FnMut(bool) -> Step) -> Answer {
        let lock = || {
            let mut passed = self.shard(path);
            *passed += 1;
            passed
        };
        self.in_turn(lock, act)
    }

    /// Runs `act` under locks on names and, if it asks for that, once more alone.
    fn in_turn<Locks>(
        &self,
        lock: impl FnOnce() -> Locks,
        mut act: impl FnMut(bool) -> Step,
    ) -> Answer {
        {
            let _together = self.together();
            let _passed = lock();
            if let Step::Answer(answer) = act(false) {
                return answer;
            }
        }
        let mut passed = self.alone();
        *passed += 1;
        match act(true) {
            Step::Answer(answer) => answer,
            Step::Alone => failed(Obstacle::Other("the name keeps changing at the sink".into())),
        }
    }

    /// Checks and records a stamp, then makes the change; a change that did not happen leaves no
    /// stamp. To be called under the lock of the name.
    fn stamped(
        &self,
        path: &RelPath,
        stamp: Stamp,
        reach: Reach,
        change: impl FnOnce() -> Step,
    ) -> Step {
        let earlier = {
            let mut stamps = self.stamps();
            if !stamps.admits(path, stamp) {
                return Step::Answer(Answer::Superseded);
            }
            stamps.record(path, stamp, reach)
        };
        let step = change();
        if !matches!(step, Step::Answer(Answer::Applied)) {
            self.stamps().restore(path, earlier);
        }
        step
    }

    fn admits(&self, path: &RelPath, stamp: Stamp) -> bool {
        self.stamps().admits(path, stamp)
    }

    /// Makes the directories above a name that are not there. To be called alone.
    fn make_above(&self, path: &RelPath, effects: &mut Effects) -> Result<(), Obstacle> {
        let mut missing = Vec::new();
        for above in path.ancestors().filter(|above| !above.is_root()) {
            match self.target.make_dir(&above) {
                Ok(()) => {
                    effects.made.push(above);
                    break;
                }
                Err(Obstacle::Exists) => break,
                Err(Obstacle::NoParent) => missing.push(above),
                Err(other) => return Err(other),
            }
        }
        for below in missing.into_iter().rev() {
            match self.target.make_dir(&below) {
                Ok(()) => effects.made.push(below),
                Err(Obstacle::Exists) => {}
                // What is above it is there by now.
                Err(Obstacle::NoParent) => return Err(Obstacle::Unnameable),
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// The same for a name that could not be made because they seemed to be missing. If none is,
    /// the filesystem has no better word for a name that it does not take.
    fn supply_above(&self, path: &RelPath, effects: &mut Effects) -> Result<(), Obstacle> {
        let before = effects.made.len();
        self.make_above(path, effects)?;
        if effects.made.len() > before { Ok(()) } else { Err(Obstacle::Unnameable) }
    }

    /// The answer when something that is no directory stands above a name.
    fn blocked(&self, path: &RelPath, stamp: Stamp) -> Answer {
        if self.stamps().killed(path) > stamp {
            Answer::Superseded
        } else {
            Answer::Needed(Need::Parent)
        }
    }

    /// The answer when a directory that is not empty is in the way.
    fn remains(&self, dir: &RelPath) -> Answer {
        let mut names = Vec::new();
        let read = self.target.read_dir(dir, &mut |name| {
            names.push(name);
            names.len() < REMAINS_MAX
        });
        match read {
            Ok(()) => Answer::Needed(Need::Remains { dir: dir.clone(), names }),
            Err(obstacle) => failed(obstacle),
        }
    }

    /// Whether a modification time is the one that this sink would have for it.
    fn same_time(&self, theirs: FileTime, ours: &Standing) -> bool {
        let ours = ours.entry.meta();
        self.target.same_meta(&Meta { mtime: theirs, ..*ours }, ours, false)
    }

    fn together(&self) -> RwLockReadGuard<'_, u64> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, u64> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, path: &RelPath) -> MutexGuard<'_, u64> {
        locked(&self.shards[self.shard_index(path)])
    }

    fn shard_index(&self, path: &RelPath) -> usize {
        self.shard_of.hash_one(path.as_bytes()) as usize % self.shards.len()
    }

    fn stamps(&self) -> MutexGuard<'_, StampTable> {
        locked(&self.stamps)
    }
}

fn locked<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(obstacle: Obstacle) -> Answer {
    Answer::Failed(match obstacle {
        Obstacle::NoRoom => Failure::NoRoom,
        Obstacle::ReadOnly => Failure::ReadOnly,
        Obstacle::Other(text) => Failure::Other(text),
        Obstacle::Unnameable => {
            Failure::Other("the sink can't hold this name: its filesystem refuses it".into())
        }
        Obstacle::NoMoreNames => Failure::Other(links::NO_MORE_NAMES.to_owned()),
        Obstacle::Missing | Obstacle::NoParent => {
            Failure::Other("the name went away at the sink by another's hand".into())
        }
        Obstacle::NotDir | Obstacle::IsDir | Obstacle::NotEmpty | Obstacle::Exists => {
            Failure::Other("the name changed its kind at the sink by another's hand".into())
        }
    })
}

/// Leaves out names of what remains until the answers of one message fit into a report: whoever
/// asks again gets the others.
fn cut(answer: Answer, room: &mut usize) -> Answer {
    let Answer::Needed(Need::Remains { dir, mut names }) = answer else { return answer };
    let bytes = |name: &Name| name.as_bytes().len() + 2;
    let mut kept = 0;
    while kept < names.len() && (kept == 0 || bytes(&names[kept]) <= *room) {
        *room = room.saturating_sub(bytes(&names[kept]));
        kept += 1;
    }
    names.truncate(kept);
    Answer::Needed(Need::Remains { dir, names })
}

/// Leaves out directories made on the way, the deepest ones, beyond what fits into a report.
fn keep_short(made: &mut Vec<RelPath>) {
    let mut room = ANSWER_BYTES_MAX;
    let fits = made.iter().take_while(|path| {
        let bytes = path.as_bytes().len() + 5;
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    });
    let fits = fits.count();
    made.truncate(fits);
}

fn forbidden(text: String) -> Answer {
    Answer::Failed(Failure::Forbidden(text))
}

/// Whether what stands at a name is of the kind and size that a version says.
fn is_version(standing: &Standing, version: &Version) -> bool {
    match (&standing.entry, version) {
        (Entry::Dir { .. }, Version::Dir)
        | (Entry::Symlink { .. }, Version::Symlink { .. })
        | (Entry::Special { .. }, Version::Special { .. }) => true,
        (Entry::File { size, .. }, Version::File { size: presumed, .. }) => size == presumed,
        _ => false,
    }
}
