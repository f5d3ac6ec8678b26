//! Whether contents are packed on their way.

use crate::model::limits::PACK_LEVEL_DEFAULT;

/// What a source does to contents before they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Whether they are packed at all.
    pub when: PackWhen,
    /// The level of zstd, from 1 to `PACK_LEVEL_MAX`.
    pub level: i32,
}

/// When contents are packed; never those that do not shrink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PackWhen {
    /// Never.
    #[default]
    Never,
    /// Always.
    Always,
    /// While the backlog moves faster for it.
    Auto,
}

impl Default for Packing {
    fn default() -> Packing {
        Packing { when: PackWhen::default(), level: PACK_LEVEL_DEFAULT }
    }
}
