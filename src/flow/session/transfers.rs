//! Large files: chunks into a staged object that a number names, then a commit (H11).
//!
//! Chunks bear no stamp and hold no watermark; only the commit is an operation, with a look of its
//! own. A change meanwhile does not stop the transfer: it is committed as a version of its own,
//! and the name, marked again, is looked at later.
//!
//! At the sink a transfer is named by the version of the file that it began with. What the sink
//! has of one from an earlier epoch is read here for the hash, and not sent again; should it not be
//! what it seems, the hash in the commit tells.

use std::sync::Arc;
use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::flights::{Draft, Errand};
use crate::flow::session::kin::Lead;
use crate::flow::session::looks::{Pending, Purpose};
use crate::flow::session::{Session, Shared};
use crate::model::entry::{Attributes, Entry, Sighting};
use crate::model::ledger::Facts;
use crate::model::limits::{CHUNK_BYTES, TRANSFERS_MAX};
use crate::model::look::{FileVersion, Seen, Sight, Task, Want};
use crate::model::op::{Answer, Op};
use crate::model::path::Name;
use crate::model::stamp::{DirKey, Lane, Stamp};

/// How long a large file waits whose directory is at no place.
const ADRIFT_DELAY: Duration = Duration::from_millis(10);

/// A large file on its way. Its mark stays busy until the commit is answered.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) dir: DirKey,
    pub(super) name: Name,
    pub(super) opened: Option<(FileVersion, Attributes)>,
    pub(super) offset: u64,
    /// Its name at the sink.
    pub(super) wire: u64,
    /// The sink has as many bytes from an earlier epoch.
    pub(super) have: u64,
    /// The sink has a staged object, or will.
    pub(super) is_begun: bool,
    /// A look of this transfer is under way.
    pub(super) looking: bool,
    /// Chunks sent and not answered.
    pub(super) unanswered: u32,
    pub(super) ended: bool,
    lead: Option<Arc<Lead>>,
    /// As of the large file.
    takes: Option<u64>,
    /// Likewise.
    whole: bool,
}

/// A large file that is to travel.
#[derive(Debug)]
pub(super) struct Large {
    pub(super) dir: DirKey,
    pub(super) name: Name,
    /// It leads the names of its object.
    pub(super) lead: Option<Arc<Lead>>,
    /// Bytes of room that its content takes at the source, if nothing stands at its name at the
    /// sink.
    pub(super) takes: Option<u64>,
    /// It is not to be compared with what the sink has.
    pub(super) whole: bool,
}

impl Transfer {
    /// Bytes of content that are still to be sent.
    pub(super) fn bytes_left(&self) -> u64 {
        let size = self.opened.as_ref().map_or(0, |(version, _)| version.size);
        size.saturating_sub(self.offset.max(self.have))
    }

    /// Bytes of room that it is certain to take yet.
    pub(super) fn takes_yet(&self) -> u64 {
        self.takes.unwrap_or_default().saturating_sub(self.offset.max(self.have))
    }
}

impl Session {
    /// A file too large for one message is to travel; its mark is busy.
    pub(super) fn start_transfer(&mut self, large: Large, shared: &mut Shared) {
        self.large.push_back(large);
        self.pump_transfers(shared);
    }

    /// Whether a name waits for its transfer, or is on its way by one: it is looked at again before
    /// the commit.
    pub(super) fn is_transferred(&self, dir: DirKey, name: &Name) -> bool {
        let is_large = |large: &Large| large.dir == dir && large.name == *name;
        self.marks.get(dir, name).is_some()
            && (self.large.iter().any(is_large)
                || self.transfers.values().any(|one| one.dir == dir && one.name == *name))
    }

