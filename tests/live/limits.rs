//! Bounds of the kernel that are too low: a short queue of events, too few watches. Nothing is
//! lost.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::{assert_equal, differences};
use crate::support::{until, until_true, zoo};

const QUEUE: &str = "/proc/sys/fs/inotify/max_queued_events";

/// How large a test is: small for every day, whole for `scripts/soak.sh --bounds`.
struct Scale {
    dirs: usize,
    rewrites: usize,
}

const SMALL: Scale = Scale { dirs: 4_000, rewrites: 20_000 };
const WHOLE: Scale = Scale { dirs: 40_000, rewrites: 200_000 };

/// The kernel's bound on the queue, which is read when a queue is opened; dropped, it is as before.
/// One at a time has it, of all tests on this host.
struct ShortQueue {
    before: String,
    /// Holds the lock.
    _bound: fs::File,
}

impl ShortQueue {
    fn set(events: usize) -> ShortQueue {
        let bound = fs::File::open(QUEUE).expect("The bound on the queue can be opened");
        bound.lock().expect("The bound on the queue can be locked");
        let before = fs::read_to_string(QUEUE).expect("The bound on the queue can be read");
        let set = fs::write(QUEUE, events.to_string());
        assert!(set.is_ok(), "This test sets {QUEUE}: run it as root");
        ShortQueue { before, _bound: bound }
    }
}

impl Drop for ShortQueue {
    fn drop(&mut self) {
        let _ = fs::write(QUEUE, self.before.trim());
    }
}

/// A source whose queue of events holds 64, and its sink.
fn start_with_short_queue(pair: &mut Pair) -> (Operator, Operator) {
    let short = ShortQueue::set(64);
    let source = pair.start_source(&[]);
    drop(short);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    (source, sink)
}

/// Waits until the pair is equal, and tells how long that took.
fn settle(pair: &mut Pair, source: Operator, sink: Operator, what: &str) -> u64 {
    let since = Instant::now();
    let dir = pair.source_dir();
    let settled = |status: &serde_json::Value| {
        status["state"] == "READY"
            && status["backlog_known"] == true
            && status["dirty_paths"] == 0
            && status["directories_in_doubt"] == 0
    };
    let status =
        until("the pair is at rest", LONG, || Some(pair.status(&dir)).filter(|s| settled(s)));
    let took = since.elapsed().as_secs_f64();
    let overflows = status["overflows"].as_u64().unwrap_or_default();
    eprintln!("{what}: at rest after {took:.1} s, {overflows} overflows");
    // Equal by what was told and doubted: the closing sweep would mend anything.
    let left = differences(&dir, &pair.sink_dir());
    let own = |line: &&str| line.contains(".osync") || *line == ".d..t...... ./";
    let left: Vec<&str> = left.lines().filter(|line| !own(line)).collect();
    assert!(left.is_empty(), "At rest, and not equal: {left:?}");
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    overflows
}

/// Directories two deep, and twice as many files, as fast as they can be made.
fn storm(root: &Path, dirs: usize) {
    for number in 0..dirs / 10 {
        let top = root.join(format!("storm-{number}"));
        fs::create_dir(&top).unwrap();
        for inner in 0..9 {
            fs::create_dir(top.join(inner.to_string())).unwrap();
        }
        for file in 0..20 {
            fs::write(top.join((file % 9).to_string()).join(format!("f{file}")), b"x").unwrap();
        }
    }
}

fn storm_is_survived(watch: &str, scale: &Scale) {
    let mut pair = Pair::watching_by(watch);
    let (source, sink) = start_with_short_queue(&mut pair);
    let began = Instant::now();
    storm(&pair.source_dir(), scale.dirs);
    let took = began.elapsed().as_secs_f64();
    settle(&mut pair, source, sink, &format!("{} directories in {took:.1} s", scale.dirs));
}

/// Files written in place again and again, each time another content of the same size.
fn rewrite(files: &[PathBuf], times: usize) {
    let open = |path| fs::File::options().write(true).open(path).unwrap();
    let files: Vec<fs::File> = files.iter().map(open).collect();
    for turn in 0..times {
        let content = (turn as u64).to_le_bytes();
        files[turn % files.len()].write_all_at(&content, 0).unwrap();
    }
}

