//! A process dies, or stands still.

use std::time::{Duration, Instant};

use super::rig::{MOMENTS, Moment, Rig};
use crate::support::operator::SOON;
use crate::support::until_true;

/// How long a process stands still: long enough for all queues to fill.
const STILL: Duration = Duration::from_secs(2);

fn die(moment: Moment, is_source: bool) {
    let mut rig = Rig::start();
    rig.reach(moment);
    if is_source {
        rig.source.take().expect("A source").kill();
        rig.start_source();
    } else if !rig.is_over() {
        rig.sink.take().expect("A sink").kill();
        rig.start_sink();
    }
    rig.finish();
}

fn stand_still(moment: Moment, is_source: bool) {
    let mut rig = Rig::start();
    rig.reach(moment);
    if rig.is_over() {
        return rig.finish();
    }
    let which = if is_source { &rig.source } else { &rig.sink };
    let operator = which.as_ref().expect("An operator");
    operator.freeze();
    let since = Instant::now();
    until_true("it has stood still", SOON, || since.elapsed() >= STILL);
    operator.thaw();
    rig.finish();
}

#[test]
fn a_source_dies_at_each_moment() {
    MOMENTS.iter().for_each(|&moment| die(moment, true));
}

#[test]
fn a_sink_dies_at_each_moment() {
    MOMENTS.iter().for_each(|&moment| die(moment, false));
}

#[test]
fn a_source_stands_still_at_each_moment() {
    MOMENTS.iter().for_each(|&moment| stand_still(moment, true));
}

#[test]
fn a_sink_stands_still_at_each_moment() {
    MOMENTS.iter().for_each(|&moment| stand_still(moment, false));
}
