//! Names that are one at a sink to which case does not count.

use osync::model::session::{Ending, Outcome};

use super::super::world::World;
use super::{figures, has, play};

/// Ends the session of a world by the cutover.
fn cut_over(world: &mut World) -> (Outcome, Vec<String>, Vec<(String, u64)>) {
    let id = world.sinks[0].id;
    world.director.terminate(id, Ending::Cutover, world.now);
    for _ in 0..200_000 {
        if world.director.outcome(id).is_some() {
            break;
        }
        world.run(std::time::Duration::from_millis(1));
    }
    let report = world.director.outcome(id).expect("It never ends");
    let problems = report
        .problems
        .iter()
        .map(|line| format!("{}: {}", String::from_utf8_lossy(&line.path), line.text));
    (report.outcome, problems.collect(), report.lost_attributes.clone())
}

#[test]
fn one_of_two_names_is_carried_and_the_other_is_a_problem_that_names_both() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.folds_case = true;
        let names = "small Note; small note; mkdir Dir; mkdir dir; small dir/x; small Dir/y";
        play(&mut world, &format!("{names}; cut; pause 3000"), 4);
        let carried = [has(&world, "Note"), has(&world, "note")];
        assert!(carried.contains(&true), "seed {seed}");
        let (outcome, problems, lost) = cut_over(&mut world);
        assert_eq!(outcome, Outcome::Problems, "seed {seed}: {problems:?}");
        for name in ["note", "dir"] {
            let both = |line: &&String| {
                line.to_lowercase().matches(name).count() == 2 && line.contains("are one")
            };
            assert_eq!(problems.iter().filter(both).count(), 1, "seed {seed}: {problems:?}");
        }
        let case = ("names that differ in case alone".to_owned(), 2);
        assert!(lost.contains(&case), "seed {seed}: {lost:?}");
        assert_eq!(figures(&world, 0).foreign, 0, "seed {seed}");
    }
}
