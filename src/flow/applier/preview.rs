//! A dry run: every message is answered as if it had been carried out, what would be done is told,
//! and nothing is changed.
//!
//! - A listing is compared as ever; what differs becomes items, and the answer is that all is
//!   there, so that no content travels. Only where a directory, or a refusal, stands in the way the
//!   operation itself is asked for: its answers, and the removals that follow, are the real ones.
//! - What would be removed still stands: the names that operations told of are kept, as 8-byte
//!   hashes, until their directory is told to be removed itself.
//! - A directory that is listed again has been told of already.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use crate::flow::applier::names::{Kind, forbidden_kind};
use crate::flow::applier::{Applier, failed, forbidden, locked};
use crate::model::entry::{Entry, Meta};
use crate::model::item::{Deed, Differences, Item, ItemKind};
use crate::model::limits::REMAINS_MAX;
use crate::model::message::{ListingAnswer, Picked};
use crate::model::op::{Answer, Listed, ListingEnd, ListingPart, Need, Op, Spared, Version};
use crate::model::path::{Name, RelPath};
use crate::model::session::DeletePolicy;
use crate::model::target::{Obstacle, Standing, Target};

/// What a dry run has told so far.
#[derive(Debug, Default)]
pub(super) struct Preview(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// By the hash of a directory's path.
    dirs: HashMap<u64, Dir>,
    /// Told, and not taken yet.
    items: Vec<Item>,
    hasher: RandomState,
}

/// What was told of one directory.
#[derive(Debug, Default)]
struct Dir {
    /// Names of a listing that has not come to its end.
    names: HashSet<u64>,
    /// A listing of it was compared to its end.
    is_whole: bool,
    /// Its own attributes were told.
    is_dressed: bool,
    /// Names that operations told of: removed, linked or put.
    done: HashSet<u64>,
}

/// What would be done about an entry.
enum Would {
    Nothing,
    Tell(Item),
    /// The operation itself is to come: something has to give way, or it is refused.
    Try,
}

impl Told {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    fn dir(&mut self, path: &RelPath) -> &mut Dir {
        let key = self.hash(path.as_bytes());
        self.dirs.entry(key).or_default()
    }

    /// Whether a listing comes to a name for the first time.
    fn is_first(&mut self, dir: &RelPath, name: &Name) -> bool {
        let name = self.hash(name.as_bytes());
        let dir = self.dir(dir);
        !dir.is_whole && dir.names.insert(name)
    }

    /// Whether an operation has told of a name.
    fn is_done(&self, path: &RelPath) -> bool {
        path.split_last().is_some_and(|(dir, name)| {
            let dir = self.dirs.get(&self.hash(dir.as_bytes()));
            dir.is_some_and(|dir| dir.done.contains(&self.hash(name.as_bytes())))
        })
    }

    /// Tells what an operation would do; once for each name.
    fn operation(&mut self, item: Item) {
        if item.deed == Deed::Remove {
            // What was in it is of no account any more.
            self.dirs.remove(&self.hash(item.path.as_bytes()));
        }
        let place = item.path.split_last();
        let is_first = place.is_none_or(|(dir, name)| {
            let name = self.hash(name.as_bytes());
            self.dir(&dir).done.insert(name)
        });
        if is_first {
            self.items.push(item);
        }
    }
}

impl<T: Target> Applier<T> {
    /// What a dry run has told since this was asked last.
    pub fn take_items(&self) -> Vec<Item> {
        let take = |preview: &Preview| std::mem::take(&mut locked(&preview.0).items);
        self.preview.as_ref().map(take).unwrap_or_default()
    }

