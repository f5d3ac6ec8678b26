//! Packing contents on their way to the senders, by threads of their own.
//!
//! The director hands a message over as ever; its content goes by a packer, and the sender of the
//! lane waits for it in the order of the messages. One packer serves live changes alone, so that
//! they never wait for the backlog.

use std::sync::{Arc, Mutex};
use std::thread::Scope;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::error::Error;
use crate::flow::packing::Trials;
use crate::model::limits::{LANE_QUEUE, PACK_BYTES_MIN, PACKERS_MAX};
use crate::model::packing::{PackWhen, Packing};
use crate::model::stamp::Lane;
use crate::phases::call_thread;
use crate::phases::transfer::recall::hold;
use crate::phases::transfer::steering::{Manners, Steering};
use crate::wire::packing::Packer;

/// A content frame as it leaves, and how many bytes it holds if it is packed.
pub type Frame = (Vec<u8>, Option<u32>);

/// A content that a sender is to wait for.
pub enum Coming {
    /// Here, as it is.
    Plain(Vec<u8>),
    /// At a packer, with its bytes.
    Packed(u64, Receiver<Frame>),
}

struct Job {
    content: Vec<u8>,
    done: Sender<Frame>,
}

/// The way to the packers of one sink. They end with it.
pub struct Packers {
    /// By lane index; nothing if contents never are packed.
    jobs: Option<[Sender<Job>; 2]>,
    trials: Arc<Pace>,
}

/// How fast the backlog leaves, packed and plain.
pub struct Pace {
    trials: Mutex<Trials>,
    began: Instant,
}

impl Pace {
    /// A content of the backlog has left; its bytes before it was packed.
    pub fn sent(&self, bytes: u64) {
        hold(&self.trials).sent(bytes, self.began.elapsed());
    }
}

impl Packers {
    /// Starts the packers, if there is anything for them.
    ///
    /// # Errors
    /// When the system has no room.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        packing: Packing,
        steering: &Steering,
    ) -> Result<Packers, Error> {
        let trials = Mutex::new(Trials::new(packing.when));
        let trials = Arc::new(Pace { trials, began: Instant::now() });
        if packing.when == PackWhen::Never {
            return Ok(Packers { jobs: None, trials });
        }
        let [live, backlog] = [(); 2].map(|()| bounded::<Job>(LANE_QUEUE));
        let packer = Packer::new(packing.level)?;
        scope.spawn(move || pack(packer, &live.1, None));
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..cores.min(PACKERS_MAX) {
            let (packer, jobs) = (Packer::new(packing.level)?, backlog.1.clone());
            let manners = Some(Manners::new(steering.clone()));
            scope.spawn(move || pack(packer, &jobs, manners));
        }
        Ok(Packers { jobs: Some([live.0, backlog.0]), trials })
    }

    /// Tells how fast the backlog leaves.
    pub fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.trials)
    }

    /// Has a content packed if that may be of use. Never waits: while all packers are behind, it
    /// leaves as it is.
    pub fn hand_over(&self, lane: Lane, content: Vec<u8>) -> Coming {
        let Some(jobs) = &self.jobs else { return Coming::Plain(content) };
        if content.len() < PACK_BYTES_MIN || !hold(&self.trials.trials).packs() {
            return Coming::Plain(content);
        }
        let (done, coming) = bounded(1);
        let bytes = content.len() as u64;
        match jobs[lane.index()].try_send(Job { content, done }) {
            Ok(()) => Coming::Packed(bytes, coming),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                Coming::Plain(job.content)
            }
        }
    }
}

impl Coming {
    /// Bytes of the content.
    pub fn bytes(&self) -> u64 {
        match self {
            Coming::Plain(content) => content.len() as u64,
            Coming::Packed(bytes, _) => *bytes,
        }
    }

    /// Waits for the content; nothing if its packer is gone.
    pub fn wait(self) -> Option<Frame> {
        match self {
            Coming::Plain(content) => Some((content, None)),
            Coming::Packed(_, coming) => coming.recv().ok(),
        }
    }
}

/// Packs until no more comes.
fn pack(mut packer: Packer, jobs: &Receiver<Job>, mut manners: Option<Manners>) {
    call_thread(c"pack");
    for Job { content, done } in jobs {
        manners.as_mut().map(Manners::mind);
        let frame = match packer.pack(&content) {
            Ok(Some(packed)) => (packed, u32::try_from(content.len()).ok()),
            Ok(None) => (content, None),
            Err(error) => {
                tracing::warn!(%error, "A content leaves as it is");
                (content, None)
            }
        };
        // A sender that is gone waits for nothing.
        let _ = done.send(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::Packers;
    use crate::model::packing::{PackWhen, Packing};
    use crate::model::stamp::Lane;
    use crate::phases::transfer::steering::Steering;
    use crate::wire::packing::Unpacker;

    #[test]
    fn each_content_comes_back_to_its_own_message() {
        let packing = Packing { when: PackWhen::Always, ..Packing::default() };
        std::thread::scope(|scope| {
            let packers = Packers::start(scope, packing, &Steering::default()).unwrap();
            let content = |number: u32| number.to_le_bytes().repeat(10_000 + number as usize);
            let coming: Vec<_> = (0..200)
                .map(|number| packers.hand_over(Lane::ALL[number as usize % 2], content(number)))
                .collect();
            let mut unpacker = Unpacker::new().unwrap();
            for (number, coming) in coming.into_iter().enumerate() {
                let plain = content(number as u32);
                assert_eq!(coming.bytes(), plain.len() as u64);
                let (frame, packed) = coming.wait().unwrap();
                assert_eq!(packed, Some(plain.len() as u32));
                assert!(frame.len() < 1_000);
                assert_eq!(unpacker.unpack(&frame, packed.unwrap()).unwrap(), plain);
            }
            drop(packers);
        });
    }
}
