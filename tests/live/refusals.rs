//! What can't be is refused: with the right exit code, a sentence, and nothing touched.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;

use crate::support::operator::{Ended, Pair, SOON};
use crate::support::{until_true, zoo};

/// `osync source` on a path below the pair's home, to its end.
#[track_caller]
fn source_on(pair: &mut Pair, name: &str, port: u16) -> Ended {
    let (dir, state) = (pair.arg(name), pair.arg("other-state"));
    let port = port.to_string();
    pair.start(&["source", &dir, "--port", &port, "--bind", "127.0.0.1", "--state", &state])
        .end(SOON)
}

#[test]
fn a_source_directory_that_is_missing() {
    let mut pair = Pair::new();
    source_on(&mut pair, "nowhere", 0).assert_code(&[2]).assert_says(&["mount it first"]);
    assert!(!pair.path("nowhere").exists());
}

#[test]
fn a_source_that_is_a_file() {
    let mut pair = Pair::new();
    fs::write(pair.path("a-file"), "x").unwrap();
    source_on(&mut pair, "a-file", 0).assert_code(&[2]).assert_says(&["no directory: name"]);
    let (file, sink, state) = (pair.arg("a-file"), pair.arg("sink"), pair.arg("local-state"));
    pair.run(&["local", &file, &sink, "--once", "--state", &state])
        .assert_code(&[2])
        .assert_says(&["no directory: name"]);
}

#[test]
fn a_sink_directory_that_is_a_file() {
    let mut pair = Pair::new();
    fs::remove_dir(pair.sink_dir()).unwrap();
    fs::write(pair.sink_dir(), "x").unwrap();
    pair.start_local(&["--once"]).end(SOON).assert_code(&[2]).assert_says(&["no directory: name"]);
    assert_eq!(fs::read(pair.sink_dir()).unwrap(), b"x");
}

#[test]
fn a_port_in_use() {
    let mut pair = Pair::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    source_on(&mut pair, "source", port)
        .assert_code(&[1])
        .assert_says(&["in use"])
        .assert_says(&[&port.to_string()]);
}

#[test]
fn a_second_source_on_the_same_directory() {
    let mut pair = Pair::new();
    let _source = pair.start_source(&[]);
    source_on(&mut pair, "source", 0).assert_code(&[4]);
}

#[test]
fn a_second_sink_on_the_same_directory() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 10, 10);
    let _source = pair.start_source(&[]);
    let _sink = pair.start_sink(&[]);
    pair.until_ready();
    pair.start_sink(&[]).end(SOON).assert_code(&[4]);
    pair.until_ready();
}

#[test]
fn a_revoked_sink_keeps_no_source_waiting() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 10, 10);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let (states, pool) =
        (["source-state", "other-state"].map(|it| pair.arg(it)), pair.arg("source"));
    let shown = pair.run(&["key", "--state", &states[1], "show"]);
    let key = shown.stdout.split_whitespace().last().unwrap().to_owned();
    pair.run(&["key", "--state", &states[0], "authorise", &key, &pool]).assert_code(&[0]);
    let (address, dir) = (format!("127.0.0.1:{}", pair.port()), pair.arg("other"));
    let invite = pair.arg("invite");
    let other = ["sink", &address, &dir, "--state", &states[1], "--invite-file", &invite];
    let other = pair.start(&other);
    until_true("the other sink has the pool", SOON, || {
        fs::read_dir(pair.path("other/pool-000")).is_ok_and(|names| names.count() == 10)
    });
    pair.cutover().assert_code(&[0]);
    sink.end(SOON).assert_code(&[0]);
    pair.run(&["key", "--state", &states[0], "revoke", &key]).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]).assert_says(&["both trees are equal"]);
    other.terminate_and_end();
}

#[test]
fn trees_that_contain_each_other() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 10, 10);
    let outer = pair.arg("source");
    let inner = pair.arg("source/pool-000");
    for (source, sink) in [(&outer, &inner), (&inner, &outer), (&outer, &outer)] {
        let state = pair.arg("local-state");
        let args = ["local", source, sink, "--once", "--delete", "all", "--state", &state];
        pair.run(&args).assert_code(&[2, 4]).assert_says(&["inside", "contains", "same"]);
    }
    assert_eq!(fs::read_dir(pair.path("source/pool-000")).unwrap().count(), 10);
}

