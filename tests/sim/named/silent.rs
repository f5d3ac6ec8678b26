//! Changes of which no event tells: they are found by patrols, and by the closing sweep.

use std::time::Duration;

use osync::model::session::{Ending, Outcome};
use osync::model::status::State;

use super::super::compare::differences;
use super::super::world::World;
use super::{figures, over, path, play, sent, watch};

const POOL: &str = "mkdir d; mkdir d/e; small d/x; medium d/y; symlink d/s; small d/e/z; large l;";
/// Longer than the pause between two patrols.
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_patrol_finds_what_made_no_event() {
    for at in ["d/x", "d/y", "d/e/z", "l"] {
        for how in ["", "unseen"] {
            over(0..25, World::new, &format!("{POOL} settle; slip {at} {how}"), |_| ());
            over(
                0..50,
                World::new,
                &format!("{POOL} pause 3; slip {at} {how}; chmod {at} 600"),
                |_| (),
            );
        }
        // What a lost connection has taken from the ledger is compared by size and mtime alone.
        let later = format!("settle; slip {at}; mv d/e moved; cut; slip l");
        over(0..25, World::new, &format!("{POOL} {later}"), |_| ());
    }
}

#[test]
fn a_patrol_goes_on_beside_live_work() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        play(&mut world, &format!("{POOL} settle; slip d/e/z unseen; small f"), 1);
        let before = world.sinks[0].tree.stands(&path("d/e/z"));
        for _ in 0..600 {
            play(&mut world, "write f; pause 100", 4);
        }
        let after = world.sinks[0].tree.stands(&path("d/e/z"));
        assert_ne!(before, after, "seed {seed}: a minute of writes has put all patrols off");
        world.check().unwrap();
    }
}

#[test]
fn patrols_of_a_quiet_pool_say_nothing_and_leave_it_ready() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        play(&mut world, &format!("{POOL} settle"), 4);
        // What was read as soon as it was written is proved by the first patrol (H19).
        world.run(MINUTE);
        world.check().unwrap();
        let before = figures(&world, 0).sweeps;
        watch(&mut world);
        let until = world.now + 5 * MINUTE;
        while world.now < until {
            world.run(Duration::from_millis(500));
            let state = State::of(true, &figures(&world, 0));
            assert_eq!(state, State::Ready, "seed {seed}: a patrol is work to be waited for");
        }
        assert!(figures(&world, 0).sweeps > before + 3, "seed {seed}: nobody goes on patrol");
        assert_eq!(sent(&world, &[]), 0, "seed {seed}");
    }
}

#[test]
fn files_that_are_open_for_writing_at_the_end_are_hot() {
    for (seed, goes) in (0..50).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut world = World::new(seed);
        play(&mut world, &format!("{POOL} settle"), 4);
        let (x, l) = (path("d/x"), path("l"));
        world.source.set_written(&x, true);
        world.source.set_written(&l, true);
        let id = world.sinks[0].id;
        world.director.terminate(id, Ending::Cutover, world.now);
        while world.director.outcome(id).is_none() {
            world.run(Duration::from_millis(1));
            let began = figures(&world, 0).directories_in_doubt < 3;
            // What is listed once more is known, and is not estimated anew.
            assert_eq!(figures(&world, 0).directories_left, 0, "seed {seed}");
            if goes && began && world.dice.one_in(3) {
                world.source.set_written(&l, false);
            }
        }
        let report = world.director.outcome(id).unwrap();
        assert_eq!(report.outcome, Outcome::Problems, "seed {seed}");
        assert!(report.hot.contains(&b"d/x".to_vec()), "seed {seed}: {:?}", report.hot);
        if !goes {
            assert_eq!(report.hot.len(), 2, "seed {seed}: {:?}", report.hot);
        }
        world.source.set_written(&x, false);
        world.source.set_written(&l, false);
        world.director.terminate(id, Ending::Cutover, world.now);
        while world.director.outcome(id).is_none() {
            world.run(Duration::from_millis(100));
        }
        assert_eq!(world.director.outcome(id).unwrap().outcome, Outcome::Equal, "seed {seed}");
    }
}

#[test]
fn the_closing_sweep_finds_what_made_no_event() {
    for (seed, how) in (0..100).flat_map(|seed| [(seed, ""), (seed, "unseen")]) {
        let mut world = World::new(seed);
        play(&mut world, &format!("{POOL} settle"), 4);
        play(&mut world, &format!("slip d/x {how}; slip d/e/z {how}; slip l {how}"), 1);
        let id = world.sinks[0].id;
        let before = figures(&world, 0).sweeps;
        world.director.terminate(id, Ending::Cutover, world.now);
        while world.director.outcome(id).is_none() {
            world.run(Duration::from_millis(100));
        }
        assert_eq!(world.director.outcome(id).unwrap().outcome, Outcome::Equal);
        assert_eq!(
            differences(&world.source, &world.selection, &world.sinks[0]),
            [""; 0],
            "seed {seed} {how}"
        );
        let sweeps = figures(&world, 0).sweeps - before;
        assert!(sweeps > 1, "seed {seed} {how}: a sweep that has found something was the last");
    }
}

#[test]
fn what_the_closing_sweep_finds_is_waited_for_however_slow_the_sink() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        play(&mut world, &format!("{POOL} settle"), 4);
        play(&mut world, "slip d/x; slip d/e/z; slip l", 1);
        let id = world.sinks[0].id;
        world.director.terminate(id, Ending::Once, world.now);
        while world.director.outcome(id).is_none() {
            // A round trip that is longer than hot names are waited for.
            for (work, time) in
                [(true, Duration::from_millis(2_200)), (false, Duration::from_millis(5))]
            {
                world.holds.work = work;
                world.run(time);
            }
        }
        let report = world.director.outcome(id).unwrap();
        assert_eq!(
            report.outcome,
            Outcome::Equal,
            "seed {seed}: {} {:?}",
            report.text,
            report.hot.iter().map(|h| String::from_utf8_lossy(h).to_string()).collect::<Vec<_>>()
        );
        let differing = differences(&world.source, &world.selection, &world.sinks[0]);
        assert_eq!(differing, [""; 0], "seed {seed}");
    }
}
