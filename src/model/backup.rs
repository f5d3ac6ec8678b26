//! What becomes of what a sink removes or replaces.

use std::path::PathBuf;

/// What becomes of what a sink removes or replaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Backup {
    /// It goes.
    #[default]
    Nothing,
    /// It is kept in the staging directory until a session has ended equal.
    Trash,
    /// It is kept in this directory, absolute, which osync never empties.
    Dir(PathBuf),
}
