//! What has changed in large files: instead of all bytes, ranges of what the sink has already.
//!
//! The sink is told what it is to have at the name, its *basis*, and then which ranges of the
//! content come from there. It need not be so: whatever another's hand, a crash or a stale
//! signature may have done, the sink refuses the basis, or finds another hash in the end; the name
//! is then sent whole.

use std::sync::Arc;
use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::looks::{Pending, Purpose};
use crate::flow::session::{Session, Shared};
use crate::model::delta::{Delta, Signature};
use crate::model::look::{Comparing, Seen, Task};
use crate::model::stamp::Lane;

impl Session {
    /// Has an open file compared with what the sink has at its name, by a signature that the sink
    /// told or one that is kept.
    pub(super) fn compare_transfer(
        &mut self,
        id: u64,
        told: Option<Arc<Signature>>,
        shared: &mut Shared,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let (dir, name) = (transfer.dir, transfer.name.clone());
        let Some(address) = shared.map.address(dir) else {
            return self.give_up_transfer(id, Duration::ZERO, false, shared);
        };
        transfer.looking = true;
        let path = address.path.clone();
        self.busy(dir);
        let task = Task::Compare { transfer: id, name, told };
        let look = shared.look(Some(self.id), false, address, task);
        let (purpose, began) = (Purpose::Compare { transfer: id }, shared.now);
        self.pending.insert(look, Pending { lane: Lane::Backlog, dir, path, purpose, began });
    }

    /// Tells the sink what the file is compared with, and begins.
    pub(super) fn transfer_compared(&mut self, id: u64, seen: Seen, shared: &mut Shared) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.looking = false;
        let (dir, name) = (transfer.dir, transfer.name.clone());
        let compared = match seen {
            Seen::Comparing(compared) => compared,
            Seen::Unreadable(text) => return self.unread(id, text, shared),
            _ => return self.give_up_transfer(id, Duration::ZERO, false, shared),
        };
        let Some(path) = self.sink_path(dir, shared) else {
            return self.give_up_transfer(id, Duration::ZERO, false, shared);
        };
        match compared {
            Comparing::Never => {}
            Comparing::Unsigned => {
                let Some(transfer) = self.transfers.get_mut(&id) else { return };
                // It stands still until the sink has answered.
                transfer.looking = true;
                return self.post_sign(id, path.join(&name), shared);
            }
            Comparing::With(basis) => {
                let Some(transfer) = self.transfers.get_mut(&id) else { return };
                transfer.unanswered += 1;
                transfer.is_begun = true;
                let wire = transfer.wire;
                self.post_basis((id, wire), path.join(&name), basis, shared);
            }
        }
        self.next_chunk(id, shared);
    }

    /// The sink has told a signature of what stands at the name, or that there is none.
    pub(super) fn signature_told(&mut self, id: u64, signature: &[u8], shared: &mut Shared) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.looking = false;
        match Signature::decode(signature) {
            Ok(signature) => self.compare_transfer(id, Some(Arc::new(signature)), shared),
            Err(_) => self.next_chunk(id, shared),
        }
    }

    /// Takes the next part of a difference: all before `end`.
    pub(super) fn delta_read(
        &mut self,
        id: u64,
        delta: Delta,
        (end, is_last): (u64, bool),
        shared: &mut Shared,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        (transfer.offset, transfer.ended) = (end, is_last);
        if !delta.pieces.is_empty() && end > transfer.have {
            transfer.unanswered += 1;
            let holes = transfer.opened.as_ref().is_some_and(|(_, bears)| bears.holes);
            let wire = transfer.wire;
            self.post_delta((id, wire), holes, delta, shared);
        }
        self.next_chunk(id, shared);
    }

    /// The sink has not what the file was compared with: all of it is sent.
    pub(super) fn basis_refused(&mut self, id: u64, shared: &mut Shared) {
        let Some(transfer) = self.drop_transfer(id, shared) else { return };
        self.marks.put_off(transfer.dir, &transfer.name, Hint::WHOLE, shared.now, false);
    }
}
