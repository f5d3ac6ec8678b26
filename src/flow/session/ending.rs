//! The termination phase at the source: drain, sweep, report.
//!
//! | stage | until | next |
//! |---|---|---|
//! | draining | the backlog is empty and (once) what was marked by then is settled | sweeping |
//! | sweeping | every directory was listed again and what that brought is settled | see below |
//! | probing | files that were open for writing were probed once more | the end |
//!
//! A sweep that found nothing is the last; one that found something is followed by another, up
//! to a bound. For `Ending::Cutover` nothing may be marked at the end; for `Ending::Once` names
//! that changed after the backlog emptied are listed as hot, and for both what is still open for
//! writing.

use std::time::Duration;

use crate::flow::marks::{Mark, State};
use crate::flow::session::writers::Writers;
use crate::flow::session::{Session, Shared};
use crate::model::limits::SWEEPS_MAX;
use crate::model::path::RelPath;
use crate::model::session::{Ending, FinalReport, Outcome, REPORT_LINES_MAX};
use crate::model::stamp::Sequence;

/// How long a cutover waits for the source to be quiet once the backlog is empty.
const QUIET_TIMEOUT: Duration = Duration::from_secs(60);
/// How long names that go on changing keep `Ending::Once` waiting.
const HOT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long each walk to the end waits for more than that these names alone are left: for
/// attributes of their directories, and for what is on its way though no event told of it.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a termination phase waits under a halt in which nothing moves.
const HALTED_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a cutover waits for the sink to have room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(60);
/// How often names that wait only for their cooling time are hurried.
const HURRY: Duration = Duration::from_millis(100);

/// A termination phase under way.
#[derive(Debug)]
pub(super) struct Termination {
    pub(super) ending: Ending,
    stage: Stage,
    began: Duration,
    /// When the backlog was first empty: the time that counts for `Ending::Once`.
    emptied: Option<Duration>,
    /// When the walk of the present stage was first seen to be over.
    walked: Option<Duration>,
    hurried: Duration,
    sweeps: u32,
    differences: u64,
    /// What was last sent in each lane, and since when nothing more was.
    sent: ([Sequence; 2], Duration),
    writers: Writers,
}

/// A walk, or a sweep, that has seen every directory.
#[derive(Clone, Copy)]
struct Sweep {
    ending: Ending,
    began: Duration,
    emptied: Duration,
    /// How long ago it saw the last one.
    since: Duration,
}

impl Sweep {
    /// Whether the source has not been quiet for too long.
    fn is_late(&self) -> bool {
        self.since > QUIET_TIMEOUT
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Draining,
    Sweeping,
    Probing,
}

impl Session {
    /// Enters the termination phase. Asking again changes nothing, but for how it is to end.
    pub fn terminate(&mut self, ending: Ending, shared: &mut Shared) {
        if let Some(termination) = &mut self.termination {
            termination.ending = ending;
            return;
        }
        self.outcome = None;
        self.termination = Some(Termination {
            ending,
            stage: Stage::Draining,
            began: shared.now,
            emptied: None,
            walked: None,
            hurried: Duration::ZERO,
            sweeps: 0,
            differences: 0,
            sent: (self.sent, shared.now),
            writers: Writers::default(),
        });
    }

    /// Goes back to the transfer phase, after a termination phase that could not finish.
    pub fn resume(&mut self) {
        self.termination = None;
        self.outcome = None;
    }

    /// Whether every directory is listed once more, for the end.
    pub(super) fn is_sweeping(&self) -> bool {
        self.termination.as_ref().is_some_and(|termination| termination.stage != Stage::Draining)
    }

    pub(super) fn writers(&mut self) -> Option<&mut Writers> {
        self.termination.as_mut().map(|termination| &mut termination.writers)
    }

    pub(super) fn count_differences(&mut self, found: u64) {
        if let Some(termination) = &mut self.termination {
            termination.differences += found;
        }
    }

    /// Whether nothing is under way but what failed and was tried again since `since`.
    fn settled(&self, since: Duration) -> bool {
        !self.room.is_short()
            && self.walked()
            && self.renames.is_empty()
            && self.removals.is_empty()
            && self.metas.is_empty()
            && self.parked.is_empty()
            && self.queries.is_empty()
            && self.entering == 0
            && !self.asks_for_extras()
            && self.pending.is_empty()
            && self.gathered.is_empty()
            && self.flights.iter().all(std::collections::BTreeMap::is_empty)
            && self.ready.iter().all(std::collections::VecDeque::is_empty)
            && self.marks.iter().all(|(_, _, mark)| is_given_up(mark, since))
    }