    /// Compares one part of a listing, and tells what would be done.
    pub(super) fn preview_part(
        &self,
        part: &ListingPart,
        preview: &Preview,
    ) -> Result<ListingAnswer, Answer> {
        let equal = ListingAnswer::equal(part.listing, part.part);
        let says_nothing = part.end == ListingEnd::Abandoned && part.entries.is_empty();
        if self.rules.is_declared || says_nothing {
            return Ok(equal);
        }
        let found = self.found(part)?;
        let noted = self.listings().note(part, found.is_none());
        let mut told = locked(&preview.0);
        let mut needed = Vec::new();
        for (index, listed) in (0_u32..).zip(&part.entries) {
            if !told.is_first(&part.dir, &listed.name) {
                continue;
            }
            let ours = found.as_ref().map_or(&Err(Obstacle::Missing), |all| &all[index as usize]);
            match self.would(&part.dir, listed, ours) {
                Would::Nothing => {}
                Would::Tell(item) => told.items.push(item),
                Would::Try => needed.push(index),
            }
        }
        let needed = Picked::from_indexes(&needed, part.entries.len());
        let apart = self.apart(part, &needed);
        let mut answer = ListingAnswer { needed, apart, ..equal };
        if let Some(whole) = noted.whole {
            let dir = told.dir(&part.dir);
            let is_again = std::mem::replace(&mut dir.is_whole, true);
            dir.names = HashSet::new();
            drop(told);
            if found.is_some() && (!is_again || part.after.is_some()) {
                self.extras(part, &whole, &mut answer)?;
            }
        }
        Ok(answer)
    }

    /// What stands at the names of a part; nothing if the directory would have to be made.
    #[allow(clippy::type_complexity)]
    fn found(&self, part: &ListingPart) -> Result<Option<Vec<Result<Entry, Obstacle>>>, Answer> {
        if self.is_staging(&part.dir) {
            return Err(forbidden(super::STAGING_NAME.into()));
        }
        let names: Vec<&Name> = part.entries.iter().map(|listed| &listed.name).collect();
        match self.target.look_many(&part.dir, &names) {
            Ok(found) => Ok(Some(found)),
            Err(Obstacle::NotDir) if self.stands_otherwise(&part.dir) => Err(forbidden_kind()),
            Err(Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir) => Ok(None),
            Err(other) => Err(failed(other)),
        }
    }

    /// With `--delete never`: whether something that is no directory stands at a directory's name.
    fn stands_otherwise(&self, dir: &RelPath) -> bool {
        self.rules.delete == DeletePolicy::Never
            && self.target.look(dir, false).is_ok_and(|standing| !standing.entry.is_dir())
    }

    fn would(&self, dir: &RelPath, listed: &Listed, ours: &Result<Entry, Obstacle>) -> Would {
        let path = dir.join(&listed.name);
        if self.is_staging(&path) {
            return Would::Try;
        }
        match ours {
            Err(Obstacle::Missing) => Would::Tell(Item::put(path, &listed.entry, None)),
            Err(_) => Would::Try,
            Ok(ours) => self.would_change(path, &listed.entry, ours),
        }
    }

    fn would_change(&self, path: RelPath, theirs: &Entry, ours: &Entry) -> Would {
        let is_symlink = matches!(theirs, Entry::Symlink { .. });
        let (content, size) = match (theirs, ours) {
            // Its attributes are an operation of their own.
            (Entry::Dir { .. }, Entry::Dir { .. }) => return Would::Nothing,
            (Entry::File { size, .. }, Entry::File { size: had, .. }) => (false, size != had),
            (Entry::Symlink { target, .. }, Entry::Symlink { target: had, .. }) => {
                (target != had, false)
            }
            (
                Entry::Special { kind, device, .. },
                Entry::Special { kind: had_kind, device: had_device, .. },
            ) if kind == had_kind => (device != had_device, false),
            _ if ours.is_dir() || self.rules.delete == DeletePolicy::Never => return Would::Try,
            _ => return Would::Tell(Item::put(path, theirs, None)),
        };
        let attributes = self.target.differences(theirs.meta(), ours.meta(), is_symlink);
        let differs = Differences { content, size, ..attributes };
        let is_newer_file = matches!(theirs, Entry::File { .. }) && differs.time;
        if content || size || is_newer_file {
            Would::Tell(Item::put(path, theirs, Some(differs)))
        } else if differs.is_any() {
            let deed = Deed::Retouch(differs);
            Would::Tell(Item { deed, bytes: 0, ..Item::put(path, theirs, None) })
        } else {
            Would::Nothing
        }
    }

