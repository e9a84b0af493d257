//! The predictor: old bytes with references moved, piece by piece.

use std::ops::Range;

use super::address_map::AddressMap;
use super::area_index::{AreaIndex, Source};
use super::learned::LearnedMap;
use super::site::Site;
use super::structure::{AreaKind, Structure};
use super::window::Window;
use super::{Machine, ReferenceError, RegionCover, Residuals};
use crate::read_at::{ReadAt, ReadError};

/// A cover is worked on in pieces of so many bytes, and what the last instruction of one has more.
pub(super) const PIECE_BYTES: u64 = 16 << 10;

/// What a predictor takes for each cover, and besides: headers, areas, sites of a piece, and so on.
const BYTES_PER_COVER: u64 = 24;
const FIXED_BYTES: u64 = 768 << 10;

/// A shorter cover is taken as it is: that bounds the work that covers can ask for.
const MIN_COVER_BYTES: u32 = 8;

/// A stretch of the region that [`Predictor::next_piece`] has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Offset of its first byte in the region.
    pub target: u64,
    /// Bytes of it; never 0.
    pub length: u64,
    /// Which cover of the map it belongs to, or comes before.
    pub cover: usize,
}

/// One region being made. The same code runs in the encoder and in the decoder, so that both
/// predict the same.
///
/// Nothing here trusts the old bytes, the parameters or the covers: whatever they are, memory is what
/// [`memory_bytes`](Self::memory_bytes) says, and time is proportional to the region, the old file and the
/// number of covers, which each may make a stretch of a table for unwinding be read.
#[derive(Debug)]
pub struct Predictor {
    old: Range<u64>,
    structure: Structure,
    index: AreaIndex,
    map: AddressMap,
    /// The cover of the map at hand, and how much of it is done, or of the one that comes before it.
    cover: usize,
    done: u32,
    /// The cover at hand that the map does not have.
    unmapped: Option<RegionCover>,
    /// Where the last cover ended in the region and in the old file.
    ends: (u64, u64),
    region_bytes: u64,
    window: Window,
    sites: Vec<Site>,
}

impl Predictor {
    /// No piece is longer.
    pub const MAX_PIECE_BYTES: u64 = PIECE_BYTES + 32;

    /// Bytes that a predictor takes, everything together, that of `covers` included. The same on every
    /// machine: it is part of the format.
    pub fn memory_bytes(region_bytes: u64, covers: u64) -> u64 {
        let fixed = FIXED_BYTES + LearnedMap::memory_bytes(region_bytes);
        covers.saturating_mul(BYTES_PER_COVER).saturating_add(fixed)
    }

    /// How many covers a predictor may have that takes no more than `limit` bytes, if it can at all.
    pub(super) fn most_covers(region_bytes: u64, limit: u64) -> Option<usize> {
        let rest = limit.checked_sub(Self::memory_bytes(region_bytes, 0))?;
        Some(usize::try_from(rest / BYTES_PER_COVER).unwrap_or(usize::MAX))
    }

    /// Begins a region of `region_bytes` that is made of the bytes `old` of `origin`.
    ///
    /// `covers` are in the order of the region, none overlapping another, and within region and old
    /// bytes, which is checked. Reads the headers of the old file once, and its table for unwinding or its objects.
    pub fn new(
        machine: Machine,
        origin: &dyn ReadAt,
        old: Range<u64>,
        parameters: &[u8],
        covers: Vec<RegionCover>,
        region_bytes: u64,
    ) -> Result<Self, ReferenceError> {
        if old.start > old.end || old.end > origin.size() {
            return Err(ReferenceError::Old);
        }
        check(&covers, region_bytes, old.end - old.start)?;
        let structure = Structure::read(origin, &old)?;
        if structure.machine != Some(machine) {
            return Err(ReferenceError::Machine);
        }
        if machine == Machine::Python && !parameters.is_empty() {
            return Err(ReferenceError::Parameters);
        }
        let index = AreaIndex::of(origin, &old, &structure)?;
        let map = AddressMap::new(&structure.segments, parameters, covers, region_bytes)?;
        let (window, sites) = (Window::default(), Vec::new());
        Ok(Self {
            old,
            structure,
            index,
            map,
            cover: 0,
            done: 0,
            unmapped: None,
            ends: (0, 0),
            region_bytes,
            window,
            sites,
        })
    }

    /// The covers, in order.
    pub fn covers(&self) -> &[RegionCover] {
        self.map.covers()
    }

    /// Offset in the region of the next piece; `None` after the last.
    pub fn position(&self) -> Option<u64> {
        let cover = self.current()?;
        Some(u64::from(cover.target) + u64::from(self.done))
    }

    /// The next piece is no longer than this; 0 after the last.
    pub fn next_piece_bytes(&self) -> u64 {
        let left = self.current().map_or(0, |cover| u64::from(cover.length - self.done));
        left.min(Self::MAX_PIECE_BYTES)
    }

    /// Where a cover at `target` is expected in the old file: on the diagonal of the last one.
    pub fn diagonal(&self, target: u64) -> u64 {
        self.ends.1.wrapping_add(target.wrapping_sub(self.ends.0))
    }

    /// Whether what comes after the last cover in the old file is code.
    pub fn is_after_code(&self) -> bool {
        let at = self.ends.1;
        let area = self.structure.areas.partition_point(|area| area.range.end <= at);
        let area = self.structure.areas.get(area);
        area.is_some_and(|area| area.kind == AreaKind::Code && area.range.start <= at)
    }

