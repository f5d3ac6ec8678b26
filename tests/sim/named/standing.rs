//! What must not stand still, starve or grow: H11, H16, H17, H28.

use std::time::Duration;

use osync::flow::session::Outgoing;
use osync::model::limits::{BATCH_BYTES_MAX, LISTING_PARTS_MAX, MARKS_PER_DIR_MAX, WANTS_MAX};
use osync::model::message::{Body, ListingAnswer, MessageAnswer, Picked};
use osync::model::op::ListingEnd;
use osync::model::session::{Credit, DeletePolicy};
use osync::model::stamp::Lane;

use super::super::history::{Change, Size, name, path};
use super::super::tree::{Bounds, ModelTree};
use super::super::world::World;
use super::{each_content_once, figures, has, over_schedules, play, sent, watch};

#[test]
fn h11_a_change_does_not_throw_a_transfer_away() {
    over_schedules("large f; pause 5; write f large; pause 5; write f large", |_| ());
    over_schedules("mkdir d; large d/f; pause 5; mv d e; pause 5; chmod e/f 600", |_| ());
    over_schedules("large f; pause 5; mv f g; large f; pause 5; swap f g", |_| ());
    over_schedules("large f; pause 5; rm f; small f; pause 5; write f large; cut", |_| ());
}

#[test]
fn h11_a_version_arrives_of_a_file_that_is_never_quiet() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        play(&mut world, "large f; pause 20", 4);
        for _ in 0..200 {
            play(&mut world, "write f large; pause 30", 4);
        }
        assert!(has(&world, "f"), "seed {seed}: no version arrived in six seconds");
        world.check().unwrap();
    }
}

/// Takes the first message of the backlog lane that is as asked for; the others go on.
fn put_aside(world: &mut World, is_meant: impl Fn(&Body) -> bool) -> Outgoing {
    let lane = &mut world.sinks[0].lanes[Lane::Backlog.index()];
    let at = lane.iter().position(|message| is_meant(&message.body)).expect("no such message");
    lane.remove(at).unwrap()
}

/// What is written while a transfer is on its way is forgotten by both sides as soon as it is
/// answered: neither the look that opened the file nor its chunks hold a stamp.
#[test]
fn h11_a_transfer_holds_no_watermark() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        play(&mut world, "mkdir d; settle; hold backlog; large f; pause 50", 1);
        let chunk = put_aside(&mut world, |body| matches!(body, Body::Sign { .. }));
        play(&mut world, "let backlog", 1);
        for file in 0..60 {
            play(&mut world, &format!("small d/f{file}; pause 20"), 1);
        }
        assert!(!has(&world, "f"));
        let remembered = world.sinks[0].remembered();
        assert!(remembered < 10, "seed {seed}: {remembered} stamps remembered of one transfer");
        play(&mut world, "hold live; small d/last; pause 2000", 1);
        let last = world.sinks[0].lanes[Lane::Live.index()].back().unwrap();
        let Body::Operations(operations) = &last.body else { panic!("{last:?}") };
        let behind = operations[0].stamp.0 - last.watermark.0;
        assert!(behind < 10, "seed {seed}: the watermark is {behind} stamps behind");
        world.sinks[0].lanes[Lane::Backlog.index()].push_back(chunk);
        world.check().unwrap();
    }
}

#[test]
fn h16_live_is_small() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        play(&mut world, "small a; settle", 4);
        watch(&mut world);
        play(&mut world, "large f; pause 50; write a large; settle", 4);
        assert!(sent(&world, &["Chunk {"]) > 0);
        assert_eq!(sent(&world, &["Chunk {", "lane: Live"]), 0, "seed {seed}");
        assert_eq!(sent(&world, &["Commit {", "lane: Live"]), 0, "seed {seed}");
    }
}

#[test]
fn h16_a_hot_file_cools() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        play(&mut world, "medium f; settle", 4);
        let before: u32 = world.sinks[0].puts.values().sum();
        for _ in 0..500 {
            play(&mut world, "write f medium; pause 2", 2);
        }
        world.check().unwrap();
        let puts: u32 = world.sinks[0].puts.values().sum();
        assert!(puts - before < 250, "seed {seed}: {} of 500 versions travelled", puts - before);
    }
}

