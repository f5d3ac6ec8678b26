//! The help of every command, held as snapshots.

use super::osync;

fn help(words: &[&str]) -> String {
    let output = osync().args(words).arg("--help").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_has_its_help() {
    for words in [
        &[][..],
        &["source"],
        &["sink"],
        &["local"],
        &["cutover"],
        &["status"],
        &["set"],
        &["verify"],
        &["digest"],
        &["key"],
        &["key", "show"],
        &["key", "new"],
        &["key", "authorise"],
        &["key", "revoke"],
        &["key", "list"],
    ] {
        let name =
            format!("help-{}", if words.is_empty() { "osync".into() } else { words.join("-") });
        insta::assert_snapshot!(name, help(words));
    }
}

#[test]
fn manual_and_completions_come_from_the_same_definition() {
    let out = |words: &[&str]| {
        let output = osync().args(words).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(out(&["man"]).contains(".TH osync 1"));
    assert!(out(&["completions", "bash"]).contains("_osync"));
    let dir = tempfile::tempdir().unwrap();
    out(&["man", dir.path().to_str().unwrap()]);
    let page = std::fs::read_to_string(dir.path().join("osync-sink.1")).unwrap();
    assert!(page.contains("invite"));
}
