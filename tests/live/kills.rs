//! `kill -9` of either side, at random moments, while writers go on.

use std::time::{Duration, Instant};

use crate::support::churn::{Churn, Plan, Verb};
use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::until_true;
use crate::support::zoo::{self, Dice};

/// Kills one of the two `kills` times, restarts it each time, then cuts over.
fn kill_and_cut_over(seed: u64, kills: usize, files: usize) {
    let mut pair = Pair::new();
    let mut dice = Dice::new(seed);
    let pool = zoo::pool(&pair.source_dir(), files, 900);
    let mut source: Operator = pair.start_source(&[]);
    let mut sink: Operator = pair.start_sink(&[]);
    let plan = Plan {
        root: pair.source_dir(),
        seed,
        writers: 3,
        verbs: Verb::ALL,
        rest: Duration::from_millis(4),
        pool,
    };
    let churn = Churn::start(&plan);
    for _ in 0..kills {
        let pause = Duration::from_millis(200 + dice.next() % 1_800);
        let started = Instant::now();
        until_true("the next kill is due", SOON, || started.elapsed() >= pause);
        if dice.below(2) == 0 {
            source.kill();
            source = pair.start_source(&[]);
        } else {
            sink.kill();
            sink = pair.start_sink(&[]);
        }
    }
    let done = churn.stop();
    assert!(done > 500, "Only {done} operations: no churn");
    pair.until_ready();
    eprintln!("seed {seed}: {done} operations");
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}

#[test]
fn ten_kills_under_churn_lose_nothing() {
    kill_and_cut_over(1, 10, 4_000);
}

#[test]
#[ignore = "takes many minutes: scripts/soak.sh runs it"]
fn many_kills_under_churn_lose_nothing() {
    for seed in 100..120 {
        eprintln!("seed {seed}");
        kill_and_cut_over(seed, 20, 10_000);
    }
}
