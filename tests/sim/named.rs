//! The histories behind the laws, each by its number.
//!
//! A history is written as a line of changes, holds and waits; between any two of them the world
//! takes some steps of its own, drawn from the seed, so that over many seeds the crossing that a
//! history is about comes up among all others. Each ends when nothing is left to be done, with
//! equal trees.
//!
//! That these tests see what they are named after was tried by taking mends out by hand:
//!
//! | history | mend taken out | what failed |
//! |---|---|---|
//! | H6 | nothing is fenced by a rename | H5, H6b, H6c, H11, H14b, H14c, and three changes |
//! | H5 | "superseded" settles a mark | 29 of these, H5 among them, and three changes |
//! | H18 | the watermark is the last stamp taken | all: what it refuses never arrives |
//! | H4 | attributes presuppose nothing | H4 (an old content looks new), H4 of the applier |
//! | H14c | "gone" does not wait for the queue | H14c (what moved is removed first), H6c |
//! | H9 | an outcome outlives its epoch | H9 (outcome), H9 of `tests/live/registers.rs` |
//! | H8 | a file put somewhere kills nothing below | H8 (the next directory), H8 of the applier |
//! | H11 | the look that opens a large file keeps its stamp until the commit | H11 (watermark) |
//! | H13b | a directory leaves the map though a filesystem was mounted there | H13b (no event) |
//! | H13b | the event of unmounting halts nothing | H13b (unmounted) |
//! | H13b | a filesystem mounted over a directory halts nothing | H13b (no event) |
//! | H13b, H13c | what is gone is removed during a halt (two checks) | all three of them |
//! | H13b, H13c | a directory is cleared during a halt (two checks) | H13b (unmounted), H13c |
//! | H17f | a look that hangs is not given up, or an arming one is not | H17f (pins), H17f (walked) |
//! | H17f | names that failed are looked at together with others | H17f (pins) |
//! | H17f | what could not be listed hides what is below it | H17f (walked) |
//! | H17g | content is staged under the lock of its name | H17g of the applier, after a minute |
//! | H28 | parts unanswered, or names wanted, have no bound | H28 (parts), H28 (needed) |
//! | H28 | indexes beyond a part, or told twice, are believed | H28 (what was listed) |
//! | H15 | a rename leaves without the ledger being asked | H15 (a rename), H15 (an exchange) |
//! | H19 | a young file gets no second look | H19 |
//! | H19 | a second look may call for a third | H19: it never ends |
//! | H26 | a nonce known is granted anew | H26 of `tests/live/registers.rs` |

mod deltas;
mod directories;
mod lanes;
mod ledger;
mod links;
mod removals;
mod renames;
mod room;
mod selection;
mod several;
mod silent;
mod standing;
mod steering;
mod twins;

use std::time::Duration;

use osync::model::message::Body;
use osync::model::op::{Op, Operation};
use osync::model::path::RelPath;
use osync::model::session::Figures;
use osync::model::stamp::Lane;

use super::history::{Change, Size, path};
use super::world::{Holds, World};

/// Steps after which a wait is over.
const CATCH_STEPS: usize = 5_000;
/// Schedules that a history runs under, unless it needs more.
const SEEDS: u64 = 200;

/// Plays a history in worlds of one empty sink under many schedules.
fn over_schedules(history: &str, also: impl Fn(&mut World)) {
    over(0..SEEDS, World::new, history, also);
}

/// The same in worlds of one's own. `also` sees the settled world.
fn over(
    seeds: std::ops::Range<u64>,
    world: impl Fn(u64) -> World,
    history: &str,
    also: impl Fn(&mut World),
) {
    for seed in seeds {
        let mut world = world(seed);
        world.draw_weights();
        let pace = [1, 2, 6, 20, 80][world.dice.below(5)];
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            play(&mut world, history, pace);
            world.check().unwrap();
            also(&mut world);
        }));
        if let Err(panic) = done {
            eprintln!("seed {seed} of {history}");
            if let Some(trace) = &world.trace {
                eprintln!("{trace}");
            }
            std::panic::resume_unwind(panic);
        }
    }
}

/// Plays a history, with up to `pace` steps of the world between any two of its own.
fn play(world: &mut World, history: &str, pace: usize) {
    let lines = history.split(';').map(str::trim).filter(|line| !line.is_empty());
    for (at, line) in lines.enumerate() {
        for _ in 0..world.dice.below(if at == 0 { 1 } else { pace.max(1) }) {
            world.step();
        }
        play_line(world, line, pace);
    }
}

fn play_line(world: &mut World, line: &str, pace: usize) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["settle"] => world.check().unwrap(),
        ["hold", what] => hold(&mut world.holds, what, true),
        ["let", what] => hold(&mut world.holds, what, false),
        ["forget"] => world.sinks[0].puts.clear(),
        ["open"] => world.holds = Holds::default(),
        ["catch", at] => catch(world, 0, &path(at)),
        ["stop"] => world.stop_source(),
        ["snapshot"] => world.keep_snapshot(0),
        ["rollback"] => world.roll_back(0),
        ["empty", "sink"] => world.empty_sink(0),
        ["unreadable", at] => world.source.set_unreadable(&path(at), true),
        ["readable", at] => world.source.set_unreadable(&path(at), false),
        ["freeze"] => world.source.freeze(true),
        ["thaw"] => world.source.freeze(false),
        ["stuck", at] => world.stuck = Some(path(at)),
        ["unstuck"] => world.stuck = None,
        ["mount", at] => world.source.mount(&path(at)).unwrap(),
        ["unmount", at] => world.source.unmount(&path(at)).unwrap(),
        ["lose", "root"] => world.source.lose_root(true),
        ["find", "root"] => world.source.lose_root(false),
        ["resume"] => world.resume(),
        ["foreign", ref all @ ..] => {
            for (sink, at) in world.sinks.iter().flat_map(|s| all.iter().map(move |at| (s, at))) {
                sink.tree.create(&path(at), b"foreign").unwrap();
            }
        }
        ["pause", ms] => world.run(Duration::from_millis(ms.parse().unwrap())),
        _ => {
            let change = change(&words);
            world.apply(&change).unwrap_or_else(|why| panic!("{line}: {why:?}"));
            while let Some(part) = world.parts.pop_front() {
                for _ in 0..world.dice.below(pace.max(1)) {
                    world.step();
                }
                world.apply(&part).unwrap();
            }
        }
    }
}

