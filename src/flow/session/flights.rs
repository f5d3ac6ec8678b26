//! Messages under way: made, sent when there is credit, remembered until they are answered.

use std::sync::Arc;

use crate::flow::session::kin::{Lead, LinkTo};
use crate::flow::session::ledger::{deed_of, offer_of};
use crate::flow::session::listings::SentListing;
use crate::flow::session::load::Load;
use crate::flow::session::looks::{Pending, Purpose};
use crate::flow::session::{Action, Outgoing, Session, Shared};
use crate::model::delta::{Basis, Delta};
use crate::model::entry::Entry;
use crate::model::ledger::{Deed, Entered, Facts};
use crate::model::limits::{BATCH_BYTES_MAX, BATCH_OPS_MAX};
use crate::model::message::Body;
use crate::model::offer::{Offer, Offering};
use crate::model::op::{Listed, Op, Operation};
use crate::model::path::{Name, RelPath};
use crate::model::stamp::{DirKey, Lane, Stamp};

/// Header bytes that a message and each operation in it cost, about, beside paths and attributes.
const MESSAGE_BYTES: u64 = 64;
const OP_BYTES: u64 = 80;
/// Likewise each piece of a delta.
const PIECE_BYTES: u64 = 16;
/// Likewise each entry of a listing, and the marks of its extended attributes, if it has any.
const ENTRY_BYTES: u64 = 48;
const MARKS_BYTES: u64 = 40;

/// What an operation under way was sent for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Errand {
    /// A mark, which it settles.
    Mark,
    /// An entry of a listing that the sink needed; with the bytes it counts for.
    Want(Option<u64>),
    /// The own attributes of the directory.
    OwnMeta,
    /// A step of a removal.
    Removal(u64),
    /// The rename at the head of the queue.
    Rename,
}

/// One operation under way.
#[derive(Debug, Clone)]
pub(super) struct SentOp {
    pub(super) stamp: Stamp,
    /// The directory that the name is in; for own attributes the directory itself.
    pub(super) dir: DirKey,
    pub(super) name: Option<Name>,
    pub(super) errand: Errand,
    pub(super) op: SentKind,
    /// Bytes of content that the name has with it.
    pub(super) bytes: u64,
    /// What the ledger enters once it is applied.
    pub(super) deed: Option<Box<Deed>>,
    /// Of a link: what it relies on.
    pub(super) link: Option<Box<LinkTo>>,
    /// It carries an object that has other names, which wait for it.
    _lead: Option<Arc<Lead>>,
}

impl SentOp {
    /// What the ledger enters, the operation having been applied.
    pub(super) fn entered(&mut self) -> Option<Entered> {
        Some(Entered { stamp: self.stamp, deed: *self.deed.take()? })
    }
}

/// What of an operation matters for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SentKind {
    /// It changes what the directory holds, and so the directory's times.
    Names,
    /// It removes a name.
    Removes,
    /// It links a name to another.
    Links,
    /// It makes a directory.
    MakesDir,
    /// It changes attributes alone.
    Attributes,
}

impl SentKind {
    fn of(op: &Op) -> SentKind {
        match op {
            Op::SetMeta { .. } => SentKind::Attributes,
            Op::MakeDir { .. } => SentKind::MakesDir,
            Op::Remove { .. } => SentKind::Removes,
            Op::Link { .. } => SentKind::Links,
            _ => SentKind::Names,
        }
    }
}

/// What a message under way carries.
#[derive(Debug)]
pub(super) enum Cargo {
    Ops(Vec<SentOp>),
    Listing(SentListing),
    Chunk { transfer: u64 },
    Sign { transfer: u64 },
    Drop,
}

/// A message under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) bytes: u64,
    pub(super) cargo: Cargo,
}

/// A message that waits for credit.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) flight: Flight,
    body: Body,
    content: Option<Vec<u8>>,
    offers: Vec<Offering>,
    /// What it has taken up, if more operations may join it.
    open: Option<Load>,
}

