//! The rest of rsync's options, for fingers that are used to them.
//!
//! What is osync's default is taken without a word; what switches a part of it off is noted; what
//! osync does not honour is refused with a sentence that says what to do instead. None is passed
//! over in silence.

use std::ops::RangeInclusive;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use osync::model::attributes::{Carried, Namespace};
use osync::model::selection::WithheldKinds;

/// Options that ask for what osync does anyway.
const DEFAULTS: [(&str, Option<char>); 22] = [
    ("archive", Some('a')),
    ("recursive", Some('r')),
    ("links", Some('l')),
    ("perms", Some('p')),
    ("times", Some('t')),
    ("group", Some('g')),
    ("owner", Some('o')),
    ("devices-specials", Some('D')),
    ("devices", None),
    ("specials", None),
    ("hard-links", Some('H')),
    ("acls", Some('A')),
    ("xattrs", Some('X')),
    ("sparse", Some('S')),
    ("numeric-ids", None),
    ("inc-recursive", None),
    ("mkpath", None),
    ("progress", None),
    ("human-readable", None),
    ("secluded-args", Some('s')),
    ("flags", None),
    ("no-whole-file", None),
];

/// Asks for what is not carried by default.
const ATIMES: &str = "atimes";

/// Switches that take a part off, with rsync's short form of each.
type Switch = (&'static str, &'static str, &'static str);

/// Those over attributes: for either side.
const ATTRIBUTES: [Switch; 7] = [
    ("no-owner", "no-o", "Leave owners as they come at the sink"),
    ("no-group", "no-g", "Leave groups as they come at the sink"),
    ("no-perms", "no-p", "Leave permissions as they come at the sink"),
    ("no-xattrs", "no-X", "Leave out extended attributes"),
    ("no-acls", "no-A", "Leave out access control lists"),
    ("no-flags", "no-chattr", "Leave out inode flags (immutable, append only, no dump)"),
    ("no-hard-links", "no-H", "Make each name of a file with several a file of its own"),
];

/// Those over kinds: the source's.
const KINDS: [Switch; 4] = [
    ("no-links", "no-l", "Leave symbolic links alone, at the sink as well"),
    ("no-devices", "no-dev", "Leave devices alone, at the sink as well"),
    ("no-specials", "no-spec", "Leave fifos and sockets alone, at the sink as well"),
    ("no-D", "no-d", "The same as --no-devices --no-specials"),
];

/// What a source alone does, with how many values each takes: before contents leave, and while it
/// looks at its disk.
const AT_SOURCE: [(&str, Option<char>, RangeInclusive<usize>); 4] = [
    ("compress", Some('z'), 0..=1),
    ("compress-level", None, 1..=1),
    ("whole-file", Some('W'), 0..=0),
    ("iops", None, 1..=1),
];

/// Those that no operator takes.
const NOT_TAKEN: [Switch; 1] = [("no-times", "no-t", TIMES)];

const TIMES: &str = "modification times are how osync tells what is unchanged; without them each \
                     comparison would have to read all content on both sides. Let them be kept, \
                     and touch the files at the sink when the migration is over";

const BY_ITSELF: &str = "osync does what is best here by itself";
const ALWAYS_WHOLE: &str = "osync makes the two directories equal, always, and as they are";
const ONE_WAY: &str = "the sink becomes equal to the source: there is no merging of trees";
const STAGED: &str = "files are staged inside the sink's directory and renamed into place, always";
const DELETE: &str = "removals are told by `--delete never|live|all` at the sink";
const SERVICE: &str = "osync speaks over its own encrypted sockets: see `osync source --help`";
const SAFE: &str = "symbolic links travel as they are and are never followed";
const LATER: &str = "this is not in this version yet";
const REPORT: &str = "use --report FILE, --json or `osync status`";

/// An option that is refused: its name, its letter, whether it has a value, what to do instead.
type Refused = (&'static str, Option<char>, bool, &'static str);

const REFUSED: [Refused; 79] = [
    ("8-bit-output", Some('8'), false, REPORT),
    ("address", None, true, "use --bind ADDR"),
    ("append", None, false, BY_ITSELF),
    ("append-verify", None, false, BY_ITSELF),
    ("backup", Some('b'), false, "use --trash or --backup-dir DIR at the sink"),
    ("block-size", Some('B'), true, BY_ITSELF),
    ("blocking-io", None, false, SERVICE),
    ("checksum-choice", None, true, "hashes are BLAKE3"),
    ("checksum-seed", None, true, "hashes are BLAKE3"),
    ("chmod", None, true, ALWAYS_WHOLE),
    ("compare-dest", None, true, ONE_WAY),
    ("compress-choice", None, true, "contents are packed with zstd"),
    ("confine-root", None, true, "neither side leaves its directory"),
    ("contimeout", None, true, "use --connect-timeout at the sink"),
    ("copy-as", None, true, "run osync as that user"),
    ("copy-dest", None, true, ONE_WAY),
    ("copy-devices", None, false, ALWAYS_WHOLE),
    ("copy-dirlinks", Some('k'), false, SAFE),
    ("copy-links", Some('L'), false, SAFE),
    ("copy-unsafe-links", None, false, SAFE),
    ("crtimes", Some('N'), false, "no filesystem of Linux lets times of birth be set"),
    ("cvs-exclude", Some('C'), false, "write out what it excludes, with --exclude"),
    ("daemon", None, false, SERVICE),
    ("debug", None, true, "use -v, --log-file and RUST_LOG"),
    ("del", None, false, DELETE),
    ("delay-updates", None, false, STAGED),
    ("delete-after", None, false, DELETE),
    ("delete-before", None, false, DELETE),
    ("delete-delay", None, false, DELETE),
    ("delete-during", None, false, DELETE),
    (
        "delete-excluded",
        None,
        false,
        "what the rules exclude stays at the sink: \
        write `--filter 'H PATTERN'` for what is hidden and may go there",
    ),
    ("delete-missing-args", None, false, DELETE),
    ("dirs", Some('d'), false, ALWAYS_WHOLE),
    ("executability", Some('E'), false, ALWAYS_WHOLE),
    ("existing", None, false, ONE_WAY),
    ("fake-super", None, false, "run the sink as root; what it cannot hold is told"),
    ("files-from", None, true, "select with --include and --exclude"),
    ("force", None, false, DELETE),
    ("from0", Some('0'), false, "write one rule a line"),
    ("fuzzy", Some('y'), false, BY_ITSELF),
    ("iconv", None, true, "names are bytes and travel as they are"),
    ("ignore-errors", None, false, "one bad path never stops the rest"),
    ("ignore-existing", None, false, ONE_WAY),
    ("ignore-non-existing", None, false, ONE_WAY),
    ("ignore-times", Some('I'), false, BY_ITSELF),
    ("info", None, true, REPORT),
    ("inplace", None, false, STAGED),
    ("ipv4", Some('4'), false, "name the source by its IPv4 address"),
    ("ipv6", Some('6'), false, "name the source by its IPv6 address"),
    ("itemize-changes", Some('i'), false, REPORT),
    ("keep-dirlinks", Some('K'), false, SAFE),
    ("link-dest", None, true, ONE_WAY),
    ("list-only", None, false, LATER),
    ("log-file-format", None, true, REPORT),
    ("modify-window", Some('@'), true, "times are compared to the nanosecond"),
    ("munge-links", None, false, SAFE),
    ("omit-dir-times", Some('O'), false, ALWAYS_WHOLE),
    ("omit-link-times", Some('J'), false, ALWAYS_WHOLE),
    ("out-format", None, true, REPORT),
    ("partial", None, false, "what has come of a large file is kept, and goes on, by itself"),
    ("partial-dir", None, true, STAGED),
    (
        "per-dir-rules",
        Some('F'),
        false,
        "files of rules in each directory are not read: \
        use --filter 'merge FILE'",
    ),
    ("partial-progress", Some('P'), false, "both go by themselves: leave it out"),
    ("preallocate", None, false, BY_ITSELF),
    ("prune-empty-dirs", Some('m'), false, ALWAYS_WHOLE),
    ("quiet", Some('q'), false, "send standard error elsewhere"),
    ("relative", Some('R'), false, "both directories are given whole"),
    ("remove-source-files", None, false, "osync never changes its source"),
    ("rsh", Some('e'), true, SERVICE),
    ("rsync-path", None, true, SERVICE),
    ("safe-links", None, false, SAFE),
    ("size-only", None, false, BY_ITSELF),
    ("stats", None, false, REPORT),
    ("stop-after", None, true, "use --timeout at the sink"),
    ("suffix", None, true, "use --trash or --backup-dir DIR at the sink"),
    ("super", None, false, "run the sink as root"),
    ("temp-dir", Some('T'), true, STAGED),
    ("update", Some('u'), false, ONE_WAY),
    ("write-devices", None, false, ALWAYS_WHOLE),
];

/// rsync's other options at a source.
#[derive(Debug, Clone, Copy)]
pub struct HabitArgs {
    /// Attributes that are to be kept.
    pub carried: Carried,
    /// Kinds that are not to be offered.
    pub kinds: WithheldKinds,
}

/// rsync's other options at a sink.
#[derive(Debug, Clone, Copy)]
pub struct SinkHabitArgs {
    /// Attributes that are to be kept.
    pub wanted: Carried,
}

/// An option that takes no value, or one that is thrown away.
fn option(name: &'static str, letter: Option<char>, has_value: bool) -> Arg {
    let arg = Arg::new(name).hide(true);
    // Some of rsync's have a letter alone.
    let is_long = !matches!(name, "devices-specials" | "per-dir-rules" | "partial-progress");
    let arg = if is_long { arg.long(name) } else { arg };
    let arg = if let Some(letter) = letter { arg.short(letter) } else { arg };
    arg.action(if has_value { ArgAction::Append } else { ArgAction::Count })
}

/// Options that take something off.
fn switches(all: &'static [Switch], is_hidden: bool) -> impl Iterator<Item = Arg> {
    all.iter().map(move |(name, alias, help)| {
        let arg = Arg::new(*name).long(*name).alias(*alias).help(*help).overrides_with(*name);
        arg.action(ArgAction::SetTrue).hide(is_hidden)
    })
}

/// Those that every operator knows: taken or refused.
fn shared() -> impl Iterator<Item = Arg> {
    let defaults = DEFAULTS.iter().map(|(name, letter)| option(name, *letter, false));
    let refused = REFUSED.iter().map(|(name, letter, value, _)| option(name, *letter, *value));
    let later = switches(&NOT_TAKEN, true);
    let atimes = option(ATIMES, Some('U'), false)
        .hide(false)
        .help("Keep times of the last reading as well, as far as nobody reads at the sink");
    defaults.chain(refused).chain(later).chain(switches(&ATTRIBUTES, false)).chain([atimes])
}

fn refused(text: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ArgumentConflict, text)
}

