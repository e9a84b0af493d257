//! What a delta says, noted while it is applied: [merging](crate::merge) goes on from there.

use std::ops::Range;

use super::error::DecodeError;
use crate::cover::{Cover, OriginId};
use crate::references::RegionCover;
use crate::region::{Content, Deflate, Inflated, References, Region, Transform};

/// What is counted for each cover, region or opened member that is noted.
const ENTRY_BYTES: u64 = 64;

/// Notes of one delta. Headers that have an old one are covers of a block.
pub(super) struct Record {
    /// The layer, and the members that lie around what is being made.
    stretches: Vec<Content>,
    /// Members that were opened and not closed, as many as the decoder has.
    opened: Vec<Inflated>,
    /// How many layers there are: what is inflated is numbered after them.
    layers: u32,
    left_bytes: u64,
    limit_bytes: u64,
}

type Result = std::result::Result<(), DecodeError>;

impl Record {
    pub(super) fn new(layers: usize, limit_bytes: u64) -> Self {
        Self {
            stretches: vec![Content::default()],
            opened: Vec::new(),
            layers: u32::try_from(layers).unwrap_or(u32::MAX),
            left_bytes: limit_bytes,
            limit_bytes,
        }
    }

    /// Bytes of memory that were counted so far.
    pub(super) fn used_bytes(&self) -> u64 {
        self.limit_bytes - self.left_bytes
    }

    /// What was noted of the layer.
    pub(super) fn into_content(mut self) -> Content {
        self.stretches.swap_remove(0)
    }

    pub(super) fn cover(&mut self, target: u64, length: u64, origin: OriginId, at: u64) -> Result {
        let cover = Cover { target, length, origin: self.number(origin), at };
        let covers = self.stretches.last_mut().map(|stretch| &mut stretch.covers);
        let last = covers.and_then(|covers| covers.last_mut());
        if let Some(last) = last.filter(|last| last.is_continued_by(&cover)) {
            last.length += length;
            return Ok(());
        }
        self.take(1)?;
        self.stretch().covers.push(cover);
        Ok(())
    }

    pub(super) fn executable(&mut self, target: Range<u64>, references: References) -> Result {
        self.take(1 + references.cover_count())?;
        let origin = self.number(references.origin);
        let transform = Transform::References(References { origin, ..references });
        self.stretch().regions.push(Region { target, transform });
        Ok(())
    }

    /// The executable that was noted last has this cover too.
    pub(super) fn unmapped_cover(&mut self, cover: RegionCover) -> Result {
        self.take(1)?;
        let last = self.stretch().regions.last_mut().map(|region| &mut region.transform);
        if let Some(Transform::References(references)) = last {
            references.unmapped.push(cover);
        }
        Ok(())
    }

    pub(super) fn open(&mut self, member: Inflated) -> Result {
        self.take(1)?;
        let origin = self.number(member.origin);
        self.opened.push(Inflated { origin, ..member });
        Ok(())
    }

    pub(super) fn begin_deflate(&mut self) {
        self.stretches.push(Content::default());
    }

    /// A member is made: `deflate`, with what was noted of its content and the members that were opened from number
    /// `first` on.
    pub(super) fn end_deflate(
        &mut self,
        target: Range<u64>,
        deflate: Deflate,
        first: usize,
    ) -> Result {
        self.take(1 + deflate.corrections.len() as u64 / ENTRY_BYTES)?;
        let content = self.stretches.pop().unwrap_or_default();
        let inflated = self.opened.split_off(first.min(self.opened.len()));
        let deflate = Deflate { inflated, content, ..deflate };
        let region = Region { target, transform: Transform::Deflate(deflate) };
        self.stretch().regions.push(region);
        Ok(())
    }

    fn stretch(&mut self) -> &mut Content {
        if self.stretches.is_empty() {
            self.stretches.push(Content::default());
        }
        let last = self.stretches.len() - 1;
        &mut self.stretches[last]
    }

    /// The number of an origin as contents have it.
    fn number(&self, origin: OriginId) -> OriginId {
        match origin.0.checked_sub(self.layers) {
            Some(inflated) => OriginId::inflated(inflated),
            None => origin,
        }
    }

    fn take(&mut self, entries: u64) -> Result {
        let bytes = entries.saturating_mul(ENTRY_BYTES);
        match self.left_bytes.checked_sub(bytes) {
            Some(left) => {
                self.left_bytes = left;
                Ok(())
            }
            None => Err(DecodeError::Limit {
                what: "memory for its operations",
                needed: self.used_bytes().saturating_add(bytes),
                allowed: self.limit_bytes,
            }),
        }
    }
}
