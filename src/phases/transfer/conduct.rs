//! The sink's own thread during an epoch: heartbeats, and the end of the session.
//!
//! | when | then |
//! |---|---|
//! | a person says stop | a last barrier, if that is quick; then ends, resumable |
//! | a person wants the end, here or at the source | `Unregister`, once |
//! | the final report is there after that | staging goes, `Leave`, finished |
//! | unfinished, and the end was wanted by a cutover | back to the transfer phase |
//! | the sink's directory is not at its place any more | halts: a person has to look |
//! | anything is lost, or stays unseen too long | the epoch is over: register again |

use std::path::Path;
use std::time::{Duration, Instant};

use crate::control::ResultObject;
use crate::ended::Ended;
use crate::error::Error;
use crate::model::session::{Ending, FinalReport, Outcome};
use crate::model::status::State;
use crate::monitor::Monitor;
use crate::net::client::{CallError, CommandClient};
use crate::phases::termination::settle;
use crate::phases::transfer::durability::Durability;
use crate::phases::transfer::pulse::{Pulse, Unsaved};
use crate::phases::transfer::standing::Standing;
use crate::stop::Stop;
use crate::tree::sink_root::SinkRoot;
use crate::wire::command::{Alive, Heartbeat, Refusal, Reply, Request};

/// From one heartbeat to the next.
const BEAT: Duration = Duration::from_millis(250);
/// The same at first: a quiet pair is compared in less than that, and people wait to see it.
const FIRST_BEAT: Duration = Duration::from_millis(5);
/// What is waited for is seen at most such a share of the epoch later.
const BEATS: u32 = 20;
/// From one heartbeat to the next at most, while the session comes to its end.
const LAST_BEAT: Duration = Duration::from_millis(25);
/// How often the sink's own affairs are looked at between two of them.
const LOOK: Duration = Duration::from_millis(10);
/// How long one command may take before it is asked again.
const CALL: Duration = Duration::from_secs(2);
/// Silence after which the source is taken for gone.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a last number may stay unseen before the epoch is over (H17).
const UNSEEN: Duration = Duration::from_secs(20);
/// How long a stop may wait for what was written to be on disk, and for the source to know it.
const LAST_BARRIER: Duration = Duration::from_millis(1_500);
/// How often a farewell is tried.
const FAREWELLS: u32 = 3;

/// That the session is to end, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// How.
    pub ending: Ending,
    /// Wanted of this very process, which ends whatever the outcome; otherwise of the pair, which
    /// goes on if it can't finish.
    pub of_process: bool,
}

/// How an epoch ended.
#[derive(Debug)]
pub enum Course {
    /// The epoch is over: register again.
    Lost(String),
    /// A person said stop.
    Stopped,
    /// The session is over.
    Finished(Box<FinalReport>),
    /// Trying again is of no use.
    Failed(Error),
}

/// What the conductor needs to know and to tell.
pub struct Conductor<'a> {
    /// The tree.
    pub root: &'a SinkRoot,
    /// Where it is to be.
    pub directory: &'a Path,
    /// What of it is on disk, and what is in doubt.
    pub durability: &'a Durability,
    /// What the other threads of the epoch share.
    pub pulse: &'a Pulse,
    /// Nothing is changed, and nothing has to be settled.
    pub is_dry: bool,
    /// How it stands, for people.
    pub standing: &'a Standing,
    /// What people see.
    pub monitor: &'a dyn Monitor,
    /// What people want.
    pub stop: &'a Stop,
    /// Whether the time is up.
    pub late: &'a dyn Fn() -> bool,
    /// Whether what can't be kept is an error.
    pub is_strict: bool,
    /// Tells people who wait for it how a session ended.
    pub announce: &'a dyn Fn(ResultObject),
}

/// What is remembered from beat to beat.
struct Memory {
    heard: Instant,
    unregistered: bool,
    unseen: [Option<(u64, Instant)>; 3],
}

