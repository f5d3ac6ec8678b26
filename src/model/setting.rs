//! What a person may change of a running operator, in words and as values: `osync set`.

use crate::model::bandwidth::Bandwidth;
use crate::model::priority::{IoPriority, Nice, Priority};

/// The limits of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// What may leave the source for a sink in a second.
    pub bandwidth: Bandwidth,
    /// Operations a second that the backlog may ask of the source's disk; none for no limit. The
    /// source's alone.
    pub iops: Option<u64>,
    /// How gentle the threads of the backlog are on this host.
    pub priority: Priority,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// Removals go on after a halt.
    Resume,
    /// `bwlimit`.
    Bandwidth(Bandwidth),
    /// `iops`.
    Iops(Option<u64>),
    /// `nice`.
    Nice(Nice),
    /// `ionice`.
    IoNice(IoPriority),
}

/// Names of all settings.
pub const SETTINGS: [&str; 5] = ["resume", "bwlimit", "iops", "nice", "ionice"];

impl Setting {
    /// What a name and a value mean; of `resume` the value is empty or `yes`.
    ///
    /// # Errors
    /// A sentence, if there is no such setting, or its value makes no sense.
    pub fn parse(name: &str, value: &str) -> Result<Setting, String> {
        match name {
            "resume" if ["", "yes"].contains(&value) => Ok(Setting::Resume),
            "resume" => Err("give resume alone".into()),
            "bwlimit" => value.parse().map(Setting::Bandwidth),
            "iops" => iops(value).map(Setting::Iops),
            "nice" => value.parse().map(Setting::Nice),
            "ionice" => value.parse().map(Setting::IoNice),
            _ => {
                let have = SETTINGS.join(", ");
                Err(format!("there is no setting `{name}` in this version; it has: {have}"))
            }
        }
    }

    /// The limits with this change.
    #[must_use]
    pub fn apply(self, limits: &Limits) -> Limits {
        let mut limits = limits.clone();
        match self {
            Setting::Resume => {}
            Setting::Bandwidth(bandwidth) => limits.bandwidth = bandwidth,
            Setting::Iops(iops) => limits.iops = iops,
            Setting::Nice(nice) => limits.priority.nice = nice,
            Setting::IoNice(io) => limits.priority.io = io,
        }
        limits
    }
}

/// Operations a second; `0` and `off` for no limit.
///
/// # Errors
/// A sentence, if it is no whole number.
pub fn iops(text: &str) -> Result<Option<u64>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(0) => Ok(None),
        Ok(iops) => Ok(Some(iops.into())),
        Err(_) => Err(format!("`{text}` is no number of operations a second: give one, or off")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, SETTINGS, Setting, iops};
    use crate::model::priority::IoPriority;

    #[test]
    fn each_setting_changes_its_own_limit() {
        let plain = Limits::default();
        for (name, value) in
            [("bwlimit", "20M"), ("iops", "500"), ("nice", "10"), ("ionice", "idle")]
        {
            let setting = Setting::parse(name, value).unwrap();
            let limits = setting.apply(&plain);
            assert_ne!(limits, plain, "{name}");
            let off = if name == "ionice" { "none" } else { "0" };
            assert_eq!(Setting::parse(name, off).unwrap().apply(&limits), plain, "{name}");
        }
        let idle = Setting::parse("ionice", "idle").unwrap().apply(&plain);
        assert_eq!(idle.priority.io, IoPriority::Idle);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for name in SETTINGS {
            assert!(Setting::parse(name, "nonsense").is_err(), "{name}");
        }
        assert_eq!(Setting::parse("resume", "yes"), Ok(Setting::Resume));
        assert_eq!(Setting::parse("resume", ""), Ok(Setting::Resume));
        assert!(Setting::parse("speed", "9").unwrap_err().contains("bwlimit, iops"));
        assert_eq!((iops("off"), iops("0"), iops("7")), (Ok(None), Ok(None), Ok(Some(7))));
        assert!(iops("-1").is_err() && iops("1K").is_err());
    }
}
