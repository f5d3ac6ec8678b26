//! Rules, and how people write them: rsync's filter rules, read from options and from files.
//!
//! A list is built in the order in which rules are given; `!` empties it. What rsync knows and
//! osync does not (files of rules in each directory, CVS's list, absolute patterns, rules over
//! extended attributes) is refused with a sentence, never passed over.

use std::fmt;

use super::Side;
use super::pattern::Pattern;
use crate::model::limits::RULE_FILES_DEPTH_MAX;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pattern: Pattern,
    /// Whether it hides and protects, rather than the reverse.
    pub(super) excludes: bool,
    of_source: bool,
    of_sink: bool,
    /// It matches what its pattern does not.
    is_negated: bool,
    /// It protects nothing in a directory that goes.
    is_perishable: bool,
}

impl Rule {
    pub(super) fn matches(&self, path: &[u8], is_dir: bool) -> bool {
        self.pattern.matches(path, is_dir) != self.is_negated
    }

    pub(super) fn speaks_of(&self, side: Side) -> bool {
        match side {
            Side::Source => self.of_source,
            Side::Sink { is_dying } => self.of_sink && !(self.is_perishable && is_dying),
        }
    }

    pub(super) fn depends_on(&self, dir: &[u8]) -> bool {
        self.pattern.depends_on(dir)
    }
}

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A rule with its prefix.
    Filter,
    /// A pattern to select; it may bear `- ` or `+ ` all the same.
    Include,
    /// A pattern to leave out; likewise.
    Exclude,
    /// A pattern and nothing else, to select or to leave out.
    Bare {
        /// Whether it is left out.
        excludes: bool,
    },
}

/// A line that is no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The line.
    pub line: Vec<u8>,
    /// What is wrong with it, and what to do.
    pub text: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "In the rule \"{}\": {}", self.line.escape_ascii(), self.text)
    }
}

impl std::error::Error for RuleError {}

/// Reads a file of rules that another rule names.
pub type ReadFile<'a> = dyn FnMut(&[u8]) -> Result<Vec<u8>, String> + 'a;

/// A list of rules in the making.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    all: Vec<Rule>,
    depth: usize,
}

impl Rules {
    /// Adds what one option gives.
    ///
    /// # Errors
    /// When the line is no rule, or a file that it names can't be read.
    pub fn add(
        &mut self,
        line: &[u8],
        style: Style,
        read: &mut ReadFile<'_>,
    ) -> Result<(), RuleError> {
        let failed = |text: String| RuleError { line: line.to_vec(), text };
        match parse(line, style).map_err(failed)? {
            Line::Clear => self.all.clear(),
            Line::Rule(rule) => self.all.push(rule),
            Line::Merge { file, style } => {
                let content = read(file).map_err(failed)?;
                if self.depth == RULE_FILES_DEPTH_MAX {
                    return Err(failed("files of rules name each other too deeply".to_owned()));
                }
                self.depth += 1;
                self.add_all(&content, style, read)?;
                self.depth -= 1;
            }
        }
        Ok(())
    }

    /// Adds the lines of a file. Empty lines, and those that begin with `#` or `;`, say nothing.
    ///
    /// # Errors
    /// As `add`.
    pub fn add_all(
        &mut self,
        content: &[u8],
        style: Style,
        read: &mut ReadFile<'_>,
    ) -> Result<(), RuleError> {
        let lines = content.split(|byte| matches!(byte, b'\n' | b'\r'));
        for line in lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b';'))) {
            self.add(line, style, read)?;
        }
        Ok(())
    }

    pub(super) fn into_inner(self) -> Vec<Rule> {
        self.all
    }
}

/// What a line says.
enum Line<'a> {
    Rule(Rule),
    Merge { file: &'a [u8], style: Style },
    Clear,
}

/// The word before a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Exclude,
    Include,
    Hide,
    Show,
    Protect,
    Risk,
    Merge,
    DirMerge,
    Clear,
}

