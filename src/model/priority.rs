//! How gently the threads of the backlog go about the processor and the disk: `--nice`,
//! `--ionice`. Only gentler than others: the backlog never goes before live.

use std::fmt;
use std::str::FromStr;

/// The gentlest there is, of the processor and within a class of the disk.
const NICE_GENTLEST: u8 = 19;
const LEVEL_GENTLEST: u8 = 7;

/// How gentle; the default is that of any other thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Priority {
    /// About the processor.
    pub nice: Nice,
    /// About the disk.
    pub io: IoPriority,
}

impl Priority {
    /// Whether it is that of any other thread.
    #[must_use]
    pub fn is_plain(self) -> bool {
        self == Priority::default()
    }
}

/// How gentle about the processor, 0 to 19.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Nice(u8);

impl Nice {
    /// What the backlog is without a word: where processors are busy, live changes find one a few
    /// milliseconds sooner, and so does whatever else runs on the host.
    pub const OF_BACKLOG: Nice = Nice(5);

    /// As a number.
    #[must_use]
    pub fn value(self) -> u8 {
        self.0
    }
}

impl FromStr for Nice {
    type Err = String;

    fn from_str(text: &str) -> Result<Nice, String> {
        match text.parse() {
            Ok(nice) if nice <= NICE_GENTLEST => Ok(Nice(nice)),
            _ => Err(format!(
                "`{text}` is no way to be nice: give a number from 0 to {NICE_GENTLEST}, the \
                 gentlest"
            )),
        }
    }
}

/// A class of the disk's scheduler, as `ionice` knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IoPriority {
    /// None of its own: as nice as about the processor.
    #[default]
    None,
    /// Best effort, from 0 to 7, the gentlest.
    BestEffort(u8),
    /// Only when nobody else wants anything.
    Idle,
}

impl fmt::Display for IoPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoPriority::None => f.write_str("none"),
            IoPriority::BestEffort(level) => write!(f, "best-effort:{level}"),
            IoPriority::Idle => f.write_str("idle"),
        }
    }
}

impl FromStr for IoPriority {
    type Err = String;

    fn from_str(text: &str) -> Result<IoPriority, String> {
        let (class, level) = text.split_once(':').map_or((text, None), |(c, l)| (c, Some(l)));
        match (class.to_ascii_lowercase().as_str(), level) {
            ("none" | "0", None) => Ok(IoPriority::None),
            ("idle" | "3", None) => Ok(IoPriority::Idle),
            ("best-effort" | "be" | "2", level) => match level.map_or(Ok(4), str::parse) {
                Ok(level) if level <= LEVEL_GENTLEST => Ok(IoPriority::BestEffort(level)),
                _ => Err(format!("a level goes from 0 to {LEVEL_GENTLEST}, the gentlest")),
            },
            ("none" | "0" | "idle" | "3", Some(_)) => {
                Err(format!("the class {class} has no levels"))
            }
            ("realtime" | "rt" | "1", _) => {
                Err("the backlog can't go before all others: give best-effort or idle".into())
            }
            _ => Err(format!(
                "`{text}` is no class: give none, best-effort, best-effort:0 to 7, \
                              or idle"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IoPriority, Nice, Priority};

    #[test]
    fn niceness_is_a_number_that_takes_nothing_from_others() {
        assert_eq!("10".parse::<Nice>().map(Nice::value), Ok(10));
        assert_eq!("0".parse::<Nice>(), Ok(Nice::default()));
        for text in ["-1", "20", "", "much", "1.5", "256"] {
            assert!(text.parse::<Nice>().unwrap_err().contains("0 to 19"), "{text}");
        }
    }

    #[test]
    fn classes_are_called_as_ionice_calls_them() {
        for (text, expected) in [
            ("idle", IoPriority::Idle),
            ("3", IoPriority::Idle),
            ("Best-Effort:7", IoPriority::BestEffort(7)),
            ("best-effort", IoPriority::BestEffort(4)),
            ("2:0", IoPriority::BestEffort(0)),
            ("none", IoPriority::None),
        ] {
            let class: IoPriority = text.parse().unwrap();
            assert_eq!(class, expected, "{text}");
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        for (text, word) in [
            ("realtime", "best-effort or idle"),
            ("1:4", "best-effort or idle"),
            ("idle:3", "no levels"),
            ("be:8", "0 to 7"),
            ("be:", "0 to 7"),
            ("", "no class"),
            ("gentle", "no class"),
        ] {
            let error = text.parse::<IoPriority>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(Priority::default().is_plain());
    }
}
