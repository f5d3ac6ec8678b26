//! Where the log goes: to a file, or to standard error between the progress bars.

use std::fs::OpenOptions;
use std::sync::Mutex;

use osync::error::Error;
use tracing_subscriber::EnvFilter;

use crate::cli::LogArgs;
use crate::output::LogLine;

/// Begins to log. RUST_LOG goes before `-v`; a file gets one level more than standard error.
pub fn start(args: &LogArgs) -> Result<(), Error> {
    let level = match usize::from(args.verbose) + usize::from(args.log_file.is_some()) {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = match std::env::var("RUST_LOG") {
        Ok(wish) if !wish.is_empty() => EnvFilter::try_new(&wish)
            .map_err(|error| Error::Usage(format!("RUST_LOG makes no sense: {error}")))?,
        _ => EnvFilter::new(level),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    match &args.log_file {
        Some(path) => {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| Error::disk("Can't open the log file", path, error))?;
            builder.with_writer(Mutex::new(file)).init();
        }
        None => builder.with_writer(|| LogLine).init(),
    }
    Ok(())
}
