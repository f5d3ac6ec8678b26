//! What is asked of the system that is neither disk nor network: the local time of day, and how
//! gentle a thread is. Each file holds one sort of system call and nothing else.

pub mod clock;
pub mod priority;