impl Ready {
    /// Whether more operations may join it.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes in what another message of operations carries.
    fn absorb(&mut self, other: Ready) {
        self.flight.bytes += other.flight.bytes - MESSAGE_BYTES;
        if let (Cargo::Ops(sent), Cargo::Ops(more)) = (&mut self.flight.cargo, other.flight.cargo) {
            sent.extend(more);
        }
        if let (Body::Operations(operations), Body::Operations(more)) = (&mut self.body, other.body)
        {
            operations.extend(more);
        }
        match (&mut self.content, other.content) {
            (Some(content), Some(more)) => content.extend(more),
            (content, more) => *content = content.take().or(more),
        }
        self.offers.extend(other.offers);
    }
}

/// An operation about to be sent.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) op: Op,
    pub(super) stamp: Stamp,
    pub(super) dir: DirKey,
    pub(super) name: Option<Name>,
    pub(super) errand: Errand,
    /// What its look saw, if the operation carries all of it.
    pub(super) facts: Option<Facts>,
    /// Of a link: what it relies on. Its pin is held.
    pub(super) link: Option<LinkTo>,
    /// It carries an object that has other names, which wait for it.
    pub(super) lead: Option<Arc<Lead>>,
}

impl Draft {
    /// An operation of no concern for other names of the same object.
    pub(super) fn new(
        op: Op,
        stamp: Stamp,
        (dir, name): (DirKey, Option<Name>),
        errand: Errand,
    ) -> Draft {
        Draft { op, stamp, dir, name, errand, facts: None, link: None, lead: None }
    }
}

/// Bytes that an entry of a listing takes, about.
fn entry_bytes(listed: &Listed) -> u64 {
    let target = match &listed.entry {
        Entry::Symlink { target, .. } => target.len(),
        _ => 0,
    };
    let marks = listed.entry.meta().marks.map_or(0, |_| MARKS_BYTES);
    ENTRY_BYTES + marks + (listed.name.as_bytes().len() + target) as u64
}

impl Session {
    /// Sends operations, in as many messages as the bounds ask for. `content` holds the bytes of
    /// their `Put`s in order. Each draft's stamp must be held; its answer releases it.
    pub(super) fn post_ops(
        &mut self,
        lane: Lane,
        drafts: Vec<Draft>,
        mut content: Vec<u8>,
        shared: &mut Shared,
    ) {
        let mut batch: Vec<Draft> = Vec::new();
        let mut load = Load::default();
        for draft in drafts {
            if !load.takes(&draft.op) {
                let rest = content.split_off((load.content as usize).min(content.len()));
                let head = std::mem::replace(&mut content, rest);
                let ready = self.ready_of(std::mem::take(&mut batch), head, shared);
                self.post(lane, ready, shared);
                load = Load::default();
            }
            load.add(&draft.op);
            batch.push(draft);
        }
        if !batch.is_empty() {
            let ready = self.ready_of(batch, content, shared);
            self.post(lane, ready, shared);
        }
    }

    /// Sends what a look at wanted names brought, with what others bring if that is little: of
    /// small directories many go into one message. `drafts` fit into one, with their content.
    pub(super) fn post_wanted(
        &mut self,
        drafts: Vec<Draft>,
        content: Vec<u8>,
        shared: &mut Shared,
    ) {
        if drafts.is_empty() {
            return;
        }
        let mut load = Load::default();
        drafts.iter().for_each(|draft| load.add(&draft.op));
        let most = self.pace.content_bytes(BATCH_BYTES_MAX);
        if !load.takes_all(&load, most) {
            // Not even two of its kind find room.
            return self.post_ops(Lane::Backlog, drafts, content, shared);
        }
        let ready = self.ready_of(drafts, content, shared);
        let last = self.ready[Lane::Backlog.index()].back_mut();
        let joined = last.and_then(|last| {
            let open = last.open.as_mut().filter(|open| open.takes_all(&load, most))?;
            open.join(&load);
            Some(last)
        });
        match joined {
            Some(last) => last.absorb(ready),
            None => {
                let ready = Ready { open: Some(load), ..ready };
                self.ready[Lane::Backlog.index()].push_back(ready);
            }
        }
        self.pump_ready(Lane::Backlog, shared);
    }

