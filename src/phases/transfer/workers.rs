//! The threads that look at the source's disk, for the director.
//!
//! Urgent looks (live work waits for them) overtake all others; one worker takes nothing else, so
//! that slow backlog reads cannot hold live changes up.
//!
//! A look may hang for as long as a server below the tree is dead. The director gives it up
//! (H17f); here another worker takes the place of the one that hangs, up to a bound. Workers are
//! joined at the end, but for those that hang: nobody could wait for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select_biased};

use crate::model::limits::{HUNG_WORKERS_MAX, LOOK_JOBS, LOOK_QUEUE};
use crate::model::look::{LookDone, LookJob};
use crate::phases::call_thread;

/// How often an idle worker sees whether it is still wanted.
const IDLE: Duration = Duration::from_millis(500);

/// Runs one look to its end.
type Look = Arc<dyn Fn(&LookJob) -> LookDone + Send + Sync>;

/// The workers, and the ways to and from them.
pub struct Workers {
    urgent: Sender<LookJob>,
    lazy: Sender<LookJob>,
    /// Results, in no order.
    pub done: Receiver<LookDone>,
    bench: Bench,
    crew: Vec<Worker>,
    /// A worker that is at one look for longer is taken to hang.
    patience: Duration,
}

/// What every worker works with.
#[derive(Clone)]
struct Bench {
    look: Look,
    urgent: Receiver<LookJob>,
    lazy: Receiver<LookJob>,
    results: Sender<LookDone>,
}

struct Worker {
    /// Whether it takes urgent looks alone.
    urgent_only: bool,
    post: Arc<Mutex<Post>>,
    thread: JoinHandle<()>,
}

/// What a worker is at.
#[derive(Default)]
struct Post {
    /// Since when it has been at its look.
    since: Option<Instant>,
    /// Another took its place.
    replaced: bool,
}

impl Workers {
    /// Starts `count` workers, two at least; they end when the `Workers` are dropped. One that is
    /// at a look for longer than `patience` is taken to hang.
    pub fn start(
        count: usize,
        patience: Duration,
        look: impl Fn(&LookJob) -> LookDone + Send + Sync + 'static,
    ) -> Workers {
        let (urgent, urgent_jobs) = bounded::<LookJob>(LOOK_JOBS);
        let (lazy, lazy_jobs) = bounded::<LookJob>(LOOK_JOBS);
        let (results, done) = bounded(LOOK_QUEUE);
        let look: Look = Arc::new(look);
        let bench = Bench { look, urgent: urgent_jobs, lazy: lazy_jobs, results };
        let crew = (0..count.max(2)).map(|index| bench.employ(index == 0)).collect();
        Workers { urgent, lazy, done, bench, crew, patience }
    }

    /// Hands a job over. The queue has room for every look that the director may have under way.
    pub fn run(&self, job: LookJob) {
        let queue = if job.urgent { &self.urgent } else { &self.lazy };
        // Fails only when all workers are gone, and then nobody waits for the result.
        let _ = queue.send(job);
    }

    /// Puts others in the place of workers that hang; returns how many hang now. To be called
    /// every now and then.
    pub fn replace_hung(&mut self) -> usize {
        self.crew.retain(|worker| !worker.thread.is_finished());
        let mut hung = self.crew.iter().filter(|worker| lock(&worker.post).replaced).count();
        let mut new = Vec::new();
        for worker in &self.crew {
            let mut post = lock(&worker.post);
            let hangs = post.hangs(self.patience) && !post.replaced;
            if hangs && hung < HUNG_WORKERS_MAX {
                post.replaced = true;
                hung += 1;
                new.push(self.bench.employ(worker.urgent_only));
            }
        }
        self.crew.extend(new);
        hung
    }
}

