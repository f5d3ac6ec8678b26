//! How far along a session is, as people see it. Pure: the time is an argument.
//!
//! - The share shown never falls, whatever the figures do.
//! - What is known and what is estimated are told apart.
//! - The time left is a range, from how fast things went lately and over a longer while; none is
//!   given when nothing moves.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use osync::model::limits::PROGRESS_SAMPLES_MAX;
use osync::model::session::Figures;

/// What counts as lately.
const LATELY: Duration = Duration::from_secs(30);

/// Follows the figures of an operator.
#[derive(Debug, Default)]
pub struct Progress {
    samples: VecDeque<Sample>,
    share: f64,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    files: u64,
    bytes: u64,
    sent: u64,
}

/// What to show now.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Done of what is known or thought to be there, 0 to 1; never falls.
    pub share: f64,
    /// Files in all, as far as can be told.
    pub files_total: Total,
    /// How fast things go lately.
    pub rates: Rates,
    /// Time left for the backlog, shortest and longest.
    pub left: Option<(Duration, Duration)>,
}

/// A number that is known, or estimated with what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// The walk has seen all.
    Known(u64),
    /// The walk goes on.
    Estimated {
        /// Seen so far.
        known: u64,
        /// In all, perhaps; not below what is known.
        about: u64,
    },
}

/// In one second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Files settled.
    pub files: f64,
    /// Bytes of content settled.
    pub bytes: f64,
    /// Bytes sent.
    pub sent: f64,
}

impl Total {
    fn most(self) -> u64 {
        match self {
            Total::Known(known) => known,
            Total::Estimated { about, .. } => about,
        }
    }
}

impl Progress {
    /// Takes in the figures of this moment, `at` since the start, and tells what to show.
    pub fn observe(&mut self, at: Duration, figures: &Figures) -> View {
        self.sample(at, figures);
        let files_total = total(
            figures.files_known.max(figures.files_done.saturating_add(figures.backlog_files)),
            figures,
        );
        let bytes_total = total(
            figures.bytes_known.max(figures.bytes_done.saturating_add(figures.backlog_bytes)),
            figures,
        );
        let share = share(figures.files_done, files_total.most())
            .min(share(figures.bytes_done, bytes_total.most()));
        let settled = figures.backlog_known && figures.backlog_files == 0;
        let share = match (settled, figures.files_known) {
            (true, 0) => 1.0,
            (true, _) => share,
            (false, 0) => 0.0,
            (false, _) => share.min(0.999),
        };
        self.share = self.share.max(share);
        let files_left = files_total.most().saturating_sub(figures.files_done);
        let bytes_left = bytes_total.most().saturating_sub(figures.bytes_done);
        let (lately, longer) = (self.rates(LATELY), self.rates(Duration::MAX));
        let left =
            match (time(files_left, bytes_left, lately), time(files_left, bytes_left, longer)) {
                (Some(a), Some(b)) if !settled && files_left.max(bytes_left) > 0 => {
                    Some((a.min(b), a.max(b)))
                }
                _ => None,
            };
        View { share: self.share, files_total, rates: lately, left }
    }

    fn sample(&mut self, at: Duration, figures: &Figures) {
        let sample = Sample {
            at,
            files: figures.files_done,
            bytes: figures.bytes_done,
            sent: figures.bytes_on_wire,
        };
        // Figures that fell are those of a new session: old ones say nothing about it.
        if self.samples.back().is_some_and(|last| sample.files < last.files) {
            self.samples.clear();
        }
        if self.samples.len() == PROGRESS_SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    fn rates(&self, window: Duration) -> Rates {
        let Some(last) = self.samples.back() else { return Rates::default() };
        let from = last.at.saturating_sub(window);
        let Some(first) = self.samples.iter().find(|sample| sample.at >= from) else {
            return Rates::default();
        };
        let seconds = (last.at.saturating_sub(first.at)).as_secs_f64();
        if seconds < 0.5 {
            return Rates::default();
        }
        let rate = |now: u64, then: u64| real(now.saturating_sub(then)) / seconds;
        Rates {
            files: rate(last.files, first.files),
            bytes: rate(last.bytes, first.bytes),
            sent: rate(last.sent, first.sent),
        }
    }
}

/// The time that the slower of files and bytes will take; `None` if something is left that does
/// not move.
pub fn time(files: u64, bytes: u64, rates: Rates) -> Option<Duration> {
    let one = |left: u64, rate: f64| match left {
        0 => Some(0.0),
        _ if rate > 0.0 => Some(real(left) / rate),
        _ => None,
    };
    let seconds = one(files, rates.files)?.max(one(bytes, rates.bytes)?);
    Duration::try_from_secs_f64(seconds).ok()
}

/// What is known, and if the walk goes on, what that says about the directories not yet read.
fn total(known: u64, figures: &Figures) -> Total {
    if figures.backlog_known {
        return Total::Known(known);
    }
    let read = figures.directories.saturating_sub(figures.directories_left).max(1);
    let all = figures.directories.max(read);
    let about = u128::from(known) * u128::from(all) / u128::from(read);
    Total::Estimated { known, about: u64::try_from(about).unwrap_or(u64::MAX) }
}

fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 1.0 } else { (real(done) / real(total)).min(1.0) }
}

