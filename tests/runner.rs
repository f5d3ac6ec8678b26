//! The one test binary: each module below is a folder or a file beside this one. The tidy test
//! fails when a module of this folder is not listed here.

// Clippy knows tests by their attribute and takes helpers between them for product code.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::unwrap_used)]

mod cli;
mod live;
mod sim;
mod support;
mod tidy;
mod wire;