    /// Whether all is settled that the end waits for.
    fn is_done(&self, sweep: &Sweep) -> bool {
        let Sweep { ending, began, emptied, since } = *sweep;
        if self.settled(began) {
            return true;
        }
        if ending == Ending::Cutover || since < HOT_TIMEOUT {
            return false;
        }
        // What no event told of may have changed before.
        let is_patient = since < PATIENCE;
        let is_hot = |mark: &Mark| mark.since > emptied && (mark.is_heard || !is_patient);
        self.settled_but(began, is_hot)
            && !self.is_bringing(is_patient)
            && (!is_patient || self.marks.iter().any(|(_, _, mark)| is_hot(mark)))
    }

    /// Whether all marks are settled but for hot ones.
    fn settled_but(&self, since: Duration, is_hot: impl Fn(&Mark) -> bool) -> bool {
        !self.room.is_short()
            && self.walked()
            && self.removals.is_empty()
            && self.marks.iter().all(|(_, _, mark)| is_hot(mark) || is_given_up(mark, since))
    }

    pub(super) fn pump_ending(&mut self, shared: &mut Shared) {
        let quiet_watch = shared.halves.is_empty() && shared.is_armed();
        let walked = self.walked() && quiet_watch;
        let Some(termination) = &mut self.termination else { return };
        if termination.sent.0 != self.sent {
            termination.sent = (self.sent, shared.now);
        }
        let began = termination.began;
        let short_since = self.room.short_since().filter(|_| termination.ending == Ending::Cutover);
        if short_since.is_some_and(|since| shared.now > since.max(began) + ROOM_TIMEOUT) {
            return self.finish(Outcome::Unfinished, shared);
        }
        if !walked {
            // A root that is gone is never walked to its end.
            if shared.halts.is_any() && shared.now > termination.sent.1 + HALTED_TIMEOUT {
                self.finish(Outcome::Unfinished, shared);
            }
            return;
        }
        let emptied = *termination.emptied.get_or_insert(shared.now);
        let walked = *termination.walked.get_or_insert(shared.now);
        if shared.now >= termination.hurried + HURRY {
            termination.hurried = shared.now;
            // What failed was tried for the end already: with many of these some would always be
            // under way.
            self.marks.hurry_but(shared.now, |mark| is_given_up(mark, began));
        }
        let Some(termination) = &self.termination else { return };
        let (ending, began) = (termination.ending, termination.began);
        let sweep = Sweep { ending, began, emptied, since: shared.now - walked };
        match termination.stage {
            Stage::Draining => {
                let drained = self.is_done(&sweep);
                if drained && self.terms.dry {
                    self.conclude(self.settled(began), shared);
                } else if drained {
                    self.next_sweep();
                } else if sweep.is_late() && ending == Ending::Cutover {
                    self.finish(Outcome::Unfinished, shared);
                }
            }
            Stage::Sweeping => self.swept(&sweep, shared),
            Stage::Probing => self.probed(ending, began, shared),
        }
    }

    fn next_sweep(&mut self) {
        if let Some(termination) = &mut self.termination {
            termination.stage = Stage::Sweeping;
            termination.walked = None;
            termination.sweeps += 1;
            termination.differences = 0;
            termination.writers = Writers::default();
        }
        self.foreign.reset();
        self.raise_doubt();
    }

    fn swept(&mut self, sweep: &Sweep, shared: &mut Shared) {
        let Sweep { ending, began, .. } = *sweep;
        let Some(termination) = &self.termination else { return };
        let (found, sweeps) = (termination.differences > 0, termination.sweeps);
        if !self.is_done(sweep) {
            if sweep.is_late() {
                self.finish(Outcome::Unfinished, shared);
            }
            return;
        }
        let settled = self.settled(began);
        self.tally.sweeps += 1;
        let again = match ending {
            Ending::Cutover => found,
            Ending::Once => found && settled,
        };
        if again && sweeps < SWEEPS_MAX {
            self.next_sweep();
        } else if again || (shared.halts.is_any() && !self.marks.is_empty()) {
            self.finish(Outcome::Unfinished, shared);
        } else if self.writers().is_some_and(|writers| writers.is_any_met()) {
            self.set_stage(Stage::Probing);
        } else {
            self.conclude(settled, shared);
        }
    }

