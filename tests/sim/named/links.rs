//! Objects with several names: H12, and H1, H4 for them. The judge compares which names are one.

use super::{SEEDS, each_content_once, figures, has, over, over_schedules, play};
use crate::sim::world::World;

/// A file with three names, one of them in a directory, all known to the sink.
const GROUP: &str = "mkdir d; small a; ln a b; ln a d/c; settle;";

#[test]
fn h12_what_is_written_through_one_name_arrives_under_all() {
    for change in
        ["write b", "write d/c large", "chmod d/c 600", "touch b", "edit b", "write a; write b"]
    {
        over_schedules(&format!("{GROUP} {change}"), |_| ());
    }
}

#[test]
fn h12_what_is_written_before_a_name_goes_arrives_under_the_others() {
    // No event names the others: not when the name is removed, nor when it is replaced or moved.
    for change in [
        "edit a; rm a",
        "edit a; small e; mv e a",
        "edit b; mv b e; write e",
        "edit d/c; rmall d",
        "edit a; rm a; edit b; rm b",
        "edit a; out a",
    ] {
        over_schedules(&format!("{GROUP} {change}"), |_| ());
    }
}

#[test]
fn h12_a_replaced_name_is_one_with_the_others_no_more() {
    for change in [
        "small e; mv e a; write b",
        "small e; mv e a; ln a f; ln b g",
        "small e; ln e f; mv e a; mv f b",
        "swap a d; write d",
        "rm a; small a; ln b e",
        "ln a e; small f; mv f a; write e",
    ] {
        over_schedules(&format!("{GROUP} {change}"), |_| ());
    }
}

#[test]
fn h12_groups_outlive_directories_connections_and_processes() {
    for change in [
        "mv d e; write e/c",
        "mkdir e; mv d e/d; ln e/d/c d; rm a",
        "cut; ln b e; write a",
        "restart source; rm a; ln b e",
        "stop; edit b; rm a; ln b e; restart source",
        "crash sink; write d/c",
        "snapshot; write b; ln b e; settle; rollback",
        "ln b e; empty sink; restart sink",
        "replace sink; rm b",
    ] {
        over_schedules(&format!("{GROUP} {change}"), |_| ());
    }
}

#[test]
fn h12_names_that_come_go_and_move_send_no_content() {
    for change in ["ln a e; rm a; mv b f", "rm b; rm a", "mv d e; ln a e/f", "chmod a 600; ln b e"]
    {
        // A link that meets the removal of what it goes to is refused, and its content follows.
        let sent = std::cell::Cell::new(0);
        over_schedules(&format!("{GROUP} pause 50; settle; forget; {change}"), |world| {
            sent.set(sent.get() + u64::from(!world.sinks[0].puts.is_empty()));
        });
        assert!(
            sent.get() <= SEEDS / 20,
            "{change}: content was sent under {} schedules",
            sent.get()
        );
    }
}

#[test]
fn a_first_copy_carries_each_content_once() {
    let tree = "mkdir d; large a; ln a d/a; ln a d/b; medium d/c; ln d/c c; small e; ln e d/e";
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        world.draw_weights();
        for line in tree.split(';') {
            // All of it stands before the sink comes.
            super::play_line(&mut world, line.trim(), 1);
        }
        world.doubles = false;
        world.check().unwrap();
        each_content_once(&mut world);
    }
}

#[test]
fn names_beyond_what_the_sink_allows_are_files_of_their_own() {
    let world = |seed| {
        let world = World::new(seed);
        world.sinks[0].tree.limit_links(2);
        world
    };
    for seed in 0..SEEDS / 4 {
        let mut world = world(seed);
        play(&mut world, "small a; ln a b; ln a c; ln a e; small f", 6);
        world.settle().unwrap();
        for at in ["a", "b", "c", "e", "f"] {
            assert!(has(&world, at), "{at} is missing");
        }
        assert_eq!(figures(&world, 0).problems, 2, "two names too many");
    }
    over(0..SEEDS / 4, world, "small a; ln a b; settle; ln a c; rm b; rm c", |_| ());
}

#[test]
fn names_beyond_what_the_sink_allows_are_the_same_problems_at_the_next_start() {
    for seed in 0..SEEDS / 4 {
        let mut world = World::new(seed);
        world.sinks[0].tree.limit_links(2);
        play(&mut world, "small a; ln a b; ln a c; ln a e; small f", 6);
        world.settle().unwrap();
        play(&mut world, "restart source", 6);
        world.settle().unwrap();
        assert_eq!(figures(&world, 0).problems, 2, "two names too many, seed {seed}");
        world.cut_over().unwrap();
    }
}
