//! What the headers of an ELF file say: segments, and areas that hold references.

use std::ops::Range;

use super::Machine;
use super::segments::{MAX_SEGMENTS, Segment};
use super::structure::{Area, AreaKind, Structure};
use super::window::Window;
use crate::read_at::{ReadAt, ReadError};

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
const SHT_REL: u64 = 9;
const SHT_DYNSYM: u64 = 11;
const SHT_INIT_ARRAY: u64 = 14;
const SHT_PREINIT_ARRAY: u64 = 16;
const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;
const SHF_TLS: u64 = 0x400;

impl Structure {
    /// Memory of the largest one.
    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = (2 * MAX_AREAS * size_of::<Area>()) as u64
        + (MAX_SEGMENTS * size_of::<Segment>()) as u64
        + MAX_SECTIONS * 64
        + 1024;

    /// Reads the headers of the ELF file at `old` of `origin`; of another file nothing is known.
    pub(super) fn of_elf(origin: &dyn ReadAt, old: &Range<u64>) -> Result<Self, ReadError> {
        let reader = HeaderReader { origin, old };
        let size = old.end - old.start;
        let mut elf = Self::default();
        let Some(header) = reader.read(0..HEADER_BYTES)? else { return Ok(elf) };
        elf.is_wide = header.from(0).starts_with(b"\x7fELF\x02\x01");
        if !elf.is_wide && !header.from(0).starts_with(b"\x7fELF\x01\x01") {
            return Ok(elf);
        }
        let layout = elf.layout();
        let half = |at| header.number(at, 2).unwrap_or(0);
        let word = |at| header.number(at, layout.word_bytes).unwrap_or(0);
        elf.is_fixed = half(16) == ET_EXEC;
        elf.machine = Machine::of_elf(half(18), elf.is_wide);
        if elf.machine.is_none() {
            return Ok(elf);
        }
        elf.area(0..layout.file_header, 0, AreaKind::FileHeader, size);

        let programs = table(
            word(24 + layout.word()),
            half(layout.file_header - 8).min(MAX_PROGRAM_HEADERS),
            layout.program_header,
        );
        if let Some(headers) = reader.read(programs.clone())? {
            elf.add_segments(&headers, &programs);
            elf.area(programs, 0, AreaKind::ProgramHeaders, size);
        }
        let sections = table(
            word(24 + 2 * layout.word()),
            half(layout.file_header - 4).min(MAX_SECTIONS),
            layout.section_header,
        );
        let Some(headers) = reader.read(sections.clone())? else {
            elf.finish();
            return Ok(elf);
        };
        let names = half(layout.file_header - 2) * layout.section_header;
        let names = Section::of(&headers, sections.start.saturating_add(names), layout);
        let names = names.map_or(0, |section| section.offset);
        for at in steps(&sections, layout.section_header) {
            let Some(section) = Section::of(&headers, at, layout) else { break };
            let name = match section.kind {
                SHT_PROGBITS | SHT_PROCESSOR => reader.name(names.saturating_add(section.name))?,
                _ => [0; NAME_BYTES],
            };
            if let Some(kind) = section.area(&name, &elf) {
                elf.area(section.range(), section.address, kind, size);
            }
        }
        elf.area(sections, 0, AreaKind::SectionHeaders, size);
        elf.finish();
        Ok(elf)
    }

