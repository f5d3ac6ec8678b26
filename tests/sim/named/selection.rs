//! Renames into the selection, out of it and across its rules, and what the rules protect.
//!
//! | mend taken out | what failed |
//! |---|---|
//! | a rename to or from a hidden name is taken for one within | into and out of (directories) |
//! | a directory travels as a rename whatever the rules say below it | across rules |
//! | directories hidden at their new place stay in the map | across rules |
//! | what the rules protect is removed like all else | all but those over renames |
//! | the sink heeds no kind that a removal spares | one kind; under a hidden name |
//! | what is withheld is gone | withheld |
//! | a hidden name that comes or goes leaves its directory's times alone | most of them |

use osync::model::session::DeletePolicy;

use super::super::history::path;
use super::super::rulings::Ruling;
use super::super::tree::Bounds;
use super::super::world::World;
use super::{figures, has, over, play, sent, watch};

/// Schedules that a history runs under.
const SEEDS_RULED: u64 = 100;

fn ruled(seed: u64, policy: DeletePolicy, ruling: &Ruling) -> World {
    let mut world = World::with(seed, Bounds { live_bytes: 6_000, ..Bounds::default() }, policy);
    world.select(ruling.selection());
    world
}

/// Plays a history under rules, in worlds of one sink.
fn under(rules: &[&'static str], history: &str, also: impl Fn(&mut World)) {
    let ruling = Ruling::of(rules);
    over(0..SEEDS_RULED, |seed| ruled(seed, DeletePolicy::Live, &ruling), history, also);
}

/// The source is started again under other rules; then a history is played.
fn then_under(world: &mut World, rules: &[&'static str], history: &str) {
    world.restart_source();
    world.select(Ruling::of(rules).selection());
    play(world, history, 6);
    world.check().unwrap();
}

fn content(world: &World, at: &str) -> Vec<u8> {
    world.sinks[0].tree.stands(&path(at)).map(|stands| stands.content).unwrap_or_default()
}

#[test]
fn files_are_renamed_into_the_selection_and_out_of_it() {
    let out = "small a; medium b; settle; mv a a.o; mv b b.o; write a.o";
    under(&["- *.o"], out, |world| {
        for at in ["a", "a.o", "b", "b.o"] {
            assert!(!has(world, at), "{at}");
        }
        play(world, "mv b.o c; small d; swap d a.o; settle", 6);
        assert!(has(world, "c") && has(world, "d") && !has(world, "a.o"));
    });
    under(&["- *.o"], "small a; settle; mv a b.o; mv b.o c; pause 20; mv c d.o; small c", |_| ());
    under(
        &["- *.o"],
        "medium a.o; medium b; settle; mv a.o b; pause 5; mv b c.o; mv c.o b",
        |_| (),
    );
}

#[test]
fn directories_are_renamed_into_the_selection_and_out_of_it() {
    let tree = "mkdir d; mkdir d/s; small d/s/x; mkdir h.o; small h.o/x; settle;";
    under(&["- *.o"], &format!("{tree} mv d d.o; small d.o/y; write d.o/s/x"), |world| {
        assert!(!has(world, "d") && !has(world, "d.o"));
        play(world, "mv d.o e; mv h.o e/h; settle", 6);
        assert!(has(world, "e/s/x") && has(world, "e/y") && has(world, "e/h/x"));
    });
    under(&["- *.o"], &format!("{tree} swap d h.o; pause 20; small d/y; small h.o/y"), |_| ());
    under(&["- q/"], &format!("{tree} mv d q; small q/y; mv q r; mv h.o q; mv q d"), |_| ());
    under(&["- d"], "small d; mkdir e; small e/x; settle; swap d e; pause 30; swap e d", |_| ());
}

const ACROSS: &str = "mkdir d; small d/x; mkdir d/s; small d/s/y; mkdir d/t; settle;";

#[test]
fn a_rename_across_rules_for_one_place_does_not_travel_as_one() {
    under(&["- /d/x", "- /e/s", "- e/t/"], &format!("{ACROSS} mv d e"), |world| {
        assert!(has(world, "e/x") && !has(world, "e/s") && !has(world, "e/t") && !has(world, "d"));
        play(world, "small e/s/z; write e/s/y; mv e d; pause 20; small d/t/z; settle", 6);
        assert!(!has(world, "d/x") && has(world, "d/s/z") && has(world, "d/t/z"));
    });
    under(&["- /d/s/y"], &format!("{ACROSS} mv d/s d/r; pause 5; mv d e; write e/r/y"), |_| ());
    let two = "mkdir e; mkdir e/s; small e/s/y; small e/x; settle; swap d e; small d/s/z";
    under(&["- /d/s", "- /e/x"], &format!("{ACROSS} {two}"), |_| ());
    under(&["- **/s/y"], &format!("{ACROSS} mv d/s d/r; mv d e; mv e/r e/s; mv e d"), |_| ());
}

#[test]
fn a_rename_of_which_the_rules_say_the_same_is_still_one() {
    let ruling = Ruling::of(&["- *.o", "- /x/*/y", "- q/r"]);
    for seed in 0..100 {
        let mut world = ruled(seed, DeletePolicy::Live, &ruling);
        play(&mut world, &format!("{ACROSS} small d/s/b.o;"), 6);
        watch(&mut world);
        play(&mut world, "mv d e; pause 500; mv e/s e/r; settle", 6);
        assert_eq!(sent(&world, &["Listing("]) + sent(&world, &["Put {"]), 0, "seed {seed}");
    }
}

#[test]
fn what_the_sink_has_under_a_hidden_name_stays() {
    for policy in [DeletePolicy::Live, DeletePolicy::All] {
        let ruling = Ruling::of(&["- *.o", "- h/"]);
        let world = |seed| {
            let world = ruled(seed, policy, &ruling);
            let tree = &world.sinks[0].tree;
            for at in ["h", "d", "d/s"] {
                tree.mkdir(&path(at)).unwrap();
            }
            for at in ["a.o", "h/x", "d/s/b.o"] {
                tree.create(&path(at), b"the sink's").unwrap();
            }
            world
        };
        let tree = "small a.o; small a; mkdir d; mkdir d/s; small d/s/x; small d/s/b.o; mkdir h";
        let changes = "small h/x; settle; rm a.o; mv a a.o; write h/x; rmall d; rmall h";
        over(0..SEEDS_RULED, world, &format!("{tree}; {changes}"), |world| {
            for at in ["a.o", "h/x", "d/s/b.o"] {
                assert_eq!(content(world, at), b"the sink's", "{at}");
            }
            assert!(!has(world, "d/s/x") && !has(world, "a"));
            let figures = figures(world, 0);
            assert_eq!((figures.foreign, figures.problems), (0, 0));
        });
    }
}

#[test]
fn a_rule_for_one_kind_protects_that_kind_alone() {
    for (rule, file, dir) in [("- */", false, true), ("-! */", true, false)] {
        let ruling = Ruling::of(&[rule]);
        let world = |seed| {
            let world = ruled(seed, DeletePolicy::All, &ruling);
            world.sinks[0].tree.create(&path("f"), b"foreign").unwrap();
            world.sinks[0].tree.mkdir(&path("d")).unwrap();
            world
        };
        over(0..SEEDS_RULED, world, "small a; mkdir b; settle; rm a; rm b", |world| {
            assert_eq!((has(world, "f"), has(world, "d")), (file, dir));
            assert!(!has(world, "a") && !has(world, "b"));
        });
    }
}

#[test]
fn other_rules_after_a_restart_leave_what_was_offered() {
    let tree = "small a.o; small b; mkdir d; small d/c.o; small d/x; settle";
    under(&[], tree, |world| {
        let old = content(world, "a.o");
        then_under(world, &["- *.o"], "write a.o; rm d/c.o; mv b e.o; pause 50; write d/x");
        assert_eq!(content(world, "a.o"), old);
        assert!(has(world, "d/c.o") && !has(world, "b") && !has(world, "e.o"));
        then_under(world, &["H c.o", "P x", "- a.o"], "rm a.o; rmall d");
        assert!(has(world, "a.o") && has(world, "d/x") && !has(world, "d/c.o"));
        then_under(world, &[], "small z");
        assert!(!has(world, "a.o") && !has(world, "d") && has(world, "e.o"));
    });
}

#[test]
fn what_is_withheld_stays_as_it_is_at_the_sink() {
    let ruling = Ruling { rules: Vec::new(), max_size: Some(100) };
    let world = |seed| ruled(seed, DeletePolicy::Live, &ruling);
    over(
        0..SEEDS_RULED,
        world,
        "small f; small g; medium h; settle; write f large; mv g i",
        |world| {
            assert_eq!(content(world, "f").len(), 24);
            assert!(!has(world, "h") && has(world, "i"));
            play(world, "mv f j; write h; settle", 6);
            assert!(!has(world, "f") && !has(world, "j") && has(world, "h"));
            play(world, "write h medium; rm h; settle", 6);
            assert!(!has(world, "h"));
        },
    );
}

#[test]
fn a_perishable_rule_protects_nothing_in_a_directory_that_goes() {
    let ruling = Ruling::of(&["-p *.o"]);
    let world = |seed| {
        let world = ruled(seed, DeletePolicy::All, &ruling);
        for dir in ["d", "e"] {
            world.sinks[0].tree.mkdir(&path(dir)).unwrap();
            world.sinks[0]
                .tree
                .create(&path(dir).join(&super::super::history::name("x.o")), b"")
                .unwrap();
        }
        world
    };
    over(0..50, world, "mkdir e; mkdir d; small d/y; settle; rmall d", |world| {
        assert_eq!((has(world, "d"), has(world, "e/x.o")), (false, true));
    });
}
