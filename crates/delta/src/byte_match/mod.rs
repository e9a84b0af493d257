//! Matching two byte strings that are in memory: which ranges of the new one are *like* ranges of
//! the old one, differences within them allowed.
//!
//! Candidates are found as Colin Percival does ([*Naive differences of executable code*](https://www.daemonology.net/papers/bsdiff.pdf),
//! 2003): exact matches, from a suffix array, that beat the alignment which is in force; where they need not be
//! short, from a table of places instead. Which of them are taken, from where to where, is then what comes to the
//! fewest bytes when it is coded.

mod anchors;
mod candidates;
pub(crate) mod cost;
mod cover_tree;
mod exact_runs;
mod grams;
mod literal_cost;
mod parse;
mod suffix;

use anchors::{AnchorIndex, Stride};
use candidates::{Candidates, Scan};
pub use exact_runs::match_exact_runs;
use parse::{Coded, DIFFERENCES, MOVED_REFERENCES, Sight, cheapest_covers};
use suffix::SuffixIndex;

use crate::effort::Effort;

/// A range of the new bytes that is like a range of the old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteCover {
    /// Offset in the new bytes.
    pub new: usize,
    /// Offset in the old bytes.
    pub old: usize,
    /// Length in both.
    pub length: usize,
}

/// The longest string that can be matched: suffix arrays have 32-bit entries.
const MAX_BYTES: u64 = i32::MAX as u64;

/// The covers of `new` by `old` that cost the least, in the order of `new`, none overlapping another, or `None`
/// where either is longer than `i32::MAX` bytes.
pub fn match_bytes(old: &[u8], new: &[u8], effort: Effort) -> Option<Vec<ByteCover>> {
    match_stand_ins(old, new, new, effort)
}

/// The same where bytes stand for others that are as many: literals will be taken from `literals`.
pub(crate) fn match_stand_ins(
    old: &[u8],
    new: &[u8],
    literals: &[u8],
    effort: Effort,
) -> Option<Vec<ByteCover>> {
    let coded = Coded { literals, differences: DIFFERENCES };
    match_costing(old, new, Search::of(effort), coded)
}

/// The covers of `new` by `old`, two executables, that say best where what went. What they are for says how much is
/// tried: with [`Effort::Fast`] they are also those that are coded.
pub(crate) fn match_to_vote(old: &[u8], new: &[u8], effort: Effort) -> Option<Vec<ByteCover>> {
    let coded = Coded { literals: new, differences: MOVED_REFERENCES };
    match_costing(old, new, Search::for_votes(effort), coded)
}

/// How candidates are looked for.
struct Search {
    index: IndexKind,
    min_gain_bytes: usize,
    sight: Sight,
}

enum IndexKind {
    Anchors(Stride),
    Suffixes,
}

impl Search {
    fn of(effort: Effort) -> Self {
        let (index, min_gain_bytes, most, lead_bytes) = match effort {
            Effort::Fast => (IndexKind::Anchors(Stride::Two), 8, 8, 40),
            Effort::Default => (IndexKind::Suffixes, 3, 8, 40),
            Effort::Best => (IndexKind::Suffixes, 2, 24, 64),
        };
        Self { index, min_gain_bytes, sight: Sight { most, lead_bytes } }
    }

    fn for_votes(effort: Effort) -> Self {
        let stride = if effort == Effort::Fast { Stride::Two } else { Stride::Eight };
        Self { index: IndexKind::Anchors(stride), ..Self::of(Effort::Fast) }
    }
}

fn match_costing(
    old: &[u8],
    new: &[u8],
    search: Search,
    coded: Coded<'_>,
) -> Option<Vec<ByteCover>> {
    debug_assert_eq!(coded.literals.len(), new.len());
    if old.len().max(new.len()) as u64 > MAX_BYTES {
        return None;
    }
    if let Some(whole) = nearly_equal(old, new) {
        return Some(vec![whole]);
    }
    let Search { index, min_gain_bytes, sight } = search;
    let scan = Scan::new(old, new, min_gain_bytes);
    Some(match index {
        IndexKind::Anchors(stride) => {
            let index = AnchorIndex::of(old, stride)?;
            cheapest_covers(old, new, Candidates::new(scan, &index), coded, sight)
        }
        IndexKind::Suffixes => {
            let index = SuffixIndex::of(old, min_gain_bytes + 1)?;
            cheapest_covers(old, new, Candidates::new(scan, &index), coded, sight)
        }
    })
}