impl Post {
    fn hangs(&self, patience: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= patience)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        (self.urgent, self.lazy, self.done) = (bounded(0).0, bounded(0).0, never());
        for worker in self.crew.drain(..) {
            while !worker.thread.is_finished() && !lock(&worker.post).hangs(self.patience) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Bench {
    fn employ(&self, urgent_only: bool) -> Worker {
        let post = Arc::new(Mutex::new(Post::default()));
        let (bench, own) = (self.clone(), Arc::clone(&post));
        let thread = std::thread::spawn(move || bench.serve(urgent_only, &own));
        Worker { urgent_only, post, thread }
    }

    /// Works until nobody wants it any more, or another has taken its place.
    fn serve(&self, urgent_only: bool, post: &Mutex<Post>) {
        call_thread(if urgent_only { c"look-live" } else { c"look" });
        loop {
            let job = if urgent_only {
                self.urgent.recv()
            } else {
                select_biased! {
                    recv(self.urgent) -> job => job,
                    recv(self.lazy) -> job => job,
                    default(IDLE) => continue,
                }
            };
            let Ok(job) = job else { return };
            lock(post).since = Some(Instant::now());
            let done = (self.look)(&job);
            let told = self.results.send(done);
            let mut post = lock(post);
            post.since = None;
            if told.is_err() || post.replaced {
                return;
            }
        }
    }
}

fn lock(post: &Mutex<Post>) -> MutexGuard<'_, Post> {
    post.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::Workers;
    use crate::model::limits::HUNG_WORKERS_MAX;
    use crate::model::look::{DirAddress, LookDone, LookJob, Seen, Task};
    use crate::model::path::RelPath;
    use crate::model::stamp::DirKey;

    const SOON: Duration = Duration::from_secs(60);
    /// Jobs from this number on hang until they are let go.
    const HANGS: u64 = 1_000;

    fn job(id: u64, urgent: bool) -> LookJob {
        let dir = DirAddress { key: DirKey::ROOT, path: RelPath::root(), identity: None };
        LookJob { id, sink: None, urgent, dir, task: Task::OwnMeta }
    }

    #[test]
    fn h17f_others_take_the_place_of_workers_that_hang() {
        let (let_go, gate) = bounded::<()>(0);
        let mut workers = Workers::start(2, Duration::ZERO, move |job| {
            if job.id >= HANGS {
                let _ = gate.recv();
            }
            LookDone { id: job.id, seen: Seen::Closed }
        });
        let done = workers.done.clone();
        for id in 0..HUNG_WORKERS_MAX as u64 {
            workers.run(job(HANGS + id, id % 2 == 0));
        }
        while workers.replace_hung() < HUNG_WORKERS_MAX {
            std::thread::yield_now();
        }
        for (id, urgent) in [(1, true), (2, false)] {
            workers.run(job(id, urgent));
            assert_eq!(done.recv_timeout(SOON).unwrap().id, id);
        }
        // No more than so many: who hangs now is not replaced.
        workers.run(job(HANGS + 500, false));
        assert_eq!(workers.replace_hung(), HUNG_WORKERS_MAX);
        drop(let_go);
        for _ in 0..=HUNG_WORKERS_MAX {
            assert!(done.recv_timeout(SOON).unwrap().id >= HANGS);
        }
        while workers.replace_hung() > 0 {
            std::thread::yield_now();
        }
        workers.run(job(3, true));
        assert_eq!(done.recv_timeout(SOON).unwrap().id, 3);
    }

    #[test]
    fn nobody_waits_at_the_end_for_a_worker_that_hangs() {
        let (let_go, gate) = bounded::<()>(0);
        let (at_it, began) = bounded(1);
        let workers = Workers::start(2, Duration::ZERO, move |job| {
            let _ = at_it.send(());
            let _ = gate.recv();
            LookDone { id: job.id, seen: Seen::Closed }
        });
        workers.run(job(HANGS, true));
        began.recv().unwrap();
        let (told, ended) = bounded(1);
        std::thread::spawn(move || {
            drop(workers);
            told.send(())
        });
        ended.recv_timeout(SOON).expect("the end waits for the worker");
        drop(let_go);
    }
}
