//! How the sink stands, for everybody who asks: its own screen, and people through the control
//! socket.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::control::{ControlReply, ControlRequest, StatusObject};
use crate::model::session::{Figures, PhaseTag};
use crate::model::setting::Setting;
use crate::model::status::{Role, State};
use crate::monitor::{Monitor, StateChange};
use crate::phases::transfer::steering::Steering;

/// How the sink stands.
pub struct Standing {
    board: Mutex<Board>,
    /// Nothing is changed: there is nothing that a person could ask for.
    is_dry: bool,
    steering: Steering,
}

struct Board {
    phase: PhaseTag,
    connected: bool,
    /// Why no source is there.
    alone: Option<String>,
    figures: Figures,
    trouble: Option<String>,
    /// A person was told that there is too little room.
    is_forewarned: bool,
    cutover_wanted: bool,
    told: Option<(PhaseTag, State)>,
}

impl Standing {
    /// How a sink stands that is just beginning.
    #[must_use]
    pub fn new(is_dry: bool, steering: Steering) -> Standing {
        let board = Mutex::new(Board {
            phase: PhaseTag::Init,
            connected: false,
            alone: None,
            figures: Figures::default(),
            trouble: None,
            is_forewarned: false,
            cutover_wanted: false,
            told: None,
        });
        Standing { board, is_dry, steering }
    }

    /// The source has said how the session stands.
    pub fn heard(&self, phase: PhaseTag, figures: &Figures, monitor: &dyn Monitor) {
        let mut board = self.board();
        (board.phase, board.connected) = (phase, true);
        let stalled = figures.stalled.clone().filter(|_| board.figures.stalled.is_none());
        let short = figures.shortfall.filter(|_| !board.is_forewarned);
        board.is_forewarned |= short.is_some();
        board.figures = figures.clone();
        tell(&mut board, None, monitor);
        drop(board);
        let short = short.map(|short| format!("There is too little {}", short.words()));
        for text in stalled.iter().chain(&short) {
            monitor.note(text);
        }
        monitor.figures(figures);
    }

    /// No source is there.
    pub fn alone(&self, why: &str, monitor: &dyn Monitor) {
        let mut board = self.board();
        board.connected = false;
        board.alone = Some(why.to_owned());
        tell(&mut board, Some(why), monitor);
    }

    /// Something is wrong at the sink, or no more.
    pub fn trouble(&self, trouble: Option<&str>, monitor: &dyn Monitor) {
        let mut board = self.board();
        if board.trouble.as_deref() == trouble {
            return;
        }
        board.trouble = trouble.map(str::to_owned);
        drop(board);
        if let Some(text) = trouble {
            monitor.note(text);
        }
    }

    /// Whether a person has asked for the cutover through the control socket; asks once.
    pub fn take_cutover(&self) -> bool {
        std::mem::take(&mut self.board().cutover_wanted)
    }

    /// Answers a person.
    pub fn answer(&self, request: &ControlRequest) -> ControlReply {
        match request {
            ControlRequest::Status => {
                let board = self.board();
                let (phase, connected) = (board.phase, board.connected);
                let mut status = StatusObject::of(Role::Sink, phase, connected, &board.figures);
                if status.state == State::Waiting && board.alone.is_some() {
                    status.reason.clone_from(&board.alone);
                }
                if board.figures.halted.is_none()
                    && let Some(trouble) = &board.trouble
                {
                    status.reason = Some(trouble.clone());
                }
                status.settings = Some((&self.steering.limits()).into());
                ControlReply::Status(Box::new(status))
            }
            ControlRequest::Cutover { .. } if self.is_dry => {
                ControlReply::refused("This is a dry run: it ends by itself, and changes nothing")
            }
            ControlRequest::Cutover { .. } => {
                let mut board = self.board();
                board.cutover_wanted = true;
                ControlReply::done(if board.connected {
                    "The sink unregisters: drain, sweep, report"
                } else {
                    "The sink unregisters as soon as the source is there"
                })
            }
            ControlRequest::Set { name, value } => self.set(name, value),
            ControlRequest::Verify { .. } | ControlRequest::Await { .. } => {
                ControlReply::refused("This version can't do that yet")
            }
        }
    }