fn burst_is_survived(watch: &str, scale: &Scale) {
    let mut pair = Pair::watching_by(watch);
    let files = zoo::pool(&pair.source_dir(), 2_000, 100);
    let (source, sink) = start_with_short_queue(&mut pair);
    let began = Instant::now();
    rewrite(&files[..500], scale.rewrites);
    let took = began.elapsed().as_secs_f64();
    let what = format!("{} rewrites in {took:.1} s", scale.rewrites);
    let overflows = settle(&mut pair, source, sink, &what);
    assert!(watch == "fanotify" || overflows > 0, "The queue was long enough: this tests nothing");
}

#[test]
#[ignore = "sets a bound of the kernel, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_a_short_queue_survives_a_storm_of_directories() {
    storm_is_survived("inotify", &SMALL);
}

#[test]
#[ignore = "sets a bound of the kernel, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_a_short_queue_survives_a_burst_of_rewrites() {
    burst_is_survived("inotify", &SMALL);
}

#[test]
#[ignore = "takes long, and needs root: scripts/soak.sh --bounds runs it"]
fn a_whole_storm_of_directories() {
    storm_is_survived("inotify", &WHOLE);
    storm_is_survived("fanotify", &WHOLE);
}

#[test]
#[ignore = "takes long, and needs root: scripts/soak.sh --bounds runs it"]
fn a_whole_burst_of_rewrites() {
    burst_is_survived("inotify", &WHOLE);
    burst_is_survived("fanotify", &WHOLE);
}

/// A user namespace in which so few directories can be watched.
fn few_watches(most: usize) -> String {
    format!("echo {most} > /proc/sys/user/max_inotify_watches && exec \"$@\"")
}

/// Says that more can be watched in the namespace of a process.
fn allow_watches(process: u32, most: usize) {
    let set = format!("echo {most} > /proc/sys/user/max_inotify_watches");
    let process = process.to_string();
    let args = ["--user", "--preserve-credentials", "--target", &process, "sh", "-c", &set];
    let status = Command::new("nsenter").args(args).status().expect("nsenter can be run");
    assert!(status.success(), "The bound of the namespace can be raised");
}

fn too_few_watches(watches: usize, dirs: usize) {
    let mut pair = Pair::watching_by("inotify");
    for number in 0..dirs / 10 {
        for inner in 0..9 {
            let dir = pair.source_dir().join(format!("top-{number}/{inner}"));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("f"), "before").unwrap();
        }
    }
    let script = few_watches(watches);
    pair.run_source_by(&["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"]);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let said = until("it is said what is not watched", SOON, || {
        let said = source.stderr();
        said.lines().find(|line| line.contains("Swept in turn")).map(str::to_owned)
    });
    assert!(said.contains("`sysctl user.max_inotify_watches=1048576`"), "{said}");
    let dir = pair.source_dir();
    let unwatched = |pair: &mut Pair| pair.status(&dir)["watching"]["unwatched"].as_u64().unwrap();
    assert!(unwatched(&mut pair) as usize >= dirs - watches, "of {dirs} directories");
    let named = pair.status(&dir)["watching"]["unwatched_subtrees"][0].as_str().unwrap().to_owned();
    assert!(said.contains(&format!("\"{named}\"")), "{said}");
    // Somewhere that no event comes from.
    fs::write(dir.join(&named).join("new"), "after").unwrap();
    let there = pair.sink_dir().join(&named).join("new");
    until_true("a sweep finds it", LONG, || there.exists());
    allow_watches(source.id(), 1_000_000);
    until_true("freed watches are taken up", LONG, || unwatched(&mut pair) == 0);
    until_true("that is said", SOON, || source.stderr().contains("All directories are watched"));
    let before = pair.status(&dir)["sweeps"].as_u64().unwrap();
    fs::write(dir.join(&named).join("later"), "after").unwrap();
    let there = pair.sink_dir().join(&named).join("later");
    until_true("an event tells of it", SOON, || there.exists());
    let sweeps = pair.status(&dir)["sweeps"].as_u64().unwrap();
    assert!(sweeps <= before + 1, "No sweep begins any more: {before}, {sweeps}");
    settle(&mut pair, source, sink, &format!("{watches} watches for {dirs} directories"));
}

#[test]
#[ignore = "needs root, for a user namespace: scripts/check.sh runs it when it can"]
fn needs_root_too_few_watches_are_made_up_for_by_sweeps() {
    too_few_watches(200, 2_000);
}

#[test]
#[ignore = "takes long, and needs root: scripts/soak.sh --bounds runs it"]
fn a_thousand_watches_for_fifty_thousand_directories() {
    too_few_watches(1_000, 50_000);
}
