//! `osync local SRC DST --once`: both operators in one process, to the end.

use std::fs;
use std::path::Path;

use crate::support::operator::{LONG, Pair};
use crate::support::oracle::{assert_equal, differences, size};
use crate::support::{zoo, zoo::content};

/// Fails if anything of osync's own is left at the top of the sink.
#[track_caller]
fn assert_no_staging(sink: &Path) {
    for entry in fs::read_dir(sink).expect("The sink is there").flatten() {
        let name = entry.file_name();
        assert!(!name.to_string_lossy().starts_with(".osync"), "{} is left", name.display());
    }
}

#[test]
fn a_zoo_arrives_whole() {
    let mut pair = Pair::new();
    zoo::small(&pair.source_dir());
    let report = pair.arg("report.json");
    pair.start_local(&["--once", "--report", &report]).end(LONG).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    assert_no_staging(&pair.sink_dir());
    let report = pair.report("report.json");
    assert_eq!(report["outcome"], "equal", "{report}");
    assert_eq!(report["foreign"], 0, "{report}");
}

#[test]
fn an_empty_source_makes_an_empty_sink() {
    let mut pair = Pair::new();
    zoo::set_time(&pair.source_dir(), 1_500_000_000, 9);
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    assert_no_staging(&pair.sink_dir());
}

#[test]
fn a_sink_directory_that_is_missing_is_made() {
    let mut pair = Pair::new();
    fs::remove_dir(pair.sink_dir()).unwrap();
    zoo::pool(&pair.source_dir(), 10, 100);
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

#[test]
fn what_is_there_already_does_not_travel_again() {
    let mut pair = Pair::new();
    let files = zoo::pool(&pair.source_dir(), 500, 20_000);
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    fs::write(&files[7], content(99, 20_000)).unwrap();
    let report = pair.arg("second.json");
    pair.start_local(&["--once", "--report", &report]).end(LONG).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    let (_, bytes) = size(&pair.source_dir());
    let report = pair.report("second.json");
    let wire = report["bytes_on_wire"].as_u64().expect("A figure");
    assert!(wire < bytes / 10, "{wire} bytes on the wire for one file of 20,000: {report}");
}

#[test]
fn a_foreign_file_stays_and_is_counted() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 20, 100);
    fs::write(pair.sink_dir().join("foreign"), "mine").unwrap();
    fs::create_dir(pair.sink_dir().join("pool-000")).unwrap();
    fs::write(pair.sink_dir().join("pool-000/foreign too"), "mine").unwrap();
    let report = pair.arg("report.json");
    pair.start_local(&["--once", "--report", &report]).end(LONG).assert_code(&[0]);
    let left = differences(&pair.source_dir(), &pair.sink_dir());
    let mut lines: Vec<&str> = left.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["*deleting   foreign", "*deleting   pool-000/foreign too"]);
    assert_eq!(pair.report("report.json")["foreign"], 2);
}

#[test]
fn delete_all_removes_what_is_foreign() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 20, 100);
    fs::create_dir_all(pair.sink_dir().join("foreign/dir/s")).unwrap();
    fs::write(pair.sink_dir().join("foreign/dir/file"), "mine").unwrap();
    pair.start_local(&["--once", "--delete", "all"]).end(LONG).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

#[test]
fn other_kinds_at_the_sink_give_way() {
    let mut pair = Pair::new();
    let (source, sink) = (pair.source_dir(), pair.sink_dir());
    fs::write(source.join("a file"), "content").unwrap();
    fs::create_dir(source.join("a directory")).unwrap();
    fs::write(source.join("a directory/inside"), "content").unwrap();
    std::os::unix::fs::symlink("nowhere", source.join("a link")).unwrap();
    std::os::unix::fs::symlink("/etc", sink.join("a file")).unwrap();
    std::os::unix::fs::symlink("/etc", sink.join("a directory")).unwrap();
    fs::write(sink.join("a link"), "a file").unwrap();
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    assert_equal(&source, &sink);
}

#[test]
fn one_bad_path_does_not_stop_the_rest() {
    let mut pair = Pair::of_ordinary_user();
    zoo::pool(&pair.source_dir(), 20, 100);
    let closed = pair.source_dir().join("closed");
    zoo::closed_file(&closed);
    pair.give_source();
    let report = pair.arg("report.json");
    pair.start_local(&["--once", "--report", &report]).end(LONG).assert_code(&[3]);
    let report = pair.report("report.json");
    assert_eq!(report["outcome"], "problems", "{report}");
    assert_eq!(report["problems"][0]["path"], "closed", "{report}");
    fs::remove_file(closed).unwrap();
    let root_time = fs::symlink_metadata(pair.sink_dir()).unwrap().modified().unwrap();
    fs::File::open(pair.source_dir()).unwrap().set_modified(root_time).unwrap();
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

#[test]
fn delete_never_keeps_and_counts_what_the_source_has_no_more() {
    let mut pair = Pair::new();
    let files = zoo::pool(&pair.source_dir(), 20, 100);
    pair.start_local(&["--once"]).end(LONG).assert_code(&[0]);
    fs::remove_file(&files[3]).unwrap();
    fs::write(pair.sink_dir().join("foreign"), "mine").unwrap();
    let report = pair.arg("report.json");
    let args = ["--once", "--delete", "never", "--report", &report];
    pair.start_local(&args).end(LONG).assert_code(&[0]);
    let left = differences(&pair.source_dir(), &pair.sink_dir());
    assert_eq!(left.lines().filter(|line| line.starts_with("*deleting")).count(), 2, "{left}");
    assert_eq!(pair.report("report.json")["foreign"], 2);
}
