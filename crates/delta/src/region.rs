//! Regions: stretches of a target that are made by a transform, not by covers alone.
//!
//! Matchers make them, the native format says them. An encoding without transforms asks for none
//! ([`Aim::ExactRuns`](crate::by_file::Aim::ExactRuns)).

use std::ops::Range;

use crate::cover::{Cover, OriginId};
use crate::deflate;
use crate::references::{Machine, Predictor, RegionCover};
use crate::tar_map::BLOCK_BYTES;

/// How a stretch of bytes is made: a whole layer, or what a compressed member holds.
///
/// Offsets of targets count from the start of the stretch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// In the order of the target, none overlapping another or a region; neighbours that continue
    /// one another are one cover.
    pub covers: Vec<Cover>,
    /// Offsets of the tar headers in the target, in order; all are multiples of 512. Only layers
    /// have them.
    pub headers: Vec<u64>,
    /// In the order of the target, none overlapping another.
    pub regions: Vec<Region>,
}

/// A range of the target that a transform makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// The range; never empty.
    pub target: Range<u64>,
    /// How it is made.
    pub transform: Transform,
}

/// How a region is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transform {
    /// The range is a deflate stream: its plain bytes are made, and compressed as they were.
    Deflate(Deflate),
    /// The range is an executable: references in the old one are moved before differences are taken.
    References(References),
}

/// A raw deflate stream (RFC 1951), without the header and the trailer of gzip, zlib or zip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deflate {
    /// Length of what it holds.
    pub plain_bytes: u64,
    /// How the compressor's choices differ from the predicted ones.
    pub corrections: Vec<u8>,
    /// What compressing it takes, as [`recreate`](deflate::recreate) counts it.
    pub steps: u64,
    /// Compressed members of origins that are inflated to make the content from.
    pub inflated: Vec<Inflated>,
    /// How the plain bytes are made. Origins are those of the stretch around, and of `inflated` the
    /// ones that [`OriginId::inflated`] numbers.
    pub content: Content,
}

/// A raw deflate stream of an origin, inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inflated {
    /// Where it is. Not itself an inflated one of the same list, but maybe one of a list around.
    pub origin: OriginId,
    /// Where it starts there.
    pub at: u64,
    /// Its length.
    pub compressed_bytes: u64,
    /// Length of what it holds.
    pub plain_bytes: u64,
}

/// An executable that is made out of an old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct References {
    /// Whose code both are.
    pub machine: Machine,
    /// Where the old one is …
    pub origin: OriginId,
    /// … and which bytes of it.
    pub old: Range<u64>,
    /// What the decoder must know of the new one, as its encoder wrote it.
    pub parameters: Vec<u8>,
    /// In the order of the region, none overlapping another. They say where targets went: the device
    /// holds them all.
    pub covers: Vec<RegionCover>,
    /// Further ones between them, in order: they are told as the region is made, and say nothing of others.
    pub unmapped: Vec<RegionCover>,
}

impl Content {
    /// Visits every origin that is named, those of inner contents too.
    pub(crate) fn for_each_origin(&mut self, visit: &mut dyn FnMut(&mut OriginId)) {
        self.covers.iter_mut().for_each(|cover| visit(&mut cover.origin));
        for region in &mut self.regions {
            match &mut region.transform {
                Transform::References(references) => visit(&mut references.origin),
                Transform::Deflate(deflate) => {
                    deflate.inflated.iter_mut().for_each(|member| visit(&mut member.origin));
                    deflate.content.for_each_origin(visit);
                }
            }
        }
    }

    /// How many covers and regions it has, those of inner contents too.
    pub(crate) fn entries(&self) -> u64 {
        let own = (self.covers.len() + self.regions.len()) as u64;
        let inner = self.regions.iter().map(|region| match &region.transform {
            Transform::References(references) => references.cover_count(),
            Transform::Deflate(deflate) => deflate.content.entries(),
        });
        inner.fold(own, u64::saturating_add)
    }

    /// Bytes that no cover makes, those of inner contents too, where all of it is `length` bytes: headers and
    /// padding are among them.
    pub fn uncovered_bytes(&self, length: u64) -> u64 {
        uncovered_bytes(length, &self.covers, &self.regions)
    }

    /// Those without tar headers, which have streams of their own: literals, and padding.
    pub fn literal_bytes(&self, length: u64) -> u64 {
        let is_uncovered = |header: &&u64| {
            let next = self.covers.partition_point(|cover| cover.target_end() <= **header);
            self.covers.get(next).is_none_or(|cover| cover.target > **header)
        };
        let headers = self.headers.iter().filter(is_uncovered).count() as u64;
        self.uncovered_bytes(length).saturating_sub(headers * BLOCK_BYTES)
    }

