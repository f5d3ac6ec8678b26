//! Error numbers that `zmq_errno` may return.

use libc::c_int;

// System errors: the numbers of the platform.
pub use libc::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EBUSY, ECONNREFUSED, EFAULT, EHOSTUNREACH,
    EINPROGRESS, EINTR, EINVAL, EMFILE, EMSGSIZE, ENAMETOOLONG, ENETDOWN, ENOBUFS, ENODEV, ENOENT,
    ENOMEM, ENOTCONN, ENOTSOCK, ENOTSUP, EPROTO, EPROTONOSUPPORT,
};

/// Start of the range that libzmq keeps for its own error numbers (`ZMQ_HAUSNUMERO`).
const BASE: c_int = 156_384_712;

// Stand-ins for system errors that a platform lacks. Linux has them all, so libzmq never returns
// these here; the `zmq` crate names them in its matches.

/// Stand-in for `ENOTSUP`.
pub const ENOTSUP_ALT: c_int = BASE + 1;
/// Stand-in for `EPROTONOSUPPORT`.
pub const EPROTONOSUPPORT_ALT: c_int = BASE + 2;
/// Stand-in for `ENOBUFS`.
pub const ENOBUFS_ALT: c_int = BASE + 3;
/// Stand-in for `ENETDOWN`.
pub const ENETDOWN_ALT: c_int = BASE + 4;
/// Stand-in for `EADDRINUSE`.
pub const EADDRINUSE_ALT: c_int = BASE + 5;
/// Stand-in for `EADDRNOTAVAIL`.
pub const EADDRNOTAVAIL_ALT: c_int = BASE + 6;
/// Stand-in for `ECONNREFUSED`.
pub const ECONNREFUSED_ALT: c_int = BASE + 7;
/// Stand-in for `EINPROGRESS`.
pub const EINPROGRESS_ALT: c_int = BASE + 8;
/// Stand-in for `ENOTSOCK`.
pub const ENOTSOCK_ALT: c_int = BASE + 9;
/// Stand-in for `EMSGSIZE`.
pub const EMSGSIZE_ALT: c_int = BASE + 10;

/// The socket is not in a state that allows this operation.
pub const EFSM: c_int = BASE + 51;
/// The transport does not suit the socket type.
pub const ENOCOMPATPROTO: c_int = BASE + 52;
/// The context is being terminated.
pub const ETERM: c_int = BASE + 53;
/// No I/O thread is available.
pub const EMTHREAD: c_int = BASE + 54;
