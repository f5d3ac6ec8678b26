//! A sink without room (H17b): what it refused is held, said, and goes when there is room.

use std::time::Duration;

use osync::model::session::FreeRoom;

use super::super::world::World;
use super::{figures, has, play, sent, watch};

/// Lets the sink say what room it has, as its heartbeats do.
fn say(world: &mut World, bytes: u64) {
    let id = world.sinks[0].id;
    world.director.has_room(id, FreeRoom { bytes, inodes: None }, world.now);
}

#[test]
fn h17b_what_has_no_room_is_not_sent_again_for_nothing() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        play(&mut world, "small a; settle; full", 4);
        say(&mut world, 100);
        watch(&mut world);
        play(&mut world, "large f; medium g; small h; pause 3000", 4);
        let tried = sent(&world, &["Chunk {"]) + sent(&world, &["Put {"]);
        assert!(tried > 0, "seed {seed}: it is tried once");
        for _ in 0..40 {
            play(&mut world, "pause 5000", 1);
            say(&mut world, 100);
            let figures = figures(&world, 0);
            assert!(figures.halted.is_some_and(|why| why.contains("full")), "seed {seed}");
            assert_eq!(figures.files_done, 1, "seed {seed}: what was sent is not done");
        }
        let again = sent(&world, &["Chunk {"]) + sent(&world, &["Put {"]);
        assert_eq!(again, tried, "seed {seed}: it was sent again");
        world.sinks[0].tree.set_no_room(false);
        say(&mut world, 1 << 40);
        play(&mut world, "pause 3000", 1);
        assert!(["f", "g", "h"].iter().all(|name| has(&world, name)), "seed {seed}");
        assert_eq!(figures(&world, 0).halted, None, "seed {seed}");
        world.check().unwrap();
    }
}

#[test]
fn h17b_what_did_not_fit_and_is_gone_is_waited_for_no_more() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        play(&mut world, "small a; settle; full", 4);
        say(&mut world, 100);
        play(&mut world, "large f; medium g; pause 3000", 4);
        play(&mut world, "rm f; rm g; pause 20000", 1);
        assert_eq!(figures(&world, 0).halted, None, "seed {seed}");
        assert_eq!(figures(&world, 0).dirty_paths, 0, "seed {seed}");
    }
}

/// A quota, or another filesystem: what the sink says of its room tells nothing.
#[test]
fn h17b_a_sink_that_knows_nothing_of_its_room_is_tried_with_little() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        play(&mut world, "small a; settle; full", 4);
        say(&mut world, 1 << 40);
        watch(&mut world);
        for file in 0..40 {
            play(&mut world, &format!("medium f{file}"), 1);
        }
        play(&mut world, "pause 60000", 1);
        let tried = sent(&world, &["Put {"]);
        assert!(tried > 0 && tried <= 100, "seed {seed}: {tried} messages");
        assert!(figures(&world, 0).halted.is_some(), "seed {seed}");
        world.sinks[0].tree.set_no_room(false);
        world.run(Duration::from_secs(60));
        assert!(has(&world, "f0") && has(&world, "f39"), "seed {seed}");
        world.check().unwrap();
    }
}

#[test]
fn a_cutover_without_room_comes_to_an_end() {
    use osync::model::session::{Ending, Outcome};
    for seed in 0..10 {
        let mut world = World::new(seed);
        play(&mut world, "small a; settle; full", 4);
        say(&mut world, 100);
        play(&mut world, "large f; pause 5000", 4);
        let id = world.sinks[0].id;
        world.director.terminate(id, Ending::Cutover, world.now);
        play(&mut world, "pause 90000", 1);
        let report = world.director.outcome(id).expect("It ends");
        assert_eq!(report.outcome, Outcome::Unfinished, "seed {seed}");
        assert!(report.text.contains("full"), "seed {seed}: {}", report.text);
    }
}
