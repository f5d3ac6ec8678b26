//! A sink in miniature and the way to it: two lanes, hands that execute messages operation by
//! operation, reports on their way back, and a guard that knows what may be removed.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use osync::flow::applier::{Applier, Rules};
use osync::flow::session::Outgoing;
use osync::model::delta::Signature;
use osync::model::entry::{Attributes, Entry, Hash, Meta, SpecialKind};
use osync::model::item::Differences;
use osync::model::marker::{Marker, MarkerId};
use osync::model::message::{Body, MessageAnswer, Report};
use osync::model::offer::{Offer, Offering};
use osync::model::op::{Answer, Failure, Need, Op};
use osync::model::path::{Name, RelPath};
use osync::model::selection::Selection;
use osync::model::session::DeletePolicy;
use osync::model::stamp::{Epoch, Lane, SinkId};
use osync::model::target::{Obstacle, Standing, Target};

use super::tree::{Image, ModelTree, Staged};

/// The names ever offered to one root of one sink.
#[derive(Debug, Default)]
pub struct Journal {
    names: BTreeSet<RelPath>,
    /// What of the source is offered in this epoch.
    pub selection: Arc<Selection>,
    /// Names that went though the rules protect them.
    pub sins: Vec<String>,
    /// The operation at hand is a removal, and makes way for nothing.
    is_removing: bool,
}

impl Journal {
    /// Writes down what is about to leave. What moves must have been written down before: from then
    /// on both names count as offered, whatever the sink has there.
    pub fn record(&mut self, offers: &[Offering]) {
        for Offering { offer, .. } in offers {
            let moves = match offer {
                Offer::Moved { from, .. } => vec![from],
                Offer::Exchanged { a, b } => vec![a, b],
                _ => Vec::new(),
            };
            for name in moves {
                assert!(self.has(name), "{name} moves and was never offered");
            }
            match offer {
                Offer::Listed { dir, names } => {
                    self.names.extend(names.iter().map(|(name, _)| dir.join(name)));
                }
                Offer::Attributes(_) | Offer::Retouched(_) => {}
                Offer::Name(path)
                | Offer::Content { path, .. }
                | Offer::Link { path, .. }
                | Offer::Dir(path) => {
                    // What is below it may make the directories above it.
                    self.names.extend(path.ancestors());
                    self.names.insert(path.clone());
                }
                Offer::Moved { from, to } => self.copy(from, to),
                Offer::Exchanged { a, b } => {
                    self.copy(a, b);
                    self.copy(b, a);
                }
            }
        }
    }

    fn copy(&mut self, from: &RelPath, to: &RelPath) {
        let moved: Vec<RelPath> =
            self.names.iter().filter_map(|path| Some(to.join_path(&path.below(from)?))).collect();
        // A rename makes the directories above its new name, should they not be there.
        self.names.extend(to.ancestors());
        self.names.extend(moved);
    }

    /// Whether a name was ever offered.
    pub fn has(&self, path: &RelPath) -> bool {
        self.names.contains(path)
    }
}

/// The sink's tree, with an eye on every name that goes (law 9).
pub struct Guarded {
    tree: Arc<ModelTree>,
    journal: Arc<Mutex<Journal>>,
    policy: DeletePolicy,
}

impl Guarded {
    fn stands(&self, path: &RelPath) -> bool {
        self.tree.stands(path).is_some()
    }

    /// A name is about to go, or to be something else.
    fn goes(&self, verb: &str, path: &RelPath, replaced: bool) {
        let mut journal = self.journal.lock().unwrap();
        if journal.is_removing
            && !replaced
            && let Ok(standing) = self.tree.look(path, false)
            && journal.selection.protects(path, standing.entry.is_dir(), true)
        {
            journal.sins.push(format!("{verb} {path}: protected"));
        }
        drop(journal);
        if self.policy == DeletePolicy::All || !self.stands(path) {
            return;
        }
        let offered = self.journal.lock().unwrap().has(path);
        assert!(offered, "{verb} {path}: a foreign name goes");
        assert!(
            replaced || self.policy != DeletePolicy::Never,
            "{verb} {path}: nothing may be removed"
        );
    }
}

impl Target for Guarded {
    type Staged = Staged;

