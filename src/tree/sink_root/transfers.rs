//! Transfers: large files that arrive in chunks, each in a staged object of its own.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use crate::model::entry::{Hash, Meta};
use crate::model::target::Obstacle;
use crate::tree::content;
use crate::tree::sink_root::staging::Staged;
use crate::tree::sink_root::{SinkRoot, obstacle};
use crate::tree::{hold, stat};

/// A transfer under way.
pub(super) struct Incoming {
    file: OwnedFd,
    /// Taken away at the end.
    staged: Option<Staged>,
    /// Of the first `hashed` bytes, as they were written.
    hasher: blake3::Hasher,
    hashed: u64,
    /// Whether bytes came that are not in the hash, or twice.
    in_order: bool,
}

impl SinkRoot {
    pub(super) fn take_in(&self, number: u64, offset: u64, bytes: &[u8]) -> Result<(), Obstacle> {
        let known = hold(&self.transfers).get(number);
        let incoming = match known {
            Some(incoming) => incoming,
            None => {
                let (file, staged) = self.staging.file(&self.ways)?;
                let incoming = Incoming {
                    file,
                    staged: Some(staged),
                    hasher: blake3::Hasher::new(),
                    hashed: 0,
                    in_order: true,
                };
                let mut transfers = hold(&self.transfers);
                match transfers.get(number) {
                    Some(other) => other,
                    None => transfers.put(number, Mutex::new(incoming)),
                }
            }
        };
        let mut incoming = incoming.lock().unwrap_or_else(PoisonError::into_inner);
        content::write_at(incoming.file.as_fd(), bytes, offset)
            .map_err(|errno| obstacle("Can't write to the staged file", errno))?;
        if offset == incoming.hashed {
            incoming.hasher.update(bytes);
            incoming.hashed += bytes.len() as u64;
        } else {
            incoming.in_order = false;
        }
        Ok(())
    }

    pub(super) fn take_whole(
        &self,
        number: u64,
        size: u64,
        hash: &Hash,
        meta: &Meta,
    ) -> Result<Staged, Obstacle> {
        let incoming = hold(&self.transfers).take(number).ok_or(Obstacle::Missing)?;
        let mut incoming = incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let stat = stat::of_fd(incoming.file.as_fd())
            .map_err(|errno| obstacle("Can't look at the staged file", errno))?;
        if stat.stx_size != size {
            return Err(Obstacle::Missing);
        }
        let have = if incoming.in_order && incoming.hashed == size {
            Hash(*incoming.hasher.finalize().as_bytes())
        } else {
            let read = content::hash_of(incoming.file.as_fd(), size);
            read.map_err(|errno| obstacle("Can't read the staged file again", errno))?.0
        };
        if have != *hash {
            return Err(Obstacle::Missing);
        }
        self.keeps.set_on_file(incoming.file.as_fd(), meta)?;
        self.sync_file(incoming.file.as_fd())?;
        incoming.staged.take().ok_or(Obstacle::Missing)
    }
}
