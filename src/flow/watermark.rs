//! Stamps taken and not yet answered, and the watermark below them (law 3, H18).

use std::collections::BTreeMap;

use crate::model::stamp::Stamp;

/// Deals out the stamps of one epoch and knows which are still open.
#[derive(Debug, Default)]
pub struct Stamps {
    last: u64,
    open: BTreeMap<u64, u32>,
}

impl Stamps {
    /// A new stamp, greater than any before, held once.
    pub fn take(&mut self) -> Stamp {
        self.last += 1;
        self.open.insert(self.last, 1);
        Stamp(self.last)
    }

    /// Holds an open stamp once more: another operation bears it.
    pub fn hold(&mut self, stamp: Stamp) {
        *self.open.entry(stamp.0).or_insert(0) += 1;
    }

    /// Lets a stamp go once: an operation was answered, or a look given up.
    pub fn release(&mut self, stamp: Stamp) {
        if let Some(held) = self.open.get_mut(&stamp.0) {
            *held -= 1;
            if *held == 0 {
                self.open.remove(&stamp.0);
            }
        }
    }

    /// The highest stamp below every open one.
    #[must_use]
    pub fn watermark(&self) -> Stamp {
        Stamp(self.open.keys().next().map_or(self.last, |first| first - 1))
    }

    /// Whether no stamp is open.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Stamps;
    use crate::model::stamp::Stamp;

    #[test]
    fn h18_the_watermark_is_below_every_stamp_taken() {
        let mut stamps = Stamps::default();
        let (first, second) = (stamps.take(), stamps.take());
        stamps.hold(first);
        assert_eq!(stamps.watermark(), Stamp(0));
        stamps.release(first);
        assert_eq!(stamps.watermark(), Stamp(0), "still held once");
        stamps.release(second);
        assert_eq!(stamps.watermark(), Stamp(0));
        stamps.release(first);
        assert_eq!(stamps.watermark(), Stamp(2));
        assert!(stamps.is_quiet());
    }
}
