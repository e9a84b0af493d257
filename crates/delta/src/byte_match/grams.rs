//! Which sequences of 5 bytes occur in a string, nearly: asking is much quicker than searching for them.

/// Bytes of a sequence.
pub(super) const GRAM_BYTES: usize = 5;

/// Bits for each byte of a string, at least; fewer where it is long, since memory is then scarce. With 4 bits
/// one sequence in five that does not occur seems to, with 2 one in three.
fn bits_per_byte(text_bytes: u64) -> u64 {
    if text_bytes <= 16 << 20 { 4 } else { 2 }
}

/// A bit for each value of a hash.
pub(super) struct GramFilter {
    bits: Vec<u64>,
    /// Bits of the hash that are not used.
    shift: u32,
}

impl GramFilter {
    pub(super) fn of(text: &[u8]) -> Self {
        let bits = bits_per_byte(text.len() as u64) * (text.len() as u64).max(64);
        let log = bits.next_power_of_two().trailing_zeros();
        let mut filter = Self { bits: vec![0; 1 << (log - 6)], shift: 64 - log };
        for gram in text.windows(GRAM_BYTES) {
            if let Some(gram) = gram.first_chunk() {
                let (word, bit) = filter.place(*gram);
                filter.bits[word] |= bit;
            }
        }
        filter
    }

    /// Memory of a filter for so many bytes.
    pub(super) fn memory_bytes(text_bytes: u64) -> u64 {
        text_bytes.saturating_mul(2 * bits_per_byte(text_bytes)) / 8
    }

    /// Whether the sequence at `position` of `bytes` may occur; where there are too few bytes it does not.
    pub(super) fn may_have(&self, bytes: &[u8], position: usize) -> bool {
        let gram = bytes.get(position..).and_then(|rest| rest.first_chunk());
        gram.is_some_and(|gram| {
            let (word, bit) = self.place(*gram);
            self.bits[word] & bit != 0
        })
    }

    fn place(&self, gram: [u8; GRAM_BYTES]) -> (usize, u64) {
        let hash = number_of(gram).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        (usize::try_from(hash >> 6).unwrap_or(0), 1 << (hash & 63))
    }
}

fn number_of(gram: [u8; GRAM_BYTES]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..GRAM_BYTES].copy_from_slice(&gram);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_occurs_is_found_and_most_of_the_rest_is_not() {
        let text: Vec<u8> = (0..4000u32).flat_map(|i| (i * i).to_be_bytes()).collect();
        let filter = GramFilter::of(&text);
        assert!((0..text.len() - GRAM_BYTES).all(|at| filter.may_have(&text, at)));
        assert!(!filter.may_have(&text, text.len() - GRAM_BYTES + 1));
        let others: Vec<u8> = (0..4000u32).flat_map(|i| (i * i + 1).to_le_bytes()).collect();
        let seem = (0..others.len()).filter(|at| filter.may_have(&others, *at)).count();
        assert!(seem * 4 < others.len(), "{seem}");
        assert!(filter.bits.len() as u64 * 8 <= GramFilter::memory_bytes(text.len() as u64));
    }
}