    fn probed(&mut self, ending: Ending, began: Duration, shared: &mut Shared) {
        if !self.probe_writers(shared) {
            return;
        }
        let settled = self.settled(began);
        if settled || ending == Ending::Once {
            self.conclude(settled, shared);
        } else {
            // Something has changed meanwhile.
            self.set_stage(Stage::Sweeping);
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(termination) = &mut self.termination {
            termination.stage = stage;
        }
    }

    fn conclude(&mut self, settled: bool, shared: &mut Shared) {
        let is_written = self.writers().is_some_and(|writers| !writers.found().is_empty());
        let is_equal = settled && !is_written && self.problems.count() == 0;
        self.finish(if is_equal { Outcome::Equal } else { Outcome::Problems }, shared);
    }

    /// What is under way, by stage, for people who wonder why it does not end.
    fn left_to_do(&self) -> String {
        let flights: usize = self.flights.iter().map(std::collections::BTreeMap::len).sum();
        let busy = self.marks.iter().filter(|(_, _, mark)| mark.state == State::Busy).count();
        let stages = [
            ("marked names", self.marks.len() - busy),
            ("names under way", busy),
            ("directories to list", self.walk.len() + self.fresh.len()),
            ("listings", self.listings.len()),
            ("wanted batches", self.wants.len()),
            ("large files", self.large.len() + self.transfers.len()),
            ("renames", self.renames.len()),
            ("removals", self.removals.len()),
            ("directory attributes", self.metas.len()),
            ("beliefs", self.parked.len()),
            ("questions", self.queries.len()),
            ("looks", self.pending.len()),
            ("messages", flights),
        ];
        let left: Vec<String> = stages
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(stage, count)| format!("{stage} {count}"))
            .collect();
        left.join(", ")
    }

    /// Why it has not ended, if no halt and no want of room tells.
    fn unfinished(&self) -> String {
        let left = self.left_to_do();
        if left.is_empty() {
            return "Not finished: each comparison finds differences again, though all was sent: \
                    something else changes the sink, or its filesystem does not keep what it is \
                    given"
                .to_owned();
        }
        format!(
            "Not finished: the source went on changing. Stop the writers and try again (still to \
             do: {left})"
        )
    }

    fn finish(&mut self, outcome: Outcome, shared: &mut Shared) {
        let hot: Vec<RelPath> = self
            .marks
            .iter()
            .filter(|(_, _, mark)| mark.failures == 0)
            .take(REPORT_LINES_MAX)
            .filter_map(|(dir, name, _)| Some(shared.map.path(dir)?.join(name)))
            .collect();
        let written = self.writers().map(|writers| writers.found().to_vec()).unwrap_or_default();
        let text = match outcome {
            Outcome::Equal if self.terms.dry => "Dry run: nothing was changed".to_owned(),
            Outcome::Equal if self.foreign.count() > 0 => {
                "Both trees are equal, but for foreign names at the sink".to_owned()
            }
            Outcome::Equal => "Both trees are equal".to_owned(),
            Outcome::Problems if self.terms.dry => {
                "Dry run, with problems: nothing was changed".to_owned()
            }
            Outcome::Problems
                if self.problems.count() == 0 && hot.is_empty() && written.is_empty() =>
            {
                format!(
                    "Finished, but not all that changed last has arrived: run it again (still to \
                     do: {})",
                    self.left_to_do()
                )
            }
            Outcome::Problems if self.problems.count() == 0 && hot.is_empty() => {
                "Finished; some files are still open for writing: the report lists them".to_owned()
            }
            Outcome::Problems if hot.is_empty() => {
                "Finished, with problems: the report lists them".to_owned()
            }
            Outcome::Problems => {
                "Finished; some names went on changing: the report lists them".to_owned()
            }
            Outcome::Unfinished => {
                match shared.halts.words().or_else(|| self.room.words().map(str::to_owned)) {
                    Some(why) => format!("Not finished: {why}"),
                    None => self.unfinished(),
                }
            }
        };
        let bytes = |path: &RelPath| path.as_bytes().to_vec();
        let written = written.iter().filter(|path| !hot.contains(path));
        let mut figures = self.figures(shared);
        if outcome == Outcome::Equal {
            // The last sweep has seen every file once; what came before is progress, not a count.
            let (files, bytes) = (self.census.files, self.census.bytes);
            (figures.files_known, figures.bytes_known) = (files, bytes);
            (figures.files_done, figures.bytes_done) = (files, bytes);
            (figures.backlog_files, figures.backlog_bytes) = (0, 0);
        }
        self.outcome = Some(FinalReport {
            outcome,
            text,
            figures,
            problems: self.problems.lines(),
            foreign: self.foreign.names(),
            hot: hot.iter().chain(written).take(REPORT_LINES_MAX).map(bytes).collect(),
            lost_attributes: self.lost(),
        });
        self.termination = None;
    }
}

/// A mark that failed and was tried again since: it is a problem, and keeps nobody waiting.
fn is_given_up(mark: &Mark, since: Duration) -> bool {
    mark.state == State::Waiting
        && mark.failures > 0
        && (mark.began >= since || mark.failures > 1)
        && mark.again.is_none()
}