    /// The machine of the old file.
    pub fn machine(&self) -> Option<Machine> {
        self.structure.machine
    }

    /// Begins a cover that the map does not have: what comes next before the next one of the map.
    pub fn begin_unmapped(&mut self, cover: RegionCover) -> Result<(), ReferenceError> {
        let next = self.map.covers().get(self.cover);
        let limit = next.map_or(self.region_bytes, |next| next.target.into());
        let is_possible = self.unmapped.is_none()
            && self.done == 0
            && is_possible(&cover, self.ends.0, limit, self.old.end - self.old.start);
        if !is_possible {
            return Err(ReferenceError::Covers);
        }
        self.unmapped = Some(cover);
        Ok(())
    }

    /// The cover at hand.
    pub(super) fn current(&self) -> Option<RegionCover> {
        self.unmapped.or_else(|| self.map.covers().get(self.cover).copied())
    }

    /// Makes the next piece of the covers: `out` gets the old bytes, each site in them replaced by what
    /// `residuals` says. `None` after the last.
    ///
    /// `origin` is the one that [`new`](Self::new) was given. Sites are the same for any length of piece,
    /// but frames end where pieces do.
    pub fn next_piece<R: Residuals>(
        &mut self,
        origin: &dyn ReadAt,
        residuals: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<Option<Piece>, R::Error> {
        out.clear();
        let Some(cover) = self.current() else { return Ok(None) };
        let start = u64::from(cover.old) + u64::from(self.done);
        let cover_end = u64::from(cover.old_end());
        let end = (start + PIECE_BYTES).min(cover_end);
        self.sites.clear();
        self.window.read(origin, &self.old, &(start..end))?;
        if cover.length >= MIN_COVER_BYTES {
            self.find_sites(origin, start..end, cover_end)?;
        }
        let end = self.sites.last().map_or(end, |site| end.max(site.end()));
        let length = end - start;
        out.extend(self.window.from(start).iter().take(usize::try_from(length).unwrap_or(0)));

        let target = u64::from(cover.target) + u64::from(self.done);
        for site in &self.sites {
            let place = target + (site.at - start);
            let from = usize::try_from(site.at - start).unwrap_or(usize::MAX);
            let width = usize::from(site.form.width());
            let Some(bytes) = out.get_mut(from..from.saturating_add(width)) else { continue };
            let mut old_bytes = [0; 8];
            old_bytes[..width].copy_from_slice(bytes);
            let target = self.map.look_up(site);
            let old_bytes = u64::from_le_bytes(old_bytes);
            let prediction = self.map.predict(site, target.as_ref(), place, old_bytes);
            let actual = residuals.actual(&prediction)?;
            bytes.copy_from_slice(&actual.to_le_bytes()[..width]);
            self.map.learn(site, target.as_ref(), place, actual);
        }
        let piece = Piece { target, length, cover: self.cover };
        self.done = self.done.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        if self.done >= cover.length {
            self.ends = (cover.target_end().into(), cover.old_end().into());
            self.cover += usize::from(self.unmapped.take().is_none());
            self.done = 0;
        }
        Ok(Some(piece))
    }

    /// Finds the sites that start in `range`, or whose instruction does, and end within the cover.
    fn find_sites(
        &mut self,
        origin: &dyn ReadAt,
        range: Range<u64>,
        cover_end: u64,
    ) -> Result<(), ReadError> {
        let source = Source { structure: &self.structure, origin, old: &self.old };
        let first = self.structure.areas.partition_point(|area| area.range.end <= range.start);
        for area in &self.structure.areas[first..] {
            if area.range.start >= range.end {
                break;
            }
            let within = range.start.max(area.range.start)..range.end.min(area.range.end);
            let end = area.range.end.min(cover_end);
            source.find((area, &mut self.index), &self.window, &within, end, &mut self.sites)?;
        }
        while self.sites.last().is_some_and(|site| site.end() > cover_end) {
            self.sites.pop();
        }
        Ok(())
    }
}

fn check(covers: &[RegionCover], region: u64, old: u64) -> Result<(), ReferenceError> {
    let mut end = 0;
    for cover in covers {
        if !is_possible(cover, end, region, old) {
            return Err(ReferenceError::Covers);
        }
        end = cover.target_end().into();
    }
    Ok(())
}

/// Whether a cover lies between these ends of the region, and within so many old bytes.
fn is_possible(cover: &RegionCover, start: u64, end: u64, old: u64) -> bool {
    let target_end = u64::from(cover.target) + u64::from(cover.length);
    let old_end = u64::from(cover.old) + u64::from(cover.length);
    let limit = u32::MAX.into();
    cover.length > 0
        && u64::from(cover.target) >= start
        && target_end <= end.min(limit)
        && old_end <= old.min(limit)
}

#[cfg(test)]
mod tests {
    use super::super::learned::ZeroedMap;
    use super::*;

    #[test]
    fn no_more_memory_is_taken_than_the_format_says() {
        // A vector that grows takes twice its length.
        let sites = 2 * (PIECE_BYTES / 4) * size_of::<Site>() as u64;
        let pieces = 2 * (PIECE_BYTES + 256);
        let parts = [Structure::MEMORY_BYTES, AreaIndex::MEMORY_BYTES, sites, pieces];
        let fixed = parts.iter().sum::<u64>() + ZeroedMap::MEMORY_BYTES + AddressMap::MEMORY_BYTES;
        assert!(fixed <= FIXED_BYTES, "{fixed}");
        const { assert!(AddressMap::BYTES_PER_COVER <= BYTES_PER_COVER) };
    }
}
