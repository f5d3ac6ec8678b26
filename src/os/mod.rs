//! What is asked of the system that is neither disk nor network: the local time of day, how gentle
//! a thread is, and for how long it has worked. Each file holds one sort of question and nothing
//! else.

pub mod clock;
pub mod priority;
pub mod waiting;
