//! Where old addresses are in the new file: by the covers, and by what earlier references taught.

use super::cover_map::{CoverMap, Mapped};
use super::learned::{LearnedMap, ZeroedMap};
use super::segments::Segments;
use super::site::{Kind, Meaning, Prediction, Site, sign_extend};
use super::{ReferenceError, RegionCover};

/// Maps old addresses to new ones.
#[derive(Debug)]
pub(super) struct AddressMap {
    old: Segments,
    new: Segments,
    covers: Vec<RegionCover>,
    by_old: CoverMap,
    learned: LearnedMap,
    zeroed: ZeroedMap,
    /// Where old pages were last seen to have gone, by their number.
    pages: [(u64, u64); PAGES],
}

/// Pages that are remembered at once.
const PAGES: usize = 32;

/// The offset in a page.
const PAGE: u64 = 0xfff;

/// A length that is predicted is no more than this many times the old one …
const MAX_GROWTH: u64 = 4;
/// … and so many bytes.
const MAX_GROWTH_BYTES: u64 = 4096;

impl AddressMap {
    #[cfg(test)]
    pub(super) const BYTES_PER_COVER: u64 =
        CoverMap::BYTES_PER_COVER + size_of::<RegionCover>() as u64;
    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = CoverMap::MEMORY_BYTES;

    pub(super) fn new(
        old: &Segments,
        parameters: &[u8],
        covers: Vec<RegionCover>,
        region_bytes: u64,
    ) -> Result<Self, ReferenceError> {
        Ok(Self {
            new: Segments::from_parameters(parameters, old)?,
            old: old.clone(),
            by_old: CoverMap::new(&covers),
            covers,
            learned: LearnedMap::new(region_bytes),
            zeroed: ZeroedMap::default(),
            pages: [(u64::MAX, 0); PAGES],
        })
    }

    /// The covers, in order.
    pub(super) fn covers(&self) -> &[RegionCover] {
        &self.covers
    }

    fn map_offset(&self, offset: u64) -> Mapped {
        self.by_old.map(&self.covers, offset)
    }

    /// Looks up what a site refers to, once for [`predict`](Self::predict) and [`learn`](Self::learn).
    pub(super) fn look_up(&self, site: &Site) -> Option<Target> {
        let old = site.meaning.target()?;
        Some(Target { old, by_covers: self.by_covers(old) })
    }

    /// Predicts what stands at `place` of the region for a site whose old bytes are `bytes`.
    pub(super) fn predict(
        &self,
        site: &Site,
        target: Option<&Target>,
        place: u64,
        bytes: u64,
    ) -> Prediction {
        let operand = self.operand(site, target, place);
        let operand = operand.unwrap_or_else(|| site.form.operand(bytes));
        Prediction {
            place,
            width: site.form.width(),
            group: site.kind.group(),
            predicted: site.form.with_operand(bytes, operand),
            form: site.form,
        }
    }

    fn operand(&self, site: &Site, target: Option<&Target>, place: u64) -> Option<u64> {
        let base = || self.base(site, place);
        let target = || self.place_of(target?);
        Some(match site.meaning {
            Meaning::Relative { .. } | Meaning::Based { .. } | Meaning::Absolute { .. } => {
                target()?.wrapping_sub(base()?)
            }
            Meaning::Half { .. } => target()?,
            Meaning::Page { .. } => (target()? & !PAGE).wrapping_sub(base()?),
            Meaning::PageOffset { .. } => target()? & PAGE,
            Meaning::Backward { .. } => base()?.wrapping_sub(target()?),
            Meaning::Length { start, end } => self.length(start, end)?,
            Meaning::FileOffset(offset) => {
                self.map_offset(offset.saturating_sub(1)).offset.wrapping_add(1)
            }
        })
    }

    /// What a site's operand is counted from, in the new file.
    fn base(&self, site: &Site, place: u64) -> Option<u64> {
        match site.meaning {
            Meaning::Relative { bias, .. } => {
                self.new.address_of(place).map(|address| address.wrapping_add(bias))
            }
            Meaning::Backward { .. } => self.new.address_of(place),
            Meaning::Based { base, .. } => self.map(base),
            Meaning::Page { .. } => self.new.address_of(place).map(|address| address & !PAGE),
            Meaning::PageOffset { target } => self.page_of(target),
            Meaning::Absolute { .. } | Meaning::Half { .. } => Some(0),
            Meaning::Length { .. } | Meaning::FileOffset(_) => None,
        }
    }

    /// The new page of what an old page holds, as an instruction for it said last.
    fn page_of(&self, target: u64) -> Option<u64> {
        let (old, new) = self.pages[page_slot(target)];
        (old == target >> 12).then_some(new)
    }

    fn length(&self, start: u64, end: u64) -> Option<u64> {
        let old_length = end.wrapping_sub(start);
        let new_end = self.by_covers(end.wrapping_sub(1))?.address.wrapping_add(1);
        let length = new_end.wrapping_sub(self.map(start)?);
        let most = old_length.saturating_mul(MAX_GROWTH).saturating_add(MAX_GROWTH_BYTES);
        Some(if length == 0 || length > most { old_length } else { length })
    }

