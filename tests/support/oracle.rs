//! The judge of equality: rsync, which knows nothing of osync.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use walkdir::WalkDir;

/// What rsync would still do to make `sink` equal to `source`, content read; nothing if equal.
pub(crate) fn differences(source: &Path, sink: &Path) -> String {
    differences_under(&[], source, sink)
}

/// The same under options that select what is compared.
pub(crate) fn differences_under(options: &[&str], source: &Path, sink: &Path) -> String {
    let output = Command::new("rsync")
        .args(["-naHAXS", "--checksum", "--delete", "--modify-window=-1", "-i"])
        // XFS shows its ACLs once more, under names of its own.
        .arg("--filter=-x trusted.SGI_ACL_*")
        .args(options)
        .arg(source.join(""))
        .arg(sink.join(""))
        .output()
        .expect("These tests need rsync: install the package rsync");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rsync failed, {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Fails unless both trees are equal in every name, content and attribute.
#[track_caller]
pub(crate) fn assert_equal(source: &Path, sink: &Path) {
    let differences = differences(source, sink);
    assert!(differences.is_empty(), "The trees differ, says rsync:\n{differences}");
    let (ours, theirs) = (groups(source), groups(sink));
    let other = ours.iter().find(|group| !theirs.contains(*group));
    let other = other.or_else(|| theirs.iter().find(|group| !ours.contains(*group)));
    assert!(other.is_none(), "Not one object in both trees: {other:?}");
}

/// The names of each object that has several, directories left out.
pub(crate) fn groups(tree: &Path) -> BTreeSet<BTreeSet<PathBuf>> {
    let mut names: HashMap<u64, BTreeSet<PathBuf>> = HashMap::new();
    for entry in WalkDir::new(tree).into_iter().flatten().filter(|e| !e.file_type().is_dir()) {
        let Ok(found) = entry.metadata() else { continue };
        let name = entry.path().strip_prefix(tree).expect("Below the tree").to_owned();
        names.entry(found.ino()).or_default().insert(name);
    }
    names.into_values().filter(|names| names.len() > 1).collect()
}

/// Entries and bytes of content of a tree, its root not counted.
pub(crate) fn size(tree: &Path) -> (u64, u64) {
    let entries = WalkDir::new(tree).min_depth(1).into_iter().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).fold((0, 0), |(count, bytes), found| {
        (count + 1, bytes + if found.is_file() { found.size() } else { 0 })
    })
}

#[test]
fn the_oracle_sees_a_nanosecond_and_a_byte() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (home.path().join("a"), home.path().join("b"));
    for (dir, content, nanos) in [(&a, "one", 1), (&b, "two", 1)] {
        std::fs::create_dir(dir).unwrap();
        super::zoo::write_at(&dir.join("file"), content.as_bytes(), 1_700_000_000, nanos);
        super::zoo::set_time(dir, 1_700_000_000, 5);
    }
    assert!(differences(&a, &b).contains("file"), "other content, same size and time");
    super::zoo::write_at(&b.join("file"), b"one", 1_700_000_000, 2);
    super::zoo::set_time(&b, 1_700_000_000, 5);
    assert!(differences(&a, &b).contains("file"), "a nanosecond");
    super::zoo::set_time(&b.join("file"), 1_700_000_000, 1);
    assert_equal(&a, &b);
    super::zoo::set_time(&b, 1_700_000_000, 6);
    assert!(!differences(&a, &b).is_empty(), "the root's own time");
}
