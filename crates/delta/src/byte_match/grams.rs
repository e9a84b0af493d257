//! Which short sequences of bytes occur in a string, nearly: asking is much quicker than searching for them.

use std::ops::RangeInclusive;

/// Bytes of a sequence: more say little more, and of fewer most are in any large file.
const GRAM_BYTES: RangeInclusive<usize> = 4..=8;

/// Bits for each byte of a string, at least; fewer where it is long, since memory is then scarce. With 4 bits
/// one sequence in five that does not occur seems to, with 2 one in three.
fn bits_per_byte(text_bytes: u64) -> u64 {
    if text_bytes <= 16 << 20 { 4 } else { 2 }
}

/// A bit for each value of a hash.
pub(super) struct GramFilter {
    gram_bytes: usize,
    bits: Vec<u64>,
    /// Bits of the hash that are not used.
    shift: u32,
}

impl GramFilter {
    /// For questions about `min_bytes` and more.
    pub(super) fn of(text: &[u8], min_bytes: usize) -> Self {
        let gram_bytes = min_bytes.clamp(*GRAM_BYTES.start(), *GRAM_BYTES.end());
        let bits = bits_per_byte(text.len() as u64) * (text.len() as u64).max(64);
        let log = bits.next_power_of_two().trailing_zeros();
        let mut filter = Self { gram_bytes, bits: vec![0; 1 << (log - 6)], shift: 64 - log };
        for at in 0..text.len() {
            if let Some((word, bit)) = filter.place(text, at) {
                filter.bits[word] |= bit;
            }
        }
        filter
    }

    /// Memory of a filter for so many bytes.
    pub(super) fn memory_bytes(text_bytes: u64) -> u64 {
        text_bytes.saturating_mul(2 * bits_per_byte(text_bytes)) / 8
    }

    /// Whether `length` bytes of `bytes` from `position` on may be somewhere in the text: always where they are
    /// there, and mostly not where they are not, if they are as many as the filter is for.
    pub(super) fn may_have(&self, bytes: &[u8], position: usize, length: usize) -> bool {
        let Some(last) = length.checked_sub(self.gram_bytes) else { return true };
        let is_there = |at: usize| {
            let place = self.place(bytes, position + at);
            place.is_some_and(|(word, bit)| self.bits[word] & bit != 0)
        };
        // The last first: what is in force agrees in most before it.
        is_there(last) && (0..last).all(is_there)
    }

    /// The bit of the sequence at `at`, if there are as many bytes.
    fn place(&self, bytes: &[u8], at: usize) -> Option<(usize, u64)> {
        let gram = bytes.get(at..).and_then(|rest| number_of(rest, self.gram_bytes))?;
        let hash = gram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        Some((usize::try_from(hash >> 6).unwrap_or(0), 1 << (hash & 63)))
    }
}

fn number_of(bytes: &[u8], length: usize) -> Option<u64> {
    let number = match bytes.first_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => {
            let mut chunk = [0; 8];
            let gram = bytes.get(..length)?;
            chunk[..length].copy_from_slice(gram);
            u64::from_le_bytes(chunk)
        }
    };
    Some(number << (64 - 8 * length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_occurs_is_found_and_most_of_the_rest_is_not() {
        let text: Vec<u8> = (0..4000u32).flat_map(|i| (i * i).to_be_bytes()).collect();
        let others: Vec<u8> = (0..4000u32).flat_map(|i| (i * i + 1).to_le_bytes()).collect();
        for length in [5, 7, 12] {
            let filter = GramFilter::of(&text, length);
            assert!((0..=text.len() - length).all(|at| filter.may_have(&text, at, length)));
            assert!(!filter.may_have(&text, text.len() - length + 1, length));
            let seem = (0..others.len()).filter(|at| filter.may_have(&others, *at, length)).count();
            assert!(seem * 4 < others.len(), "{seem}");
            assert!(filter.bits.len() as u64 * 8 <= GramFilter::memory_bytes(text.len() as u64));
        }
    }
}
