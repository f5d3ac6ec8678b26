//! Large files: kept open under a number, read in chunks, hashed in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::model::content::ContentHasher;
use crate::model::delta::{Comparer, Signer};
use crate::model::entry::{FileTime, Sighting};
use crate::model::limits::{CHUNK_BYTES, CHUNKS_AHEAD_MAX, SIGNED_BYTES_MIN};
use crate::model::look::Seen;
use crate::model::path::Name;
use crate::tree::looker::{Dir, Looker, Unseen, no_xattrs};
use crate::tree::passage::Passage;
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
    /// Data without a hole, as it was found last: to ask at each chunk would take a filesystem
    /// that searches page by page longer than reading does.
    data: Range<u64>,
    /// As long as it was when it was opened.
    size: u64,
    pub(super) passage: Passage,
}

impl Progress {
    /// Where the next data begins, at `from` or behind it, and where the hole behind it does.
    fn data_at(&mut self, file: BorrowedFd<'_>, from: u64) -> Result<Range<u64>, Errno> {
        if !self.data.contains(&from) {
            let begin = content::next_data(file, from)?;
            let end = content::next_hole(file, begin)?;
            self.data = begin..end.max(begin.saturating_add(1));
        }
        Ok(self.data.start.max(from)..self.data.end)
    }

    /// Makes ready to read the next data, and says where they are.
    pub(super) fn prepare(&mut self, file: BorrowedFd<'_>, from: u64) -> Result<Range<u64>, Errno> {
        let data = self.data_at(file, from)?;
        self.passage.before(file, data.start, self.size.min(data.end));
        Ok(data)
    }

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

impl Drop for Transfer {
    fn drop(&mut self) {
        hold(&self.progress).passage.end(self.file.as_fd());
    }
}

impl Looker {
    pub(super) fn keep_transfer(&self, number: u64, file: OwnedFd, seen: &Sighting) {
        let size = seen.entry.content_bytes();
        let is_signed = self.signatures.is_some() && size >= SIGNED_BYTES_MIN;
        let signer = if is_signed { Signer::new(size) } else { None };
        let (ahead, passage) = Default::default();
        // Without holes there is nothing to search for; what is punched meanwhile reads as zeros.
        let is_dense = stat::of_fd(file.as_fd()).is_ok_and(|stat| !stat::has_holes(&stat));
        let data = if is_dense { 0..u64::MAX } else { 0..0 };
        let hasher = ContentHasher::new();
        let comparer = None;
        let progress = Progress { hasher, signer, comparer, ahead, data, size, passage };
        let progress = Mutex::new(progress);
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
        let data = hold(&transfer.progress).prepare(file, offset).map_err(unreadable)?;
        let (from, offset) = (offset, data.start);
        // No frame holds more, whatever is asked.
        let wanted = bytes.min(CHUNK_BYTES).min(data.end - offset);
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
        let mut progress = hold(&transfer.progress);
        if !progress.take(from, offset, &chunk) {
            return Err(Unseen::Unreadable("Too many chunks of the file were asked for".into()));
        }
        progress.passage.behind(file, offset + chunk.len() as u64);
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
