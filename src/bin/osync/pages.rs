//! The manual and the completions, from the one definition of the command line.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use osync::error::Error;

use crate::ask::told;
use crate::cli::{Cli, ManArgs};
use crate::exit::Exit;

/// `osync man`.
pub fn man(args: &ManArgs) -> Result<Exit, Error> {
    match &args.directory {
        Some(directory) => clap_mangen::generate_to(Cli::command(), directory)
            .map(|()| Exit::Done)
            .map_err(|error| Error::disk("Can't write the manual to", directory, error)),
        None => told(Man::new(Cli::command()).render(&mut io::stdout().lock())),
    }
}

/// `osync completions`.
pub fn completions(shell: Shell) -> Result<Exit, Error> {
    let mut page = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "osync", &mut page);
    told(io::Write::write_all(&mut io::stdout().lock(), &page))
}
