//! All that the library says to a person, and the one thing it asks.
//!
//! Any thread may call a monitor; a monitor answers at once (but for [`Monitor::ask_invite`]) and
//! never fails. The library prints nothing itself.

use std::sync::{Mutex, PoisonError};

use crate::model::item::Item;
use crate::model::session::{Figures, PhaseTag};
use crate::model::status::{Role, State};

/// An operator entered another phase or another state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// Of which operator.
    pub role: Role,
    /// The phase it is in now.
    pub phase: PhaseTag,
    /// How it stands now.
    pub state: State,
    /// Why, where that is not plain.
    pub reason: Option<String>,
    /// At a source with several sinks: the key of the sink whose session changed.
    pub sink: Option<String>,
}

/// Listens to an operator.
pub trait Monitor: Send + Sync {
    /// The operator's phase or state has changed. Once for each change, in order.
    fn state(&self, change: &StateChange);

    /// The session's figures as of now; at a source, those of the worst session. As often as
    /// they are had, at least once a second while a session lives.
    fn figures(&self, figures: &Figures);

    /// Something went wrong at one path (bytes below the root, empty for the root itself); the
    /// rest goes on. Once for each problem.
    fn problem(&self, path: &[u8], text: &str);

    /// One thing a person should know that is no problem of a path: a sentence.
    fn note(&self, text: &str);

    /// In a dry run: what would be done at one name.
    fn item(&self, _item: &Item) {}

    /// The source's command service is bound to this port.
    fn service(&self, port: u16);

    /// The source has an invite that no sink has spent. After `service`; secret.
    fn invite(&self, invite: &str);

    /// The sink knows neither this source nor an invite of it: does the person have one?
    /// Blocks while the person thinks. `None` if nobody is there to ask.
    fn ask_invite(&self, _source: &str) -> Option<String> {
        None
    }
}

/// Hears nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn state(&self, _change: &StateChange) {}
    fn figures(&self, _figures: &Figures) {}
    fn problem(&self, _path: &[u8], _text: &str) {}
    fn note(&self, _text: &str) {}
    fn service(&self, _port: u16) {}
    fn invite(&self, _invite: &str) {}
}

/// Remembers what it heard; for tests.
#[derive(Debug, Default)]
pub struct Recording(Mutex<Heard>);

/// What a [`Recording`] remembers; of figures the last only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Every change of state.
    pub states: Vec<StateChange>,
    /// The last figures.
    pub figures: Option<Figures>,
    /// Every problem.
    pub problems: Vec<(Vec<u8>, String)>,
    /// Every note.
    pub notes: Vec<String>,
    /// The port of the service.
    pub port: Option<u16>,
    /// The last invite.
    pub invite: Option<String>,
}

impl Recording {
    /// What was heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, add: impl FnOnce(&mut Heard)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Monitor for Recording {
    fn state(&self, change: &StateChange) {
        self.add(|heard| heard.states.push(change.clone()));
    }

    fn figures(&self, figures: &Figures) {
        self.add(|heard| heard.figures = Some(figures.clone()));
    }

    fn problem(&self, path: &[u8], text: &str) {
        self.add(|heard| heard.problems.push((path.to_vec(), text.to_owned())));
    }

    fn note(&self, text: &str) {
        self.add(|heard| heard.notes.push(text.to_owned()));
    }

    fn service(&self, port: u16) {
        self.add(|heard| heard.port = Some(port));
    }

    fn invite(&self, invite: &str) {
        self.add(|heard| heard.invite = Some(invite.to_owned()));
    }
}
