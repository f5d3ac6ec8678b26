//! The disk: looking at the source's tree, watching it, and changing the sink's tree.
//!
//! Every path is resolved beneath the open descriptor of a root, without following a symlink
//! anywhere (law 10). This floor knows values and errors; it knows neither sockets nor phases.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod beneath;
mod clone;
mod content;
pub mod distant;
mod keeping;
mod lease;
pub mod lock;
pub mod looker;
pub mod nesting;
mod passage;
mod pathconf;
mod resident;
pub mod roots;
pub mod sink_root;
mod stat;
mod usage;
pub mod watch;
mod xattrs;

/// Locks, also after another thread died with the lock: what our locks guard is whole at any time.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
