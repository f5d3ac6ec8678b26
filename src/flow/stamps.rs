//! What the sink remembers of stamps: the last one applied to each name, above the watermark.
//!
//! Invariants:
//! - A *kill* holds for everything below its name: the name was removed there, or became something
//!   other than a directory (H8). It is never newer than the name's own last stamp.
//! - A whole listing holds for the names directly in its directory: an older operation on one of
//!   them, still on its way, may bring back what the listing no longer had.
//! - Whatever is at or below the watermark is forgotten and refused (H18), so memory follows what
//!   is outstanding, not what has passed.
//! - One table lives as long as one epoch (H9).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::path::RelPath;
use crate::model::stamp::Stamp;

/// Names found under stamps that are not their last: as many as there are names, and so many more.
const STALE: usize = 1_024;

/// The stamps of one epoch.
#[derive(Debug, Default)]
pub struct StampTable {
    watermark: Stamp,
    marks: HashMap<Arc<[u8]>, Marks>,
    /// The same names by a stamp of theirs, so that the oldest are forgotten cheaply: each is found
    /// under its last one, and may still be found under earlier ones.
    order: BTreeMap<Stamp, Vec<Arc<[u8]>>>,
    /// How many times a name is found there.
    found: usize,
    /// How many names are remembered with a kill: mostly none, and then nothing is to be searched.
    kills: usize,
}

/// How far a recorded stamp holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// For the name alone: a directory stands there, or may.
    Name,
    /// For the name and all below it: no directory stands there now, or quite another one.
    Below,
    /// For the name and the names directly in it: they were listed, wholly.
    Children,
}

/// What was remembered of a name before a record, to be given back if the change fails.
#[derive(Debug, Clone, Copy)]
pub struct Earlier(Option<Marks>);

#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    last: Stamp,
    kill: Stamp,
    children: Stamp,
}

impl Marks {
    fn kills(&self) -> bool {
        self.kill > Stamp(0)
    }
}

impl StampTable {
    /// An empty table, for a new epoch.
    #[must_use]
    pub fn new() -> StampTable {
        StampTable::default()
    }

    /// Forgets everything at or below a new watermark; an older one changes nothing.
    pub fn advance(&mut self, watermark: Stamp) {
        self.watermark = self.watermark.max(watermark);
        while let Some(oldest) = self.order.first_entry()
            && *oldest.key() <= self.watermark
        {
            let names = oldest.remove();
            self.found -= names.len();
            names.iter().for_each(|name| self.forget(name));
        }
    }

    /// Forgets a name whose last stamp is at or below the watermark.
    fn forget(&mut self, name: &[u8]) {
        if let Some(marks) = self.marks.get(name)
            && marks.last <= self.watermark
        {
            self.kills -= usize::from(marks.kills());
            self.marks.remove(name);
        }
    }

    /// The highest watermark announced.
    #[must_use]
    pub fn watermark(&self) -> Stamp {
        self.watermark
    }

    /// The newest stamp that holds for a name: its own last, that of a whole listing which it was
    /// or was not in, or a kill above it.
    #[must_use]
    pub fn newest(&self, path: &RelPath) -> Stamp {
        let marks = |at: &[u8]| self.marks.get(at).copied().unwrap_or_default();
        let listed = match above(path.as_bytes()) {
            Some(parent) => marks(parent).children,
            None => Stamp(0),
        };
        marks(path.as_bytes()).last.max(listed).max(self.killed(path))
    }

    /// The newest kill above a name.
    #[must_use]
    pub fn killed(&self, path: &RelPath) -> Stamp {
        let mut newest = Stamp(0);
        if self.kills == 0 {
            return newest;
        }
        let mut at = path.as_bytes();
        while let Some(parent) = above(at) {
            newest = newest.max(self.marks.get(parent).map_or(Stamp(0), |marks| marks.kill));
            at = parent;
        }
        newest
    }

    /// Whether an operation with this stamp may change the name.
    #[must_use]
    pub fn admits(&self, path: &RelPath, stamp: Stamp) -> bool {
        stamp > self.watermark && stamp > self.newest(path)
    }

    /// Records a stamp; a newer one that is there stays.
    pub fn record(&mut self, path: &RelPath, stamp: Stamp, reach: Reach) -> Earlier {
        let earlier = self.marks.get(path.as_bytes()).copied();
        let mut marks = earlier.unwrap_or_default();
        marks.last = marks.last.max(stamp);
        match reach {
            Reach::Name => {}
            Reach::Below => marks.kill = marks.kill.max(stamp),
            Reach::Children => marks.children = marks.children.max(stamp),
        }
        self.set(path, marks);
        Earlier(earlier)
    }

    /// Takes a record back: its change did not happen.
    pub fn restore(&mut self, path: &RelPath, earlier: Earlier) {
        let mut marks = earlier.0.unwrap_or_default();
        // A listing may have become whole meanwhile: it takes no lock of the name.
        marks.children = self.marks.get(path.as_bytes()).map_or(Stamp(0), |now| now.children);
        marks.last = marks.last.max(marks.children);
        self.set(path, marks);
    }

