//! What a transfer takes from what the sink has already: its basis.
//!
//! - The basis is what stands at a name when the transfer begins, by its descriptor: it may be
//!   replaced or removed meanwhile and is read nevertheless. Nothing changes it here.
//! - Where the filesystem can, whole blocks are shared instead of copied. All that is taken is read
//!   for the hash, so what has changed in the basis by another's hand is found in the end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::model::delta::{Basis, Piece, Signature, Signer};
use crate::model::entry::Entry;
use crate::model::path::{Name, RelPath};
use crate::model::target::{Obstacle, Target};
use crate::tree::clone::clone_range;
use crate::tree::sink_root::transfers::Incoming;
use crate::tree::sink_root::{SinkRoot, obstacle};
use crate::tree::{beneath, content, stat};

/// Bytes that are copied at once.
const COPY_BYTES: usize = 256 * 1024;
/// Blocks of filesystems that share them begin at multiples of this, nearly everywhere.
const SHARED_BYTES: u64 = 4096;
/// Less is copied: sharing costs a call, and an extent.
const SHARED_LEAST: u64 = 64 * 1024;

/// What ranges are taken from.
pub(super) struct Source {
    file: OwnedFd,
    /// Whether its blocks can be shared, as far as is known.
    shares: bool,
}

impl SinkRoot {
    /// Opens what stands at a path as what a transfer takes ranges from; false if it is not what it
    /// is said to be.
    ///
    /// # Errors
    /// `NoRoom` or `Other`; the transfer is then to be given up.
    pub fn open_basis(&self, transfer: u64, path: &RelPath, of: Basis) -> Result<bool, Obstacle> {
        let open = |dir: BorrowedFd<'_>, name: &Name| beneath::open_file(dir, name);
        // Whatever is in the way, the content comes whole.
        let Ok(Ok(file)) = self.ways.at(path, open) else { return Ok(false) };
        if !self.is_basis(file.as_fd(), of) {
            return Ok(false);
        }
        let incoming = self.incoming(transfer, true)?.ok_or(Obstacle::Missing)?;
        let mut incoming = incoming.lock().unwrap_or_else(PoisonError::into_inner);
        incoming.basis = Some(Source { file, shares: true });
        Ok(true)
    }

    /// A signature of the file that stands at a path, if one does that can be read.
    pub(super) fn signature_of(&self, path: &RelPath) -> Option<Signature> {
        let open = |dir: BorrowedFd<'_>, name: &Name| beneath::open_file(dir, name);
        let file = self.ways.at(path, open).ok()?.ok()?;
        let stat = stat::of_fd(file.as_fd()).ok()?;
        if stat::file_type(&stat) != FileType::RegularFile {
            return None;
        }
        let mut signer = Signer::to_tell(stat.stx_size)?;
        let (mut buffer, mut at) = (vec![0; COPY_BYTES], 0);
        loop {
            let data = content::next_data(file.as_fd(), at).ok()?;
            signer.skip(data - at);
            let read =
                rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut buffer[..], data));
            let read = read.ok()?;
            if read == 0 {
                break;
            }
            signer.update(&buffer[..read]);
            at = data + read as u64;
        }
        signer.finish(stat::sighting(&stat).entry.meta().mtime)
    }

    fn is_basis(&self, file: BorrowedFd<'_>, of: Basis) -> bool {
        let Ok(stat) = stat::of_fd(file) else { return false };
        if stat::file_type(&stat) != FileType::RegularFile {
            return false;
        }
        let Entry::File { size, meta } = stat::sighting(&stat).entry else { return false };
        let theirs = crate::model::entry::Meta { mtime: of.mtime, ..meta };
        size == of.size && self.same_meta(&theirs, &meta, false)
    }

    /// Writes ranges of a transfer's content, those that travel from `new`; tells how many bytes
    /// came from the basis. What lies between them is zero; with `holes` blocks of zeros take no
    /// room.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer, or no such range in its basis; `NoRoom` or `Other`.
    /// The transfer is then to be given up.
    pub fn put_together(
        &self,
        transfer: u64,
        pieces: &[Piece],
        mut new: &[u8],
        holes: bool,
    ) -> Result<u64, Obstacle> {
        let incoming = self.incoming(transfer, false)?.ok_or(Obstacle::Missing)?;
        let mut incoming = incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = vec![0; COPY_BYTES];
        let mut copied = 0;
        for piece in pieces {
            incoming.fill(piece.offset, holes)?;
            if piece.from.is_some() {
                incoming.copy(piece, &mut buffer, holes)?;
                copied += piece.bytes;
                continue;
            }
            let bytes = usize::try_from(piece.bytes).unwrap_or(usize::MAX);
            let (bytes, rest) = new.split_at_checked(bytes).ok_or(Obstacle::Missing)?;
            incoming.write(piece.offset, bytes, holes)?;
            new = rest;
        }
        Ok(copied)
    }
}

impl Incoming {
    /// Takes one range from the basis.
    fn copy(&mut self, piece: &Piece, buffer: &mut [u8], holes: bool) -> Result<(), Obstacle> {
        let mut basis = self.basis.take().ok_or(Obstacle::Missing)?;
        let copied = self.copy_from(&mut basis, piece, buffer, holes);
        self.basis = Some(basis);
        copied
    }

    fn copy_from(
        &mut self,
        basis: &mut Source,
        piece: &Piece,
        buffer: &mut [u8],
        holes: bool,
    ) -> Result<(), Obstacle> {
        let (mut from, mut to) = (piece.from.ok_or(Obstacle::Missing)?, piece.offset);
        let end = piece.offset.checked_add(piece.bytes).ok_or(Obstacle::Missing)?;
        from.checked_add(piece.bytes).ok_or(Obstacle::Missing)?;
        let shared = basis.share(self.file(), (from, to), piece.bytes);
        while to < end {
            let most = buffer.len().min(usize::try_from(end - to).unwrap_or(usize::MAX));
            let read = match rustix::io::pread(&basis.file, &mut buffer[..most], from) {
                // It was cut off since the transfer began.
                Ok(0) => return Err(Obstacle::Missing),
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(obstacle("Can't read what stands there", errno)),
            };
            // What is shared up to there needs no writing.
            let before = usize::try_from(shared.saturating_sub(to)).unwrap_or(read).min(read);
            let (before, after) = buffer[..read].split_at(before);
            if !before.is_empty() {
                self.note(to, before);
            }
            if !after.is_empty() {
                self.write(to + before.len() as u64, after, holes)?;
            }
            from += read as u64;
            to += read as u64;
        }
        Ok(())
    }
}

impl Source {
    /// Shares the blocks of a range with another file, if that can be done: up to where in that
    /// file.
    fn share(&mut self, file: BorrowedFd<'_>, (from, to): (u64, u64), bytes: u64) -> u64 {
        let bytes = bytes - bytes % SHARED_BYTES;
        let is_aligned = from.is_multiple_of(SHARED_BYTES) && to.is_multiple_of(SHARED_BYTES);
        if !self.shares || !is_aligned || bytes < SHARED_LEAST {
            return to;
        }
        match clone_range(self.file.as_fd(), file, (from, to), bytes) {
            Ok(()) => to + bytes,
            Err(_) => {
                self.shares = false;
                to
            }
        }
    }
}
