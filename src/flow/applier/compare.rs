//! Parts of listings: what of it the sink has, needs, or has newer.
//!
//! A part is looked at in one go without any lock on names; each entry is then judged under the
//! lock of its name, and looked at again if anything passed that lock meanwhile.

use std::collections::{BTreeSet, HashSet};

use crate::flow::applier::listings::Listing;
use crate::flow::applier::{Applier, Effects, Step, failed};
use crate::flow::stamps::Reach;
use crate::model::entry::Entry;
use crate::model::limits::EXTRAS_MAX;
use crate::model::message::{ListingAnswer, Picked};
use crate::model::op::{Answer, Listed, ListingEnd, ListingPart, Need};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::Stamp;
use crate::model::target::{Obstacle, Standing, Target};

/// What is said of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Equal,
    /// A directory that had to be made.
    Made,
    Needed,
    /// Needed, and nothing stands there.
    Absent,
    Retouch,
    Superseded,
}

impl Verdict {
    fn is_needed(self) -> bool {
        matches!(self, Verdict::Needed | Verdict::Absent)
    }
}

/// What a look without locks found, with the counts of all locks at its beginning.
struct Looked {
    gate: u64,
    shards: Vec<u64>,
    found: Vec<Result<Entry, Obstacle>>,
}

impl<T: Target> Applier<T> {
    /// Compares one part of a listing with the directory here, making the directory if need be.
    pub fn compare(&self, part: &ListingPart) -> (ListingAnswer, Vec<RelPath>) {
        let mut effects = Effects::default();
        let compared = match &self.preview {
            Some(preview) => self.preview_part(part, preview),
            None => self.compared(part, &mut effects),
        };
        let answer = compared.unwrap_or_else(|failure| ListingAnswer {
            failed: Some(failure),
            ..ListingAnswer::equal(part.listing, part.part)
        });
        (answer, effects.made)
    }

    fn compared(&self, part: &ListingPart, effects: &mut Effects) -> Result<ListingAnswer, Answer> {
        if self.rules.is_declared {
            return Ok(ListingAnswer::equal(part.listing, part.part));
        }
        if part.end == ListingEnd::Abandoned && part.entries.is_empty() {
            // Nothing is said of the directory; it may have gone from here.
            self.listings().note(part, false);
            return Ok(ListingAnswer::equal(part.listing, part.part));
        }
        let empty = self.stand(&part.dir, part.stamp, effects)?;
        let noted = self.listings().note(part, empty);
        let verdicts = if empty || noted.began_empty {
            part.entries.iter().map(|listed| self.unseen(part, listed, effects)).collect()
        } else {
            self.judge(part, effects)?
        };
        let picked = |is_meant: &dyn Fn(Verdict) -> bool| {
            let all = (0..).zip(&verdicts).filter(|(_, verdict)| is_meant(**verdict));
            let indexes: Vec<u32> = all.map(|(index, _)| index).collect();
            Picked::from_indexes(&indexes, verdicts.len())
        };
        let mut answer = ListingAnswer {
            needed: picked(&Verdict::is_needed),
            absent: picked(&|verdict| verdict == Verdict::Absent),
            retouch: picked(&|verdict| verdict == Verdict::Retouch),
            superseded: picked(&|verdict| verdict == Verdict::Superseded),
            made: picked(&|verdict| verdict == Verdict::Made),
            ..ListingAnswer::equal(part.listing, part.part)
        };
        answer.apart = self.apart(part, &answer.needed);
        if let Some(whole) = noted.whole {
            self.extras(part, &whole, &mut answer)?;
        }
        Ok(answer)
    }

    /// Which entries are not one with the name that they should be linked to; those whose content
    /// is needed come anew.
    pub(super) fn apart(&self, part: &ListingPart, needed: &Picked) -> Picked {
        if part.linked.is_empty() {
            return Picked::None;
        }
        let needed: HashSet<usize> = needed.indexes(part.entries.len()).into_iter().collect();
        let is_apart = |(index, other): &&(u32, RelPath)| {
            let at = *index as usize;
            let listed = part.entries.get(at).filter(|_| !needed.contains(&at));
            let path = listed.map(|listed| part.dir.join(&listed.name));
            path.is_some_and(|path| self.target.is_same_object(&path, other) != Ok(true))
        };
        let apart: BTreeSet<u32> =
            part.linked.iter().filter(is_apart).map(|(index, _)| *index).collect();
        let apart: Vec<u32> = apart.into_iter().collect();
        Picked::from_indexes(&apart, part.entries.len())
    }

