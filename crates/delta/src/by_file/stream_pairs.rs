//! Files that may hold deflate streams, matched by them within the budget.

use super::pairs::{Pair, PairMatch, length};
use super::streams::{
    MAX_RATIO, Old, StreamLimits, StreamMatch, match_streams, match_streams_within, memory_bytes,
};
use super::{MatchOptions, Sides};
use crate::block_match::MatchError;
use crate::cover::OriginId;
use crate::read_at::{Part, ReadAt};

/// A new file that may hold deflate streams, and the old one.
pub(super) struct StreamPair<'a> {
    pair: &'a Pair,
    old_bytes: u64,
    limits: StreamLimits,
}

impl<'a> StreamPair<'a> {
    pub(super) fn new(sides: &Sides<'_, '_>, pair: &'a Pair, options: &MatchOptions) -> Self {
        let old_bytes = pair.old.map_or(0, |old| length(&sides.member(old).data));
        let most = length(&pair.new).max(old_bytes).saturating_mul(MAX_RATIO);
        let region_bytes = options.largest_region_bytes.max(options.region_bytes);
        let (plain_bytes, effort) = (region_bytes.min(most), options.effort);
        Self { pair, old_bytes, limits: StreamLimits { region_bytes, plain_bytes, effort } }
    }

    /// Memory that [`Self::match_whole`] takes.
    pub(super) fn memory_bytes(&self) -> u64 {
        memory_bytes(self.old_bytes, length(&self.pair.new), &self.limits)
    }

    /// The match of the file by the deflate streams in it; `None` where there are none that are of use.
    pub(super) fn match_whole(
        &self,
        sides: &Sides<'_, '_>,
    ) -> Result<Option<PairMatch>, MatchError> {
        self.run(sides, |new, old| match_streams(new, old, self.limits))
    }

    /// The same for a file that is too large for that, stream by stream in `memory_bytes`.
    pub(super) fn match_within(
        &self,
        memory_bytes: u64,
        sides: &Sides<'_, '_>,
    ) -> Result<Option<PairMatch>, MatchError> {
        self.run(sides, |new, old| match_streams_within(memory_bytes, new, old, self.limits))
    }

    fn run(
        &self,
        sides: &Sides<'_, '_>,
        find: impl FnOnce(&dyn ReadAt, Option<Old<'_>>) -> Result<Option<StreamMatch>, MatchError>,
    ) -> Result<Option<PairMatch>, MatchError> {
        let new = Part::new(sides.target, self.pair.new.clone());
        let old = self.pair.old.map(|old| {
            let data = sides.member(old).data.clone();
            (Part::new(sides.origin(old.origin), data.clone()), OriginId(old.origin), data.start)
        });
        let old = old.as_ref().map(|(bytes, origin, at)| Old { bytes, origin: *origin, at: *at });
        let Some(found) = find(&new, old)? else { return Ok(None) };
        let StreamMatch { mut covers, mut regions, .. } = found;
        let start = self.pair.new.start;
        covers.iter_mut().for_each(|cover| cover.target += start);
        for region in &mut regions {
            region.target.start += start;
            region.target.end += start;
        }
        Ok(Some(PairMatch { covers, regions }))
    }
}