    /// Answers an operation as if it had been executed.
    pub(super) fn preview_operation(&self, op: &Op, preview: &Preview) -> Answer {
        match op {
            Op::Put { path, size, attributes, .. } | Op::Commit { path, size, attributes, .. } => {
                let entry = Entry::File { size: *size, meta: attributes.meta };
                self.preview_put(path, &entry, Kind::File, preview)
            }
            Op::Symlink { path, target, attributes } => {
                let entry = Entry::Symlink { target: target.clone(), meta: attributes.meta };
                self.preview_put(path, &entry, Kind::Symlink, preview)
            }
            Op::Special { path, kind, device, attributes } => {
                let (kind, device, meta) = (*kind, *device, attributes.meta);
                let entry = Entry::Special { kind, device, meta };
                self.preview_put(path, &entry, Kind::Special, preview)
            }
            Op::MakeDir { path } => self.preview_dir(path, preview),
            Op::SetMeta { path, presumes, attributes, .. } => {
                self.preview_attributes(path, presumes, &attributes.meta, preview)
            }
            Op::Remove { path, spared } => self.preview_removal(path, *spared, preview),
            Op::Link { path, from, presumes, .. } => {
                self.preview_link((path, from), presumes, preview)
            }
            // Live changes are not followed.
            Op::Rename { .. } | Op::Exchange { .. } => Answer::Superseded,
        }
    }

    fn preview_put(&self, path: &RelPath, entry: &Entry, kind: Kind, preview: &Preview) -> Answer {
        if let Some(answer) = self.forbids(path, kind) {
            return answer;
        }
        let ours = match self.standing(path) {
            Ok(ours) => ours,
            Err(answer) => return answer,
        };
        let item = match ours {
            Some(ours) if ours.is_dir() => {
                if let Some(answer) = self.remains_of(path, preview) {
                    return answer;
                }
                Some(Item::put(path.clone(), entry, None))
            }
            Some(ours) => match self.would_change(path.clone(), entry, &ours) {
                Would::Tell(item) => Some(item),
                Would::Nothing | Would::Try => None,
            },
            None => Some(Item::put(path.clone(), entry, None)),
        };
        if let Some(item) = item {
            locked(&preview.0).operation(item);
        }
        Answer::Applied
    }

    fn preview_dir(&self, path: &RelPath, preview: &Preview) -> Answer {
        match self.standing(path) {
            Ok(Some(ours)) if ours.is_dir() => return Answer::Applied,
            Ok(Some(_)) if self.rules.delete == DeletePolicy::Never => return forbidden_kind(),
            Ok(_) => {}
            Err(answer) => return answer,
        }
        let item = Item::bare(path.clone(), ItemKind::Dir, Deed::Make);
        let mut told = locked(&preview.0);
        let was_listed = path.split_last().is_some_and(|(dir, name)| !told.is_first(&dir, &name));
        if !was_listed {
            told.operation(item);
        }
        Answer::Applied
    }

    /// Attributes of files were compared with the listing; what is asked here is those of a
    /// directory, and whether a file has this very content.
    fn preview_attributes(
        &self,
        path: &RelPath,
        presumes: &Version,
        theirs: &Meta,
        preview: &Preview,
    ) -> Answer {
        let makes = path.is_root() && self.rules.dry.is_some_and(|dry| dry.makes_root);
        let ours = match self.standing(path) {
            Ok(ours) => ours,
            Err(answer) => return answer,
        };
        let item = match (presumes, ours) {
            (Version::Dir, Some(Entry::Dir { meta })) => {
                if std::mem::replace(&mut locked(&preview.0).dir(path).is_dressed, true) {
                    return Answer::Applied;
                }
                let differs = self.target.differences(theirs, &meta, false);
                let deed = if makes { Deed::Make } else { Deed::Retouch(differs) };
                let item = Item::bare(path.clone(), ItemKind::Dir, deed);
                (makes || differs.is_any()).then_some(item)
            }
            (
                Version::File { size, mtime, hash: Some(hash) },
                Some(entry @ Entry::File { size: ours, .. }),
            ) if *size == ours => {
                let standing = Standing { entry, hash: None };
                let is_other = self.same_time(*mtime, &standing)
                    && self.target.has_content(path, hash) == Ok(false);
                let differs = Differences { content: true, ..Differences::default() };
                is_other.then(|| Item::put(path.clone(), &standing.entry, Some(differs)))
            }
            _ => None,
        };
        locked(&preview.0).items.extend(item);
        Answer::Applied
    }