    fn stage_file(&self, content: &[u8], attributes: &Attributes) -> Result<Staged, Obstacle> {
        self.tree.stage_file(content, attributes)
    }
    fn stage_symlink(&self, target: &[u8], attributes: &Attributes) -> Result<Staged, Obstacle> {
        self.tree.stage_symlink(target, attributes)
    }
    fn stage_special(
        &self,
        kind: SpecialKind,
        device: u64,
        attributes: &Attributes,
    ) -> Result<Staged, Obstacle> {
        self.tree.stage_special(kind, device, attributes)
    }
    fn lack(&self, staged: &Staged) -> Option<String> {
        self.tree.lack(staged)
    }
    fn take_transfer(
        &self,
        transfer: u64,
        size: u64,
        hash: &Hash,
        attributes: &Attributes,
    ) -> Result<Staged, Obstacle> {
        self.tree.take_transfer(transfer, size, hash, attributes)
    }
    fn stage_link(&self, from: &RelPath) -> Result<Staged, Obstacle> {
        self.tree.stage_link(from)
    }
    fn stage_copy(&self, from: &RelPath) -> Result<Staged, Obstacle> {
        self.tree.stage_copy(from)
    }
    fn link(&self, from: &RelPath, path: &RelPath) -> bool {
        self.goes("link", path, true);
        self.tree.link(from, path)
    }
    fn count_names(&self, path: &RelPath) -> Result<u64, Obstacle> {
        self.tree.count_names(path)
    }
    fn part(&self, path: &RelPath) -> Result<(), Obstacle> {
        self.goes("part", path, true);
        self.tree.part(path)
    }
    fn is_same_object(&self, first: &RelPath, second: &RelPath) -> Result<bool, Obstacle> {
        self.tree.is_same_object(first, second)
    }
    fn place(&self, staged: &mut Staged, path: &RelPath) -> Result<(), Obstacle> {
        self.goes("place", path, true);
        self.tree.place(staged, path)
    }
    fn look(&self, path: &RelPath, want_hash: bool) -> Result<Standing, Obstacle> {
        self.tree.look(path, want_hash)
    }
    fn sign(&self, path: &RelPath) -> Option<Signature> {
        self.tree.sign(path)
    }
    fn make_dir(&self, path: &RelPath) -> Result<(), Obstacle> {
        self.tree.make_dir(path)
    }
    fn unlink(&self, path: &RelPath) -> Result<(), Obstacle> {
        let is_dir = self.tree.look(path, false).is_ok_and(|standing| standing.entry.is_dir());
        if !is_dir {
            self.goes("unlink", path, false);
        }
        self.tree.unlink(path)
    }
    fn remove_dir(&self, path: &RelPath) -> Result<(), Obstacle> {
        if self.tree.is_empty(path) == Ok(true) {
            self.goes("remove_dir", path, false);
        }
        self.tree.remove_dir(path)
    }
    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), Obstacle> {
        self.goes("rename from", from, false);
        let is_full = self.tree.is_empty(to) == Ok(false);
        if !is_full {
            self.goes("rename to", to, true);
        }
        self.tree.rename(from, to)
    }
    fn exchange(&self, a: &RelPath, b: &RelPath) -> Result<(), Obstacle> {
        self.goes("exchange", a, false);
        self.goes("exchange", b, false);
        Target::exchange(&*self.tree, a, b)
    }
    fn set_attributes(
        &self,
        path: &RelPath,
        attributes: &Attributes,
    ) -> Result<Option<String>, Obstacle> {
        self.tree.set_attributes(path, attributes)
    }
    fn differences(&self, theirs: &Meta, ours: &Meta, is_symlink: bool) -> Differences {
        self.tree.differences(theirs, ours, is_symlink)
    }
    fn read_dir(&self, path: &RelPath, each: &mut dyn FnMut(Name) -> bool) -> Result<(), Obstacle> {
        self.tree.read_dir(path, each)
    }
    fn look_many(
        &self,
        dir: &RelPath,
        names: &[&Name],
    ) -> Result<Vec<Result<Entry, Obstacle>>, Obstacle> {
        self.tree.look_many(dir, names)
    }
}

/// A message that an applier has in hand.
pub struct Hand {
    message: Outgoing,
    /// The next operation, and where its bytes begin.
    at: (usize, usize),
    answer: MessageAnswer,
}

/// How the two ends stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// An epoch is under way.
    Up,
    /// The connection is lost; whether the source has noticed.
    Cut { told: bool },
    /// The source is not there.
    Stopped,
}

/// One sink, with the way to it and back.
pub struct SinkEnd {
    /// Names it.
    pub id: SinkId,
    /// Its tree.
    pub tree: Arc<ModelTree>,
    /// What was offered to it.
    pub journal: Arc<Mutex<Journal>>,
    /// What may be removed.
    pub policy: DeletePolicy,
    /// Whether an epoch is under way.
    pub link: Link,
    /// Whether its next epoch begins on the same root.
    pub same_root: bool,
    /// Whether another's hand made names one that are none at the source.
    pub entangled: bool,
    /// The epoch.
    pub epoch: Epoch,
    /// Messages on their way.
    pub lanes: [VecDeque<Outgoing>; 2],
    /// Messages that are being executed.
    pub hands: Vec<Hand>,
    /// Reports on their way back.
    pub reports: VecDeque<Report>,
    /// Answers not yet reported.
    pub answers: Vec<MessageAnswer>,
    /// How often each content travelled in a `Put`.
    pub puts: HashMap<Hash, u32>,
    /// What lies in the root's staging directory.
    pub marker: Marker,
    /// Whether something was applied since the last barrier.
    unsaved: bool,
    /// The last report that is durable, and the last one of which that was told.
    durable: (u64, u64),
    /// The disk as the last barrier found it, with the marker on it.
    saved: Saved,
    answered: HashSet<(Lane, u64)>,
    applier: Applier<Guarded>,
    reported: u64,
}

