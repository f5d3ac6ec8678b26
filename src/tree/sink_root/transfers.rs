//! Transfers: large files that arrive in chunks, each in a staged object of its own.
//!
//! The object is named after the transfer, so that a later epoch, or a later run, can go on with
//! it. Whether it is what it seems the hash in the commit tells: what was not hashed in order as it
//! was written is read again for that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::content::ContentHasher;
use crate::model::entry::{Attributes, Hash};
use crate::model::session::Partial;
use crate::model::target::Obstacle;
use crate::tree::content;
use crate::tree::sink_root::differences::Source;
use crate::tree::sink_root::staging::Staged;
use crate::tree::sink_root::{SinkRoot, obstacle};
use crate::tree::{hold, stat};

/// A transfer under way.
pub(super) struct Incoming {
    file: OwnedFd,
    /// Taken away at the end.
    staged: Option<Staged>,
    /// Of the first bytes, as they were written.
    hasher: ContentHasher,
    /// Whether bytes came that are not in the hash, or twice.
    in_order: bool,
    /// How far it was written, or is known to be zero.
    end: u64,
    /// What ranges are copied from.
    pub(super) basis: Option<Source>,
}

impl Incoming {
    /// The staged object.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Writes bytes at a place; with `holes` blocks of zeros take no room.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], holes: bool) -> Result<(), Obstacle> {
        // Only what was never written is zero where nothing is written.
        let is_new = self.in_order && offset >= self.hasher.bytes();
        let write = if holes && is_new { content::write_around_holes } else { content::write_at };
        write(self.file.as_fd(), bytes, offset)
            .map_err(|errno| obstacle("Can't write to the staged file", errno))?;
        self.note(offset, bytes);
        Ok(())
    }

    /// Gives the file room up to a place, unless that is to be a hole: zeros are read there.
    pub(super) fn fill(&mut self, to: u64, holes: bool) -> Result<(), Obstacle> {
        if !holes && self.end < to {
            content::make_dense(self.file.as_fd(), self.end, to)
                .map_err(|errno| obstacle("Can't write to the staged file", errno))?;
            self.end = to;
        }
        Ok(())
    }

    /// Takes bytes into the hash that stand at a place.
    pub(super) fn note(&mut self, offset: u64, bytes: &[u8]) {
        self.end = self.end.max(offset.saturating_add(bytes.len() as u64));
        if self.in_order && offset >= self.hasher.bytes() {
            let hole = offset - self.hasher.bytes();
            self.hasher.skip(hole);
            self.hasher.update(bytes);
        } else {
            self.in_order = false;
        }
    }
}

impl SinkRoot {
    pub(super) fn take_in(
        &self,
        number: u64,
        offset: u64,
        bytes: &[u8],
        holes: bool,
    ) -> Result<(), Obstacle> {
        let incoming = self.incoming(number, true)?.ok_or(Obstacle::Missing)?;
        incoming.lock().unwrap_or_else(PoisonError::into_inner).write(offset, bytes, holes)
    }

    /// A transfer under way, taken up from an earlier epoch or, if wished, begun.
    pub(super) fn incoming(
        &self,
        number: u64,
        begin: bool,
    ) -> Result<Option<Arc<Mutex<Incoming>>>, Obstacle> {
        if let Some(known) = hold(&self.transfers).get(number) {
            return Ok(Some(known));
        }
        let Some((file, staged)) = self.staging.transfer(&self.ways, number, begin)? else {
            return Ok(None);
        };
        let size = stat::of_fd(file.as_fd()).map(|stat| stat.stx_size);
        let (in_order, end) = (size == Ok(0), size.unwrap_or(0));
        let hasher = ContentHasher::new();
        let (staged, basis) = (Some(staged), None);
        let incoming = Incoming { file, staged, hasher, in_order, end, basis };
        Ok(Some(hold(&self.transfers).put(number, Mutex::new(incoming))))
    }

    /// What is left of transfers that earlier epochs have begun.
    ///
    /// # Errors
    /// When the staging directory can't be read.
    pub fn partials(&self) -> Result<Vec<Partial>, Obstacle> {
        self.staging.partials(&self.ways)
    }

    /// Lets go of all transfers, and leaves on the disk what has come of them.
    pub fn keep_transfers(&self) {
        for incoming in hold(&self.transfers).take_all() {
            let mut incoming = incoming.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(staged) = &mut incoming.staged {
                // It keeps its name in the staging directory.
                staged.placed = true;
            }
        }
    }

    /// Removes what is left of transfers that nobody goes on with.
    pub fn drop_partials(&self) {
        for Partial { transfer, .. } in self.partials().unwrap_or_default() {
            if hold(&self.transfers).get(transfer).is_none() {
                // Dropped, it is removed.
                let _ = self.staging.transfer(&self.ways, transfer, false);
            }
        }
    }

    pub(super) fn take_whole(
        &self,
        number: u64,
        size: u64,
        hash: &Hash,
        attributes: &Attributes,
    ) -> Result<Staged, Obstacle> {
        let incoming = self.incoming(number, false)?.ok_or(Obstacle::Missing)?;
        hold(&self.transfers).take(number);
        let mut incoming = incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let stat = stat::of_fd(incoming.file.as_fd())
            .map_err(|errno| obstacle("Can't look at the staged file", errno))?;
        if stat.stx_size > size {
            return Err(Obstacle::Missing);
        }
        incoming.fill(size, attributes.holes)?;
        if stat.stx_size < size {
            // It ends with a hole.
            rustix::fs::ftruncate(&incoming.file, size)
                .map_err(|errno| obstacle("Can't give the staged file its length", errno))?;
        }
        let end = size.checked_sub(incoming.hasher.bytes());
        let have = if let (true, Some(hole)) = (incoming.in_order, end) {
            incoming.hasher.skip(hole);
            incoming.hasher.finish()
        } else {
            let read = content::hash_of(incoming.file.as_fd(), size);
            read.map_err(|errno| obstacle("Can't read the staged file again", errno))?.0
        };
        if have != *hash {
            return Err(Obstacle::Missing);
        }
        let file = incoming.file.try_clone();
        let file =
            file.map_err(|error| Obstacle::Other(format!("Can't hold the file: {error}")))?;
        let staged = incoming.staged.take().ok_or(Obstacle::Missing)?;
        self.dress_file(file, staged, attributes, (&self.keeps(), None))
    }
}
