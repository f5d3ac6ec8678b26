//! Connections that end, break in the middle of a message, or are dead without a word.

use super::rig::{MOMENTS, Moment, Rig, wants_all};
use crate::support::operator::{LONG, SOON};
use crate::support::until_true;

#[test]
fn connections_are_cut_at_each_moment() {
    for moment in MOMENTS {
        let mut rig = Rig::start();
        rig.reach(moment);
        rig.proxy.cut();
        rig.finish();
    }
}

#[test]
fn connections_are_reset_in_mid_message_at_each_moment() {
    for moment in MOMENTS {
        let mut rig = Rig::start();
        rig.reach(moment);
        for bytes in [200_000, 50_000, 3_000] {
            if rig.is_over() {
                break;
            }
            // When little is to be said, heartbeats say it.
            let bytes = if moment == Moment::FirstCopy { bytes } else { 3_000 };
            rig.proxy.reset_after(bytes);
            until_true("the connections are reset", SOON, || rig.proxy.is_reset() || rig.is_over());
        }
        rig.finish();
    }
}

#[test]
fn a_half_open_connection_is_given_up() {
    let moments = if wants_all() { &MOMENTS[..] } else { &MOMENTS[..1] };
    for &moment in moments {
        let mut rig = Rig::start();
        rig.reach(moment);
        rig.proxy.hold();
        for dir in [rig.pair.source_dir(), rig.pair.sink_dir()] {
            until_true("the connection is given up", LONG, || {
                rig.is_over() || rig.pair.status(&dir)["state"] == "WAITING"
            });
        }
        rig.proxy.release();
        rig.proxy.cut();
        rig.finish();
    }
}
