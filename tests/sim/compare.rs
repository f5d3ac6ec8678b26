//! Whether a sink's tree is the source's, as law 1 and law 9 have it.

use std::collections::BTreeMap;

use osync::model::entry::Entry;
use osync::model::path::RelPath;
use osync::model::selection::Selection;
use osync::model::session::DeletePolicy;

use super::link::SinkEnd;
use super::tree::{ModelTree, Stands};

/// In what a sink differs from what is selected of the source; foreign and protected names, and
/// what they keep in place, left out.
pub fn differences(source: &ModelTree, selection: &Selection, sink: &SinkEnd) -> Vec<String> {
    let (all, theirs) = (source.snapshot(), sink.tree.snapshot());
    let mut ours = all.clone();
    ours.retain(|path, stands| {
        path.is_root()
            || !selection.hides_path(path, stands.entry.is_dir())
                && !selection.withholds(&stands.entry)
    });
    let journal = sink.journal.lock().unwrap();
    let kept = |path: &RelPath| is_kept(path, selection, (&all, &ours, &theirs));
    let foreign =
        |path: &RelPath| sink.policy != DeletePolicy::All && !journal.has(path) || kept(path);
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
    let mut found = journal.sins.clone();
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
    found.extend(differing_groups(source, sink, (&ours, &theirs), &blocked));
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

/// Names that are one in one of the trees and not in the other.
fn differing_groups(
    source: &ModelTree,
    sink: &SinkEnd,
    (ours, theirs): (&Snapshot, &Snapshot),
    blocked: &dyn Fn(&RelPath) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let (groups, their_groups) = (source.groups(), sink.tree.groups());
    type Told<'a> = &'a dyn Fn(&&RelPath) -> bool;
    let first_of = |groups: &BTreeMap<RelPath, usize>, path: &RelPath, is_told: Told<'_>| {
        let group = groups.get(path)?;
        // Names that only one of the trees has, or can have, say nothing.
        let is_known =
            |at: &&RelPath| ours.contains_key(*at) && theirs.contains_key(*at) && !blocked(at);
        let of_group = groups.iter().filter(|(_, other)| *other == group).map(|(at, _)| at);
        of_group.filter(is_known).filter(is_told).min().cloned()
    };
    for path in ours.keys().filter(|path| theirs.contains_key(*path) && !blocked(path)) {
        let own = Some(path.clone());
        // What another's hand made one, and is equal, nothing tells.
        let is_told = |at: &&RelPath| {
            *at == path
                || !sink.entangled
                || groups.contains_key(path) && groups.get(at) == groups.get(path)
        };
        let a = first_of(&groups, path, &|_| true).or(own.clone());
        let b = first_of(&their_groups, path, &is_told).or(own);
        if a != b {
            found.push(format!("{path}: one with {b:?} at the sink, with {a:?} at the source"));
        }
    }
    found
}

type Snapshot = BTreeMap<RelPath, Stands>;

/// Whether the rules keep what the sink has at a path: they protect it, or the topmost directory
/// above it that is not offered; or what the source has there is withheld.
fn is_kept(
    path: &RelPath,
    selection: &Selection,
    (all, ours, theirs): (&Snapshot, &Snapshot, &Snapshot),
) -> bool {
    let chain: Vec<RelPath> = std::iter::once(path.clone()).chain(path.ancestors()).collect();
    let lost = chain.iter().take_while(|at| !at.is_root() && !ours.contains_key(*at));
    let is_withheld = |at: &RelPath| {
        all.get(at).is_some_and(|stands| {
            !selection.hides_path(at, stands.entry.is_dir()) && selection.withholds(&stands.entry)
        })
    };
    let lost: Vec<&RelPath> = lost.collect();
    lost.iter().enumerate().any(|(depth, at)| {
        let is_dying = depth + 1 < lost.len();
        let protects = |is_dir| selection.protects(at, is_dir, is_dying);
        let is_dir = theirs.get(at).is_some_and(|stands| stands.entry.is_dir());
        is_withheld(at) || protects(is_dir)
    })
}

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
