//! What can go wrong, where, and when: each cell of the matrix ends with equal trees, or with a
//! halt that says why.
//!
//! | fault | place | moment | test |
//! |---|---|---|---|
//! | `kill -9` | either side | first copy, live, cutover | `processes` |
//! | SIGSTOP | either side | first copy, live, cutover | `processes` |
//! | connection closed; reset in mid-message | between | first copy, live, cutover | `network` |
//! | half-open, until both give it up | between | first copy; all with `OSYNC_FAULTS=all` | `network` |
//! | directory removed, replaced; marker gone | sink | live | `places` |
//! | emptied, edited, put back from a copy | sink | while it was down | `places` |
//! | directory replaced by a symlink | sink | first copy | `places` |
//! | filesystem below the root goes, another comes | sink | live | `places` |
//! | flags set and taken off (`chattr`) | source | live | `live::whole` |
//! | grows, shrinks, vanishes, changes kind | source | while it is read | `moving` |
//! | no permission for one file | source | any | `moving` |
//! | disk full and freed again | sink | first copy | `live::room` |
//! | read-only for a while | sink | live | `disks` |
//! | disk fails at a barrier (EIO) | sink | first copy | `disks` |
//! | disk stands still | sink | live | `disks` |
//! | one file can't be read (EIO) | source | first copy | `disks` |
//! | one file can't be replaced (EBUSY) | sink | live | `disks` |
//! | power cut, on ext4, xfs and btrfs | sink | first copy | `disks` |
//! | root unmounted, emptied, replaced | source | live | `live::halts` |
//! | clock steps back and forth over a restart | either side | first copy | `clocks` |
//!
//! EIO is made without a device mapper: a file on btrfs whose checksum is wrong, and an image that
//! has less room behind it than it says. Not tried: a step of the kernel's own clock, which would
//! be the host's; edits at the sink while it runs that leave its marker alone (a closing sweep
//! finds them, by size and time).
//!
//! Those that need root or a block device of their own are ignored by `cargo test` and run by
//! `scripts/check.sh` where it can.

mod clocks;
mod disks;
mod moving;
mod network;
mod places;
mod processes;
mod rig;
