//! Operations on one name: putting, making, setting attributes, removing.

use crate::flow::applier::{Applier, Effects, Step, failed, forbidden, is_version};
use crate::flow::stamps::Reach;
use crate::model::entry::{Attributes, Entry, Hash};
use crate::model::op::{Answer, Need, Spared, Version};
use crate::model::path::RelPath;
use crate::model::session::DeletePolicy;
use crate::model::stamp::Stamp;
use crate::model::target::{Obstacle, Target};

/// Tries at one name alone; each clears one thing out of the way.
const TRIES: usize = 4;

/// What is said of a removal that is not wanted.
pub(super) const NOTHING_REMOVED: &str =
    "nothing is removed here: the sink runs with --delete never";

/// What is put at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Symlink,
    Special,
}

impl Kind {
    /// What stands where this version does; no directory is ever linked.
    pub(super) fn of(version: &Version) -> Kind {
        match version {
            Version::Symlink { .. } => Kind::Symlink,
            Version::Special { .. } => Kind::Special,
            Version::File { .. } | Version::Dir => Kind::File,
        }
    }
}

impl<T: Target> Applier<T> {
    /// Stages a file or a symlink, then puts it at its name.
    pub(super) fn put(
        &self,
        path: &RelPath,
        stamp: Stamp,
        kind: Kind,
        stage: impl FnOnce() -> Result<T::Staged, Answer>,
        effects: &mut Effects,
    ) -> Answer {
        if !self.admits(path, stamp) {
            return Answer::Superseded;
        }
        let mut staged = match stage() {
            Ok(staged) => staged,
            Err(answer) => return answer,
        };
        let answer = self.at_name(path, |alone| {
            self.stamped(path, stamp, Reach::Below, || {
                if let Some(answer) = self.forbids(path, kind) {
                    return Step::Answer(answer);
                }
                if alone {
                    Step::Answer(self.place_alone(&mut staged, path, stamp, effects))
                } else {
                    self.place_together(&mut staged, path, stamp)
                }
            })
        });
        effects.lack = self.target.lack(&staged);
        answer
    }

    pub(super) fn place_together(
        &self,
        staged: &mut T::Staged,
        path: &RelPath,
        stamp: Stamp,
    ) -> Step {
        Step::Answer(match self.target.place(staged, path) {
            Ok(()) => Answer::Applied,
            Err(Obstacle::NoParent | Obstacle::IsDir) => return Step::Alone,
            Err(Obstacle::NotDir) => self.blocked(path, stamp),
            Err(other) => failed(other),
        })
    }

    pub(super) fn place_alone(
        &self,
        staged: &mut T::Staged,
        path: &RelPath,
        stamp: Stamp,
        effects: &mut Effects,
    ) -> Answer {
        for _ in 0..TRIES {
            let cleared = match self.target.place(staged, path) {
                Ok(()) => return Answer::Applied,
                Err(Obstacle::NoParent) => self.supply_above(path, effects),
                Err(Obstacle::IsDir) => self.target.remove_dir(path),
                Err(other) => Err(other),
            };
            match cleared {
                Ok(()) => {}
                Err(Obstacle::NotEmpty) => return self.remains(path),
                Err(Obstacle::NotDir) => return self.blocked(path, stamp),
                Err(other) => return failed(other),
            }
        }
        failed(Obstacle::Other("the name keeps changing at the sink".into()))
    }

    /// With `--delete never`: whether something of another kind stands in the way.
    pub(super) fn forbids(&self, path: &RelPath, kind: Kind) -> Option<Answer> {
        if self.rules.delete != DeletePolicy::Never {
            return None;
        }
        let standing = self.target.look(path, false).ok()?;
        let same = match standing.entry {
            Entry::File { .. } => kind == Kind::File,
            Entry::Symlink { .. } => kind == Kind::Symlink,
            Entry::Special { .. } => kind == Kind::Special,
            Entry::Dir { .. } => false,
        };
        (!same).then(forbidden_kind)
    }

    /// Takes what a transfer staged. What is certain to be answered otherwise is found out first,
    /// so that hours of transfer are not thrown away for a name that is still in use.
    pub(super) fn take(
        &self,
        path: &RelPath,
        transfer: u64,
        size: u64,
        hash: &Hash,
        attributes: &Attributes,
    ) -> Result<T::Staged, Answer> {
        let is_dir = match self.target.look(path, false) {
            Ok(standing) => standing.entry.is_dir(),
            Err(Obstacle::NotDir) => return Err(Answer::Needed(Need::Parent)),
            Err(_) => false,
        };
        if is_dir && self.target.is_empty(path) == Ok(false) {
            return Err(self.remains(path));
        }
        if let Some(answer) = self.forbids(path, Kind::File) {
            return Err(answer);
        }
        self.target.take_transfer(transfer, size, hash, attributes).map_err(|obstacle| {
            match obstacle {
                Obstacle::Missing => Answer::Needed(Need::Transfer),
                other => failed(other),
            }
        })
    }

    /// Makes a directory; one that stands there is left as it is.
    pub(super) fn make_dir(&self, path: &RelPath, stamp: Stamp, effects: &mut Effects) -> Answer {
        self.at_name(path, |alone| {
            self.stamped(path, stamp, Reach::Name, || {
                if alone {
                    return Step::Answer(self.make_dir_alone(path, stamp, effects));
                }
                Step::Answer(match self.target.make_dir(path) {
                    Ok(()) => Answer::Applied,
                    Err(Obstacle::Exists) if self.is_dir(path) => Answer::Applied,
                    Err(Obstacle::Exists | Obstacle::NoParent) => return Step::Alone,
                    Err(Obstacle::NotDir) => self.blocked(path, stamp),
                    Err(other) => failed(other),
                })
            })
        })
    }