    fn map(&self, address: u64) -> Option<u64> {
        self.learned.get(address).or_else(|| self.by_covers(address).map(|mapped| mapped.address))
    }

    fn place_of(&self, target: &Target) -> Option<u64> {
        let by_covers = target.by_covers.map(|mapped| mapped.address);
        self.learned.get(target.old).or(by_covers)
    }

    /// Where an old address went, by the covers and the segments alone.
    fn by_covers(&self, address: u64) -> Option<MappedAddress> {
        if let Some(offset) = self.old.offset_of(address) {
            let mapped = self.map_offset(offset);
            let (is_exact, in_file) = (mapped.is_exact, true);
            let address = self.new.address_of(mapped.offset)?;
            return Some(MappedAddress { address, is_exact, in_file, is_zeroed: false });
        }
        let (is_exact, in_file) = (false, false);
        let zeroed = |address, is_zeroed| MappedAddress { address, is_exact, in_file, is_zeroed };
        if let Some((number, old)) = self.old.around(address) {
            let file_end = old.address.wrapping_add(old.file_bytes);
            let end = old.address.wrapping_add(old.memory_bytes);
            if let Some((address, is_itself)) = self.zeroed.map(address, file_end, end) {
                return Some(zeroed(address, is_itself));
            }
            let new = self.new.0.get(number)?;
            let new_end = new.address.wrapping_add(new.file_bytes);
            let moved = address.wrapping_sub(file_end).wrapping_add(new_end);
            return Some(zeroed(moved, false));
        }
        None
    }

    /// Where the covers alone put an old address; where one has it, also its offsets in both files.
    pub(super) fn trace(&self, address: u64) -> Option<(u64, Option<(u64, u64)>)> {
        let mapped = self.by_covers(address)?.address;
        let exact = self.old.offset_of(address).and_then(|old| {
            let new = self.map_offset(old);
            new.is_exact.then_some((old, new.offset))
        });
        Some((mapped, exact))
    }

    /// Says where an old address is, if no byte of the old file stands behind it.
    pub(super) fn place_zeroed(&mut self, old: u64, new: u64) {
        if self.old.offset_of(old).is_none() {
            self.zeroed.set(old, new);
        }
    }

    fn learn_page(&mut self, site: &Site, place: u64, target: u64, actual: u64) {
        if let Some(base) = self.base(site, place) {
            let page = base.wrapping_add(site.form.operand(actual));
            self.pages[page_slot(target)] = (target >> 12, page);
        }
    }

    /// Takes in what stands at `place` for `site`. Nothing was learned since its target was looked up.
    pub(super) fn learn(&mut self, site: &Site, target: Option<&Target>, place: u64, actual: u64) {
        let Some(&Target { old, by_covers }) = target else { return };
        if let Meaning::Page { target } = site.meaning {
            return self.learn_page(site, place, target, actual);
        }
        let Some(base) = self.base(site, place) else { return };
        let operand = site.form.operand(actual);
        let new = match site.meaning {
            Meaning::Backward { .. } => base.wrapping_sub(operand),
            Meaning::Half { is_high, .. } => {
                let predicted = target.and_then(|target| self.place_of(target));
                whole(predicted.unwrap_or(old), operand, is_high)
            }
            _ => base.wrapping_add(operand),
        };
        let agrees = by_covers.is_some_and(|mapped| mapped.address == new);
        let is_remembered = agrees && by_covers.is_some_and(|mapped| mapped.is_zeroed);
        if !is_remembered && !by_covers.is_some_and(|mapped| mapped.in_file) {
            self.zeroed.set(old, new);
        }
        if !by_covers.is_some_and(|mapped| mapped.is_exact) {
            if !agrees || self.learned.get(old).is_some() {
                self.learned.set(old, new, true);
            }
        } else if site.kind.is_table() {
            // Tables are sorted: what they would teach is the map itself.
        } else if agrees {
            self.learned.remove(old);
        } else {
            let is_trusted = site.kind == Kind::Call || self.learned.has_seen(old, new);
            self.learned.set(old, new, is_trusted);
        }
    }
}

/// The address of which `half` is one half, and the other is as predicted: of the low half, the nearest.
fn whole(predicted: u64, half: u64, is_high: bool) -> u64 {
    match is_high {
        true => half | predicted & 0xffff,
        false => predicted.wrapping_add(sign_extend(half.wrapping_sub(predicted), 16)),
    }
}

/// Where the page of an address is remembered.
fn page_slot(address: u64) -> usize {
    // Below the length, by the remainder.
    usize::try_from((address >> 12) % PAGES as u64).unwrap_or(0)
}

/// What a site refers to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// Its address in the old file.
    old: u64,
    by_covers: Option<MappedAddress>,
}

/// An address in the new file.
#[derive(Debug, Clone, Copy)]
struct MappedAddress {
    address: u64,
    /// Whether a cover has what stands there.
    is_exact: bool,
    /// Whether the file has bytes there.
    in_file: bool,
    /// Whether the zeroed map has it itself.
    is_zeroed: bool,
}
