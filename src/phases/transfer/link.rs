//! The data threads of one sink in one epoch: two senders and one reader of reports.
//!
//! - Each socket lives and dies in its thread; only values cross.
//! - A sender writes into the ledger before the message leaves (laws 4 and 9).
//! - Reports are read by a thread that never sends (H17).
//! - Whatever goes wrong is told once, and ends the epoch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Scope;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::error::Error;
use crate::flow::session::Outgoing;
use crate::model::key::PublicKey;
use crate::model::limits::LANE_QUEUE;
use crate::model::message::Report;
use crate::model::packing::Packing;
use crate::model::stamp::{Epoch, Lane, SinkId};
use crate::net::stream::Lost;
use crate::net::stream::bound::{DataHost, LaneSender, ReportReceiver};
use crate::phases::call_thread;
use crate::phases::transfer::packing::{Coming, Pace, Packers};
use crate::phases::transfer::recall::{SharedLedger, hold};
use crate::phases::transfer::steering::{Manners, Steering};
use crate::state::ledger::Ledger;
use crate::wire::data::Header;

/// How long a thread waits before it looks whether its peer is still there.
const TEND: Duration = Duration::from_millis(50);

/// What a link tells the director's thread.
#[derive(Debug)]
pub struct LinkNews {
    /// Of which sink.
    pub sink: SinkId,
    /// In which epoch.
    pub epoch: Epoch,
    /// What.
    pub what: LinkEvent,
}

/// What happened on a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// The sink reports.
    Report(Report),
    /// The connection, or the ledger, is lost: the epoch is over. In words.
    Lost(String),
}

/// Counts the bytes of the frames of one sink's data and reports, over all its epochs.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The data sockets of one epoch, by their ports and queues.
pub struct Link {
    /// Ports of the lanes, by lane index.
    pub data_ports: [u16; 2],
    /// Port for the reports.
    pub report_port: u16,
    lanes: [Sender<Queued>; 2],
    packers: Packers,
    connected: Arc<[AtomicBool; 3]>,
    closed: Arc<AtomicBool>,
}

impl Link {
    /// Binds the three sockets and starts their threads.
    ///
    /// # Errors
    /// When no port is free.
    pub fn open<'scope>(
        scope: &'scope Scope<'scope, '_>,
        host: &DataHost,
        sink: (SinkId, PublicKey),
        epoch: Epoch,
        ledger: &SharedLedger,
        (meter, steering, packing): (&Meter, &Steering, Packing),
        news: &Sender<LinkNews>,
    ) -> Result<Link, Error> {
        let (id, key) = sink;
        let connected: Arc<[AtomicBool; 3]> = Arc::default();
        let closed: Arc<AtomicBool> = Arc::default();
        let teller = |index: usize| Teller {
            sink: id,
            epoch,
            news: news.clone(),
            meter: meter.clone(),
            connected: Arc::clone(&connected),
            closed: Arc::clone(&closed),
            index,
        };
        let live = host.lane(epoch, Lane::Live, key)?;
        let backlog = host.lane(epoch, Lane::Backlog, key)?;
        let reports = host.reports(epoch, key)?;
        let data_ports = [live.port(), backlog.port()];
        let report_port = reports.port();
        let packers = Packers::start(scope, packing, steering)?;
        let lanes = [live, backlog].map(|socket| {
            let (queue, messages) = bounded::<Queued>(LANE_QUEUE);
            let index = usize::from(socket.port() != data_ports[0]);
            let (teller, ledger, pace) = (teller(index), Arc::clone(ledger), packers.pace());
            let manners = (index > 0).then(|| Manners::new(steering.clone()));
            scope.spawn(move || send_lane(socket, &messages, &ledger, &pace, (&teller, manners)));
            queue
        });
        let teller = teller(2);
        scope.spawn(move || read_reports(reports, &teller));
        Ok(Link { data_ports, report_port, lanes, packers, connected, closed })
    }

    /// Whether the sink has connected all three.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.iter().all(|each| each.load(Ordering::Acquire))
    }

    /// Queues a message; false if the queue is full or closed, which ends the epoch.
    #[must_use]
    pub fn send(&self, mut message: Outgoing) -> bool {
        let lane = message.lane;
        let content = message.content.take();
        let content = content.map(|content| self.packers.hand_over(lane, content));
        match self.lanes[lane.index()].try_send(Queued { message, content }) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// A message on its way to its sender, and its content.
struct Queued {
    message: Outgoing,
    content: Option<Coming>,
}

/// How a data thread speaks to the director's.
struct Teller {
    sink: SinkId,
    epoch: Epoch,
    news: Sender<LinkNews>,
    meter: Meter,
    connected: Arc<[AtomicBool; 3]>,
    closed: Arc<AtomicBool>,
    index: usize,
}

impl Teller {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Notes how the connection stands; false once it is lost.
    fn heed(&self, standing: Result<bool, Lost>) -> bool {
        match standing {
            Ok(up) => {
                self.connected[self.index].store(up, Ordering::Release);
                true
            }
            Err(lost) => self.lost(lost.0),
        }
    }

    fn lost(&self, why: String) -> bool {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.tell(LinkEvent::Lost(why));
        }
        false
    }

    fn tell(&self, what: LinkEvent) -> bool {
        let mut news = LinkNews { sink: self.sink, epoch: self.epoch, what };
        // The director's thread may be busy; it may also be gone, or have closed the link.
        loop {
            match self.news.send_timeout(news, TEND) {
                Ok(()) => return true,
                Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => return false,
                Err(crossbeam_channel::SendTimeoutError::Timeout(again)) => {
                    if self.is_closed() && matches!(again.what, LinkEvent::Report(_)) {
                        return false;
                    }
                    news = again;
                }
            }
        }
    }
}

