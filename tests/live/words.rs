//! What scripts read: the port line, status, reports, JSON lines. The contract, field by field.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::Value;

use crate::support::operator::{LONG, Pair, SOON};
use crate::support::{until_true, zoo};

const STATUS_FIELDS: [&str; 15] = [
    "role",
    "phase",
    "state",
    "backlog_files",
    "backlog_bytes",
    "backlog_known",
    "dirty_paths",
    "lag_seconds",
    "live_latency_ms",
    "files_done",
    "bytes_done",
    "bytes_on_wire",
    "proved_share",
    "problems",
    "overflows",
];

const REPORT_FIELDS: [&str; 14] = [
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
];

#[track_caller]
fn assert_fields(object: &Value, fields: &[&str]) {
    for field in fields {
        assert!(object.get(field).is_some(), "No {field} in {object:#}");
    }
}

#[test]
fn status_has_every_field_at_both_ends() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 200, 1_000);
    let _source = pair.start_source(&[]);
    let _sink = pair.start_sink(&[]);
    let ready = pair.until_ready();
    assert_fields(&ready, &STATUS_FIELDS);
    assert_eq!((&ready["role"], &ready["phase"]), (&"sink".into(), &"transfer".into()));
    assert_eq!(ready["backlog_files"], 0);
    let dir = pair.source_dir();
    let status = pair.status(&dir);
    assert_fields(&status, &STATUS_FIELDS);
    assert_eq!(status["role"], "source");
    let sinks = status["sinks"].as_array().expect("A source lists its sinks");
    assert_eq!(sinks.len(), 1);
    assert_fields(&sinks[0], &["key", "address", "last_seen", "last_synchronised"]);
    // 200 files and the directories that hold them.
    assert!(status["files_done"].as_u64() >= Some(200), "{status:#}");
    assert!(status["bytes_done"].as_u64() >= Some(200_000), "{status:#}");
}

#[test]
fn both_sides_write_a_report() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 200, 1_000);
    let (at_source, at_sink) = (pair.arg("source.json"), pair.arg("sink.json"));
    let source = pair.start_source(&["--report", &at_source]);
    let sink = pair.start_sink(&["--once", "--report", &at_sink]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    for name in ["source.json", "sink.json"] {
        let report = pair.report(name);
        assert_fields(&report, &REPORT_FIELDS);
        assert_eq!(report["outcome"], "equal", "{name}: {report:#}");
        assert_eq!(report["files"], 200, "{name}: {report:#}");
        assert_eq!(report["bytes"], 200_000, "{name}: {report:#}");
    }
}

#[test]
fn a_report_is_written_at_a_failure_too() {
    let mut pair = Pair::new();
    let report = pair.arg("report.json");
    let (nowhere, state) = (pair.arg("nowhere"), pair.arg("source-state"));
    pair.run(&["source", &nowhere, "--port", "0", "--report", &report, "--state", &state])
        .assert_code(&[1, 2]);
    assert!(pair.report("report.json")["outcome"].is_string());
}

#[test]
fn json_is_one_object_a_line_and_nothing_else() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 500, 1_000);
    let source = pair.start_source(&["--json"]);
    let sink = pair.start_sink(&["--once", "--json"]);
    let sink = sink.end(LONG);
    let source = source.end(SOON);
    for ended in [&sink, &source] {
        ended.assert_code(&[0]);
        assert!(!ended.stdout.is_empty());
        for line in ended.stdout.lines() {
            let object: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("No JSON ({error}): {line}"));
            assert!(object["event"].is_string(), "{line}");
        }
    }
    let first: Value = serde_json::from_str(source.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["event"], &first["port"]), (&"service".into(), &pair.port().into()));
}

#[test]
fn the_invite_is_not_shown_where_there_is_no_terminal() {
    let mut pair = Pair::new();
    let source = pair.start_source(&[]);
    let invite = fs::read_to_string(pair.path("invite")).unwrap();
    let shown = source.stdout() + &source.stderr();
    assert!(!shown.contains(invite.trim()), "The invite is a secret");
    assert_eq!(source.stdout().lines().count(), 1, "{}", source.stdout());
}

#[test]
fn a_name_that_is_no_utf8_is_base64_in_json() {
    let mut pair = Pair::of_ordinary_user();
    zoo::closed_file(&pair.source_dir().join(OsStr::from_bytes(b"bad \xff name")));
    pair.give_source();
    let report = pair.arg("report.json");
    let ended = pair.start_local(&["--once", "--report", &report]).end(LONG);
    ended.assert_code(&[3]);
    let path = &pair.report("report.json")["problems"][0]["path"];
    assert_eq!(path["base64"], "YmFkIP8gbmFtZQ==", "{path}");
    assert!(!ended.stderr.contains('\u{fffd}'), "Names are escaped: {}", ended.stderr);
}

#[test]
fn a_problem_is_told_once_and_is_no_file() {
    let mut pair = Pair::of_ordinary_user();
    zoo::pool(&pair.source_dir(), 20, 100);
    zoo::closed_file(&pair.source_dir().join("closed"));
    pair.give_source();
    let report = pair.arg("report.json");
    let ended = pair.start_local(&["--once", "--report", &report]).end(LONG);
    ended.assert_code(&[3]);
    assert_eq!(ended.stderr.matches("problem at \"closed\"").count(), 1, "{}", ended.stderr);
    assert_eq!(pair.report("report.json")["files"], 20);
}

#[test]
fn a_latency_that_was_never_measured_is_null() {
    // An empty pool: a wanted file that is not what it was listed as becomes a live change.
    let mut pair = Pair::new();
    let _source = pair.start_source(&[]);
    let _sink = pair.start_sink(&[]);
    let ready = pair.until_ready();
    assert!(ready["live_latency_ms"]["p50"].is_null(), "{ready:#}");
    fs::write(pair.source_dir().join("new"), "content").unwrap();
    pair.until_status("a live change was measured", SOON, |status| {
        status["live_latency_ms"]["p50"].as_f64() > Some(0.0)
    });
}

#[test]
fn a_sink_without_its_source_says_so_and_so_does_its_cutover() {
    let mut pair = Pair::new();
    std::fs::write(pair.source_dir().join("file"), "content").unwrap();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    source.terminate_and_end();
    let dir = pair.sink_dir();
    until_true("the status says why it waits", SOON, || {
        let status = pair.status(&dir);
        let reason = status["reason"].as_str().unwrap_or_default();
        status["state"] == "WAITING" && reason.contains("Nobody listens")
    });
    let dir = pair.arg("sink");
    let ended = pair.run(&["cutover", &dir]);
    ended.assert_code(&[5]);
    assert!(ended.stdout.contains("the source is not there"), "{ended:#?}");
    let source = pair.start_source(&[]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
}

#[test]
fn a_first_sink_says_that_its_source_is_not_there_yet() {
    let mut pair = Pair::new();
    std::fs::write(pair.source_dir().join("file"), "content").unwrap();
    let source = pair.start_source(&[]);
    source.terminate_and_end();
    let sink = pair.start_sink(&[]);
    until_true("it says so", SOON, || sink.stderr().contains("Nobody listens"));
    let source = pair.start_source(&[]);
    pair.until_ready();
    sink.terminate_and_end();
    source.terminate_and_end();
}
