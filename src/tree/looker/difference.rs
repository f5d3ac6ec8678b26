//! Large files against what a sink has of them: read once, for the hash, for the signature of the
//! next time, and for what has changed.

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use crate::model::delta::{Comparer, Delta, Signature, Signer};
use crate::model::limits::{CHUNK_BYTES, DELTA_SPAN_MAX, PIECES_MAX};
use crate::model::look::{Comparing, LookJob, Seen};
use crate::model::path::Name;
use crate::tree::looker::transfer::Transfer;
use crate::tree::looker::{Looker, Unseen};
use crate::tree::{hold, stat};

/// Bytes read at once.
const READ_BYTES: usize = 128 * 1024;

impl Looker {
    /// Compares what is read of an open file with what the sink has, by the signature that it told
    /// or the one that is kept.
    pub(super) fn compare(
        &self,
        job: &LookJob,
        number: u64,
        name: &Name,
        told: Option<&Arc<Signature>>,
    ) -> Result<Seen, Unseen> {
        let transfer = self.transfer(number)?;
        let (Some(signatures), Some(sink)) = (&self.signatures, job.sink) else {
            return Ok(Seen::Comparing(Comparing::Never));
        };
        let kept = || signatures.load(sink, &job.dir.path.join(name));
        let known = told.cloned().or_else(kept);
        let mut progress = hold(&transfer.progress);
        if progress.hasher.bytes() > 0 {
            return Ok(Seen::Comparing(Comparing::Never));
        }
        // What takes the place of something may well be replaced again.
        progress.signer = Signer::new(transfer.opened.0);
        let basis = known.as_ref().map(|known| known.basis());
        progress.comparer = known.map(Comparer::new);
        Ok(Seen::Comparing(basis.map_or(Comparing::Unsigned, Comparing::With)))
    }

    /// Keeps the signature of what was read of a file to its end.
    pub(super) fn keep_signature(&self, job: &LookJob, number: u64, name: &Name) {
        let (Some(signatures), Some(sink)) = (&self.signatures, job.sink) else { return };
        let Ok(transfer) = self.transfer(number) else { return };
        let signer = hold(&transfer.progress).signer.take();
        // The sink gives it the time that it had when it was opened.
        let signature = signer.and_then(|signer| signer.finish(transfer.opened.1));
        if let Some(signature) = signature {
            signatures.store(sink, &job.dir.path.join(name), &signature);
        }
    }
}

impl Transfer {
    /// Reads on, until there is enough for a message: about so many new bytes, or a span.
    pub(super) fn difference(&self, bytes: u64) -> Result<Seen, Unseen> {
        let mut progress = hold(&self.progress);
        let lost = || Unseen::Unreadable("The file is not compared with anything".into());
        let mut comparer = progress.comparer.take().ok_or_else(lost)?;
        let mut delta = Delta::default();
        let begin = comparer.offset();
        let bytes = usize::try_from(bytes.min(CHUNK_BYTES)).unwrap_or(READ_BYTES).max(1);
        let mut buffer = vec![0; READ_BYTES.min(bytes)];
        let most = bytes - buffer.len();
        let mut is_last = false;
        let is_enough = |delta: &Delta, at: u64| {
            at - begin >= DELTA_SPAN_MAX
                || delta.pieces.len() >= PIECES_MAX
                || delta.literals.len() > most
        };
        while !is_last && !is_enough(&delta, comparer.offset()) {
            let data = progress.prepare(self.file.as_fd(), comparer.offset());
            let read = data.and_then(|data| Ok((data.start, self.read(data, &mut buffer)?)));
            let (offset, read) = read
                .map_err(|errno| Unseen::Unreadable(stat::words("Can't read the file", errno)))?;
            if offset > comparer.offset() {
                comparer.skip(offset, &mut delta);
            }
            progress.hash(offset, &buffer[..read]);
            comparer.take(&buffer[..read], &mut delta);
            progress.passage.behind(self.file.as_fd(), comparer.offset());
            is_last = read == 0;
        }
        if is_last {
            comparer.finish(&mut delta);
        }
        let end = comparer.decided();
        progress.comparer = Some(comparer);
        Ok(Seen::Delta { delta, end, is_last })
    }

    /// Reads the first bytes of a range: how many they are; none at the end of the file.
    fn read(&self, data: Range<u64>, buffer: &mut [u8]) -> Result<usize, Errno> {
        let most = usize::try_from(data.end - data.start).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let buffer = &mut buffer[..most];
        rustix::io::retry_on_intr(|| rustix::io::pread(&self.file, &mut *buffer, data.start))
    }
}