    /// Opens the next large files, reads the next chunks, looks at those read to their end.
    pub(super) fn pump_transfers(&mut self, shared: &mut Shared) {
        while self.transfers.len() < TRANSFERS_MAX
            && self.may_begin_content()
            && shared.ease.has_room(shared.now)
        {
            let Some(large) = self.large.pop_front() else { break };
            self.open_transfer(large, shared);
        }
        let idle: Vec<u64> = self
            .transfers
            .iter()
            .filter(|(_, t)| !t.looking && t.opened.is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.next_chunk(id, shared);
        }
    }

    fn open_transfer(&mut self, large: Large, shared: &mut Shared) {
        let Large { dir, name, lead, takes, whole } = large;
        let Some(address) = shared.map.address(dir) else {
            // At no place now: it is looked at again, or vanishes with its directory.
            let later = shared.now + ADRIFT_DELAY;
            self.marks.put_off(dir, &name, Hint::CONTENT, later, false);
            return;
        };
        let id = shared.next_open();
        let task = Task::Names(vec![(name.clone(), Want::Open { transfer: id })]);
        let transfer = Transfer {
            dir,
            name,
            opened: None,
            offset: 0,
            wire: 0,
            have: 0,
            is_begun: false,
            looking: true,
            unanswered: 0,
            ended: false,
            lead,
            takes,
            whole,
        };
        self.transfers.insert(id, transfer);
        let stamp = self.stamp();
        let path = address.path.clone();
        self.busy(dir);
        let look = shared.look(Some(self.id), false, address, task);
        let purpose = Purpose::Open { transfer: id, stamp };
        let began = shared.now;
        self.pending.insert(look, Pending { lane: Lane::Backlog, dir, path, purpose, began });
    }

    pub(super) fn transfer_opened(
        &mut self,
        id: u64,
        _stamp: Stamp,
        seen: Seen,
        moved: bool,
        shared: &mut Shared,
    ) {
        let sight = match seen {
            Seen::Names { sights, .. } if !moved => sights.into_iter().next(),
            Seen::Unreadable(text) => return self.unread(id, text, shared),
            _ => None,
        };
        let named = match &sight {
            Some((_, Sight::There { sighting, .. })) => self.name_transfer(id, sighting),
            _ => (0, 0),
        };
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.looking = false;
        if let Some((_, Sight::There { sighting, .. })) = sight
            && let Some(version) = version_of(&sighting)
        {
            (transfer.wire, transfer.have) = named;
            transfer.is_begun = transfer.have > 0;
            let (dir, name) = (transfer.dir, transfer.name.clone());
            if self.is_kept_waiting(dir, &name, version.size - named.1, shared.now) {
                self.close_transfer(id, shared);
                return;
            }
            let Some(transfer) = self.transfers.get_mut(&id) else { return };
            transfer.opened = Some((version, sighting.attributes()));
            let is_there = transfer.takes.is_none() && !transfer.whole;
            if is_there && !self.terms.dry {
                self.compare_transfer(id, None, shared);
            } else {
                self.next_chunk(id, shared);
            }
        } else {
            self.give_up_transfer(id, Duration::ZERO, false, shared);
        }
    }

    /// The name of a transfer at the sink, and how many bytes of it are there already. What is left
    /// of an earlier epoch is relied on once.
    fn name_transfer(&mut self, id: u64, sighting: &Sighting) -> (u64, u64) {
        let Some(version) = version_of(sighting) else { return (0, 0) };
        let wire = wire_name(&version, None);
        if self.transfers.values().any(|other| other.opened.is_some() && other.wire == wire) {
            // Another name of the same file is on its way.
            return (wire_name(&version, Some((self.terms.epoch.0, id))), 0);
        }
        let have = self.terms.partials.remove(&wire).unwrap_or(0).min(version.size);
        (wire, have)
    }

