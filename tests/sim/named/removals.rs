//! Removals that are too many wait for a person (law 9), and attributes travel together (H21).

use std::time::Duration;

use osync::model::path::RelPath;
use osync::model::removal::MaxDelete;
use osync::model::session::{Ending, Outcome};

use super::super::world::World;
use super::{has, play, sent, watch};

const POOL: usize = 8;

/// A settled world with `POOL` files in a directory and one beside it.
fn settled(seed: u64, limit: MaxDelete) -> World {
    let mut world = World::new(seed);
    world.draw_weights();
    world.director.limit_removals(limit);
    let files: String = (0..POOL).map(|file| format!("small d/f{file};")).collect();
    play(&mut world, &format!("mkdir d; small kept; {files} settle"), 4);
    world
}

fn left(world: &World) -> usize {
    (0..POOL).filter(|file| has(world, &format!("d/f{file}"))).count()
}

#[test]
fn too_many_removals_halt_and_the_rest_goes_on() {
    for seed in 0..50 {
        let mut world = settled(seed, MaxDelete::Names(3));
        play(&mut world, "rmall d; small new; write kept; pause 3000", 4);
        assert!(world.director.halted().is_some(), "seed {seed}");
        assert!(left(&world) >= POOL - 3, "seed {seed}: {} are left", left(&world));
        assert!(has(&world, "new"), "seed {seed}");
        world.director.unhalt(world.now);
        world.check().unwrap();
        assert!(!has(&world, "d"), "seed {seed}");
    }
}

#[test]
fn few_removals_pass() {
    for seed in 0..50 {
        let mut world = settled(seed, MaxDelete::Names(3));
        play(&mut world, "rm d/f0; rm d/f1; rm d/f2; settle", 4);
        assert_eq!((left(&world), world.director.halted()), (POOL - 3, None), "seed {seed}");
    }
}

#[test]
fn a_share_of_the_pool_that_is_gone_halts() {
    for seed in 0..50 {
        let mut world = settled(seed, MaxDelete::Percent(60));
        play(&mut world, "rm d/f0; rm d/f1; rm d/f2; settle", 4);
        assert_eq!(world.director.halted(), None, "seed {seed}");
        // Long enough to count again what changed while it was counted.
        play(&mut world, "rmall d; rm kept; pause 20000", 4);
        assert!(world.director.halted().is_some(), "seed {seed}");
        world.director.unhalt(world.now);
        world.check().unwrap();
    }
}

#[test]
fn what_went_while_nobody_watched_halts_too() {
    for seed in 0..50 {
        let mut world = settled(seed, MaxDelete::Names(3));
        play(&mut world, "cut; rmall d; pause 20000", 4);
        assert!(world.director.halted().is_some() && left(&world) >= POOL - 3, "seed {seed}");
        world.director.unhalt(world.now);
        world.check().unwrap();
    }
}

#[test]
fn a_termination_under_a_halt_is_unfinished_and_says_so() {
    for seed in 0..20 {
        let mut world = settled(seed, MaxDelete::Names(3));
        play(&mut world, "rmall d; pause 3000", 4);
        let id = world.sinks[0].id;
        world.director.terminate(id, Ending::Cutover, world.now);
        world.run(Duration::from_secs(30));
        let report = world.director.outcome(id).expect("an end");
        assert_eq!(report.outcome, Outcome::Unfinished, "seed {seed}");
        assert!(report.text.contains("resume"), "{}", report.text);
    }
}

#[test]
fn h21_own_attributes_travel_together() {
    const DIRS: usize = 200;
    let mut world = World::new(1);
    watch(&mut world);
    let dirs: String = (0..DIRS).map(|dir| format!("mkdir d{dir};")).collect();
    play(&mut world, &dirs, 1);
    world.check().unwrap();
    let messages = sent(&world, &["SetMeta {"]);
    assert!(messages > 0 && messages <= DIRS / 4, "{messages} messages for {DIRS} directories");
}

#[test]
fn names_that_come_back_end_the_halt_and_a_later_one_is_said_anew() {
    for limit in [MaxDelete::Names(3), MaxDelete::Percent(60)] {
        for seed in 0..25 {
            let mut world = settled(seed, limit);
            play(&mut world, "rmall d; rm kept; pause 20000", 4);
            assert!(world.director.halted().is_some(), "seed {seed}");
            let files: String = (0..POOL).map(|file| format!("small d/f{file};")).collect();
            play(&mut world, &format!("mkdir d; small kept; {files} pause 30000"), 4);
            assert_eq!(world.director.halted(), None, "seed {seed}: all is back");
            watch(&mut world);
            play(&mut world, "rmall d; rm kept; pause 20000", 4);
            assert!(world.director.halted().is_some(), "seed {seed}: {limit:?}");
            world.resume();
            world.check().unwrap();
        }
    }
}

#[test]
fn a_person_lets_go_what_waits_and_nothing_more() {
    for seed in 0..40 {
        let mut world = settled(seed, MaxDelete::Names(3));
        let more: String = (0..POOL).map(|file| format!("small e/f{file};")).collect();
        play(&mut world, &format!("mkdir e; {more} settle; rmall d; pause 15000"), 4);
        assert!(world.director.halted().is_some(), "seed {seed}");
        world.resume();
        play(&mut world, "settle", 4);
        assert!(left(&world) == 0 && world.director.halted().is_none(), "seed {seed}");
        play(&mut world, "rmall e; pause 15000", 4);
        assert!(world.director.halted().is_some(), "seed {seed}: nobody has let that go");
        world.resume();
        world.check().unwrap();
    }
}

#[test]
fn what_goes_while_what_waited_is_removed_counts_anew() {
    for seed in 0..40 {
        let mut world = settled(seed, MaxDelete::Names(3));
        let more: String = (0..POOL).map(|file| format!("small e/f{file};")).collect();
        play(&mut world, &format!("mkdir e; {more} settle; rmall d; pause 15000"), 4);
        world.resume();
        play(&mut world, "rmall e; pause 15000", 4);
        let kept = (0..POOL).filter(|file| has(&world, &format!("e/f{file}"))).count();
        assert!(kept >= POOL - 3, "seed {seed}: {kept} are left");
        world.resume();
        world.check().unwrap();
    }
}

#[test]
fn causes_of_halts_stand_by_themselves() {
    use osync::flow::halts::Cause;
    let mut world = settled(1, MaxDelete::Names(3));
    world.director.halt(Cause::Root, "the root is gone");
    play(&mut world, "rm d/f0; pause 3000", 4);
    assert!(has(&world, "d/f0"));
    world.director.halt(Cause::Mount(RelPath::root()), "a filesystem is gone");
    let words = world.director.halted().unwrap();
    assert!(words.contains("the root is gone") && words.contains("a filesystem is gone"));
    world.director.lift(&Cause::Root, world.now);
    assert!(world.director.halted().is_some_and(|words| !words.contains("root")));
    world.resume();
    world.check().unwrap();
    assert!(!has(&world, "d/f0"));
}