/// What the words of a line mean.
fn change(words: &[&str]) -> Change {
    match *words {
        ["small", at] => Change::Create(path(at), Size::Small),
        ["medium", at] => Change::Create(path(at), Size::Medium),
        ["large", at] => Change::Create(path(at), Size::Large),
        ["write", at] => Change::Write(path(at), Size::Small, true),
        ["write", at, "medium"] => Change::Write(path(at), Size::Medium, true),
        ["write", at, "large"] => Change::Write(path(at), Size::Large, true),
        ["write", at, "open"] => Change::Write(path(at), Size::Small, false),
        ["write", at, "large", "open"] => Change::Write(path(at), Size::Large, false),
        ["mkdir", at] => Change::Mkdir(path(at)),
        ["symlink", at] => Change::Symlink(path(at)),
        ["ln", from, to] => Change::Link(path(from), path(to)),
        ["chmod", at, mode] => Change::Chmod(path(at), u16::from_str_radix(mode, 8).unwrap()),
        ["touch", at] => Change::Touch(path(at), 1_234),
        ["mv", from, to] => Change::Rename(path(from), path(to)),
        ["swap", a, b] => Change::Exchange(path(a), path(b)),
        ["rm", at] => Change::Remove(path(at)),
        ["rmall", at] => Change::RemoveAll(path(at)),
        ["storm", at] => Change::Storm(path(at)),
        ["out", at] => Change::Out(path(at)),
        ["in", at] => Change::In(path(at)),
        ["cut"] => Change::Cut(0),
        ["cut", sink] => Change::Cut(sink.parse().unwrap()),
        ["restart", "sink"] => Change::RestartSink(0),
        ["restart", "source"] => Change::RestartSource,
        ["replace", "sink"] => Change::ReplaceSink(0),
        ["crash", "sink"] => Change::CrashSink(0),
        ["edit", at] => Change::Edit(path(at)),
        ["slip", at] => Change::Slip(path(at), false),
        ["slip", at, "unseen"] => Change::Slip(path(at), true),
        ["full"] => Change::Full(0, true),
        ["room"] => Change::Full(0, false),
        _ => panic!("no such change: {words:?}"),
    }
}

/// Holds something back, or lets it go again.
fn hold(holds: &mut Holds, what: &str, held: bool) {
    let hold = match what {
        "notices" => &mut holds.notices,
        "looks" => &mut holds.looks,
        "seen" => &mut holds.seen,
        "live" => &mut holds.lanes[Lane::Live.index()],
        "backlog" => &mut holds.lanes[Lane::Backlog.index()],
        "work" => &mut holds.work,
        "reports" => &mut holds.reports,
        _ => panic!("no such hold: {what}"),
    };
    *hold = held;
}

/// Runs until an operation on a name waits in a lane, and holds that lane; if it has gone by in
/// the steps before, until all is quiet.
fn catch(world: &mut World, sink: usize, at: &RelPath) {
    for _ in 0..CATCH_STEPS {
        for lane in Lane::ALL {
            if waiting(world, sink, lane).iter().any(|operation| operation.op.path() == at) {
                world.holds.lanes[lane.index()] = true;
                return;
            }
        }
        if !world.step() {
            let Some(wake) = world.director.next_wake() else { return };
            world.now = wake.max(world.now + Duration::from_micros(100));
            world.run(Duration::ZERO);
        }
    }
}

/// The operations that wait in a lane.
fn waiting(world: &World, sink: usize, lane: Lane) -> Vec<Operation> {
    let mut found = Vec::new();
    for message in &world.sinks[sink].lanes[lane.index()] {
        if let Body::Operations(operations) = &message.body {
            found.extend(operations.iter().cloned());
        }
    }
    found
}

/// Whether something stands at a name of the first sink.
fn has(world: &World, at: &str) -> bool {
    world.sinks[0].tree.stands(&path(at)).is_some()
}

fn figures(world: &World, sink: usize) -> Figures {
    world.director.figures(world.sinks[sink].id).unwrap()
}

/// No content travelled twice to the first sink; `forget` begins to count anew.
fn each_content_once(world: &mut World) {
    for (hash, times) in &world.sinks[0].puts {
        assert!(*times == 1, "{hash:?} travelled {times} times");
    }
}

/// Begins to write down what is sent.
fn watch(world: &mut World) {
    world.trace = Some(String::new());
}

/// How many lines of what was sent hold all these words.
fn sent(world: &World, words: &[&str]) -> usize {
    let trace = world.trace.as_deref().unwrap();
    let sends = trace.lines().filter(|line| line.contains(" send "));
    sends.filter(|line| words.iter().all(|word| line.contains(word))).count()
}

fn is_put(operation: &Operation) -> bool {
    matches!(operation.op, Op::Put { .. })
}