    fn ready_of(&mut self, drafts: Vec<Draft>, content: Vec<u8>, shared: &mut Shared) -> Ready {
        let mut sent = Vec::with_capacity(drafts.len());
        let mut operations = Vec::with_capacity(drafts.len());
        let mut offers = Vec::new();
        for Draft { op, stamp, dir, name, errand, facts, link, lead } in drafts {
            let is_own = errand == Errand::OwnMeta;
            offers.push(Offering { stamp, offer: offer_of(&op, facts.as_ref(), is_own) });
            let generation = link.as_ref().map(|link| link.generation);
            let deed = deed_of(&op, facts, is_own, generation).map(Box::new);
            let link = link.map(Box::new);
            let kind = SentKind::of(&op);
            self.take_off(dir);
            self.note_placed(dir, shared);
            let bytes = op.content_bytes();
            sent.push(SentOp {
                stamp,
                dir,
                name,
                errand,
                op: kind,
                bytes,
                deed,
                link,
                _lead: lead,
            });
            operations.push(Operation { stamp, op });
        }
        let xattrs: u64 = operations.iter().map(|operation| operation.op.xattr_bytes()).sum();
        let paths: u64 = operations.iter().map(|operation| operation.op.path_bytes()).sum();
        let content_bytes = content.len() as u64;
        let bytes =
            MESSAGE_BYTES + OP_BYTES * operations.len() as u64 + paths + content_bytes + xattrs;
        let has_content = operations.iter().any(|o| matches!(o.op, Op::Put { .. }));
        Ready {
            flight: Flight { bytes, cargo: Cargo::Ops(sent) },
            body: Body::Operations(operations),
            content: has_content.then_some(content),
            offers,
            open: None,
        }
    }

    /// Sends a part of a listing.
    pub(super) fn post_listing(
        &mut self,
        sent: SentListing,
        part: crate::model::op::ListingPart,
        shared: &mut Shared,
    ) {
        let mut bytes = MESSAGE_BYTES;
        // That the sink has files where it just made the directory only its answer could tell, and
        // what the ledger is sure of was offered.
        let is_made = self.dirs.get(&sent.dir).is_some_and(|state| state.made);
        let mut names = Vec::with_capacity(part.entries.len());
        for (listed, sent) in part.entries.iter().zip(&sent.entries) {
            bytes += entry_bytes(listed);
            if sent.is_dir || !(is_made || sent.is_sure) {
                names.push((sent.name.clone(), sent.is_dir));
            }
        }
        for name in &part.others {
            bytes += 8 + name.as_bytes().len() as u64;
            names.push((name.clone(), false));
        }
        let (stamp, dir) = (part.stamp, part.dir.clone());
        let offers = [Offer::Dir(dir.clone()), Offer::Listed { dir, names }];
        let offers = offers.map(|offer| Offering { stamp, offer }).into();
        self.take_off(sent.dir);
        self.note_placed(sent.dir, shared);
        let ready = Ready {
            flight: Flight { bytes, cargo: Cargo::Listing(sent) },
            body: Body::Listing(part),
            content: None,
            offers,
            open: None,
        };
        self.post(Lane::Backlog, ready, shared);
    }

    /// Sends bytes of a large file, which begin at an offset and may hold holes.
    pub(super) fn post_chunk(
        &mut self,
        (transfer, wire): (u64, u64),
        (offset, holes): (u64, bool),
        content: Vec<u8>,
        shared: &mut Shared,
    ) {
        let body = Body::Chunk { transfer: wire, offset, holes };
        self.post_bare(Cargo::Chunk { transfer }, body, (0, Some(content)), shared);
    }

    /// Asks the sink for a signature of what stands at the name of a transfer.
    pub(super) fn post_sign(&mut self, transfer: u64, path: RelPath, shared: &mut Shared) {
        let bytes = path.as_bytes().len() as u64;
        self.post_bare(Cargo::Sign { transfer }, Body::Sign { path }, (bytes, None), shared);
    }

