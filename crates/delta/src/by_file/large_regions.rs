//! Regions that take more than their usual share of the device's memory, and which are worth it.

use super::pairs::{Pair, PairMatch, length, match_all};
use super::{MatchOptions, Sides};
use crate::block_match::MatchError;
use crate::region::{Region, uncovered_bytes};

/// Bytes that nothing is like are compressed to one in so many, roughly.
const COMPRESSED: u64 = 2;
/// Where the largest region takes so many times its usual share more than that, a delta is twice as large: what windows
/// there is room for then. Of four large images it was 0.6 to 1.1 % with two fifths of the share more, 2.0 to 2.7 %
/// with four fifths, 3.0 to 5.1 % with six.
const SHARES_FOR_TWICE: u64 = 28;

/// Matches the files that have such regions again without those that save less than what the whole delta loses by
/// smaller windows.
pub(super) fn keep_if_worthwhile(
    sides: &Sides<'_, '_>,
    pairs: &[Pair],
    mut matched: Vec<PairMatch>,
    options: &MatchOptions,
) -> Result<Vec<PairMatch>, MatchError> {
    let regions = matched.iter().flat_map(|found| &found.regions);
    let large = regions.filter(|region| region.resident_bytes() > options.region_bytes);
    let large: Vec<Large> = large.map(Large::of).collect();
    if large.is_empty() {
        return Ok(matched);
    }
    let largest = best_limit(large, delta_bytes(pairs, &matched), options.region_bytes);
    let is_too_large =
        |found: &PairMatch| found.regions.iter().any(|r| r.resident_bytes() > largest);
    let left: Vec<usize> = (0..matched.len()).filter(|i| is_too_large(&matched[*i])).collect();
    let again: Vec<Pair> = left.iter().map(|i| pairs[*i].clone()).collect();
    let options = MatchOptions { largest_region_bytes: largest, ..*options };
    let found = match_all(sides, &again, &options)?;
    for (i, found) in left.into_iter().zip(found) {
        matched[i] = found;
    }
    Ok(matched)
}

/// A region: what it takes on the device, and what it saves, roughly.
#[derive(Debug, Clone, Copy)]
struct Large {
    resident: u64,
    saved: u64,
}

impl Large {
    fn of(region: &Region) -> Self {
        let made = region.uncovered_bytes() / COMPRESSED;
        let saved = length(&region.target).saturating_sub(made);
        Self { resident: region.resident_bytes(), saved }
    }
}

/// The most that a region is to take, so that those which take no more save most beside what windows lose.
fn best_limit(mut large: Vec<Large>, delta_bytes: u64, usual: u64) -> u64 {
    large.sort_unstable_by_key(|region| region.resident);
    let (mut limit, mut best, mut saved) = (usual, 0, 0u64);
    for Large { resident, saved: more } in large {
        saved = saved.saturating_add(more);
        let lost = u128::from(delta_bytes) * u128::from(resident - usual)
            / u128::from(usual * SHARES_FOR_TWICE);
        let gained = saved.saturating_sub(u64::try_from(lost).unwrap_or(u64::MAX));
        if gained > best {
            (limit, best) = (resident, gained);
        }
    }
    limit
}

/// What all files come to, roughly.
fn delta_bytes(pairs: &[Pair], matched: &[PairMatch]) -> u64 {
    let uncovered = pairs
        .iter()
        .zip(matched)
        .map(|(pair, found)| uncovered_bytes(length(&pair.new), &found.covers, &found.regions));
    uncovered.sum::<u64>() / COMPRESSED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_kept_that_save_more_than_windows_lose() {
        const USUAL: u64 = 5 << 20;
        const DELTA: u64 = 28 << 20;
        let large = |tenths: u64, saved| Large { resident: USUAL + USUAL / 10 * tenths, saved };
        let limit = |regions: &[Large]| best_limit(regions.to_vec(), DELTA, USUAL);
        // For a tenth of the share windows lose a tenth of a mebibyte.
        let tenth = (1 << 20) / 10;
        assert_eq!(limit(&[]), USUAL);
        assert_eq!(limit(&[large(3, 3 * tenth - 1000)]), USUAL);
        assert_eq!(limit(&[large(3, 3 * tenth + 1000)]), large(3, 0).resident);
        // Together what neither is alone; and one that is not worth it beside one that is.
        let two = [large(4, 2 * tenth), large(3, 2 * tenth + 1000)];
        assert_eq!(limit(&two), large(4, 0).resident);
        let two = [large(9, 5 * tenth), large(1, 2 * tenth)];
        assert_eq!(limit(&two), large(1, 0).resident);
    }
}
