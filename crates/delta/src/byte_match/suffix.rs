//! A suffix array, and the longest match in it.

use super::candidates::{Index, Match, Scan};
use super::common_prefix;
use super::grams::GramFilter;

/// All suffixes of a string in lexical order.
pub(super) struct SuffixIndex<'a> {
    text: &'a [u8],
    sorted: Vec<i32>,
    /// The leading bytes of each [`STRIDE`]th suffix in `sorted`: most of a search is done in these, which
    /// lie beside each other, rather than all over the text.
    keys: Vec<u64>,
    grams: GramFilter,
}

/// Suffixes for each key.
const STRIDE: usize = 64;

/// Suffixes on either side that are looked at for a nearer match.
const NEIGHBOURS: usize = 64;

impl<'a> SuffixIndex<'a> {
    /// Sorts the suffixes of `text`, or gives up where it is too long for 32-bit entries. Matches of less than
    /// `min_bytes` are of no interest.
    pub(super) fn of(text: &'a [u8], min_bytes: usize) -> Option<Self> {
        let sorted = sort_suffixes(text)?;
        let key = |at: &i32| key_of(&text[usize::try_from(*at).unwrap_or(0)..]);
        let keys = sorted.iter().step_by(STRIDE).map(key).collect();
        Some(Self { text, sorted, keys, grams: GramFilter::of(text, min_bytes) })
    }

    /// Whether `length` bytes of `bytes` from `position` on may be somewhere in the text: to be asked before a search.
    pub(super) fn may_have(&self, bytes: &[u8], position: usize, length: usize) -> bool {
        self.grams.may_have(bytes, position, length)
    }

    /// The longest prefix of `needle` that occurs in the text; shorter than 2 bytes counts as none, of length 0.
    pub(super) fn longest_match(&self, needle: &[u8]) -> Match {
        self.search(needle).0
    }

    /// Of the match that [`Self::search`] found and a few that are as long, the one that is nearest to `expected`.
    fn nearest(&self, needle: &[u8], found: (Match, usize), expected: usize) -> Match {
        let (found, rank) = found;
        let place = |entry: &i32| usize::try_from(*entry).unwrap_or(0);
        let (before, after) = self.sorted.split_at(rank);
        let is_as_long = |at: &usize| self.text[*at..].starts_with(&needle[..found.length]);
        let after = after.iter().take(NEIGHBOURS).map(place).take_while(is_as_long);
        let before = before.iter().rev().take(NEIGHBOURS).map(place).take_while(is_as_long);
        let distance = |at: &usize| at.abs_diff(expected);
        let nearest = [found.at].into_iter().chain(before).chain(after).min_by_key(distance);
        Match { at: nearest.unwrap_or(found.at), ..found }
    }

    /// The longest match, and where in the order of suffixes the needle would be.
    fn search(&self, needle: &[u8]) -> (Match, usize) {
        let key = key_of(needle);
        let below = self.keys.partition_point(|other| *other < key);
        let not_above = end_of_equals(&self.keys, below, key);
        let mut low = below.saturating_sub(1) * STRIDE;
        let mut high = (not_above * STRIDE + 1).min(self.sorted.len());
        // Both ends keep the length that they share with the needle: what lies between shares at
        // least the smaller of the two, and is compared from there on.
        let mut best = Match::default();
        let (mut low_shared, mut high_shared) = (0, 0);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = usize::try_from(self.sorted[middle]).unwrap_or(0);
            let suffix = &self.text[at..];
            let known = low_shared.min(high_shared).min(suffix.len());
            let shared = known + common_prefix(&suffix[known..], &needle[known..]);
            if shared > best.length {
                best = Match { at, length: shared };
            }
            if shared == needle.len() {
                low = middle;
                break;
            }
            if suffix.get(shared) < needle.get(shared) {
                low = middle + 1;
                low_shared = shared;
            } else {
                high = middle;
                high_shared = shared;
            }
        }
        (if best.length < 2 { Match::default() } else { best }, low)
    }
}

impl Index for SuffixIndex<'_> {
    fn better_match(&self, scan: &mut Scan<'_>) -> Option<Match> {
        if !self.may_have(scan.new, scan.position, scan.bytes_to_gain()) {
            return None;
        }
        let needle = scan.needle();
        let found = self.search(needle);
        let is_better = scan.is_better(found.0.length, scan.position);
        is_better.then(|| self.nearest(needle, found, scan.expected(scan.position)))
    }
}

/// The end of the run of keys that are `key`, which starts at `start`: seldom far away.
fn end_of_equals(keys: &[u64], start: usize, key: u64) -> usize {
    let (mut known, mut step) = (start, 1);
    while keys.get(known + step - 1) == Some(&key) {
        known += step;
        step *= 2;
    }
    let end = keys.len().min(known + step - 1);
    known + keys[known..end].partition_point(|other| *other == key)
}

/// The first 8 bytes as a number that orders as they do; what is missing counts as zeros.
fn key_of(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut chunk = [0; 8];
            chunk[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(chunk)
        }
    }
}

#[allow(unsafe_code)]
fn sort_suffixes(text: &[u8]) -> Option<Vec<i32>> {
    let length = i32::try_from(text.len()).ok()?;
    let mut sorted = vec![0i32; text.len()];
    if length == 0 {
        return Some(sorted);
    }
    // SAFETY: `text` and `sorted` are valid for `length` elements each, as libsais asks; no free
    // space (0) and no frequency table (null) are offered; it writes only to `sorted`.
    let status = unsafe {
        libsais_sys::libsais::libsais(
            text.as_ptr(),
            sorted.as_mut_ptr(),
            length,
            0,
            std::ptr::null_mut(),
        )
    };
    (status == 0).then_some(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_longest_match_is_as_long_as_the_naive_one(
            text in proptest::collection::vec(0u8..3, 0..200),
            needle in proptest::collection::vec(0u8..3, 0..20),
        ) {
            let found = SuffixIndex::of(&text, 2).unwrap().longest_match(&needle);
            let naive = (0..text.len()).map(|at| common_prefix(&text[at..], &needle)).max().unwrap_or(0);
            prop_assert_eq!(found.length, if naive < 2 { 0 } else { naive });
            prop_assert!(text[found.at..].starts_with(&needle[..found.length]));
        }
    }
}
