//! What one part of a listing tells of its entries, and what is kept of them until the answer.

use std::sync::Arc;

use crate::flow::session::kin::Lead;
use crate::flow::session::ledger::{Announced, Beside};
use crate::flow::session::{Session, Shared};
use crate::model::entry::Identity;
use crate::model::ledger::Facts;
use crate::model::limits::LISTING_BYTES_MAX;
use crate::model::op::Listed;
use crate::model::path::{Name, RelPath};

/// One entry of a part that was sent, until it is answered.
#[derive(Debug)]
pub(super) struct SentEntry {
    pub(super) name: Name,
    pub(super) bytes: u64,
    pub(super) is_dir: bool,
    /// Whether it counts as a file, for progress.
    pub(super) is_file: bool,
    /// What the ledger enters if the sink has it.
    pub(super) facts: Option<Facts>,
    /// Whether the ledger knows nothing of it.
    pub(super) is_unknown: bool,
    /// Whether the ledger needs to be told nothing if the sink has it.
    pub(super) is_sure: bool,
    /// Whether it is to be linked to its other names.
    pub(super) joins: Joins,
    /// It leads the names of its object.
    pub(super) lead: Option<Arc<Lead>>,
    /// Bytes of room that its content takes at the source.
    pub(super) takes: u64,
}

/// Whether an entry is to be linked to another name of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joins {
    /// It has no others, or these are linked to it.
    No,
    /// If the sink says that the two are apart. The object.
    IfApart(Identity),
    /// In any case: where the other name is can't be said. The object.
    Yes(Identity),
}

impl SentEntry {
    /// Whether its object has more names.
    pub(super) fn has_others(&self) -> bool {
        self.joins != Joins::No || self.lead.is_some()
    }
}

/// What one part tells of other names.
#[derive(Debug, Default)]
pub(super) struct Linked {
    pub(super) paths: Vec<(u32, RelPath)>,
    bytes: usize,
}

impl Session {
    /// What is sent of the entries of a part, and what is kept until they are answered.
    pub(super) fn tell_entries(
        &mut self,
        id: u64,
        entries: Vec<Announced>,
        linked: &mut Linked,
        shared: &Shared,
    ) -> (Vec<SentEntry>, Vec<Listed>) {
        let counted = self.listings.get(&id).is_some_and(|listing| listing.counted);
        let mut sent = Vec::with_capacity(entries.len());
        let mut told = Vec::with_capacity(entries.len());
        for (index, entry) in (0..).zip(entries) {
            let Announced { listed, facts, is_unknown, is_sure, beside, lead, takes } = entry;
            let (bytes, is_dir) = (listed.entry.content_bytes(), listed.entry.is_dir());
            let is_file = !is_dir;
            if is_file && let Some(listing) = self.listings.get_mut(&id) {
                listing.census.add_file(bytes);
                self.tally.files_known += u64::from(counted);
                self.tally.bytes_known += if counted { bytes } else { 0 };
            }
            let name = listed.name.clone();
            let joins = match beside {
                Some(beside) => self.tell_linked(index, &beside, linked, shared),
                None => Joins::No,
            };
            sent.push(SentEntry {
                name,
                bytes,
                is_dir,
                is_file,
                facts,
                is_unknown,
                is_sure,
                joins,
                lead,
                takes,
            });
            told.push(listed);
        }
        (sent, told)
    }

    /// Tells in a part which other name an entry should be one with, if that can be said.
    fn tell_linked(
        &self,
        index: u32,
        beside: &Beside,
        told: &mut Linked,
        shared: &Shared,
    ) -> Joins {
        let Beside { identity, home, name } = beside;
        let at = shared.map.by_identity(*home);
        let at = at.filter(|dir| !self.is_name_fenced(*dir, name, shared));
        let path = at.and_then(|dir| Some(self.sink_path(dir, shared)?.join(name)));
        let Some(path) = path.filter(|_| told.bytes < LISTING_BYTES_MAX) else {
            return Joins::Yes(*identity);
        };
        told.bytes += path.as_bytes().len();
        told.paths.push((index, path));
        Joins::IfApart(*identity)
    }
}
