//! Several sinks, foreign names and the policies of removal: H23, H31.

use osync::model::session::DeletePolicy;

use super::super::history::path;
use super::super::tree::Bounds;
use super::super::world::World;
use super::{SEEDS, catch, figures, has, over, over_schedules, play};

fn with(policy: DeletePolicy) -> impl Fn(u64) -> World {
    move |seed| World::with(seed, Bounds { live_bytes: 6_000, ..Bounds::default() }, policy)
}

fn two(seed: u64) -> World {
    let mut world = World::new(seed);
    world.add_sink(DeletePolicy::Live);
    world
}

#[test]
fn h23_foreign_names_are_counted_and_stay() {
    over_schedules("foreign note other; small a; settle; rm a", |world| {
        assert!(has(world, "note") && has(world, "other"));
        assert_eq!(figures(world, 0).foreign, 2);
    });
}

#[test]
fn h23_all_leaves_nothing_foreign() {
    let all = with(DeletePolicy::All);
    over(0..SEEDS, &all, "foreign note; mkdir d; small d/a; settle; foreign d/n; rmall d", |_| ());
    over(0..SEEDS, &all, "foreign note; small a", |world| assert!(!has(world, "note")));
}

#[test]
fn h23_never_keeps_the_old_name_of_a_rename() {
    let never = with(DeletePolicy::Never);
    over(0..SEEDS, &never, "medium a; settle; mv a b; pause 50", |world| {
        assert!(has(world, "a") && has(world, "b"));
    });
    over(0..SEEDS, &never, "mkdir d; small d/x; settle; mv d e; write e/x", |world| {
        assert!(has(world, "d/x") && has(world, "e/x"));
    });
    over(0..SEEDS, &never, "mkdir d; small d/x; settle; rmall d; small d", |world| {
        assert!(has(world, "d/x") && figures(world, 0).problems > 0);
    });
}

#[test]
fn h31_a_mark_cleared_for_one_sink_stands_for_the_other() {
    let tree = "mkdir d; small d/x; medium y; settle;";
    let churn = "write d/x; cut 1; mv d e; write y; pause 5; small k; cut 0; mv y e/y; rm e/x";
    over(0..SEEDS, two, &format!("{tree} {churn}"), |_| ());
    over(0..SEEDS, two, &format!("{tree} cut 1; rmall d; mkdir d; small d/z; pause 30"), |_| ());
}

#[test]
fn h31_a_rename_is_fenced_for_each_sink_alone() {
    for seed in 0..SEEDS {
        let mut world = two(seed);
        world.draw_weights();
        play(&mut world, "mkdir d; medium d/x; medium d/y; settle; write d/x medium", 6);
        catch(&mut world, 1, &path("d/x"));
        play(&mut world, "mv d e; pause 50; write e/y; pause 50", 6);
        world.check().unwrap();
    }
}

#[test]
fn h31_a_full_sink_does_not_keep_the_other_waiting() {
    for seed in 0..50 {
        let mut world = two(seed);
        play(&mut world, "small a; settle; full; write a; large b; small c; pause 3000", 6);
        let other = &world.sinks[1].tree;
        assert!(other.stands(&path("b")).is_some() && other.stands(&path("c")).is_some());
        play(&mut world, "room; settle", 1);
    }
}
