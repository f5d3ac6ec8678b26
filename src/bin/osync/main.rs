//! osync.
fn main() {}