    pub(super) fn next_chunk(&mut self, id: u64, shared: &mut Shared) {
        let bytes = self.pace.content_bytes(CHUNK_BYTES);
        let room = self.lane_room(Lane::Backlog, bytes, shared);
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let dir = transfer.dir;
        let Some(address) = shared.map.address(dir) else {
            return self.give_up_transfer(id, Duration::ZERO, false, shared);
        };
        let path = address.path.clone();
        let (task, purpose) = if !transfer.ended {
            if !room {
                return;
            }
            let offset = transfer.offset;
            transfer.looking = true;
            (Task::Chunk { transfer: id, offset, bytes }, Purpose::Chunk { transfer: id })
        } else if transfer.unanswered == 0 {
            let name = transfer.name.clone();
            if self.is_name_fenced(dir, &name, shared) {
                return;
            }
            let Some(transfer) = self.transfers.get_mut(&id) else { return };
            transfer.looking = true;
            let stamp = self.stamp();
            (Task::Finish { transfer: id, name }, Purpose::Finish { transfer: id, stamp })
        } else {
            return;
        };
        self.busy(dir);
        let look = shared.look(Some(self.id), false, address, task);
        let began = shared.now;
        self.pending.insert(look, Pending { lane: Lane::Backlog, dir, path, purpose, began });
    }

