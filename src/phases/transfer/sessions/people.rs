//! What people at the source ask of its sessions: how they stand, their end, other limits.

use super::SinkId;
use crate::control::{ControlReply, ControlRequest, JsonName, SinkStatus, StatusObject, Watching};
use crate::model::limits::CONTROL_RESULT_NAMES_MAX;
use crate::model::session::Ending;
use crate::model::setting::Setting;
use crate::model::status::State;
use crate::phases::transfer::source::Engine;

impl Engine<'_, '_> {
    /// Answers a person.
    pub(in crate::phases::transfer) fn control(
        &mut self,
        request: &ControlRequest,
    ) -> ControlReply {
        match request {
            ControlRequest::Status => ControlReply::Status(Box::new(self.status())),
            ControlRequest::Cutover { .. } if self.parts.is_dry => {
                ControlReply::refused("This is a dry run: it ends by itself, and changes nothing")
            }
            ControlRequest::Cutover { sink } => self.cutover(sink.as_deref()),
            ControlRequest::Set { name, value } => self.set(name, value),
            ControlRequest::Verify { .. } | ControlRequest::Await { .. } => {
                ControlReply::refused("This version can't do that yet")
            }
        }
    }

    fn status(&self) -> StatusObject {
        let sinks = self.sessions.known.iter().map(|(id, known)| {
            let figures = self.figures(*id);
            let connected = self.links.contains_key(id);
            let key = known.key.to_string();
            let address = format!("{} ({})", known.address, known.host);
            let mut sink = SinkStatus::of(key, address, self.phase(*id), connected, &figures);
            sink.last_seen = Some(known.last_seen_unix);
            sink.last_synchronised = known.last_synchronised;
            sink
        });
        let mut status = StatusObject::of_source(sinks.collect());
        if let Some(halted) = self.director.halted() {
            status.state = State::Halted;
            status.reason = Some(halted);
        }
        status.watching = Some(self.watching());
        status.settings = Some((&self.parts.steering.limits()).into());
        status
    }

    fn watching(&self) -> Watching {
        let by = self.parts.watcher.as_ref().map_or("sweep", |watcher| watcher.means());
        let (unwatched, tops) = self.director.unwatched(CONTROL_RESULT_NAMES_MAX);
        let tops = tops.into_iter().map(|path| JsonName(path.as_bytes().to_vec()));
        Watching {
            by: by.to_owned(),
            unwatched: unwatched as u64,
            unwatched_subtrees: tops.collect(),
        }
    }

    fn cutover(&mut self, sink: Option<&str>) -> ControlReply {
        let meant: Vec<SinkId> = self
            .sessions
            .known
            .iter()
            .filter(|(id, known)| {
                let is_meant = sink.is_none_or(|key| known.key.to_string() == key);
                self.links.contains_key(id) && !known.is_dry && is_meant
            })
            .map(|(id, _)| *id)
            .collect();
        match meant[..] {
            [] => ControlReply::refused("No such sink is connected to this source now"),
            [id] => {
                if let Some(known) = self.sessions.known.get_mut(&id) {
                    known.finished = None;
                    known.please_unregister = Some(Ending::Cutover);
                }
                ControlReply::done("The sink is asked to unregister")
            }
            _ => ControlReply::refused("There are several sinks: name one with --sink KEY"),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> ControlReply {
        let set = match Setting::parse(name, value) {
            Ok(Setting::Resume) => Ok(self.resume_removals().to_owned()),
            Ok(setting) => self.parts.steering.set(setting),
            Err(text) => Err(text),
        };
        self.steer();
        self.act();
        set.map_or_else(ControlReply::refused, ControlReply::done)
    }

    fn resume_removals(&mut self) -> &'static str {
        if self.director.halted().is_none() {
            return "Removals are not halted";
        }
        let now = self.now();
        self.director.unhalt(now);
        "What waited is removed; what goes from now on counts anew"
    }

    /// Tells the director of the limits: those of this time of day, and for each sink the lower
    /// one of its own and the source's.
    pub(in crate::phases::transfer) fn steer(&mut self) {
        let (now, rate) = (self.now(), self.parts.steering.rate());
        self.director.limit_operations(self.parts.steering.limits().iops, now);
        for (id, known) in &self.sessions.known {
            let lowest = rate.into_iter().chain(known.bwlimit).min();
            self.director.limit_rate(*id, lowest, now);
        }
    }
}