const WORDS: [(&[u8], u8, Word); 9] = [
    (b"exclude", b'-', Word::Exclude),
    (b"include", b'+', Word::Include),
    (b"hide", b'H', Word::Hide),
    (b"show", b'S', Word::Show),
    (b"protect", b'P', Word::Protect),
    (b"risk", b'R', Word::Risk),
    (b"merge", b'.', Word::Merge),
    (b"dir-merge", b':', Word::DirMerge),
    (b"clear", b'!', Word::Clear),
];

fn parse(line: &[u8], style: Style) -> Result<Line<'_>, String> {
    let is_include = match style {
        Style::Filter => return parse_filter(line),
        Style::Include => true,
        Style::Exclude => false,
        Style::Bare { excludes: true } => return rule(Word::Exclude, b"", line),
        Style::Bare { excludes: false } => return rule(Word::Include, b"", line),
    };
    match line {
        b"!" => Ok(Line::Clear),
        [b'+', b' ', pattern @ ..] => rule(Word::Include, b"", pattern),
        [b'-', b' ', pattern @ ..] => rule(Word::Exclude, b"", pattern),
        pattern if is_include => rule(Word::Include, b"", pattern),
        pattern => rule(Word::Exclude, b"", pattern),
    }
}

fn parse_filter(line: &[u8]) -> Result<Line<'_>, String> {
    let (word, rest) = word(line).ok_or(
        "it begins with no word that rsync knows: write `- PATTERN`, `+ PATTERN` or `merge FILE`",
    )?;
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'_')).unwrap_or(rest.len());
    let (modifiers, rest) = rest.split_at(end);
    let modifiers = modifiers.strip_prefix(b",").unwrap_or(modifiers);
    let given = rest.get(1..).unwrap_or_default();
    match word {
        Word::Clear if modifiers.is_empty() && given.is_empty() => Ok(Line::Clear),
        Word::Clear => Err("`!` stands alone".to_owned()),
        Word::DirMerge => Err("files of rules in each directory are not read: \
                               give their rules with --filter or --exclude-from"
            .to_owned()),
        Word::Merge => merge(modifiers, given),
        word => rule(word, modifiers, given),
    }
}

/// The word that a line begins with, and what follows it.
fn word(line: &[u8]) -> Option<(Word, &[u8])> {
    let long = WORDS.iter().find_map(|(long, _, word)| {
        let rest = line.strip_prefix(*long)?;
        matches!(rest.first(), None | Some(b',' | b' ' | b'_')).then_some((*word, rest))
    });
    let short = || {
        let (first, rest) = line.split_first()?;
        WORDS.iter().find(|(_, short, _)| short == first).map(|(_, _, word)| (*word, rest))
    };
    long.or_else(short)
}

fn merge<'a>(modifiers: &[u8], file: &'a [u8]) -> Result<Line<'a>, String> {
    let style = match modifiers {
        b"" => Style::Filter,
        b"-" => Style::Bare { excludes: true },
        b"+" => Style::Bare { excludes: false },
        _ => return Err("after `merge` only the modifiers `-` and `+` are known".to_owned()),
    };
    if file.is_empty() {
        return Err("the file is missing".to_owned());
    }
    Ok(Line::Merge { file, style })
}

fn rule(word: Word, modifiers: &[u8], pattern: &[u8]) -> Result<Line<'static>, String> {
    let (mut of_source, mut of_sink) = (false, false);
    let (mut is_negated, mut is_perishable) = (false, false);
    let names_side = matches!(word, Word::Hide | Word::Show | Word::Protect | Word::Risk);
    for modifier in modifiers {
        match modifier {
            b's' if !names_side => of_source = true,
            b'r' if !names_side => of_sink = true,
            b'!' => is_negated = true,
            b'p' => is_perishable = true,
            b'/' => {
                return Err("patterns go from the source's directory on: \
                                write it so, without the modifier `/`"
                    .to_owned());
            }
            b'C' => {
                return Err("CVS's list is not known here: write out what it excludes".to_owned());
            }
            b'x' => return Err("rules over extended attributes are not known".to_owned()),
            other => return Err(format!("there is no modifier `{}`", other.escape_ascii())),
        }
    }
    if pattern.is_empty() {
        return Err("the pattern is missing".to_owned());
    }
    let (source, sink) = match word {
        Word::Hide | Word::Show => (true, false),
        Word::Protect | Word::Risk => (false, true),
        _ if of_source || of_sink => (of_source, of_sink),
        _ => (true, true),
    };
    Ok(Line::Rule(Rule {
        pattern: Pattern::new(pattern),
        excludes: matches!(word, Word::Exclude | Word::Hide | Word::Protect),
        of_source: source,
        of_sink: sink,
        is_negated,
        is_perishable,
    }))
}