    /// Tells the sink what the pieces of a transfer come from.
    pub(super) fn post_basis(
        &mut self,
        (transfer, wire): (u64, u64),
        path: RelPath,
        of: Basis,
        shared: &mut Shared,
    ) {
        let bytes = path.as_bytes().len() as u64;
        let body = Body::Basis { transfer: wire, path, of };
        self.post_bare(Cargo::Chunk { transfer }, body, (bytes, None), shared);
    }

    /// Sends the next part of a difference.
    pub(super) fn post_delta(
        &mut self,
        (transfer, wire): (u64, u64),
        holes: bool,
        delta: Delta,
        shared: &mut Shared,
    ) {
        let Delta { pieces, literals } = delta;
        let bytes = PIECE_BYTES * pieces.len() as u64;
        let body = Body::Delta { transfer: wire, holes, pieces };
        self.post_bare(Cargo::Chunk { transfer }, body, (bytes, Some(literals)), shared);
    }

    /// Tells the sink that a transfer is given up.
    pub(super) fn post_drop(&mut self, transfer: u64, shared: &mut Shared) {
        self.post_bare(Cargo::Drop, Body::Drop { transfer }, (0, None), shared);
    }

    /// Sends a message of the backlog that offers nothing: so many header bytes, and its content.
    fn post_bare(
        &mut self,
        cargo: Cargo,
        body: Body,
        (header, content): (u64, Option<Vec<u8>>),
        shared: &mut Shared,
    ) {
        let bytes = MESSAGE_BYTES + header + content.as_ref().map_or(0, Vec::len) as u64;
        let flight = Flight { bytes, cargo };
        let ready = Ready { flight, body, content, offers: Vec::new(), open: None };
        self.post(Lane::Backlog, ready, shared);
    }

    /// Keeps the own attributes of a directory until there are more to go with them.
    pub(super) fn gather(&mut self, draft: Draft, shared: &mut Shared) {
        self.take_off(draft.dir);
        self.gathered.push(draft);
        if self.gathered.len() >= BATCH_OPS_MAX {
            self.post_gathered(shared);
        }
    }

    /// Sends the own attributes that were gathered.
    pub(super) fn post_gathered(&mut self, shared: &mut Shared) {
        let drafts = std::mem::take(&mut self.gathered);
        let dirs: Vec<DirKey> = drafts.iter().map(|draft| draft.dir).collect();
        self.post_ops(Lane::Backlog, drafts, Vec::new(), shared);
        for dir in dirs {
            self.land(dir);
        }
    }

    fn post(&mut self, lane: Lane, ready: Ready, shared: &mut Shared) {
        let queue = &mut self.ready[lane.index()];
        queue.push_back(ready);
        self.pump_ready(lane, shared);
    }

    /// Sends what is ready, as far as the credit goes, and the limit.
    pub(super) fn pump_ready(&mut self, lane: Lane, shared: &mut Shared) {
        let at = lane.index();
        while let Some(next) = self.ready[at].front() {
            let is_held = self.ready[at].len() == 1 && next.is_open() && self.expects_wanted();
            if is_held || !self.may_send(lane, next.flight.bytes, shared.now) {
                return;
            }
            let Some(Ready { flight, body, content, offers, .. }) = self.ready[at].pop_front()
            else {
                return;
            };
            self.credit[at].spend(flight.bytes);
            self.pace.send(lane, flight.bytes, shared.now);
            self.sent[at] += 1;
            let sequence = self.sent[at];
            self.flights[at].insert(sequence, flight);
            shared.actions.push_back(Action::Send(Outgoing {
                sink: self.id,
                epoch: self.terms.epoch,
                lane,
                sequence,
                watermark: self.stamps.watermark(),
                body,
                content,
                offers,
            }));
        }
    }

