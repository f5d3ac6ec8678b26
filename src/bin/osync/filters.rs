//! What of a source is to be offered, as rsync's options say it.
//!
//! Rules are told in the order in which they are given, whichever option gives them; so the options
//! are read from the matches themselves.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use osync::error::Error;
use osync::model::selection::{Bounds, Rules, Selection, Style, WithheldKinds, size};

/// Rules and bounds as they were given.
#[derive(Debug, Clone, Default)]
pub struct FilterArgs {
    wishes: Vec<Wish>,
    one_filesystem: bool,
    max_size: Option<u64>,
    min_size: Option<u64>,
}

/// What one option gives.
#[derive(Debug, Clone)]
enum Wish {
    Rule(Style, OsString),
    File(Style, PathBuf),
}

/// An option that gives rules.
struct RuleOption {
    name: &'static str,
    style: Style,
    is_file: bool,
    help: &'static str,
}

const RULES: [RuleOption; 5] = [
    RuleOption {
        name: "exclude",
        style: Style::Exclude,
        is_file: false,
        help: "Leave out what this pattern matches, as rsync does; the first rule that matches \
               decides",
    },
    RuleOption {
        name: "include",
        style: Style::Include,
        is_file: false,
        help: "Do not leave out what this pattern matches",
    },
    RuleOption {
        name: "exclude-from",
        style: Style::Exclude,
        is_file: true,
        help: "Read patterns to leave out from this file, or - for standard input",
    },
    RuleOption {
        name: "include-from",
        style: Style::Include,
        is_file: true,
        help: "Read patterns not to leave out from this file, or - for standard input",
    },
    RuleOption {
        name: "filter",
        style: Style::Filter,
        is_file: false,
        help: "Add a rule as rsync writes it: `- PATTERN`, `+ PATTERN`, `merge FILE`, `P PATTERN`",
    },
];

/// Names of the options here that give no rules.
const BOUNDS: [&str; 3] = ["one-file-system", "max-size", "min-size"];

impl FilterArgs {
    fn options() -> Vec<Arg> {
        let rules = RULES.iter().map(|option| {
            let arg = Arg::new(option.name).long(option.name).action(ArgAction::Append);
            let arg = arg.value_parser(value_parser!(OsString)).allow_hyphen_values(true);
            let value = if option.is_file {
                "FILE"
            } else if option.style == Style::Filter {
                "RULE"
            } else {
                "PATTERN"
            };
            let arg = arg.value_name(value).help(option.help);
            if option.style == Style::Filter { arg.short('f') } else { arg }
        });
        let one_filesystem = Arg::new(BOUNDS[0])
            .long(BOUNDS[0])
            .short('x')
            .action(ArgAction::SetTrue)
            .help("Carry what is mounted below the directory as empty directories");
        let bound = |name, help| {
            let arg = Arg::new(name).long(name).value_name("SIZE").help(help);
            arg.value_parser(|text: &str| size(text))
        };
        let max = bound(BOUNDS[1], "Leave files alone that are larger, at the sink as well");
        let min = bound(BOUNDS[2], "Leave files alone that are smaller, at the sink as well");
        rules.chain([one_filesystem, max, min]).collect()
    }

    /// What all this selects. Reads the files that were named.
    ///
    /// # Errors
    /// `Usage` if a rule makes no sense; `Disk` if a file can't be read.
    pub fn selection(&self, kinds: WithheldKinds) -> Result<Selection, Error> {
        let mut rules = Rules::default();
        let mut read = |file: &[u8]| {
            let file = PathBuf::from(OsString::from_vec(file.to_vec()));
            read_rules(&file).map_err(|error| error.to_string())
        };
        for wish in &self.wishes {
            let added = match wish {
                Wish::Rule(style, rule) => rules.add(rule.as_bytes(), *style, &mut read),
                Wish::File(style, file) => rules.add_all(&read_rules(file)?, *style, &mut read),
            };
            added.map_err(|error| Error::Usage(error.to_string()))?;
        }
        let (max_size, min_size) = (self.max_size, self.min_size);
        let bounds = Bounds { max_size, min_size, one_filesystem: self.one_filesystem, kinds };
        Ok(Selection::new(rules, bounds))
    }
}

fn read_rules(file: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::disk("Can't read the rules", file, error);
    if file.as_os_str() == "-" {
        let mut content = Vec::new();
        std::io::stdin().read_to_end(&mut content).map_err(failed)?;
        return Ok(content);
    }
    std::fs::read(file).map_err(failed)
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<FilterArgs, clap::Error> {
        let mut wishes = Vec::new();
        for option in &RULES {
            let at = matches.indices_of(option.name).into_iter().flatten();
            let values = matches.get_many::<OsString>(option.name).into_iter().flatten();
            wishes.extend(at.zip(values).map(|(at, value)| {
                let wish = if option.is_file {
                    Wish::File(option.style, PathBuf::from(value))
                } else {
                    Wish::Rule(option.style, value.clone())
                };
                (at, wish)
            }));
        }
        wishes.sort_by_key(|(at, _)| *at);
        Ok(FilterArgs {
            wishes: wishes.into_iter().map(|(_, wish)| wish).collect(),
            one_filesystem: matches.get_flag(BOUNDS[0]),
            max_size: matches.get_one(BOUNDS[1]).copied(),
            min_size: matches.get_one(BOUNDS[2]).copied(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = FilterArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        command.args(FilterArgs::options())
    }

    fn augment_args_for_update(command: Command) -> Command {
        FilterArgs::augment_args(command)
    }
}

/// The same at a sink: refused, for the source alone decides what is offered.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFilterArgs;

impl FromArgMatches for NoFilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<NoFilterArgs, clap::Error> {
        let names = RULES.iter().map(|option| option.name).chain(BOUNDS);
        let given = |name: &&str| {
            matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
        };
        match names.into_iter().find(given) {
            None => Ok(NoFilterArgs),
            Some(name) => {
                let text = format!(
                    "the source decides what is offered: give --{name} to `osync source` instead"
                );
                Err(clap::Error::raw(ErrorKind::ArgumentConflict, text))
            }
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        NoFilterArgs::from_arg_matches(matches).map(|_| ())
    }
}

impl Args for NoFilterArgs {
    fn augment_args(command: Command) -> Command {
        command.args(FilterArgs::options().into_iter().map(|arg| arg.hide(true)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        NoFilterArgs::augment_args(command)
    }
}
