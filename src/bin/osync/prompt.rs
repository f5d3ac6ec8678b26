//! Asks the person at the terminal for one line, without being deaf to Ctrl-C meanwhile.

use std::io;
use std::os::fd::AsFd;

use osync::model::limits::INVITE_BYTES_MAX;
use osync::stop::Stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How soon Ctrl-C is noticed.
const BEAT: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Reads a line from standard input; `None` if it is empty, at the end, or a person said stop.
pub fn line(stop: &Stop) -> Option<String> {
    let input = io::stdin();
    let mut line = Vec::new();
    while !stop.is_asked() && line.len() < INVITE_BYTES_MAX {
        let mut ready = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
        match poll(&mut ready, Some(&BEAT)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return None,
        }
        // Straight from the descriptor: a buffer would hide from `poll` what it has read ahead.
        let mut bytes = [0; 512];
        match rustix::io::read(input.as_fd(), &mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(count) => line.extend_from_slice(&bytes[..count]),
        }
        if line.contains(&b'\n') {
            break;
        }
    }
    if stop.is_asked() {
        return None;
    }
    let text = String::from_utf8_lossy(&line);
    let text = text.lines().next().unwrap_or_default().trim();
    (!text.is_empty()).then(|| text.to_owned())
}
