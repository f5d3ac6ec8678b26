//! A full disk at the sink: said aloud, waited out, nothing lost. Needs root, for a small tmpfs.

use std::fs;

use crate::support::mount::Mount;
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::{until_true, zoo};

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_a_full_disk_is_waited_out() {
    let mut pair = Pair::new();
    let mount = Mount::small(&pair.sink_dir(), "24m");
    let ballast = pair.sink_dir().join("ballast");
    fs::write(&ballast, vec![1; 16 * 1024 * 1024]).unwrap();
    zoo::pool(&pair.source_dir(), 400, 40_000);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    until_true("the sink says that the disk is full", SOON, || {
        let said = sink.stderr().to_lowercase();
        said.contains("no room") || said.contains("no space") || said.contains("full")
    });
    fs::remove_file(&ballast).unwrap();
    pair.until_ready();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&pair.source_dir(), &pair.sink_dir());
    drop(mount);
}