/// A disk as it was at some moment.
#[derive(Clone)]
pub struct Saved {
    image: Image,
    marker: Marker,
}

impl SinkEnd {
    /// A sink that is not registered yet.
    pub fn new(id: SinkId, tree: ModelTree, policy: DeletePolicy) -> SinkEnd {
        let (tree, journal) = (Arc::new(tree), Arc::new(Mutex::new(Journal::default())));
        let applier = fresh_applier(&tree, &journal, policy);
        let marker = fresh_marker(1);
        let saved = Saved { image: tree.image(), marker };
        SinkEnd {
            id,
            tree,
            journal,
            policy,
            link: Link::Cut { told: true },
            same_root: true,
            entangled: false,
            epoch: Epoch(0),
            lanes: [VecDeque::new(), VecDeque::new()],
            hands: Vec::new(),
            reports: VecDeque::new(),
            answers: Vec::new(),
            puts: HashMap::new(),
            marker,
            unsaved: false,
            durable: (0, 0),
            saved,
            answered: HashSet::new(),
            applier,
            reported: 0,
        }
    }

    /// Brings all that was reported to the disk, and says so in the marker.
    pub fn barrier(&mut self) {
        self.marker.barrier += 1;
        self.durable.0 = self.reported;
        self.unsaved = false;
        self.saved = self.snapshot();
    }

    /// Whether a barrier, or a report that tells of one, is due though nothing was answered.
    pub fn is_unsaved(&self) -> bool {
        self.unsaved || self.durable.0 > self.durable.1
    }

    /// The disk as it is.
    pub fn snapshot(&self) -> Saved {
        Saved { image: self.tree.image(), marker: self.marker }
    }

    /// The disk is as it was then.
    pub fn restore(&mut self, saved: &Saved) {
        self.tree.restore(&saved.image);
        self.marker = saved.marker;
    }

    /// The host loses its power: the disk is as the last barrier left it.
    pub fn lose_power(&mut self) {
        let saved = self.saved.clone();
        self.restore(&saved);
    }

    /// A new epoch: the memory of stamps is empty, transfers begin anew.
    pub fn begin(&mut self, epoch: Epoch) {
        assert!(self.hands.is_empty(), "the last epoch is still in somebody's hands");
        self.epoch = epoch;
        self.link = Link::Up;
        self.applier = fresh_applier(&self.tree, &self.journal, self.policy);
        self.lanes.iter_mut().for_each(VecDeque::clear);
        self.reports.clear();
        self.answers.clear();
        self.answered.clear();
        self.reported = 0;
        (self.unsaved, self.durable) = (false, (0, 0));
        self.tree.drop_transfers();
    }

    /// Another disk stands where the root was.
    pub fn replace_root(&mut self, tree: ModelTree) {
        self.tree = Arc::new(tree);
        let selection = Arc::clone(&self.journal.lock().unwrap().selection);
        self.journal = Arc::new(Mutex::new(Journal { selection, ..Journal::default() }));
        self.same_root = false;
        self.marker = fresh_marker(self.marker.id.0[0] + 1);
        self.saved = self.snapshot();
    }

    /// A message leaves the source: its offers are written down first.
    pub fn send(&mut self, message: Outgoing) {
        self.journal.lock().unwrap().record(&message.offers);
        if self.link == Link::Up && message.epoch == self.epoch {
            if let Body::Operations(operations) = &message.body {
                for operation in operations {
                    if let Op::Put { hash, .. } = &operation.op {
                        *self.puts.entry(*hash).or_default() += 1;
                    }
                }
            }
            self.lanes[message.lane.index()].push_back(message);
        }
    }

    /// Takes the next message of a lane in hand.
    pub fn take(&mut self, lane: Lane, twice: bool) {
        let Some(message) = self.lanes[lane.index()].pop_front() else { return };
        let copy = twice.then(|| message.clone());
        self.hold(message);
        if let Some(copy) = copy {
            self.hold(copy);
        }
    }

