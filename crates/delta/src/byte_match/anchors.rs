//! Where some short sequences of a string are: enough to find long matches, in a fraction of the time that sorting
//! all suffixes takes.

use std::cmp::Reverse;

use super::candidates::{Index, Match, Scan};
use super::common_prefix;

/// Bytes of a sequence.
const GRAM_BYTES: usize = 8;

/// The sequence at each so-manieth place is known, so that a match of nine bytes has one that is.
const STRIDE: usize = 2;

/// Of the places of one sequence, so many are looked at: those before and after the expected one.
const NEAREST: usize = 12;

/// The places of sequences, by their hashes.
pub(super) struct AnchorIndex {
    /// Where the places of each hash start, and those of the last one end.
    starts: Vec<u32>,
    /// In units of [`STRIDE`], in order for each hash.
    places: Vec<u32>,
    /// Bits of a hash that are not used.
    shift: u32,
}

impl AnchorIndex {
    /// The index of `text`; `None` where it is too long for 32-bit places.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        // No more buckets than there are places: together they take no more than a suffix array.
        let most = u32::try_from(text.len() / STRIDE + 2).ok()?;
        let log = most.ilog2();
        let shift = 64 - log;
        let buckets = || text.windows(GRAM_BYTES).step_by(STRIDE).map(|gram| bucket(gram, shift));

        // How many there are of each; then where those of each start; then, as they are put there, where they end.
        let mut starts = vec![0; (1 << log) + 1];
        buckets().for_each(|bucket| starts[bucket] += 1);
        let mut count = 0;
        starts.iter_mut().for_each(|start| count += std::mem::replace(start, count));
        let mut places = vec![0; count as usize];
        for (place, bucket) in (0..).zip(buckets()) {
            places[starts[bucket] as usize] = place;
            starts[bucket] += 1;
        }
        starts.rotate_right(1);
        starts[0] = 0;
        Some(Self { starts, places, shift })
    }

    /// Places of the sequence that `needle` starts with, and of some others, in order.
    fn places(&self, needle: &[u8]) -> &[u32] {
        let Some(gram) = needle.get(..GRAM_BYTES) else { return &[] };
        let bucket = bucket(gram, self.shift);
        &self.places[self.starts[bucket] as usize..self.starts[bucket + 1] as usize]
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

impl AnchorIndex {
    /// The longest match that is known at `position` of the new bytes. It may begin before, between two known places.
    fn find(&self, scan: &Scan<'_>, position: usize) -> Option<Found> {
        let needle = &scan.new[position..];
        let places = self.places(needle);
        let expected = scan.expected(position);
        let next = places.partition_point(|place| offset_of(*place) < expected);
        let first = next.saturating_sub(NEAREST / 2).min(places.len().saturating_sub(NEAREST));
        let found = places[first..].iter().take(NEAREST).map(|place| {
            let at = offset_of(*place);
            let length = common_prefix(&scan.old[at..], needle);
            let distance = Reverse(at.abs_diff(expected));
            Found { length, distance, start: Reverse(position), at }
        });
        found.max().map(|found| found.extended_back(scan))
    }
}

impl Found {
    /// With the bytes before it that agree and lie between two known places.
    fn extended_back(self, scan: &Scan<'_>) -> Self {
        let Self { length, distance, start: Reverse(start), at } = self;
        let before = scan.old[..at].iter().rev().zip(scan.new[..start].iter().rev());
        let before = before.take(STRIDE - 1).take_while(|(old, new)| old == new).count();
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
        let end = scan.new.len().min(scan.position + STRIDE);
        let others = (scan.position + 1..end).filter_map(better_at);
        let Found { length, start, at, .. } = others.fold(first, Found::max);
        scan.position = start.0;
        Some(Match { at, length })
    }
}

/// Where in the text a place is.
fn offset_of(place: u32) -> usize {
    place as usize * STRIDE
}

/// The upper bits of a hash.
fn bucket(gram: &[u8], shift: u32) -> usize {
    let number = gram.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift;
    usize::try_from(hash).unwrap_or(0)
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
        let index = AnchorIndex::of(&old).unwrap();
        let found = Candidates::new(Scan::new(&old, &new, 8), &index).next().unwrap();
        assert_eq!((found.new, found.shift), (990, 10));
    }

    #[test]
    fn it_takes_no_more_than_a_suffix_array() {
        for length in
            [0, 1, 9, 1 << 16, (1 << 16) - 8, (1 << 17) - 1, (1 << 18) / 3, (1 << 18) / 3 + 8]
        {
            let index = AnchorIndex::of(&noise(length, 7)).unwrap();
            let bytes = (index.starts.capacity() + index.places.capacity()) * size_of::<u32>();
            assert!(bytes <= length * size_of::<i32>() + 64, "{length} {bytes}");
        }
    }

    proptest! {
        #[test]
        fn long_matches_are_found_from_where_they_begin(
            seed in 1u64..,
            at in 1usize..900,
            length in GRAM_BYTES + STRIDE - 1..100,
        ) {
            let old = noise(1000, seed);
            let mut new = noise(1000, !seed);
            let begin = new.len();
            *new.last_mut().unwrap() = !old[at - 1];
            new.extend(&old[at..at + length]);
            let index = AnchorIndex::of(&old).unwrap();
            let mut scan = Scan::new(&old, &new, 8);
            let found = (begin..begin + STRIDE).find_map(|position| {
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
        ) {
            let index = AnchorIndex::of(&old).unwrap();
            for position in 0..new.len() {
                let Some(Found { length, start, at, .. }) = index.find(&Scan::new(&old, &new, 8), position)
                else { continue };
                prop_assert!(start.0 <= position && position - start.0 < STRIDE);
                prop_assert_eq!(&new[start.0..start.0 + length], &old[at..at + length]);
            }
        }
    }
}
