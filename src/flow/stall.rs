//! Notices that a session stands still though work is outstanding, and names the stage that it
//! waits for (H17).
//!
//! A session moves as long as anything is looked at, sent, seen by the sink, or answered. What is
//! outstanding when nothing of that happens tells who is to blame, the furthest stage first: what
//! waits behind it waits for it.

use std::fmt;
use std::time::Duration;

use crate::model::limits::STALL_MS;
use crate::model::stamp::{Lane, Sequence};

/// How far a session has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Last message sent, by lane index.
    pub sent: [Sequence; 2],
    /// Last message that the sink has seen, by lane index.
    pub seen: [Sequence; 2],
    /// Reports read.
    pub reports: u64,
    /// Looks that came back.
    pub looks: u64,
}

/// What is outstanding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Messages sent and not answered, by lane index.
    pub messages: [usize; 2],
    /// Questions to the journal of names offered.
    pub questions: usize,
    /// Looks under way.
    pub looks: usize,
    /// Messages that wait for credit.
    pub held: usize,
}

/// What a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Messages of this lane are on their way, or the sink's process stands still.
    Network(Lane, u64),
    /// The sink has so many messages and answers none.
    SinkDisk(usize),
    /// The journal of names offered does not answer.
    Journal(usize),
    /// So many looks do not come back.
    SourceDisk(usize),
    /// So many messages wait for credit, and nothing is under way that could bring it.
    Credit(usize),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Network(lane, count) => write!(
                f,
                "the network, or the sink's process: {count} messages of the {lane:?} lane were \
                 sent and have not arrived"
            ),
            Stage::SinkDisk(count) => {
                write!(f, "the sink's disk: {count} messages have arrived and are not answered")
            }
            Stage::Journal(count) => write!(
                f,
                "the source's state directory: {count} questions about names that were offered \
                 are not answered"
            ),
            Stage::SourceDisk(count) => {
                write!(f, "the source's disk: {count} looks do not come back")
            }
            Stage::Credit(count) => {
                write!(f, "credit: {count} messages wait for it, and nothing will bring it")
            }
        }
    }
}

/// Watches one session.
#[derive(Debug, Default)]
pub struct StallWatch {
    last: Progress,
    since: Duration,
    stage: Option<Stage>,
}

impl StallWatch {
    /// Takes note of how a session stands; returns the stage when it comes to be known.
    pub fn watch(
        &mut self,
        progress: &Progress,
        outstanding: &Outstanding,
        now: Duration,
    ) -> Option<Stage> {
        let blamed = blame(progress, outstanding);
        if *progress != self.last || blamed.is_none() {
            self.last = progress.clone();
            self.since = now;
            self.stage = None;
            return None;
        }
        if now.saturating_sub(self.since) < Duration::from_millis(STALL_MS) {
            return None;
        }
        let is_new = self.stage.is_none();
        self.stage = blamed;
        blamed.filter(|_| is_new)
    }

    /// In words, what a session that stands still waits for, and for how long.
    #[must_use]
    pub fn words(&self, now: Duration) -> Option<String> {
        let stage = self.stage?;
        let seconds = now.saturating_sub(self.since).as_secs();
        Some(format!("Nothing has moved for {seconds} s; waiting for {stage}"))
    }
}

/// Who keeps what is outstanding waiting; nobody if nothing is.
fn blame(progress: &Progress, outstanding: &Outstanding) -> Option<Stage> {
    for lane in Lane::ALL {
        let at = lane.index();
        let unseen = progress.sent[at].saturating_sub(progress.seen[at]);
        if unseen > 0 && outstanding.messages[at] > 0 {
            return Some(Stage::Network(lane, unseen));
        }
    }
    let messages = outstanding.messages.iter().sum();
    match *outstanding {
        _ if messages > 0 => Some(Stage::SinkDisk(messages)),
        Outstanding { questions, .. } if questions > 0 => Some(Stage::Journal(questions)),
        Outstanding { looks, .. } if looks > 0 => Some(Stage::SourceDisk(looks)),
        Outstanding { held, .. } if held > 0 => Some(Stage::Credit(held)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outstanding, Progress, Stage, StallWatch};
    use crate::model::limits::STALL_MS;
    use crate::model::stamp::Lane;

    const LATE: Duration = Duration::from_millis(STALL_MS);

    fn stage(progress: &Progress, outstanding: Outstanding) -> Option<Stage> {
        let mut watch = StallWatch::default();
        assert_eq!(watch.watch(progress, &outstanding, Duration::ZERO), None);
        watch.watch(progress, &outstanding, LATE)
    }

    #[test]
    fn the_furthest_stage_is_named() {
        let all = Outstanding { messages: [2, 3], questions: 4, looks: 5, held: 6 };
        let sent = Progress { sent: [9, 9], seen: [9, 7], ..Progress::default() };
        let seen = Progress { seen: [9, 9], ..sent.clone() };
        assert_eq!(stage(&sent, all), Some(Stage::Network(Lane::Backlog, 2)));
        assert_eq!(stage(&seen, all), Some(Stage::SinkDisk(5)));
        let none = Outstanding { messages: [0, 0], ..all };
        assert_eq!(stage(&sent, none), Some(Stage::Journal(4)), "what was seen lags behind");
        let none = Outstanding { questions: 0, ..none };
        assert_eq!(stage(&seen, none), Some(Stage::SourceDisk(5)));
        let none = Outstanding { looks: 0, ..none };
        assert_eq!(stage(&seen, none), Some(Stage::Credit(6)));
        assert_eq!(stage(&seen, Outstanding::default()), None, "there is nothing to do");
    }

    #[test]
    fn a_stall_is_told_once_and_ends_with_the_next_step() {
        let mut watch = StallWatch::default();
        let looks = Outstanding { looks: 1, ..Outstanding::default() };
        let mut progress = Progress { looks: 7, ..Progress::default() };
        assert_eq!(watch.watch(&progress, &looks, Duration::ZERO), None);
        assert!(watch.watch(&progress, &looks, LATE).is_some());
        assert_eq!(watch.watch(&progress, &looks, LATE * 2), None, "told already");
        assert!(watch.words(LATE * 2).is_some_and(|words| words.contains("20 s")));
        progress.looks = 8;
        assert_eq!(watch.watch(&progress, &looks, LATE * 2), None);
        assert_eq!(watch.words(LATE * 2), None);
    }
}
