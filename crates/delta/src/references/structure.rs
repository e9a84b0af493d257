//! What a file's own headers say of it: what it is, its segments, and areas that hold references.
//!
//! Nothing here fails but reading: what is not understood has no areas.

use std::ops::Range;

use super::segments::Segments;
use super::{Machine, marshal};
use crate::read_at::{ReadAt, ReadError};

/// Words below this are taken for numbers, unless the file is linked to a fixed address …
const MIN_POINTER: u64 = 0x1000;
/// … far above which its pointers are.
const MIN_FIXED_POINTER: u64 = 0x10000;

/// A stretch of the old file that holds one kind of references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Area {
    /// Offsets in the file.
    pub(super) range: Range<u64>,
    /// Where entries are counted from: the start, before anything that overlapped was cut off.
    pub(super) origin: u64,
    /// Address of what is at `origin`.
    pub(super) address: u64,
    pub(super) kind: AreaKind,
}

impl Area {
    /// The address of the byte at `offset`.
    pub(super) fn address_of(&self, offset: u64) -> u64 {
        offset.wrapping_sub(self.origin).wrapping_add(self.address)
    }
}

/// What an area holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AreaKind {
    FileHeader,
    ProgramHeaders,
    SectionHeaders,
    Code,
    Relocations,
    Symbols,
    Dynamic,
    Words,
    UnwindIndex,
    Unwind,
    ArmUnwindIndex,
    Objects,
    GoFunctions,
}

/// An old file, or a new one where it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Structure {
    pub(super) machine: Option<Machine>,
    /// 64-bit; else 32-bit.
    pub(super) is_wide: bool,
    /// Linked to a fixed address (`ET_EXEC`): code and data hold absolute addresses.
    pub(super) is_fixed: bool,
    pub(super) segments: Segments,
    /// In the order of the file, none overlapping another.
    pub(super) areas: Vec<Area>,
}

impl Structure {
    /// Reads the headers of the file at `old` of `origin`.
    pub(super) fn read(origin: &dyn ReadAt, old: &Range<u64>) -> Result<Self, ReadError> {
        let size = old.end - old.start;
        if size > marshal::HEADER_BYTES {
            let mut start = [0; 4];
            origin.read_exact_at(&mut start, old.start)?;
            if marshal::is_module(start) {
                return Ok(Self::of_module(size));
            }
        }
        Self::of_elf(origin, old)
    }

    /// Whether a word is taken for an address.
    pub(super) fn is_pointer(&self, value: u64) -> bool {
        let least = if self.is_fixed { MIN_FIXED_POINTER } else { MIN_POINTER };
        value >= least && self.segments.is_mapped(value)
    }

    fn of_module(size: u64) -> Self {
        let range = marshal::HEADER_BYTES..size.min(marshal::MAX_BYTES);
        let kind = AreaKind::Objects;
        Self {
            machine: Some(Machine::Python),
            segments: marshal::segments(),
            areas: vec![Area { origin: range.start, address: range.start, range, kind }],
            ..Self::default()
        }
    }
}
