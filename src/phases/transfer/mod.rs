//! The transfer phase: live changes first, the backlog in what room is left, reports coming back.
//!
//! - At the source `source` runs the director over the real disk and the real network; `sessions`
//!   are its sinks, `link` the sockets of one, `workers` look at the disk, `recall` is what the
//!   ledgers know of what they see.
//! - At the sink `sink` runs one epoch; `applying` takes the lanes in, `reporting` answers,
//!   `conduct` keeps in touch and ends the session; `pulse` is what these share, `standing` what
//!   people see.
//! - At both `steering` is what a person limits, and how the threads of the backlog heed it.

pub mod applying;
pub mod conduct;
pub mod durability;
pub mod link;
mod packing;
pub mod pulse;
pub mod recall;
pub mod reporting;
pub mod sessions;
pub mod sink;
pub mod source;
pub mod standing;
pub mod steering;
pub mod workers;
