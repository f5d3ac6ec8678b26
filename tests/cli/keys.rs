//! `osync key`: keys are made once, sinks are authorised and revoked by hand.

use super::run;

#[test]
fn keys_are_made_once_and_replaced_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state").into_os_string().into_string().unwrap();
    let key = |words: &[&str]| run(&[&["key", "--state", &state], words].concat(), dir.path());
    let (code, first, _) = key(&["show"]);
    assert_eq!(code, 0);
    let words: Vec<&str> = first.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("source", "sink"));
    assert_eq!(words[1].len(), 64);
    assert_eq!(key(&["show"]).1, first);
    let (code, renewed, _) = key(&["new", "sink"]);
    assert_eq!((code, renewed.lines().count()), (0, 1));
    let (_, now, _) = key(&["show"]);
    assert_eq!(now.lines().next(), first.lines().next());
    assert_ne!(now, first);
}

#[test]
fn a_sink_is_authorised_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state").into_os_string().into_string().unwrap();
    let pool = dir.path().to_str().unwrap();
    let key = |words: &[&str]| run(&[&["key", "--state", &state], words].concat(), dir.path());
    let sink = "5a".repeat(32);
    assert_eq!(key(&["list"]), (0, String::new(), String::new()));
    assert_eq!(key(&["authorise", &sink, pool]).0, 0);
    let (_, listed, _) = key(&["list"]);
    assert!(listed.starts_with(&format!("sink {sink} may have \"[DIR]\"")), "{listed}");
    assert_eq!(key(&["revoke", &sink]).0, 0);
    assert_eq!(key(&["revoke", &sink]).0, 1);
    assert_eq!(key(&["list"]).1, "");
    assert_eq!(key(&["authorise", "nonsense", pool]).0, 2);
    assert_eq!(key(&["authorise", &sink, "/nowhere/at/all"]).0, 1);
}
