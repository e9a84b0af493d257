//! Files that may hold deflate streams, matched by them within the budget.

use super::file::{FoundStreams, Needs};
use super::{MAX_RATIO, Old, StreamLimits, StreamMatch};
use crate::block_match::MatchError;
use crate::by_file::budget::Budget;
use crate::by_file::pairs::{Pair, PairMatch, length};
use crate::by_file::{MatchOptions, Sides};
use crate::cover::OriginId;
use crate::read_at::Part;

/// What needs more than one part in so many of the budget is matched alone, its streams side by side.
const LARGE_OF_BUDGET: u64 = 4;

/// A new file that may hold deflate streams, and the old one.
pub(in crate::by_file) struct StreamPair<'a> {
    pair: &'a Pair,
    old_bytes: u64,
    limits: StreamLimits,
}

/// What came of matching a file beside others.
pub(in crate::by_file) enum Attempt {
    /// It is made so.
    Matched(PairMatch),
    /// There are no streams that are of use.
    Nothing,
    /// It takes so much memory that it is better matched alone.
    TooLarge,
}

impl<'a> StreamPair<'a> {
    pub(in crate::by_file) fn new(
        sides: &Sides<'_, '_>,
        pair: &'a Pair,
        options: &MatchOptions,
    ) -> Self {
        let old_bytes = pair.old.map_or(0, |old| length(&sides.member(old).data));
        let most = length(&pair.new).max(old_bytes).saturating_mul(MAX_RATIO);
        let region_bytes = options.largest_region_bytes.max(options.region_bytes);
        let (plain_bytes, effort) = (region_bytes.min(most), options.effort);
        let limits = StreamLimits { region_bytes, plain_bytes, inner_bytes: plain_bytes, effort };
        Self { pair, old_bytes, limits }
    }

    /// Matches the file by the deflate streams in it, one after the other, if that takes little of the budget.
    pub(in crate::by_file) fn match_beside_others(
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
            if found.is_empty() {
                return Ok(Attempt::Nothing);
            }
            let Needs { memory_bytes, inner_bytes } = found.needs()?;
            if memory_bytes > most {
                return Ok(Attempt::TooLarge);
            }
            let matched = budget.with(memory_bytes, || found.match_one_by_one(inner_bytes))?;
            Ok(matched.map_or(Attempt::Nothing, |found| Attempt::Matched(self.in_layer(found))))
        };
        self.with_streams(sides, attempt)
    }

    /// Matches the file by its streams, side by side in `memory_bytes`; `None` where there are none that are of
    /// use.
    pub(in crate::by_file) fn match_alone(
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
