//! What the ledger may believe: H1, H2, H19 to H21, and what a restart costs.

use osync::model::message::Body;

use super::super::world::World;
use super::{figures, has, over_schedules, play, sent, watch};

const POOL: &str = "mkdir d; mkdir d/e; small d/x; medium d/y; symlink d/s; small d/e/z; large l;";

#[test]
fn h1_what_was_not_durable_is_not_believed() {
    for lost in ["small f", "write d/x", "rm d/x", "mv d/y d/w", "mv d g", "mv d/e h", "swap d e"] {
        let pool = format!("{POOL} mkdir e; small e/k; settle; {lost}; pause 3;");
        over_schedules(&format!("{pool} crash sink"), |_| ());
        over_schedules(&format!("{pool} crash sink; restart source"), |_| ());
        over_schedules(&format!("{pool} restart source; crash sink; small k"), |_| ());
    }
}

#[test]
fn h1_what_a_crash_brought_back_is_not_foreign() {
    over_schedules(&format!("{POOL} settle; rmall d; pause 3; crash sink"), |world| {
        assert!(!has(world, "d"));
    });
    let twice = "settle; rm d/x; pause 3; crash sink; small d/x; pause 3; crash sink; rm d/x";
    over_schedules(&format!("{POOL} {twice}; restart source"), |_| ());
}

#[test]
fn h2_an_emptied_sink_is_filled_again() {
    over_schedules(&format!("{POOL} settle; stop; empty sink; restart source"), |_| ());
    over_schedules(&format!("{POOL} settle; empty sink; restart source"), |_| ());
    over_schedules(&format!("{POOL} settle; empty sink; restart sink; write d/x"), |_| ());
}

#[test]
fn h2_an_older_state_of_the_sink_is_compared() {
    let later = "write d/x; small d/n; chmod d/y 600; settle; rollback; pause 3";
    over_schedules(&format!("{POOL} settle; snapshot; {later}"), |_| ());
    over_schedules(&format!("{POOL} settle; snapshot; {later}; restart source"), |_| ());
    over_schedules(&format!("{POOL} settle; snapshot; {later}; rollback"), |_| ());
}

#[test]
fn h2_another_disk_gets_everything() {
    over_schedules(&format!("{POOL} settle; replace sink; restart source"), |_| ());
}

#[test]
fn h20_an_edit_that_keeps_size_and_mtime_arrives_after_a_restart() {
    for at in ["d/x", "d/y", "l", "d/e/z"] {
        over_schedules(&format!("{POOL} settle; stop; edit {at}; restart source"), |_| ());
        let both = format!("{POOL} settle; stop; edit {at}; chmod {at} 600; restart source");
        over_schedules(&both, |_| ());
    }
}

#[test]
fn h20_attributes_alone_send_no_content() {
    let chmods = "stop; chmod d/x 600; chmod d/y 640; chmod l 600; restart source";
    over_schedules(&format!("{POOL} settle; forget; {chmods}"), |world| {
        assert!(world.sinks[0].puts.is_empty(), "{:?}", world.sinks[0].puts);
    });
}

#[test]
fn h21_a_directory_whose_time_was_moved_at_the_sink_gets_it_back() {
    let torn = "settle; write d/x; catch d/x; pause 3; open; pause 1; restart sink";
    over_schedules(&format!("{POOL} {torn}"), |_| ());
    over_schedules(&format!("{POOL} {torn}; restart source"), |_| ());
}

#[test]
fn h21_a_directory_that_changes_between_two_listings_of_a_restart_is_dressed() {
    // The listing above told that it has its attributes; what came since moved its time, before
    // anything watched it.
    for change in ["small d/n", "mkdir d/n", "small d/n; rm d/n", "chmod d 700"] {
        let during = format!("stop; restart source; pause 1; {change}");
        over_schedules(&format!("{POOL} settle; pause 50; {during}"), |_| ());
    }
}

