//! Renames and exchanges that cross with everything else, and what they leave alone: H6, H15.

use osync::model::limits::BACKLOG_CREDIT_BYTES;
use osync::model::session::{Credit, DeletePolicy};
use osync::model::stamp::Lane;

use super::super::history::path;
use super::super::link::Link;
use super::super::tree::Bounds;
use super::super::world::World;
use super::{SEEDS, each_content_once, has, over, over_schedules, play, sent, watch};

#[test]
fn h6a_the_backlog_does_not_overtake_a_rename() {
    over_schedules("medium y; settle; hold live; mv y a; pause 50; write a; pause 50", |_| ());
    over_schedules("small y; settle; mv y a; write a medium; mv a b; write b", |_| ());
    over_schedules("mkdir d; medium d/y; settle; hold live; mv d e; pause 30; write e/y", |_| ());
}

#[test]
fn h6b_an_exchange_is_one_operation() {
    over_schedules("small a; medium b; settle; swap a b; pause 20; write a; swap a b", |_| ());
    let dirs = "mkdir a; mkdir b; small a/x; small b/x; medium b/y; settle;";
    over_schedules(&format!("{dirs} swap a b; write a/x; pause 30; write b/x"), |_| ());
    over_schedules(&format!("{dirs} swap a b; swap a b; swap a b; small a/z"), |_| ());
    over_schedules("mkdir a; small a/x; medium b; settle; swap a b; write b/x; swap b a", |_| ());
    over_schedules(&format!("{dirs} mv a c; mv b a; mv c b; write a/x"), |_| ());
}

#[test]
fn h6b_exchanged_directories_are_not_sent_again() {
    let dirs = "mkdir a; mkdir b; medium a/x; medium b/x; settle; forget; swap a b; pause 50";
    over_schedules(dirs, |world| assert!(world.sinks[0].puts.is_empty()));
}

/// A directory with twenty files, there before anybody looks: each is found by a listing.
fn twenty(seed: u64) -> World {
    let mut world = World::new(seed);
    // The second one of two is superseded, and looked at again.
    world.doubles = false;
    let files: String = (0..20).map(|file| format!("medium d/f{file};")).collect();
    play(&mut world, &format!("mkdir d; {files}"), 1);
    world
}

const IN_FLIGHT: [&str; 3] = [
    "catch d/f0; mv d e; pause 3; open; pause 3; mv e g",
    "catch d/f7; mv d e; pause 3; open; pause 3; mv e g",
    "catch d/f15; mv d e; pause 3; open; pause 3; mv e g",
];

#[test]
fn h6c_nothing_in_flight_below_a_renamed_directory_travels_twice() {
    for history in IN_FLIGHT {
        over(0..60, twenty, history, each_content_once);
    }
}

#[test]
fn h6d_a_rename_lists_nothing_again() {
    let tree = "mkdir d; mkdir d/a; mkdir d/b; mkdir d/b/c; small d/a/x; small d/b/c/y; settle;";
    for seed in 0..100 {
        let mut world = World::new(seed);
        play(&mut world, tree, 10);
        watch(&mut world);
        play(&mut world, "mv d e; pause 500; mv e f; settle", 10);
        assert_eq!(sent(&world, &["Listing("]), 0, "seed {seed}");
        assert_eq!(sent(&world, &["Put {"]), 0, "seed {seed}");
    }
}

#[test]
fn h6e_a_rename_whose_answer_was_lost_is_not_sent_again() {
    let lost = "hold reports; mv a b; pause 50; cut; open;";
    over_schedules(&format!("medium a; settle; {lost} medium a; pause 50"), |_| ());
    over_schedules(&format!("mkdir a; small a/x; settle; {lost} mkdir a; small a/y"), |_| ());
    over_schedules(&format!("mkdir a; small a/x; settle; {lost} mv b a; write a/x"), |_| ());
}

#[test]
fn h6f_a_stale_rename_moves_nothing_new() {
    over_schedules("medium a; settle; hold notices; mv a b; medium a; pause 20; open", |_| ());
    let dirs = "mkdir a; medium a/x; settle; write a/x; pause 2; hold notices; mv a b; mkdir a;";
    over_schedules(&format!("{dirs} medium a/x; pause 20; open; write a/x"), |_| ());
    over_schedules("medium a; settle; mv a b; pause 2; mv b c; medium a; mv a b", |_| ());
}

/// Two sinks, the first of which has the trees of `copied` as its own and is not yet there, though
/// the source is watched for the second.
fn late_sink(seed: u64, tree: &str, copied: &[&str]) -> World {
    let bounds = Bounds { live_bytes: 6_000, part_entries: 1, ..Bounds::default() };
    let mut world = World::with(seed, bounds, DeletePolicy::Live);
    world.draw_weights();
    world.add_sink(DeletePolicy::Live);
    world.sinks[0].link = Link::Stopped;
    play(&mut world, tree, 1);
    for (at, stands) in world.source.snapshot() {
        if !copied.iter().any(|top| at.is_at_or_below(&path(top))) {
            continue;
        }
        let sink = &world.sinks[0].tree;
        if stands.entry.is_dir() {
            sink.mkdir(&at).unwrap();
        } else {
            sink.create(&at, &stands.content).unwrap();
            sink.touch(&at, stands.entry.meta().mtime).unwrap();
        }
    }
    play(&mut world, "pause 50", 1);
    world
}

/// The first sink comes after a change of which the events tell only after some steps more.
fn comes_late(world: &mut World, change: &str) {
    play(world, &format!("hold notices; {change}"), 1);
    world.sinks[0].link = Link::Cut { told: true };
    for _ in 0..world.dice.below(30) {
        world.step();
    }
    play(world, "open; settle", 1);
}

/// What the source had at a name before the sink came was never offered to it: what the sink has at
/// that name is its own, though it is the very same (law 9).
#[test]
fn h15_a_rename_takes_away_no_name_that_was_never_offered() {
    for seed in 0..SEEDS {
        let mut world = late_sink(seed, "medium c; small d", &["c"]);
        comes_late(&mut world, "mv c b");
        assert!(has(&world, "c") && has(&world, "b"), "seed {seed}");
    }
}

#[test]
fn h15_an_exchange_takes_away_no_name_that_was_never_offered() {
    for seed in 0..SEEDS {
        let mut world = late_sink(seed, "mkdir a; small a/x; mkdir d; medium d/f", &["d"]);
        let bytes = BACKLOG_CREDIT_BYTES;
        world.grant(Lane::Backlog, Credit { bytes, messages: 1 });
        world.sinks[0].link = Link::Cut { told: true };
        play(&mut world, "hold backlog; pause 5; write a/x; pause 50; swap d/f a; settle", 4);
    }
}
