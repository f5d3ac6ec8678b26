//! The source's engine: runs the director over the real disk, the real network and the real clock.
//!
//! One thread, the director's, does all the deciding. It receives from bounded channels and never
//! waits for anything else; whoever feeds it may have to wait.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::Scope;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::config::MaxDelete;
use crate::control::{ControlReply, ControlRequest, ResultObject};
use crate::ended::Ended;
use crate::error::Error;
use crate::flow::director::Director;
use crate::flow::halts::Cause;
use crate::flow::session::Action;
use crate::model::attributes::Carried;
use crate::model::event::Notice;
use crate::model::ledger::{Entries, Kin, KinQuery, Unsettled};
use crate::model::limits::{COMMAND_QUEUE, LEDGER_QUEUE, NEWS_QUEUE};
use crate::model::packing::Packing;
use crate::model::path::{Name, RelPath};
use crate::model::selection::Selection;
use crate::model::stamp::{Epoch, SinkId};
use crate::monitor::Monitor;
use crate::net::service::{Call, Routing};
use crate::net::stream::bound::DataHost;
use crate::phases::call_thread;
use crate::phases::init::source::Doorkeeper;
use crate::phases::transfer::link::{Link, LinkEvent, LinkNews};
use crate::phases::transfer::recall::{Ledgers, SharedLedger, hold};
use crate::phases::transfer::sessions::Sessions;
use crate::phases::transfer::steering::Steering;
use crate::phases::transfer::workers::Workers;
use crate::state::epochs::EpochStore;
use crate::stop::Stop;
use crate::tree::looker::Looker;
use crate::tree::watch::Watcher;
use crate::wire::command::Reply;

/// How often the director is ticked when nothing happens.
const TICK: Duration = Duration::from_millis(50);
/// How often people are told how it stands.
const TELL: Duration = Duration::from_millis(500);
/// How many inputs are taken in a row before the clock is read again.
const BURST: usize = 64;

/// What the engine is made of; see ARCHITECTURE.md for who runs where.
pub struct Parts<'scope, 'env> {
    /// The scope in which data threads are started.
    pub scope: &'scope Scope<'scope, 'env>,
    /// The source's directory, resolved.
    pub directory: PathBuf,
    /// Where the ledgers lie.
    pub ledger_dir: PathBuf,
    /// The ledgers that are open, as the workers ask them.
    pub ledgers: Ledgers,
    /// Looks at the disk.
    pub looker: Arc<Looker>,
    /// Watches it, if anything does.
    pub watcher: Option<Arc<Watcher>>,
    /// Notices of the watcher.
    pub notices: Receiver<Notice>,
    /// The threads that look.
    pub workers: Workers,
    /// Where data sockets are bound.
    pub host: DataHost,
    /// Draws epochs.
    pub epochs: EpochStore,
    /// Draws those of dry runs, which nobody remembers.
    pub passing_epochs: EpochStore,
    /// Every sink is only to tell what would be done.
    pub is_dry: bool,
    /// Requests of sinks.
    pub calls: Receiver<Call>,
    /// Replies to them.
    pub replies: Box<dyn Fn(Routing, Reply) + 'scope>,
    /// Requests of people.
    pub control: Receiver<(ControlRequest, Sender<ControlReply>)>,
    /// Tells how a session ended to the people who wait for it.
    pub announce: Box<dyn Fn(ResultObject) + 'scope>,
    /// Whether the root's path still leads to it; told again and again.
    pub root_stands: Receiver<bool>,
    /// How many removals are too many.
    pub max_delete: MaxDelete,
    /// What a person limits.
    pub steering: Steering,
    /// Whether contents are packed on their way.
    pub packing: Packing,
    /// The attributes that are carried.
    pub carried: Carried,
    /// What of the pool is offered.
    pub selection: Arc<Selection>,
    /// What people see.
    pub monitor: &'env dyn Monitor,
    /// What people want.
    pub stop: Stop,
}

impl Parts<'_, '_> {
    /// What draws the epochs of dry runs, or of all others.
    pub(super) fn epochs(&self, is_dry: bool) -> &EpochStore {
        if is_dry { &self.passing_epochs } else { &self.epochs }
    }
}

/// Something for a sink's ledger, in the order in which the director says it.
struct Errand {
    sink: SinkId,
    ledger: SharedLedger,
    what: What,
}

enum What {
    /// Which of these names were offered?
    Ask { query: u64, dir: RelPath, names: Vec<Name> },
    /// Which names of an object are to be looked at?
    AskKin { query: u64, about: KinQuery },
    /// What a report told.
    Enter(Entries),
}

