//! Connections that end, break in the middle of a message, or are dead without a word.

use std::fs;
use std::path::Path;

use super::rig::{MOMENTS, Moment, Rig, wants_all};
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::proxy::Proxy;
use crate::support::{until_true, zoo};

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

/// Bytes of a large file that the sink has staged.
fn staged(sink: &Path) -> u64 {
    let files = walkdir::WalkDir::new(sink).into_iter().flatten();
    let parts = files.filter(|file| file.file_name().to_string_lossy().starts_with("transfer-"));
    parts.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// A large file whose way is cut in every manner goes on where it was.
#[test]
fn a_large_file_goes_on_where_it_was_cut_short() {
    const BYTES: usize = 80 * 1024 * 1024;
    const STEP: u64 = 12 * 1024 * 1024;
    let (mut pair, proxy) = (Pair::new(), Proxy::start());
    fs::write(pair.source_dir().join("large"), zoo::content(1, BYTES)).unwrap();
    pair.through(&proxy);
    let ports = proxy.data_ports.each_ref().map(String::as_str);
    let mut source = pair.start_source(&ports);
    let mut sink = pair.start_sink(&[]);
    for cut in 0..4 {
        let dir = pair.sink_dir();
        until_true("some more has come", LONG, || staged(&dir) > STEP * (cut + 1));
        match cut {
            0 => proxy.cut(),
            1 => {
                sink.kill();
                sink = pair.start_sink(&[]);
            }
            2 => {
                source.kill();
                source = pair.start_source(&ports);
            }
            _ => {
                sink.terminate_and_end();
                sink = pair.start_sink(&[]);
            }
        }
    }
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    let (sent, whole) = (proxy.bytes(), BYTES as u64);
    eprintln!("{sent} bytes on the wire for a file of {whole}, cut short four times");
    // What was under way at each cut: no more than the credit, and it was sent once more.
    assert!(sent < whole + whole / 2, "{sent} bytes for a file of {whole}");
}
