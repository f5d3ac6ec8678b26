//! The map of directories, listings and what was removed unseen: H13, H14, H15, H27.

use super::super::history::path;
use super::super::tree::Bounds;
use super::super::world::World;
use super::{SEEDS, figures, has, over, over_schedules, play, sent, watch};
use osync::model::session::DeletePolicy;

#[test]
fn h13a_a_name_that_a_listing_missed_is_not_removed() {
    let names = "mkdir d; small d/a; small d/b; small d/c; medium d/e; settle; restart source;";
    let during = "mv d/a d/f; pause 1; mv d/b d/g; mv d/f d/a; mv d/g d/b; mv d/e d/h";
    over_schedules(&format!("{names} {during}"), |_| ());
    let names = "mkdir d; medium d/a; medium d/b; medium d/c; medium d/e; settle; cut;";
    over_schedules(&format!("{names} mv d/a d/f; pause 1; mv d/f d/a; write d/e"), |_| ());
}

#[test]
fn h13a_a_listing_without_changes_sends_nothing_again() {
    let tree = "mkdir d; small d/a; small d/b; medium d/c; large d/e; settle; forget;";
    for again in ["restart source", "restart sink", "cut; settle; cut"] {
        // What arrives twice is refused once, and then sent again.
        let world = |seed| {
            let mut world = World::new(seed);
            world.doubles = false;
            world
        };
        over(0..SEEDS, world, &format!("{tree} {again}"), |world| {
            assert!(world.sinks[0].puts.is_empty());
        });
    }
}

/// What a history comes to while removals are halted: all of this stays at the sink, and the
/// source says why. Once a person has said so, the trees become equal.
fn halted(world: impl Fn(u64) -> World, history: &str, stays: &[&str]) {
    for seed in 0..SEEDS / 4 {
        let mut world = world(seed);
        world.draw_weights();
        play(&mut world, history, 6);
        let gone: Vec<_> = stays.iter().filter(|at| !has(&world, at)).collect();
        assert!(gone.is_empty(), "seed {seed} of {history}: {gone:?} went");
        let why = figures(&world, 0).halted.unwrap_or_default();
        assert!(
            why.contains("resume") || why.contains("put it back"),
            "seed {seed} of {history}: {why:?}"
        );
        play(&mut world, "find root; pause 1000; resume", 1);
        let ended = world.check();
        assert_eq!(ended, Ok(()), "seed {seed} of {history}");
    }
}

const MOUNTED: &str = "hold looks; mkdir m; mkdir d; small d/k; medium z; mount m; small m/x; \
                       mkdir m/p; medium m/p/y; settle;";
const ALL_MOUNTED: [&str; 5] = ["m/x", "m/p/y", "d", "d/k", "z"];

#[test]
fn h13b_an_unmounted_filesystem_halts_removals() {
    for then in [
        "unmount m",
        "unmount m; mount m; cut",
        "write m/x; hold notices; unmount m; chmod m 700; pause 200; open",
        "unmount m; rm z; rmall d; small d",
    ] {
        halted(World::new, &format!("{MOUNTED} {then}; pause 40000"), &ALL_MOUNTED);
    }
}

#[test]
fn h13b_what_comes_and_goes_without_an_event_halts_removals() {
    let blind = |seed| {
        let bounds = Bounds { watches: 0, live_bytes: 6_000, ..Bounds::default() };
        World::with(seed, bounds, DeletePolicy::Live)
    };
    for then in ["unmount m", "unmount m; mount m", "mount d", "mount m"] {
        let sweeps = "pause 11000; pause 11000; pause 900";
        halted(blind, &format!("{MOUNTED} {then}; {sweeps}"), &ALL_MOUNTED);
    }
    halted(World::new, &format!("{MOUNTED} mount d; cut; pause 9000"), &ALL_MOUNTED);
}

#[test]
fn h13c_a_root_that_was_replaced_halts_removals() {
    let tree = "mkdir d; small d/k; mkdir d/e; medium z; settle;";
    let lost = "lose root; cut; pause 100; rm z; rmall d; small d; pause 40000";
    halted(World::new, &format!("{tree} {lost}"), &["d/k", "d/e", "z"]);
}

#[test]
fn h14a_a_directory_made_again_has_nothing_of_the_old_one() {
    over_schedules("mkdir p; small p/x; small p/y; settle; rmall p; mkdir p; small p/x", |_| ());
    let unseen = "hold notices; rmall p; mkdir p; small p/z; pause 20; open";
    over_schedules(&format!("mkdir p; small p/x; small p/y; settle; {unseen}"), |world| {
        assert!(!has(world, "p/x"));
    });
    over_schedules("mkdir p; small p/x; settle; out p; mkdir p; in q; small p/y", |_| ());
}

#[test]
fn h14b_a_look_faster_than_the_events() {
    let dirs = "mkdir a; mkdir b; medium a/x; small b/x; small b/y; settle;";
    let held = "hold notices; swap a b; open";
    over_schedules(&format!("{dirs} write a/x; {held}; write a/x; pause 3"), |_| ());
    over_schedules(&format!("{dirs} write a/x; hold looks; swap a b; pause 5; open"), |_| ());
    over_schedules(&format!("{dirs} hold seen; write a/x; pause 5; swap a b; open"), |_| ());
}

