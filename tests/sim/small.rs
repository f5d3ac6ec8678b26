//! Small histories, all of them: every sequence of up to three changes over three names, each
//! under a few schedules.

use super::history::{Change, Size, path};
use super::world::World;

const NAMES: [&str; 3] = ["a", "b", "a/x"];
/// Changes in a row.
const DEPTH: usize = 3;

/// What may stand at the sink before the changes.
const BEFORE: [&[&str]; 3] = [&[], &["file a", "file b"], &["dir a", "file a/x", "dir b"]];

/// Every change that could be meant, whether or not it can be made.
fn changes() -> Vec<Change> {
    let mut all = Vec::new();
    for at in NAMES.map(path) {
        all.push(Change::Create(at.clone(), Size::Small));
        all.push(Change::Write(at.clone(), Size::Medium, true));
        all.push(Change::Chmod(at.clone(), 0o711));
        all.push(Change::Remove(at.clone()));
        all.push(Change::Mkdir(at.clone()));
        for to in NAMES.map(path).into_iter().filter(|to| *to != at) {
            all.push(Change::Rename(at.clone(), to.clone()));
            if at.as_bytes() < to.as_bytes() {
                all.push(Change::Exchange(at.clone(), to));
            }
        }
    }
    all
}

/// A world in which `before` is at the sink already.
fn settled(before: &[&str], seed: u64) -> World {
    let mut world = World::new(seed);
    for line in before {
        let (kind, at) = line.split_once(' ').unwrap();
        let at = path(at);
        world.make(match kind {
            "dir" => Change::Mkdir(at),
            _ => Change::Create(at, Size::Medium),
        });
    }
    world.check().unwrap();
    world
}

/// Whether each of these changes can be made, one after the other.
fn can_be_made(before: &[&str], history: &[&Change]) -> bool {
    let mut world = World::new(0);
    for line in before {
        let (kind, at) = line.split_once(' ').unwrap();
        let at = path(at);
        let _ = if kind == "dir" {
            world.source.mkdir(&at)
        } else {
            world.source.create(&at, b"before")
        };
    }
    history.iter().all(|change| world.apply(change).is_ok())
}

/// Runs a history under one schedule.
fn run(before: &[&str], history: &[&Change], seed: u64) -> Result<(), String> {
    let mut world = settled(before, seed);
    world.draw_weights();
    let pace = [1, 4, 12, 40][seed as usize % 4];
    for change in history {
        for _ in 0..world.dice.below(pace) {
            world.step();
        }
        let _ = world.apply(change);
    }
    let result = world.check();
    if let (Err(_), Some(trace)) = (&result, &world.trace) {
        eprintln!("{trace}");
    }
    result
}

/// Extends a history by every change that can be made, as deep as it goes.
fn explore<'a>(
    before: &[&str],
    all: &'a [Change],
    history: &mut Vec<&'a Change>,
    seeds: [u64; DEPTH],
    count: &mut usize,
) {
    for change in all {
        history.push(change);
        if can_be_made(before, history) {
            for round in 0..seeds[history.len() - 1] {
                let seed = round + 4 * (*count as u64);
                *count += 1;
                run(before, history, seed)
                    .unwrap_or_else(|why| panic!("seed {seed}: {before:?} {history:?}: {why}"));
            }
            if history.len() < DEPTH {
                explore(before, all, history, seeds, count);
            }
        }
        history.pop();
    }
}

fn explore_all(before: &[&str]) {
    let (all, mut count) = (changes(), 0);
    explore(before, &all, &mut Vec::new(), [24, 12, 6], &mut count);
    eprintln!("{count} runs");
    assert!(count > 100, "{count} runs only");
}

#[test]
fn three_changes_of_an_empty_tree() {
    explore_all(BEFORE[0]);
}

#[test]
fn three_changes_of_two_files() {
    explore_all(BEFORE[1]);
}

#[test]
fn three_changes_of_directories() {
    explore_all(BEFORE[2]);
}

#[test]
fn a_rename_before_an_exchange() {
    let changes = [
        Change::Rename(path("a"), path("b")),
        Change::Create(path("a"), Size::Small),
        Change::Exchange(path("a"), path("b")),
    ];
    let history: Vec<&Change> = changes.iter().collect();
    for seed in 0..200 {
        run(BEFORE[2], &history, seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