    /// Makes a directory, with those above it, in place of whatever else stands at its name.
    pub(super) fn make_dir_alone(
        &self,
        path: &RelPath,
        stamp: Stamp,
        effects: &mut Effects,
    ) -> Answer {
        for _ in 0..TRIES {
            let cleared = match self.target.make_dir(path) {
                Ok(()) => return Answer::Applied,
                Err(Obstacle::Exists) if path.is_root() || self.is_dir(path) => {
                    return Answer::Applied;
                }
                Err(Obstacle::Exists) if self.rules.delete == DeletePolicy::Never => {
                    return forbidden_kind();
                }
                Err(Obstacle::Exists) => self.target.unlink(path),
                Err(Obstacle::NoParent) => self.supply_above(path, effects),
                Err(other) => Err(other),
            };
            match cleared {
                Ok(()) => {}
                Err(Obstacle::NotDir) => return self.blocked(path, stamp),
                Err(other) => return failed(other),
            }
        }
        failed(Obstacle::Other("the name keeps changing at the sink".into()))
    }

    /// Sets attributes, if what stands there is the version presupposed (H4).
    pub(super) fn set_attributes(
        &self,
        path: &RelPath,
        stamp: Stamp,
        presumes: &Version,
        (attributes, names): (&Attributes, u32),
        effects: &mut Effects,
    ) -> Answer {
        if !self.admits(path, stamp) {
            return Answer::Superseded;
        }
        if let Err(answer) = self.presumed_content(path, stamp, presumes) {
            return answer;
        }
        self.at_name(path, |_| {
            self.stamped(path, stamp, Reach::Name, || {
                if let Err(answer) = self.presumed(path, stamp, presumes) {
                    return Step::Answer(answer);
                }
                if let Err(answer) = self.part(path, names) {
                    return Step::Answer(answer);
                }
                Step::Answer(match self.target.set_attributes(path, attributes) {
                    Ok(lack) => {
                        effects.lack = lack;
                        Answer::Applied
                    }
                    Err(other) => failed(other),
                })
            })
        })
    }

    /// Unlinks a name, or removes the directory there if it is empty (H7).
    pub(super) fn remove(&self, path: &RelPath, spared: Spared, stamp: Stamp) -> Answer {
        if self.rules.delete == DeletePolicy::Never {
            return forbidden(NOTHING_REMOVED.into());
        }
        self.at_name(path, |alone| {
            self.stamped(path, stamp, Reach::Below, || {
                if self.is_spared(path, spared) {
                    return Step::Answer(Answer::Needed(Need::Spared { path: path.clone() }));
                }
                let result = match (self.target.unlink(path), alone) {
                    (Err(Obstacle::IsDir), true) => self.target.remove_dir(path),
                    (Err(Obstacle::IsDir), false) => return Step::Alone,
                    (other, _) => other,
                };
                Step::Answer(match result {
                    Ok(()) => Answer::Applied,
                    // Gone already; below something that is no directory there is nothing either.
                    Err(Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir) => {
                        Answer::Applied
                    }
                    Err(Obstacle::NotEmpty) => self.remains(path),
                    Err(other) => failed(other),
                })
            })
        })
    }

    /// Whether what stands at a name is what a removal leaves alone.
    pub(super) fn is_spared(&self, path: &RelPath, spared: Spared) -> bool {
        spared != Spared::Nothing
            && self
                .target
                .look(path, false)
                .is_ok_and(|standing| spared.has(standing.entry.is_dir()))
    }

    /// Whether the content presupposed, if any is named, is there; read before any lock is taken.
    pub(super) fn presumed_content(
        &self,
        path: &RelPath,
        stamp: Stamp,
        presumes: &Version,
    ) -> Result<(), Answer> {
        let Version::File { hash: Some(hash), .. } = presumes else {
            return Ok(());
        };
        self.presumed(path, stamp, presumes)?;
        match self.target.has_content(path, hash) {
            Ok(true) => Ok(()),
            Ok(false) | Err(Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir) => {
                Err(Answer::Needed(Need::Content))
            }
            Err(other) => Err(failed(other)),
        }
    }

    /// Whether what stands at a name is what is presupposed, by kind, size and time.
    pub(super) fn presumed(
        &self,
        path: &RelPath,
        stamp: Stamp,
        presumes: &Version,
    ) -> Result<(), Answer> {
        let standing = match self.target.look(path, false) {
            Ok(standing) => standing,
            Err(Obstacle::Missing | Obstacle::NoParent) => {
                return Err(Answer::Needed(Need::Content));
            }
            Err(Obstacle::NotDir) => return Err(self.blocked(path, stamp)),
            Err(other) => return Err(failed(other)),
        };
        let vouched = match presumes {
            // The hash was compared before.
            Version::File { hash: None, .. } => !self.target.is_doubtful(path),
            _ => true,
        };
        let same_time = match presumes {
            Version::Dir => true,
            Version::File { mtime, .. }
            | Version::Symlink { mtime }
            | Version::Special { mtime } => self.same_time(*mtime, &standing),
        };
        if vouched && same_time && is_version(&standing, presumes) {
            Ok(())
        } else {
            Err(Answer::Needed(Need::Content))
        }
    }

    fn is_dir(&self, path: &RelPath) -> bool {
        self.target.look(path, false).is_ok_and(|standing| standing.entry.is_dir())
    }
}

pub(super) fn forbidden_kind() -> Answer {
    forbidden(
        "something of another kind stands at this name, and with --delete never it is not \
         replaced: remove it by hand at the sink"
            .into(),
    )
}
