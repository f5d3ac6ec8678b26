//! How memory is taken from the system: messages of half a megabyte come and go all the time, in
//! threads that hand them to each other.
//!
//! Left to itself the C library would give each of them back to the kernel and take it again, page
//! by page, which took a twentieth of all the time of a first copy; and it would keep an arena for
//! each of two dozen threads.

/// Bytes from which a piece of memory is the kernel's again as soon as it is free: more than any
/// message.
#[cfg(target_env = "gnu")]
const APART: libc::c_int = 8 << 20;
/// Free bytes at the end of an arena that are kept.
#[cfg(target_env = "gnu")]
const SPARE: libc::c_int = 2 << 20;
/// Arenas: more would only keep more spare.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// To be called before there are threads. Other C libraries have no such settings.
pub fn settle() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in [
        (libc::M_MMAP_THRESHOLD, APART),
        (libc::M_TRIM_THRESHOLD, SPARE),
        (libc::M_ARENA_MAX, ARENAS),
    ] {
        // SAFETY: takes numbers alone; one that it does not know is refused, and changes nothing.
        unsafe { libc::mallopt(setting, value) };
    }
}
