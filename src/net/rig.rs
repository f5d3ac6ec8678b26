//! For tests: a source's network on loopback, with one known sink.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::net::Context;
use crate::net::client::{CallError, CommandClient};
use crate::net::curve::KeyPair;
use crate::net::service::{self, CommandService};
use crate::net::stream::bound::DataHost;
use crate::net::zap::Gatekeeper;
use crate::wire::command::{Reply, Request};

/// Far more than anything takes on loopback.
pub(super) const LONG: Duration = Duration::from_secs(20);
/// What a person may be made to wait for a sentence.
pub(super) const SECONDS: Duration = Duration::from_secs(5);

pub(super) struct Rig {
    pub(super) context: Context,
    pub(super) gatekeeper: Gatekeeper,
    pub(super) source: KeyPair,
    pub(super) sink: KeyPair,
}

impl Rig {
    /// A gatekeeper at its post who knows one sink.
    pub(super) fn new() -> Rig {
        let context = Context::new().unwrap();
        let gatekeeper = Gatekeeper::start(&context).unwrap();
        let rig = Rig {
            context,
            gatekeeper,
            source: KeyPair::generate().unwrap(),
            sink: KeyPair::generate().unwrap(),
        };
        rig.gatekeeper.access().admit(rig.sink.public);
        rig
    }

    pub(super) fn service(&self) -> CommandService {
        CommandService::bind(&self.context, &self.source, "127.0.0.1", 0).unwrap()
    }

    pub(super) fn data_host(&self) -> DataHost {
        DataHost {
            context: self.context.clone(),
            keys: self.source.clone(),
            access: self.gatekeeper.access(),
            address: "127.0.0.1".into(),
            ports: None,
        }
    }

    /// Calls once as somebody, expecting somebody.
    pub(super) fn call(
        &self,
        port: u16,
        own: &KeyPair,
        server: &KeyPair,
    ) -> Result<Reply, CallError> {
        let context = Context::new().unwrap();
        CommandClient::connect(&context, "127.0.0.1", port, &server.public, own)?
            .call(&introduce(), SECONDS)
    }
}

/// Some request.
pub(super) fn introduce() -> Request {
    Request::Introduce { public_key: vec![1; 32], dry: false }
}

/// A thread that answers every request with `Introduced`, until it is dropped.
pub(super) struct Answering {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
    pub(super) port: u16,
}

impl Answering {
    pub(super) fn start(service: CommandService) -> Answering {
        let stop = Arc::new(AtomicBool::new(false));
        let port = service.port();
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut answered = 0;
                while !stop.load(Ordering::Acquire) {
                    if let Some(call) = service.recv(Duration::from_millis(20)).unwrap() {
                        let reply = match &call.request {
                            Ok(_) => Reply::Introduced,
                            Err(error) => service::refusal(error),
                        };
                        service.reply(&call.routing, &reply).unwrap();
                        answered += 1;
                    }
                }
                answered
            }
        });
        Answering { stop, thread: Some(thread), port }
    }

    /// Ends the thread; how many requests it has answered.
    pub(super) fn finish(mut self) -> usize {
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Waits until something is so.
pub(super) fn until(mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A port on which somebody listens who never accepts, and one on which nobody does.
pub(super) fn silent_and_closed() -> (TcpListener, u16) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    (silent, closed)
}