#[test]
fn h21_a_directory_in_which_a_listing_makes_another_gets_its_time_back() {
    // Its attributes went, and were durable, after something was made in it of which the event was
    // never read: by the ledger it has its attributes, and the listing makes what it lacks.
    for lost in ["mkdir d/n", "mkdir d/n; small d/n/k", "mv d/e d/n"] {
        let looked = "hold looks; chmod d 700; pause 5; hold notices";
        let unread = format!("{looked}; {lost}; let looks; pause 60; restart source; open");
        over_schedules(&format!("{POOL} settle; pause 50; {unread}"), |_| ());
    }
}

#[test]
fn a_restart_of_a_quiet_pair_asks_next_to_nothing() {
    for restart in ["restart source", "restart sink", "cut"] {
        for seed in 0..20 {
            let mut world = World::new(seed);
            let mut pool = String::from(POOL);
            for dir in 0..10 {
                pool += &format!("mkdir p{dir}; small p{dir}/a; small p{dir}/b; symlink p{dir}/c;");
            }
            play(&mut world, &format!("{pool} settle; pause 100"), 4);
            // What was read as soon as it was written is proved by the first restart (H19).
            play(&mut world, &format!("{restart}; settle; pause 100"), 1);
            watch(&mut world);
            play(&mut world, &format!("{restart}; settle"), 1);
            let listings = sent(&world, &["Listing("]);
            let all = sent(&world, &["lane: "]);
            // The root is listed, in parts of a few entries, and gets its attributes.
            assert!(listings <= 6 && all <= listings + 2, "seed {seed}: {listings} of {all}");
        }
    }
}

#[test]
fn a_restart_sends_only_what_changed() {
    let changes = "stop; write d/x; rm d/y; small d/e/n; touch d/e/z; mkdir d/new; small d/new/k";
    over_schedules(&format!("{POOL} settle; forget; {changes}; restart source"), |world| {
        assert!(world.sinks[0].puts.len() <= 4, "{:?}", world.sinks[0].puts);
        assert!(!has(world, "d/y") && has(world, "d/new/k"));
    });
}

#[test]
fn a_renamed_directory_is_still_known_after_a_restart() {
    // Should the rename have become a listing, or something have changed before it was durable,
    // the directory is compared.
    let mut quiet = 0;
    for seed in 0..200 {
        let mut world = World::new(seed);
        play(&mut world, &format!("{POOL} settle; mv d moved; settle; pause 100"), 4);
        watch(&mut world);
        play(&mut world, "restart source; settle", 1);
        let below = world.trace.as_deref().unwrap().lines();
        let below = below.filter(|line| line.contains(" send ") && line.contains("dir: \"moved"));
        quiet += u32::from(below.count() == 0);
    }
    assert!(quiet >= 150, "{quiet} of 200");
}

#[test]
fn foreign_names_are_found_by_the_closing_sweep() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        play(&mut world, &format!("{POOL} settle; foreign d/note; restart source; pause 500"), 4);
        world.settle().unwrap();
        world.cut_over().unwrap();
        assert_eq!(figures(&world, 0).foreign, 1, "seed {seed}");
        world.check().unwrap();
        assert!(has(&world, "d/note"));
    }
}

#[test]
fn a_partial_listing_concludes_nothing() {
    let mut world = World::new(5);
    play(&mut world, &format!("{POOL} settle; foreign d/note; pause 50"), 1);
    watch(&mut world);
    play(&mut world, "stop; small d/n; restart source; hold work; pause 100", 1);
    let parts = world.sinks[0].lanes.iter().flatten();
    for message in parts {
        if let Body::Listing(part) = &message.body
            && !part.dir.is_root()
        {
            assert_eq!(part.end, osync::model::op::ListingEnd::Abandoned);
        }
    }
    play(&mut world, "open; settle", 1);
    assert!(has(&world, "d/note"));
}
