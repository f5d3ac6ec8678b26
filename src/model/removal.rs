//! How many removals are too many (law 9).

/// How many removals halt all removals until a person says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MaxDelete {
    /// More than half of a pool of more than [`MaxDelete::SMALL_POOL`] names, and all of one of
    /// more than [`MaxDelete::TINY_POOL`].
    #[default]
    Half,
    /// More than this many.
    Names(u64),
    /// More than this share of the pool, in percent.
    Percent(u8),
}

impl MaxDelete {
    /// A pool up to this many names may lose any number of them by default, but not all.
    pub const SMALL_POOL: u64 = 1_000;
    /// A pool up to this many names may lose all of them by default.
    pub const TINY_POOL: u64 = 10;

    /// Whether the size of the pool has to be known to say what is too much.
    #[must_use]
    pub fn is_share(self) -> bool {
        !matches!(self, MaxDelete::Names(_))
    }

    /// Whether `removals` out of a pool of `names` are too many.
    #[must_use]
    pub fn is_exceeded(self, removals: u64, names: u64) -> bool {
        let share = |percent: u64| {
            u128::from(removals) * 100 > u128::from(names) * u128::from(percent) && removals > 0
        };
        match self {
            MaxDelete::Half if names > Self::SMALL_POOL => share(50),
            MaxDelete::Half => names > Self::TINY_POOL && removals >= names,
            MaxDelete::Names(most) => removals > most,
            MaxDelete::Percent(percent) => share(u64::from(percent)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MaxDelete;

    #[test]
    fn too_many_removals_by_count_by_share_and_by_default() {
        for (limit, removals, names, exceeded) in [
            (MaxDelete::Half, 10, 10, false),
            (MaxDelete::Half, 11, 11, true),
            (MaxDelete::Half, 999, 1_000, false),
            (MaxDelete::Half, 500, 1_001, false),
            (MaxDelete::Half, 501, 1_001, true),
            (MaxDelete::Names(0), 0, 5, false),
            (MaxDelete::Names(0), 1, 5, true),
            (MaxDelete::Percent(10), 10, 100, false),
            (MaxDelete::Percent(10), 11, 100, true),
            (MaxDelete::Percent(100), u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(limit.is_exceeded(removals, names), exceeded, "{limit:?} {removals}");
        }
    }
}