    /// Where fields stand in headers of this width.
    pub(super) fn layout(&self) -> &'static Layout {
        if self.is_wide { &WIDE } else { &NARROW }
    }

    fn add_segments(&mut self, headers: &Window, table: &Range<u64>) {
        let layout = self.layout();
        for at in steps(table, layout.program_header) {
            let number = |offset| headers.number(at + offset, layout.word_bytes).unwrap_or(0);
            let flag = |offset| headers.number(at + offset, 4).unwrap_or(0);
            if flag(0) != PT_LOAD || self.segments.0.len() >= MAX_SEGMENTS {
                continue;
            }
            let [offset, address, _, file_bytes, memory_bytes] = layout.program_fields;
            self.segments.0.push(Segment {
                address: number(address),
                offset: number(offset),
                file_bytes: number(file_bytes),
                memory_bytes: number(memory_bytes),
                is_code: flag(layout.program_flags) & PF_X != 0,
            });
        }
    }

    fn area(&mut self, range: Range<u64>, address: u64, kind: AreaKind, size: u64) {
        let is_within = range.start < range.end && range.end <= size;
        // There is one table for unwinding, of which more is remembered than its place.
        let is_single = matches!(kind, AreaKind::Unwind | AreaKind::GoFunctions);
        let is_second = is_single && self.areas.iter().any(|area| area.kind == kind);
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

/// Where fields stand in headers and tables of 64-bit or of 32-bit files.
pub(super) struct Layout {
    pub(super) word_bytes: u8,
    pub(super) file_header: u64,
    pub(super) program_header: u64,
    /// Offset, address, physical address, bytes in the file, bytes in memory.
    pub(super) program_fields: [u64; 5],
    pub(super) program_flags: u64,
    pub(super) section_header: u64,
    /// Address, offset, size.
    pub(super) section_fields: [u64; 3],
    pub(super) symbol: u64,
    /// Value, size, type.
    pub(super) symbol_fields: [u64; 3],
    pub(super) relocation: u64,
}

const WIDE: Layout = Layout {
    word_bytes: 8,
    file_header: 64,
    program_header: 56,
    program_fields: [8, 16, 24, 32, 40],
    program_flags: 4,
    section_header: 64,
    section_fields: [16, 24, 32],
    symbol: 24,
    symbol_fields: [8, 16, 4],
    relocation: 24,
};

const NARROW: Layout = Layout {
    word_bytes: 4,
    file_header: 52,
    program_header: 32,
    program_fields: [4, 8, 12, 16, 20],
    program_flags: 24,
    section_header: 40,
    section_fields: [12, 16, 20],
    symbol: 16,
    symbol_fields: [4, 8, 12],
    relocation: 8,
};

impl Layout {
    /// Bytes of an address.
    pub(super) fn word(&self) -> u64 {
        self.word_bytes.into()
    }
}

/// Where the entries of a table start.
fn steps(table: &Range<u64>, entry_bytes: u64) -> impl Iterator<Item = u64> + use<> {
    let Range { start, end } = *table;
    (0..(end - start) / entry_bytes).map(move |i| start + i * entry_bytes)
}

const NAME_BYTES: usize = 16;
/// A type whose meaning is the machine's: tables for unwinding, of one kind or another.
const SHT_PROCESSOR: u64 = 0x7000_0001;

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
    fn of(headers: &Window, at: u64, layout: &Layout) -> Option<Self> {
        let number = |offset| headers.number(at.checked_add(offset)?, layout.word_bytes);
        let [address, offset, size] = layout.section_fields;
        Some(Self {
            name: headers.number(at, 4)?,
            kind: headers.number(at.checked_add(4)?, 4)?,
            flags: number(8)?,
            address: number(address)?,
            offset: number(offset)?,
            size: number(size)?,
        })
    }

    /// Empty where it is not possible.
    fn range(&self) -> Range<u64> {
        self.offset..self.offset.checked_add(self.size).unwrap_or(0)
    }

    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn area(&self, name: &[u8; NAME_BYTES], elf: &Structure) -> Option<AreaKind> {
        let is_allocated = self.has(SHF_ALLOC);
        match self.kind {
            SHT_SYMTAB | SHT_DYNSYM => Some(AreaKind::Symbols),
            SHT_NOBITS => None,
            _ if !is_allocated => None,
            SHT_RELA => elf.is_wide.then_some(AreaKind::Relocations),
            SHT_REL => (!elf.is_wide).then_some(AreaKind::Relocations),
            SHT_DYNAMIC => Some(AreaKind::Dynamic),
            SHT_PROGBITS if self.has(SHF_EXECINSTR) => Some(AreaKind::Code),
            SHT_PROCESSOR if !elf.is_wide => Some(AreaKind::ArmUnwindIndex),
            SHT_PROGBITS | SHT_PROCESSOR if name.starts_with(b".eh_frame\0") => {
                Some(AreaKind::Unwind)
            }
            SHT_PROGBITS if name.starts_with(b".eh_frame_hdr\0") => Some(AreaKind::UnwindIndex),
            SHT_PROGBITS if name.starts_with(b".gopclntab\0") => Some(AreaKind::GoFunctions),
            SHT_PROGBITS | SHT_INIT_ARRAY..=SHT_PREINIT_ARRAY if !self.has(SHF_TLS) => {
                (elf.is_fixed || self.has(SHF_WRITE)).then_some(AreaKind::Words)
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
