//! Where some short sequences of a string are: enough to find long matches, in a fraction of the time that sorting
//! all suffixes takes.

use std::cmp::Reverse;

use super::candidates::{Index, Match, Scan};
use super::common_prefix;

/// Bytes of a sequence.
const GRAM_BYTES: usize = 8;

/// Each so-manieth place is known. No match that is taken is shorter, so that one that is prolonged back by less
/// does not begin before the one that was taken before it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stride {
    /// A match of nine bytes has a place that is known.
    Two = 2,
    /// One of fifteen has, in an index of a quarter of the size.
    Eight = 8,
}

/// Of the places in one bucket, so many are looked at: those before and after the expected one.
const NEAREST: usize = 12;

/// The places of sequences, by their hashes.
pub(super) struct AnchorIndex {
    /// Where the places of each bucket start, and those of the last one end.
    starts: Vec<u32>,
    /// In order for each bucket.
    places: Vec<Place>,
    hashes: Hashes,
}

/// A place in units of the stride, and below it some bits of the hash of the sequence that is there: what is of the same
/// bucket by chance is mostly known by them, without a look at the text.
#[derive(Clone, Copy, Default)]
struct Place(u32);

/// How hashes are divided into numbers of buckets and bits for places.
#[derive(Clone, Copy)]
struct Hashes {
    stride: usize,
    bucket_bits: u32,
    tag_bits: u32,
}

impl Hashes {
    /// Of a sequence, the bucket and the tag.
    fn of(self, gram: &[u8]) -> (usize, u32) {
        let number = gram.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bucket = usize::try_from(hash >> (64 - self.bucket_bits)).unwrap_or(0);
        let tag = hash >> (64 - self.bucket_bits - self.tag_bits);
        (bucket, u32::try_from(tag & u64::from(self.tags())).unwrap_or(0))
    }

    fn place(self, number: u32, tag: u32) -> Place {
        Place(number << self.tag_bits | tag)
    }

    /// The bits of a place that are its tag.
    fn tags(self) -> u32 {
        (1 << self.tag_bits) - 1
    }

    /// Where in the text a place is.
    fn offset(self, Place(place): Place) -> usize {
        (place >> self.tag_bits) as usize * self.stride
    }
}

impl AnchorIndex {
    /// The index of `text`; `None` where it is too long for 32-bit places.
    pub(super) fn of(text: &[u8], stride: Stride) -> Option<Self> {
        let stride = stride as usize;
        // No more buckets than there are places: together they take no more than a suffix array.
        let most = u32::try_from(text.len() / stride + 2).ok()?;
        let hashes = Hashes { stride, bucket_bits: most.ilog2(), tag_bits: most.leading_zeros() };
        let grams = || text.windows(GRAM_BYTES).step_by(stride).map(|gram| hashes.of(gram));

        // How many there are of each; then where those of each start; then, as they are put there, where they end.
        let mut starts = vec![0; (1 << hashes.bucket_bits) + 1];
        grams().for_each(|(bucket, _)| starts[bucket] += 1);
        let mut count = 0;
        starts.iter_mut().for_each(|start| count += std::mem::replace(start, count));
        let mut places = vec![Place::default(); count as usize];
        for (number, (bucket, tag)) in (0..).zip(grams()) {
            places[starts[bucket] as usize] = hashes.place(number, tag);
            starts[bucket] += 1;
        }
        starts.rotate_right(1);
        starts[0] = 0;
        Some(Self { starts, places, hashes })
    }

    /// Places of `gram`, and of a few others, in order: the nearest to `expected`.
    fn nearest(&self, gram: &[u8], expected: usize) -> impl Iterator<Item = usize> {
        let (bucket, tag) = self.hashes.of(gram);
        let places = &self.places[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        let mut first = 0;
        if places.len() > NEAREST {
            let next = places.partition_point(|place| self.hashes.offset(*place) < expected);
            first = next.saturating_sub(NEAREST / 2).min(places.len() - NEAREST);
        }
        let nearest = places[first..].iter().take(NEAREST);
        let nearest = nearest.filter(move |Place(place)| place & self.hashes.tags() == tag);
        nearest.map(|place| self.hashes.offset(*place))
    }

    /// The longest match that is known at `position` of the new bytes. It may begin before, between two known places.
    fn find(&self, scan: &Scan<'_>, position: usize) -> Option<Found> {
        let needle = &scan.new[position..];
        let expected = scan.expected(position);
        let found = self.nearest(needle.get(..GRAM_BYTES)?, expected).map(|at| {
            let length = common_prefix(&scan.old[at..], needle);
            let distance = Reverse(at.abs_diff(expected));
            Found { length, distance, start: Reverse(position), at }
        });
        found.max().map(|found| found.extended_back(scan, self.hashes.stride))
    }
}

/// A match, where in the new bytes it begins, and how far it is from where it is expected. The greatest is the best.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    length: usize,
    distance: Reverse<usize>,
    start: Reverse<usize>,
    at: usize,
}

