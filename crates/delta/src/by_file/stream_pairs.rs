//! Files that may hold deflate streams, read for [`match_streams`] within the budget.

use super::budget::Budget;
use super::pairs::{Pair, PairMatch, length, read_range};
use super::streams::{Old, StreamLimits, StreamMatch, match_streams, memory_bytes};
use super::{MatchOptions, Sides};
use crate::block_match::MatchError;
use crate::cover::OriginId;

/// A stream that holds more than this many times its file is not matched by what it holds.
const MAX_RATIO: u64 = 16;

/// The match of a file by the deflate streams in it; `None` where there are none that are of use.
pub(super) fn match_by_streams(
    sides: &Sides<'_, '_>,
    pair: &Pair,
    options: &MatchOptions,
    budget: &Budget,
) -> Result<Option<PairMatch>, MatchError> {
    let old = pair.old.map(|old| (OriginId(old.origin), &sides.member(old).data));
    let (old_bytes, new_bytes) = (old.map_or(0, |(_, old)| length(old)), length(&pair.new));
    let plain_bytes = options.region_bytes.min(new_bytes.max(old_bytes).saturating_mul(MAX_RATIO));
    let (region_bytes, effort) = (options.region_bytes, options.effort);
    let limits = StreamLimits { region_bytes, plain_bytes, effort };
    let needed = memory_bytes(old_bytes, new_bytes, &limits);
    if !budget.allows(needed) {
        return Ok(None);
    }
    budget.with(needed, || {
        let new =
            read_range(sides.target, &pair.new).map_err(|source| MatchError::Target { source })?;
        let old = old.map(|(origin, range)| {
            let bytes = read_range(sides.origin(origin.0), range);
            let bytes = bytes.map_err(|source| MatchError::Origin { origin, source })?;
            Ok((bytes, origin, range.start))
        });
        let old = old.transpose()?;
        let old = old.as_ref().map(|(bytes, origin, at)| Old { bytes, origin: *origin, at: *at });
        let Some(found) = match_streams(&new, old, limits) else { return Ok(None) };
        let StreamMatch { mut covers, mut regions, .. } = found;
        covers.iter_mut().for_each(|cover| cover.target += pair.new.start);
        for region in &mut regions {
            region.target.start += pair.new.start;
            region.target.end += pair.new.start;
        }
        Ok(Some(PairMatch { covers, regions }))
    })
}
