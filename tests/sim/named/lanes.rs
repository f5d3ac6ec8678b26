//! Two lanes and two epochs that cross: H4, H5, H7, H8, H9, H18.

use osync::model::op::Op;
use osync::model::stamp::Lane;

use super::super::history::path;
use super::super::world::World;
use super::{SEEDS, figures, has, hold, is_put, over, over_schedules, play, waiting};

#[test]
fn h4_attributes_do_not_overtake_their_content() {
    over_schedules("small f; catch f; chmod f 600; pause 100", |_| ());
    over_schedules("large f; pause 20; hold backlog; chmod f 600; pause 100", |_| ());
    over_schedules("small f; settle; write f; chmod f 640; touch f; chmod f 711", |_| ());
    over_schedules("mkdir d; small d/f; chmod d/f 600; write d/f; chmod d/f 640", |_| ());
}

/// What a listing found travels in the backlog lane, without a mark that would keep attributes
/// waiting: these overtake it, and then it is lost. The file at the sink, the old one, must not
/// have got the time of the new one: the next listing would call it equal.
#[test]
fn h4_attributes_do_not_make_an_old_content_look_new() {
    let overtaken = "restart source; write f; catch f; chmod f 600; pause 100; cut; open";
    over_schedules(&format!("small f; settle; {overtaken}"), |_| ());
    let below = overtaken.replace(" f", " d/f");
    over_schedules(&format!("mkdir d; medium d/f; settle; {below}"), |_| ());
}

#[test]
fn h4_of_attributes_alone_no_content_travels() {
    over_schedules("medium f; large g; settle; forget; chmod f 600; chmod g 640", |world| {
        assert!(world.sinks[0].puts.is_empty());
    });
}

#[test]
fn h5_a_listing_refused_is_no_listing_answered() {
    let listed = "mkdir d; small d/x; small d/y; mkdir d/e; small d/e/z;";
    let moved = format!("{listed} hold backlog; pause 20; mv d e; pause 50; open");
    over_schedules(&moved, |_| ());
    let late = format!("{listed} hold work; pause 20; mv d e; pause 50; open; mv e d");
    over_schedules(&late, |_| ());
}

#[test]
fn h7_a_removal_takes_nothing_newer() {
    over_schedules("mkdir p; small p/x; settle; rmall p; mkdir p; small p/x", |_| ());
    over_schedules("mkdir p; small p/x; settle; rmall p; catch p/x; mkdir p; small p/x", |_| ());
    over_schedules("mkdir p; mkdir p/q; small p/q/x; settle; rmall p; storm p; rmall p/d", |_| ());
}

#[test]
fn h7_a_foreign_name_stays_with_its_directory() {
    let history = "mkdir p; small p/x; settle; foreign p/note; rmall p";
    over_schedules(history, |world| {
        assert!(has(world, "p/note") && !has(world, "p/x"));
        assert!(figures(world, 0).foreign > 0 || figures(world, 0).problems > 0);
    });
    over_schedules("mkdir p; small p/x; settle; foreign p/note; rmall p; small p", |world| {
        assert!(has(world, "p/note") && !has(world, "p/x"));
    });
}

#[test]
fn h8_a_late_child_makes_no_directory_of_a_file() {
    over_schedules("mkdir p; small p/x; settle; small p/y; rmall p; small p; pause 50", |_| ());
    let caught = "mkdir p; settle; small p/y; catch p/y; rmall p; small p; pause 80; open";
    over_schedules(caught, |_| ());
    over_schedules("mkdir p; settle; large p/y; pause 2; rmall p; medium p; pause 50", |_| ());
}

/// The name becomes a file and a directory again while content for the first one waits: it is
/// older than the file, and comes to a directory that is none of its own.
#[test]
fn h8_a_late_child_is_not_put_into_the_next_directory() {
    let crossed = "small p/y; catch p/y; hold notices; rmall p; small p; pause 30; let notices; \
                   pause 100; hold notices; rm p; mkdir p; pause 30; let notices; pause 100";
    let mut met: u64 = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        world.draw_weights();
        play(&mut world, "mkdir p; settle; restart source", 1);
        play(&mut world, crossed, 1);
        let stands = world.sinks[0].tree.stands(&path("p"));
        let late = waiting(&world, 0, Lane::Backlog).first().cloned();
        if late.is_some_and(|late| is_put(&late) && late.op.path() == &path("p/y")) {
            met += u64::from(stands.is_some_and(|p| p.entry.is_dir()));
            let sink = &mut world.sinks[0];
            sink.take(Lane::Backlog, false);
            sink.work(sink.hands.len() - 1);
            assert!(!has(&world, "p/y"), "seed {seed}: {:?}", world.sinks[0].answers);
        }
        world.check().unwrap();
    }
    assert!(met > SEEDS / 4, "they crossed in {met} of {SEEDS} schedules");
}

