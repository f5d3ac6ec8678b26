//! Wall clocks that step: what is newer is told by counters, so no step may matter.
//!
//! Each process gets a wall clock of its own by the library `faketime`; the host's is not touched.
//! Times of change come from the kernel, which can't be deceived without touching it: what a step
//! of the kernel's own clock does to them is not tried here.

use std::fs;

use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::{until_true, zoo};

#[test]
#[ignore = "needs the library faketime: scripts/check.sh runs it when it is there"]
fn needs_faketime_h10_clocks_step_over_restarts() {
    let mut pair = Pair::new();
    zoo::pool(&pair.source_dir(), 1_000, 2_000);
    pair.set_clock("+0");
    let mut source = pair.start_source(&[]);
    let mut sink = pair.start_sink(&[]);
    for (step, moved) in ["-2h", "+3d", "-40d"].into_iter().enumerate() {
        let name = format!("after-{step}");
        let done = 200 * (step as u64 + 1);
        pair.until_status("some of it has arrived", LONG, |status| {
            status["files_done"].as_u64().is_some_and(|files| files >= done)
        });
        fs::write(pair.source_dir().join("pool-000/file-000003"), &name).unwrap();
        source.kill();
        pair.set_clock(moved);
        source = pair.start_source(&[]);
        fs::write(pair.source_dir().join(&name), &name).unwrap();
        let at_sink = pair.sink_dir().join(&name);
        until_true("what is new arrives", LONG, || at_sink.exists());
        sink.kill();
        pair.set_clock(["+1d", "-1d", "+0"][step]);
        sink = pair.start_sink(&[]);
    }
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
}