impl Conductor<'_> {
    /// Beats until the epoch or the session is over. `wish` outlives the epoch; a wish that came
    /// with the registration needs no `Unregister`.
    pub fn run(&self, client: &mut CommandClient, wish: &mut Option<Wish>) -> Course {
        let began = Instant::now();
        let mut memory =
            Memory { heard: Instant::now(), unregistered: wish.is_some(), unseen: [None; 3] };
        loop {
            if !self.is_dry
                && let Err(error) = check_place(self.root, self.directory)
            {
                return Course::Failed(error);
            }
            let step = self.beat(client, wish, &mut memory);
            let end = match step {
                Ok(Some(report)) => self.finish(client, &mut memory, wish, report),
                Ok(None) => None,
                Err(course) => Some(course),
            };
            if let Some(course) = end {
                return course;
            }
            let longest = if memory.unregistered { LAST_BEAT } else { BEAT };
            let beat = (began.elapsed() / BEATS).clamp(FIRST_BEAT, longest);
            if let Some(course) = self.rest(wish, memory.unregistered, beat) {
                if matches!(course, Course::Stopped) {
                    self.pass_last_barrier(client);
                }
                return course;
            }
        }
    }

    /// Waits for the next beat, or for something that can't wait.
    fn rest(&self, wish: &mut Option<Wish>, unregistered: bool, beat: Duration) -> Option<Course> {
        let until = Instant::now() + beat;
        while Instant::now() < until {
            if self.stop.is_now() || (self.late)() {
                return Some(Course::Stopped);
            }
            if self.pulse.wait(LOOK.min(until.saturating_duration_since(Instant::now()))) {
                let why = self.pulse.lost();
                return Some(Course::Lost(why.unwrap_or_else(|| "The epoch is over".into())));
            }
            self.heed_people(wish);
            if wish.is_some() && !unregistered {
                return None;
            }
        }
        None
    }

    /// Brings what was reported to the disk and lets the source know, if that is quick: whoever
    /// starts this sink again then has little to compare.
    fn pass_last_barrier(&self, client: &mut CommandClient) {
        let until = Instant::now() + LAST_BARRIER;
        let written = self.pulse.reports_sent();
        let is_saved = self.pulse.unsaved() == Unsaved::default();
        let is_known = is_saved && self.pulse.durable().through + 1 >= written;
        if is_known || !self.durability.has_barriers() {
            return;
        }
        self.pulse.want_last_barrier();
        while Instant::now() < until && !self.pulse.wait(LOOK) {
            // The report after the barrier tells of it.
            let told = self.pulse.reports_sent();
            if self.pulse.durable().through < written || told <= written {
                continue;
            }
            let (epoch, seen, trouble, room) = (self.pulse.epoch, self.pulse.seen(), None, None);
            let bwlimit = self.pulse.steering.rate();
            let beat = Heartbeat { epoch, seen, reports_sent: told, trouble, room, bwlimit };
            let left = until.saturating_duration_since(Instant::now());
            match client.call(&Request::Heartbeat(beat), left) {
                Ok(Reply::Alive(alive)) if alive.reports_seen < told => {}
                _ => return,
            }
        }
    }

    fn heed_people(&self, wish: &mut Option<Wish>) {
        if self.stop.is_now() {
            // It came this very moment: nothing is to begin any more.
        } else if self.stop.is_asked() {
            wish.get_or_insert(Wish { ending: Ending::Cutover, of_process: true }).of_process =
                true;
        } else if self.standing.take_cutover() {
            wish.get_or_insert(Wish { ending: Ending::Cutover, of_process: false });
        }
    }

    /// One heartbeat, or the `Unregister` in its place; the final report once it is there.
    fn beat(
        &self,
        client: &mut CommandClient,
        wish: &mut Option<Wish>,
        memory: &mut Memory,
    ) -> Result<Option<FinalReport>, Course> {
        let epoch = self.pulse.epoch;
        if let Some(Wish { ending, .. }) = *wish
            && !memory.unregistered
        {
            let request = Request::Unregister { epoch, ending };
            // What is finished by now was finished for an earlier wish.
            memory.unregistered = self.ask(client, &request, memory)?.is_some();
            return Ok(None);
        }
        let trouble = self.pulse.trouble();
        self.standing.trouble(trouble.as_deref(), self.monitor);
        let (seen, reports_sent) = (self.pulse.seen(), self.pulse.reports_sent());
        let room = self.root.room();
        let bwlimit = self.pulse.steering.rate();
        let beat = Heartbeat { epoch, seen, reports_sent, trouble, room, bwlimit };
        let request = Request::Heartbeat(beat);
        let Some(alive) = self.ask(client, &request, memory)? else { return Ok(None) };
        self.check_unseen(&alive, memory)?;
        if let (Some(ending), None) = (alive.please_unregister, *wish) {
            *wish = Some(Wish { ending, of_process: false });
        }
        Ok(alive.finished.filter(|_| memory.unregistered))
    }

    /// Asks the source; nothing if there was no reply in time, which is not yet the end.
    fn ask(
        &self,
        client: &mut CommandClient,
        request: &Request,
        memory: &mut Memory,
    ) -> Result<Option<Alive>, Course> {
        match client.call_unless(request, CALL, &|| self.stop.is_now() || self.pulse.is_over()) {
            Ok(Reply::Alive(alive)) => {
                memory.heard = Instant::now();
                self.standing.heard(alive.phase, &alive.figures, self.monitor);
                if let Some(short) = alive.figures.shortfall.filter(|_| self.is_strict) {
                    return Err(Course::Failed(Error::Refused(format!(
                        "With --strict nothing is gone on with that can't be kept: there is too \
                         little {}. Make room, or do without --strict",
                        short.words()
                    ))));
                }
                if State::of(true, &alive.figures) == State::Ready {
                    self.durability.settled();
                }
                Ok(Some(alive))
            }
            Ok(Reply::Refused { code: Refusal::Stale | Refusal::Busy, text }) => {
                Err(Course::Lost(text))
            }
            Ok(Reply::Refused { code: Refusal::Malformed, text }) => {
                Err(Course::Failed(Error::Protocol(text)))
            }
            Ok(Reply::Refused { text, .. }) => Err(Course::Failed(Error::Refused(text))),
            Ok(_) => Err(Course::Lost("The source's reply does not fit the request".into())),
            Err(CallError::TimedOut(why)) if memory.heard.elapsed() >= SILENCE => {
                Err(Course::Lost(why))
            }
            Err(CallError::TimedOut(_)) => Ok(None),
            Err(error) => Err(Course::Lost(error.to_string())),
        }
    }

    /// A number that one side has sent and the other does not see shows a lost tail.
    fn check_unseen(&self, alive: &Alive, memory: &mut Memory) -> Result<(), Course> {
        let seen = self.pulse.seen();
        let pairs = [
            (alive.sent[0], seen[0]),
            (alive.sent[1], seen[1]),
            (self.pulse.reports_sent(), alive.reports_seen),
        ];
        for ((sent, seen), unseen) in pairs.into_iter().zip(&mut memory.unseen) {
            *unseen = match *unseen {
                _ if seen >= sent => None,
                Some((at, since)) if at == seen => Some((at, since)),
                _ => Some((seen, Instant::now())),
            };
            if unseen.is_some_and(|(_, since)| since.elapsed() > UNSEEN) {
                return Err(Course::Lost(format!("Message {sent} was lost: only {seen} came")));
            }
        }
        Ok(())
    }

    /// The final report is there.
    fn finish(
        &self,
        client: &mut CommandClient,
        memory: &mut Memory,
        wish: &mut Option<Wish>,
        report: FinalReport,
    ) -> Option<Course> {
        let goes_on = wish.is_some_and(|wish| !wish.of_process);
        if report.outcome == Outcome::Unfinished && goes_on {
            self.monitor.note(&format!("Not finished, going on: {}", report.text));
            (self.announce)(ResultObject::of(&Ok(Ended::Finished(report))));
            *wish = None;
            memory.unregistered = false;
            return None;
        }
        let report = if self.is_dry { report } else { self.settle(client, memory, report) };
        for _ in 0..FAREWELLS {
            match client.call(&Request::Leave { epoch: self.pulse.epoch }, CALL) {
                Err(CallError::TimedOut(_)) if !self.stop.is_now() => {}
                // The source waits for this sink to come back: it would not end by itself.
                Ok(Reply::Refused { code: Refusal::Stale | Refusal::Busy, text }) => {
                    return Some(Course::Lost(text));
                }
                _ => break,
            }
        }
        Some(Course::Finished(Box::new(report)))
    }

    /// Settles the tree in a thread of its own, while the source goes on hearing from this sink.
    fn settle(
        &self,
        client: &mut CommandClient,
        memory: &mut Memory,
        report: FinalReport,
    ) -> FinalReport {
        std::thread::scope(|scope| {
            let (root, durability, given) = (self.root, self.durability, report.clone());
            let monitor = self.monitor;
            let settling = scope.spawn(move || settle(root, durability, given, monitor));
            let mut beaten = Instant::now();
            while !settling.is_finished() {
                std::thread::sleep(LOOK);
                if beaten.elapsed() >= BEAT {
                    beaten = Instant::now();
                    // The report is here: whatever the source says now changes nothing.
                    let _ = self.beat(client, &mut None, memory);
                }
            }
            settling.join().unwrap_or(report)
        })
    }
}

/// Halts a sink whose directory was removed, replaced or unmounted: what it still holds open is not
/// what people see at that place.
///
/// # Errors
/// `Halted`, if that is so.
pub fn check_place(root: &SinkRoot, directory: &Path) -> Result<(), Error> {
    if root.is_at(directory) {
        return Ok(());
    }
    Err(Error::Halted(format!(
        "The sink's directory \"{}\" was removed, replaced or unmounted: nothing more is written. \
         Put it back, or see that the right one is there, and start the sink again",
        directory.display()
    )))
}