#[test]
fn containment_through_a_symlink() {
    let mut pair = Pair::new();
    fs::create_dir(pair.path("source/below")).unwrap();
    std::os::unix::fs::symlink(pair.path("source/below"), pair.path("link")).unwrap();
    let (source, link, state) = (pair.arg("source"), pair.arg("link"), pair.arg("local-state"));
    pair.run(&["local", &source, &link, "--once", "--state", &state]).assert_code(&[2, 4]);
}

#[test]
fn an_unknown_option_is_wrong_usage() {
    let mut pair = Pair::new();
    pair.run(&["local", "--no-such-option"]).assert_code(&[2]);
    pair.run(&["sink", "127.0.0.1:9", "dir", "--delete", "some"]).assert_code(&[2]);
}

#[test]
fn nobody_listens() {
    let mut pair = Pair::new();
    let _source = pair.start_source(&[]);
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let (dir, invite) = (pair.arg("sink"), pair.arg("invite"));
    let state = pair.arg("sink-state");
    let at = format!("127.0.0.1:{port}");
    pair.run(&[
        "sink",
        &at,
        &dir,
        "--invite-file",
        &invite,
        "--state",
        &state,
        "--connect-timeout",
        "2",
    ])
    .assert_code(&[1])
    .assert_says(&[&port.to_string()]);
}

#[test]
fn the_invite_of_another_source() {
    let mut pair = Pair::new();
    let mut other = Pair::new();
    let _source = pair.start_source(&[]);
    let _other = other.start_source(&[]);
    fs::copy(other.path("invite"), pair.path("invite")).unwrap();
    let started = std::time::Instant::now();
    pair.start_sink(&[]).end(SOON).assert_code(&[4]).assert_says(&["key", "invite"]);
    assert!(started.elapsed().as_secs() < 30, "A wrong key is told within seconds");
    assert_eq!(fs::read_dir(pair.sink_dir()).unwrap().count(), 0);
}

#[test]
fn a_spent_invite_in_other_hands() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 10, 10);
    let _source = pair.start_source(&[]);
    fs::copy(pair.path("invite"), pair.path("stolen")).unwrap();
    let _sink = pair.start_sink(&[]);
    pair.until_ready();
    let at = format!("127.0.0.1:{}", pair.port());
    let (dir, invite, state) = (pair.arg("thief"), pair.arg("stolen"), pair.arg("thief-state"));
    pair.run(&["sink", &at, &dir, "--invite-file", &invite, "--state", &state])
        .assert_code(&[4])
        .assert_says(&["osync key authorise"]);
    let empty = fs::read_dir(pair.path("thief")).map_or(0, Iterator::count) == 0;
    assert!(empty, "Nobody without a key gets a byte");
    pair.until_ready();
}

#[test]
fn an_invite_file_that_others_can_not_read() {
    use std::os::unix::fs::PermissionsExt;
    let mut pair = Pair::new();
    let _source = pair.start_source(&[]);
    let mode = fs::metadata(pair.path("invite")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[test]
fn status_and_cutover_without_an_operator() {
    let mut pair = Pair::new();
    let dir = pair.sink_dir();
    let ended = pair.run(&[OsStr::new("status"), dir.as_os_str(), OsStr::new("--json")]);
    ended.assert_code(&[1]);
    let status: serde_json::Value = serde_json::from_str(ended.stdout.trim()).unwrap();
    assert_eq!(status["phase"], "none");
    pair.cutover().assert_code(&[1]);
}

#[test]
fn a_stopped_source_is_waited_for() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 10, 10);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    source.kill();
    pair.until_status("the sink says what it waits for", SOON, |status| {
        status["state"] == "WAITING"
    });
    let _source = pair.start_source(&[]);
    pair.until_ready();
    until_true("the sink has said something", SOON, || !sink.stderr().is_empty());
}