    fn set(&self, name: &str, value: &str) -> ControlReply {
        let set = match Setting::parse(name, value) {
            Ok(Setting::Resume) => Err(
                "Removals are halted by the source: say `osync set DIR resume` on its host, with \
                 the source's directory"
                    .to_owned(),
            ),
            Ok(Setting::Iops(_)) => Err(
                "It is the source's disk that iops limits: say it on its host, with the source's \
                 directory"
                    .to_owned(),
            ),
            Ok(setting) => self.steering.set(setting),
            Err(text) => Err(text),
        };
        set.map_or_else(ControlReply::refused, ControlReply::done)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(board: &mut Board, why: Option<&str>, monitor: &dyn Monitor) {
    let (phase, state) = (board.phase, State::of(board.connected, &board.figures));
    if board.told == Some((phase, state)) {
        return;
    }
    board.told = Some((phase, state));
    let reason = board.figures.halted.clone().or_else(|| why.map(str::to_owned));
    monitor.state(&StateChange { role: Role::Sink, phase, state, reason, sink: None });
}

#[cfg(test)]
mod tests {
    use super::{Standing, Steering};
    use crate::control::{ControlReply, ControlRequest};
    use crate::model::session::{Figures, FreeRoom, PhaseTag, Shortfall};
    use crate::monitor::Recording;

    #[test]
    fn too_little_room_is_told_once_and_stands_in_the_status() {
        let (standing, monitor) = (Standing::new(false, Steering::default()), Recording::default());
        let free = FreeRoom { bytes: 1 << 20, inodes: None };
        let shortfall = Shortfall::of(5 << 20, 1, free);
        let short = Figures { shortfall, ..Figures::default() };
        for figures in [&short, &Figures::default(), &short] {
            standing.heard(PhaseTag::Transfer, figures, &monitor);
        }
        let words = "room: 5.0 MiB needed at least, 1.0 MiB free at the sink";
        assert_eq!(monitor.heard().notes, [format!("There is too little {words}")]);
        let ControlReply::Status(status) = standing.answer(&ControlRequest::Status) else {
            panic!("No status");
        };
        assert_eq!(status.reason.as_deref(), Some(words));
        assert_eq!(status.figures.shortfall, shortfall);
    }

    #[test]
    fn what_is_set_is_shown_and_what_is_the_sources_is_refused() {
        let standing = Standing::new(false, Steering::default());
        let set = |name: &str, value: &str| {
            let (name, value) = (name.to_owned(), value.to_owned());
            standing.answer(&ControlRequest::Set { name, value })
        };
        assert_eq!(set("bwlimit", "20M"), ControlReply::done("bwlimit is 20M now"));
        for (name, value) in [("iops", "5"), ("resume", ""), ("bwlimit", "fast"), ("speed", "1")] {
            let refused = set(name, value);
            assert!(matches!(refused, ControlReply::Refused { .. }), "{name}: {refused:?}");
        }
        let ControlReply::Status(status) = standing.answer(&ControlRequest::Status) else {
            panic!("No status");
        };
        let settings = status.settings.unwrap();
        assert_eq!((settings.bwlimit.as_str(), settings.iops), ("20M", None));
    }

    #[test]
    fn states_are_told_once_and_a_cutover_is_taken_once() {
        let (standing, monitor) = (Standing::new(false, Steering::default()), Recording::default());
        let cutover = ControlRequest::Cutover { sink: None };
        for _ in 0..3 {
            standing.heard(PhaseTag::Transfer, &Figures::default(), &monitor);
        }
        assert!(matches!(standing.answer(&cutover), ControlReply::Done { .. }));
        assert!(standing.take_cutover() && !standing.take_cutover());
        standing.alone("The source has gone", &monitor);
        standing.trouble(Some("full"), &monitor);
        standing.trouble(Some("full"), &monitor);
        let heard = monitor.heard();
        assert_eq!((heard.states.len(), heard.notes.len()), (2, 1));
        assert_eq!(heard.states[1].reason.as_deref(), Some("The source has gone"));
        let ControlReply::Status(status) = standing.answer(&ControlRequest::Status) else {
            panic!("No status");
        };
        assert_eq!(status.reason.as_deref(), Some("full"));
    }
}
