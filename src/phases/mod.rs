//! The three phases of a session, each with both halves of its act.

pub mod init;
pub mod termination;
pub mod transfer;
