//! Rules over the names that histories are made of.

use osync::model::selection::{Bounds, Rules, Selection, Style};

use super::dice::Dice;

/// A list of rules, and the size above which files are withheld.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruling {
    pub rules: Vec<&'static str>,
    pub max_size: Option<u64>,
}

/// Rules of all sorts: by name and by place, for directories and for what is none, for one side.
const RULES: [&str; 24] = [
    "- b", "- c/", "-! */", "- /a", "- /a/b", "- /d/", "- a/c", "- a/*/b", "- b/**", "- **/a/d",
    "- /c/***", "- [cd]", "-p d", "+ a", "+ a/", "+ */", "+ b/***", "- *", "+ /b/a", "H c", "H a/",
    "P d", "P b/", "R a",
];

impl Ruling {
    /// Rules alone.
    pub fn of(rules: &[&'static str]) -> Ruling {
        Ruling { rules: rules.to_vec(), max_size: None }
    }

    /// One to four rules, and sometimes a bound between the sizes that files have.
    pub fn draw(dice: &mut Dice) -> Ruling {
        let rules = (0..=dice.below(4)).map(|_| RULES[dice.below(RULES.len())]).collect();
        let max_size = [None, None, Some(100), Some(5_000)][dice.below(4)];
        Ruling { rules, max_size }
    }

    /// What it selects.
    pub fn selection(&self) -> Selection {
        let mut rules = Rules::default();
        for rule in &self.rules {
            rules.add(rule.as_bytes(), Style::Filter, &mut |_| Err("no files".into())).unwrap();
        }
        Selection::new(rules, Bounds { max_size: self.max_size, ..Bounds::default() })
    }
}
