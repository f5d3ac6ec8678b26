//! Raw bindings to libzmq 4.3.5, built statically and with CURVE (see `build.rs`).
//!
//! This crate stands in for the published `zmq-sys` 0.12, whose libzmq has no CURVE. It declares
//! what the `zmq` crate 0.10 uses, and a little more. It is meant for Linux only. What the items
//! mean is told by the manual pages of libzmq, under the same names.

#![allow(non_camel_case_types)]

// Only its static library is needed: libzmq calls it.
use libsodium_sys as _;

mod constants;
pub mod errno;
mod functions;

pub use constants::*;
pub use functions::*;
pub use std::os::fd::RawFd;

use libc::{c_short, c_void};

/// A message, opaque to callers: 64 bytes, aligned like a pointer. It may move between threads.
#[repr(C)]
#[derive(Debug)]
pub struct zmq_msg_t {
    _align: [usize; 0],
    _opaque: [u8; 64],
}

impl Default for zmq_msg_t {
    /// Zeroed room for a message; one of the `zmq_msg_init*` functions has to fill it before use.
    fn default() -> Self {
        zmq_msg_t { _align: [], _opaque: [0; 64] }
    }
}

/// One entry for `zmq_poll`: a socket, or a file descriptor if `socket` is null.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct zmq_pollitem_t {
    /// The socket, or null.
    pub socket: *mut c_void,
    /// The file descriptor, used if `socket` is null.
    pub fd: RawFd,
    /// The events to wait for (`ZMQ_POLL*`).
    pub events: c_short,
    /// The events that have occurred.
    pub revents: c_short,
}

/// Called with `data` and `hint` when libzmq no longer needs the data of a message.
pub type zmq_free_fn = unsafe extern "C" fn(data: *mut c_void, hint: *mut c_void);
