//! Sketches: a few numbers of a file, of which like files have many in common.
//!
//! Bottom-k sketches of min-wise hashing (Broder, "On the resemblance and containment of documents", 1997)
//! over all strings of 32 bytes, by the rolling gear hash of FastCDC (Xia and others, 2016).

use std::ops::Range;

use crate::read_at::{ReadAt, ReadError};

/// Numbers that are kept of a file.
pub(super) const SKETCH_LENGTH: usize = 64;
const CHUNK_BYTES: u64 = 128 << 10;

/// The smallest hashes of a file's strings, in order, none twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sketch(Vec<u32>);

impl Sketch {
    /// Memory that one takes, in bytes.
    pub(super) const MEMORY_BYTES: u64 = (4 * SKETCH_LENGTH + 32) as u64;

    /// The sketch of a range; nothing of it is kept but a piece at a time.
    pub(super) fn of(from: &dyn ReadAt, range: &Range<u64>) -> Result<Self, ReadError> {
        let mut smallest = Smallest::default();
        let (mut hash, mut buffer, mut at) = (0u32, Vec::new(), range.start);
        while at < range.end {
            let length = (range.end - at).min(CHUNK_BYTES);
            buffer.resize(usize::try_from(length).unwrap_or(0), 0);
            from.read_exact_at(&mut buffer, at)?;
            for byte in &buffer {
                hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
                smallest.take(hash);
            }
            at += length;
        }
        Ok(Self(smallest.finish()))
    }

    pub(super) fn numbers(&self) -> &[u32] {
        &self.0
    }

    /// How many numbers both have.
    pub(super) fn in_common(&self, other: &Self) -> usize {
        self.0.iter().filter(|number| other.0.binary_search(number).is_ok()).count()
    }
}

/// The smallest numbers of those that were taken.
struct Smallest {
    numbers: Vec<u32>,
    /// What is not below this is not among them.
    bound: u32,
}

impl Default for Smallest {
    fn default() -> Self {
        Self { numbers: Vec::new(), bound: u32::MAX }
    }
}

impl Smallest {
    fn take(&mut self, hash: u32) {
        // A permutation: what strings begin with is to have no say in which are the smallest.
        let number = hash.wrapping_mul(0x9e37_79b1).rotate_left(15).wrapping_mul(0x85eb_ca77);
        if number < self.bound {
            self.numbers.push(number);
            if self.numbers.len() == 8 * SKETCH_LENGTH {
                self.shorten();
            }
        }
    }

    fn shorten(&mut self) {
        self.numbers.sort_unstable();
        self.numbers.dedup();
        self.numbers.truncate(SKETCH_LENGTH);
        if self.numbers.len() == SKETCH_LENGTH {
            self.bound = self.numbers[SKETCH_LENGTH - 1];
        }
    }

    fn finish(mut self) -> Vec<u32> {
        self.shorten();
        self.numbers.shrink_to_fit();
        self.numbers
    }
}

/// A number for each byte, by splitmix64.
const GEAR: [u32; 256] = {
    let mut gear = [0; 256];
    let (mut state, mut i) = (0u64, 0);
    while i < gear.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [a, b, c, d, ..] = mixed.to_le_bytes();
        gear[i] = u32::from_le_bytes([a, b, c, d]);
        i += 1;
    }
    gear
};

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let step = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(step).take(length).collect()
    }

    fn sketch(bytes: &[u8]) -> Sketch {
        Sketch::of(&bytes.to_vec(), &(0..bytes.len() as u64)).unwrap()
    }

    #[test]
    fn what_is_shifted_and_changed_here_and_there_is_still_like() {
        let old = noise(1, 300_000);
        let mut new = [b"something before".to_vec(), old.clone()].concat();
        (0..new.len()).step_by(1000).for_each(|at| new[at] ^= 1);
        let common = sketch(&old).in_common(&sketch(&new));
        assert!(common > SKETCH_LENGTH * 3 / 4, "{common}");
        assert_eq!(sketch(&old).in_common(&sketch(&noise(2, 300_000))), 0);
    }

    #[test]
    fn a_sketch_is_of_the_range_alone() {
        let bytes = noise(3, 400_000);
        let part = Sketch::of(&bytes, &(150_000..350_000)).unwrap();
        assert_eq!(part, sketch(&bytes[150_000..350_000]));
        assert_eq!(part.numbers().len(), SKETCH_LENGTH);
    }

    #[test]
    fn one_byte_again_and_again_makes_a_short_sketch() {
        assert!(sketch(&vec![7; 1 << 20]).numbers().len() <= 32);
    }
}