fn is_given(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(ValueSource::CommandLine)
}

/// The attributes that are to be kept; an error for an option that every operator refuses.
fn carried(matches: &ArgMatches) -> Result<Carried, clap::Error> {
    // What a dry run tells is itemised.
    let is_itemised = is_given(matches, "dry_run");
    let is_meant = |name: &str| !(is_itemised && name == "itemize-changes");
    let given = |name: &str| is_given(matches, name) && is_meant(name);
    if let Some((name, letter, _, says)) = REFUSED.iter().find(|(name, ..)| given(name)) {
        let shown = match letter {
            Some(letter) => format!("-{letter}"),
            None => format!("--{name}"),
        };
        return Err(refused(format!("rsync's {shown} is not honoured here: {says}")));
    }
    if let Some((name, _, says)) = NOT_TAKEN.iter().find(|(name, ..)| given(name)) {
        return Err(refused(format!("--{name}: {says}")));
    }
    let [owners, groups, modes, xattrs, acls, flags, links] =
        ATTRIBUTES.map(|(name, ..)| !given(name));
    let atimes = matches.get_count(ATIMES) > 0;
    let mut carried = Carried { owners, groups, modes, flags, links, atimes, ..Carried::all() };
    carried.namespaces = [xattrs; 4];
    carried.namespaces[Namespace::Acl.index()] = acls;
    Ok(carried)
}

