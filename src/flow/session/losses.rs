//! What the sink can't hold of what the source has: counted, told, never silent (law 13).
//!
//! Each doubt counts anew, and each directory once: what a listing met counts when it has come to
//! its end, and not again when the directory is listed again.

use crate::flow::session::{Session, Shared};
use crate::model::abilities::{Loss, Losses};
use crate::model::entry::Entry;
use crate::model::op::Listed;
use crate::model::path::{Name, RelPath};
use crate::model::stamp::DirKey;

/// What was met in a directory, or in all of them.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Census {
    /// Entries that are no directories.
    pub(super) files: u64,
    /// Bytes of content in them.
    pub(super) bytes: u64,
    /// What the sink can't hold of them, and of the directories.
    losses: Losses,
}

impl Census {
    /// One file, or something else without names.
    pub(super) fn add_file(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }

    /// Something is lost of an entry.
    pub(super) fn lose(&mut self, loss: Loss) {
        self.losses.add(loss);
    }

    fn add_all(&mut self, other: &Census) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.losses.add_all(&other.losses);
    }
}

impl Session {
    /// Counts what is lost of an entry that a listing met.
    pub(super) fn count_losses(&mut self, id: u64, listed: &Listed, has_others: bool) {
        let is_parted = has_others && self.terms.wanted.links && !self.can_link();
        let Some(listing) = self.listings.get_mut(&id) else { return };
        let (abilities, losses) = (&self.terms.abilities, &mut listing.census.losses);
        if let Some(loss) = abilities.refuses(&listed.name, &listed.entry) {
            return losses.add(loss);
        }
        if is_parted {
            losses.add(Loss::Link);
        }
        abilities.losses(&self.terms.wanted, &listed.entry, |loss| losses.add(loss));
    }

    /// Whether nothing of a directory is sent, for its own name or one above it.
    pub(super) fn is_left_out(&self, dir: DirKey, shared: &Shared) -> bool {
        self.is_shadowed(dir, shared)
            || !self.terms.abilities.takes_all_names()
                && shared.map.path(dir).is_some_and(|path| self.is_unnameable(&path))
    }

    /// Whether the sink has no such path, because it can't hold one of its names: nothing at or
    /// below it is sent, and that name alone is a problem.
    pub(super) fn is_unnameable(&self, path: &RelPath) -> bool {
        let abilities = &self.terms.abilities;
        !abilities.takes_all_names()
            && path.names().any(|name| abilities.refuses_name(&name).is_some())
    }

    /// The same of a name in a directory.
    pub(super) fn is_unnameable_at(&self, (dir, name): &(DirKey, Name), shared: &Shared) -> bool {
        !self.terms.abilities.takes_all_names()
            && shared.map.path(*dir).is_some_and(|path| self.is_unnameable(&path.join(name)))
    }

    /// Counts what is lost of the root itself, which no listing meets.
    pub(super) fn count_root_losses(&mut self, root: &Entry) {
        let mut losses = Losses::default();
        self.terms.abilities.losses(&self.terms.wanted, root, |loss| losses.add(loss));
        self.root_losses = losses;
    }

    /// A listing has come to its end: what it met counts, unless another one of its directory has
    /// counted at this number of doubt.
    pub(super) fn take_census(&mut self, id: u64, dir: DirKey, doubt: u64) {
        let census = self.listings.get_mut(&id).map(|listing| std::mem::take(&mut listing.census));
        let state = self.dirs.entry(dir).or_default();
        if let Some(census) = census
            && doubt == self.doubt
            && std::mem::replace(&mut state.tallied, doubt) != doubt
        {
            self.census.add_all(&census);
        }
    }

    /// The losses counted, by kind, for people.
    pub(super) fn lost(&self) -> Vec<(String, u64)> {
        let mut all = self.census.losses;
        all.add_all(&self.root_losses);
        all.iter().map(|(loss, count)| (loss.words().to_owned(), count)).collect()
    }
}
