//! What a delta says, and how both sides predict the positions that are left unsaid.

use crate::cover::OriginId;
use crate::tar_map::{BLOCK_BYTES, align};

/// Emit bytes of the literal stream.
pub(super) const LITERAL: u8 = 0x01;
/// Emit zeros up to the next multiple of 512 of the target.
pub(super) const PAD: u8 = 0x02;

/// Inflate a member of an origin, to be read by the region that comes next.
pub(super) const OPEN: u8 = 0x03;
/// Make what a deflate stream holds by operations of its own, and compress it.
pub(super) const DEFLATE: u8 = 0x04;
/// Make an executable out of an old one: what it needs follows, then its bytes, without operations.
pub(super) const REFERENCES: u8 = 0x05;
/// The same, with further covers that are told where they come.
pub(super) const MANY_REFERENCES: u8 = 0x06;

/// Members within members are made to this depth.
pub(super) const MAX_DEPTH: usize = 3;

/// Emit a header block, said by its fields; the flags below are added.
pub(super) const HEADER: u8 = 0x40;
/// The header has an old one in an origin.
pub(super) const HEADER_HAS_OLD: u8 = 0x01;
/// After the header, emit what follows the old one: as many whole blocks as the new one's size
/// field says.
pub(super) const HEADER_WITH_BODY: u8 = 0x02;
/// The old header is not where it is predicted: an offset follows.
pub(super) const HEADER_OFFSET: u8 = 0x04;
/// The old header is in another origin than the last operation's: its number follows.
pub(super) const HEADER_ORIGIN: u8 = 0x08;

/// Emit bytes of an origin; the flags below are added.
pub(super) const COVER: u8 = 0x80;
/// Add differences to them.
pub(super) const COVER_ADD: u8 = 0x01;
/// They do not lie where they are predicted: an offset follows.
pub(super) const COVER_OFFSET: u8 = 0x02;
/// They are in another origin than the last operation's: its number follows.
pub(super) const COVER_ORIGIN: u8 = 0x04;

/// Where reading stands in each origin, kept alike by both sides.
#[derive(Debug)]
pub(super) struct Cursors {
    current: u32,
    places: Vec<Place>,
}

/// The end of the last range that was read of an origin, and where in the target it went.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    origin_end: u64,
    target_end: u64,
}

impl Cursors {
    pub(super) fn new(origin_count: usize) -> Self {
        Self { current: 0, places: vec![Place::default(); origin_count] }
    }

    /// The origin of the last operation that read one.
    pub(super) fn current(&self) -> OriginId {
        OriginId(self.current)
    }

    /// Makes `origin` the current one; false where there is none of that number.
    pub(super) fn switch(&mut self, origin: u32) -> bool {
        self.current = origin;
        (origin as usize) < self.places.len()
    }

    /// Whether the current origin is one.
    pub(super) fn has_current(&self) -> bool {
        (self.current as usize) < self.places.len()
    }

    /// Adds an origin, which is numbered after all others.
    pub(super) fn push(&mut self) {
        self.places.push(Place::default());
    }

    /// Takes the origins away that were added last, but for `count` in all.
    pub(super) fn truncate(&mut self, count: usize) {
        self.places.truncate(count);
        if !self.has_current() {
            self.current = 0;
        }
    }

    /// Where a cover at `target` is expected: on the diagonal of the last one.
    pub(super) fn predicted_cover(&self, target: u64) -> u64 {
        let place = self.place();
        place.origin_end.wrapping_add(target.wrapping_sub(place.target_end))
    }

    /// What the offsets of covers are counted from: the end of the last range.
    pub(super) fn end(&self) -> u64 {
        self.place().origin_end
    }

    /// Where the next old header is expected, in blocks.
    pub(super) fn predicted_header_block(&self) -> u64 {
        align(self.place().origin_end) / BLOCK_BYTES
    }

    /// Notes that the current origin was read up to `origin_end`, for the target up to `target_end`.
    pub(super) fn advance(&mut self, origin_end: u64, target_end: u64) {
        if let Some(place) = self.places.get_mut(self.current as usize) {
            *place = Place { origin_end, target_end };
        }
    }

    fn place(&self) -> Place {
        self.places.get(self.current as usize).copied().unwrap_or_default()
    }
}

/// Differences as gaps and values: one sequence over all covers of a frame that add.
///
/// Both sides keep how many equal bytes lie before the next difference.
#[derive(Debug, Default)]
pub(super) struct EqualRun {
    /// Encoding: equal bytes since the last difference. Decoding: equal bytes still to come.
    pub(super) bytes: u64,
    /// Decoding: whether the gap of the next difference was read.
    pub(super) is_known: bool,
}

/// References that are predicted rightly, and those that are not: one sequence over a frame.
#[derive(Debug, Default)]
pub(super) struct RightRun {
    /// Right ones still to come.
    pub(super) sites: u64,
    /// Whether the gap of the next wrong one was read.
    pub(super) is_known: bool,
}
