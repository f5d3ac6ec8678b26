//! The report file: JSON, written by rename at every end. Its fields are a fixed contract; what
//! this version cannot know is null.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use osync::control::{JsonName, ProblemObject};
use osync::ended::{EndKind, Ended};
use osync::error::Error;
use osync::model::session::{Figures, ProblemLine};
use serde::Serialize;

use crate::exit::Exit;
use crate::screen::Seen;

/// All that a report says.
#[derive(Debug, Serialize)]
pub struct Report {
    outcome: EndKind,
    exit_code: u8,
    text: String,
    command: &'static str,
    files: u64,
    directories: u64,
    bytes: u64,
    bytes_on_wire: u64,
    problems: Vec<ProblemObject>,
    problem_count: u64,
    lost_attributes: BTreeMap<String, u64>,
    foreign: u64,
    foreign_names: Vec<JsonName>,
    hot: Vec<JsonName>,
    overflows: u64,
    source_root: Option<String>,
    sink_root: Option<String>,
    proved: Option<u64>,
    seconds: f64,
    cutover_seconds: Option<f64>,
}

impl Report {
    /// Gathers what the end and the screen have to say.
    pub fn new(
        command: &'static str,
        end: &Result<Ended, Error>,
        text: &str,
        seen: &Seen,
    ) -> Report {
        let outcome = EndKind::of(end);
        let finished = match end {
            Ok(Ended::Finished(report)) => Some(report),
            _ => None,
        };
        let figures: &Figures = finished.map_or(&seen.figures, |report| &report.figures);
        let problems = finished.map_or(&seen.problems, |report| &report.problems);
        let names = |list: &[Vec<u8>]| list.iter().cloned().map(JsonName).collect();
        let lost = finished.map(|report| report.lost_attributes.iter().cloned().collect());
        Report {
            outcome,
            exit_code: Exit::from(outcome).code(),
            text: text.to_owned(),
            command,
            files: figures.files_done,
            directories: figures.directories,
            bytes: figures.bytes_done,
            bytes_on_wire: figures.bytes_on_wire,
            problems: problems.iter().map(object).collect(),
            problem_count: figures.problems.max(problems.len() as u64),
            lost_attributes: lost.unwrap_or_default(),
            foreign: figures.foreign,
            foreign_names: finished.map(|report| names(&report.foreign)).unwrap_or_default(),
            hot: finished.map(|report| names(&report.hot)).unwrap_or_default(),
            overflows: figures.overflows,
            source_root: None,
            sink_root: None,
            proved: None,
            seconds: seen.lasted.as_secs_f64(),
            cutover_seconds: finished
                .and(seen.terminated_in)
                .map(|terminated_in| terminated_in.as_secs_f64()),
        }
    }

    /// Writes it beside its place, then renames it there: nobody reads half a report.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", std::process::id()));
        let draft = path.with_file_name(name);
        let write = || -> io::Result<()> {
            let mut file = File::create(&draft)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&draft, path)
        };
        write().map_err(|error| {
            // The draft is of no use to anybody; that it may be missing is fine.
            let _ = std::fs::remove_file(&draft);
            Error::disk("Can't write the report", path, error)
        })
    }
}

fn object(problem: &ProblemLine) -> ProblemObject {
    ProblemObject { path: JsonName(problem.path.clone()), text: problem.text.clone() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use osync::ended::Ended;
    use osync::model::session::{Figures, FinalReport, Outcome, ProblemLine};

    use super::Report;
    use crate::plan::Plan;
    use crate::screen::Seen;

    #[test]
    fn a_report_has_the_fields_of_the_contract_and_invents_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let seen = Seen {
            figures: Figures::default(),
            problems: Vec::new(),
            told: 0,
            lasted: Duration::from_secs(3),
            terminated_in: Some(Duration::from_secs(1)),
            plan: Plan::default(),
        };
        let end = Ok(Ended::Finished(FinalReport {
            outcome: Outcome::Problems,
            text: "Nearly".into(),
            figures: Figures { files_done: 7, problems: 1, ..Figures::default() },
            problems: vec![ProblemLine { path: b"a\xff".to_vec(), text: "No".into() }],
            foreign: vec![b"mine".to_vec()],
            hot: Vec::new(),
            lost_attributes: vec![("owner".into(), 2)],
        }));
        Report::new("sink", &end, "Nearly", &seen).write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        for field in [
            "outcome",
            "files",
            "directories",
            "bytes",
            "bytes_on_wire",
            "problems",
            "lost_attributes",
            "foreign",
            "overflows",
            "source_root",
            "sink_root",
            "proved",
            "seconds",
            "cutover_seconds",
        ] {
            assert!(json.get(field).is_some(), "{field}");
        }
        assert_eq!(json["outcome"], "problems");
        assert_eq!(json["exit_code"], 3);
        assert_eq!(json["files"], 7);
        assert_eq!(json["problems"][0]["path"]["base64"], "Yf8=");
        assert_eq!(json["lost_attributes"]["owner"], 2);
        assert!(json["source_root"].is_null() && json["proved"].is_null());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