#[allow(clippy::cast_precision_loss)] // For people; sixteen digits are enough for them.
fn real(number: u64) -> f64 {
    number as f64
}

/// A rate of bytes, for people.
pub fn bytes_a_second(rate: f64) -> String {
    format!("{}/s", HumanBytes(rate.max(0.0) as u64))
}

/// A stretch of time, for people: two units at most.
pub fn stretch(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds.div_ceil(60)),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

impl View {
    /// How much is done, known and estimated apart.
    pub fn counts(&self, figures: &Figures) -> String {
        let done = HumanCount(figures.files_done);
        let bytes = HumanBytes(figures.bytes_done);
        match self.files_total {
            Total::Known(known) => format!("{done} of {} files ({bytes})", HumanCount(known)),
            Total::Estimated { known, about } => format!(
                "{done} of {} known files ({bytes}), about {} in all",
                HumanCount(known),
                HumanCount(about)
            ),
        }
    }

    /// The time left for the backlog, if it can be told.
    pub fn time_left(&self) -> Option<String> {
        let (shortest, longest) = self.left.map(|(a, b)| (stretch(a), stretch(b)))?;
        Some(if shortest == longest {
            format!("about {longest} left")
        } else {
            format!("about {shortest} to {longest} left")
        })
    }

    /// How fast, and how far behind.
    pub fn pace(&self, figures: &Figures) -> String {
        let mut text = format!(
            "backlog {} ({}), lag {:.1} s, {:.0} files/s, {}",
            HumanCount(figures.backlog_files),
            HumanBytes(figures.backlog_bytes),
            real(figures.lag_ms) / 1_000.0,
            self.rates.files,
            bytes_a_second(self.rates.sent),
        );
        if let Some(rate) = figures.bwlimit {
            text += &format!(" of {} allowed", bytes_a_second(real(rate)));
        }
        if figures.problems > 0 {
            text += &format!(", problems {}", HumanCount(figures.problems));
        }
        if figures.overflows > 0 {
            text += &format!(", overflows {}", HumanCount(figures.overflows));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use osync::model::session::Figures;

    use super::{Progress, Total, stretch};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_share_never_falls_and_is_full_only_when_all_is_settled() {
        let mut progress = Progress::default();
        let mut shown = 0.0;
        let walk = |known, done, backlog_known, backlog_files| Figures {
            files_known: known,
            files_done: done,
            backlog_files,
            backlog_known,
            directories: 10,
            directories_left: if backlog_known { 0 } else { 5 },
            ..Figures::default()
        };
        for (second, figures) in [
            walk(0, 0, false, 0),
            walk(100, 100, false, 0),
            walk(1_000, 100, false, 900),
            walk(0, 0, false, 0),
            walk(1_000, 999, false, 1),
            walk(1_000, 1_000, true, 0),
            walk(1_001, 1_000, true, 1),
        ]
        .into_iter()
        .enumerate()
        {
            let view = progress.observe(at(second as u64), &figures);
            assert!(view.share >= shown, "{second}");
            assert_eq!(view.share >= 1.0, second >= 5, "{second}");
            shown = view.share;
        }
    }

    #[test]
    fn known_and_estimated_are_told_apart() {
        let mut progress = Progress::default();
        let figures = Figures {
            files_known: 1_000,
            files_done: 250,
            directories: 40,
            directories_left: 30,
            ..Figures::default()
        };
        let view = progress.observe(at(0), &figures);
        assert_eq!(view.files_total, Total::Estimated { known: 1_000, about: 4_000 });
        assert_eq!(view.counts(&figures), "250 of 1,000 known files (0 B), about 4,000 in all");
        let figures = Figures { backlog_known: true, ..figures };
        let view = progress.observe(at(1), &figures);
        assert_eq!(view.files_total, Total::Known(1_000));
    }

    #[test]
    fn figures_of_a_hostile_peer_do_no_harm() {
        let huge = Figures {
            files_known: u64::MAX,
            files_done: u64::MAX,
            bytes_done: u64::MAX,
            backlog_files: u64::MAX,
            backlog_bytes: u64::MAX,
            bytes_on_wire: u64::MAX,
            directories: u64::MAX,
            lag_ms: u64::MAX,
            ..Figures::default()
        };
        let mut progress = Progress::default();
        for second in 0..3 {
            let view = progress.observe(at(second), &huge);
            assert!((0.0..=1.0).contains(&view.share));
            assert!(!view.pace(&huge).is_empty() && !view.counts(&huge).is_empty());
            progress.observe(at(second), &Figures::default());
        }
    }

    #[test]
    fn the_time_left_is_a_range_and_silent_when_nothing_moves() {
        let mut progress = Progress::default();
        let figures = |done| Figures {
            files_known: 1_000,
            files_done: done,
            backlog_files: 1_000 - done,
            backlog_known: true,
            ..Figures::default()
        };
        assert_eq!(progress.observe(at(0), &figures(0)).left, None);
        progress.observe(at(70), &figures(70));
        let view = progress.observe(at(100), &figures(400));
        let (shortest, longest) = view.left.unwrap();
        assert_eq!(stretch(shortest), "54 s");
        assert_eq!(stretch(longest), "3 min");
        let mut still = Progress::default();
        still.observe(at(0), &figures(5));
        assert_eq!(still.observe(at(60), &figures(5)).left, None);
    }
}
