//! Large files: kept open under a number, read in chunks, hashed in order.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use rustix::buffer::spare_capacity;
use rustix::fs::Advice;
use rustix::io::Errno;

use crate::model::content::ContentHasher;
use crate::model::delta::{Comparer, Signer};
use crate::model::entry::{FileTime, Sighting};
use crate::model::limits::{CHUNK_BYTES, CHUNKS_AHEAD_MAX, SIGNED_BYTES_MIN};
use crate::model::look::Seen;
use crate::model::path::Name;
use crate::tree::looker::{Dir, Looker, Unseen, no_xattrs};
use crate::tree::xattrs::Object;
use crate::tree::{content, hold, stat};

/// An open large file.
pub(super) struct Transfer {
    pub(super) file: OwnedFd,
    pub(super) progress: Mutex<Progress>,
    /// Its length and its modification time when it was opened.
    pub(super) opened: (u64, FileTime),
}

/// How far the hash has come. Chunks may be read by several threads at once.
pub(super) struct Progress {
    pub(super) hasher: ContentHasher,
    /// Makes a signature meanwhile.
    pub(super) signer: Option<Signer>,
    /// What is read is compared with what the sink has.
    pub(super) comparer: Option<Comparer>,
    ahead: BTreeMap<u64, (u64, Vec<u8>)>,
}

impl Progress {
    /// Takes in a hole that begins at `from`, if there is one, and the chunk behind it; false if
    /// too many are ahead of one that is missing.
    fn take(&mut self, from: u64, offset: u64, bytes: &[u8]) -> bool {
        if bytes.is_empty() && from == offset || from < self.hasher.bytes() {
            return true;
        }
        if from > self.hasher.bytes() {
            if self.ahead.len() >= CHUNKS_AHEAD_MAX {
                return false;
            }
            self.ahead.insert(from, (offset, bytes.to_vec()));
            return true;
        }
        self.hash(offset, bytes);
        while let Some((offset, bytes)) = self.ahead.remove(&self.hasher.bytes()) {
            self.hash(offset, &bytes);
        }
        true
    }

    pub(super) fn hash(&mut self, offset: u64, bytes: &[u8]) {
        let hole = offset.saturating_sub(self.hasher.bytes());
        self.hasher.skip(hole);
        self.hasher.update(bytes);
        if let Some(signer) = &mut self.signer {
            signer.skip(hole);
            signer.update(bytes);
        }
    }
}

impl Looker {
    pub(super) fn keep_transfer(&self, number: u64, file: OwnedFd, seen: &Sighting) {
        // Advice only: a filesystem may not care.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        let size = seen.entry.content_bytes();
        let is_signed = self.signatures.is_some() && size >= SIGNED_BYTES_MIN;
        let signer = if is_signed { Signer::new(size) } else { None };
        let (hasher, ahead) = (ContentHasher::new(), BTreeMap::new());
        let progress = Mutex::new(Progress { hasher, signer, comparer: None, ahead });
        let transfer = Transfer { file, progress, opened: (size, seen.entry.meta().mtime) };
        hold(&self.transfers).put(number, transfer);
    }

    pub(super) fn transfer(&self, number: u64) -> Result<std::sync::Arc<Transfer>, Unseen> {
        let lost =
            || Unseen::Unreadable("The file is no longer open; it must be begun again".into());
        hold(&self.transfers).get(number).ok_or_else(lost)
    }

    pub(super) fn chunk(&self, number: u64, offset: u64, bytes: u64) -> Result<Seen, Unseen> {
        let transfer = self.transfer(number)?;
        if hold(&transfer.progress).comparer.is_some() {
            return transfer.difference(bytes);
        }
        let unreadable = |errno| Unseen::Unreadable(stat::words("Can't read the file", errno));
        let file = transfer.file.as_fd();
        let (from, offset) = (offset, content::next_data(file, offset).map_err(unreadable)?);
        let hole = content::next_hole(file, offset).map_err(unreadable)?;
        // No frame holds more, whatever is asked.
        let wanted = bytes.min(CHUNK_BYTES).min(hole.saturating_sub(offset).max(1));
        let wanted = usize::try_from(wanted).unwrap_or(0);
        let mut chunk: Vec<u8> = Vec::with_capacity(wanted);
        while chunk.len() < wanted {
            let at = offset.saturating_add(chunk.len() as u64);
            match rustix::io::pread(&transfer.file, spare_capacity(&mut chunk), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(unreadable(errno)),
            }
        }
        chunk.truncate(wanted);
        if !hold(&transfer.progress).take(from, offset, &chunk) {
            return Err(Unseen::Unreadable("Too many chunks of the file were asked for".into()));
        }
        let read = NonZeroU64::new(chunk.len() as u64);
        if read.is_some() {
            let _ = rustix::fs::fadvise(&transfer.file, offset, read, Advice::DontNeed);
        }
        Ok(Seen::Chunk { offset, is_last: chunk.len() < wanted, bytes: chunk })
    }

    pub(super) fn finish(&self, dir: &Dir, number: u64, name: &Name) -> Result<Seen, Unseen> {
        let transfer = self.transfer(number)?;
        let stat = stat::of_fd(transfer.file.as_fd())
            .map_err(|errno| Unseen::Unreadable(stat::words("Can't look at the file", errno)))?;
        let still_named = match stat::of_name(dir.fd(), name) {
            Ok(named) => stat::identity(&named) == stat::identity(&stat),
            Err(_) => false,
        };
        let mut file = stat::sighting(&stat);
        self.dress(Object::Open(transfer.file.as_fd()), &stat, &mut file)
            .map_err(|errno| Unseen::Unreadable(no_xattrs(errno)))?;
        let progress = hold(&transfer.progress);
        Ok(Seen::Finished {
            file,
            still_named,
            hash: progress.hasher.finish(),
            bytes: progress.hasher.bytes(),
        })
    }
}
