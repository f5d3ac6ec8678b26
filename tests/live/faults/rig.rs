//! A pair behind a network that can fail, brought to a moment, hurt, and seen to its end.

use std::ffi::OsStr;
use std::time::Duration;

use crate::support::churn::{Churn, Plan, Verb};
use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::proxy::Proxy;
use crate::support::{until, until_true, zoo};

/// When a fault comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// While the backlog is under way.
    FirstCopy,
    /// While writers change a tree that has arrived.
    Live,
    /// In the termination phase.
    Cutover,
}

/// All moments.
pub(super) const MOMENTS: [Moment; 3] = [Moment::FirstCopy, Moment::Live, Moment::Cutover];

/// Whether the whole matrix is wanted, however long it takes.
pub(super) fn wants_all() -> bool {
    std::env::var("OSYNC_FAULTS").is_ok_and(|wish| wish == "all")
}

/// A running pair.
pub(super) struct Rig {
    pub(super) pair: Pair,
    pub(super) proxy: Proxy,
    pub(super) source: Option<Operator>,
    pub(super) sink: Option<Operator>,
    churn: Option<Churn>,
    cutover: Option<Operator>,
}

impl Rig {
    /// A pair with a pool of small files and two large ones, started and left to itself.
    pub(super) fn start() -> Rig {
        let (mut pair, proxy) = (Pair::new(), Proxy::start());
        zoo::pool(&pair.source_dir(), 800, 3_000);
        for name in ["large", "larger"] {
            let bytes = zoo::content(name.len() as u64, 700_000 * name.len());
            std::fs::write(pair.source_dir().join(name), bytes).expect("A large file");
        }
        pair.through(&proxy);
        let source = pair.start_source(&proxy.data_ports.each_ref().map(String::as_str));
        let sink = pair.start_sink(&[]);
        let (source, sink) = (Some(source), Some(sink));
        Rig { pair, proxy, source, sink, churn: None, cutover: None }
    }

    /// Starts the source again.
    pub(super) fn start_source(&mut self) {
        let ports = self.proxy.data_ports.each_ref().map(String::as_str);
        self.source = Some(self.pair.start_source(&ports));
    }

    /// Starts the sink again.
    pub(super) fn start_sink(&mut self) {
        self.sink = Some(self.pair.start_sink(&[]));
    }

    /// Waits for a moment.
    pub(super) fn reach(&mut self, moment: Moment) {
        match moment {
            Moment::FirstCopy => {
                let proxy = &self.proxy;
                until_true("some of it has arrived", SOON, || proxy.bytes() > 1_000_000);
            }
            Moment::Live => {
                self.pair.until_ready();
                let plan = Plan {
                    root: self.pair.source_dir(),
                    seed: 7,
                    writers: 2,
                    verbs: Verb::ALL,
                    rest: Duration::from_millis(5),
                    pool: Vec::new(),
                };
                let churn = Churn::start(&plan);
                until_true("the writers write", SOON, || churn.done() > 100);
                self.churn = Some(churn);
            }
            Moment::Cutover => {
                self.pair.until_ready();
                let dir = self.pair.sink_dir();
                self.cutover = Some(self.pair.start(&[OsStr::new("cutover"), dir.as_os_str()]));
                until("the cutover has begun", SOON, || {
                    let status = self.pair.status(&dir);
                    // It may be over already: then there is no operator.
                    (status["phase"] == "termination" || status["phase"] == "none").then_some(())
                });
            }
        }
    }

    /// Whether the sink has finished before anything could happen to it.
    pub(super) fn is_over(&mut self) -> bool {
        self.sink.as_mut().is_none_or(|sink| sink.try_end().is_some())
    }

    /// Sees the pair to its end: both say 0, and the trees are equal.
    #[track_caller]
    pub(super) fn finish(mut self) {
        if let Some(churn) = self.churn.take() {
            churn.stop();
        }
        let mut sink = self.sink.take().expect("A sink");
        let ended = until("the sink has finished", LONG, || {
            let ended = sink.try_end();
            if ended.is_none() {
                // It may not finish the first time, or the sink may end before it is asked.
                self.pair.cutover();
            }
            ended
        });
        ended.assert_code(&[0]);
        self.source.take().expect("A source").end(SOON).assert_code(&[0]);
        drop(self.cutover.take());
        assert_equal(&self.pair.source_dir(), &self.pair.sink_dir());
    }
}
