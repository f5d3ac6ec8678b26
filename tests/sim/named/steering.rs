//! Limits that a person sets: the backlog keeps them in any stretch of time, live never waits.

use std::time::Duration;

use osync::model::stamp::Lane;

use super::super::world::World;
use super::{figures, play};

/// Bytes, or operations, a second.
const RATE: u64 = 5_000;
const SLOW: u64 = 40;
const SEEDS: u64 = 40;

/// A pool of some forty kilobytes in large files, some directories, and many small files.
fn pool() -> String {
    let large = (0..6).map(|n| format!("large big{n};"));
    let dirs = (0..4).map(|n| format!("mkdir d{n}; medium d{n}/m; small d{n}/s; mkdir d{n}/e;"));
    let small = (0..12).map(|n| format!("small s{n};"));
    large.chain(dirs).chain(small).collect()
}

/// The most that is over in any stretch of time, of what a rate gives in it.
fn excess(events: &[(Duration, u64)], rate: u64) -> u64 {
    let mut most = 0;
    for (first, (since, _)) in events.iter().enumerate() {
        let mut sum = 0;
        for (at, amount) in &events[first..] {
            sum += amount;
            let given = u128::from(rate) * (*at - *since).as_nanos() / 1_000_000_000;
            most = most.max(sum.saturating_sub(given as u64));
        }
    }
    most
}

/// Plays a pool that is there before the sink comes, under limits.
fn limited(seed: u64, bytes: Option<u64>, operations: Option<u64>) -> World {
    let mut world = World::new(seed);
    play(&mut world, &pool(), 1);
    world.draw_weights();
    world.restart_source();
    world.limit(bytes, operations);
    world
}

#[test]
fn bytes_leave_no_faster_than_the_limit_in_any_window() {
    for seed in 0..SEEDS {
        let mut world = limited(seed, Some(RATE), None);
        world.limits.sent.clear();
        let began = world.now;
        world.check().unwrap();
        world.cut_over().unwrap();
        let sent = &world.limits.sent;
        let biggest = sent.iter().map(|sent| sent.bytes).max().unwrap();
        let sent: Vec<_> = sent.iter().map(|sent| (sent.at, sent.bytes)).collect();
        let excess = excess(&sent, RATE);
        // The depth of the bucket, the last message of the rate, and one of the backlog's share.
        let allowed = RATE / 10 + 2 * biggest;
        assert!(excess <= allowed, "seed {seed}: {excess} over, {allowed} allowed");
        // And it is used: what leaves takes not much longer than it must.
        let sum: u64 = sent.iter().map(|(_, bytes)| bytes).sum();
        let took = sent.last().unwrap().0 - began;
        let least = Duration::from_millis(sum * 1_000 / RATE);
        assert!(took < least * 2 + Duration::from_secs(5), "seed {seed}: {took:?}, {least:?}");
    }
}

#[test]
fn live_does_not_wait_for_the_limit() {
    for seed in 0..SEEDS {
        let mut world = limited(seed, Some(1_000), None);
        world.run(Duration::from_secs(2));
        assert!(figures(&world, 0).backlog_files > 0, "the backlog is on its way");
        for name in ["now", "d0/now", "s1"] {
            play(
                &mut world,
                &format!("{} {name}", if name == "s1" { "write" } else { "small" }),
                1,
            );
            let since = world.now;
            let is_live = |world: &World| {
                let mut sent = world.limits.sent.iter().rev();
                sent.any(|sent| sent.lane == Lane::Live && sent.at >= since)
            };
            while !is_live(&world) {
                world.run(Duration::from_millis(1));
                assert!(world.now < since + Duration::from_millis(500), "seed {seed}: {name}");
            }
        }
        assert!(figures(&world, 0).backlog_files > 0, "the backlog still is");
        world.limit(None, None);
        world.check().unwrap();
    }
}

#[test]
fn the_disk_is_asked_no_more_often_than_the_limit_in_any_window() {
    for seed in 0..SEEDS {
        let mut world = limited(seed, None, Some(SLOW));
        world.limits.looked.clear();
        world.check().unwrap();
        world.cut_over().unwrap();
        let looked = &world.limits.looked;
        assert!(looked.iter().map(|(_, cost)| cost).sum::<u64>() > 3 * SLOW);
        let excess = excess(looked, SLOW);
        // What began together may be back together: looks come back when the dice say so.
        assert!(excess <= SLOW / 10 + 20, "seed {seed}: {excess} over");
    }
}

#[test]
fn limits_that_change_and_go_hold_nothing_up() {
    for seed in 0..SEEDS {
        let mut world = limited(seed, Some(100), Some(1));
        world.run(Duration::from_secs(3));
        let slow = figures(&world, 0).files_done;
        world.limit(Some(100_000), Some(1_000));
        world.run(Duration::from_secs(20));
        assert!(figures(&world, 0).files_done > slow, "seed {seed}");
        world.limit(None, None);
        world.check().unwrap();
    }
}

#[test]
fn what_waits_for_a_limit_does_not_stand_still() {
    let mut world = limited(1, Some(50), Some(1));
    let mut told = None;
    for _ in 0..600 {
        world.run(Duration::from_millis(100));
        told = told.or(figures(&world, 0).stalled);
    }
    assert_eq!(told, None);
    assert!(figures(&world, 0).backlog_files > 0, "it is not over yet");
}
