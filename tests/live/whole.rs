//! The whole file: kinds, owners, access lists, extended attributes, capabilities, flags.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::support::churn::{Churn, Plan, Verb};
use crate::support::disk::{Disk, Store};
use crate::support::mount::Mount;
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::whole::{self, assert_wholly_equal};
use crate::support::zoo;

/// Takes the flags off again when a test ends, so that its directory can go.
struct Releases<'a>(&'a Path, &'a Path);

impl Drop for Releases<'_> {
    fn drop(&mut self) {
        whole::release(self.0);
        whole::release(self.1);
    }
}

/// One of everything, changed one by one while both sides run, and beside that a churn.
fn migrate_whole(pair: &mut Pair) {
    let (source_dir, sink_dir) = (pair.source_dir(), pair.sink_dir());
    let (tree, kept) = (source_dir.join("whole"), sink_dir.join("whole"));
    fs::create_dir(&tree).unwrap();
    whole::make(&tree);
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    let _releases = Releases(&tree, &kept);
    pair.until_ready();
    let churned = source_dir.join("churned");
    fs::create_dir(&churned).unwrap();
    let plan = Plan {
        root: churned,
        seed: 4,
        writers: 2,
        verbs: Verb::WHOLE,
        rest: std::time::Duration::from_millis(1),
        pool: Vec::new(),
    };
    let churn = Churn::start(&plan);
    whole::change(&tree);
    crate::support::until_true("the churn has done something", LONG, || churn.done() > 2_000);
    churn.stop();
    pair.cutover().assert_code(&[0]);
    sink.end(SOON).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_wholly_equal(&source_dir, &sink_dir);
}

#[test]
#[ignore = "needs root: scripts/check.sh runs it where it can"]
fn needs_root_every_attribute_and_every_kind_arrives() {
    let mut pair = Pair::new();
    let _mounts = ["source", "sink"].map(|name| Mount::small(&pair.path(name), "200m"));
    migrate_whole(&mut pair);
}

#[test]
#[ignore = "needs root and loop devices: scripts/check.sh runs it where it can"]
fn needs_loop_every_filesystem_gives_and_takes_the_whole_file() {
    let store = Store::new();
    for (from, to) in [("ext4", "xfs"), ("xfs", "btrfs"), ("btrfs", "ext4")] {
        let mut pair = Pair::new();
        let source: Disk = store.disk("source", from, &pair.source_dir());
        let sink: Disk = store.disk("sink", to, &pair.sink_dir());
        for dir in [pair.source_dir(), pair.sink_dir()] {
            // What mkfs puts there is nobody's data.
            let _ = fs::remove_dir(dir.join("lost+found"));
        }
        migrate_whole(&mut pair);
        source.unmount();
        sink.unmount();
    }
}

#[test]
#[ignore = "needs root: scripts/check.sh runs it where it can"]
fn needs_root_a_sink_that_is_filled_gets_what_rsync_did_not_bring() {
    let mut pair = Pair::new();
    let tree = pair.source_dir();
    whole::make(&tree);
    zoo::pool(&tree, 300, 20_000);
    let mut rsync = std::process::Command::new("rsync");
    rsync.arg("-a").arg(tree.join("")).arg(pair.sink_dir().join(""));
    assert!(rsync.status().unwrap().success(), "rsync copies it first");
    let sink_dir = pair.sink_dir();
    let _releases = Releases(&tree, &sink_dir);
    let report = pair.arg("report.json");
    pair.start_local(&["--once", "--report", &report]).end(LONG).assert_code(&[0]);
    assert_wholly_equal(&tree, &pair.sink_dir());
    let sent = pair.report("report.json")["bytes_on_wire"].as_u64().unwrap();
    // The content is there: the names and what they bear are a few bytes each.
    assert!(sent < 300_000, "{sent} bytes travelled");
}