#[test]
fn h16_the_backlog_goes_on_under_a_hot_file() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        play(&mut world, "mkdir d; large d/x; small d/y; medium f; pause 2", 4);
        for _ in 0..500 {
            play(&mut world, "write f medium; pause 2", 2);
        }
        assert!(has(&world, "d/x") && has(&world, "d/y"), "seed {seed}");
        world.check().unwrap();
    }
}

#[test]
fn h17a_what_fails_pins_nothing() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.draw_weights();
        let mut history = String::from("mkdir bad; mkdir good;");
        for file in 0..40 {
            history += &format!("small bad/f{file}; unreadable bad/f{file};");
        }
        play(&mut world, &history, 4);
        play(&mut world, "small good/x; pause 5000; small good/y; write good/x; pause 5000", 4);
        assert!(has(&world, "good/x") && has(&world, "good/y"), "seed {seed}");
        assert!(figures(&world, 0).problems > 0);
        for file in 0..40 {
            world.source.set_unreadable(&path(&format!("bad/f{file}")), false);
            play(&mut world, &format!("write bad/f{file}"), 1);
        }
        world.check().unwrap();
    }
}

#[test]
fn h17a_what_failed_in_a_listing_is_looked_at_again() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        play(&mut world, "small f; unreadable f; pause 5000; readable f; pause 120000", 1);
        world.check().unwrap();
    }
}

#[test]
fn h17a_a_directory_that_becomes_readable_is_read() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        play(&mut world, "mkdir d; unreadable d; small d/x; mkdir d/e; small d/e/y; pause 5000", 4);
        assert!(figures(&world, 0).problems > 0, "seed {seed}");
        play(&mut world, "readable d; chmod d 711; pause 5000; small d/z; pause 1000", 1);
        assert!(has(&world, "d/e/y") && has(&world, "d/z"), "seed {seed}");
        world.check().unwrap();
    }
}

#[test]
fn h17b_a_full_disk_lets_removals_through() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        play(&mut world, "small a; small k; settle; full; small b; medium c; pause 20", 6);
        play(&mut world, "rm a; chmod k 600; pause 3000", 6);
        assert!(!has(&world, "a"), "seed {seed}: the removal waits behind what has no room");
        let at_sink = world.sinks[0].tree.stands(&path("k")).unwrap();
        assert_eq!(at_sink.entry.meta().mode, 0o600, "seed {seed}");
        play(&mut world, "room; settle", 1);
    }
}

#[test]
fn h17c_a_full_backlog_leaves_live_alone() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        play(&mut world, "small a; settle; hold backlog; large b; large c; pause 100", 6);
        play(&mut world, "small s; write a; pause 1000", 6);
        assert!(has(&world, "s") && !has(&world, "b"), "seed {seed}");
        world.check().unwrap();
    }
}

#[test]
fn h17d_messages_are_bounded_as_well_as_bytes() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        play(&mut world, "settle", 1);
        watch(&mut world);
        play(&mut world, "hold reports", 1);
        for file in 0..200 {
            play(&mut world, &format!("small f{file}; pause 5"), 2);
        }
        assert!(sent(&world, &["lane: Live"]) <= 16, "seed {seed}");
        assert!(sent(&world, &["lane: Backlog"]) <= 16, "seed {seed}");
        world.trace = None;
        world.check().unwrap();
    }
}

#[test]
fn h17e_what_was_lost_last_is_sent_again() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        play(&mut world, "small f; settle; write f; catch f", 4);
        world.sinks[0].lanes.iter_mut().for_each(std::collections::VecDeque::clear);
        play(&mut world, "cut; settle", 1);
    }
    over_schedules("small f; settle; write f; hold reports; pause 20; cut", |_| ());
}

/// A file, or a whole directory, that does not answer any more.
const STUCK: [&str; 2] = ["bad/x", "bad"];

