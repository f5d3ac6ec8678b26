//! The calls of libzmq that the `zmq` crate lacks, or whose errors it would panic on: its list of
//! error numbers is short, and binding to an address meets others (no IPv6, full tables).

use std::ffi::{CStr, CString, c_int, c_void};
use std::io;

use crate::model::key::{KEY_BYTES, PublicKey, SecretKey};

/// First of libzmq's own error numbers; those below are the system's.
const OWN_ERRORS: c_int = 156_384_712;

/// `ZMQ_ZAP_ENFORCE_DOMAIN`: refuse everybody if nobody answers for the domain.
const ZAP_ENFORCE_DOMAIN: c_int = 93;

fn last_error() -> io::Error {
    // SAFETY: reads a number of this thread.
    let number = unsafe { zmq_sys::zmq_errno() };
    if number < OWN_ERRORS {
        return io::Error::from_raw_os_error(number);
    }
    // SAFETY: `zmq_strerror` returns a static string that ends in NUL, for any number.
    let text = unsafe { CStr::from_ptr(zmq_sys::zmq_strerror(number)) };
    io::Error::other(text.to_string_lossy().into_owned())
}

fn text(endpoint: &str) -> io::Result<CString> {
    CString::new(endpoint).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Binds, and says with the system's own error why not.
pub(super) fn bind(socket: &mut zmq::Socket, endpoint: &str) -> io::Result<()> {
    let endpoint = text(endpoint)?;
    // SAFETY: the socket is open and ours alone while borrowed; the text ends in NUL.
    match unsafe { zmq_sys::zmq_bind(socket.as_mut_ptr(), endpoint.as_ptr()) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Begins to connect, and says with the system's own error why not.
pub(super) fn connect(socket: &mut zmq::Socket, endpoint: &str) -> io::Result<()> {
    let endpoint = text(endpoint)?;
    // SAFETY: the socket is open and ours alone while borrowed; the text ends in NUL.
    match unsafe { zmq_sys::zmq_connect(socket.as_mut_ptr(), endpoint.as_ptr()) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Ends the events of a socket.
pub(super) fn stop_events(socket: &mut zmq::Socket) {
    // SAFETY: the socket is open and ours alone while borrowed; no endpoint means "stop".
    unsafe { zmq_sys::zmq_socket_monitor(socket.as_mut_ptr(), std::ptr::null(), 0) };
}

/// Makes a missing gatekeeper mean "nobody" and not "everybody".
pub(super) fn enforce_domain(socket: &mut zmq::Socket) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the option takes an int; the library copies it before it returns.
    let code = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            ZAP_ENFORCE_DOMAIN,
            (&raw const on).cast::<c_void>(),
            size_of::<c_int>(),
        )
    };
    if code == 0 { Ok(()) } else { Err(last_error()) }
}

/// The public half that belongs to a secret key.
pub(super) fn public_key(secret: &SecretKey) -> io::Result<PublicKey> {
    let broken = |_| io::Error::other("the key can't be encoded");
    let secret = zmq::z85_encode(secret.expose()).map_err(|_| broken(()))?;
    let secret = text(&secret)?;
    // 40 characters and a NUL.
    let mut public = [0u8; KEY_BYTES / 4 * 5 + 1];
    // SAFETY: both texts have 41 bytes, as the call wants; it writes no more than that.
    let code = unsafe { zmq_sys::zmq_curve_public(public.as_mut_ptr().cast(), secret.as_ptr()) };
    if code != 0 {
        return Err(last_error());
    }
    let digits = CStr::from_bytes_until_nul(&public).map_err(|_| broken(()))?;
    let bytes = zmq::z85_decode(&digits.to_string_lossy()).map_err(|_| broken(()))?;
    PublicKey::from_slice(&bytes).map_err(|_| broken(()))
}