#[test]
fn an_ordinary_user_keeps_what_he_may_and_counts_the_rest() {
    let mut pair = Pair::of_ordinary_user();
    let tree = pair.source_dir();
    zoo::fifo(&tree.join("fifo"));
    fs::write(tree.join("mine"), "mine").unwrap();
    whole::try_set_xattr(&tree.join("mine"), "user.mine", b"1").unwrap();
    // Nobody but root may give such a file attributes as it is.
    fs::write(tree.join("closed"), "closed").unwrap();
    whole::try_set_xattr(&tree.join("closed"), "user.mine", b"1").unwrap();
    fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o444)).unwrap();
    pair.give_source();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        fs::write(tree.join("others"), "others").unwrap();
        let node = tree.join("null");
        let device = rustix::fs::makedev(1, 3);
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, &node, kind, rustix::fs::Mode::RUSR, device).unwrap();
    }
    let report = pair.arg("report.json");
    let codes: &[i32] = if is_root { &[3] } else { &[0] };
    pair.start_local(&["--once", "--report", &report]).end(LONG).assert_code(codes);
    let report = pair.report("report.json");
    let mut value = [0; 8];
    let kept = rustix::fs::lgetxattr(pair.sink_dir().join("mine"), "user.mine", &mut value[..]);
    assert_eq!(kept, Ok(1), "{report}");
    let closed = pair.sink_dir().join("closed");
    assert_eq!(rustix::fs::lgetxattr(&closed, "user.mine", &mut value[..]), Ok(1), "{report}");
    assert_eq!(fs::metadata(&closed).unwrap().permissions().mode() & 0o777, 0o444);
    if is_root {
        assert_eq!(report["lost_attributes"]["owners and groups"], 1, "{report}");
        assert_eq!(report["lost_attributes"]["devices"], 1, "{report}");
        assert_eq!(report["problems"][0]["path"], "null", "{report}");
        // The root itself counts too.
        std::os::unix::fs::chown(&tree, Some(0), Some(0)).unwrap();
        let path = pair.arg("report.json");
        pair.start_local(&["--once", "--report", &path]).end(LONG).assert_code(codes);
        let report = pair.report("report.json");
        assert_eq!(report["lost_attributes"]["owners and groups"], 2, "{report}");
    }
}

/// Writes bytes at places of a file that is so long.
fn sparse(path: &Path, bytes: u64, data: &[(u64, &[u8])]) {
    let file = fs::File::create(path).unwrap();
    file.set_len(bytes).unwrap();
    for (at, bytes) in data {
        file.write_all_at(bytes, *at).unwrap();
    }
}

#[test]
fn holes_become_zeros_where_that_is_wanted() {
    let mut pair = Pair::new();
    let (tree, copy) = (pair.source_dir(), pair.sink_dir());
    let block = [7; 5_000];
    sparse(&tree.join("large"), 4 << 20, &[(0, &block), (3 << 20, &block)]);
    sparse(&tree.join("small"), 200_000, &[(100_000, &block)]);
    sparse(&tree.join("nothing"), 1 << 20, &[]);
    pair.start_local(&["--once", "--no-sparse"]).end(LONG).assert_code(&[0]);
    assert_equal(&tree, &copy);
    for name in ["large", "small", "nothing"] {
        let [there, here] = [&tree, &copy].map(|dir| fs::metadata(dir.join(name)).unwrap());
        assert!(there.blocks() * 512 < there.len(), "\"{name}\" has no hole here");
        assert!(here.blocks() * 512 >= here.len(), "\"{name}\": {} blocks", here.blocks());
    }
}

#[test]
fn holes_stay_holes() {
    let mut pair = Pair::new();
    let (tree, copy) = (pair.source_dir(), pair.sink_dir());
    let block = [7; 5_000];
    sparse(&tree.join("begin and end"), 64 << 20, &[(0, &block), ((64 << 20) - 5_000, &block)]);
    sparse(&tree.join("middle"), (48 << 20) + 1, &[(30_000_000, &block), (31_000_000, &block)]);
    sparse(&tree.join("nothing"), 32 << 20, &[]);
    sparse(&tree.join("small"), 200_000, &[(100_000, &block)]);
    fs::write(tree.join("dense"), vec![0; 2 << 20]).unwrap();
    let source = pair.start_source(&[]);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    let file = fs::OpenOptions::new().write(true).open(tree.join("begin and end")).unwrap();
    rustix::fs::fallocate(
        &file,
        rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
        0,
        1 << 20,
    )
    .unwrap();
    file.write_all_at(&block, 40 << 20).unwrap();
    drop(file);
    pair.cutover().assert_code(&[0]);
    sink.end(SOON).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_equal(&tree, &copy);
    let room = |path: PathBuf| fs::metadata(path).unwrap().blocks() * 512;
    for name in ["begin and end", "middle", "nothing", "small", "dense"] {
        let (there, here) = (room(tree.join(name)), room(copy.join(name)));
        // An extent's index may take a block on one side.
        assert!(here.abs_diff(there) <= 16_384, "\"{name}\" takes {here} bytes, not {there}");
    }
}