/// Strings of one length that agree nearly everywhere need no search: their diagonal is the cover.
fn nearly_equal(old: &[u8], new: &[u8]) -> Option<ByteCover> {
    if old.len() != new.len() || new.is_empty() {
        return None;
    }
    let different = old.iter().zip(new).filter(|(a, b)| a != b).count();
    (different <= new.len() / 256).then_some(ByteCover { new: 0, old: 0, length: new.len() })
}

/// How many leading bytes two strings share.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let mut shared = 0;
    for (x, y) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let unequal = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if unequal != 0 {
            return shared + (unequal.trailing_zeros() / 8) as usize;
        }
        shared += 8;
    }
    shared + a[shared..].iter().zip(&b[shared..]).take_while(|(x, y)| x == y).count()
}

/// Peak memory of [`match_bytes`], both strings included; no memory is enough where one is too long.
pub fn memory_bytes(old_bytes: u64, new_bytes: u64) -> u64 {
    if old_bytes.max(new_bytes) > MAX_BYTES {
        return u64::MAX;
    }
    // The old string, entries of the suffix array, a key for each 64th; the new string.
    let index = old_bytes.saturating_mul(5).saturating_add(old_bytes / 8);
    let index = index.saturating_add(grams::GramFilter::memory_bytes(old_bytes));
    // When the index is gone, the new string's parts for a trial.
    let trial = old_bytes.saturating_add(new_bytes.saturating_mul(3));
    trial.max(index.saturating_add(new_bytes)).saturating_add(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The covers by default; all efforts have sound ones.
    fn check(old: &[u8], new: &[u8]) -> Vec<ByteCover> {
        let [_, covers, _] = [Effort::Fast, Effort::Default, Effort::Best]
            .map(|effort| check_with(effort, old, new));
        covers
    }

    fn check_with(effort: Effort, old: &[u8], new: &[u8]) -> Vec<ByteCover> {
        let covers = match_bytes(old, new, effort).unwrap();
        let mut end = 0;
        for cover in &covers {
            assert!(cover.new >= end && cover.length > 0, "{covers:?}");
            end = cover.new + cover.length;
            assert!(end <= new.len() && cover.old + cover.length <= old.len(), "{covers:?}");
        }
        covers
    }

    proptest! {
        #[test]
        fn covers_are_in_order_and_in_bounds(
            old in proptest::collection::vec(0u8..4, 0..400),
            new in proptest::collection::vec(0u8..4, 0..400),
        ) {
            check(&old, &new);
        }
    }

    /// Pseudo-random bytes (xorshift), so that nothing matches by chance.
    pub(super) fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()[3]
        })
        .take(length)
        .collect()
    }

    #[test]
    fn moved_blocks_are_found_whole() {
        let [a, b, c] = [noise(5000, 1), noise(3000, 2), noise(4000, 3)];
        let old = [&a[..], &b, &c].concat();
        let new = [&c[..], &a, &noise(100, 9), &b].concat();
        let covers = check(&old, &new);
        let covered: usize = covers.iter().map(|c| c.length).sum();
        assert_eq!(covers.len(), 3, "{covers:?}");
        assert!(covered >= 12000, "{covers:?}");
    }

    /// What is replaced by as many bytes leaves the alignment as it was, with nothing to search for behind.
    #[test]
    fn an_alignment_comes_back_after_bytes_that_were_replaced() {
        let old = noise(50_000, 5);
        for replaced in [40, 100, 5000] {
            let before = &old[..20_000];
            let new =
                [before, &noise(replaced, 8), &old[20_000 + replaced..], &noise(10, 7)].concat();
            for effort in [Effort::Fast, Effort::Default, Effort::Best] {
                let covers = check_with(effort, &old, &new);
                let covered: usize = covers.iter().map(|cover| cover.length).sum();
                assert!(covered + replaced >= 49_990, "{effort:?} {replaced} {covers:?}");
            }
        }
    }

    #[test]
    fn scattered_differences_stay_inside_one_cover() {
        let old = noise(20_000, 5);
        let mut new = old.clone();
        new.iter_mut().step_by(37).for_each(|byte| *byte ^= 1);
        new.extend(noise(10, 7));
        let covers = check(&old, &new);
        assert_eq!(covers.len(), 1, "{covers:?}");
        assert!(covers[0].length >= 19_990, "{covers:?}");
    }

    #[test]
    fn repetition_does_not_take_quadratic_time() {
        // Long runs on competing alignments: a scan byte by byte would compare 10^11 bytes here.
        let mut old = vec![0u8; 300_000];
        let mut new = old.clone();
        old.iter_mut().step_by(50_000).for_each(|byte| *byte = 1);
        new.iter_mut().step_by(49_999).for_each(|byte| *byte = 2);
        let covered: usize = check(&old, &new).iter().map(|cover| cover.length).sum();
        assert!(covered > 299_000);
    }
}
