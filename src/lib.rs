//! osync moves a pool of many million files from an old host to a new one while people keep
//! working on it. See ARCHITECTURE.md for a map of this crate and PROTOCOL.md for what travels.

#![cfg_attr(not(test), forbid(clippy::exit))]

pub mod config;
pub mod control;
pub mod ended;
pub mod error;
pub mod flow;
pub mod keyring;
pub mod local;
pub mod model;
pub mod monitor;
pub mod net;
pub mod os;
pub mod phases;
pub mod sink;
pub mod source;
pub mod state;
pub mod stop;
pub mod tree;
pub mod wire;
