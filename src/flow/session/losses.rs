//! What the sink can't hold of what the source has: counted, told, never silent (law 13).

use crate::flow::session::Session;
use crate::model::abilities::Loss;
use crate::model::op::Listed;

impl Session {
    /// Counts what is lost of an entry. Each sweep counts anew, so that each object counts once.
    pub(super) fn count_losses(&mut self, listed: &Listed, has_others: bool) {
        let is_parted = has_others && self.terms.wanted.links && !self.can_link();
        let (abilities, losses) = (&self.terms.abilities, &mut self.losses);
        if is_parted {
            losses.add(Loss::Link);
        }
        match abilities.refuses(&listed.name, &listed.entry) {
            Some(loss) => losses.add(loss),
            None => abilities.losses(&self.terms.wanted, &listed.entry, |loss| losses.add(loss)),
        }
    }

    /// The losses counted, by kind, for people.
    pub(super) fn lost(&self) -> Vec<(String, u64)> {
        self.losses.iter().map(|(loss, count)| (loss.words().to_owned(), count)).collect()
    }
}
