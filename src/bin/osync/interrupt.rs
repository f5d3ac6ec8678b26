//! Signals become levels of the one `Stop`.
//!
//! Ctrl-C at a sink first asks for the termination phase; again, or at a source, it stops at
//! once. SIGTERM and SIGHUP stop at once. When even that takes too long, one more Ctrl-C ends the
//! process: what is on the disk is resumable at any moment.

use std::io;
use std::time::{Duration, Instant};

use osync::stop::{Stop, StopLevel};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;

/// How long an orderly stop may take before one more Ctrl-C ends the process.
const ORDERLY: Duration = Duration::from_secs(2);

/// What the first Ctrl-C means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstPress {
    /// The termination phase: at a sink.
    Terminate,
    /// Stop: at a source.
    Stop,
}

/// Begins to listen for signals; `say` tells a person what was understood.
pub fn listen(
    stop: Stop,
    first: FirstPress,
    say: impl Fn(&str) + Send + 'static,
) -> io::Result<()> {
    let mut wanted = vec![SIGINT, SIGTERM];
    if !is_hangup_ignored() {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted)?;
    let listen = move || {
        let mut stopped_at = None;
        for signal in signals.forever() {
            let late = stopped_at.is_some_and(|at: Instant| at.elapsed() > ORDERLY);
            match meaning(signal == SIGINT, stop.level(), first) {
                StopLevel::Terminate => {
                    say("Ending: drain, sweep, report. Ctrl-C again stops at once");
                    stop.raise(StopLevel::Terminate);
                }
                _ if late && signal == SIGINT => {
                    std::process::exit(i32::from(Exit::Interrupted.code()))
                }
                level => {
                    stopped_at = stopped_at.or(Some(Instant::now()));
                    stop.raise(level);
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen)?;
    Ok(())
}

/// What one more signal means.
fn meaning(is_ctrl_c: bool, level: StopLevel, first: FirstPress) -> StopLevel {
    if is_ctrl_c && level == StopLevel::Go && first == FirstPress::Terminate {
        StopLevel::Terminate
    } else {
        StopLevel::Now
    }
}

/// Whether somebody (nohup) wants this process to outlive its terminal.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use osync::stop::StopLevel::{Go, Now, Terminate};

    use super::{FirstPress, meaning};

    #[test]
    fn what_signals_mean() {
        for (ctrl_c, level, first, then) in [
            (true, Go, FirstPress::Terminate, Terminate),
            (true, Terminate, FirstPress::Terminate, Now),
            (true, Go, FirstPress::Stop, Now),
            (false, Go, FirstPress::Terminate, Now),
            (false, Terminate, FirstPress::Terminate, Now),
            (true, Now, FirstPress::Terminate, Now),
        ] {
            assert_eq!(meaning(ctrl_c, level, first), then);
        }
    }
}
