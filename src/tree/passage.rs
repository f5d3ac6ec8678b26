//! Reading a large file through the page cache of a host that others use.
//!
//! - The kernel is told what comes next, some windows ahead, so that reading does not wait for a
//!   disk that could have begun long ago.
//! - What was not in the cache before leaves it again. A window of which even one page was there
//!   stays as a whole: the pages that others work with are never put out by us.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;

use rustix::fs::Advice;

use crate::model::limits::{LIVE_BYTES_MAX, PASSAGE_AHEAD, PASSAGE_WINDOW_BYTES};
use crate::tree::resident::is_resident;

/// One reading of one file, from its beginning to its end.
#[derive(Debug, Default)]
pub(super) struct Passage {
    /// Up to where the kernel was told what is wanted.
    told: u64,
    /// Windows, by where they begin, of which nothing was in the cache before.
    ours: VecDeque<u64>,
}

impl Passage {
    /// Before reading at a place of what ends at `size`: asks for what comes next. Advice only, so
    /// nothing can fail; what is small is not worth it.
    pub(super) fn before(&mut self, file: BorrowedFd<'_>, at: u64, size: u64) {
        if size <= LIVE_BYTES_MAX {
            return;
        }
        let window = PASSAGE_WINDOW_BYTES;
        // What a hole or a resumption has passed over is not wanted.
        self.told = self.told.max(at - at % window);
        let until = at.saturating_add(window * PASSAGE_AHEAD).min(size);
        while self.told < until {
            if is_resident(file, self.told, window) == Ok(false) {
                self.ours.push_back(self.told);
            }
            let _ = rustix::fs::fadvise(file, self.told, NonZeroU64::new(window), Advice::WillNeed);
            self.told += window;
        }
    }

    /// After reading up to a place: lets go of what was read for us alone.
    pub(super) fn behind(&mut self, file: BorrowedFd<'_>, end: u64) {
        let window = PASSAGE_WINDOW_BYTES;
        while self.ours.front().is_some_and(|begin| begin.saturating_add(window) <= end) {
            let Some(begin) = self.ours.pop_front() else { return };
            let _ = rustix::fs::fadvise(file, begin, NonZeroU64::new(window), Advice::DontNeed);
        }
    }

    /// The file is read, or given up: nothing of it that is ours stays.
    pub(super) fn end(&mut self, file: BorrowedFd<'_>) {
        self.behind(file, u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use rustix::fs::Advice;

    use super::Passage;
    use crate::model::limits::PASSAGE_WINDOW_BYTES;
    use crate::tree::resident::is_resident;

    const WINDOWS: u64 = 24;

    /// A file of so many windows, none of which is in the cache; nothing where files lie in memory
    /// alone, and none can leave it.
    fn cold_file(dir: &Path) -> Option<File> {
        let mut file = tempfile::tempfile_in(dir).unwrap();
        file.write_all(&vec![7; (WINDOWS * PASSAGE_WINDOW_BYTES) as usize]).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        (!is_resident(file.as_fd(), 0, WINDOWS * PASSAGE_WINDOW_BYTES).unwrap()).then_some(file)
    }

    #[test]
    fn what_was_cached_stays_and_what_was_not_goes() {
        // The sources lie on a disk where the temporary directory may not.
        let Some(file) = cold_file(Path::new(env!("CARGO_MANIFEST_DIR"))) else { return };
        let window = PASSAGE_WINDOW_BYTES;
        let size = WINDOWS * window;
        file.read_exact_at(&mut [0; 1], 12 * window).unwrap();
        let hot: Vec<bool> = (0..WINDOWS)
            .map(|number| is_resident(file.as_fd(), number * window, window).unwrap())
            .collect();
        assert!(hot[12] && hot.iter().filter(|hot| **hot).count() < 4, "{hot:?}");
        let mut passage = Passage::default();
        let mut buffer = vec![0; window as usize / 2];
        let mut at = 0;
        while at < size {
            passage.before(file.as_fd(), at, size);
            file.read_exact_at(&mut buffer, at).unwrap();
            at += buffer.len() as u64;
            passage.behind(file.as_fd(), at);
        }
        passage.end(file.as_fd());
        for (number, hot) in hot.into_iter().enumerate() {
            let is = is_resident(file.as_fd(), number as u64 * window, window).unwrap();
            assert_eq!(is, hot, "window {number}");
        }
    }
}