#[cfg(test)]
mod tests {
    use super::{Rules, Style};

    fn no_files(_: &[u8]) -> Result<Vec<u8>, String> {
        Err("no files".to_owned())
    }

    fn parsed(line: &str, style: Style) -> Result<Rules, String> {
        let mut rules = Rules::default();
        let added = rules.add(line.as_bytes(), style, &mut no_files);
        added.map(|()| rules).map_err(|error| error.to_string())
    }

    #[test]
    fn one_rule_can_be_written_in_many_ways() {
        for same in [
            &["- a*", "-_a*", "-, a*", "exclude a*", "exclude,_a*", "-sr a*"][..],
            &["+ a", "include a", "+_a"],
            &["H a", "hide a", "-s a", "exclude,s a", "H,_a"],
            &["P a", "protect a", "-r a"],
            &["S a", "show a", "+s a"],
            &["R a", "risk a", "+,r a"],
            &["-!p a", "-p! a", "exclude,!p a"],
        ] {
            let rules: Vec<_> =
                same.iter().map(|line| parsed(line, Style::Filter).unwrap().into_inner()).collect();
            assert!(rules.windows(2).all(|pair| pair[0] == pair[1]), "{same:?}");
            assert_eq!(rules[0].len(), 1);
        }
        let old = |line, style| parsed(line, style).unwrap().into_inner();
        let new = |line| parsed(line, Style::Filter).unwrap().into_inner();
        assert_eq!(old("a b", Style::Exclude), new("- a b"));
        assert_eq!(old("+ a", Style::Exclude), new("+ a"));
        assert_eq!(old("- a", Style::Include), new("- a"));
        assert_eq!(old("-a", Style::Include), new("+ -a"));
        assert_eq!(new("-  a_"), old(" a_", Style::Exclude), "only one separator");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (line, says) in [
            (": .rules", "in each directory"),
            ("dir-merge,n .rules", "in each directory"),
            ("-C", "CVS"),
            ("-/ /etc", "from the source's directory on"),
            ("-x user.*", "extended attributes"),
            ("-q a", "no modifier `q`"),
            ("Hs a", "no modifier `s`"),
            ("- ", "the pattern is missing"),
            ("-", "the pattern is missing"),
            ("", "begins with no word"),
            ("excluded a", "begins with no word"),
            ("! a", "stands alone"),
            (".", "the file is missing"),
            (".n rules", "only the modifiers"),
            (". rules", "no files"),
        ] {
            let error = parsed(line, Style::Filter).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn files_have_comments_and_name_files() {
        let mut rules = Rules::default();
        let mut read = |file: &[u8]| match file {
            b"first" => Ok(b"# a comment\n\n- a\r\n; another\n.- second\n".to_vec()),
            b"second" => Ok(b"b\n+ c\n!\n".to_vec()),
            _ => Ok(b". circle".to_vec()),
        };
        rules.add(b"merge first", Style::Filter, &mut read).unwrap();
        let mut same = Rules::default();
        same.add_all(b"- a\n- b\n- + c\n- !", Style::Filter, &mut read).unwrap();
        assert_eq!(rules.clone().into_inner(), same.into_inner());
        let error = rules.clone().add(b". circle", Style::Filter, &mut read).unwrap_err();
        assert!(error.to_string().contains("too deeply"));
        rules.add(b"!", Style::Filter, &mut read).unwrap();
        assert!(rules.into_inner().is_empty());
    }
}
