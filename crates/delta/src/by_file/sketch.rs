//! Sketches: a few numbers of a file, of which like files have many in common.
//!
//! Bottom-k sketches of min-wise hashing (Broder, "On the resemblance and containment of documents", 1997)
//! over all strings of 32 bytes, by the rolling gear hash of FastCDC (Xia and others, 2016).

use std::ops::Range;

use crate::read_at::{ReadAt, ReadError};

/// Numbers that are kept of a small file …
pub(super) const MIN_LENGTH: usize = 64;
/// … and of a large one, which may have little in common with any other and should be told which has most.
pub(super) const MAX_LENGTH: usize = 2048;
/// Between these one for so many bytes.
const BYTES_PER_NUMBER: u64 = 256;
const CHUNK_BYTES: u64 = 128 << 10;

/// The smallest hashes of a file's strings, in order, none twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sketch {
    numbers: Vec<u32>,
    /// All hashes below this are there.
    bound: u32,
}

/// What share of a file another has, as both sketches tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Share {
    /// In [`Share::WHOLE`]ths.
    pub(super) part: u32,
    /// So many numbers were looked for.
    pub(super) of_numbers: usize,
}

impl Share {
    pub(super) const WHOLE: u32 = 1 << 16;

    fn new(common: usize, of_numbers: usize) -> Self {
        // Of few numbers each would be much.
        let part = common * Self::WHOLE as usize / of_numbers.max(MIN_LENGTH);
        Self { part: u32::try_from(part).unwrap_or(Self::WHOLE), of_numbers }
    }
}

/// How many numbers the sketch of a file has at most, where no sketch may have more than `longest`.
pub(super) fn sketch_length(file_bytes: u64, longest: usize) -> usize {
    let length = usize::try_from(file_bytes / BYTES_PER_NUMBER).unwrap_or(MAX_LENGTH);
    length.clamp(MIN_LENGTH, longest)
}

impl Sketch {
    /// Memory that one of so many numbers takes, in bytes.
    pub(super) fn memory_bytes(length: usize) -> u64 {
        (4 * length + 32) as u64
    }

    /// The sketch of a range, of at most `length` numbers; nothing of it is kept but a piece at a time.
    pub(super) fn of(
        from: &dyn ReadAt,
        range: &Range<u64>,
        length: usize,
    ) -> Result<Self, ReadError> {
        let mut smallest = Smallest::new(length, range.end - range.start);
        let (mut hash, mut buffer, mut at) = (0u32, Vec::new(), range.start);
        while at < range.end {
            let count = (range.end - at).min(CHUNK_BYTES);
            buffer.resize(usize::try_from(count).unwrap_or(0), 0);
            from.read_exact_at(&mut buffer, at)?;
            for byte in &buffer {
                hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
                smallest.take(hash);
            }
            at += count;
        }
        Ok(smallest.finish())
    }

    pub(super) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// What share of this one's file the file of `old` has.
    pub(super) fn share_in(&self, old: &Self) -> Share {
        let is_there = |number: &&u32| old.numbers.binary_search(number).is_ok();
        self.share_of(old, self.numbers.iter().filter(is_there).count())
    }

    /// The same where it is known how many numbers both have.
    pub(super) fn share_of(&self, old: &Self, common: usize) -> Share {
        Share::new(common, self.numbers.partition_point(|number| *number < old.bound))
    }
}

/// The smallest numbers of those that were taken.
struct Smallest {
    length: usize,
    numbers: Vec<u32>,
    /// What is not below this is not among them.
    bound: u32,
}

impl Smallest {
    /// Those of a file of so many bytes.
    fn new(length: usize, file_bytes: u64) -> Self {
        // Of as many strings that differ four times `length` are below this: most bytes of a long sketch's file need
        // not be kept and sorted.
        let bound = ((4 * length as u64) << 32) / file_bytes.max(1);
        let bound = if length > MIN_LENGTH { bound } else { u64::from(u32::MAX) };
        Self { length, numbers: Vec::new(), bound: u32::try_from(bound).unwrap_or(u32::MAX) }
    }

    fn take(&mut self, hash: u32) {
        // A permutation: what strings begin with is to have no say in which are the smallest.
        let number = hash.wrapping_mul(0x9e37_79b1).rotate_left(15).wrapping_mul(0x85eb_ca77);
        if number < self.bound {
            self.numbers.push(number);
            if self.numbers.len() == 8 * self.length {
                self.shorten();
            }
        }
    }

    fn shorten(&mut self) {
        self.numbers.sort_unstable();
        self.numbers.dedup();
        self.numbers.truncate(self.length);
        if self.numbers.len() == self.length {
            self.bound = self.numbers[self.length - 1];
        }
    }

    fn finish(mut self) -> Sketch {
        self.shorten();
        self.numbers.shrink_to_fit();
        let is_full = self.numbers.len() == self.length;
        let bound = self.bound.saturating_add(u32::from(is_full));
        Sketch { numbers: self.numbers, bound }
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
        Sketch::of(&bytes.to_vec(), &(0..bytes.len() as u64), MIN_LENGTH).unwrap()
    }

    #[test]
    fn what_is_shifted_and_changed_here_and_there_is_still_like() {
        let old = noise(1, 300_000);
        let mut new = [b"something before".to_vec(), old.clone()].concat();
        (0..new.len()).step_by(1000).for_each(|at| new[at] ^= 1);
        let share = sketch(&new).share_in(&sketch(&old));
        assert!(share.part > Share::WHOLE / 4 * 3, "{share:?}");
        assert_eq!(sketch(&noise(2, 300_000)).share_in(&sketch(&old)).part, 0);
    }

    #[test]
    fn a_sketch_is_of_the_range_alone() {
        let bytes = noise(3, 400_000);
        let part = Sketch::of(&bytes, &(150_000..350_000), MIN_LENGTH).unwrap();
        assert_eq!(part, sketch(&bytes[150_000..350_000]));
        assert_eq!(part.numbers().len(), MIN_LENGTH);
    }

    /// Whatever lengths the files have.
    #[test]
    fn small_shares_of_large_files_are_told_apart() {
        let sketch = |bytes: &Vec<u8>| {
            let range = 0..bytes.len() as u64;
            Sketch::of(bytes, &range, sketch_length(range.end, MAX_LENGTH)).unwrap()
        };
        let new = noise(4, 1 << 20);
        for (seed, length) in [(5, 1 << 19), (6, 1 << 20), (7, 3 << 20)] {
            let mut old = noise(seed, length);
            let shares = [0, 3, 6, 12].map(|percent| {
                let common = new.len() * percent / 100;
                old[1000..1000 + common].copy_from_slice(&new[5000..5000 + common]);
                let share = sketch(&new).share_in(&sketch(&old));
                assert!(share.of_numbers > 500, "{share:?}");
                share.part * 100 / Share::WHOLE
            });
            assert_eq!(shares[0], 0);
            let is_near = |share: u32, percent: u32| (percent - 2..=percent + 2).contains(&share);
            assert!(is_near(shares[1], 3) && is_near(shares[2], 6), "{shares:?}");
            assert!(is_near(shares[3], 12), "{shares:?}");
        }
    }

    #[test]
    fn one_byte_again_and_again_makes_a_short_sketch() {
        assert!(sketch(&vec![7; 1 << 20]).numbers().len() <= 32);
    }
}
