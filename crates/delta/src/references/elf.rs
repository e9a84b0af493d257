//! What the old file's own headers say: segments, and areas that hold references.
//!
//! Nothing here fails but reading: what is not understood has no areas.

use std::ops::Range;

use super::Machine;
use super::segments::{MAX_SEGMENTS, Segment, Segments};
use super::window::Window;
use crate::read_at::{ReadAt, ReadError};

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
}

/// An old file.
#[derive(Debug, Clone, Default)]
pub(super) struct Elf {
    pub(super) machine: Option<Machine>,
    /// Linked to a fixed address (`ET_EXEC`): code and data hold absolute addresses.
    pub(super) is_fixed: bool,
    pub(super) segments: Segments,
    /// In the order of the file, none overlapping another.
    pub(super) areas: Vec<Area>,
}

const HEADER_BYTES: u64 = 64;
/// Entries of a table of headers that are looked at.
const MAX_PROGRAM_HEADERS: u64 = 64;
const MAX_SECTIONS: u64 = 1024;
/// Areas that are kept.
const MAX_AREAS: usize = 256;

const ET_EXEC: u64 = 2;
const PT_LOAD: u64 = 1;
const PF_X: u64 = 1;

const SHT_PROGBITS: u64 = 1;
const SHT_SYMTAB: u64 = 2;
const SHT_RELA: u64 = 4;
const SHT_DYNAMIC: u64 = 6;
const SHT_NOBITS: u64 = 8;
const SHT_DYNSYM: u64 = 11;
const SHT_INIT_ARRAY: u64 = 14;
const SHT_PREINIT_ARRAY: u64 = 16;
const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;
const SHF_TLS: u64 = 0x400;

impl Elf {
    /// Memory of the largest one.
    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = (2 * MAX_AREAS * size_of::<Area>()) as u64
        + (MAX_SEGMENTS * size_of::<Segment>()) as u64
        + MAX_SECTIONS * 64
        + 1024;

    /// Reads the headers of the file at `old` of `origin`.
    pub(super) fn read(origin: &dyn ReadAt, old: &Range<u64>) -> Result<Self, ReadError> {
        let reader = HeaderReader { origin, old };
        let size = old.end - old.start;
        let mut elf = Self::default();
        let Some(header) = reader.read(0..HEADER_BYTES)? else { return Ok(elf) };
        if !header.from(0).starts_with(b"\x7fELF\x02\x01") {
            return Ok(elf);
        }
        let half = |at| header.number(at, 2).unwrap_or(0);
        let word = |at| header.number(at, 8).unwrap_or(0);
        elf.is_fixed = half(16) == ET_EXEC;
        elf.machine = Machine::of_elf(half(18));
        if elf.machine.is_none() {
            return Ok(elf);
        }
        elf.area(0..HEADER_BYTES, 0, AreaKind::FileHeader, size);

        let programs = table(word(32), half(56).min(MAX_PROGRAM_HEADERS), 56);
        if let Some(headers) = reader.read(programs.clone())? {
            elf.add_segments(&headers, &programs);
            elf.area(programs, 0, AreaKind::ProgramHeaders, size);
        }
        let sections = table(word(40), half(60).min(MAX_SECTIONS), 64);
        let Some(headers) = reader.read(sections.clone())? else {
            elf.finish();
            return Ok(elf);
        };
        let names = sections.start.saturating_add(half(62) * 64);
        let names = headers.number(names.saturating_add(24), 8).unwrap_or(0);
        for at in sections.clone().step_by(64) {
            let Some(section) = Section::of(&headers, at) else { break };
            let name = match section.kind {
                SHT_PROGBITS | SHT_UNWIND => reader.name(names.saturating_add(section.name))?,
                _ => [0; NAME_BYTES],
            };
            if let Some(kind) = section.area(&name, elf.is_fixed) {
                elf.area(section.range(), section.address, kind, size);
            }
        }
        elf.area(sections, 0, AreaKind::SectionHeaders, size);
        elf.finish();
        Ok(elf)
    }

