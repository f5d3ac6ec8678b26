//! The transfer phase: live changes first, the backlog in what room is left, reports coming back.
//!
//! `source` runs the director over the real disk and the real network; `sink` receives, applies
//! and reports.

pub mod attendance;
pub mod link;
pub mod sessions;
pub mod sink;
pub mod source;
pub mod workers;
