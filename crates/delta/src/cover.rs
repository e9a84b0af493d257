//! The one language that all matchers speak.

/// Which origin of a list an offset belongs to: its index there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(pub u32);

/// A range of the target that is like a range of an origin, of the same length.
///
/// A cover need not be exact: an encoding that can say differences keeps it whole, one that cannot
/// keeps the exact runs within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cover {
    /// Offset of the first byte in the target.
    pub target: u64,
    /// Bytes covered; never zero.
    pub length: u64,
    /// The origin that holds the like range.
    pub origin: OriginId,
    /// Offset of the like range in that origin.
    pub at: u64,
}

impl Cover {
    /// Offset of the first target byte after the cover.
    pub fn target_end(&self) -> u64 {
        self.target + self.length
    }

    /// Offset of the first origin byte after the cover.
    pub fn origin_end(&self) -> u64 {
        self.at + self.length
    }

    /// Whether `next` goes on where this one ends, in the target and in the origin.
    pub fn is_continued_by(&self, next: &Self) -> bool {
        (self.origin, self.target_end(), self.origin_end()) == (next.origin, next.target, next.at)
    }
}