    fn preview_removal(&self, path: &RelPath, spared: Spared, preview: &Preview) -> Answer {
        if self.rules.delete == DeletePolicy::Never {
            return forbidden(super::names::NOTHING_REMOVED.into());
        }
        if self.is_spared(path, spared) {
            return Answer::Needed(Need::Spared { path: path.clone() });
        }
        let is_gone = locked(&preview.0).is_done(path);
        let kind = match self.standing(path) {
            Ok(_) if is_gone => return Answer::Applied,
            Ok(None) => return Answer::Applied,
            Ok(Some(ours)) => ItemKind::of(&ours),
            Err(answer) => return answer,
        };
        if kind == ItemKind::Dir
            && let Some(answer) = self.remains_of(path, preview)
        {
            return answer;
        }
        locked(&preview.0).operation(Item::bare(path.clone(), kind, Deed::Remove));
        Answer::Applied
    }

    fn preview_link(
        &self,
        (path, from): (&RelPath, &RelPath),
        presumes: &Version,
        preview: &Preview,
    ) -> Answer {
        let kind = Kind::of(presumes);
        let letter = match kind {
            Kind::Symlink => ItemKind::Symlink,
            Kind::Special => ItemKind::Special,
            Kind::File => ItemKind::File,
        };
        if let Some(answer) = self.forbids(path, kind) {
            return answer;
        }
        let ours = match self.standing(path) {
            Ok(ours) => ours,
            Err(answer) => return answer,
        };
        let deed = match ours {
            None => Deed::Link,
            Some(ours) if ours.is_dir() => {
                if let Some(answer) = self.remains_of(path, preview) {
                    return answer;
                }
                Deed::Link
            }
            Some(entry) => {
                let standing = Standing { entry, hash: None };
                let differs = self.version_differs(presumes, &standing);
                let is_one = self.target.is_same_object(from, path) == Ok(true);
                match differs {
                    Some(differs) if is_one && !differs.is_any() => return Answer::Applied,
                    Some(differs) => Deed::Relink(differs),
                    None => Deed::Link,
                }
            }
        };
        let to = Some(from.as_bytes().to_vec());
        let item = Item { to, ..Item::bare(path.clone(), letter, deed) };
        locked(&preview.0).operation(item);
        Answer::Applied
    }

    /// In what something differs from a version; nothing if it is of another kind.
    fn version_differs(&self, version: &Version, ours: &Standing) -> Option<Differences> {
        let (theirs, mtime) = match (version, &ours.entry) {
            (Version::File { size, mtime, .. }, Entry::File { size: had, .. }) => {
                (Differences { size: size != had, ..Differences::default() }, *mtime)
            }
            (Version::Symlink { mtime }, Entry::Symlink { .. })
            | (Version::Special { mtime }, Entry::Special { .. }) => {
                (Differences::default(), *mtime)
            }
            _ => return None,
        };
        Some(Differences { time: !self.same_time(mtime, ours), ..theirs })
    }

    /// What stands at a name, if anything does.
    fn standing(&self, path: &RelPath) -> Result<Option<Entry>, Answer> {
        match self.target.look(path, false) {
            Ok(standing) => Ok(Some(standing.entry)),
            Err(Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir) => Ok(None),
            Err(other) => Err(failed(other)),
        }
    }

    /// The answer while a directory holds names that were not told to be removed.
    fn remains_of(&self, dir: &RelPath, preview: &Preview) -> Option<Answer> {
        let told = locked(&preview.0);
        let done = told.dirs.get(&told.hash(dir.as_bytes())).map(|dir| &dir.done);
        let mut names = Vec::new();
        let read = self.target.read_dir(dir, &mut |name| {
            let name_hash = told.hash(name.as_bytes());
            if done.is_none_or(|done| !done.contains(&name_hash)) {
                names.push(name);
            }
            names.len() < REMAINS_MAX
        });
        let is_empty = names.is_empty();
        match read {
            Ok(()) if is_empty => None,
            Ok(()) => Some(Answer::Needed(Need::Remains { dir: dir.clone(), names })),
            Err(obstacle) => Some(failed(obstacle)),
        }
    }
}
