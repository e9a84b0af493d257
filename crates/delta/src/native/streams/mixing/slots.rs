//! Adaptive probabilities by context, in tables of a given size.

use super::lanes::{LANES, Lanes, approach};
use super::{CONTEXTS, Context, DIRECT, HASHED, hash, low_16, low_u16};

/// A probability of 13 bits that the bit is 1, and in the low 3 bits how often it was adapted.
type Slot = u16;
const EVEN: Slot = 4096 << 3;

/// How much of what is missing a probability takes on, of 16,384, after so many bits.
const RATES: [i16; 8] = [10_922, 6_553, 4_681, 3_640, 2_978, 2_520, 2_340, 2_340];

/// The slots of the four bits of half a byte, as a tree: the root is at 1. Before it, at 0, a tag of 12 bits and how
/// often the bucket was used, up to 15.
type Bucket = [Slot; 16];
const EMPTY: Bucket = {
    let mut bucket = [EVEN; 16];
    bucket[0] = 0;
    bucket
};

/// Two buckets, of which a context may have either: what caches load at once.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([Bucket; 2]);

/// Where the bucket of a context is: the line, and the bucket of that.
#[derive(Clone, Copy)]
struct BucketId(usize, usize);

/// The slots of all contexts.
pub(super) struct Slots {
    /// By context and its byte: the slots of all bits of a byte, as a tree.
    direct: Box<[[Slot; 256]]>,
    /// By hashes of contexts.
    lines: Box<[Line]>,
}

/// Where the slots of half a byte are.
pub(super) struct HalfByte {
    trees: [usize; DIRECT],
    buckets: [BucketId; HASHED],
}

/// Where in a byte a bit is: the bits of the byte and of its half that are before it, below a 1 each.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) of_byte: usize,
    pub(super) of_half: usize,
}

impl Slots {
    /// Those of hashed contexts have `2^log` bytes.
    pub(super) fn new(log: u8) -> Self {
        Self {
            direct: vec![[EVEN; 256]; DIRECT << 8].into_boxed_slice(),
            lines: vec![Line([EMPTY; 2]); 1 << (log - 6)].into_boxed_slice(),
        }
    }

    /// The slots of the half of a byte that comes after `half`: 0, or the first half of the byte below a 1.
    pub(super) fn find(&mut self, context: &Context, half: u32) -> HalfByte {
        let mut trees = [0; DIRECT];
        for (number, (tree, byte)) in trees.iter_mut().zip(context.direct).enumerate() {
            *tree = number << 8 | usize::from(byte);
        }
        HalfByte { trees, buckets: context.keys.map(|key| self.bucket(hash(key, half))) }
    }

    /// The bucket of a hash. Of two that are taken the one that was used less makes room.
    fn bucket(&mut self, hash: u32) -> BucketId {
        let tag = low_u16(hash >> 16) & 0xfff0 | 0x8000;
        let at = hash as usize & (self.lines.len() - 1);
        let Line(buckets) = &mut self.lines[at];
        for (number, [head, ..]) in buckets.iter_mut().enumerate() {
            if *head & 0xfff0 == tag {
                *head += u16::from(*head & 15 < 15);
                return BucketId(at, number);
            }
        }
        let number = usize::from(buckets[1][0] & 15 < buckets[0][0] & 15);
        buckets[number] = EMPTY;
        buckets[number][0] = tag;
        BucketId(at, number)
    }

    /// What all contexts have at a node.
    pub(super) fn at(&self, half: &HalfByte, node: Node) -> Predictions {
        let mut slots = [EVEN; LANES];
        let (direct, hashed) = slots.split_at_mut(DIRECT);
        for (slot, tree) in direct.iter_mut().zip(half.trees) {
            *slot = self.direct[tree][node.of_byte & 255];
        }
        for (slot, BucketId(line, bucket)) in hashed.iter_mut().zip(half.buckets) {
            *slot = self.lines[line].0[bucket][node.of_half & 15];
        }
        Predictions(slots)
    }

    /// Puts there what was learnt. Of two contexts that have one slot the last one's stays.
    pub(super) fn put(&mut self, half: &HalfByte, node: Node, Predictions(slots): &Predictions) {
        let (direct, hashed) = slots.split_at(DIRECT);
        for (slot, tree) in direct.iter().zip(half.trees) {
            self.direct[tree][node.of_byte & 255] = *slot;
        }
        for (slot, BucketId(line, bucket)) in hashed.iter().zip(half.buckets) {
            self.lines[line].0[bucket][node.of_half & 15] = *slot;
        }
    }
}

/// The slots of all contexts for a bit; what is left over is for the width of vectors.
pub(super) struct Predictions([Slot; LANES]);

impl Predictions {
    /// How likely each context takes a 1 to be, of 4096.
    pub(super) fn probabilities(&self) -> impl Iterator<Item = u16> {
        self.0[..CONTEXTS].iter().map(|slot| slot >> 4)
    }

    /// Learns the bit that came.
    pub(super) fn learn(&mut self, bit: u32) {
        let rates: Lanes = self.0.map(|slot| RATES[usize::from(slot & 7)]);
        let mut values: Lanes = self.0.map(|slot| low_16((slot >> 3).into()));
        approach(&mut values, &rates, if bit == 1 { 8191 } else { 0 });
        for (slot, value) in self.0.iter_mut().zip(values) {
            *slot = value.cast_unsigned() << 3 | ((*slot & 7) + 1).min(7);
        }
    }
}
