//! Hard links: one more name of what stands at another.
//!
//! The name that is linked to is read under its own lock: what stands there must be the version
//! presupposed, and nothing newer than the source knew of may have been applied to it (H12). What
//! has as many names as its filesystem allows is copied, which is answered as a failure: nothing
//! is missing then, but the names are files of their own.

use crate::flow::applier::names::Kind;
use crate::flow::applier::{Applier, Effects, Step, failed, locked};
use crate::flow::stamps::Reach;
use crate::model::op::{Answer, Need, Version};
use crate::model::path::RelPath;
use crate::model::stamp::Stamp;
use crate::model::target::{Obstacle, Target};

/// What is said of a name that can't be linked.
pub(super) const NO_MORE_NAMES: &str = "It can't be linked to its other names at the sink, which \
                                        have a filesystem of their own or are too many: it stands \
                                        there as a file of its own";

impl<T: Target> Applier<T> {
    /// Makes `path` a name of what stands at `from`, if that is what is presupposed and nothing
    /// newer than `since` was applied to it.
    pub(super) fn link(
        &self,
        (path, from): (&RelPath, &RelPath),
        (stamp, since): (Stamp, Stamp),
        presumes: &Version,
        effects: &mut Effects,
    ) -> Answer {
        if path.is_at_or_below(from) || from.is_at_or_below(path) {
            return failed(Obstacle::Other(
                "a name can't be linked to one above or below it".into(),
            ));
        }
        self.at_both_names((path, from), |alone| {
            self.stamped(path, stamp, Reach::Below, || {
                if self.stamps().newest(from) > since {
                    return Step::Answer(Answer::Superseded);
                }
                if let Err(answer) = self.presumed(from, stamp, presumes) {
                    return Step::Answer(answer);
                }
                if self.target.link(from, path) {
                    return Step::Answer(Answer::Applied);
                }
                match self.target.is_same_object(from, path) {
                    Ok(true) => Step::Answer(Answer::Applied),
                    Ok(false) => {
                        self.link_name((path, from), Kind::of(presumes), stamp, alone, effects)
                    }
                    Err(other) => Step::Answer(failed(other)),
                }
            })
        })
    }

    fn link_name(
        &self,
        (path, from): (&RelPath, &RelPath),
        kind: Kind,
        stamp: Stamp,
        alone: bool,
        effects: &mut Effects,
    ) -> Step {
        if let Some(answer) = self.forbids(path, kind) {
            return Step::Answer(answer);
        }
        let mut staged = match self.target.stage_link(from) {
            Ok(staged) => staged,
            Err(Obstacle::NoMoreNames) if self.is_like(path, from) => {
                return Step::Answer(failed(Obstacle::NoMoreNames));
            }
            Err(Obstacle::NoMoreNames) => match self.target.stage_copy(from) {
                Ok(copy) => copy,
                Err(other) => return Step::Answer(failed(other)),
            },
            Err(other) => return Step::Answer(failed(other)),
        };
        let step = if alone {
            Step::Answer(self.place_alone(&mut staged, path, stamp, effects))
        } else {
            self.place_together(&mut staged, path, stamp)
        };
        match step {
            Step::Answer(Answer::Applied) if self.target.is_same_object(from, path) != Ok(true) => {
                Step::Answer(failed(Obstacle::NoMoreNames))
            }
            step => step,
        }
    }

    /// Sees to it that no name but those of the source's object gets its attributes.
    pub(super) fn part(&self, path: &RelPath, names: u32) -> Result<(), Answer> {
        if names == 0 || self.target.count_names(path).map_err(failed)? <= u64::from(names) {
            return Ok(());
        }
        match names {
            1 => self.target.part(path).map_err(failed),
            _ => Err(Answer::Needed(Need::Content)),
        }
    }

    /// Whether what stands at both names looks the same.
    fn is_like(&self, path: &RelPath, from: &RelPath) -> bool {
        let (Ok(ours), Ok(theirs)) = (self.target.look(path, false), self.target.look(from, false))
        else {
            return false;
        };
        ours.entry == theirs.entry
    }

    /// Runs `act` under the locks of two names and, if it asks for that, once more alone.
    fn at_both_names(
        &self,
        (first, second): (&RelPath, &RelPath),
        act: impl FnMut(bool) -> Step,
    ) -> Answer {
        let lock = || {
            let (at, other) = (self.shard_index(first), self.shard_index(second));
            let mut passed = vec![locked(&self.shards[at.min(other)])];
            if at != other {
                passed.push(locked(&self.shards[at.max(other)]));
            }
            passed.iter_mut().for_each(|passed| **passed += 1);
            passed
        };
        self.in_turn(lock, act)
    }
}
