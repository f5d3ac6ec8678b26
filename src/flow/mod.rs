//! Pure decisions, no I/O: what to look at, what to send, what to believe, what to apply.
//!
//! Everything here can be driven by a simulation as well as by the real phases. Time is an
//! argument: a `Duration` since some start, never read here.

pub mod allowance;
pub mod applier;
pub mod blindness;
pub mod bucket;
pub mod credit;
pub mod crew;
pub mod director;
pub mod ease;
pub mod halts;
pub mod halves;
pub mod latency;
pub mod ledger;
pub mod map;
pub mod marks;
pub mod pace;
pub mod packing;
pub mod problems;
pub mod room;
pub mod session;
pub mod stall;
pub mod stamps;
pub mod watermark;
