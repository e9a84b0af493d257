//! Regions that take more than their usual share of the device's memory, and whether they are worth it.

use super::pairs::{Pair, PairMatch, length, match_all};
use super::{MatchOptions, Sides};
use crate::block_match::MatchError;
use crate::region::{Region, uncovered_bytes};

/// Bytes that nothing is like are compressed to one in so many, roughly.
const COMPRESSED: u64 = 2;
/// Where little memory is left for windows, a delta is larger by up to one part in so many (a layer of Python
/// packages by 6 %, of Debian's by 5 %, with windows of a quarter the size).
const WINDOWS_GAIN: u64 = 12;

/// Matches the files that have such regions again without, unless what those save is more than what the whole
/// delta loses by smaller windows.
pub(super) fn keep_if_worthwhile(
    sides: &Sides<'_, '_>,
    pairs: &[Pair],
    mut matched: Vec<PairMatch>,
    options: &MatchOptions,
) -> Result<Vec<PairMatch>, MatchError> {
    let has_large = |found: &PairMatch| found.regions.iter().any(|r| is_large(r, options));
    let large: Vec<usize> = (0..matched.len()).filter(|i| has_large(&matched[*i])).collect();
    if large.is_empty() {
        return Ok(matched);
    }
    let saved: u64 = large.iter().map(|i| saved_bytes(&matched[*i], options)).sum();
    if saved > delta_bytes(pairs, &matched) / WINDOWS_GAIN {
        return Ok(matched);
    }
    let again: Vec<Pair> = large.iter().map(|i| pairs[*i].clone()).collect();
    let found = match_all(sides, &again, &options.without_large_regions())?;
    for (i, found) in large.into_iter().zip(found) {
        matched[i] = found;
    }
    Ok(matched)
}

/// What all files come to, roughly.
fn delta_bytes(pairs: &[Pair], matched: &[PairMatch]) -> u64 {
    let uncovered = pairs
        .iter()
        .zip(matched)
        .map(|(pair, found)| uncovered_bytes(length(&pair.new), &found.covers, &found.regions));
    uncovered.sum::<u64>() / COMPRESSED
}

/// What the large regions of a file save, roughly.
fn saved_bytes(found: &PairMatch, options: &MatchOptions) -> u64 {
    let saved = |region: &Region| {
        let made = region.uncovered_bytes() / COMPRESSED;
        length(&region.target).saturating_sub(made)
    };
    found.regions.iter().filter(|region| is_large(region, options)).map(saved).sum()
}

fn is_large(region: &Region, options: &MatchOptions) -> bool {
    region.resident_bytes() > options.region_bytes
}