#[test]
fn h17f_a_look_that_never_returns_pins_nothing() {
    for (seed, stuck) in (0..60).zip(STUCK.into_iter().cycle()) {
        let mut world = World::new(seed);
        world.draw_weights();
        let tree = "mkdir bad; small bad/x; medium bad/y; mkdir good; small good/x; settle;";
        let dirty = "write bad/x; write bad/y; write good/x; chmod bad 700; small good/new";
        play(&mut world, &format!("{tree} stuck {stuck}; {dirty}; large good/large"), 6);
        play(&mut world, "pause 400000; hold live; write good/x; pause 2000", 6);
        assert!(has(&world, "good/new") && has(&world, "good/large"), "seed {seed}");
        let last = world.sinks[0].lanes[Lane::Live.index()].back().unwrap();
        let Body::Operations(operations) = &last.body else { panic!("{last:?}") };
        let behind = operations[0].stamp.0 - last.watermark.0;
        assert!(behind < 10, "seed {seed}: the watermark is {behind} stamps behind");
        play(&mut world, "let live; pause 1000", 6);
        let content = |tree: &ModelTree, at: &str| tree.stands(&path(at)).unwrap().content;
        let equal = |at| content(&world.source, at) == content(&world.sinks[0].tree, at);
        assert!(equal("good/x"), "seed {seed}");
        assert_eq!(equal("bad/y"), stuck != "bad", "seed {seed}: it hangs with another");
        assert!(figures(&world, 0).problems > 0, "seed {seed}");
        play(&mut world, "unstuck", 1);
        world.check().unwrap();
    }
}

#[test]
fn h17f_a_tree_with_a_part_that_never_answers_is_walked() {
    for (seed, stuck) in (0..60).zip(STUCK.into_iter().cycle()) {
        let mut world = World::new(seed);
        world.draw_weights();
        play(&mut world, "mkdir bad; small bad/x; small bad/y; mkdir good; small good/x", 1);
        play(&mut world, &format!("stuck {stuck}; large good/f; pause 400000"), 1);
        assert!(has(&world, "good/x") && has(&world, "good/f"), "seed {seed}");
        assert!(figures(&world, 0).problems > 0, "seed {seed}");
        play(&mut world, "unstuck; cut", 1);
        world.check().unwrap();
    }
}

/// Without events a change in the very moment of a look, under the same times, is found by one
/// second look.
#[test]
fn h19_what_changed_just_now_gets_a_second_look() {
    let blind = |seed| {
        let bounds = Bounds { watches: 0, live_bytes: 6_000, ..Bounds::default() };
        World::with(seed, bounds, DeletePolicy::Live)
    };
    for seed in 0..100 {
        let mut world = blind(seed);
        world.draw_weights();
        play(&mut world, "mkdir d; freeze; small d/f; catch d/f; write d/f; thaw; open", 1);
        world.check().unwrap();
    }
    // A clock that never goes on makes no end of second looks.
    for when in ["freeze; small d/f", "small d/f; freeze; write d/f"] {
        for seed in 0..40 {
            let mut world = blind(seed);
            world.doubles = false;
            play(&mut world, &format!("mkdir d; {when}; pause 60000"), 4);
            world.check().unwrap();
            let most = world.sinks[0].puts.values().max().copied();
            assert!(most <= Some(2), "seed {seed} of {when}: {most:?} looks");
        }
    }
}

#[test]
fn h28_marks_of_one_directory_fold() {
    let bounds = Bounds { queue: 100_000, part_entries: 512, ..Bounds::default() };
    let mut world = World::with(7, bounds, DeletePolicy::All);
    play(&mut world, "mkdir d; settle; hold looks", 1);
    for file in 0..MARKS_PER_DIR_MAX + 200 {
        let at = path("d").join(&name(&format!("f{file}")));
        world.apply(&Change::Create(at, Size::Small)).unwrap();
    }
    world.run(Duration::from_secs(20));
    assert!(figures(&world, 0).dirty_paths <= MARKS_PER_DIR_MAX as u64 + 64);
    world.check().unwrap();
}

