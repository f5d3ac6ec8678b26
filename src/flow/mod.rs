//! Pure decisions, no I/O: what to look at, what to send, what to believe, what to apply.
//!
//! Everything here can be driven by a simulation as well as by the real phases.

pub mod applier;
pub mod stamps;
