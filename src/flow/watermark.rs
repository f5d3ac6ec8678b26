//! Stamps taken and not yet answered, and the watermark below them (law 3, H18).

use std::collections::BTreeMap;

use crate::model::stamp::Stamp;

/// Deals out the stamps of one epoch and knows which are still open.
#[derive(Debug, Default)]
pub struct Stamps {
    last: u64,
    open: BTreeMap<u64, u32>,
    /// Watermarks that are not to be passed yet.
    pins: BTreeMap<u64, u32>,
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

    /// The highest stamp below every open one, and not beyond a pin.
    #[must_use]
    pub fn watermark(&self) -> Stamp {
        let pinned = self.pins.keys().next().copied().unwrap_or(u64::MAX);
        Stamp(self.lowest().min(pinned))
    }

    /// Keeps the watermark from passing where it would be now: the sink remembers every stamp above
    /// that is not answered yet, or not yet taken. Pins do not hold each other up.
    pub fn pin(&mut self) -> Stamp {
        let at = self.lowest();
        *self.pins.entry(at).or_insert(0) += 1;
        Stamp(at)
    }

    /// The same once more, for an operation that relies on it.
    pub fn pin_again(&mut self, at: Stamp) {
        *self.pins.entry(at.0).or_insert(0) += 1;
    }

    /// Takes a pin away.
    pub fn unpin(&mut self, at: Stamp) {
        if let Some(held) = self.pins.get_mut(&at.0) {
            *held -= 1;
            if *held == 0 {
                self.pins.remove(&at.0);
            }
        }
    }

    fn lowest(&self) -> u64 {
        self.open.keys().next().map_or(self.last, |first| first - 1)
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

    #[test]
    fn pins_hold_the_watermark_and_not_each_other() {
        let mut stamps = Stamps::default();
        let first = stamps.take();
        let pin = stamps.pin();
        stamps.release(first);
        assert_eq!((pin, stamps.watermark()), (Stamp(0), Stamp(0)));
        let next = stamps.pin();
        assert_eq!(next, Stamp(1), "where it would be without the first");
        stamps.unpin(pin);
        assert_eq!(stamps.watermark(), Stamp(1));
        stamps.take();
        stamps.unpin(next);
        assert_eq!(stamps.watermark(), Stamp(1));
    }
}