    /// Whether more that is wanted comes soon, while the sink has enough to do.
    fn expects_wanted(&self) -> bool {
        let brings = |look: &Pending| matches!(look.purpose, Purpose::Wants { .. });
        !self.flights[Lane::Backlog.index()].is_empty() && self.pending.values().any(brings)
    }

    fn take_off(&mut self, dir: DirKey) {
        let state = self.dirs.entry(dir).or_default();
        state.busy += 1;
        state.flying += 1;
    }

    /// The end of what `take_off` began.
    pub(super) fn land(&mut self, dir: DirKey) {
        if let Some(state) = self.dirs.get_mut(&dir) {
            state.flying = state.flying.saturating_sub(1);
        }
        self.idle(dir);
    }

    /// From now on the sink may have this directory, and so all above it.
    fn note_placed(&mut self, dir: DirKey, shared: &Shared) {
        let state = self.dirs.entry(dir).or_default();
        if state.placed {
            return;
        }
        for above in shared.map.upwards(dir) {
            let state = self.dirs.entry(above).or_default();
            if std::mem::replace(&mut state.placed, true) {
                return;
            }
        }
    }

    /// Whether a message under way speaks of that very name.
    pub(super) fn is_flying(&self, dir: DirKey, name: &Name) -> bool {
        if self.dirs.get(&dir).is_none_or(|state| state.flying == 0) {
            return false;
        }
        let is_it = |op: &SentOp| op.dir == dir && op.name.as_ref() == Some(name);
        let speaks = |cargo: &Cargo| match cargo {
            Cargo::Ops(ops) => ops.iter().any(is_it),
            _ => false,
        };
        self.flights.iter().flat_map(|lane| lane.values()).any(|flight| speaks(&flight.cargo))
            || self.ready.iter().flatten().any(|ready| speaks(&ready.flight.cargo))
    }

    /// The names that operations under way put or change in directories of which `is_within` is
    /// true.
    pub(super) fn names_flying(&self, is_within: impl Fn(DirKey) -> bool) -> Vec<(DirKey, Name)> {
        let flying = self.flights.iter().flat_map(|lane| lane.values());
        let ready = self.ready.iter().flatten().map(|ready| &ready.flight);
        let mut names = Vec::new();
        for flight in flying.chain(ready) {
            let Cargo::Ops(ops) = &flight.cargo else { continue };
            let ops = ops.iter().filter(|op| is_within(op.dir));
            names.extend(ops.filter_map(|op| Some((op.dir, op.name.clone()?))));
        }
        names
    }

    /// Whether a message under way speaks of that name, or may come to: parts of listings included,
    /// those too that are being read.
    pub(super) fn is_announced(&self, dir: DirKey, name: &Name) -> bool {
        let lists = |cargo: &Cargo| match cargo {
            Cargo::Listing(listing) => listing.dir == dir && listing.has(name),
            _ => false,
        };
        let lane = Lane::Backlog.index();
        self.is_flying(dir, name)
            || self.listings.values().any(|listing| listing.dir == dir && listing.reading)
            || self.flights[lane].values().any(|flight| lists(&flight.cargo))
            || self.ready[lane].iter().any(|ready| lists(&ready.flight.cargo))
    }

    /// Whether a message under way speaks of anything in a directory of which `is_within` is true.
    pub(super) fn flies_within(&self, is_within: impl Fn(DirKey) -> bool) -> bool {
        let touches = |cargo: &Cargo| match cargo {
            Cargo::Ops(ops) => ops.iter().any(|op| {
                is_within(op.dir) || op.link.as_ref().is_some_and(|link| is_within(link.from.0))
            }),
            Cargo::Listing(listing) => is_within(listing.dir),
            Cargo::Chunk { .. } | Cargo::Sign { .. } | Cargo::Drop => false,
        };
        self.flights.iter().flat_map(|lane| lane.values()).any(|flight| touches(&flight.cargo))
            || self.ready.iter().flatten().any(|ready| touches(&ready.flight.cargo))
            || self.gathered.iter().any(|draft| is_within(draft.dir))
    }
}