    fn hold(&mut self, message: Outgoing) {
        let answer = MessageAnswer {
            lane: message.lane,
            sequence: message.sequence,
            exceptions: vec![],
            made: vec![],
            lacking: vec![],
            listing: None,
            signature: vec![],
        };
        self.hands.push(Hand { message, at: (0, 0), answer });
    }

    /// Executes the next operation of a message in hand.
    pub fn work(&mut self, hand: usize) {
        let held = &mut self.hands[hand];
        let content = held.message.content.as_deref().unwrap_or(&[]);
        let watermark = held.message.watermark;
        let place = (held.message.lane, held.message.sequence);
        let mut over = true;
        let is_removing = match &held.message.body {
            Body::Operations(operations) => {
                matches!(operations[held.at.0].op, Op::Remove { .. })
            }
            _ => false,
        };
        self.journal.lock().unwrap().is_removing = is_removing;
        match &held.message.body {
            Body::Operations(operations) => {
                self.applier.advance(watermark);
                let (index, from) = held.at;
                let to = from + operations[index].op.frame_bytes() as usize;
                let executed =
                    self.applier.operations(&operations[index..=index], &content[from..to]);
                let failed = executed.exceptions.into_iter().map(|(_, a)| (index as u32, a));
                held.answer.exceptions.extend(failed);
                held.answer.made.extend(executed.made);
                held.at = (index + 1, to);
                over = held.at.0 == operations.len();
            }
            Body::Listing(_) | Body::Sign { .. } => {
                let answer = self.applier.execute(place, watermark, &held.message.body, content);
                held.answer = answer.unwrap();
            }
            Body::Chunk { transfer, offset, .. } => {
                if self.tree.write_chunk(*transfer, *offset, content).is_err() {
                    held.answer.exceptions.push((0, Answer::Failed(Failure::NoRoom)));
                }
            }
            Body::Basis { transfer, path, of } => {
                if !self.tree.open_basis(*transfer, path, *of) {
                    held.answer.exceptions.push((0, Answer::Needed(Need::Content)));
                }
            }
            Body::Delta { transfer, pieces, .. } => {
                let answer = match self.tree.put_together(*transfer, pieces, content) {
                    Ok(()) => None,
                    Err(Obstacle::Missing) => Some(Answer::Needed(Need::Transfer)),
                    Err(_) => Some(Answer::Failed(Failure::NoRoom)),
                };
                held.answer.exceptions.extend(answer.map(|answer| (0, answer)));
            }
            Body::Drop { transfer } => self.tree.drop_transfer(*transfer),
        }
        if over {
            let held = self.hands.swap_remove(hand);
            // Of a message that came twice the first end is told.
            if self.answered.insert((held.answer.lane, held.answer.sequence)) {
                self.answers.push(held.answer);
            }
        }
    }

    /// How many names the sink remembers a stamp of.
    pub fn remembered(&self) -> usize {
        self.applier.remembered()
    }

    /// What a hand would do next, for a trace.
    pub fn describe(&self, hand: usize) -> String {
        let held = &self.hands[hand];
        match &held.message.body {
            Body::Operations(operations) => format!("{:?}", operations[held.at.0]),
            other => format!("{other:?}"),
        }
    }

    /// Folds the answers at hand into a report.
    pub fn fold(&mut self) {
        self.reported += 1;
        let answers = std::mem::take(&mut self.answers);
        self.unsaved |= !answers.is_empty();
        self.durable.1 = self.durable.0;
        let report = Report {
            epoch: self.epoch,
            number: self.reported,
            answers,
            durable_through: self.durable.0,
            barrier: self.marker.barrier,
            disturbed: Vec::new(),
            inspected: true,
        };
        self.reports.push_back(report);
    }

    /// Throws away all that is in hand: the process is gone.
    pub fn die(&mut self) {
        self.hands.clear();
        self.lanes.iter_mut().for_each(VecDeque::clear);
        self.answers.clear();
    }

    /// Whether nothing is on its way to, at, or from the sink.
    pub fn is_idle(&self) -> bool {
        self.link == Link::Up
            && self.lanes.iter().all(VecDeque::is_empty)
            && self.hands.is_empty()
            && self.answers.is_empty()
            && self.reports.is_empty()
            && !self.is_unsaved()
    }
}

fn fresh_marker(number: u8) -> Marker {
    Marker { id: MarkerId([number; 16]), barrier: 0, clean: true }
}

fn fresh_applier(
    tree: &Arc<ModelTree>,
    journal: &Arc<Mutex<Journal>>,
    policy: DeletePolicy,
) -> Applier<Guarded> {
    let (tree, journal) = (Arc::clone(tree), Arc::clone(journal));
    Applier::new(
        std::sync::Arc::new(Guarded { tree, journal, policy }),
        Rules { delete: policy, staging: None, is_declared: false, dry: None },
    )
}