impl FromArgMatches for HabitArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<HabitArgs, clap::Error> {
        let carried = carried(matches)?;
        let [symlinks, devices, specials, both] = KINDS.map(|(name, ..)| is_given(matches, name));
        let (devices, specials) = (devices || both, specials || both);
        Ok(HabitArgs { carried, kinds: WithheldKinds { symlinks, devices, specials } })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = HabitArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for HabitArgs {
    fn augment_args(command: Command) -> Command {
        command.args(shared()).args(switches(&KINDS, false))
    }

    fn augment_args_for_update(command: Command) -> Command {
        HabitArgs::augment_args(command)
    }
}

impl FromArgMatches for SinkHabitArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SinkHabitArgs, clap::Error> {
        let wanted = carried(matches)?;
        if let Some((name, ..)) = AT_SOURCE.iter().find(|(name, ..)| is_given(matches, name)) {
            return Err(refused(format!(
                "the source sees to that: give --{name} to `osync source` instead"
            )));
        }
        match KINDS.iter().find(|(name, ..)| is_given(matches, name)) {
            None => Ok(SinkHabitArgs { wanted }),
            Some((name, ..)) => Err(refused(format!(
                "the source decides what is offered: give --{name} to `osync source` instead"
            ))),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SinkHabitArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SinkHabitArgs {
    fn augment_args(command: Command) -> Command {
        let elsewhere = AT_SOURCE.iter().map(|(name, letter, values)| {
            let arg = option(name, *letter, *values.end() > 0);
            // The word behind it is a word of its own.
            if *values == (0..=1) { arg.num_args(0..=1).require_equals(true) } else { arg }
        });
        command.args(shared()).args(switches(&KINDS, true)).args(elsewhere)
    }

    fn augment_args_for_update(command: Command) -> Command {
        SinkHabitArgs::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{AT_SOURCE, ATTRIBUTES, DEFAULTS, KINDS, NOT_TAKEN, REFUSED};
    use crate::cli::{Cli, Command};

    /// Parses the command line of an operator with one option more.
    fn parse(operator: &[&str], option: &str) -> Result<Cli, String> {
        let words = ["osync"].iter().chain(operator).chain([&option]);
        Cli::try_parse_from(words).map_err(|error| error.to_string())
    }

    const LOCAL: [&str; 3] = ["local", "from", "to"];
    const SOURCE: [&str; 2] = ["source", "dir"];
    const SINK: [&str; 3] = ["sink", "host", "dir"];

    #[test]
    fn what_is_the_default_is_taken_by_every_operator() {
        for operator in [&LOCAL[..], &SOURCE, &SINK] {
            for (name, letter) in DEFAULTS {
                let option = letter.map_or(format!("--{name}"), |letter| format!("-{letter}"));
                assert!(parse(operator, &option).is_ok(), "{operator:?} {option}");
            }
            assert!(parse(operator, "-aHAXS").is_ok());
        }
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_every_operator() {
        for operator in [&LOCAL[..], &SOURCE, &SINK] {
            for (name, letter, has_value, says) in REFUSED {
                let value = if has_value { "1" } else { "" };
                let option = letter.map_or_else(
                    || format!("--{name}{}", if has_value { "=1" } else { "" }),
                    |letter| format!("-{letter}{value}"),
                );
                let error = parse(operator, &option).expect_err(&option);
                assert!(error.contains(says), "{operator:?} {option}: {error}");
            }
            for (name, short, says) in NOT_TAKEN {
                for option in [name, short] {
                    let error = parse(operator, &format!("--{option}")).expect_err(option);
                    assert!(error.contains(says), "{error}");
                }
            }
        }
    }

    #[test]
    fn switches_take_off_what_they_name() {
        for (at, (name, short, _)) in ATTRIBUTES.into_iter().enumerate() {
            for option in [format!("--{name}"), format!("--{short}")] {
                let Ok(Cli { command: Command::Sink(args), .. }) = parse(&SINK, &option) else {
                    panic!("{option}");
                };
                let wanted = args.habits.wanted;
                let kept = [wanted.owners, wanted.groups, wanted.modes];
                let xattrs = [wanted.namespaces[0], wanted.namespaces[1]];
                let kept = [&kept[..], &xattrs, &[wanted.flags, wanted.links]].concat();
                let expected: [bool; 7] = std::array::from_fn(|other| other != at);
                assert_eq!(kept, expected, "{option}");
            }
        }
        for (name, letter, values) in AT_SOURCE {
            let value = if values == (1..=1) { "=5" } else { "" };
            let says = parse(&SINK, &format!("--{name}{value}")).unwrap_err();
            assert!(says.contains(&format!("give --{name} to `osync source`")), "{says}");
            if let Some(letter) = letter {
                assert!(parse(&SINK, &format!("-{letter}")).unwrap_err().contains("osync source"));
            }
        }
        for (name, ..) in KINDS {
            assert!(parse(&SINK, &format!("--{name}")).unwrap_err().contains("osync source"));
            let Ok(Cli { command: Command::Source(args), .. }) =
                parse(&SOURCE, &format!("--{name}"))
            else {
                panic!("{name}");
            };
            let kinds = args.options.habits.kinds;
            let off = [kinds.symlinks, kinds.devices, kinds.specials];
            let expected = match name {
                "no-links" => [true, false, false],
                "no-devices" => [false, true, false],
                "no-specials" => [false, false, true],
                _ => [false, true, true],
            };
            assert_eq!(off, expected, "{name}");
        }
    }
}
