//! The two weak sums of signatures: cheap to roll along a target, byte by byte.

/// Added to each byte by [`WeakSumKind::Rollsum`], so that zeros count.
const ROLLSUM_BYTE_OFFSET: u32 = 31;
/// What the Rabin-Karp hash of no bytes is, so that zeros count.
const RABIN_KARP_SEED: u32 = 1;
/// The base of the Rabin-Karp polynomial.
const RABIN_KARP_MULTIPLIER: u32 = 0x0810_4225;
/// Its inverse modulo 2^32, which takes a byte's place away.
const RABIN_KARP_INVERSE: u32 = 0x98f0_09ad;
/// `(multiplier - 1) * seed`: takes the seed's share out with a byte that leaves.
const RABIN_KARP_ADJUSTMENT: u32 = 0x0810_4224;

/// Which weak sum a signature has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeakSumKind {
    /// librsync's variant of Adler-32; the only one before librsync 2.2, and balenaEngine's.
    Rollsum,
    /// A polynomial hash modulo 2^32; what rdiff has written by default since librsync 2.2.
    RabinKarp,
}

/// The weak sum of a window of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum WeakSum {
    /// Both sums are taken modulo 2^16 only when the digest is made.
    Rollsum { count: u32, s1: u32, s2: u32 },
    /// `power` is the multiplier to the power of the window's length.
    RabinKarp { hash: u32, power: u32 },
}

impl WeakSum {
    /// The sum of no bytes.
    pub(super) fn new(kind: WeakSumKind) -> Self {
        match kind {
            WeakSumKind::Rollsum => Self::Rollsum { count: 0, s1: 0, s2: 0 },
            WeakSumKind::RabinKarp => Self::RabinKarp { hash: RABIN_KARP_SEED, power: 1 },
        }
    }

    /// The sum of a whole window.
    pub(super) fn of(kind: WeakSumKind, window: &[u8]) -> Self {
        let mut sum = Self::new(kind);
        for &byte in window {
            sum.roll_in(byte);
        }
        sum
    }

    fn roll_in(&mut self, byte: u8) {
        let byte = u32::from(byte);
        match self {
            Self::Rollsum { count, s1, s2 } => {
                *s1 = s1.wrapping_add(byte + ROLLSUM_BYTE_OFFSET);
                *s2 = s2.wrapping_add(*s1);
                *count = count.wrapping_add(1);
            }
            Self::RabinKarp { hash, power } => {
                *hash = hash.wrapping_mul(RABIN_KARP_MULTIPLIER).wrapping_add(byte);
                *power = power.wrapping_mul(RABIN_KARP_MULTIPLIER);
            }
        }
    }

    /// Shortens the window by its first byte.
    pub(super) fn roll_out(&mut self, byte: u8) {
        let byte = u32::from(byte);
        match self {
            Self::Rollsum { count, s1, s2 } => {
                let leaving = byte + ROLLSUM_BYTE_OFFSET;
                *s1 = s1.wrapping_sub(leaving);
                *s2 = s2.wrapping_sub(count.wrapping_mul(leaving));
                *count = count.wrapping_sub(1);
            }
            Self::RabinKarp { hash, power } => {
                *power = power.wrapping_mul(RABIN_KARP_INVERSE);
                let leaving = byte.wrapping_add(RABIN_KARP_ADJUSTMENT);
                *hash = hash.wrapping_sub(power.wrapping_mul(leaving));
            }
        }
    }

    /// Moves the window by one byte.
    pub(super) fn rotate(&mut self, leaving: u8, entering: u8) {
        let (leaving, entering) = (u32::from(leaving), u32::from(entering));
        match self {
            Self::Rollsum { count, s1, s2 } => {
                *s1 = s1.wrapping_add(entering).wrapping_sub(leaving);
                let left = count.wrapping_mul(leaving + ROLLSUM_BYTE_OFFSET);
                *s2 = s2.wrapping_add(*s1).wrapping_sub(left);
            }
            Self::RabinKarp { hash, power } => {
                let left = power.wrapping_mul(leaving.wrapping_add(RABIN_KARP_ADJUSTMENT));
                *hash = hash
                    .wrapping_mul(RABIN_KARP_MULTIPLIER)
                    .wrapping_add(entering)
                    .wrapping_sub(left);
            }
        }
    }

    /// The sum as signatures hold it.
    pub(super) fn digest(&self) -> u32 {
        match *self {
            Self::Rollsum { s1, s2, .. } => (s2 << 16) | (s1 & 0xffff),
            Self::RabinKarp { hash, .. } => hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_window_that_was_rolled_is_as_one_that_was_summed(
            bytes in prop::collection::vec(any::<u8>(), 2..600),
            window in 1_usize..300,
        ) {
            let window = window.min(bytes.len() - 1);
            for kind in [WeakSumKind::Rollsum, WeakSumKind::RabinKarp] {
                let mut sum = WeakSum::of(kind, &bytes[..window]);
                for start in 1..bytes.len() {
                    match bytes.get(start + window - 1) {
                        Some(&entering) => sum.rotate(bytes[start - 1], entering),
                        None => sum.roll_out(bytes[start - 1]),
                    }
                    let end = bytes.len().min(start + window);
                    prop_assert_eq!(sum.digest(), WeakSum::of(kind, &bytes[start..end]).digest());
                }
            }
        }
    }
}
