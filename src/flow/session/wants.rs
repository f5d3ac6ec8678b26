//! What listings found wanting at the sink: batches of names that are read and sent in turn.

use std::time::Duration;

use crate::flow::marks::Hint;
use crate::flow::session::listings::SentListing;
use crate::flow::session::{Session, Shared};
use crate::model::entry::Hash;
use crate::model::limits::LIVE_BYTES_MAX;
use crate::model::look;
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// Entries of one directory that the sink needs.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) dir: DirKey,
    /// Each with the bytes that its listing gave.
    pub(super) names: Vec<(Name, u64)>,
    /// What of them.
    pub(super) bring: Bring,
    /// Whether they count for progress.
    pub(super) counted: bool,
    /// As it was of the directory when it was listed: what was offered then is offered at that
    /// place alone.
    pub(super) displaced: u32,
}

/// What of wanted names is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bring {
    /// All.
    Content,
    /// Attributes alone.
    Attributes,
    /// That their content has these hashes, on both sides, or the same one where none is known.
    Proof(Vec<Option<Hash>>),
}

impl Bring {
    /// What a look is to bring.
    pub(super) fn want(&self) -> look::Want {
        match self {
            Bring::Content => look::Want::Content,
            Bring::Attributes => look::Want::Meta,
            Bring::Proof(_) => look::Want::Hash,
        }
    }
}

impl Want {
    /// Keeps so many names, and gives the rest, if there is any.
    pub(super) fn split_off(&mut self, count: usize) -> Option<Want> {
        if count >= self.names.len() {
            return None;
        }
        let names = self.names.split_off(count);
        let bring = match &mut self.bring {
            Bring::Proof(hashes) => Bring::Proof(hashes.split_off(count)),
            other => other.clone(),
        };
        Some(Want { names, bring, ..*self })
    }
}

impl Session {
    /// Names of a part that the sink lacks this of.
    pub(super) fn want(
        &mut self,
        sent: &SentListing,
        picked: &[usize],
        bring: Bring,
        shared: &mut Shared,
    ) {
        let mut names = Vec::with_capacity(picked.len());
        if sent.displaced != self.displaced(sent.dir) {
            return picked.iter().for_each(|at| self.done_elsewhere(sent, *at));
        }
        for &at in picked {
            let entry = &sent.entries[at];
            if entry.is_dir {
                self.mark(sent.dir, &entry.name, Hint::CONTENT, shared.now, Duration::ZERO);
            } else if self.marks.get(sent.dir, &entry.name).is_some() {
                // The look of the mark may be older than this listing, and the event of what came
                // between be lost: its attributes tell, and ask for the content if need be.
                let (name, counted) = (entry.name.clone(), sent.counted.then_some(entry.bytes));
                self.mark(sent.dir, &name, Hint::META, shared.now, Duration::ZERO);
                self.count_when_settled(sent.dir, &name, counted.filter(|_| entry.is_file));
            } else if entry.bytes > LIVE_BYTES_MAX && bring == Bring::Content {
                self.marks.begin(sent.dir, &entry.name, Hint::CONTENT, shared.now);
                let counted = sent.counted.then_some(entry.bytes);
                self.count_when_settled(sent.dir, &entry.name, counted);
                self.large.push_back((sent.dir, entry.name.clone()));
            } else {
                self.busy(sent.dir);
                self.dirs.entry(sent.dir).or_default().wanted += 1;
                names.push((entry.name.clone(), entry.bytes));
            }
        }
        if !names.is_empty() {
            self.wants_count += names.len();
            let (dir, counted, displaced) = (sent.dir, sent.counted, sent.displaced);
            let want = Want { dir, names, bring, counted, displaced };
            self.wants.push_back(want);
        }
    }

    /// One wanted name is no longer wanted: it was answered, or became a mark.
    pub(super) fn want_over(&mut self, dir: DirKey) {
        if let Some(state) = self.dirs.get_mut(&dir) {
            state.wanted = state.wanted.saturating_sub(1);
        }
    }

    /// Whether a listing of a directory is open, or names that one found wanting are not yet
    /// answered: another listing would ask for the same again.
    pub(super) fn is_comparing(&self, dir: DirKey) -> bool {
        self.dirs.get(&dir).is_some_and(|state| state.wanted > 0)
            || self.listings.values().any(|listing| listing.dir == dir)
    }

    /// A look for wanted names was in vain: they are looked at again, first.
    pub(super) fn want_again(&mut self, want: Want) {
        self.wants_count += want.names.len();
        self.wants.push_front(want);
    }

    /// What was wanted is wanted no more: its directory is gone, or is listed anew elsewhere.
    pub(super) fn want_dropped(&mut self, want: &Want) {
        for _ in &want.names {
            self.want_over(want.dir);
            self.idle(want.dir);
        }
        if want.counted {
            self.tally.files_done += want.names.len() as u64;
            self.tally.bytes_done += want.names.iter().map(|(_, bytes)| bytes).sum::<u64>();
        }
    }

    /// Whether wanted names are still to be sent: their directory is known, and was not displaced.
    pub(super) fn is_wanted(&self, want: &Want, shared: &Shared) -> bool {
        shared.map.get(want.dir).is_some() && want.displaced == self.displaced(want.dir)
    }
}
