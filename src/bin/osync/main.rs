//! The `osync` program: all that touches a human. The work is the library's.

mod ask;
mod cli;
mod cutover;
mod exit;
mod filters;
mod habits;
mod interrupt;
mod keys;
mod logs;
mod memory;
mod operate;
mod output;
mod owners;
mod packing;
mod pages;
mod parse;
mod plan;
mod progress;
mod prompt;
mod report;
mod resolve;
mod screen;

use std::process::ExitCode;

use clap::Parser;
use osync::error::Error;

use crate::cli::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    memory::settle();
    // clap itself ends with 2 for wrong usage.
    let cli = Cli::parse_from(packing::joined(std::env::args_os()));
    // A panic has been told by then; to scripts it is a failure like others.
    let exit = std::panic::catch_unwind(|| run(&cli)).unwrap_or(Exit::Failed);
    ExitCode::from(exit.code())
}

fn run(cli: &Cli) -> Exit {
    match logs::start(&cli.log).and_then(|()| obey(cli)) {
        Ok(exit) => exit,
        Err(error) => {
            output::tell(&format!("osync: {error}"));
            Exit::from(&error)
        }
    }
}

fn obey(cli: &Cli) -> Result<Exit, Error> {
    match &cli.command {
        Command::Source(args) => operate::source(args, &cli.log),
        Command::Sink(args) => operate::sink(args, &cli.log),
        Command::Local(args) => operate::local(args, &cli.log),
        Command::Cutover(args) => cutover::cutover(args),
        Command::Status(args) => ask::status(args),
        Command::Set(args) => ask::set(args),
        Command::Verify(_) => Err(not_yet("osync verify")),
        Command::Digest(_) => Err(not_yet("osync digest")),
        Command::Key(args) => keys::key(args),
        Command::Man(args) => pages::man(args),
        Command::Completions(args) => pages::completions(args.shell),
    }
}

fn not_yet(what: &str) -> Error {
    Error::Usage(format!("{what} is not in this version yet"))
}
