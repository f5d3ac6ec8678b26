//! How many bytes may leave in a second, by the hour and the day of the week: `--bwlimit`.
//!
//! One rate as rsync writes it, or a timetable as rclone does: `08:00,10M 18:00,off`, where a day
//! or a range of days may stand before a time (`Mon-Fri-08:00,10M`). Times are of the local clock.

use std::fmt;
use std::str::FromStr;

use crate::model::limits::TIMETABLE_SLOTS_MAX;
use crate::model::selection::size;

/// Minutes of a day, and of a week.
const DAY: u16 = 24 * 60;
const WEEK: u16 = 7 * DAY;
/// The smallest rate there is, as for rsync.
const RATE_LEAST: u64 = 1024;
const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A minute of the week, the first one that of Monday 00:00; always below a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WeekMinute(u16);

impl WeekMinute {
    /// Of a day (Monday is 0), an hour and a minute; what is too large begins anew.
    #[must_use]
    pub fn new(day: u16, hour: u16, minute: u16) -> WeekMinute {
        let of_day = (hour % 24) * 60 + minute % 60;
        WeekMinute((day % 7) * DAY + of_day)
    }
}

/// What may leave in a second, at each minute of the week.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bandwidth {
    /// As it was written; empty for no limit.
    text: String,
    /// Rates with the minutes from which they hold, in order; none for no limit. The last one holds
    /// until the first.
    slots: Vec<(WeekMinute, Option<u64>)>,
}

impl Bandwidth {
    /// Bytes a second at some time; none for no limit.
    #[must_use]
    pub fn at(&self, time: WeekMinute) -> Option<u64> {
        let begun = self.slots.partition_point(|(since, _)| *since <= time);
        let slot = begun.checked_sub(1).or(self.slots.len().checked_sub(1))?;
        self.slots[slot].1
    }

    /// Whether there is never a limit.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.slots.iter().all(|(_, rate)| rate.is_none())
    }

    /// Whether the time of day matters.
    #[must_use]
    pub fn is_timetable(&self) -> bool {
        self.slots.len() > 1
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_unlimited() { "off" } else { &self.text })
    }
}

impl FromStr for Bandwidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Bandwidth, String> {
        let entries: Vec<&str> = text.split([' ', ';']).filter(|entry| !entry.is_empty()).collect();
        let slots = match entries[..] {
            [] => return Err("give a rate such as 10M, or a timetable".into()),
            [entry] if !entry.contains(',') => vec![(WeekMinute(0), rate(entry)?)],
            _ => timetable(&entries)?,
        };
        let bandwidth = Bandwidth { text: entries.join(" "), slots };
        Ok(if bandwidth.is_unlimited() { Bandwidth::default() } else { bandwidth })
    }
}

/// Entries of a timetable, in the order of the week. Of two for the same minute the later one
/// counts.
fn timetable(entries: &[&str]) -> Result<Vec<(WeekMinute, Option<u64>)>, String> {
    let mut slots: Vec<(WeekMinute, Option<u64>)> = Vec::new();
    for entry in entries {
        let (when, what) = entry.split_once(',').ok_or_else(|| {
            format!("`{entry}` is no entry of a timetable: give HH:MM,RATE or DAY-HH:MM,RATE")
        })?;
        let rate = rate(what)?;
        let (days, time) = when.rsplit_once('-').map_or((None, when), |(d, t)| (Some(d), t));
        let minute = minute_of_day(time)?;
        let (first, count) = days.map_or(Ok((0, 7)), days_of)?;
        for day in first..first + count {
            slots.push((WeekMinute((day * DAY + minute) % WEEK), rate));
        }
        if slots.len() > TIMETABLE_SLOTS_MAX {
            return Err("this timetable has too many entries".into());
        }
    }
    slots.reverse();
    slots.sort_by_key(|(since, _)| *since);
    slots.dedup_by_key(|(since, _)| *since);
    Ok(slots)
}

/// A rate: `off`, or a size a second, in KiB where no unit is given.
fn rate(text: &str) -> Result<Option<u64>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let is_number = text.ends_with(|last: char| last.is_ascii_digit() || last == '.');
    let is_changed = text.ends_with("+1") || text.ends_with("-1");
    let rate = match is_number && !is_changed {
        true => size(&format!("{text}K")),
        false => size(text),
    };
    match rate {
        Ok(0) => Ok(None),
        Ok(rate) if rate < RATE_LEAST => {
            Err(format!("`{text}` is too slow: the least is 1K a second, and 0 is no limit"))
        }
        Ok(rate) => Ok(Some(rate)),
        Err(_) => Err(format!(
            "`{text}` is no rate: give a number with K, M or G (KiB a second without one), or off"
        )),
    }
}

fn minute_of_day(text: &str) -> Result<u16, String> {
    let failed = || format!("`{text}` is no time of day: give HH:MM, from 00:00 to 23:59");
    let (hour, minute) = text.split_once(':').ok_or_else(failed)?;
    let number = |text: &str, below: u16| {
        let is_plain = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| is_plain && *number < below)
    };
    let hour = number(hour, 24).ok_or_else(failed)?;
    let minute = number(minute, 60).filter(|_| minute.len() == 2).ok_or_else(failed)?;
    Ok(hour * 60 + minute)
}

