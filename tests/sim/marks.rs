//! A source in miniature, without watcher or map: marks, looks, answers, and nothing more. It shows
//! that the applier alone keeps its word when operations cross each other in every way: once no
//! mark is left and nothing is under way, both trees are equal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osync::flow::applier::{Applier, Rules};
use osync::model::entry::{Attributes, Entry, FileTime, Hash};
use osync::model::message::{Body, ListingAnswer, MessageAnswer};
use osync::model::op::{
    Answer, Listed, ListingEnd, ListingPart, Need, Op, Operation, Spared, Version,
};
use osync::model::path::{Name, RelPath};
use osync::model::session::DeletePolicy;
use osync::model::stamp::{Lane, Stamp};

use super::dice::Dice;
use super::tree::{ModelTree, Stands};

/// What is under way to the sink.
#[derive(Clone)]
struct Flight {
    stamp: u64,
    body: Body,
    content: Vec<u8>,
    /// Paths that a rename moved, as they were before and after; marked again if it fails.
    moved: Vec<RelPath>,
}

/// A listing that is being read: the names not yet read.
struct Reading {
    dir: RelPath,
    listing: u64,
    part: u32,
    rest: Vec<Name>,
}

struct Mini {
    seed: u64,
    dice: Dice,
    source: ModelTree,
    sink: Applier<ModelTree>,
    stamp: u64,
    listings: u64,
    transfers: u64,
    contents: u64,
    /// Names to be looked at; whether their content is in doubt too.
    marks: BTreeMap<RelPath, bool>,
    /// Directories to be listed.
    to_list: BTreeSet<RelPath>,
    reading: Option<Reading>,
    /// Something changed that made no mark.
    doubt: bool,
    flights: Vec<Flight>,
}

const NAMES: [&str; 9] = ["a", "b", "c", "a/a", "a/b", "b/a", "b/b", "a/a/a", "b/a/b"];

impl Mini {
    fn new(seed: u64) -> Mini {
        Mini {
            seed,
            dice: Dice::new(seed),
            source: ModelTree::new(seed),
            sink: Applier::new(
                Arc::new(ModelTree::new(seed + 1)),
                Rules { delete: DeletePolicy::Live, staging: None, is_declared: false, dry: None },
            ),
            stamp: 0,
            listings: 0,
            transfers: 0,
            contents: 0,
            marks: BTreeMap::new(),
            to_list: BTreeSet::new(),
            reading: None,
            doubt: false,
            flights: Vec::new(),
        }
    }

    fn run(&mut self, changes: usize, threads: usize, unseen: bool) {
        let (mut left, mut steps) = (changes, 0);
        while left > 0 || !self.is_settled() {
            steps += 1;
            assert!(steps < 4_000, "Seed {}: it never ends", self.seed);
            match self.dice.below(4) {
                0 if left > 0 => {
                    left -= 1;
                    let seen = !unseen || !self.dice.one_in(4);
                    self.change(seen);
                }
                1 => self.deliver(threads),
                2 => self.list(),
                _ => self.look(),
            }
        }
        self.settle_directories();
        let (ours, theirs) = (self.source.snapshot(), self.sink.target().snapshot());
        assert_eq!(ours, theirs, "Seed {}: source and sink differ", self.seed);
        self.sink.advance(Stamp(self.stamp));
        assert_eq!(self.sink.remembered(), 0);
    }

    fn is_settled(&self) -> bool {
        self.marks.is_empty()
            && self.flights.is_empty()
            && self.to_list.is_empty()
            && self.reading.is_none()
            && !self.doubt
    }

    fn draw_path(&mut self) -> RelPath {
        RelPath::new(NAMES[self.dice.below(NAMES.len())]).unwrap()
    }

    fn draw_content(&mut self) -> Vec<u8> {
        self.contents += 1;
        // Some of the same length, so that only the time tells them apart.
        let mut content = self.contents.to_string().into_bytes();
        content.resize(content.len() + self.dice.below(3), b'.');
        content
    }

