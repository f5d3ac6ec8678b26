//! Both operators in one process, over CURVE on loopback: the one-machine default.

use std::thread;

use crossbeam_channel::bounded;

use crate::config::{Address, LocalConfig, SinkConfig};
use crate::ended::Ended;
use crate::error::Error;
use crate::model::session::Figures;
use crate::monitor::{Monitor, StateChange};
use crate::source::Bound;
use crate::stop::{Stop, StopLevel};
use crate::tree::{nesting, roots};
use crate::{sink, source};

/// Runs both operators until the sink has ended.
///
/// # Errors
/// Whatever ended the sink, or what kept the source from starting.
#[allow(clippy::needless_pass_by_value)] // Each operator owns its configuration.
pub fn run(config: LocalConfig, monitor: &dyn Monitor, stop: &Stop) -> Result<Ended, Error> {
    let LocalConfig { source, sink } = config;
    roots::source_directory(&source.directory)?;
    nesting::refuse_nested(&source.directory, &sink.directory)?;
    let behind = Behind(monitor);
    let source_stop = Stop::new();
    thread::scope(|scope| {
        let (tell, told) = bounded(1);
        let running = scope.spawn(|| {
            source::run_with(&source, &behind, &source_stop, move |bound| {
                // Whoever started this waits for it.
                let _ = tell.send(bound);
            })
        });
        let end = match told.recv() {
            Ok(bound) => sink::run(met(sink, bound, &source.bind.to_string()), monitor, stop),
            Err(_) => Ok(Ended::Interrupted),
        };
        // Without its only sink the source has nothing to wait for, however the sink ended.
        source_stop.raise(StopLevel::Now);
        match running.join() {
            Ok(Err(error)) => Err(error),
            _ => end,
        }
    })
}

/// The sink's part, knowing where its source is.
fn met(sink: SinkConfig, bound: Bound, host: &str) -> SinkConfig {
    let source = Address { host: host.to_owned(), port: bound.port };
    SinkConfig { source, invite: Some(bound.invite), ..sink }
}

/// Lets a person hear the problems of the source, and of the rest only what the sink says.
struct Behind<'a>(&'a dyn Monitor);

impl Monitor for Behind<'_> {
    fn state(&self, _change: &StateChange) {}
    fn figures(&self, _figures: &Figures) {}
    fn service(&self, _port: u16) {}
    fn invite(&self, _invite: &str) {}

    fn problem(&self, path: &[u8], text: &str) {
        self.0.problem(path, text);
    }

    fn note(&self, text: &str) {
        self.0.note(text);
    }
}
