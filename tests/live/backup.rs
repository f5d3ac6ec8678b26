//! What a sink removes or replaces is kept: in its trash until the cutover, or in a directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::support::mount::Mount;
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::whole::try_set_xattr;
use crate::support::{until_true, zoo};

/// Fills a tree with older versions of what another holds, and with names of its own; gives the
/// paths below the root of all of them.
fn fill_before(source: &Path, sink: &Path, files: &[PathBuf]) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let name = file.strip_prefix(source).unwrap();
        let foreign = name.with_extension("foreign");
        for name in [name, &foreign] {
            let at = sink.join(name);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            zoo::write_at(&at, &old(name), 1_000_000 + number as i64, 123_456_789);
            names.push(name.to_path_buf());
        }
    }
    names
}

/// What a name held before; its length is not that of the new content.
fn old(name: &Path) -> Vec<u8> {
    format!("what {} was before", name.display()).into_bytes()
}

/// The trash of the sink, if there is one.
fn trash(sink: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(sink).unwrap().flatten();
    let staging = |name: &str| name.starts_with(".osync-staging-");
    let home = entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| staging(&name.to_string_lossy())))?;
    Some(home.join("trash")).filter(|trash| trash.is_dir())
}

#[test]
fn the_trash_holds_all_that_was_there_until_the_cutover() {
    let mut pair = Pair::new();
    let files = zoo::pool(&pair.source_dir(), 1_500, 700);
    let (source_dir, sink_dir) = (pair.source_dir(), pair.sink_dir());
    let names = fill_before(&source_dir, &sink_dir, &files);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&["--delete", "all", "--trash"]);
    until_true("something is in the trash", SOON, || trash(&sink_dir).is_some());
    sink.terminate();
    let ended = sink.end(SOON);
    ended.assert_code(&[130]).assert_says(&["is kept in"]);
    let kept = trash(&sink_dir).expect("It stays while the session is not over");
    for name in &names {
        let holds = |tree: &Path| fs::read(tree.join(name)).is_ok_and(|held| held == old(name));
        assert!(holds(&sink_dir) || holds(&kept), "{} is lost", name.display());
    }
    let sink = pair.start_sink(&["--delete", "all", "--trash"]);
    pair.until_ready();
    // Live changes displace what osync wrote itself.
    fs::write(&files[0], "changed while it runs").unwrap();
    let changed = sink_dir.join(files[0].strip_prefix(&source_dir).unwrap());
    until_true("the change has arrived", SOON, || {
        fs::read(&changed).is_ok_and(|content| content == b"changed while it runs")
    });
    for name in &names {
        assert_eq!(fs::read(kept.join(name)).ok(), Some(old(name)), "{}", name.display());
    }
    let arg = pair.arg("sink");
    pair.run(&["cutover", &arg]).assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]).assert_says(&["is let go: 3000 names"]);
    source.end(SOON).assert_code(&[0]);
    assert_eq!(trash(&sink_dir), None);
    assert_equal(&source_dir, &sink_dir);
    assert_eq!(
        fs::read_dir(&sink_dir).unwrap().count(),
        fs::read_dir(&source_dir).unwrap().count(),
        "Nothing of osync's own is left"
    );
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_a_backup_directory_on_another_filesystem_gets_copies() {
    let mut pair = Pair::new();
    let backup = PathBuf::from(pair.arg("backup"));
    fs::create_dir(&backup).unwrap();
    let mount = Mount::small(&backup, "64m");
    displace(&mut pair);
    drop(mount);
}

#[test]
fn a_backup_directory_gets_what_is_displaced_as_it_was() {
    displace(&mut Pair::new());
}

/// Lets a backup directory get all that a sink held.
fn displace(pair: &mut Pair) {
    let files = zoo::pool(&pair.source_dir(), 50, 700);
    let (source_dir, sink_dir) = (pair.source_dir(), pair.sink_dir());
    let names = fill_before(&source_dir, &sink_dir, &files);
    for name in &names {
        try_set_xattr(&sink_dir.join(name), "user.old", name.as_os_str().as_encoded_bytes())
            .unwrap();
    }
    let backup = pair.arg("backup");
    let args = ["--once", "--delete", "all", "--backup-dir", &backup];
    pair.start_local(&args).end(LONG).assert_code(&[0]);
    assert_equal(&source_dir, &sink_dir);
    for (number, name) in names.iter().enumerate() {
        let at = Path::new(&backup).join(name);
        assert_eq!(fs::read(&at).unwrap(), old(name));
        let stat = fs::symlink_metadata(&at).unwrap();
        let mtime = (1_000_000 + number as i64 / 2, 123_456_789);
        assert_eq!((stat.mtime(), stat.mtime_nsec()), mtime, "{}", name.display());
        let mut value = [0; 256];
        let bytes = rustix::fs::lgetxattr(&at, "user.old", &mut value[..]).unwrap();
        assert_eq!(&value[..bytes], name.as_os_str().as_encoded_bytes());
    }
}

#[test]
fn a_backup_directory_lies_apart_from_both_trees() {
    let mut pair = Pair::new();
    let (source, sink, base) = (pair.arg("source"), pair.arg("sink"), pair.arg(""));
    let (inside, within) = (format!("{sink}/backup"), format!("{source}/backup"));
    for backup in [&inside, &within, &sink, &base] {
        let args = ["local", &source, &sink, "--once", "--backup-dir", backup];
        pair.run(&args).assert_code(&[2]).assert_says(&["choose two directories apart"]);
    }
    let args = ["local", &source, &sink, "--once", "--trash", "--backup-dir", "/elsewhere"];
    pair.run(&args).assert_code(&[2]).assert_says(&["cannot be used with"]);
}
