//! Large files that travel as what has changed in them.

use osync::model::message::Body;
use osync::model::stamp::Lane;

use super::super::history::path;
use super::super::world::World;
use super::{over_schedules, play};

/// The bodies of messages that wait in the backlog lane.
fn bodies(world: &World) -> Vec<&Body> {
    world.sinks[0].lanes[Lane::Backlog.index()].iter().map(|message| &message.body).collect()
}

/// Plays a history, and then what follows with the backlog lane held, so that its messages are
/// seen; at the end all must be equal.
fn watched(seed: u64, before: &str, then: &str, look: impl Fn(&[&Body])) {
    let mut world = World::new(seed);
    play(&mut world, before, 1);
    play(&mut world, &format!("settle; hold backlog; {then}; pause 200"), 1);
    look(&bodies(&world));
    play(&mut world, "let backlog; settle", 1);
    world.check().unwrap();
}

fn takes_from_the_sink(bodies: &[&Body]) -> bool {
    let takes = |body: &&Body| match body {
        Body::Delta { pieces, .. } => pieces.iter().any(|piece| piece.from.is_some()),
        _ => false,
    };
    bodies.iter().any(takes)
}

#[test]
fn what_the_sink_has_does_not_travel_again() {
    for seed in 0..20 {
        watched(seed, "large f", "write f large", |bodies| {
            assert!(takes_from_the_sink(bodies), "seed {seed}: {bodies:?}");
        });
        watched(seed, "large f; settle; restart source", "write f large", |bodies| {
            assert!(takes_from_the_sink(bodies), "seed {seed}: {bodies:?}");
        });
        // Of another name there is no signature: the sink is asked.
        watched(seed, "large f; settle; mv f g", "write g large", |bodies| {
            let asks = bodies.iter().any(|body| matches!(body, Body::Sign { .. }));
            assert!(asks, "seed {seed}: {bodies:?}");
        });
    }
}

/// What is written in several steps is not sent half done.
#[test]
fn a_large_file_is_read_once_its_writer_pauses() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        play(&mut world, "large f; settle; hold backlog", 1);
        for _ in 0..10 {
            play(&mut world, "write f large open; pause 10", 1);
            assert!(bodies(&world).is_empty(), "seed {seed}: {:?}", bodies(&world));
        }
        play(&mut world, "pause 200", 1);
        assert!(takes_from_the_sink(&bodies(&world)), "seed {seed}: {:?}", bodies(&world));
        play(&mut world, "let backlog; settle", 1);
    }
}

#[test]
fn a_basis_that_is_another_is_refused_and_the_file_arrives() {
    for seed in 0..20 {
        for keeps_mtime in [false, true] {
            let mut world = World::new(seed);
            play(&mut world, "large f; settle", 1);
            let tree = &world.sinks[0].tree;
            let mut content = tree.stands(&path("f")).unwrap().content;
            content[6_000] ^= 1;
            tree.write_silently(&path("f"), &content, keeps_mtime).unwrap();
            play(&mut world, "write f large; settle", 1);
            world.check().unwrap();
        }
    }
}

#[test]
fn deltas_meet_whatever_else_happens() {
    over_schedules("large f; pause 50; write f large; pause 5; write f large; cut", |_| ());
    over_schedules("large f; settle; write f large; pause 5; mv f g; write g large", |_| ());
    over_schedules("large f; settle; write f large; crash sink; write f large", |_| ());
    over_schedules("large f; large g; settle; swap f g; write f large; write g large", |_| ());
    over_schedules("large f; settle; full; write f large; pause 50; room; write f large", |_| ());
}
