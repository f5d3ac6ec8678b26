//! Looks that never return: a dead server below the tree, a disk that hangs. Each is given up after
//! a while, so that it pins neither the watermark nor the room for others (H17f). What it brings
//! later, if ever, is of no account.

use std::time::Duration;

use crate::flow::session::looks::{Pending, Purpose};
use crate::flow::session::{Session, Shared};
use crate::model::limits::{HASH_LOOK_MS, LOOK_MS};
use crate::model::look::{LookId, Seen};
use crate::model::path::Name;
use crate::model::stamp::DirKey;

/// How long a name waits whose look brought nothing the first time; doubled each time.
const UNSEEN_DELAY: Duration = Duration::from_secs(30);
const UNSEEN_DOUBLINGS: u32 = 6;

/// What is said of a look that was given up.
pub const GIVEN_UP: &str = "The source's disk does not answer: it is tried again later";

impl Pending {
    /// When it is given up.
    fn due(&self) -> Duration {
        let patience = match self.purpose {
            Purpose::RenameHash { .. } => HASH_LOOK_MS,
            _ => LOOK_MS,
        };
        self.began + Duration::from_millis(patience)
    }
}

impl Session {
    /// Gives up the looks whose time is over: their stamps are void, their names problems.
    pub(super) fn give_up_looks(&mut self, shared: &mut Shared) {
        let due = self.pending.iter().filter(|(_, pending)| pending.due() <= shared.now);
        let mut due: Vec<LookId> = due.map(|(id, _)| *id).collect();
        due.sort_unstable();
        for id in due {
            shared.forget_look(id);
            self.look_done(id, Seen::Unreadable(GIVEN_UP.to_owned()), shared);
        }
    }

    /// When the next look is to be given up.
    pub(super) fn next_give_up(&self) -> Option<Duration> {
        self.pending.values().map(Pending::due).min()
    }

    /// How long a name waits whose look brought nothing: longer each time, for the next one may
    /// hang as well.
    pub(super) fn unseen_delay(&self, dir: DirKey, name: &Name) -> Duration {
        let failures = self.marks.get(dir, name).map_or(0, |mark| mark.failures);
        UNSEEN_DELAY * 2u32.pow(failures.min(UNSEEN_DOUBLINGS))
    }
}