    fn change(&mut self, seen: bool) {
        let (path, other) = (self.draw_path(), self.draw_path());
        let before = self.below(&[&path, &other]);
        let content = self.draw_content();
        let drawn = self.dice.below(11);
        let changed = match drawn {
            0 | 1 => self.source.create(&path, &content),
            2 => self.source.write(&path, &content, true),
            3 | 4 => self.source.mkdir(&path),
            5 => self.source.symlink(&path, &content),
            6 => self.source.chmod(&path, 0o600 + self.contents as u16 % 64),
            7 => self.source.remove_file(&path).or_else(|_| self.source.rmdir(&path)),
            8 => {
                let mtime = FileTime { seconds: self.contents as i64, nanos: 5 };
                self.source.touch(&path, mtime)
            }
            9 => self.source.rename(&path, &other),
            _ => self.source.exchange(&path, &other),
        };
        if changed.is_err() || path == other && drawn >= 9 {
            return;
        }
        match drawn {
            _ if !seen => self.doubt = true,
            6 => self.mark(path, false),
            9 | 10 => {
                let moved = [before, self.below(&[&path, &other])].concat();
                if self.is_quiet(&path) && self.is_quiet(&other) {
                    self.send_move(drawn == 9, &path, &other, moved);
                } else {
                    moved.into_iter().for_each(|moved| self.mark(moved, true));
                }
            }
            _ => self.mark(path, true),
        }
    }

    /// Sends a rename or an exchange; what lies below either name waits for its answer (H6).
    fn send_move(&mut self, rename: bool, from: &RelPath, to: &RelPath, moved: Vec<RelPath>) {
        let op = if rename {
            let presumes = self.source.stands(to).map(|stands| self.version(&stands)).unwrap();
            Op::Rename { from: from.clone(), to: to.clone(), presumes }
        } else {
            Op::Exchange { a: from.clone(), b: to.clone() }
        };
        self.send(op, Vec::new(), moved);
    }

    /// Everything at or below these names, and the names.
    fn below(&self, tops: &[&RelPath]) -> Vec<RelPath> {
        let all = self.source.snapshot().into_keys();
        let below = all.filter(|path| tops.iter().any(|top| path.is_at_or_below(top)));
        below.chain(tops.iter().map(|&top| top.clone())).collect()
    }

    /// Whether nothing at or below a name is marked or under way.
    fn is_quiet(&self, top: &RelPath) -> bool {
        let near = |path: &RelPath| path.is_at_or_below(top) || top.is_at_or_below(path);
        !self.doubt
            && self.to_list.is_empty()
            && self.reading.is_none()
            && !self.marks.keys().any(near)
            && !self.flights.iter().any(|flight| match &flight.body {
                Body::Operations(operations) => operations.iter().any(|one| match &one.op {
                    Op::Rename { from, to, .. } => near(from) || near(to),
                    Op::Exchange { a, b } => near(a) || near(b),
                    op => near(op.path()),
                }),
                _ => true,
            })
    }

    fn is_fenced(&self, path: &RelPath) -> bool {
        self.flights.iter().any(|flight| {
            !flight.moved.is_empty() && flight.moved.iter().any(|moved| path.is_at_or_below(moved))
        })
    }

    fn mark(&mut self, path: RelPath, content: bool) {
        if !path.is_root() {
            *self.marks.entry(path).or_default() |= content;
        }
    }

    /// Looks at one marked name and sends what it saw.
    fn look(&mut self) {
        let free: Vec<RelPath> =
            self.marks.keys().filter(|path| !self.is_fenced(path)).cloned().collect();
        let Some(path) = self.dice.pick(&free).cloned() else { return };
        let whole = self.marks.remove(&path).unwrap_or(true);
        let Some(stands) = self.source.stands(&path) else {
            return self.send(Op::Remove { path, spared: Spared::Nothing }, Vec::new(), Vec::new());
        };
        let attributes = Attributes::plain(*stands.entry.meta());
        let hash = Hash(*blake3::hash(&stands.content).as_bytes());
        let op = match stands.entry {
            Entry::Dir { .. } => Op::MakeDir { path },
            _ if !whole => {
                Op::SetMeta { path, presumes: self.version(&stands), attributes, names: 1 }
            }
            Entry::Symlink { target, .. } => Op::Symlink { path, target, attributes },
            Entry::File { size, .. } if self.dice.one_in(4) => {
                self.transfers += 1;
                let transfer = self.transfers;
                self.sink.target().write_chunk(transfer, 0, &stands.content).unwrap();
                Op::Commit { path, transfer, size, attributes, hash }
            }
            _ => Op::Put { path, size: stands.content.len() as u64, attributes, hash },
        };
        let content = if op.frame_bytes() > 0 { stands.content } else { Vec::new() };
        self.send(op, content, Vec::new());
    }