    /// Sees to it that the listed directory stands; tells whether it holds nothing.
    fn stand(&self, dir: &RelPath, stamp: Stamp, effects: &mut Effects) -> Result<bool, Answer> {
        if self.is_staging(dir) {
            return Err(super::forbidden(super::STAGING_NAME.into()));
        }
        if stamp <= self.stamps().watermark() {
            return Err(Answer::Superseded);
        }
        {
            let _together = self.together();
            let _passed = self.shard(dir);
            match self.target.is_empty(dir) {
                Ok(empty) => {
                    self.stamps().record(dir, stamp, Reach::Name);
                    return Ok(empty);
                }
                Err(Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir) => {}
                Err(other) => return Err(failed(other)),
            }
        }
        let mut passed = self.alone();
        *passed += 1;
        let before = effects.made.len();
        let step = self.stamped(dir, stamp, Reach::Name, || {
            Step::Answer(self.make_dir_alone(dir, stamp, effects))
        });
        match step {
            Step::Answer(Answer::Applied) => {
                if !effects.made[before..].contains(dir) {
                    effects.made.push(dir.clone());
                }
                self.target.is_empty(dir).map_err(failed)
            }
            Step::Answer(other) => Err(other),
            Step::Alone => Err(Answer::Needed(Need::Parent)),
        }
    }

    /// Judges an entry of a directory that held nothing: no look is needed.
    fn unseen(&self, part: &ListingPart, listed: &Listed, effects: &mut Effects) -> Verdict {
        let path = part.dir.join(&listed.name);
        match listed.entry {
            Entry::Dir { .. } => self.dir_entry(&path, part.stamp, effects),
            Entry::File { .. } | Entry::Symlink { .. } | Entry::Special { .. } => {
                if self.stamps().newest(&path) > part.stamp {
                    Verdict::Superseded
                } else {
                    Verdict::Absent
                }
            }
        }
    }

    /// Judges all entries after one look at all their names.
    fn judge(&self, part: &ListingPart, effects: &mut Effects) -> Result<Vec<Verdict>, Answer> {
        let looked = self.look_at(part)?;
        let mut dirs = Vec::new();
        let mut verdicts = Vec::with_capacity(part.entries.len());
        {
            let together = self.together();
            let current = *together == looked.gate;
            for (index, (listed, found)) in part.entries.iter().zip(looked.found).enumerate() {
                let path = part.dir.join(&listed.name);
                let at = self.shard_index(&path);
                let passed = self.shard(&path);
                let found = if current && *passed == looked.shards[at] {
                    found
                } else {
                    self.target.look(&path, false).map(|standing| standing.entry)
                };
                let verdict = self.verdict(&path, part.stamp, &listed.entry, found);
                if verdict.is_needed() && listed.entry.is_dir() {
                    dirs.push((index, path));
                }
                verdicts.push(verdict);
            }
        }
        for (index, path) in dirs {
            verdicts[index] = self.dir_entry(&path, part.stamp, effects);
        }
        Ok(verdicts)
    }

    /// Looks at all names of a part at once, without holding any lock.
    fn look_at(&self, part: &ListingPart) -> Result<Looked, Answer> {
        let gate = *self.together();
        let shards = self.shards.iter().map(|shard| *super::locked(shard)).collect();
        let names: Vec<&Name> = part.entries.iter().map(|listed| &listed.name).collect();
        let found = match self.target.look_many(&part.dir, &names) {
            Ok(found) => found,
            // It stood there a moment ago: something newer has come in between.
            Err(Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir) => {
                return Err(Answer::Superseded);
            }
            Err(other) => return Err(failed(other)),
        };
        Ok(Looked { gate, shards, found })
    }

