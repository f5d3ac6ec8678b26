//! The functions of libzmq.

use libc::{c_char, c_int, c_long, c_void, size_t};

use crate::{zmq_free_fn, zmq_msg_t, zmq_pollitem_t};

// Contexts and sockets are `*mut c_void`. A function that returns `c_int` returns -1 on failure,
// one that returns a pointer returns null; `zmq_errno` then tells why.

// The library.
extern "C" {
    /// The error number of the last failure in this thread.
    pub fn zmq_errno() -> c_int;
    /// The text for an error number; valid for ever.
    pub fn zmq_strerror(errnum: c_int) -> *const c_char;
    /// The version of the library that is linked.
    pub fn zmq_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int);
    /// 1 if the library has the capability (such as `curve`), else 0.
    pub fn zmq_has(capability: *const c_char) -> c_int;
}

// Contexts.
extern "C" {
    /// Makes a context.
    pub fn zmq_ctx_new() -> *mut c_void;
    /// Ends a context; waits until its sockets are closed and have lingered.
    pub fn zmq_ctx_term(context: *mut c_void) -> c_int;
    /// Makes blocking calls on the sockets of a context fail with `ETERM`.
    pub fn zmq_ctx_shutdown(context: *mut c_void) -> c_int;
    /// Sets a context option.
    pub fn zmq_ctx_set(context: *mut c_void, option: c_int, value: c_int) -> c_int;
    /// Reads a context option.
    pub fn zmq_ctx_get(context: *mut c_void, option: c_int) -> c_int;
}

// Messages.
extern "C" {
    /// Makes an empty message.
    pub fn zmq_msg_init(msg: *mut zmq_msg_t) -> c_int;
    /// Makes a message with `size` bytes of uninitialised room.
    pub fn zmq_msg_init_size(msg: *mut zmq_msg_t, size: size_t) -> c_int;
    /// Makes a message from `data` without a copy; `free`, if any, releases the data later,
    /// maybe in another thread.
    pub fn zmq_msg_init_data(
        msg: *mut zmq_msg_t,
        data: *mut c_void,
        size: size_t,
        free: Option<zmq_free_fn>,
        hint: *mut c_void,
    ) -> c_int;
    /// Releases a message.
    pub fn zmq_msg_close(msg: *mut zmq_msg_t) -> c_int;
    /// Sends a message, which is empty afterwards; returns its size.
    pub fn zmq_msg_send(msg: *mut zmq_msg_t, socket: *mut c_void, flags: c_int) -> c_int;
    /// Receives a message into one that has been initialised; returns its size.
    pub fn zmq_msg_recv(msg: *mut zmq_msg_t, socket: *mut c_void, flags: c_int) -> c_int;
    /// The bytes of a message.
    pub fn zmq_msg_data(msg: *mut zmq_msg_t) -> *mut c_void;
    /// The number of bytes of a message.
    pub fn zmq_msg_size(msg: *const zmq_msg_t) -> size_t;
    /// 1 if more parts of the same message follow, else 0.
    pub fn zmq_msg_more(msg: *const zmq_msg_t) -> c_int;
    /// A metadata property, owned by the message.
    pub fn zmq_msg_gets(msg: *const zmq_msg_t, property: *const c_char) -> *const c_char;
}

// Sockets.
extern "C" {
    /// Makes a socket.
    pub fn zmq_socket(context: *mut c_void, kind: c_int) -> *mut c_void;
    /// Closes a socket.
    pub fn zmq_close(socket: *mut c_void) -> c_int;
    /// Sets a socket option to the `len` bytes at `value`.
    pub fn zmq_setsockopt(
        socket: *mut c_void,
        option: c_int,
        value: *const c_void,
        len: size_t,
    ) -> c_int;
    /// Reads a socket option; `len` is the room at `value` before and the bytes used after.
    pub fn zmq_getsockopt(
        socket: *mut c_void,
        option: c_int,
        value: *mut c_void,
        len: *mut size_t,
    ) -> c_int;
    /// Accepts connections on an endpoint.
    pub fn zmq_bind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    /// Stops accepting connections on an endpoint.
    pub fn zmq_unbind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    /// Connects to an endpoint.
    pub fn zmq_connect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    /// Disconnects from an endpoint.
    pub fn zmq_disconnect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    /// Sends a copy of `len` bytes; returns their number.
    pub fn zmq_send(socket: *mut c_void, buf: *const c_void, len: size_t, flags: c_int) -> c_int;
    /// Receives into `buf`, cutting off what exceeds `len`; returns the size of the whole message.
    pub fn zmq_recv(socket: *mut c_void, buf: *mut c_void, len: size_t, flags: c_int) -> c_int;
    /// Reports the events of a socket on an `inproc` endpoint.
    pub fn zmq_socket_monitor(socket: *mut c_void, endpoint: *const c_char, events: c_int)
        -> c_int;
}

// Polling and proxies.
extern "C" {
    /// Waits for events, at most `timeout` milliseconds (-1: for ever); returns how many items
    /// have any.
    pub fn zmq_poll(items: *mut zmq_pollitem_t, count: c_int, timeout: c_long) -> c_int;
    /// Passes messages between two sockets until the context ends; `capture` may be null.
    pub fn zmq_proxy(frontend: *mut c_void, backend: *mut c_void, capture: *mut c_void) -> c_int;
    /// The same, obeying commands from `control`; `capture` and `control` may be null.
    pub fn zmq_proxy_steerable(
        frontend: *mut c_void,
        backend: *mut c_void,
        capture: *mut c_void,
        control: *mut c_void,
    ) -> c_int;
}

// Keys. A CURVE key is 32 bytes, and 40 characters and a final NUL as Z85 text.
extern "C" {
    /// Encodes `size` bytes (a multiple of 4) as Z85 text with a final NUL.
    pub fn zmq_z85_encode(dest: *mut c_char, data: *const u8, size: size_t) -> *mut c_char;
    /// Decodes Z85 text (a multiple of 5 characters).
    pub fn zmq_z85_decode(dest: *mut u8, text: *const c_char) -> *mut u8;
    /// Makes a CURVE key pair, as Z85 text.
    pub fn zmq_curve_keypair(public: *mut c_char, secret: *mut c_char) -> c_int;
    /// Derives the public key from a secret key, both as Z85 text.
    pub fn zmq_curve_public(public: *mut c_char, secret: *const c_char) -> c_int;
}