    fn version(&self, stands: &Stands) -> Version {
        let mtime = stands.entry.meta().mtime;
        match stands.entry {
            Entry::Dir { .. } => Version::Dir,
            Entry::File { size, .. } => Version::File {
                size,
                mtime,
                hash: self
                    .seed
                    .is_multiple_of(2)
                    .then(|| Hash(*blake3::hash(&stands.content).as_bytes())),
            },
            _ => Version::Symlink { mtime },
        }
    }

    fn send(&mut self, op: Op, content: Vec<u8>, moved: Vec<RelPath>) {
        self.stamp += 1;
        let body = Body::Operations(vec![Operation { stamp: Stamp(self.stamp), op }]);
        self.flights.push(Flight { stamp: self.stamp, body, content, moved });
    }

    /// Begins a sweep, or reads one more part of a directory; parts are read at other times.
    fn list(&mut self) {
        if self.reading.is_none() {
            if std::mem::take(&mut self.doubt) {
                self.to_list.insert(RelPath::root());
            }
            let free: Vec<RelPath> =
                self.to_list.iter().filter(|path| !self.is_fenced(path)).cloned().collect();
            let Some(dir) = self.dice.pick(&free).cloned() else { return };
            self.to_list.remove(&dir);
            let snapshot = self.source.snapshot();
            if !snapshot.get(&dir).is_some_and(|stands| stands.entry.is_dir()) {
                return self.mark(dir, true);
            }
            self.listings += 1;
            let inside = snapshot.keys().filter(|path| path.parent().as_ref() == Some(&dir));
            let rest = inside.filter_map(|path| Some(path.split_last()?.1)).collect();
            self.reading = Some(Reading { dir, listing: self.listings, part: 0, rest });
        }
        let Some(mut reading) = self.reading.take() else { return };
        let snapshot = self.source.snapshot();
        self.stamp += 1;
        let mut entries = Vec::new();
        for name in reading.rest.drain(..reading.rest.len().min(2)) {
            let path = reading.dir.join(&name);
            let Some(stands) = snapshot.get(&path) else { continue };
            if stands.entry.is_dir() {
                self.to_list.insert(path);
            }
            entries.push(Listed { name, entry: stands.entry.clone() });
        }
        let end = if reading.rest.is_empty() { ListingEnd::Complete } else { ListingEnd::More };
        let body = Body::Listing(ListingPart {
            listing: reading.listing,
            dir: reading.dir.clone(),
            stamp: Stamp(self.stamp),
            part: reading.part,
            entries,
            others: vec![],
            linked: vec![],
            end,
            after: None,
        });
        self.flights.push(Flight { stamp: self.stamp, body, content: vec![], moved: vec![] });
        reading.part += 1;
        self.reading = (end == ListingEnd::More).then_some(reading);
    }

    /// Lets some of what is under way arrive, at the same time.
    fn deliver(&mut self, threads: usize) {
        let oldest = self.flights.iter().map(|flight| flight.stamp).min();
        let watermark = Stamp(oldest.map_or(self.stamp, |oldest| oldest - 1));
        let count = self.flights.len().min(1 + self.dice.below(threads));
        let mut arriving = Vec::new();
        for _ in 0..count {
            let index = self.dice.below(self.flights.len());
            arriving.push(self.flights.swap_remove(index));
        }
        let sink = &self.sink;
        let execute = |flight: &Flight| {
            let place = (Lane::Live, flight.stamp);
            sink.execute(place, watermark, &flight.body, &flight.content).unwrap()
        };
        let answers: Vec<MessageAnswer> = std::thread::scope(|scope| {
            let run = |flight| scope.spawn(move || execute(flight));
            let running: Vec<_> = arriving.iter().skip(1).map(run).collect();
            let first = arriving.first().map(execute);
            let others = running.into_iter().map(|thread| thread.join().unwrap());
            first.into_iter().chain(others).collect()
        });
        for (flight, answer) in arriving.iter().zip(answers) {
            self.answered(flight, &answer);
        }
    }