    /// Compares one entry with what stands at its name, under the lock of that name; what is equal
    /// gets the stamp of the listing.
    fn verdict(
        &self,
        path: &RelPath,
        stamp: Stamp,
        theirs: &Entry,
        found: Result<Entry, Obstacle>,
    ) -> Verdict {
        if self.is_staging(path) {
            return Verdict::Needed;
        }
        let mut verdict = match found {
            Ok(ours) => self.compare_entry(theirs, ours),
            Err(Obstacle::Missing) => Verdict::Absent,
            Err(_) => Verdict::Needed,
        };
        let is_file = matches!(theirs, Entry::File { .. });
        if is_file && !verdict.is_needed() && self.target.is_doubtful(path) {
            verdict = Verdict::Needed;
        }
        let mut stamps = self.stamps();
        if stamps.newest(path) > stamp {
            return Verdict::Superseded;
        }
        if verdict == Verdict::Equal {
            let reach = if theirs.is_dir() { Reach::Name } else { Reach::Below };
            stamps.record(path, stamp, reach);
        }
        verdict
    }

    fn compare_entry(&self, theirs: &Entry, ours: Entry) -> Verdict {
        let is_symlink = match (theirs, &ours) {
            (Entry::Dir { .. }, Entry::Dir { .. }) => return Verdict::Equal,
            (Entry::File { size, .. }, Entry::File { size: our_size, .. }) if size == our_size => {
                false
            }
            (Entry::Symlink { target, .. }, Entry::Symlink { target: our_target, .. })
                if target == our_target =>
            {
                true
            }
            (
                Entry::Special { kind, device, .. },
                Entry::Special { kind: our_kind, device: our_device, .. },
            ) if (kind, device) == (our_kind, our_device) => false,
            _ => return Verdict::Needed,
        };
        let (their_meta, our_meta) = (*theirs.meta(), *ours.meta());
        let standing = Standing { entry: ours, hash: None };
        let is_file = matches!(theirs, Entry::File { .. });
        if is_file && !self.same_time(their_meta.mtime, &standing) {
            Verdict::Needed
        } else if self.target.same_meta(&their_meta, &our_meta, is_symlink) {
            Verdict::Equal
        } else {
            Verdict::Retouch
        }
    }

    /// Makes the directory that an entry speaks of. What can't be made is needed: the operation
    /// that follows will say why.
    fn dir_entry(&self, path: &RelPath, stamp: Stamp, effects: &mut Effects) -> Verdict {
        if self.is_staging(path) {
            return Verdict::Needed;
        }
        match self.make_dir(path, stamp, effects) {
            Answer::Applied => Verdict::Made,
            Answer::Superseded => Verdict::Superseded,
            Answer::Needed(_) | Answer::Failed(_) => Verdict::Needed,
        }
    }

    /// The first names that the sink has beyond `part.after` and no part of the listing had, and
    /// that nothing newer put there.
    ///
    /// The listing is recorded first, and what was under way is waited for: an older operation
    /// that is still to come is then refused, and can't bring back unseen what is gone.
    pub(super) fn extras(
        &self,
        part: &ListingPart,
        whole: &Listing,
        answer: &mut ListingAnswer,
    ) -> Result<(), Answer> {
        let dir = &part.dir;
        self.stamps().record(dir, whole.first_stamp, Reach::Children);
        for shard in &self.shards {
            drop(super::locked(shard));
        }
        let mut extras: BTreeSet<Name> = BTreeSet::new();
        let mut more = false;
        let read = self.target.read_dir(dir, &mut |name| {
            let newer = || self.stamps().newest(&dir.join(&name)) > whole.first_stamp;
            let is_told = part.after.as_ref().is_some_and(|after| name <= *after);
            if !is_told && !whole.has(&name) && !newer() {
                extras.insert(name);
                if extras.len() > EXTRAS_MAX {
                    extras.pop_last();
                    more = true;
                }
            }
            true
        });
        match read {
            Ok(()) => {}
            Err(Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir) => {
                return Err(Answer::Superseded);
            }
            Err(other) => return Err(failed(other)),
        }
        (answer.extras, answer.more_extras) = (extras.into_iter().collect(), more);
        Ok(())
    }

    pub(super) fn listings(&self) -> std::sync::MutexGuard<'_, super::OpenListings> {
        super::locked(&self.listings)
    }
}
