//! The weak sum: over the first bytes of a block, so that it can roll over a content.
//!
//! It is a gear sum: each byte adds a number drawn for it to twice the sum so far, so that a byte
//! has left it after as many steps as the sum has bits.

/// Bytes that the sum is over, or all of a smaller block.
pub(super) const WINDOW: usize = 64;

/// A number for each byte.
const GEAR: [u64; 256] = gear();

/// Numbers of splitmix64, from zero.
const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let (mut at, mut state) = (0, 0_u64);
    while at < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = mixed ^ (mixed >> 31);
        at += 1;
    }
    table
}

/// The sum of a window that moves on byte by byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rolling(u64);

impl Rolling {
    /// Of the first `WINDOW` of these bytes.
    pub(super) fn over(bytes: &[u8]) -> Rolling {
        let add = |sum: u64, byte: &u8| (sum << 1).wrapping_add(GEAR[usize::from(*byte)]);
        Rolling(bytes.iter().take(WINDOW).fold(0, add))
    }

    /// One byte on: what is taken in leaves room for nothing older than `WINDOW` bytes.
    pub(super) fn roll(&mut self, next: u8) {
        self.0 = (self.0 << 1).wrapping_add(GEAR[usize::from(next)]);
    }

    /// The sum: its upper half, in which every byte of the window has a share.
    pub(super) fn sum(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::{Rolling, WINDOW};

    #[test]
    fn it_rolls_to_what_it_is_over() {
        let bytes: Vec<u8> = (0..1_000_u32).map(|at| ((at * at) >> 3) as u8).collect();
        let mut rolling = Rolling::over(&bytes);
        for at in 1..bytes.len() - WINDOW {
            rolling.roll(bytes[at + WINDOW - 1]);
            assert_eq!(rolling.sum(), Rolling::over(&bytes[at..]).sum(), "{at}");
        }
    }
}
