//! What is still to be done of a directory that is being cleared, and what of it can be done at
//! once.

use std::collections::BTreeMap;

use crate::model::path::{Name, RelPath};

/// Names, or directories, that one step removes: few enough for other changes not to wait long.
const STEP_NAMES: usize = 512;
/// Directories in which one step removes names.
const STEP_SECTIONS: usize = 64;

/// What is to be done, by path below the name that is cleared.
#[derive(Debug, Default)]
pub(super) struct Clearing {
    /// What is below a directory stands right behind it.
    todo: BTreeMap<Place, Todo>,
}

/// A path in the order of a walk: its names one after the other, each with a zero behind it, which
/// no name holds.
type Place = Vec<u8>;

/// What is to be done of one directory.
#[derive(Debug)]
struct Todo {
    below: RelPath,
    /// Names in it that go.
    names: Vec<Name>,
    /// Whether it goes itself then.
    goes: bool,
}

/// What is done at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Names in these directories are removed.
    pub(super) sections: Vec<(RelPath, Vec<Name>)>,
    /// These directories are removed: nothing is left to be done below them.
    pub(super) dirs: Vec<RelPath>,
}

impl Clearing {
    /// Has names in a directory removed, and then, if it goes, the directory.
    pub(super) fn push(&mut self, below: &RelPath, names: Vec<Name>, goes: bool) {
        if names.is_empty() && !goes {
            return;
        }
        let new = || Todo { below: below.clone(), names: Vec::new(), goes: false };
        let todo = self.todo.entry(place(below)).or_insert_with(new);
        todo.names.extend(names);
        todo.goes |= goes;
    }

    /// Something in this directory stays: so do the directory and all above it.
    pub(super) fn stays(&mut self, below: &RelPath) {
        for dir in std::iter::once(below.clone()).chain(below.ancestors()) {
            let at = place(&dir);
            let Some(todo) = self.todo.get_mut(&at) else { continue };
            todo.goes = false;
            if todo.names.is_empty() {
                self.todo.remove(&at);
            }
        }
    }

    /// Whether nothing is left to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.todo.is_empty()
    }

    /// Forgets all that is not yet done.
    pub(super) fn clear(&mut self) {
        self.todo.clear();
    }

    /// Takes what can be done at once, the last of a walk first, so that little is held in memory:
    /// a tree is cleared in as many steps as it is deep, or has hundreds of names, not as it has
    /// directories. To be asked when all of the step before is done.
    pub(super) fn next_step(&mut self) -> Step {
        let (mut step, mut room) = (Step::default(), STEP_NAMES);
        let (mut done, mut behind): (Vec<Place>, Option<&Place>) = (Vec::new(), None);
        for (at, todo) in self.todo.iter_mut().rev() {
            if room == 0 || step.sections.len() == STEP_SECTIONS {
                break;
            }
            let is_last = !behind.is_some_and(|behind| behind.starts_with(at));
            behind = Some(at);
            if todo.names.is_empty() && is_last {
                room -= 1;
                step.dirs.push(todo.below.clone());
                done.push(at.clone());
            } else if !todo.names.is_empty() {
                let names = todo.names.split_off(todo.names.len().saturating_sub(room));
                room -= names.len();
                step.sections.push((todo.below.clone(), names));
                if todo.names.is_empty() && !todo.goes {
                    done.push(at.clone());
                }
            }
        }
        for at in done {
            self.todo.remove(&at);
        }
        step
    }
}

fn place(below: &RelPath) -> Place {
    let mut place = below.as_bytes().to_vec();
    place.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = 0);
    if !place.is_empty() {
        place.push(0);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::{Clearing, STEP_NAMES, STEP_SECTIONS, Step};
    use crate::model::path::{Name, RelPath};

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn names(texts: &[&str]) -> Vec<Name> {
        texts.iter().map(|text| Name::new(text.as_bytes()).unwrap()).collect()
    }

    fn sections(step: &Step) -> Vec<String> {
        step.sections.iter().map(|(dir, _)| dir.to_string()).collect()
    }

    fn dirs(step: &Step) -> Vec<String> {
        step.dirs.iter().map(RelPath::to_string).collect()
    }

    #[test]
    fn all_directories_of_a_depth_are_one_step() {
        let mut clearing = Clearing::default();
        clearing.push(&RelPath::root(), names(&["a", "a-b", "b"]), true);
        let step = clearing.next_step();
        assert_eq!(step.sections, [(RelPath::root(), names(&["a", "a-b", "b"]))]);
        assert!(step.dirs.is_empty());
        for below in ["a", "a-b", "b"] {
            clearing.push(&path(below), names(&["x", "y"]), true);
        }
        assert_eq!(sections(&clearing.next_step()), ["b", "a-b", "a"]);
        // A directory turned out to be in one of them.
        clearing.push(&path("a/x"), names(&["z"]), true);
        let step = clearing.next_step();
        assert_eq!(
            (sections(&step), dirs(&step)),
            (vec!["a/x".into()], vec!["b".into(), "a-b".into()])
        );
        assert_eq!(dirs(&clearing.next_step()), ["a/x"]);
        assert_eq!(dirs(&clearing.next_step()), ["a"]);
        assert_eq!(dirs(&clearing.next_step()), ["."]);
        assert_eq!(clearing.next_step(), Step::default());
    }

    #[test]
    fn a_directory_in_which_something_stays_stays_with_all_above_it() {
        let mut clearing = Clearing::default();
        clearing.push(&path("a"), names(&["f"]), true);
        clearing.push(&path("a/b"), Vec::new(), true);
        clearing.push(&path("c"), Vec::new(), true);
        clearing.push(&RelPath::root(), Vec::new(), true);
        clearing.stays(&path("a/b"));
        let step = clearing.next_step();
        assert_eq!((sections(&step), dirs(&step)), (vec!["a".into()], vec!["c".into()]));
        assert_eq!(clearing.next_step(), Step::default());
    }

    #[test]
    fn a_step_is_bounded_in_names_and_directories() {
        let mut clearing = Clearing::default();
        let many: Vec<Name> = (0..STEP_NAMES * 2 + 1)
            .map(|number| Name::new(number.to_string().as_bytes()).unwrap())
            .collect();
        clearing.push(&path("large"), many, false);
        let taken: Vec<usize> = std::iter::repeat_with(|| clearing.next_step())
            .take_while(|step| *step != Step::default())
            .map(|step| step.sections.iter().map(|(_, names)| names.len()).sum())
            .collect();
        assert_eq!(taken, [STEP_NAMES, STEP_NAMES, 1]);
        for number in 0..=STEP_SECTIONS {
            clearing.push(&path(&number.to_string()), names(&["f"]), false);
        }
        assert_eq!(clearing.next_step().sections.len(), STEP_SECTIONS);
        assert_eq!(clearing.next_step().sections.len(), 1);
        assert_eq!(clearing.next_step(), Step::default());
    }
}
