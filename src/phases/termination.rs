//! The termination phase at the sink: leaves nothing of osync's own behind, and makes it durable.
//!
//! The source's half (drain, sweep, report) is the director's: `flow::session`.

use crate::model::session::{FinalReport, Outcome, ProblemLine};
use crate::model::target::Obstacle;
use crate::monitor::Monitor;
use crate::phases::transfer::durability::Durability;
use crate::tree::sink_root::SinkRoot;

/// Removes the staging directories and makes the tree durable; what fails is a problem of the
/// report. What was removed or replaced goes for good if the trees are equal. Nothing may be under
/// way.
pub fn settle(
    root: &SinkRoot,
    durability: &Durability,
    mut report: FinalReport,
    monitor: &dyn Monitor,
) -> FinalReport {
    durability.retire();
    let confirmed = report.outcome == Outcome::Equal && root.has_trash();
    // What is to stand in its place has to be on the disk first.
    let kept = if confirmed && root.sync().is_ok() { throw_away(root, monitor) } else { None };
    tell_kept(root, monitor);
    let left = root.finish().err().map(|obstacle| {
        let (name, why) = (root.staging_name(), words(obstacle));
        format!("The staging directory \"{name}\" could not be removed: {why}")
    });
    let doubtful = root.sync().err().map(|text| {
        format!("{text}: what was written last may not survive a power cut, look at the disk")
    });
    for text in kept.into_iter().chain(left).chain(doubtful) {
        report.problems.push(ProblemLine { path: Vec::new(), text });
        report.figures.problems += 1;
        if report.outcome == Outcome::Equal {
            report.outcome = Outcome::Problems;
        }
    }
    report
}

/// Removes what was kept, and tells how much it was; a sentence if it can't be removed.
fn throw_away(root: &SinkRoot, monitor: &dyn Monitor) -> Option<String> {
    match root.throw_away() {
        Ok(thrown) => {
            let (names, bytes) = (thrown.names, thrown.bytes);
            monitor.note(&format!(
                "What was removed or replaced here is let go: {names} names, {bytes} bytes"
            ));
            None
        }
        Err(obstacle) => {
            Some(format!("What was removed or replaced here is still kept: {}", words(obstacle)))
        }
    }
}

/// Tells where what was removed or replaced is kept, if anything is.
pub fn tell_kept(root: &SinkRoot, monitor: &dyn Monitor) {
    if root.has_trash() {
        monitor.note(&format!(
            "What was removed or replaced is kept in \"{}/trash\" in the sink's directory until \
             a session ends equal",
            root.staging_name()
        ));
    }
}

fn words(obstacle: Obstacle) -> String {
    match obstacle {
        Obstacle::Other(text) => text,
        other => format!("{other:?}"),
    }
}
