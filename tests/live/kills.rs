//! `kill -9` of either side, at random moments, while writers go on.
//!
//! Half of the pool is never touched by the writers. Once it was called durable it must not travel
//! again, whatever dies: each of its files keeps its inode at the sink to the end.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::churn::{Churn, Plan, Verb};
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::{assert_equal, size};
use crate::support::proxy::Proxy;
use crate::support::until_true;
use crate::support::zoo::{self, Dice};

/// What a run is made of; the same seed makes the same choices.
struct Soak {
    seed: u64,
    kills: usize,
    files: usize,
}

/// The inode of every file below a directory.
fn inodes(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = walkdir::WalkDir::new(dir).into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file());
    files.map(|file| (file.path().to_owned(), file.metadata().unwrap().ino())).collect()
}

/// The number of the last durable barrier at a sink.
fn barrier(sink: &Path) -> u64 {
    let number = || {
        let mut names = fs::read_dir(sink).ok()?.flatten();
        let staging = names.find(|n| n.file_name().to_string_lossy().contains(".osync-staging"))?;
        let marker = fs::read(staging.path().join("marker")).ok()?;
        serde_json::from_slice::<serde_json::Value>(&marker).ok()?["barrier"].as_u64()
    };
    number().unwrap_or(0)
}

/// Kills one of the two again and again, restarts it each time, then cuts over.
fn soak(soak: &Soak) {
    let &Soak { seed, kills, files } = soak;
    let (mut pair, proxy, mut dice) = (Pair::new(), Proxy::start(), Dice::new(seed));
    pair.through(&proxy);
    let ports = proxy.data_ports.each_ref().map(String::as_str);
    let (still, moving) = (pair.source_dir().join("still"), pair.source_dir().join("moving"));
    fs::create_dir(&still).unwrap();
    fs::create_dir(&moving).unwrap();
    zoo::pool(&still, files / 2, 9_000);
    let pool = zoo::pool(&moving, files / 2, 900);
    let mut source = pair.start_source(&ports);
    let mut sink = pair.start_sink(&[]);
    pair.until_ready();
    let ready = barrier(&pair.sink_dir());
    fs::write(moving.join("one more"), "for one more barrier").unwrap();
    until_true("all is durable", SOON, || barrier(&pair.sink_dir()) > ready);
    let settled = inodes(&pair.sink_dir().join("still"));
    let before = proxy.bytes();
    let rest = Duration::from_millis(4);
    let churn =
        Churn::start(&Plan { root: moving, seed, writers: 3, verbs: Verb::ALL, rest, pool });
    let mut died = [0; 2];
    for _ in 0..kills {
        let pause = Duration::from_millis(100 + dice.next() % 1_400);
        let started = Instant::now();
        until_true("the next kill is due", SOON, || started.elapsed() >= pause);
        let which = dice.below(2);
        died[which] += 1;
        if which == 0 {
            source.kill();
            source = pair.start_source(&ports);
        } else {
            sink.kill();
            sink = pair.start_sink(&[]);
        }
    }
    let done = churn.stop();
    assert!(done > 30 * kills as u64, "Only {done} operations: no churn");
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    let again = inodes(&pair.sink_dir().join("still"));
    let moved = settled.iter().filter(|(path, inode)| again.get(*path) != Some(*inode)).count();
    eprintln!(
        "seed {seed}: {} deaths of the source, {} of the sink, {done} changes; since all was \
         durable {} bytes on the wire, the tree has {} bytes, its still half {} in {} files, sent \
         again {moved}",
        died[0],
        died[1],
        proxy.bytes() - before,
        size(&pair.source_dir()).1,
        size(&still).1,
        settled.len(),
    );
    assert_eq!(moved, 0, "files that were durable have travelled again");
}

#[test]
fn ten_kills_under_churn_lose_nothing() {
    soak(&Soak { seed: 1, kills: 10, files: 4_000 });
}

#[test]
#[ignore = "takes many minutes: scripts/soak.sh runs it"]
fn soak_many_kills_under_churn_lose_nothing() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
    };
    let kills = number("OSYNC_SOAK_KILLS", 100) as usize;
    let files = number("OSYNC_SOAK_FILES", 10_000) as usize;
    soak(&Soak { seed: number("OSYNC_SOAK_SEED", 1), kills, files });
}

#[test]
fn a_sink_that_is_told_to_stop_begins_no_ending() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 1_500, 500);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    sink.terminate();
    let stopped = sink.end(SOON);
    stopped.assert_code(&[130]);
    assert!(!stopped.stderr.contains("termination"), "{stopped:#?}");
    // How much its last barrier spares depends on how busy the host is: no test of that.
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
}