    fn add_segments(&mut self, headers: &Window, table: &Range<u64>) {
        for at in table.clone().step_by(56) {
            let number = |offset, width| headers.number(at + offset, width).unwrap_or(0);
            if number(0, 4) != PT_LOAD || self.segments.0.len() >= MAX_SEGMENTS {
                continue;
            }
            self.segments.0.push(Segment {
                address: number(16, 8),
                offset: number(8, 8),
                file_bytes: number(32, 8),
                memory_bytes: number(40, 8),
                is_code: number(4, 4) & PF_X != 0,
            });
        }
    }

    fn area(&mut self, range: Range<u64>, address: u64, kind: AreaKind, size: u64) {
        let is_within = range.start < range.end && range.end <= size;
        // There is one table for unwinding, of which more is remembered than its place.
        let is_second = kind == AreaKind::Unwind && self.areas.iter().any(|area| area.kind == kind);
        if is_within && !is_second && self.areas.len() < MAX_AREAS {
            self.areas.push(Area { origin: range.start, range, address, kind });
        }
    }

    /// Puts areas in order and cuts off what overlaps the one before.
    fn finish(&mut self) {
        self.areas.sort_by_key(|area| (area.range.start, area.kind, area.range.end));
        let mut end = 0;
        for area in &mut self.areas {
            area.range.start = area.range.start.max(end);
            end = end.max(area.range.end);
        }
        self.areas.retain(|area| area.range.start < area.range.end);
    }
}

const NAME_BYTES: usize = 16;
const SHT_UNWIND: u64 = 0x7000_0001;

/// A section header's fields.
struct Section {
    name: u64,
    kind: u64,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
}

impl Section {
    fn of(headers: &Window, at: u64) -> Option<Self> {
        Some(Self {
            name: headers.number(at, 4)?,
            kind: headers.number(at + 4, 4)?,
            flags: headers.number(at + 8, 8)?,
            address: headers.number(at + 16, 8)?,
            offset: headers.number(at + 24, 8)?,
            size: headers.number(at + 32, 8)?,
        })
    }

    /// Empty where it is not possible.
    fn range(&self) -> Range<u64> {
        self.offset..self.offset.checked_add(self.size).unwrap_or(0)
    }

    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn area(&self, name: &[u8; NAME_BYTES], is_fixed: bool) -> Option<AreaKind> {
        let is_allocated = self.has(SHF_ALLOC);
        match self.kind {
            SHT_SYMTAB | SHT_DYNSYM => Some(AreaKind::Symbols),
            SHT_NOBITS => None,
            _ if !is_allocated => None,
            SHT_RELA => Some(AreaKind::Relocations),
            SHT_DYNAMIC => Some(AreaKind::Dynamic),
            SHT_PROGBITS if self.has(SHF_EXECINSTR) => Some(AreaKind::Code),
            SHT_PROGBITS | SHT_UNWIND if name.starts_with(b".eh_frame\0") => Some(AreaKind::Unwind),
            SHT_PROGBITS if name.starts_with(b".eh_frame_hdr\0") => Some(AreaKind::UnwindIndex),
            SHT_PROGBITS | SHT_INIT_ARRAY..=SHT_PREINIT_ARRAY if !self.has(SHF_TLS) => {
                (is_fixed || self.has(SHF_WRITE)).then_some(AreaKind::Words)
            }
            _ => None,
        }
    }
}

/// The range of a table of headers; empty where it is not possible.
fn table(start: u64, count: u64, entry_bytes: u64) -> Range<u64> {
    start..start.checked_add(count * entry_bytes).unwrap_or(0)
}

struct HeaderReader<'a> {
    origin: &'a dyn ReadAt,
    old: &'a Range<u64>,
}

impl HeaderReader<'_> {
    /// The bytes of `range` of the file, if it has them.
    fn read(&self, range: Range<u64>) -> Result<Option<Window>, ReadError> {
        if range.start >= range.end || range.end > self.old.end - self.old.start {
            return Ok(None);
        }
        let mut window = Window::default();
        window.read(self.origin, self.old, &range)?;
        Ok(Some(window))
    }

    /// The first bytes of a name; zeros where there is none.
    fn name(&self, at: u64) -> Result<[u8; NAME_BYTES], ReadError> {
        let mut name = [0; NAME_BYTES];
        let size = self.old.end - self.old.start;
        if at.checked_add(NAME_BYTES as u64).is_some_and(|end| end <= size) {
            self.origin.read_exact_at(&mut name, self.old.start + at)?;
        }
        Ok(name)
    }
}
