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
    /// Where the entries of each bucket, a value of the key's upper bits, start; and the end.
    bucket_starts: Vec<u32>,
    bucket_shift: u32,
    /// A word for each bucket, with three bits set for each key in it: few windows get past that.
    filter: Vec<u64>,
}

impl BlockTable {
    /// Takes entries in any order, with at most `u32::MAX` of them.
    pub(super) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable();
        drop_surplus(&mut entries);
        entries.shrink_to_fit();
        let log_count = entries.len().max(1).ilog2();
        // A bucket for 4 to 8 entries; a word of the filter for as many: 8 to 16 bits for each.
        let bucket_shift = 32 - log_count.saturating_sub(2);
        let mut table = Self {
            bucket_starts: bucket_starts(&entries, bucket_shift),
            bucket_shift,
            filter: vec![0; bucket_of(u32::MAX, bucket_shift) + 1],
            entries,
        };
        table.fill_filter();
        table
    }

    /// Whether a block may have this hash; rarely wrong.
    #[inline]
    pub(super) fn may_have(&self, spread: u64) -> bool {
        let key = key_of(spread);
        let (word, bits) = self.filter_place(key);
        self.filter[word] & bits == bits
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
            let (word, bits) = self.filter_place(self.entries[index].key);
            self.filter[word] |= bits;
        }
    }

    /// The word of a key, and its three bits there: one word, so one miss of the cache and one branch.
    #[inline]
    fn filter_place(&self, key: u32) -> (usize, u64) {
        let word = bucket_of(key, self.bucket_shift);
        (word, 1 << (key & 63) | 1 << (key >> 6 & 63) | 1 << (key >> 12 & 63))
    }
}

/// The key of a spread hash.
#[inline]
pub(super) fn key_of(spread: u64) -> u32 {
    (spread >> 32) as u32
}

/// An index that fits `usize`, since the entries are in memory.
#[inline]
fn usize_of(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[inline]
fn bucket_of(key: u32, shift: u32) -> usize {
    // In 64 bits, since a single bucket shifts all 32 out. What is left fits 32.
    usize::try_from(u64::from(key) >> shift).unwrap_or(usize::MAX)
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
