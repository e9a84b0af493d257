//! Where some short sequences of a string are: enough to find long matches, in a fraction of the time that sorting
//! all suffixes takes.

use std::cmp::Reverse;

use super::candidates::{Index, Match, Scan};
use super::common_prefix;

/// Bytes of a sequence.
const GRAM_BYTES: usize = 8;

/// The sequence at each so-manieth place is known: a match that has one more byte than both is found.
const STRIDE: usize = 2;

/// Of the places of one sequence, so many are looked at: those around the expected one.
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
        // As many buckets as there are places, nearly; with the places they take no more than a suffix array.
        let most = u32::try_from(text.len() / 4 * 3 + 2).ok()?;
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

/// A match, and where in the new bytes it begins.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    length: usize,
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
        let matches = places[first..].iter().take(NEAREST).map(|place| {
            let at = offset_of(*place);
            Match { at, length: common_prefix(&scan.old[at..], needle) }
        });
        let rank = |found: &Match| (found.length, Reverse(found.at.abs_diff(expected)));
        let Match { at, length } = matches.max_by_key(rank)?;
        let before = scan.old[..at].iter().rev().zip(scan.new[..position].iter().rev());
        let before = before.take(STRIDE - 1).take_while(|(old, new)| old == new).count();
        let start = Reverse(position - before);
        Some(Found { length: length + before, start, at: at - before })
    }
}

impl Index for AnchorIndex {
    fn better_match(&self, scan: &mut Scan<'_>) -> Option<Match> {
        let first = self.find(scan, scan.position)?;
        if !scan.is_better(first.length, first.start.0) {
            return None;
        }
        // A longer one that begins here may only be known at the next places.
        let end = scan.new.len().min(scan.position + STRIDE);
        let others = (scan.position + 1..end).filter_map(|position| self.find(scan, position));
        let Found { length, start, at } = others.fold(first, Found::max);
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
    use crate::byte_match::tests::noise;
    use proptest::prelude::*;

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
                let Some(Found { length, start, at }) = index.find(&Scan::new(&old, &new, 8), position)
                else { continue };
                prop_assert!(start.0 <= position && position - start.0 < STRIDE);
                prop_assert_eq!(&new[start.0..start.0 + length], &old[at..at + length]);
            }
        }
    }
}
