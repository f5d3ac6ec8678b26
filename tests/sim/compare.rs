//! Whether a sink's tree is the source's, as law 1 and law 9 have it.

use std::collections::BTreeMap;

use osync::model::entry::Entry;
use osync::model::path::RelPath;
use osync::model::session::DeletePolicy;

use super::link::SinkEnd;
use super::tree::{ModelTree, Stands};

/// In what a sink differs from the source; foreign names and what they keep in place left out.
pub fn differences(source: &ModelTree, sink: &SinkEnd) -> Vec<String> {
    let (ours, theirs) = (source.snapshot(), sink.tree.snapshot());
    let journal = sink.journal.lock().unwrap();
    let foreign = |path: &RelPath| sink.policy != DeletePolicy::All && !journal.has(path);
    // A directory that holds a foreign name stays, and keeps another kind from its name.
    let holds_foreign = |path: &RelPath| {
        sink.policy == DeletePolicy::Never
            || theirs.keys().any(|at| {
                at != path && at.is_at_or_below(path) && !ours.contains_key(at) && foreign(at)
            })
    };
    let blocked = |path: &RelPath| {
        let stays = |at: &RelPath| {
            theirs.get(at).is_some_and(|there| there.entry.is_dir())
                && ours.get(at).is_some_and(|there| !there.entry.is_dir())
                && holds_foreign(at)
        };
        sink.policy == DeletePolicy::Never && kinds_differ(&ours, &theirs, path)
            || stays(path)
            || path
                .ancestors()
                .any(|above| stays(&above) || never_blocked(sink, &ours, &theirs, &above))
    };
    let mut found = Vec::new();
    for (path, stands) in &ours {
        match theirs.get(path) {
            _ if blocked(path) => {}
            None => found.push(format!("{path}: missing")),
            Some(there) if !same(stands, there) => {
                found.push(format!("{path}: {} at the sink, {}", brief(there), brief(stands)));
            }
            Some(_) => {}
        }
    }
    for (path, there) in &theirs {
        let stays = sink.policy == DeletePolicy::Never
            || foreign(path)
            || blocked(path)
            || there.entry.is_dir() && holds_foreign(path);
        if !ours.contains_key(path) && !stays {
            found.push(format!("{path}: should be gone"));
        }
    }
    found
}

type Snapshot = BTreeMap<RelPath, Stands>;

fn never_blocked(sink: &SinkEnd, ours: &Snapshot, theirs: &Snapshot, path: &RelPath) -> bool {
    sink.policy == DeletePolicy::Never && kinds_differ(ours, theirs, path)
}

fn kinds_differ(ours: &Snapshot, theirs: &Snapshot, path: &RelPath) -> bool {
    let kind = |all: &Snapshot| all.get(path).map(|stands| std::mem::discriminant(&stands.entry));
    kind(ours).zip(kind(theirs)).is_some_and(|(a, b)| a != b)
}

fn same(a: &Stands, b: &Stands) -> bool {
    let same_meta = match (&a.entry, &b.entry) {
        (Entry::Symlink { target: a, meta }, Entry::Symlink { target: b, meta: other }) => {
            a == b && meta.mtime == other.mtime
        }
        (a, b) => a == b,
    };
    same_meta && a.content == b.content
}

fn brief(stands: &Stands) -> String {
    let meta = stands.entry.meta();
    let kind = match &stands.entry {
        Entry::File { .. } => "file",
        Entry::Dir { .. } => "dir",
        _ => "other",
    };
    let head = &stands.content[..stands.content.len().min(8)];
    let mtime = (meta.mtime.seconds, meta.mtime.nanos / 1_000_000);
    let head = head.escape_ascii();
    format!("{kind} {:o} {mtime:?} {} \"{head}\"", meta.mode, stands.content.len())
}