#[test]
fn h8_a_parent_made_on_the_way_gets_its_own_attributes() {
    over_schedules("mkdir p; chmod p 700; mkdir p/q; chmod p/q 711; small p/q/x", |_| ());
    over_schedules("settle; mkdir p; small p/x; chmod p 700; mkdir p/q; small p/q/y", |_| ());
}

#[test]
fn h9_an_old_epoch_is_over_before_the_next() {
    over_schedules("small f; hold work; catch f; open; hold work; cut; write f; pause 50", |_| ());
    over_schedules("small f; settle; hold work; write f; pause 20; cut; write f; cut", |_| ());
    over_schedules("small f; settle; hold reports; write f; pause 20; cut; write f", |_| ());
    over_schedules("large f; small g; pause 5; restart sink; write f; write g; cut", |_| ());
}

/// Between the end of an epoch and the next nothing is told of how the last one ended: a sink that
/// has just registered would take it for its own end.
#[test]
fn h9_an_outcome_is_over_with_its_epoch() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        play(&mut world, "small a; settle", 4);
        world.cut_over().unwrap();
        let id = world.sinks[0].id;
        assert!(world.director.outcome(id).is_some());
        world.director.end(id, world.now);
        assert_eq!(world.director.outcome(id), None, "seed {seed}");
        assert_eq!(world.director.terminating(id), None, "seed {seed}");
        play(&mut world, "cut; small b; settle", 4);
        world.cut_over().unwrap();
    }
}

#[test]
fn h18_the_watermark_is_below_all_that_is_unanswered() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        play(&mut world, "small f; small g; settle; write f; catch f", 1);
        let stamp = |world: &World, lane| {
            waiting(world, 0, lane).iter().find(|one| one.op.path() == &path("f")).map(|o| o.stamp)
        };
        let oldest = Lane::ALL.into_iter().find_map(|lane| stamp(&world, lane)).unwrap();
        hold(&mut world.holds, "live", true);
        hold(&mut world.holds, "backlog", true);
        play(&mut world, "write g; mkdir d; small d/x; pause 200", 4);
        let all = world.sinks[0].lanes.iter().flatten();
        assert!(all.clone().count() > 1, "nothing was sent beside it");
        assert!(all.clone().all(|message| message.watermark < oldest), "seed {seed}");
        world.check().unwrap();
    }
}

#[test]
fn h18_a_look_that_is_still_out_counts() {
    over_schedules("small x; settle; write x; hold seen; pause 5; write x; small y; open", |_| ());
    over_schedules("small x; settle; hold looks; write x; pause 9; small y; mv x z; open", |_| ());
}

#[test]
fn h21_a_directory_gets_its_time_back() {
    over_schedules("mkdir d; small d/x; settle; write d/x; catch d/x; open; restart sink", |_| ());
    over_schedules("mkdir d; small d/x; settle; write d/x; hold reports; pause 9; cut", |_| ());
    over_schedules("mkdir d; large d/x; settle; write d/x large; pause 3; restart sink", |_| ());
    over_schedules("mkdir d; small d/x; settle; write d/x; pause 1; restart source", |_| ());
}

#[test]
fn h32_what_concerns_many_names_waits_for_them() {
    let tree = "mkdir p; mkdir p/q; small p/q/x; medium p/q/y; small p/z; settle;";
    let churn = "write p/q/x; mv p/q r; write r/y; rmall p; small p; rm p; mkdir p; mv r p/r;";
    over(0..400, World::new, &format!("{tree} {churn} write p/r/x; small p/k"), |_| ());
}

#[test]
fn h8_content_waits_in_no_lane_below_a_name_that_is_a_file() {
    over_schedules("mkdir p; small p/x; settle; rmall p; small p; catch p; pause 100", |world| {
        let late = |one: &osync::model::op::Operation| {
            is_put(one) && !matches!(&one.op, Op::Put { path: at, .. } if *at == path("p"))
        };
        assert!(!Lane::ALL.into_iter().any(|lane| waiting(world, 0, lane).iter().any(late)));
    });
}