    /// How many names are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    fn set(&mut self, path: &RelPath, marks: Marks) {
        let name: Arc<[u8]> = match self.marks.get_key_value(path.as_bytes()) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(path.as_bytes()),
        };
        if marks.last > self.watermark {
            self.order.entry(marks.last).or_default().push(Arc::clone(&name));
            self.found += 1;
            self.kills += usize::from(marks.kills());
        }
        let old = match marks.last > self.watermark {
            true => self.marks.insert(name, marks),
            false => self.marks.remove(&name),
        };
        self.kills -= usize::from(old.is_some_and(|old| old.kills()));
        if self.found > 2 * self.marks.len() + STALE {
            self.put_in_order();
        }
    }

    /// Finds each name under its last stamp alone.
    fn put_in_order(&mut self) {
        self.order.clear();
        for (name, marks) in &self.marks {
            self.order.entry(marks.last).or_default().push(Arc::clone(name));
        }
        self.found = self.marks.len();
    }
}

fn above(path: &[u8]) -> Option<&[u8]> {
    let parent = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    (!path.is_empty()).then_some(&path[..parent])
}

#[cfg(test)]
mod tests {
    use super::{Reach, StampTable};
    use crate::model::path::RelPath;
    use crate::model::stamp::Stamp;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn a_kill_holds_below_and_only_below() {
        let mut table = StampTable::new();
        table.record(&path("p"), Stamp(7), Reach::Below);
        table.record(&path("q"), Stamp(7), Reach::Name);
        for (at, stamp, admitted) in [
            ("p", 7, false),
            ("p", 8, true),
            ("p/x", 7, false),
            ("p/x/y", 6, false),
            ("p/x/y", 8, true),
            ("pp", 1, true),
            ("q", 7, false),
            ("q/x", 1, true),
        ] {
            assert_eq!(table.admits(&path(at), Stamp(stamp)), admitted, "{at} @{stamp}");
        }
    }

    #[test]
    fn a_kill_of_the_root_holds_everywhere() {
        let mut table = StampTable::new();
        table.record(&RelPath::root(), Stamp(3), Reach::Below);
        assert_eq!(table.killed(&path("a/b")), Stamp(3));
        assert_eq!(table.killed(&RelPath::root()), Stamp(0));
    }

    #[test]
    fn a_whole_listing_holds_for_the_names_in_it_alone() {
        let mut table = StampTable::new();
        table.record(&path("d"), Stamp(5), Reach::Children);
        for (at, stamp, admitted) in
            [("d/x", 5, false), ("d/x", 6, true), ("d/x/y", 1, true), ("e", 1, true)]
        {
            assert_eq!(table.admits(&path(at), Stamp(stamp)), admitted, "{at} @{stamp}");
        }
        table.record(&RelPath::root(), Stamp(3), Reach::Children);
        assert!(!table.admits(&path("e"), Stamp(3)));
        assert!(table.admits(&path("e/f"), Stamp(3)));
    }

    #[test]
    fn memory_follows_the_watermark() {
        let mut table = StampTable::new();
        for stamp in 1..=100 {
            table.record(&path(&format!("f{}", stamp % 10)), Stamp(stamp), Reach::Below);
        }
        assert_eq!((table.len(), table.order.len(), table.kills), (10, 100, 10));
        table.advance(Stamp(95));
        assert_eq!((table.len(), table.order.len()), (5, 5));
        assert!(!table.admits(&path("new"), Stamp(95)), "at the watermark: refused");
        assert!(table.admits(&path("f1"), Stamp(96)), "f1 was forgotten at 91");
        assert!(!table.admits(&path("f6"), Stamp(96)), "f6 is remembered at 96");
        table.advance(Stamp(5));
        assert_eq!(table.watermark(), Stamp(95), "it never falls");
        table.advance(Stamp(100));
        assert!(table.is_empty() && table.kills == 0);
    }

    #[test]
    fn one_name_that_changes_for_ever_takes_no_more_memory() {
        let mut table = StampTable::new();
        for stamp in 1..=10_000 {
            table.record(&path("busy"), Stamp(stamp), Reach::Name);
        }
        let found = table.order.values().map(Vec::len).sum::<usize>();
        assert!(found == table.found && found <= super::STALE + 2, "{found} of {}", table.found);
        table.advance(Stamp(9_999));
        assert_eq!((table.len(), table.newest(&path("busy"))), (1, Stamp(10_000)));
    }

    #[test]
    fn a_record_can_be_taken_back() {
        let mut table = StampTable::new();
        table.record(&path("p"), Stamp(4), Reach::Name);
        let earlier = table.record(&path("p"), Stamp(9), Reach::Below);
        table.restore(&path("p"), earlier);
        assert_eq!((table.newest(&path("p")), table.killed(&path("p/x"))), (Stamp(4), Stamp(0)));
        let earlier = table.record(&path("new"), Stamp(9), Reach::Below);
        table.restore(&path("new"), earlier);
        assert_eq!((table.len(), table.kills), (1, 0));
        table.advance(Stamp(9));
        assert!(table.is_empty() && table.order.is_empty());
    }
}
