//! What of the source is offered: rules over names, as rsync's filter rules are, and bounds of size
//! and kind.
//!
//! - Rules are asked in order; the first that matches decides, and what none matches is selected.
//! - A rule hides a name at the source, or protects it at the sink from removal, or (the usual one)
//!   does both. Hidden directories are not entered: all below is hidden with them.
//! - A *hidden* name is treated as one that is not there. That nothing of it goes at the sink is
//!   the work of protection, which judges what the sink has by the name and kind it has there.
//! - A *withheld* name (by size, or by kind) is there, but nothing of it travels: whatever the
//!   sink has at it stays.
//!
//! Pure. Files of rules are read by whoever builds a selection.

mod pattern;
mod rules;
mod size;

use crate::model::entry::{Entry, SpecialKind};
use crate::model::path::{Name, RelPath};

pub use self::rules::{RuleError, Rules, Style};
pub use self::size::size;

use self::rules::Rule;

/// What of a source is offered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    rules: Vec<Rule>,
    bounds: Bounds,
}

/// What is withheld whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Files of more bytes are withheld.
    pub max_size: Option<u64>,
    /// Files of fewer bytes are withheld.
    pub min_size: Option<u64>,
    /// What is mounted below the root is carried as an empty directory.
    pub one_filesystem: bool,
    /// Kinds of which nothing is offered.
    pub kinds: WithheldKinds,
}

impl Bounds {
    /// Whether anything can be withheld by them.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Bounds::default()
    }
}

/// Kinds that are withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WithheldKinds {
    /// Symbolic links.
    pub symlinks: bool,
    /// Character and block devices.
    pub devices: bool,
    /// Fifos and sockets.
    pub specials: bool,
}

/// The two sides that a rule may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// What the source shows.
    Source,
    /// What the sink may lose. In a directory that is being removed perishable rules are void.
    Sink { is_dying: bool },
}

impl Selection {
    /// A selection by rules and bounds.
    #[must_use]
    pub fn new(rules: Rules, bounds: Bounds) -> Selection {
        Selection { rules: rules.into_inner(), bounds }
    }

    /// What is withheld whatever its name.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Whether there is any rule.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether a rule hides a name in a directory that is itself not hidden.
    #[must_use]
    pub fn hides(&self, dir: &RelPath, name: &Name, is_dir: bool) -> bool {
        self.has_rules() && self.excludes(dir.join(name).as_bytes(), is_dir, Side::Source)
    }

    /// Whether a rule hides a name whatever its kind.
    #[must_use]
    pub fn hides_any(&self, dir: &RelPath, name: &Name) -> bool {
        self.has_rules() && [true, false].iter().all(|is_dir| self.hides(dir, name, *is_dir))
    }

    /// Whether a path, which is not the root's, is hidden, or a directory above it.
    #[must_use]
    pub fn hides_path(&self, path: &RelPath, is_dir: bool) -> bool {
        let hidden = |path: &RelPath, is_dir| {
            !path.is_root() && self.excludes(path.as_bytes(), is_dir, Side::Source)
        };
        self.has_rules()
            && (hidden(path, is_dir) || path.ancestors().any(|above| hidden(&above, true)))
    }

    /// Whether a rule keeps a name at the sink from being removed. `is_dying` tells that the
    /// directory around it is being removed.
    #[must_use]
    pub fn protects(&self, path: &RelPath, is_dir: bool, is_dying: bool) -> bool {
        let side = Side::Sink { is_dying };
        self.has_rules() && self.excludes(path.as_bytes(), is_dir, side)
    }

    /// Whether nothing of an entry is offered, though no rule hides it.
    #[must_use]
    pub fn withholds(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Dir { .. } => false,
            Entry::File { size, .. } => self.withholds_size(*size),
            Entry::Symlink { .. } => self.bounds.kinds.symlinks,
            Entry::Special { kind, .. } => match kind {
                SpecialKind::Character | SpecialKind::Block => self.bounds.kinds.devices,
                SpecialKind::Fifo | SpecialKind::Socket => self.bounds.kinds.specials,
            },
        }
    }

    /// Whether files of so many bytes are withheld.
    #[must_use]
    pub fn withholds_size(&self, bytes: u64) -> bool {
        self.bounds.max_size.is_some_and(|most| bytes > most)
            || self.bounds.min_size.is_some_and(|least| bytes < least)
    }

    /// Whether the rules say the same of all that can lie below two places, so that a directory
    /// may go from one to the other as it is. Both paths are not the root's.
    #[must_use]
    pub fn is_alike_below(&self, one: &RelPath, other: &RelPath) -> bool {
        let depends = |at: &RelPath| self.rules.iter().any(|rule| rule.depends_on(at.as_bytes()));
        !depends(one) && !depends(other)
    }

    fn excludes(&self, path: &[u8], is_dir: bool, side: Side) -> bool {
        let mut rules = self.rules.iter().filter(|rule| rule.speaks_of(side));
        rules.find(|rule| rule.matches(path, is_dir)).is_some_and(|rule| rule.excludes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounds, Rules, Selection, Style};
    use crate::model::path::{Name, RelPath};

    fn selection(rules: &[&str]) -> Selection {
        let mut all = Rules::default();
        for rule in rules {
            all.add(rule.as_bytes(), Style::Filter, &mut |_| Err("no files".into())).unwrap();
        }
        Selection::new(all, Bounds::default())
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let all = selection(&["+ keep.o", "- *.o", "+ *.oo", "- *.oo"]);
        let hides = |text: &str| all.hides(&path("d"), &Name::new(text.as_bytes()).unwrap(), false);
        assert_eq!(["keep.o", "x.o", "x.oo", "x"].map(hides), [false, true, false, false]);
        assert!(!Selection::default().has_rules());
    }

    #[test]
    fn what_lies_below_a_hidden_directory_is_hidden() {
        let all = selection(&["- /a/b/", "+ x"]);
        assert!(all.hides_path(&path("a/b/x"), false) && all.hides_path(&path("a/b"), true));
        assert!(!all.hides_path(&path("a/b"), false) && !all.hides_path(&path("b/x"), false));
    }

    #[test]
    fn each_side_has_rules_of_its_own() {
        let all = selection(&["H h", "P p", "S s", "- s", "-p perish", "-! */", "R r"]);
        let both = |text: &str| (all.hides_path(&path(text), true), protects(&all, text, false));
        assert_eq!(both("h"), (true, false));
        assert_eq!(both("p"), (false, true));
        assert_eq!(both("s"), (false, true));
        assert_eq!(both("other"), (false, false));
        assert!(protects(&all, "perish", false) && !protects(&all, "perish", true));
        assert!(all.hides_path(&path("file"), false), "what is no directory");
    }

    fn protects(all: &Selection, text: &str, is_dying: bool) -> bool {
        all.protects(&path(text), true, is_dying)
    }

    #[test]
    fn sizes_withhold_files_alone() {
        let bounds = Bounds { max_size: Some(10), min_size: Some(2), ..Bounds::default() };
        let all = Selection::new(Rules::default(), bounds);
        assert_eq!([1, 2, 10, 11].map(|size| all.withholds_size(size)), [true, false, false, true]);
    }
}
