//! The compact table from hashes to blocks.

/// Blocks with one key that are kept: the first ones.
pub(super) const CANDIDATES_MAX: usize = 8;
/// What a block costs in the table, at most: entry, its share of the buckets and of the filter.
pub(super) const TABLE_BYTES_PER_BLOCK: u64 = 12;

/// Blocks are numbered through all origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// The upper half of the block's spread hash.
    pub(super) key: u32,
    pub(super) block: u32,
}

/// Sorted entries behind a filter.
///
/// Sorted and not hashed, so that no choice of blocks, however bad or evil, makes a search long.
#[derive(Debug)]
pub(super) struct BlockTable {
    /// Sorted by key, and then by block.
    entries: Vec<Entry>,
    /// Where the entries of each value of the key's upper bits start; one more than there are.
    bucket_starts: Vec<u32>,
    bucket_shift: u32,
    /// Two bits for each hash that occurs, of 8 to 16 in all: few windows get past it.
    filter: Vec<u64>,
    filter_shift: u32,
}

impl BlockTable {
    /// Takes entries in any order, with at most `u32::MAX` of them.
    pub(super) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable();
        drop_surplus(&mut entries);
        entries.shrink_to_fit();
        let log_count = entries.len().max(1).ilog2();
        // A bucket for 4 to 8 entries, 8 to 16 bits for an entry.
        let bucket_shift = 32 - log_count.saturating_sub(2);
        let filter_shift = 64 - (log_count + 4).clamp(6, 32);
        let mut table = Self {
            bucket_starts: bucket_starts(&entries, bucket_shift),
            bucket_shift,
            filter: vec![0; 1 << (64 - filter_shift - 6)],
            filter_shift,
            entries,
        };
        table.fill_filter();
        table
    }

    /// Whether a block may have this hash; rarely wrong.
    #[inline]
    pub(super) fn may_have(&self, spread: u64) -> bool {
        let key = key_of(spread);
        let [(word, bit), (other_word, other_bit)] = self.filter_places(key);
        self.filter[word] & bit != 0 && self.filter[other_word] & other_bit != 0
    }

    /// The blocks with the key of this hash, in ascending order; at most [`CANDIDATES_MAX`].
    pub(super) fn candidates(&self, spread: u64) -> &[Entry] {
        let key = key_of(spread);
        let bucket = bucket_of(key, self.bucket_shift);
        let bucket = &self.entries
            [usize_of(self.bucket_starts[bucket])..usize_of(self.bucket_starts[bucket + 1])];
        let start = bucket.partition_point(|entry| entry.key < key);
        let length = bucket[start..].partition_point(|entry| entry.key == key);
        &bucket[start..start + length]
    }

    pub(super) fn block_count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        let entries = self.entries.len() * size_of::<Entry>();
        let buckets = self.bucket_starts.len() * size_of::<u32>();
        (entries + buckets + self.filter.len() * size_of::<u64>()) as u64
    }

    fn fill_filter(&mut self) {
        for index in 0..self.entries.len() {
            for (word, bit) in self.filter_places(self.entries[index].key) {
                self.filter[word] |= bit;
            }
        }
    }

    /// The two bits of a key.
    #[inline]
    fn filter_places(&self, key: u32) -> [(usize, u64); 2] {
        let place = |multiplier: u64| {
            let place = u64::from(key).wrapping_mul(multiplier) >> self.filter_shift;
            // At most 32 bits are left, of which six choose the bit.
            (
                usize::try_from(place >> 6).unwrap_or(0),
                1_u64 << (place & 63),
            )
        };
        [place(0x9e37_79b9_7f4a_7c15), place(0xc2b2_ae3d_27d4_eb4f)]
    }
}

/// The key of a spread hash.
#[inline]
pub(super) fn key_of(spread: u64) -> u32 {
    (spread >> 32) as u32
}

/// An index that fits `usize`, since the entries are in memory.
fn usize_of(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn bucket_of(key: u32, shift: u32) -> usize {
    usize_of(key.checked_shr(shift).unwrap_or(0))
}

/// Keeps the first few of the entries with one key.
fn drop_surplus(entries: &mut Vec<Entry>) {
    let (mut key, mut count) = (None, 0);
    entries.retain(|entry| {
        count = if key == Some(entry.key) { count + 1 } else { 1 };
        key = Some(entry.key);
        count <= CANDIDATES_MAX
    });
}

fn bucket_starts(entries: &[Entry], shift: u32) -> Vec<u32> {
    let buckets = bucket_of(u32::MAX, shift) + 1;
    let mut starts = vec![0; buckets + 1];
    for entry in entries {
        starts[bucket_of(entry.key, shift) + 1] += 1;
    }
    for bucket in 0..buckets {
        starts[bucket + 1] += starts[bucket];
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_in_is_found(keys in prop::collection::vec(any::<u32>(), 0..3000)) {
            let entries = keys.iter().zip(0..).map(|(&key, block)| Entry { key, block });
            let table = BlockTable::new(entries.collect());
            for (&key, block) in keys.iter().zip(0..) {
                let spread = u64::from(key) << 32;
                prop_assert!(table.may_have(spread));
                let entry = Entry { key, block };
                prop_assert!(table.candidates(spread).contains(&entry));
            }
            let limit = TABLE_BYTES_PER_BLOCK * keys.len() as u64 + 64;
            prop_assert!(table.memory_bytes() <= limit);
        }
    }

    #[test]
    fn of_many_blocks_with_one_key_the_first_are_kept() {
        let entries = (0..100).rev().map(|block| Entry { key: 7, block });
        let table = BlockTable::new(entries.collect());
        let found = table.candidates(7 << 32).iter().map(|entry| entry.block);
        assert_eq!(found.collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        assert!(table.candidates(8 << 32).is_empty());
    }
}
