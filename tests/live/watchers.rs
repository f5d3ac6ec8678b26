//! Each way to watch, to a cutover; which one is taken; what it does about other filesystems.

use std::fs;
use std::time::Duration;

use crate::support::churn::{Churn, Plan, Verb};
use crate::support::mount::Mount;
use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::zoo::{self, content};
use crate::support::{until, until_true};

/// Runs a command as root of a user namespace of its own, which is root nowhere else.
const POWERLESS: [&str; 3] = ["unshare", "--user", "--map-root-user"];

#[track_caller]
fn cut_over(pair: &mut Pair, source: Operator, sink: Operator) {
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

/// How the source watches, as its status says.
#[track_caller]
fn means(pair: &mut Pair) -> String {
    let dir = pair.source_dir();
    until("the source says how it watches", SOON, || {
        pair.status(&dir)["watching"]["by"].as_str().map(str::to_owned)
    })
}

fn churn_arrives(watch: &str) {
    let mut pair = Pair::watching_by(watch);
    let mount = (watch == "fanotify").then(|| Mount::small(&pair.source_dir(), "500m"));
    let pool = zoo::pool(&pair.source_dir(), 2_000, 700);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let plan = Plan {
        root: pair.source_dir(),
        seed: 20_261_121,
        writers: 4,
        verbs: Verb::ALL,
        rest: Duration::from_millis(2),
        pool,
    };
    let churn = Churn::start(&plan);
    until_true("there was some churn", LONG, || churn.done() > 3_000);
    churn.stop();
    assert_eq!(means(&mut pair), watch);
    cut_over(&mut pair, source, sink);
    drop(mount);
}

#[test]
fn churn_arrives_by_inotify() {
    churn_arrives("inotify");
}

#[test]
#[ignore = "marks a filesystem, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_churn_arrives_by_fanotify() {
    churn_arrives("fanotify");
}

#[test]
fn churn_arrives_by_sweeps() {
    churn_arrives("sweep");
}

#[test]
fn without_events_changes_are_found_in_turn() {
    let mut pair = Pair::watching_by("sweep");
    zoo::pool(&pair.source_dir(), 200, 100);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let told = until("it is said which directories are swept", SOON, || {
        let said = source.stderr();
        said.lines().find(|line| line.contains("Swept in turn")).map(str::to_owned)
    });
    assert!(told.contains("Nothing is watched") && told.contains("the whole tree"), "{told}");
    let (new, there) = (pair.source_dir().join("pool-001/new"), pair.sink_dir());
    fs::write(new, "new").unwrap();
    fs::remove_dir_all(pair.source_dir().join("pool-000")).unwrap();
    until_true("a sweep finds what came and what went", LONG, || {
        there.join("pool-001/new").exists() && !there.join("pool-000").exists()
    });
    cut_over(&mut pair, source, sink);
}

#[test]
#[ignore = "marks a filesystem, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_the_better_way_is_taken_and_a_subtree_is_enough() {
    let mut pair = Pair::watching_by("auto");
    let mount = Mount::small(&pair.path("source"), "100m");
    // The root is a part of its filesystem, and another part changes all the while.
    let (top, root) = (pair.path("source"), pair.path("source").join("deep/root"));
    fs::create_dir_all(&root).unwrap();
    pair.set_source_dir(root.clone());
    let pool = zoo::pool(&top.join("elsewhere"), 100, 100);
    zoo::pool(&root, 100, 100);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    assert_eq!(means(&mut pair), "fanotify");
    let (writers, rest) = (2, Duration::from_millis(1));
    let plan = Plan { root: top.join("elsewhere"), seed: 5, writers, verbs: Verb::ALL, rest, pool };
    let churn = Churn::start(&plan);
    let there = pair.sink_dir();
    for number in 0..50 {
        let name = format!("made-{number}/a/b");
        fs::create_dir_all(root.join(&name)).unwrap();
        fs::write(root.join(&name).join("f"), content(number, 10)).unwrap();
    }
    // No sweep runs: each of these was told.
    until_true("all of it arrives by events", SOON, || {
        (0..50).all(|number| there.join(format!("made-{number}/a/b/f")).exists())
    });
    assert!(churn.stop() > 0);
    assert_eq!(pair.status(&root)["sweeps"], 0);
    cut_over(&mut pair, source, sink);
    drop(mount);
}

#[test]
#[ignore = "marks a filesystem, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_who_may_not_mark_falls_back_or_is_refused() {
    let mut pair = Pair::watching_by("auto");
    pair.run_source_by(&POWERLESS);
    zoo::small(&pair.source_dir());
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    assert_eq!(means(&mut pair), "inotify");
    let said = source.stderr();
    assert!(said.contains("fanotify can't be used here: it needs root"), "{said}");
    cut_over(&mut pair, source, sink);
    let osync = env!("CARGO_BIN_EXE_osync");
    let mut command = std::process::Command::new(POWERLESS[0]);
    command.args(&POWERLESS[1..]).args([osync, "source", &pair.arg("source")]);
    command.args(["--state", &pair.arg("third-state"), "--watch", "fanotify", "--port", "0"]);
    let refused = command.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("fanotify can't be used here: it needs root"), "{said}");
}

#[test]
#[ignore = "mounts an overlay, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_an_overlay_is_watched_by_inotify() {
    let mut pair = Pair::watching_by("auto");
    let below = Mount::small(&pair.path("run"), "100m");
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| pair.path("run").join(name));
    [&lower, &upper, &work].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let overlay = Mount::overlay(&pair.source_dir(), &lower, &upper, &work);
    zoo::pool(&pair.source_dir(), 50, 100);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    assert_eq!(means(&mut pair), "inotify");
    let said = source.stderr();
    assert!(said.contains("overlayfs") && said.contains("inotify watch"), "{said}");
    cut_over(&mut pair, source, sink);
    drop(overlay);
    drop(below);
}

/// A filesystem below the root is watched like all others; when it goes, nothing is removed.
fn a_filesystem_below_the_root_goes(watch: &str) {
    let mut pair = Pair::watching_by(watch);
    let outer = Mount::small(&pair.source_dir(), "100m");
    let at = pair.source_dir().join("other");
    fs::create_dir(&at).unwrap();
    let inner = Mount::small(&at, "100m");
    zoo::pool(&at, 50, 100);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let there = pair.sink_dir().join("other");
    fs::create_dir_all(at.join("new/deep")).unwrap();
    fs::write(at.join("new/deep/file"), "new").unwrap();
    until_true("events come from the inner filesystem, too", SOON, || {
        there.join("new/deep/file").exists()
    });
    assert_eq!(pair.status(&pair.source_dir())["sweeps"], 0);
    // Somebody still works in it: it is out of the tree all the same.
    let busy = fs::File::open(at.join("new")).unwrap();
    drop(inner);
    let dir = pair.source_dir();
    until_true("the source halts removals", SOON, || pair.status(&dir)["state"] == "HALTED");
    fs::write(pair.source_dir().join("after"), "on it goes").unwrap();
    let after = pair.sink_dir().join("after");
    until_true("everything else goes on", SOON, || after.exists());
    assert!(there.join("new/deep/file").exists(), "Nothing was removed");
    assert!(source.stderr().contains("unmounted"), "{}", source.stderr());
    drop(busy);
    sink.kill();
    source.kill();
    drop(outer);
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_a_filesystem_goes_that_inotify_watched() {
    a_filesystem_below_the_root_goes("inotify");
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_a_filesystem_goes_that_fanotify_watched() {
    a_filesystem_below_the_root_goes("fanotify");
}