impl Found {
    /// With the bytes before it that agree and lie between two known places.
    fn extended_back(self, scan: &Scan<'_>, stride: usize) -> Self {
        let Self { length, distance, start: Reverse(start), at } = self;
        let before = scan.old[..at].iter().rev().zip(scan.new[..start].iter().rev());
        let before = before.take(stride - 1).take_while(|(old, new)| old == new).count();
        let start = Reverse(start - before);
        Self { length: length + before, distance, start, at: at - before }
    }
}

impl Index for AnchorIndex {
    fn better_match(&self, scan: &mut Scan<'_>) -> Option<Match> {
        let better_at = |position| {
            let found = self.find(scan, position)?;
            scan.is_better(found.length, found.start.0).then_some(found)
        };
        let first = better_at(scan.position)?;
        // A longer one that begins here may only be known at the next places.
        let end = scan.new.len().min(scan.position + self.hashes.stride);
        let others = (scan.position + 1..end).filter_map(better_at);
        let Found { length, start, at, .. } = others.fold(first, Found::max);
        scan.position = start.0;
        Some(Match { at, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byte_match::candidates::Candidates;
    use crate::byte_match::tests::noise;
    use proptest::prelude::*;

    /// One is known where it begins, the other from the next byte on.
    #[test]
    fn of_two_that_are_as_long_the_nearer_is_taken() {
        let mut old = noise(20_000, 1);
        let block = noise(60, 2);
        for at in [1000, 9001] {
            old[at..at + block.len()].copy_from_slice(&block);
        }
        let new = [&old[..990], &block, &noise(100, 3)].concat();
        let index = AnchorIndex::of(&old, Stride::Two).unwrap();
        let found = Candidates::new(Scan::new(&old, &new, 8), &index).next().unwrap();
        assert_eq!((found.new, found.shift), (990, 10));
    }

    #[test]
    fn it_takes_no_more_than_a_suffix_array() {
        for length in
            [0, 1, 9, 1 << 16, (1 << 16) - 8, (1 << 17) - 1, (1 << 18) / 3, (1 << 18) / 3 + 8]
        {
            let index = AnchorIndex::of(&noise(length, 7), Stride::Two).unwrap();
            let bytes = (index.starts.capacity() + index.places.capacity()) * size_of::<u32>();
            assert!(bytes <= length * size_of::<i32>() + 64, "{length} {bytes}");
        }
    }

    fn strides() -> impl Strategy<Value = Stride> {
        prop_oneof![Just(Stride::Two), Just(Stride::Eight)]
    }

    proptest! {
        #[test]
        fn long_matches_are_found_from_where_they_begin(
            seed in 1u64..,
            at in 1usize..=895,
            more in 0usize..91,
            stride in strides(),
        ) {
            let (old, length) = (noise(1000, seed), GRAM_BYTES + stride as usize - 1 + more);
            let mut new = noise(1000, !seed);
            let begin = new.len();
            *new.last_mut().unwrap() = !old[at - 1];
            new.extend(&old[at..at + length]);
            let index = AnchorIndex::of(&old, stride).unwrap();
            let mut scan = Scan::new(&old, &new, 8);
            let found = (begin..begin + stride as usize).find_map(|position| {
                scan.position = position;
                index.better_match(&mut scan)
            });
            prop_assert_eq!(found, Some(Match { at, length }));
            prop_assert_eq!(scan.position, begin);
        }

        #[test]
        fn no_text_is_too_short_and_none_too_repetitive(
            old in proptest::collection::vec(0u8..2, 0..100),
            new in proptest::collection::vec(0u8..2, 1..100),
            stride in strides(),
        ) {
            let index = AnchorIndex::of(&old, stride).unwrap();
            for position in 0..new.len() {
                let Some(Found { length, start, at, .. }) = index.find(&Scan::new(&old, &new, 8), position)
                else { continue };
                prop_assert!(start.0 <= position && position - start.0 < stride as usize);
                prop_assert_eq!(&new[start.0..start.0 + length], &old[at..at + length]);
            }
        }
    }
}
