//! The kernel's queue: bounded, in order, merging what repeats itself.

use std::collections::VecDeque;

use osync::model::event::{Event, Happening, Notice};
use osync::model::path::Name;

use super::{Disk, ModelTree, NodeId};

pub(super) struct Queue {
    waiting: VecDeque<Notice>,
    most: usize,
    tickets: Vec<u64>,
    pub(super) cookies: u32,
}

impl Queue {
    pub(super) fn new(most: usize) -> Queue {
        Queue { waiting: VecDeque::new(), most, tickets: Vec::new(), cookies: 0 }
    }

    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.tickets.clear();
    }

    pub(super) fn push(&mut self, notice: Notice) {
        if self.waiting.back() == Some(&notice) {
            return;
        }
        if self.waiting.len() < self.most {
            self.waiting.push_back(notice);
        } else if self.waiting.back() != Some(&Notice::Overflow) {
            self.waiting.push_back(Notice::Overflow);
        }
    }
}

impl ModelTree {
    /// Reads at most so many notices; tickets are told once the queue is empty.
    pub fn take_notices(&self, most: usize) -> Vec<Notice> {
        let queue = &mut self.disk().queue;
        let count = most.min(queue.waiting.len());
        let mut taken: Vec<Notice> = queue.waiting.drain(..count).collect();
        if queue.waiting.is_empty() {
            taken.extend(queue.tickets.drain(..).map(Notice::Drained));
        }
        taken
    }

    /// Asks to be told when the queue has been read empty.
    pub fn ask_drained(&self, ticket: u64) {
        self.disk().queue.tickets.push(ticket);
    }

    /// Whether there is nothing to read and nobody to tell so.
    pub fn is_drained(&self) -> bool {
        let queue = &self.disk().queue;
        queue.waiting.is_empty() && queue.tickets.is_empty()
    }

    /// How many notices wait.
    pub fn notices_waiting(&self) -> usize {
        self.disk().queue.waiting.len()
    }
}

impl Disk {
    /// A hint to whoever watches a directory.
    pub(super) fn tell(&mut self, dir: NodeId, what: Happening) {
        if let Some(&key) = self.watches.get(&dir) {
            self.queue.push(Notice::Event(Event { dir: key, what }));
        }
    }

    /// A rename: both halves, under one cookie.
    pub(super) fn tell_move(&mut self, from: (NodeId, &Name), to: (NodeId, &Name), is_dir: bool) {
        self.queue.cookies += 1;
        let cookie = self.queue.cookies;
        let name = from.1.clone();
        self.tell(from.0, Happening::MovedFrom { name, cookie, is_dir });
        let name = to.1.clone();
        self.tell(to.0, Happening::MovedTo { name, cookie, is_dir });
    }

    /// Attributes changed: told to the directory above and, of a directory, to itself.
    pub(super) fn tell_retouched(&mut self, place: Option<(NodeId, Name)>, id: NodeId) {
        let is_dir = self.nodes[id].is_dir();
        if let Some((dir, name)) = place {
            self.tell(dir, Happening::Retouched { name, is_dir });
        }
        if is_dir {
            self.tell(id, Happening::SelfRetouched);
        }
    }

    /// A directory is gone, and the watch on it. The kernel keeps that to itself as long as a
    /// worker has the directory open.
    pub(super) fn tell_gone(&mut self, id: NodeId) {
        if !self.kept.values().any(|&kept| kept == id) || self.dice.one_in(2) {
            self.tell(id, Happening::SelfGone);
        }
        self.watches.remove(&id);
    }
}