/// A day, or a range of them, perhaps over the end of the week: the first and how many.
fn days_of(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    Ok((first, (last + 7 - first) % 7 + 1))
}

fn day(text: &str) -> Result<u16, String> {
    let word = text.to_ascii_lowercase();
    let is_meant = |day: &str| day == word || day[..3] == word;
    let at = DAYS.iter().position(|day| is_meant(day));
    at.and_then(|at| u16::try_from(at).ok())
        .ok_or_else(|| format!("`{text}` is no day: give Mon, Tue, Wed, Thu, Fri, Sat or Sun"))
}

#[cfg(test)]
mod tests {
    use super::{Bandwidth, WeekMinute};

    fn at(text: &str, day: u16, hour: u16, minute: u16) -> Option<u64> {
        let bandwidth: Bandwidth = text.parse().unwrap();
        bandwidth.at(WeekMinute::new(day, hour, minute))
    }

    #[test]
    fn rates_are_written_as_for_rsync() {
        for (text, expected) in [
            ("0", None),
            ("off", None),
            ("OFF", None),
            ("100", Some(100 * 1024)),
            ("1.5", Some(1_536)),
            ("1.5m", Some(1_572_864)),
            ("10M", Some(10 << 20)),
            ("10MiB", Some(10 << 20)),
            ("10MB", Some(10_000_000)),
            ("2KB", Some(2_000)),
            ("1K", Some(1_024)),
            ("2g", Some(2 << 30)),
            ("2048B", Some(2_048)),
            ("1K+1", Some(1_025)),
        ] {
            assert_eq!(at(text, 3, 12, 0), expected, "{text}");
        }
        for text in ["", " ", "-1", "M", "10X", "1M/s", "100B", "0.5", "ten", "1M 2M", "10M,"] {
            let error = text.parse::<Bandwidth>().unwrap_err();
            assert!(error.contains("give") || error.contains("least"), "{text}: {error}");
        }
    }

    #[test]
    fn a_timetable_holds_from_each_time_to_the_next() {
        let daily = "08:00,10M 18:00,off";
        for (hour, minute, expected) in [
            (0, 0, None),
            (7, 59, None),
            (8, 0, Some(10 << 20)),
            (17, 59, Some(10 << 20)),
            (18, 0, None),
            (23, 59, None),
        ] {
            for day in 0..7 {
                assert_eq!(at(daily, day, hour, minute), expected, "{day} {hour}:{minute}");
            }
        }
    }

    #[test]
    fn days_and_ranges_of_days() {
        let week = "Mon-Fri-08:00,1M Mon-Fri-18:00,off";
        assert_eq!(at(week, 0, 7, 59), None, "what held at the end of the week");
        assert_eq!(at(week, 4, 12, 0), Some(1 << 20));
        assert_eq!(at(week, 5, 12, 0), None);
        // Over the end of the week; a whole name; semicolons.
        let over = "Sat-Mon-00:00,1M;tuesday-0:00,2M";
        for (day, expected) in [(5, 1), (6, 1), (0, 1), (1, 2), (4, 2)] {
            assert_eq!(at(over, day, 12, 0), Some(expected << 20), "{day}");
        }
        // The later entry of two for one minute counts.
        let but = "08:00,1M Sun-08:00,off";
        assert_eq!((at(but, 5, 9, 0), at(but, 6, 9, 0)), (Some(1 << 20), None));
        // The last one holds until the first.
        assert_eq!(at("Wed-12:00,1M Thu-12:00,2M", 0, 0, 0), Some(2 << 20));
        assert_eq!(at("Wed-12:00,1M", 0, 0, 0), Some(1 << 20));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("25:00,1M", "25:00"),
            ("08:60,1M", "08:60"),
            ("08:5,1M", "08:5"),
            ("8,1M", "time of day"),
            ("08:00,fast", "fast"),
            ("Moon-08:00,1M", "Moon"),
            ("Mon-Fry-08:00,1M", "Fry"),
            ("08:00,1M 18:00", "18:00"),
            ("08:00,", "no rate"),
            ("08:00,1M:2M", "1M:2M"),
            ("+8:00,1M", "+8:00"),
        ] {
            let error = text.parse::<Bandwidth>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let endless = "08:00,1M ".repeat(1_000);
        assert!(endless.parse::<Bandwidth>().unwrap_err().contains("too many"));
    }

    #[test]
    fn it_is_shown_as_it_was_written() {
        for (text, shown) in
            [("10M", "10M"), ("0", "off"), (" 08:00,1M;  18:00,off ", "08:00,1M 18:00,off")]
        {
            let bandwidth: Bandwidth = text.parse().unwrap();
            assert_eq!(bandwidth.to_string(), shown);
            assert_eq!(
                bandwidth.to_string().parse::<Bandwidth>().unwrap().at(WeekMinute(0)),
                bandwidth.at(WeekMinute(0))
            );
        }
        assert!(Bandwidth::default().is_unlimited());
        assert_eq!(Bandwidth::default().at(WeekMinute(9)), None);
    }
}
