//! What is refused, with which words and which exit code.

use std::fmt::Write as _;

use super::run;

/// Command lines and what they get, as one snapshot each.
fn transcript(lines: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("pool/below")).unwrap();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    let mut text = String::new();
    for line in lines {
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| word.replace("[DIR]", dir.path().to_str().unwrap()))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, out, err) = run(&words, dir.path());
        writeln!(text, "$ osync {line}\n{out}{err}[exit {code}]\n").unwrap();
    }
    text
}

#[test]
fn words_that_make_no_sense() {
    insta::assert_snapshot!(
        "usage",
        transcript(&[
            "copy",
            "source",
            "sink oldhost",
            "sink :9753 [DIR]/new",
            "sink oldhost:0 [DIR]/new",
            "sink [fe80::1 [DIR]/new",
            "sink [DIR]/pool [DIR]/new",
            "sink oldhost [DIR]/new --delete some",
            "sink oldhost [DIR]/new --invite A --invite-file B",
            "sink oldhost [DIR]/new --timeout soon",
            "source [DIR]/pool --data-ports 9800-9700",
            "source [DIR]/pool --port 70000",
            "source [DIR]/pool --bind eth0",
            "source [DIR]/pool --max-delete 120%",
            "set [DIR]/pool",
            "set [DIR]/pool resume=no",
            "set [DIR]/pool speed=5M",
            "set [DIR]/pool bwlimit=fast",
            "source [DIR]/pool --bwlimit 25:00,1M",
            "source [DIR]/pool --iops many",
            "local [DIR]/pool [DIR]/new --ionice realtime",
        ])
    );
}

#[test]
fn what_is_not_in_this_version_is_said() {
    insta::assert_snapshot!(
        "not-yet",
        transcript(&[
            "verify [DIR]/pool --full",
            "digest [DIR]/pool",
            "source [DIR]/pool --watch kqueue",
        ])
    );
}

#[test]
fn rules_and_rsyncs_options_are_heeded_or_refused() {
    insta::assert_snapshot!(
        "rsync",
        transcript(&[
            "source [DIR]/pool -au",
            "source [DIR]/pool --partial",
            "source [DIR]/pool --link-dest=[DIR]/other",
            "source [DIR]/pool --delete-excluded",
            "source [DIR]/pool -C",
            "source [DIR]/pool -xx",
            "source [DIR]/pool --no-times",
            "source [DIR]/pool --max-size=5q",
            "source [DIR]/pool --filter=:_.rules",
            "source [DIR]/pool --exclude-from=[DIR]/missing",
            "sink oldhost [DIR]/new --inplace",
            "sink oldhost [DIR]/new --exclude=x",
            "sink oldhost [DIR]/new -x",
            "sink oldhost [DIR]/new --no-links",
            "sink oldhost [DIR]/new -z",
        ])
    );
}

#[test]
fn wishes_that_do_not_go_together() {
    insta::assert_snapshot!(
        "refused",
        transcript(&[
            "local [DIR]/pool [DIR]/pool",
            "local [DIR]/pool [DIR]/pool/below/new",
            "local [DIR]/pool/below [DIR]/pool",
            "source [DIR]/pool --state [DIR]/pool/state",
            "source [DIR]/pool --log-file [DIR]/pool/log --state [DIR]/state",
            "sink oldhost [DIR]/new --report [DIR]/nowhere/report.json --state [DIR]/state",
            "sink oldhost [DIR]/new --invite-file [DIR]/missing --state [DIR]/state",
            "sink oldhost [DIR]/new --invite-file [DIR]/empty --state [DIR]/state",
        ])
    );
}

#[test]
fn no_operator_is_exit_1_and_one_object() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    for words in [&["status", path, "--json"][..], &["cutover", path, "--json"]] {
        let (code, out, err) = run(words, dir.path());
        assert_eq!((code, out.as_str()), (1, "{\"phase\":\"none\"}\n"), "{words:?}");
        assert!(err.contains("No osync works on \"[DIR]\" here"), "{err}");
    }
    for words in [&["status", path][..], &["cutover", path, "--plan"], &["set", path, "resume"]] {
        let (code, out, _) = run(words, dir.path());
        assert_eq!((code, out.as_str()), (1, ""), "{words:?}");
    }
}
