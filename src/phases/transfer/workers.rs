//! The threads that look at the source's disk, for the director.
//!
//! Urgent looks (live work waits for them) overtake all others; one worker takes nothing else, so
//! that slow backlog reads cannot hold live changes up.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};

use crate::model::limits::{LOOK_JOBS, LOOK_QUEUE};
use crate::model::look::{LookDone, LookJob};
use crate::tree::looker::Looker;

/// How often an idle worker sees whether it is still wanted.
const IDLE: Duration = Duration::from_millis(500);

/// The ways to and from the workers.
pub struct Workers {
    urgent: Sender<LookJob>,
    lazy: Sender<LookJob>,
    /// Results, in no order.
    pub done: Receiver<LookDone>,
}

impl Workers {
    /// Starts `count` workers in a scope; they end when the `Workers` are dropped.
    pub fn start<'scope>(
        scope: &'scope std::thread::Scope<'scope, '_>,
        looker: &Arc<Looker>,
        count: usize,
    ) -> Workers {
        let (urgent, urgent_jobs) = bounded::<LookJob>(LOOK_JOBS);
        let (lazy, lazy_jobs) = bounded::<LookJob>(LOOK_JOBS);
        let (results, done) = bounded(LOOK_QUEUE);
        for index in 0..count.max(2) {
            let looker = Arc::clone(looker);
            let (urgent_jobs, lazy_jobs) = (urgent_jobs.clone(), lazy_jobs.clone());
            let results = results.clone();
            scope.spawn(move || match index {
                0 => serve_one(&looker, &urgent_jobs, &results),
                _ => serve_both(&looker, &urgent_jobs, &lazy_jobs, &results),
            });
        }
        Workers { urgent, lazy, done }
    }

    /// Hands a job over. The queue has room for every look that the director may have under way.
    pub fn run(&self, job: LookJob) {
        let queue = if job.urgent { &self.urgent } else { &self.lazy };
        // Fails only when all workers are gone, and then nobody waits for the result.
        let _ = queue.send(job);
    }
}

fn serve_one(looker: &Looker, jobs: &Receiver<LookJob>, results: &Sender<LookDone>) {
    for job in jobs {
        if results.send(looker.run(&job)).is_err() {
            return;
        }
    }
}

fn serve_both(
    looker: &Looker,
    urgent: &Receiver<LookJob>,
    lazy: &Receiver<LookJob>,
    results: &Sender<LookDone>,
) {
    loop {
        let job = select_biased! {
            recv(urgent) -> job => job,
            recv(lazy) -> job => job,
            default(IDLE) => continue,
        };
        let Ok(job) = job else { return };
        if results.send(looker.run(&job)).is_err() {
            return;
        }
    }
}
