//! The selection, as events, renames and removals heed it.
//!
//! Looks bring only what is selected, so that most of the session knows nothing of rules: what is
//! hidden is not there. What is left is to pass over events of hidden names, not to send a rename
//! across rules that hold for one place only, and to leave alone what the rules protect at the
//! sink.

use crate::flow::session::changes::Change;
use crate::flow::session::{Session, Shared};
use crate::model::op::Spared;
use crate::model::path::{Name, RelPath};
use crate::model::session::DeletePolicy;
use crate::model::stamp::DirKey;

/// What becomes of a name at the sink that the source does not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is removed, unless it is what the rules protect.
    Goes(Spared),
    /// It is the sink's own, and stays.
    Foreign,
    /// The rules protect it.
    Protected,
}

impl Shared {
    /// Whether a rule hides a name in a known directory. Of a directory at no place nothing can be
    /// told, and what the map knows is not hidden.
    #[must_use]
    pub fn hides(&self, dir: DirKey, name: &Name, is_dir: bool) -> bool {
        self.selection.has_rules()
            && self.map.child(dir, name).is_none()
            && self.map.path(dir).is_some_and(|path| self.selection.hides(&path, name, is_dir))
    }

    /// Whether the rules say the same of what lies below either place.
    #[must_use]
    pub fn is_alike_below(&self, one: &(DirKey, Name), other: &(DirKey, Name)) -> bool {
        if !self.selection.has_rules() {
            return true;
        }
        let path = |place: &(DirKey, Name)| Some(self.map.path(place.0)?.join(&place.1));
        let paths = path(one).zip(path(other));
        paths.is_some_and(|(one, other)| self.selection.is_alike_below(&one, &other))
    }

    /// A directory has moved: unless all below it is selected as before, what is hidden where it is
    /// now leaves the map.
    pub fn prune(&mut self, moved: DirKey, is_alike: bool) {
        if is_alike || !self.selection.has_rules() {
            return;
        }
        for key in self.map.subtree(moved) {
            let place = self.map.get(key).and_then(|dir| dir.place());
            let above = place.and_then(|(above, name)| Some((self.map.path(*above)?, name)));
            if above.is_some_and(|(path, name)| self.selection.hides(&path, name, true)) {
                self.remove_dir(key);
            }
        }
    }
}

impl Session {
    /// Whether the rules protect a name at the sink, whatever it is there.
    pub(super) fn is_protected(&self, dir: DirKey, name: &Name, shared: &Shared) -> bool {
        shared.selection.has_rules()
            && self
                .sink_path(dir, shared)
                .is_some_and(|dir| spared(&dir.join(name), false, shared).is_none())
    }

    /// What becomes of a name at the sink that is not offered, though it once was or not.
    pub(super) fn fate(
        &self,
        path: &RelPath,
        was_offered: bool,
        is_dying: bool,
        shared: &Shared,
    ) -> Fate {
        match spared(path, is_dying, shared) {
            None => Fate::Protected,
            Some(spared) if was_offered || self.terms.delete == DeletePolicy::All => {
                Fate::Goes(spared)
            }
            Some(Spared::Nothing) => Fate::Foreign,
            // What it is there is not known: it may be what the rules protect.
            Some(Spared::Directories | Spared::Others) => Fate::Protected,
        }
    }

    /// What stands at a name is withheld: the sink keeps what it has there.
    pub(super) fn withheld(&mut self, dir: DirKey, name: &Name, path: &RelPath, shared: &Shared) {
        self.problems.clear(path);
        self.marks.settle(dir, name, shared.now);
    }
}

/// What of a name at the sink a removal has to spare; nothing if all.
pub(super) fn spared(path: &RelPath, is_dying: bool, shared: &Shared) -> Option<Spared> {
    let protects = |is_dir| shared.selection.protects(path, is_dir, is_dying);
    match (protects(true), protects(false)) {
        (false, false) => Some(Spared::Nothing),
        (true, false) => Some(Spared::Directories),
        (false, true) => Some(Spared::Others),
        (true, true) => None,
    }
}

/// Tells the sessions that a directory was found at another place than the map said.
pub(super) fn found(key: DirKey, from: Option<(DirKey, Name)>, shared: &mut Shared) {
    // Where it was when its content was entered may be long ago.
    shared.prune(key, false);
    shared.changes.push_back(Change::Found { key, from });
}
