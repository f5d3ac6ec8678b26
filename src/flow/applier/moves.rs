//! Operations on two names: renames and exchanges. They pass the gate alone (H32).
//!
//! Both names get the stamp with all below: whatever stood there, an older look did not see what
//! stands there now. The source's fence sees to it that nothing is outstanding below (H6).

use crate::flow::applier::{Applier, Effects, Step, failed, forbidden};
use crate::flow::stamps::Reach;
use crate::model::op::{Answer, Need, Version};
use crate::model::path::RelPath;
use crate::model::session::DeletePolicy;
use crate::model::stamp::Stamp;
use crate::model::target::{Obstacle, Target};

/// Tries at one rename; each clears one thing out of the way.
const TRIES: usize = 4;

impl<T: Target> Applier<T> {
    /// Moves a name, if what stands there is the version presupposed.
    pub(super) fn rename(
        &self,
        (from, to): (&RelPath, &RelPath),
        stamp: Stamp,
        presumes: &Version,
        effects: &mut Effects,
    ) -> Answer {
        if to.is_at_or_below(from) {
            return failed(Obstacle::Other("a name can't be moved below itself".into()));
        }
        if self.rules.delete == DeletePolicy::Never {
            return forbidden(
                "the old name of a rename is kept: the sink runs with --delete never".into(),
            );
        }
        if !self.admits(from, stamp) || !self.admits(to, stamp) {
            return Answer::Superseded;
        }
        if let Err(answer) = self.presumed_content(from, stamp, presumes) {
            return answer;
        }
        self.at_both((from, to), stamp, || match self.presumed(from, stamp, presumes) {
            Ok(()) => self.move_name(from, to, stamp, effects),
            Err(answer) => answer,
        })
    }

    /// Exchanges two names, if both are there and a directory stands at one of them at least.
    pub(super) fn exchange(&self, (a, b): (&RelPath, &RelPath), stamp: Stamp) -> Answer {
        if a.is_at_or_below(b) || b.is_at_or_below(a) {
            return failed(Obstacle::Other("a name can't be exchanged with one below it".into()));
        }
        self.at_both((a, b), stamp, || {
            let mut dirs = 0;
            for path in [a, b] {
                match self.target.look(path, false) {
                    // A move would make it look younger than the doubt.
                    Ok(_) if self.target.is_doubtful(path) => {
                        return Answer::Needed(Need::Content);
                    }
                    Ok(standing) => dirs += u32::from(standing.entry.is_dir()),
                    Err(Obstacle::Missing | Obstacle::NoParent | Obstacle::NotDir) => {
                        return Answer::Needed(Need::Content);
                    }
                    Err(other) => return failed(other),
                }
            }
            if dirs == 0 {
                return Answer::Needed(Need::Content);
            }
            self.target.exchange(a, b).map_or_else(failed, |()| Answer::Applied)
        })
    }

    /// Runs a change of two names alone, under the stamps of both.
    fn at_both(
        &self,
        (first, second): (&RelPath, &RelPath),
        stamp: Stamp,
        change: impl FnOnce() -> Answer,
    ) -> Answer {
        let mut passed = self.alone();
        *passed += 1;
        let step = self.stamped(first, stamp, Reach::Below, || {
            self.stamped(second, stamp, Reach::Below, || Step::Answer(change()))
        });
        match step {
            Step::Answer(answer) => answer,
            Step::Alone => failed(Obstacle::Other("the names keep changing at the sink".into())),
        }
    }

    fn move_name(
        &self,
        from: &RelPath,
        to: &RelPath,
        stamp: Stamp,
        effects: &mut Effects,
    ) -> Answer {
        for _ in 0..TRIES {
            let cleared = match self.target.rename(from, to) {
                Ok(()) => return Answer::Applied,
                Err(Obstacle::Missing) => return Answer::Needed(Need::Content),
                Err(Obstacle::NotEmpty) => return self.remains(to),
                Err(Obstacle::NoParent) => self.make_above(to, effects),
                Err(Obstacle::IsDir) => self.target.remove_dir(to),
                // Either a directory goes where something else stands, or that stands above.
                Err(Obstacle::NotDir) => self.target.unlink(to),
                Err(other) => Err(other),
            };
            match cleared {
                Ok(()) => {}
                Err(Obstacle::NotEmpty) => return self.remains(to),
                Err(Obstacle::NotDir) => return self.blocked(to, stamp),
                Err(other) => return failed(other),
            }
        }
        failed(Obstacle::Other("the name keeps changing at the sink".into()))
    }
}
