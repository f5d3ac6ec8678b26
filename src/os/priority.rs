//! How gentle a thread is about the processor and the disk. Linux counts both for each thread.

use std::io;

use crate::model::priority::{IoPriority, Priority};

/// `IOPRIO_WHO_PROCESS` of the kernel's interface: one thread; with 0 the calling one.
const WHO_THREAD: libc::c_int = 1;
/// Where the class stands in a priority, and what the classes are.
const CLASS_SHIFT: libc::c_int = 13;
const CLASS_BEST_EFFORT: libc::c_int = 2;
const CLASS_IDLE: libc::c_int = 3;

/// Makes the calling thread as gentle as that, and no less gentle than the process was started.
///
/// # Errors
/// When the system does not allow it: an ordinary user's thread can't become less nice again.
pub fn set_own(priority: Priority) -> io::Result<()> {
    // The first thread stays as the process was started.
    let first = rustix::process::getpid();
    let nice = rustix::process::getpriority_process(Some(first))?;
    rustix::process::setpriority_process(None, nice.max(priority.nice.value().into()))?;
    let value = match priority.io {
        IoPriority::None => io_of(first.as_raw_nonzero().get())?,
        IoPriority::BestEffort(level) => {
            CLASS_BEST_EFFORT << CLASS_SHIFT | libc::c_int::from(level)
        }
        IoPriority::Idle => CLASS_IDLE << CLASS_SHIFT,
    };
    // SAFETY: three numbers go in, none is a pointer.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_THREAD, 0, value) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The class and level of a thread, as the kernel writes them.
fn io_of(thread: libc::pid_t) -> io::Result<libc::c_int> {
    // SAFETY: two numbers go in, none is a pointer.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_THREAD, thread) };
    // It fits: the kernel's type is this one.
    libc::c_int::try_from(value)
        .ok()
        .filter(|value| *value >= 0)
        .ok_or_else(io::Error::last_os_error)
}

/// Tries whether a thread that is as gentle as `from` can become as gentle as `to`, with one that
/// does nothing else.
///
/// # Errors
/// As `set_own`.
pub fn try_change(from: Priority, to: Priority) -> io::Result<()> {
    let tried = std::thread::spawn(move || set_own(from).and_then(|()| set_own(to))).join();
    tried.unwrap_or_else(|_| Err(io::Error::other("the thread that tried it has died")))
}

#[cfg(test)]
mod tests {
    use super::{io_of, set_own, try_change};
    use crate::model::priority::{IoPriority, Priority};

    fn priority(nice: &str, io: IoPriority) -> Priority {
        Priority { nice: nice.parse().unwrap(), io }
    }

    /// What the calling thread has: niceness and the number of its class and level.
    fn own() -> (i32, i32) {
        (rustix::process::getpriority_process(None).unwrap(), io_of(0).unwrap())
    }

    #[test]
    fn a_thread_becomes_gentle_and_no_other_does() {
        let before = own();
        let set = |priority| {
            std::thread::spawn(move || set_own(priority).map(|()| own())).join().unwrap().unwrap()
        };
        assert_eq!(set(priority("10", IoPriority::Idle)), (10, 3 << 13));
        assert_eq!(set(priority("19", IoPriority::BestEffort(7))), (19, (2 << 13) + 7));
        try_change(Priority::default(), priority("5", IoPriority::Idle)).unwrap();
        assert_eq!(own(), before);
    }
}