#[test]
fn h14c_no_removal_travels_before_its_rename() {
    over_schedules("mkdir d; medium d/x; settle; write d/x open; mv d e; write e/x", |_| ());
    over_schedules("mkdir d; medium d/x; settle; mv d e; write e/x; mv e g; write g/x", |_| ());
    over_schedules("mkdir d; medium d/x; medium d/y; settle; forget; chmod d/x 600; mv d e", |w| {
        assert!(w.sinks[0].puts.is_empty());
    });
}

/// A look comes between a rename and its event: what it does not find there is not gone.
#[test]
fn h14c_what_moved_is_not_removed_first() {
    let tree = "mkdir d; medium d/x; medium d/y; medium z; mkdir e; settle;";
    let late = |look: &str, mv: &str| {
        format!("hold looks; {look}; pause 30; hold notices; {mv}; let looks; pause 80")
    };
    for (look, mv) in [
        ("chmod d 700", "mv d g"),
        ("chmod d 700", "mv d e/g"),
        ("chmod d/x 600", "mv d/x e/x"),
        ("chmod z 600", "mv z d/z"),
    ] {
        for seed in 0..SEEDS / 4 {
            let mut world = World::new(seed);
            world.draw_weights();
            play(&mut world, tree, 4);
            watch(&mut world);
            play(&mut world, &late(look, mv), 1);
            assert_eq!(sent(&world, &["Remove {"]), 0, "seed {seed}: {look}; {mv}");
            world.trace = None;
            world.check().unwrap();
        }
    }
}

#[test]
fn h14d_what_is_armed_and_not_walked_is_walked_where_it_goes() {
    let tree = "mkdir a; mkdir z; mkdir z/d; mkdir z/d/e; small z/d/x; small z/d/e/y;";
    for pause in [0, 1, 2, 4] {
        over_schedules(&format!("{tree} pause {pause}; mv z/d a/d; small a/k"), |_| ());
    }
}

#[test]
fn h14e_moved_to_a_place_that_is_not_armed() {
    let tree = "mkdir a; small a/x; mkdir b; mkdir b/c;";
    over_schedules(&format!("{tree} mv a b/c/a; pause 2; write b/c/a/x; small b/c/a/y"), |_| ());
    over_schedules(&format!("{tree} settle; storm n; mv a n/d/d/a; write n/d/d/a/x"), |_| ());
    over_schedules(&format!("{tree} settle; mkdir n; mv a n/a; pause 30; write n/a/x"), |_| ());
}

#[test]
fn h14f_events_below_a_directory_that_is_gone_find_their_way() {
    let tree = "mkdir p; mkdir p/q; small p/q/x; medium p/q/y; settle;";
    over_schedules(&format!("{tree} hold notices; write p/q/x; mv p r; pause 9; open"), |_| ());
    over_schedules(&format!("{tree} write p/q/x open; mv p/q s; mv p t; write s/y"), |_| ());
    over_schedules(
        &format!("{tree} write p; hold notices; mv p r; pause 9; write r/q/x")
            .replace("write p;", "chmod p 711;"),
        |_| (),
    );
}

#[test]
fn h15_what_was_removed_while_nobody_looked() {
    over_schedules("small y; small z; settle; restart source; rm y", |world| {
        assert!(!has(world, "y"));
    });
    over_schedules("small y; hold reports; pause 50; restart source; rm y; open", |world| {
        assert!(!has(world, "y"));
    });
    over_schedules("mkdir d; small d/y; settle; hold notices; rmall d; restart source", |world| {
        assert!(!has(world, "d"));
    });
    let renamed = "mkdir d; mkdir d/e; small d/e/y; settle; hold notices; mv d g; restart source";
    over_schedules(renamed, |world| assert!(!has(world, "d") && has(world, "g/e/y")));
}

#[test]
fn h15_what_was_never_offered_stays() {
    over_schedules("foreign note; small y; settle; restart source; rm y", |world| {
        assert!(has(world, "note") && !has(world, "y"));
        assert_eq!(figures(world, 0).foreign, 1);
    });
}

#[test]
fn h27_an_overflow_during_a_sweep_is_swept_again() {
    let small = |seed| {
        let bounds = Bounds { queue: 3, live_bytes: 6_000, ..Bounds::default() };
        World::with(seed, bounds, DeletePolicy::Live)
    };
    let tree = "mkdir a; small a/x; mkdir b; small b/x; mkdir b/c; settle; hold notices;";
    let first = "small a/k; small a/l; small b/k; small b/l; write a/x; open;";
    let again = "hold notices; small a/m; rmall b; mkdir b; small b/y; write a/x; open";
    over(0..SEEDS, small, &format!("{tree} {first} {again}"), |world| {
        assert!(figures(world, 0).overflows > 0);
    });
}

#[test]
fn h27_a_directory_made_again_inside_an_overflow_is_watched() {
    for seed in 0..100 {
        let bounds = Bounds { queue: 2, live_bytes: 6_000, ..Bounds::default() };
        let mut world = World::with(seed, bounds, DeletePolicy::Live);
        play(&mut world, "mkdir d; small d/x; small k; settle; hold notices", 4);
        play(&mut world, "write k; chmod k 600; rmall d; mkdir d; small d/x; settle", 4);
        // Quiet now: what follows is found by its events alone.
        play(&mut world, "write d/x; settle", 1);
        assert!(world.source.stands(&path("d/x")).is_some());
    }
}
