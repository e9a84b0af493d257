//! Adaptive probabilities by context, in a table of a given size.

use super::{hash, low_u16};

/// Probabilities of the four bits of half a byte, as a tree: the root is at 1. Before it, at 0, a tag of 12 bits and how
/// often the bucket was used, up to 15.
type Bucket = [u16; 16];

/// A probability of 13 bits that the bit is 1, and in the low 3 bits how often it was adapted.
const EVEN: u16 = 4096 << 3;

/// How much of what is missing a probability takes on, of 65,536, after so many bits.
const RATES: [i32; 8] = [43_690, 26_214, 18_724, 14_563, 11_915, 10_082, 9_362, 9_362];

/// The table.
pub(super) struct Slots {
    buckets: Box<[Bucket]>,
}

/// Where a bit's probability is.
#[derive(Clone, Copy, Default)]
pub(super) struct BucketId(usize);

impl Slots {
    /// A table of `2^log` bytes.
    pub(super) fn new(log: u8) -> Self {
        let mut empty = [EVEN; 16];
        empty[0] = 0;
        Self { buckets: vec![empty; 1 << (log - 5)].into_boxed_slice() }
    }

    /// The bucket of a context for the half of a byte that comes next; one that was used least makes
    /// room for a new one.
    pub(super) fn find(&mut self, key: u32, half: u32) -> BucketId {
        let hash = hash(key, half);
        let tag = low_u16(hash >> 16) & 0xfff0 | 0x8000;
        let base = hash as usize & (self.buckets.len() - 1);
        let (mut least, mut least_used) = (base, u16::MAX);
        for at in [base, base ^ 1, base ^ 2] {
            let head = &mut self.buckets[at][0];
            if *head & 0xfff0 == tag {
                *head += u16::from(*head & 15 < 15);
                return BucketId(at);
            }
            if *head & 15 < least_used {
                (least, least_used) = (at, *head & 15);
            }
        }
        let bucket = &mut self.buckets[least];
        *bucket = [EVEN; 16];
        bucket[0] = tag;
        BucketId(least)
    }

    /// The probability at a node of a bucket, of 4096; none where no bit was seen yet.
    pub(super) fn probability(&self, id: BucketId, node: usize) -> Option<u16> {
        let slot = self.buckets[id.0][node & 15];
        (slot & 7 > 0).then_some(slot >> 4)
    }

    /// Learns the bit that came.
    pub(super) fn adapt(&mut self, id: BucketId, node: usize, bit: u32) {
        let slot = &mut self.buckets[id.0][node & 15];
        let (probability, count) = (i32::from(*slot >> 3), *slot & 7);
        let aim = if bit == 1 { 8191 } else { 0 };
        let step = ((aim - probability) * RATES[usize::from(count)]) >> 16;
        let adapted = low_u16((probability + step).unsigned_abs());
        *slot = adapted << 3 | (count + 1).min(7);
    }
}
