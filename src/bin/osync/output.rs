//! The two ways out: standard output for scripts, standard error for people. Lines for people go
//! through the progress bars, so that neither spoils the other.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::MultiProgress;
use osync::control::tame;
use serde::Serialize;

/// All bars of the process; they draw on standard error, and only if it is a terminal.
pub fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// Whether people look at standard error as it comes.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Tells people one thing, on a line of its own.
pub fn tell(text: &str) {
    // When standard error is gone there is nobody to tell.
    let _ = LogLine.write_all(format!("{}\n", tame(text)).as_bytes());
}

/// Hands scripts, or whoever asked, one line; flushed at once.
///
/// An error means that nobody reads any more.
pub fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Hands scripts one object on a line; flushed at once.
pub fn print_json(object: &impl Serialize) -> io::Result<()> {
    print(&serde_json::to_string(object)?)
}

/// Standard error for the log: each write is whole lines.
pub struct LogLine;

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
