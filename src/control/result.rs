//! The object that tells how a session ended, to whoever waits for it.

use serde::{Deserialize, Serialize};

use crate::control::name::JsonName;
use crate::control::status::FigureFields;
use crate::ended::{EndKind, Ended};
use crate::error::Error;
use crate::model::limits::CONTROL_RESULT_NAMES_MAX;
use crate::model::session::{Figures, FinalReport};

/// How a session ended. Lists of names are cut; the report file has more of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultObject {
    /// In one word.
    pub outcome: EndKind,
    /// In words, for people.
    pub text: String,
    /// The key of the sink whose session it was, at a source.
    pub sink: Option<String>,
    /// The last figures.
    pub figures: FigureFields,
    /// What went wrong, by path.
    pub problem_list: Vec<ProblemObject>,
    /// Names that went on changing.
    pub hot: Vec<JsonName>,
    /// Names that only the sink has.
    pub foreign_list: Vec<JsonName>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemObject {
    /// Where, below the root.
    pub path: JsonName,
    /// What, and what to do.
    pub text: String,
}

impl ResultObject {
    /// What to announce for any end of an operator or of one session.
    #[must_use]
    pub fn of(end: &Result<Ended, Error>) -> ResultObject {
        match end {
            Ok(Ended::Finished(report)) => Self::finished(EndKind::of(end), report),
            Ok(Ended::Interrupted) => {
                Self::bare(EndKind::Interrupted, "Stopped by a person; the pair can go on")
            }
            Ok(Ended::TimedOut(text)) => Self::bare(EndKind::Unfinished, text),
            Err(error) => Self::bare(EndKind::of(end), &error.to_string()),
        }
    }

    /// The same, of this sink.
    #[must_use]
    pub fn of_sink(self, key: impl Into<String>) -> ResultObject {
        ResultObject { sink: Some(key.into()), ..self }
    }

    fn bare(outcome: EndKind, text: &str) -> ResultObject {
        ResultObject {
            outcome,
            text: text.to_owned(),
            sink: None,
            figures: FigureFields::from(&Figures::default()),
            problem_list: Vec::new(),
            hot: Vec::new(),
            foreign_list: Vec::new(),
        }
    }

    fn finished(outcome: EndKind, report: &FinalReport) -> ResultObject {
        let names = |list: &[Vec<u8>]| {
            list.iter().take(CONTROL_RESULT_NAMES_MAX).cloned().map(JsonName).collect()
        };
        let problems = report.problems.iter().take(CONTROL_RESULT_NAMES_MAX);
        ResultObject {
            outcome,
            text: report.text.clone(),
            sink: None,
            figures: FigureFields::from(&report.figures),
            problem_list: problems
                .map(|problem| ProblemObject {
                    path: JsonName(problem.path.clone()),
                    text: problem.text.clone(),
                })
                .collect(),
            hot: names(&report.hot),
            foreign_list: names(&report.foreign),
        }
    }
}
