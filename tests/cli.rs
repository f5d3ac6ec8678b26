//! The command line as people and scripts meet it: help texts, refusals, the control socket.

mod control;
mod errors;
mod help;
mod keys;

use std::path::Path;

use assert_cmd::Command;

/// The program, with nothing of this host's surroundings that could change what it says.
fn osync() -> Command {
    let mut command = Command::cargo_bin("osync").unwrap();
    command.env_remove("OSYNC_INVITE").env_remove("RUST_LOG").env_remove("COLUMNS");
    command
}

/// Runs it; exit code, standard output, standard error, with `dir` written as `[DIR]`.
fn run(args: &[&str], dir: &Path) -> (i32, String, String) {
    let output = osync().args(args).output().unwrap();
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).unwrap().replace(dir.to_str().unwrap(), "[DIR]")
    };
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}
