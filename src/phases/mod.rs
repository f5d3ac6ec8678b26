//! The three phases of a session, each with both halves of its act.

use std::ffi::CStr;

pub mod init;
pub mod termination;
pub mod transfer;

/// Gives this thread a name that people see beside what it costs (`top -H`, `perf`); at most 15
/// bytes, and of no meaning to anything here.
pub(crate) fn call_thread(name: &CStr) {
    // A thread without a name works as well.
    let _ = rustix::thread::set_name(name);
}
