//! `-z`, `--compress` and `--compress-level`, as fingers know them from rsync.

use std::ffi::OsString;

use clap::{Args, ValueEnum};
use osync::model::limits::{PACK_LEVEL_DEFAULT, PACK_LEVEL_MAX};
use osync::model::packing::{PackWhen, Packing};

/// Whether contents are packed.
#[derive(Debug, Args)]
pub struct PackingArgs {
    /// Pack contents that shrink by it (zstd): on, off, or auto: while the backlog moves faster
    /// for it [default: off]
    #[arg(
        long,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "on"
    )]
    pub compress: Option<CompressWord>,
    /// The same as --compress=on
    #[arg(short = 'z')]
    pub z: bool,
    /// Pack at this level, from 1 (fastest) to 19; implies -z [default: 3]
    #[arg(long, value_name = "N", value_parser = level)]
    pub compress_level: Option<i32>,
}

/// When contents are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressWord {
    // No doc comments: clap would print them as a list of their own.
    On,
    Off,
    Auto,
}

impl PackingArgs {
    /// What is meant by them together.
    pub fn resolved(&self) -> Packing {
        let when = match self.compress {
            Some(CompressWord::On) => PackWhen::Always,
            Some(CompressWord::Off) => PackWhen::Never,
            Some(CompressWord::Auto) => PackWhen::Auto,
            None if self.z || self.compress_level.is_some() => PackWhen::Always,
            None => PackWhen::Never,
        };
        Packing { when, level: self.compress_level.unwrap_or(PACK_LEVEL_DEFAULT) }
    }
}

fn level(text: &str) -> Result<i32, String> {
    let level = text.parse().ok().filter(|level| (1..=PACK_LEVEL_MAX).contains(level));
    level.ok_or_else(|| format!("give a level from 1 to {PACK_LEVEL_MAX}"))
}

/// The words of a command line, `--compress WHEN` joined by `=`: any other word behind
/// `--compress` is a word of its own, as with rsync.
pub fn joined(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut is_ended = false;
    for word in words {
        let is_when = word.to_str().is_some_and(|word| CompressWord::from_str(word, false).is_ok());
        match joined.last_mut() {
            Some(last) if !is_ended && is_when && *last == "--compress" => {
                last.push("=");
                last.push(word);
            }
            _ => joined.push(word),
        }
        is_ended |= joined.last().is_some_and(|word| word == "--");
    }
    joined
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use osync::model::packing::{PackWhen, Packing};

    use super::joined;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Result<Packing, String> {
        let words = joined(line.split(' ').map(Into::into));
        match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Source(args) => Ok(args.options.packing.resolved()),
            Command::Local(args) => Ok(args.source.packing.resolved()),
            _ => Ok(Packing::default()),
        }
    }

    #[test]
    fn rsync_users_find_what_they_know() {
        let level = Packing::default().level;
        for (line, when, level) in [
            ("osync source dir", PackWhen::Never, level),
            ("osync source -z dir", PackWhen::Always, level),
            ("osync local -az from to", PackWhen::Always, level),
            ("osync source --compress dir", PackWhen::Always, level),
            ("osync source --compress auto dir", PackWhen::Auto, level),
            ("osync source -z --compress=auto dir", PackWhen::Auto, level),
            ("osync source --compress off dir", PackWhen::Never, level),
            ("osync local --compress -- auto to", PackWhen::Always, level),
            ("osync source --compress-level 19 dir", PackWhen::Always, 19),
            ("osync source --compress auto --compress-level=1 dir", PackWhen::Auto, 1),
        ] {
            assert_eq!(parse(line), Ok(Packing { when, level }), "{line}");
        }
        for line in ["--compress=zlib", "--compress-level 0", "--compress-level 20"] {
            assert!(parse(&format!("osync source {line} dir")).is_err(), "{line}");
        }
        for option in ["-z", "--compress", "--compress=auto", "--compress-level=3"] {
            let error = parse(&format!("osync sink {option} host dir")).unwrap_err();
            assert!(error.contains("osync source"), "{option}: {error}");
        }
    }
}
