//! The rolling hash of the block matcher: a polynomial modulo 2^64.
//!
//! It only finds candidates, which are compared byte by byte, so it need not resist anyone.

/// The base of the polynomial: odd, and without a pattern in its bits.
const MULTIPLIER: u64 = 0x9e6c_63d0_876a_68ef;
/// Spreads a hash over the bits that the index uses: a low bit of the polynomial depends on the
/// low bits of the bytes alone.
const SPREAD: u64 = 0xd6e8_feb8_6659_fd93;

/// The hash of a window, with what is needed to move it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RollingHash {
    hash: u64,
    /// The multiplier to the power of the window's length.
    leaving_power: u64,
}

impl RollingHash {
    /// The hash of a whole window.
    pub(super) fn of(window: &[u8]) -> Self {
        let mut hash: u64 = 0;
        let power2 = MULTIPLIER.wrapping_mul(MULTIPLIER);
        let power3 = power2.wrapping_mul(MULTIPLIER);
        let power4 = power3.wrapping_mul(MULTIPLIER);
        let (fours, rest) = window.as_chunks::<4>();
        for four in fours {
            // Four at once, so that the multiplications do not wait for each other.
            let [a, b, c, d] = four.map(u64::from);
            hash = hash
                .wrapping_mul(power4)
                .wrapping_add(a.wrapping_mul(power3))
                .wrapping_add(b.wrapping_mul(power2))
                .wrapping_add(c.wrapping_mul(MULTIPLIER).wrapping_add(d));
        }
        for &byte in rest {
            hash = hash.wrapping_mul(MULTIPLIER).wrapping_add(u64::from(byte));
        }
        let leaving_power = power_of_multiplier(window.len());
        Self { hash, leaving_power }
    }

    /// Moves the window by one byte.
    #[inline]
    pub(super) fn rotate(&mut self, leaving: u8, entering: u8) {
        let left = u64::from(leaving).wrapping_mul(self.leaving_power);
        let moved = u64::from(entering).wrapping_sub(left);
        self.hash = self.hash.wrapping_mul(MULTIPLIER).wrapping_add(moved);
    }

    /// The hash with its bits spread; the upper 32 are the key of the index.
    #[inline]
    pub(super) fn spread(self) -> u64 {
        (self.hash ^ (self.hash >> 32)).wrapping_mul(SPREAD)
    }
}

fn power_of_multiplier(mut exponent: usize) -> u64 {
    let (mut power, mut square) = (1_u64, MULTIPLIER);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        exponent >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_window_that_was_rolled_is_as_one_that_was_hashed(
            bytes in prop::collection::vec(any::<u8>(), 2..300),
            window in 1_usize..100,
        ) {
            let window = window.min(bytes.len() - 1);
            let mut hash = RollingHash::of(&bytes[..window]);
            for start in 1..=bytes.len() - window {
                hash.rotate(bytes[start - 1], bytes[start + window - 1]);
                let direct = RollingHash::of(&bytes[start..start + window]);
                prop_assert_eq!(hash.spread(), direct.spread());
            }
        }
    }
}