fn send_lane(
    mut socket: LaneSender,
    messages: &Receiver<Queued>,
    ledger: &Mutex<Ledger>,
    pace: &Pace,
    (teller, mut manners): (&Teller, Option<Manners>),
) {
    call_thread([c"send-live", c"send-backlog"][teller.index.min(1)]);
    while !teller.is_closed() {
        let Queued { message, content } = match messages.recv_timeout(TEND) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => {
                if teller.heed(socket.is_connected()) {
                    continue;
                }
                return;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        manners.as_mut().map(Manners::mind);
        let Outgoing { epoch, lane, sequence, watermark, body, offers, .. } = message;
        if !offers.is_empty()
            && let Err(error) = hold(ledger).offer(epoch, &offers)
        {
            teller.lost(error.to_string());
            return;
        }
        let bytes = content.as_ref().map_or(0, Coming::bytes);
        let (content, packed) = match content.map(Coming::wait) {
            None => (None, None),
            Some(Some((frame, packed))) => (Some(frame), packed),
            Some(None) => {
                teller.lost("A content was lost while it was packed".to_owned());
                return;
            }
        };
        let header = Header { epoch, lane, sequence, watermark, body, packed };
        let before = socket.bytes();
        if let Err(lost) = socket.send(&header, content) {
            teller.lost(lost.0);
            return;
        }
        teller.meter.add(socket.bytes() - before);
        if lane == Lane::Backlog && bytes > 0 {
            pace.sent(bytes);
        }
    }
}

fn read_reports(mut socket: ReportReceiver, teller: &Teller) {
    call_thread(c"hear-reports");
    while !teller.is_closed() {
        let up = socket.is_connected();
        if !teller.heed(up) {
            return;
        }
        let before = socket.bytes();
        match socket.recv(TEND) {
            Ok(Some(report)) => {
                teller.meter.add(socket.bytes() - before);
                if !teller.tell(LinkEvent::Report(report)) {
                    return;
                }
            }
            Ok(None) => {}
            Err(lost) => {
                teller.lost(lost.0);
                return;
            }
        }
    }
}
