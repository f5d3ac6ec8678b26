//! The threads that look at the source's disk, for the director.
//!
//! Urgent looks (live work waits for them) overtake all others; one worker takes nothing else, so
//! that slow backlog reads cannot hold live changes up.
//!
//! While the backlog is to be gentle, those that serve it become so, and leave urgent looks to the
//! others: the first two.
//!
//! A look may hang for as long as a server below the tree is dead. The director gives it up
//! (H17f); here another worker takes the place of the one that hangs, up to a bound. Workers are
//! joined at the end, but for those that hang: nobody could wait for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select_biased};

use crate::flow::crew::{Crew, Worked};
use crate::model::limits::{HUNG_WORKERS_MAX, LOOK_JOBS, LOOK_QUEUE};
use crate::model::look::{LookDone, LookJob};
use crate::model::stamp::Lane;
use crate::os::waiting::Account;
use crate::phases::call_thread;
use crate::phases::transfer::steering::{Manners, Steering};

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
    /// How many of them serve the backlog.
    size: Crew,
    /// A worker that is at one look for longer is taken to hang.
    patience: Duration,
}

/// What every worker works with.
#[derive(Clone)]
struct Bench {
    look: Look,
    steering: Steering,
    urgent: Receiver<LookJob>,
    lazy: Receiver<LookJob>,
    results: Sender<LookDone>,
    spent: Arc<Spent>,
}

/// Nanoseconds that workers of the backlog spent since that was last asked for.
#[derive(Default)]
struct Spent {
    busy: AtomicU64,
    blocked: AtomicU64,
}

/// Which looks a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// Urgent ones alone.
    Urgent,
    /// All, urgent ones first; while the backlog is gentle, those of this lane alone.
    Any(Lane),
}

struct Worker {
    duty: Duty,
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
    /// There are enough without it.
    dismissed: bool,
}

impl Workers {
    /// Starts `count` workers, two at least, and keeps no fewer; they end when the `Workers` are
    /// dropped. One that is at a look for longer than `patience` is taken to hang.
    pub fn start(
        count: usize,
        patience: Duration,
        steering: &Steering,
        look: impl Fn(&LookJob) -> LookDone + Send + Sync + 'static,
    ) -> Workers {
        let (urgent, urgents) = bounded::<LookJob>(LOOK_JOBS);
        let (lazy, lazies) = bounded::<LookJob>(LOOK_JOBS);
        let (results, done) = bounded(LOOK_QUEUE);
        let look: Look = Arc::new(look);
        let steering = steering.clone();
        let spent = Arc::default();
        let bench = Bench { look, steering, urgent: urgents, lazy: lazies, results, spent };
        let first = [Duty::Urgent, Duty::Any(Lane::Live)];
        let others = std::iter::repeat(Duty::Any(Lane::Backlog));
        let duties = first.into_iter().take(count.clamp(2, 3) - 1).chain(others);
        let crew: Vec<Worker> = duties.take(count.max(2)).map(|duty| bench.employ(duty)).collect();
        let size = Crew::new(crew.iter().filter(|worker| worker.is_lazy()).count());
        Workers { urgent, lazy, done, bench, crew, size, patience }
    }

    /// Hands a job over. The queue has room for every look that the director may have under way.
    pub fn run(&self, job: LookJob) {
        let queue = if job.urgent { &self.urgent } else { &self.lazy };
        // Fails only when all workers are gone, and then nobody waits for the result.
        let _ = queue.send(job);
    }

    /// Employs more workers for the backlog, or lets some go, by what they waited for since the
    /// last call. To be called every now and then.
    pub fn fit(&mut self) {
        let spent = |nanos: &AtomicU64| Duration::from_nanos(nanos.swap(0, Ordering::Relaxed));
        let worked = Worked {
            waiting: self.lazy.len(),
            busy: spent(&self.bench.spent.busy),
            blocked: spent(&self.bench.spent.blocked),
        };
        let wanted = self.size.fit(&worked);
        let here: Vec<&Worker> = self.crew.iter().filter(|worker| worker.is_here()).collect();
        let count = here.len();
        for worker in here.into_iter().skip(wanted) {
            lock(&worker.post).dismissed = true;
        }
        if count != wanted {
            tracing::debug!(count, wanted, ?worked, "workers of the backlog");
        }
        self.crew.extend((count..wanted).map(|_| self.bench.employ(Duty::Any(Lane::Backlog))));
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
                new.push(self.bench.employ(worker.duty));
            }
        }
        self.crew.extend(new);
        hung
    }
}

impl Worker {
    fn is_lazy(&self) -> bool {
        self.duty == Duty::Any(Lane::Backlog)
    }