    fn answered(&mut self, flight: &Flight, answer: &MessageAnswer) {
        answer.made.iter().for_each(|made| self.mark(made.clone(), true));
        match &flight.body {
            Body::Operations(operations) => {
                let applied = Answer::Applied;
                let given = answer.exceptions.first().map_or(&applied, |(_, given)| given);
                self.operation_answered(flight, &operations[0].op, given);
            }
            Body::Listing(part) => {
                self.part_answered(part, answer.listing.as_ref().unwrap());
            }
            _ => unreachable!("Not sent"),
        }
    }

    fn operation_answered(&mut self, flight: &Flight, op: &Op, answer: &Answer) {
        match op {
            Op::Rename { from: a, to: b, .. } | Op::Exchange { a, b } => {
                self.mark(a.clone(), true);
                self.mark(b.clone(), true);
                if *answer != Answer::Applied {
                    flight.moved.iter().for_each(|moved| self.mark(moved.clone(), true));
                }
            }
            _ => {}
        }
        match answer {
            Answer::Applied => return,
            Answer::Superseded | Answer::Needed(Need::Content | Need::Transfer) => {}
            Answer::Needed(Need::Parent) => {
                op.path().ancestors().for_each(|above| self.mark(above, true));
            }
            Answer::Needed(Need::Spared { .. }) => unreachable!("Nothing is spared here"),
            Answer::Needed(Need::Remains { dir, names }) => {
                names.iter().for_each(|name| self.mark(dir.join(name), true));
            }
            Answer::Failed(failure) => panic!("Seed {}: {op:?} {failure:?}", self.seed),
        }
        self.mark(op.path().clone(), true);
    }

    fn part_answered(&mut self, part: &ListingPart, answer: &ListingAnswer) {
        match &answer.failed {
            None => {}
            Some(Answer::Superseded) => {
                self.to_list.insert(part.dir.clone());
            }
            Some(Answer::Needed(Need::Parent)) => {
                part.dir.ancestors().for_each(|above| self.mark(above, true));
                self.to_list.insert(part.dir.clone());
            }
            other => panic!("Seed {}: {other:?}", self.seed),
        }
        let total = part.entries.len();
        for (picked, content) in
            [(&answer.needed, true), (&answer.superseded, true), (&answer.retouch, false)]
        {
            for index in picked.indexes(total) {
                self.mark(part.dir.join(&part.entries[index].name), content);
            }
        }
        answer.extras.iter().for_each(|name| self.mark(part.dir.join(name), true));
        assert!(!answer.more_extras);
    }

    /// The attributes of directories come last (H21).
    fn settle_directories(&mut self) {
        for (path, stands) in self.source.snapshot() {
            if stands.entry.is_dir() {
                let attributes = Attributes::plain(*stands.entry.meta());
                let op = Op::SetMeta { path, presumes: Version::Dir, attributes, names: 0 };
                self.send(op, vec![], vec![]);
            }
        }
        while !self.flights.is_empty() {
            self.deliver(1);
        }
        assert!(self.marks.is_empty(), "Seed {}: {:?}", self.seed, self.marks);
    }
}

#[test]
fn marks_and_answers_converge_in_any_order() {
    for seed in 0..600 {
        Mini::new(seed).run(14, 1, false);
    }
}

#[test]
fn h32_marks_and_answers_converge_with_appliers_side_by_side() {
    for seed in 0..300 {
        Mini::new(seed).run(14, 4, false);
    }
}

#[test]
fn sweeps_find_what_made_no_event() {
    for seed in 0..600 {
        Mini::new(seed).run(14, 1 + seed as usize % 2 * 3, true);
    }
}
