//! `status`, `set` and `cutover` against an operator that is played by the test.

use std::sync::{Arc, Mutex};

use osync::control::{
    ControlReply, ControlRequest, ControlServer, ResultObject, SinkStatus, StatusObject,
};
use osync::ended::Ended;
use osync::model::session::{Figures, FinalReport, Outcome, PhaseTag, ProblemLine};
use osync::model::status::Role;

use super::run;

/// Ends every session that it is asked to, with this outcome.
fn play(dir: &std::path::Path, outcome: Outcome) -> Arc<Mutex<Option<ControlServer>>> {
    let place: Arc<Mutex<Option<ControlServer>>> = Arc::default();
    let mine = Arc::clone(&place);
    let handler = move |request: &ControlRequest| match request {
        ControlRequest::Status => {
            let figures = Figures { backlog_known: true, lag_ms: 250, ..Figures::default() };
            let sink = SinkStatus::of("KEY", "192.0.2.9", PhaseTag::Transfer, true, &figures);
            ControlReply::Status(Box::new(StatusObject::of_source(vec![sink])))
        }
        ControlRequest::Cutover { sink: Some(sink) } if sink != "KEY" => {
            ControlReply::refused(format!("No sink with the key {sink} is connected"))
        }
        ControlRequest::Cutover { .. } => {
            let end = Ok(Ended::Finished(report(outcome)));
            if let Some(server) = mine.lock().unwrap().as_ref() {
                server.announce(ResultObject::of(&end).of_sink("KEY"));
            }
            ControlReply::done("")
        }
        other => ControlReply::done(format!("{other:?}")),
    };
    *place.lock().unwrap() = Some(ControlServer::start(dir, Role::Source, handler).unwrap());
    place
}

fn report(outcome: Outcome) -> FinalReport {
    FinalReport {
        outcome,
        text: "The end".into(),
        figures: Figures { files_done: 5, ..Figures::default() },
        problems: vec![ProblemLine { path: b"a\xff".to_vec(), text: "No room".into() }],
        foreign: Vec::new(),
        hot: Vec::new(),
        lost_attributes: Vec::new(),
    }
}

fn end(place: &Mutex<Option<ControlServer>>) {
    let server = place.lock().unwrap().take();
    drop(server);
}

#[test]
fn status_is_one_object_or_some_lines() {
    let dir = tempfile::tempdir().unwrap();
    let place = play(dir.path(), Outcome::Equal);
    let path = dir.path().to_str().unwrap();
    let (code, out, err) = run(&["status", path, "--json"], dir.path());
    assert_eq!((code, err.as_str()), (0, ""));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["state"], "READY");
    assert_eq!(json["sinks"][0]["address"], "192.0.2.9");
    assert_eq!(out.lines().count(), 1);
    let (code, out, _) = run(&["status", path], dir.path());
    assert_eq!(code, 0);
    insta::assert_snapshot!("status", out);
    end(&place);
}

#[test]
fn a_cutover_ends_with_the_code_of_its_outcome() {
    for (outcome, expected) in
        [(Outcome::Equal, 0), (Outcome::Problems, 3), (Outcome::Unfinished, 5)]
    {
        let dir = tempfile::tempdir().unwrap();
        let place = play(dir.path(), outcome);
        let path = dir.path().to_str().unwrap();
        let (code, out, _) = run(&["cutover", path, "--json"], dir.path());
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(code, expected);
        assert_eq!(json["problem_list"][0]["path"]["base64"], "Yf8=");
        let (code, out, _) = run(&["cutover", path], dir.path());
        assert_eq!(code, expected);
        assert!(out.contains("problem at \"a\\xff\": No room"), "{out}");
        end(&place);
    }
}

#[test]
fn a_refusal_is_exit_1_and_a_setting_reaches_the_operator() {
    let dir = tempfile::tempdir().unwrap();
    let place = play(dir.path(), Outcome::Equal);
    let path = dir.path().to_str().unwrap();
    let (code, _, err) = run(&["cutover", path, "--sink", "OTHER"], dir.path());
    assert_eq!((code, err.as_str()), (1, "osync: No sink with the key OTHER is connected\n"));
    let (code, _, err) = run(&["set", path, "resume=yes"], dir.path());
    assert_eq!(code, 0);
    assert!(err.contains("name: \"resume\", value: \"yes\""), "{err}");
    let (code, out, _) = run(&["cutover", path, "--plan", "--json"], dir.path());
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, json["estimated_seconds"].as_f64()), (0, Some(0.25)));
    end(&place);
}