    /// Whether it serves the backlog, and will after its look.
    fn is_here(&self) -> bool {
        let post = lock(&self.post);
        self.is_lazy() && !post.replaced && !post.dismissed && !self.thread.is_finished()
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
    fn employ(&self, duty: Duty) -> Worker {
        let post = Arc::new(Mutex::new(Post::default()));
        let (bench, own) = (self.clone(), Arc::clone(&post));
        let thread = std::thread::spawn(move || bench.serve(duty, &own));
        Worker { duty, post, thread }
    }

    /// Works until nobody wants it any more, or another has taken its place.
    fn serve(&self, duty: Duty, post: &Mutex<Post>) {
        call_thread(if duty == Duty::Urgent { c"look-live" } else { c"look" });
        let mut manners = Manners::new(self.steering.clone());
        let nothing = never();
        let account = Account::open();
        while !lock(post).dismissed {
            let (urgent, lazy) = match duty {
                Duty::Urgent => (&self.urgent, &nothing),
                Duty::Any(Lane::Live) if manners.is_gentle() => (&self.urgent, &nothing),
                Duty::Any(Lane::Backlog) if manners.mind() => (&nothing, &self.lazy),
                Duty::Any(_) => (&self.urgent, &self.lazy),
            };
            let job = select_biased! {
                recv(urgent) -> job => job,
                recv(lazy) -> job => job,
                default(IDLE) => continue,
            };
            let Ok(job) = job else { return };
            let (began, active) = (Instant::now(), account.active());
            lock(post).since = Some(began);
            let done = (self.look)(&job);
            if duty == Duty::Any(Lane::Backlog) {
                self.spent.add(began.elapsed(), active.zip(account.active()));
            }
            let told = self.results.send(done);
            let mut post = lock(post);
            post.since = None;
            if told.is_err() || post.replaced {
                return;
            }
        }
    }
}

impl Spent {
    /// Adds the time of one look, by what the thread's account said before and after it.
    fn add(&self, busy: Duration, active: Option<(Duration, Duration)>) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Where there is no account nobody is thought to wait.
        let active = active.map_or(busy, |(before, after)| after.saturating_sub(before));
        self.busy.fetch_add(nanos(busy), Ordering::Relaxed);
        self.blocked.fetch_add(nanos(busy.saturating_sub(active)), Ordering::Relaxed);
    }
}

fn lock(post: &Mutex<Post>) -> MutexGuard<'_, Post> {
    post.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::{Steering, Workers};
    use crate::model::limits::{HUNG_WORKERS_MAX, LOOKERS_MAX};
    use crate::model::look::{DirAddress, LookDone, LookJob, Seen, Task};
    use crate::model::path::RelPath;
    use crate::model::setting::Setting;
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
        let mut workers = Workers::start(2, Duration::ZERO, &Steering::default(), move |job| {
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
    fn while_the_backlog_is_gentle_no_gentle_thread_takes_an_urgent_look() {
        let steering = Steering::default();
        steering.set(Setting::parse("nice", "9").unwrap()).unwrap();
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let plain = nice();
        let (tell, told) = bounded(100);
        let workers = Workers::start(4, SOON, &steering, move |job| {
            tell.send((job.urgent, nice())).unwrap();
            LookDone { id: job.id, seen: Seen::Closed }
        });
        for id in 0..50 {
            workers.run(job(id, id % 2 == 0));
        }
        for _ in 0..50 {
            let (is_urgent, nice) = told.recv_timeout(SOON).unwrap();
            assert_eq!(nice, if is_urgent { plain } else { 9 });
        }
    }

    #[test]
    fn workers_that_wait_get_company_which_leaves_again() {
        let (let_go, gate) = bounded::<()>(0);
        let look = move |job: &LookJob| {
            let _ = gate.recv();
            LookDone { id: job.id, seen: Seen::Closed }
        };
        let mut workers = Workers::start(4, SOON, &Steering::default(), look);
        let here = |workers: &Workers| workers.crew.iter().filter(|one| one.is_here()).count();
        let least = here(&workers);
        let mut id = 0;
        while here(&workers) == least && id < 10_000 {
            while workers.lazy.len() < 8 {
                id += 1;
                workers.run(job(id, false));
            }
            std::thread::sleep(Duration::from_millis(1));
            let_go.send(()).unwrap();
            workers.fit();
        }
        assert!(here(&workers) > least, "after {id} looks there are {least} still");
        drop(let_go);
        while !workers.lazy.is_empty() {
            std::thread::yield_now();
        }
        for _ in 0..LOOKERS_MAX {
            workers.fit();
        }
        assert_eq!(here(&workers), least);
        while workers.crew.len() > 4 {
            workers.replace_hung();
            std::thread::yield_now();
        }
    }

    #[test]
    fn nobody_waits_at_the_end_for_a_worker_that_hangs() {
        let (let_go, gate) = bounded::<()>(0);
        let (at_it, began) = bounded(1);
        let workers = Workers::start(2, Duration::ZERO, &Steering::default(), move |job| {
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
