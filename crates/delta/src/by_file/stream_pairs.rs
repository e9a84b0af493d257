//! Files that may hold deflate streams, matched by them within the budget.

use super::budget::Budget;
use super::pairs::{Pair, PairMatch, length};
use super::streams::{FoundStreams, MAX_RATIO, Old, StreamLimits, StreamMatch};
use super::{MatchOptions, Sides};
use crate::block_match::MatchError;
use crate::cover::OriginId;
use crate::read_at::Part;

/// What needs more than one part in so many of the budget is matched alone, its streams side by side.
const LARGE_OF_BUDGET: u64 = 4;

/// A new file that may hold deflate streams, and the old one.
pub(super) struct StreamPair<'a> {
    pair: &'a Pair,
    old_bytes: u64,
    limits: StreamLimits,
}

/// What came of matching a file beside others.
pub(super) enum Attempt {
    /// It is made so.
    Matched(PairMatch),
    /// There are no streams that are of use.
    Nothing,
    /// It takes so much memory that it is better matched alone.
    TooLarge,
}

impl<'a> StreamPair<'a> {
    pub(super) fn new(sides: &Sides<'_, '_>, pair: &'a Pair, options: &MatchOptions) -> Self {
        let old_bytes = pair.old.map_or(0, |old| length(&sides.member(old).data));
        let most = length(&pair.new).max(old_bytes).saturating_mul(MAX_RATIO);
        let region_bytes = options.largest_region_bytes.max(options.region_bytes);
        let (plain_bytes, effort) = (region_bytes.min(most), options.effort);
        Self { pair, old_bytes, limits: StreamLimits { region_bytes, plain_bytes, effort } }
    }

    /// Matches the file by the deflate streams in it, one after the other, if that takes little of the budget.
    pub(super) fn match_beside_others(
        &self,
        sides: &Sides<'_, '_>,
        budget: &Budget,
    ) -> Result<Attempt, MatchError> {
        let most = budget.total() / LARGE_OF_BUDGET;
        // Lists of streams are smaller than the files.
        if self.old_bytes.saturating_add(length(&self.pair.new)) > most {
            return Ok(Attempt::TooLarge);
        }
        let attempt = |found: FoundStreams<'_>| {
            let needed = found.memory_bytes()?;
            if needed > most {
                return Ok(Attempt::TooLarge);
            }
            let matched = budget.with(needed, || found.match_one_by_one())?;
            Ok(matched.map_or(Attempt::Nothing, |found| Attempt::Matched(self.in_layer(found))))
        };
        self.with_streams(sides, attempt)
    }

    /// Matches the file by its streams, side by side in `memory_bytes`; `None` where there are none that are of
    /// use.
    pub(super) fn match_alone(
        &self,
        sides: &Sides<'_, '_>,
        memory_bytes: u64,
    ) -> Result<Option<PairMatch>, MatchError> {
        let matched = |found: FoundStreams<'_>| found.match_side_by_side(memory_bytes);
        Ok(self.with_streams(sides, matched)?.map(|found| self.in_layer(found)))
    }

    fn with_streams<T>(
        &self,
        sides: &Sides<'_, '_>,
        work: impl FnOnce(FoundStreams<'_>) -> Result<T, MatchError>,
    ) -> Result<T, MatchError> {
        let new = Part::new(sides.target, self.pair.new.clone());
        let old = self.pair.old.map(|old| {
            let data = sides.member(old).data.clone();
            (Part::new(sides.origin(old.origin), data.clone()), OriginId(old.origin), data.start)
        });
        let old = old.as_ref().map(|(bytes, origin, at)| Old { bytes, origin: *origin, at: *at });
        work(FoundStreams::find(&new, old, self.limits)?)
    }

    /// What was found in the file, where the file is in the layer.
    fn in_layer(&self, found: StreamMatch) -> PairMatch {
        let StreamMatch { mut covers, mut regions, .. } = found;
        let start = self.pair.new.start;
        covers.iter_mut().for_each(|cover| cover.target += start);
        for region in &mut regions {
            region.target.start += start;
            region.target.end += start;
        }
        PairMatch { covers, regions }
    }
}