#[test]
fn h28_unanswered_parts_are_bounded() {
    let bounds = Bounds { part_entries: 1, live_bytes: 6_000, ..Bounds::default() };
    let mut world = World::with(3, bounds, DeletePolicy::Live);
    // More than the bound: it is not the credit that keeps the parts few.
    let messages = 4 * LISTING_PARTS_MAX as u32;
    world.grant(Lane::Backlog, Credit { bytes: 4 * BATCH_BYTES_MAX, messages });
    let mut history = String::new();
    for dir in 0..150 {
        history += &format!("mkdir d{dir}; small d{dir}/x; small d{dir}/y;");
    }
    play(&mut world, &history, 1);
    world.holds.lanes = [true; 2];
    world.run(Duration::from_secs(5));
    let parts = world.sinks[0].lanes.iter().flatten();
    let parts = parts.filter(|message| matches!(message.body, Body::Listing(_))).count();
    assert!(parts > 0 && parts <= LISTING_PARTS_MAX, "{parts}");
    world.check().unwrap();
}

/// A sink that asks for what was never listed to it, or for one thing many times, gets what it
/// was offered, once.
#[test]
fn h28_an_answer_names_only_what_was_listed() {
    let odd = |ranges: &[(u32, u32)]| Picked::Ranges(ranges.to_vec());
    for needed in [
        odd(&[(0, 2), (0, 2), (1, u32::MAX), (u32::MAX, 7)]),
        odd(&[(7, 1), (4, u32::MAX), (0, 3), (2, 1), (0, 1)]),
        Picked::All,
    ] {
        let mut world = World::new(5);
        world.doubles = false;
        play(&mut world, "small a; small b; large c; hold backlog; pause 100", 1);
        let sink = &mut world.sinks[0];
        let part = sink.lanes[Lane::Backlog.index()].pop_front().unwrap();
        let Body::Listing(listed) = &part.body else { panic!("{part:?}") };
        assert_eq!((listed.entries.len(), listed.end), (3, ListingEnd::Complete));
        let listing = ListingAnswer {
            needed,
            retouch: odd(&[(3, 1), (9, 2)]),
            superseded: odd(&[(u32::MAX, u32::MAX)]),
            made: odd(&[(u32::MAX, u32::MAX)]),
            ..ListingAnswer::equal(listed.listing, listed.part)
        };
        sink.answers.push(MessageAnswer {
            lane: part.lane,
            sequence: part.sequence,
            exceptions: vec![],
            made: vec![],
            lacking: vec![],
            listing: Some(listing),
            signature: vec![],
        });
        watch(&mut world);
        world.check().unwrap();
        each_content_once(&mut world);
        assert_eq!(sent(&world, &["Commit {"]), 1);
    }
}

/// What the sink needs and can't have yet is kept in mind up to a bound: then listing waits.
#[test]
fn h28_what_is_needed_is_bounded() {
    let bounds = Bounds { queue: 100_000, part_entries: 512, ..Bounds::default() };
    let mut world = World::with(11, bounds, DeletePolicy::All);
    world.grant(Lane::Backlog, Credit { bytes: BATCH_BYTES_MAX, messages: 6 });
    for dir in ["a", "b", "c"] {
        world.source.mkdir(&path(dir)).unwrap();
        for file in 0..WANTS_MAX / 2 {
            world.source.create(&path(&format!("{dir}/{file}")), b"x").unwrap();
        }
    }
    // With one message unanswered there is room for listings, and for no batch of content.
    play(&mut world, "hold backlog; pause 100", 1);
    let first = put_aside(&mut world, |body| matches!(body, Body::Listing(_)));
    play(&mut world, "let backlog; pause 5000", 1);
    let known = figures(&world, 0).files_known as usize;
    assert!(known > WANTS_MAX && known <= WANTS_MAX + 6 * 512, "{known} entries are kept");
    assert_eq!(figures(&world, 0).files_done, 0);
    world.sinks[0].lanes[Lane::Backlog.index()].push_back(first);
    world.check().unwrap();
}