/// What comes of it.
enum Verdict {
    /// The answer to a question.
    Offered(SinkId, u64, Vec<bool>),
    /// Likewise.
    Kin(SinkId, u64, Kin),
    /// A report was entered.
    Entered(SinkId, Unsettled),
    /// The ledger can't be written.
    Failed(SinkId, String),
}

/// The engine.
pub struct Engine<'scope, 'env> {
    pub(super) parts: Parts<'scope, 'env>,
    pub(super) director: Director,
    /// Knows who may come in, and what was granted; away while it grants.
    pub(super) doorkeeper: Option<Doorkeeper>,
    pub(super) sessions: Sessions,
    pub(super) links: BTreeMap<SinkId, (Epoch, Link)>,
    pub(super) news: Sender<LinkNews>,
    heard: Receiver<LinkNews>,
    errands: Sender<Errand>,
    verdicts: Receiver<Verdict>,
    began: Instant,
    told: Duration,
    pub(super) ended: Option<Ended>,
}

impl<'scope, 'env> Engine<'scope, 'env> {
    /// Puts the engine together; nothing runs yet but the thread that keeps the ledgers.
    pub fn new(parts: Parts<'scope, 'env>, doorkeeper: Doorkeeper) -> Engine<'scope, 'env> {
        let (news, heard) = bounded(NEWS_QUEUE);
        let (errands, asked) = bounded::<Errand>(LEDGER_QUEUE);
        let (answers, verdicts) = bounded(LEDGER_QUEUE + COMMAND_QUEUE);
        parts.scope.spawn(move || keep_ledgers(&asked, &answers));
        let mut director = Director::new(parts.looker.root_identity());
        director.limit_removals(parts.max_delete);
        director.select(Arc::clone(&parts.selection));
        let (links, sessions) = (BTreeMap::new(), Sessions::default());
        Engine {
            parts,
            director,
            doorkeeper: Some(doorkeeper),
            sessions,
            links,
            news,
            heard,
            errands,
            verdicts,
            began: Instant::now(),
            told: Duration::ZERO,
            ended: None,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Runs until the last sink has left, or a person says stop.
    ///
    /// # Errors
    /// When the source can't go on at all.
    pub fn run(mut self) -> Result<Ended, Error> {
        self.director.pump();
        self.steer();
        while self.ended.is_none() {
            if self.parts.stop.is_asked() {
                return Ok(Ended::Interrupted);
            }
            self.take_input()?;
            let now = self.now();
            self.director.tick(now);
            self.act();
            self.mind_sessions();
            if now >= self.told + TELL {
                self.told = now;
                self.parts.workers.replace_hung();
                self.parts.workers.fit();
                self.steer();
                self.tell_people();
            }
        }
        self.ended.take().map_or(Ok(Ended::Interrupted), Ok)
    }

    /// Takes what has come, or waits for it until the director's next wake.
    fn take_input(&mut self) -> Result<(), Error> {
        let now = self.now();
        let wake = self.director.next_wake().map_or(TICK, |at| at.saturating_sub(now).min(TICK));
        let gone = || Error::Network("The command service has ended".to_owned());
        for turn in 0..BURST {
            let wait = if turn == 0 { wake } else { Duration::ZERO };
            // Each asks for the time once it has come: it may have been waited for.
            select! {
                recv(self.parts.notices) -> notice => {
                    if let Ok(notice) = notice {
                        self.director.notice(notice, self.began.elapsed());
                    }
                }
                recv(self.parts.workers.done) -> done => {
                    if let Ok(done) = done {
                        self.director.look_done(done, self.began.elapsed());
                    }
                }
                recv(self.heard) -> news => {
                    if let Ok(news) = news {
                        self.heed(news, self.began.elapsed());
                    }
                }
                recv(self.verdicts) -> verdict => {
                    if let Ok(verdict) = verdict {
                        self.take_verdict(verdict, self.began.elapsed());
                    }
                }
                recv(self.parts.calls) -> call => self.called(call.map_err(|_| gone())?),
                recv(self.parts.control) -> control => {
                    if let Ok((request, reply)) = control {
                        let answer = self.control(&request);
                        // Whoever asked may have gone.
                        let _ = reply.try_send(answer);
                    }
                }
                recv(self.parts.root_stands) -> stands => {
                    match stands {
                        Ok(true) => self.director.lift(&Cause::Root, self.began.elapsed()),
                        Ok(false) => self.root_lost(),
                        Err(_) => {}
                    }
                }
                default(wait) => return Ok(()),
            }
            self.act();
        }
        Ok(())
    }

    fn root_lost(&mut self) {
        let directory = self.parts.directory.display();
        let reason = format!(
            "The source's directory \"{directory}\" is no longer there or was replaced: nothing is \
             removed at the sink. Put it back; if it is meant, say `osync set {directory} resume`"
        );
        self.director.halt(Cause::Root, &reason);
    }

    fn heed(&mut self, news: LinkNews, now: Duration) {
        let LinkNews { sink, epoch, what } = news;
        if self.links.get(&sink).is_none_or(|(current, _)| *current != epoch) {
            return;
        }
        match what {
            LinkEvent::Report(report) => self.director.report(sink, report, now),
            LinkEvent::Lost(why) => self.lose(sink, &why),
        }
    }

    /// The epoch is over; the sink will register again.
    pub(super) fn lose(&mut self, sink: SinkId, why: &str) {
        if self.links.remove(&sink).is_none() {
            return;
        }
        tracing::info!(sink = sink.0, why, "the epoch is over");
        self.director.end(sink, self.now());
        if let (Some(key), Some(doorkeeper)) = (self.sessions.lost(sink), &mut self.doorkeeper) {
            doorkeeper.forget(&key);
        }
    }

    fn take_verdict(&mut self, verdict: Verdict, now: Duration) {
        match verdict {
            Verdict::Offered(sink, query, offered) => {
                self.director.offered(sink, query, &offered, now);
            }
            Verdict::Kin(sink, query, kin) => self.director.kin_told(sink, query, kin, now),
            Verdict::Entered(sink, unsettled) => self.director.entered(sink, &unsettled, now),
            Verdict::Failed(sink, why) => self.lose(sink, &why),
        }
    }

    fn charge(&mut self, sink: SinkId, what: What) {
        let Some(ledger) = self.sessions.ledger(sink) else { return };
        if self.errands.try_send(Errand { sink, ledger, what }).is_err() {
            self.lose(sink, "The ledger is too slow");
        }
    }

    /// Does what the director wants done.
    pub(super) fn act(&mut self) {
        while let Some(action) = self.director.take_action() {
            match action {
                Action::Look(job) => self.parts.workers.run(job),
                Action::Drain(ticket) => match &self.parts.watcher {
                    Some(watcher) => watcher.request_drain(ticket),
                    None => self.director.notice(Notice::Drained(ticket), self.began.elapsed()),
                },
                Action::Disarm(key) => self.parts.looker.forget(key),
                Action::Send(message) => {
                    let sink = message.sink;
                    tracing::trace!(
                        lane = ?message.lane,
                        sequence = message.sequence,
                        what = message.body.kind(),
                        items = message.body.items(),
                        bytes = message.content.as_ref().map_or(0, Vec::len),
                        "send"
                    );
                    let sent = match self.links.get(&sink) {
                        Some((epoch, link)) if *epoch == message.epoch => link.send(message),
                        _ => continue,
                    };
                    if !sent {
                        self.lose(sink, "The queue to the sink is full: it grants too much credit");
                    }
                }
                Action::AskOffered { sink, query, dir, names } => {
                    self.charge(sink, What::Ask { query, dir, names });
                }
                Action::AskKin { sink, query, about } => {
                    self.charge(sink, What::AskKin { query, about });
                }
                Action::Enter { sink, entries } => self.charge(sink, What::Enter(entries)),
                Action::EndEpoch { sink, reason } => self.lose(sink, &reason),
                Action::Problem { path, text, .. } => {
                    self.parts.monitor.problem(path.as_bytes(), &text);
                }
                Action::Note(text) => self.parts.monitor.note(&text),
            }
        }
    }
}

/// Asks and fills ledgers for the director: the disk is not for the director's thread.
fn keep_ledgers(errands: &Receiver<Errand>, verdicts: &Sender<Verdict>) {
    call_thread(c"ledger");
    for Errand { sink, ledger, what } in errands {
        let mut ledger = hold(&ledger);
        let verdict = match what {
            What::Ask { query, dir, names } => {
                Verdict::Offered(sink, query, ledger.was_offered(&dir, &names))
            }
            What::AskKin { query, about } => Verdict::Kin(sink, query, ledger.kin(&about)),
            What::Enter(entries) => match ledger.enter(&entries) {
                Ok(unsettled) => Verdict::Entered(sink, unsettled),
                Err(error) => Verdict::Failed(sink, error.to_string()),
            },
        };
        drop(ledger);
        if verdicts.send(verdict).is_err() {
            return;
        }
    }
}