    pub(super) fn chunk_read(&mut self, id: u64, seen: Seen, shared: &mut Shared) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.looking = false;
        let (offset, bytes, is_last) = match seen {
            Seen::Chunk { offset, bytes, is_last } => (offset, bytes, is_last),
            Seen::Delta { delta, end, is_last } => {
                return self.delta_read(id, delta, (end, is_last), shared);
            }
            Seen::Unreadable(text) => return self.unread(id, text, shared),
            _ => return self.unread(id, "The file could not be read".to_owned(), shared),
        };
        transfer.offset = offset + bytes.len() as u64;
        transfer.ended = is_last;
        let is_there = transfer.offset <= transfer.have;
        // The sink makes its staged object for the first one: a file of nothing but holes has one.
        let is_due = !bytes.is_empty() || transfer.ended && !transfer.is_begun;
        if is_due && !is_there {
            transfer.unanswered += 1;
            transfer.is_begun = true;
            let holes = transfer.opened.as_ref().is_some_and(|(_, bears)| bears.holes);
            let (wire, at) = (transfer.wire, if bytes.is_empty() { 0 } else { offset });
            self.post_chunk((id, wire), (at, holes), bytes, shared);
        }
        self.next_chunk(id, shared);
    }

    pub(super) fn chunk_answered(&mut self, id: u64, failed: Option<Answer>, shared: &mut Shared) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.unanswered = transfer.unanswered.saturating_sub(1);
        let (dir, name) = (transfer.dir, transfer.name.clone());
        match failed {
            None | Some(Answer::Applied) => {
                self.room.taken();
                let is_looking = self.transfers.get(&id).is_some_and(|transfer| transfer.looking);
                if !is_looking {
                    self.next_chunk(id, shared);
                }
            }
            Some(Answer::Needed(_)) => self.basis_refused(id, shared),
            Some(answer) => {
                let path = shared.map.path(dir).unwrap_or_default().join(&name);
                if let Answer::Failed(failure) = &answer {
                    self.failed_at(path, failure, shared);
                    if failure.is_for_want_of_room() {
                        return self.refuse_transfer(id, shared);
                    }
                }
                let delay = self.retry_delay(dir, &name);
                self.give_up_transfer(id, delay, true, shared);
            }
        }
    }

    pub(super) fn transfer_finished(
        &mut self,
        id: u64,
        stamp: Stamp,
        seen: Seen,
        shared: &mut Shared,
    ) {
        if let Seen::Unreadable(text) = seen {
            return self.unread(id, text, shared);
        }
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.looking = false;
        let (dir, name) = (transfer.dir, transfer.name.clone());
        let (opened, wire) = (transfer.opened.clone(), transfer.wire);
        if self.is_name_fenced(dir, &name, shared) {
            return;
        }
        let (
            Seen::Finished { file, still_named: true, hash, bytes },
            Some(path),
            Some((first, attributes)),
        ) = (seen, self.sink_path(dir, shared), opened)
        else {
            return self.give_up_transfer(id, Duration::ZERO, false, shared);
        };
        let same = version_of(&file) == Some(first) && bytes == first.size;
        let attributes = if same { file.attributes() } else { attributes };
        if !same {
            // That it changes at this moment is as good as an event.
            self.hear(dir, &name, Hint::CONTENT, shared.now, Duration::ZERO);
        }
        let lead = self.transfers.remove(&id).and_then(|transfer| transfer.lead);
        shared.close_transfer(id, dir);
        self.stamps.hold(stamp);
        let op =
            Op::Commit { path: path.join(&name), transfer: wire, size: bytes, attributes, hash };
        let home = shared.map.get(dir).and_then(crate::flow::map::Dir::identity);
        let facts = same.then(|| Facts::of(&file, home));
        let draft = Draft::new(op, stamp, (dir, Some(name)), Errand::Mark);
        let draft = Draft { facts, lead, ..draft };
        self.post_ops(Lane::Backlog, vec![draft], Vec::new(), shared);
    }

    /// The file can't be read: a problem, and it is tried again later.
    pub(super) fn unread(&mut self, id: u64, text: String, shared: &mut Shared) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        let (dir, name) = (transfer.dir, transfer.name.clone());
        let path = shared.map.path(dir).unwrap_or_default().join(&name);
        self.problem(path, text, shared);
        let delay = self.unseen_delay(dir, &name);
        self.give_up_transfer(id, delay, true, shared);
    }

    pub(super) fn give_up_transfer(
        &mut self,
        id: u64,
        delay: Duration,
        failed: bool,
        shared: &mut Shared,
    ) {
        let Some(transfer) = self.drop_transfer(id, shared) else { return };
        let at = shared.now + delay;
        self.marks.put_off(transfer.dir, &transfer.name, Hint::CONTENT, at, failed);
    }

    /// The sink has no room for the file: what it has of it goes, so that others have room.
    fn refuse_transfer(&mut self, id: u64, shared: &mut Shared) {
        let Some(transfer) = self.drop_transfer(id, shared) else { return };
        let bytes = transfer.opened.as_ref().map_or(0, |(version, _)| version.size);
        self.hold(transfer.dir, &transfer.name, bytes, shared.now);
    }

    pub(super) fn drop_transfer(&mut self, id: u64, shared: &mut Shared) -> Option<Transfer> {
        let transfer = self.close_transfer(id, shared)?;
        if transfer.opened.is_some() {
            self.post_drop(transfer.wire, shared);
        }
        Some(transfer)
    }

    fn close_transfer(&mut self, id: u64, shared: &mut Shared) -> Option<Transfer> {
        let transfer = self.transfers.remove(&id)?;
        shared.close_transfer(id, transfer.dir);
        Some(transfer)
    }
}

/// Names a transfer by what is transferred, so that a later epoch knows it again; `own` makes the
/// name one that no other transfer has.
fn wire_name(version: &FileVersion, own: Option<(u64, u64)>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let identity = version.identity;
    let (mtime, ctime) = (version.mtime, version.ctime);
    let (epoch, id) = own.unwrap_or_default();
    for number in [identity.device, identity.inode, version.size, epoch, id] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&identity.birth.to_le_bytes());
    for time in [mtime, ctime] {
        hasher.update(&time.seconds.to_le_bytes());
        hasher.update(&time.nanos.to_le_bytes());
    }
    let mut name = [0; 8];
    name.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(name)
}

fn version_of(sighting: &Sighting) -> Option<FileVersion> {
    match sighting.entry {
        Entry::File { size, meta } => Some(FileVersion {
            identity: sighting.identity,
            size,
            mtime: meta.mtime,
            ctime: sighting.ctime,
        }),
        _ => None,
    }
}
