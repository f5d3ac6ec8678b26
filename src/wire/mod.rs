//! Values to bytes and back: the messages of PROTOCOL.md. No socket is touched here.

pub mod codec;
pub mod command;
pub mod data;
pub mod packing;
