//! The termination phase at the sink: leaves nothing of osync's own behind, and makes it durable.
//!
//! The source's half (drain, sweep, report) is the director's: `flow::session`.

use crate::model::session::{FinalReport, Outcome, ProblemLine};
use crate::model::target::Obstacle;
use crate::phases::transfer::durability::Durability;
use crate::tree::sink_root::SinkRoot;

/// Removes the staging directories and makes the tree durable; what fails is a problem of the
/// report. Nothing may be under way.
pub fn settle(root: &SinkRoot, durability: &Durability, mut report: FinalReport) -> FinalReport {
    durability.retire();
    let left = root.finish().err().map(|obstacle| {
        let why = match obstacle {
            Obstacle::Other(text) => text,
            other => format!("{other:?}"),
        };
        format!("The staging directory \"{}\" could not be removed: {why}", root.staging_name())
    });
    let doubtful = root.sync().err().map(|text| {
        format!("{text}: what was written last may not survive a power cut, look at the disk")
    });
    for text in left.into_iter().chain(doubtful) {
        report.problems.push(ProblemLine { path: Vec::new(), text });
        report.figures.problems += 1;
        if report.outcome == Outcome::Equal {
            report.outcome = Outcome::Problems;
        }
    }
    report
}