    /// Whether it has executables of a machine, those of inner contents too.
    pub(crate) fn has_machine(&self, machine: Machine) -> bool {
        self.regions.iter().any(|region| match &region.transform {
            Transform::References(references) => references.machine == machine,
            Transform::Deflate(deflate) => deflate.content.has_machine(machine),
        })
    }

    /// Memory that its regions take at most while they are made.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.regions.iter().map(Region::resident_bytes).max().unwrap_or(0)
    }
}

/// Of `length` bytes, those that no cover makes, be it one within a region.
pub(crate) fn uncovered_bytes(length: u64, covers: &[Cover], regions: &[Region]) -> u64 {
    let covered: u64 = covers.iter().map(|cover| cover.length).sum();
    let made: u64 = regions.iter().map(|region| region.target.end - region.target.start).sum();
    let uncovered: u64 = regions.iter().map(Region::uncovered_bytes).sum();
    length.saturating_sub(covered).saturating_sub(made) + uncovered
}

impl Region {
    /// Memory that it takes while it waits to be encoded, nearly.
    pub(crate) fn own_bytes(&self) -> u64 {
        match &self.transform {
            Transform::Deflate(deflate) => deflate.own_bytes(),
            Transform::References(references) => {
                references.cover_count() * size_of::<RegionCover>() as u64
            }
        }
    }

    /// Bytes of what it makes, before it is compressed, that no cover makes.
    pub(crate) fn uncovered_bytes(&self) -> u64 {
        match &self.transform {
            Transform::Deflate(deflate) => deflate.content.uncovered_bytes(deflate.plain_bytes),
            Transform::References(references) => {
                references.uncovered_bytes(self.target.end - self.target.start)
            }
        }
    }

    /// Memory that the region takes at most while it is made.
    pub fn resident_bytes(&self) -> u64 {
        match &self.transform {
            Transform::Deflate(deflate) => deflate.resident_bytes(),
            Transform::References(references) => {
                let region_bytes = self.target.end - self.target.start;
                references.resident_bytes(region_bytes)
            }
        }
    }
}

impl References {
    /// Covers of both sorts.
    pub(crate) fn cover_count(&self) -> u64 {
        self.covers.len() as u64 + self.unmapped.len() as u64
    }

    fn uncovered_bytes(&self, region_bytes: u64) -> u64 {
        let covers = self.covers.iter().chain(&self.unmapped);
        let covered = covers.map(|cover| u64::from(cover.length)).sum();
        region_bytes.saturating_sub(covered)
    }

    pub(crate) fn resident_bytes(&self, region_bytes: u64) -> u64 {
        Predictor::memory_bytes(region_bytes, self.covers.len() as u64)
            + self.parameters.len() as u64
    }
}

impl Deflate {
    fn own_bytes(&self) -> u64 {
        let Content { covers, regions, .. } = &self.content;
        let of_regions: u64 = regions.iter().map(Region::own_bytes).sum();
        let of_covers = covers.len() * size_of::<Cover>() + size_of::<Region>();
        of_regions + (of_covers + self.corrections.len()) as u64
    }

    fn resident_bytes(&self) -> u64 {
        let inflated: u64 = self.inflated.iter().map(|member| member.plain_bytes).sum();
        let inflating = inflated + deflate::INFLATE_STATE_BYTES;
        let making = inflated + self.plain_bytes + self.content.resident_bytes();
        let compressing = self.plain_bytes
            + self.corrections.len() as u64
            + deflate::recreate_memory_bytes(self.plain_bytes);
        inflating.max(making).max(compressing)
    }
}

impl OriginId {
    const INFLATED: u32 = 1 << 31;

    /// The inflated stream of that number, counted over all lists around: those of the outermost
    /// region come first.
    pub fn inflated(number: u32) -> Self {
        Self(Self::INFLATED | number)
    }

    /// The number, where this is an inflated stream and not a layer.
    pub fn as_inflated(self) -> Option<u32> {
        (self.0 & Self::INFLATED != 0).then_some(self.0 & !Self::INFLATED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_no_cover_makes_are_no_literals() {
        let cover = |target, length| Cover { target, length, origin: OriginId(0), at: 0 };
        let covers = vec![cover(512, 100), cover(1024, 1024), cover(2600, 400)];
        // The second is within a cover, the last one behind all.
        let content = Content { covers, headers: vec![0, 1024, 2048, 3072], ..Content::default() };
        assert_eq!(content.uncovered_bytes(4000), 4000 - 1524);
        assert_eq!(content.literal_bytes(4000), 4000 - 1524 - 3 * 512);
        assert_eq!(Content::default().literal_bytes(7), 7);
    }
}
