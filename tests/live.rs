//! Real binaries over CURVE on loopback: whole migrations, losses, refusals, judged by rsync.
//!
//! Each test has its own directories, state and ports. Those that take long or need root are
//! ignored by `cargo test` and run by `scripts/check.sh` or `scripts/soak.sh`.

mod backup;
mod deep;
mod delta;
mod dry;
mod faults;
mod foreign;
mod halts;
mod kills;
mod limits;
mod links;
mod migrate;
mod once;
mod ordinary;
mod packing;
mod refusals;
mod registers;
mod room;
mod selection;
mod silent;
mod starts;
mod steering;
mod watchers;
mod whole;
mod words;
