//! References in tables of entries of one size: headers, relocations, symbols, pointers.

use std::ops::Range;

use super::Machine;
use super::elf::{Area, AreaKind, Elf};
use super::site::{Form, Kind, Meaning, Site, sign_extend};
use super::window::Window;

/// Relocations whose addend is an address: `RELATIVE` and `IRELATIVE`.
fn is_relative(machine: Option<Machine>, kind: u64) -> bool {
    match machine {
        Some(Machine::X86_64) => matches!(kind, 8 | 37),
        Some(Machine::Aarch64) => matches!(kind, 1027 | 1032),
        None => false,
    }
}

/// Words below this are taken for numbers, unless the file is linked to a fixed address …
const MIN_POINTER: u64 = 0x1000;
/// … far above which its pointers are.
const MIN_FIXED_POINTER: u64 = 0x10000;

const STT_TLS: u8 = 6;

/// Finds the sites of a table that start in `range`, in order.
pub(super) fn find(
    elf: &Elf,
    area: &Area,
    window: &Window,
    range: &Range<u64>,
    sites: &mut Vec<Site>,
) {
    let (entry_bytes, first) = match area.kind {
        AreaKind::FileHeader => (64, 0),
        AreaKind::ProgramHeaders => (56, 0),
        AreaKind::SectionHeaders => (64, 0),
        AreaKind::Relocations | AreaKind::Symbols => (24, 0),
        AreaKind::Dynamic => (16, 0),
        AreaKind::Words => (8, area.address.wrapping_neg() & 7),
        AreaKind::UnwindIndex => (4, 0),
        AreaKind::Code | AreaKind::Unwind => return,
    };
    let origin = area.origin + first;
    // The entry that has the first byte of the range, or the first entry.
    let mut at = origin + range.start.saturating_sub(origin) / entry_bytes * entry_bytes;
    while at < range.end {
        let put = |site: Site| {
            let end = site.at + u64::from(site.form.width());
            if range.contains(&site.at) && end <= area.range.end {
                sites.push(site);
            }
        };
        let entry = Entry { elf, area, window, at };
        entry.sites(put);
        at += entry_bytes;
    }
}

struct Entry<'a> {
    elf: &'a Elf,
    area: &'a Area,
    window: &'a Window,
    at: u64,
}

impl Entry<'_> {
    fn sites(&self, put: impl FnMut(Site)) {
        // An entry that the window has only in part has no sites.
        let _ = match self.area.kind {
            AreaKind::FileHeader => self.file_header(put),
            AreaKind::ProgramHeaders => self.program_header(put),
            AreaKind::SectionHeaders => self.section_header(put),
            AreaKind::Relocations => self.relocation(put),
            AreaKind::Symbols => self.symbol(put),
            AreaKind::Dynamic => self.dynamic(put),
            AreaKind::Words => self.word(put),
            AreaKind::UnwindIndex => self.unwind_index(put),
            AreaKind::Code | AreaKind::Unwind => None,
        };
    }

    fn word64(&self, offset: u64) -> Option<u64> {
        self.window.u64(self.at + offset)
    }

    fn site(&self, offset: u64, kind: Kind, meaning: Meaning) -> Site {
        Site { at: self.at + offset, form: Form::Word64, kind, meaning }
    }

    fn absolute(&self, offset: u64, kind: Kind, target: u64) -> Site {
        self.site(offset, kind, Meaning::Absolute { target })
    }

    fn length(&self, offset: u64, kind: Kind, start: u64, length: u64) -> Site {
        self.site(offset, kind, Meaning::Length { start, end: start.wrapping_add(length) })
    }

    fn file_header(&self, mut put: impl FnMut(Site)) -> Option<()> {
        put(self.absolute(24, Kind::Header, self.word64(24)?));
        put(self.site(40, Kind::Header, Meaning::FileOffset(self.word64(40)?)));
        Some(())
    }

    fn program_header(&self, mut put: impl FnMut(Site)) -> Option<()> {
        let (offset, address) = (self.word64(8)?, self.word64(16)?);
        let (file_bytes, memory_bytes) = (self.word64(32)?, self.word64(40)?);
        if address == 0 || file_bytes == 0 {
            return None;
        }
        put(self.site(8, Kind::Header, Meaning::FileOffset(offset)));
        put(self.absolute(16, Kind::Header, address));
        put(self.absolute(24, Kind::Header, address));
        put(self.length(32, Kind::Header, address, file_bytes));
        put(self.length(40, Kind::Header, address, memory_bytes));
        Some(())
    }

    fn section_header(&self, mut put: impl FnMut(Site)) -> Option<()> {
        let (address, offset, size) = (self.word64(16)?, self.word64(24)?, self.word64(32)?);
        if address != 0 {
            put(self.absolute(16, Kind::Header, address));
        }
        if offset != 0 {
            put(self.site(24, Kind::Header, Meaning::FileOffset(offset)));
        }
        if address != 0 && size != 0 {
            put(self.length(32, Kind::Header, address, size));
        }
        Some(())
    }

    fn relocation(&self, mut put: impl FnMut(Site)) -> Option<()> {
        put(self.absolute(0, Kind::Relocation, self.word64(0)?));
        let kind = self.word64(8)? & 0xffff_ffff;
        if is_relative(self.elf.machine, kind) {
            put(self.absolute(16, Kind::Relocation, self.word64(16)?));
        }
        Some(())
    }

    fn symbol(&self, mut put: impl FnMut(Site)) -> Option<()> {
        let (value, size) = (self.word64(8)?, self.word64(16)?);
        let is_place = self.window.u8(self.at + 4)? & 15 != STT_TLS;
        if value == 0 || !is_place || !self.elf.segments.is_mapped(value) {
            return None;
        }
        put(self.absolute(8, Kind::Symbol, value));
        if size != 0 {
            put(self.length(16, Kind::SymbolSize, value, size));
        }
        Some(())
    }

    fn dynamic(&self, mut put: impl FnMut(Site)) -> Option<()> {
        /// Tags whose value is not an address: needed, lengths, names, flags, counts.
        const NUMBERS: [u64; 16] = [0, 1, 2, 7 + 1, 9, 10, 11, 14, 15, 18, 20, 24, 27, 28, 29, 30];
        let (tag, value) = (self.word64(0)?, self.word64(8)?);
        let is_number = NUMBERS.contains(&tag)
            || matches!(tag, 0x6fff_fff9 | 0x6fff_fffa | 0x6fff_fffb | 0x6fff_fffd | 0x6fff_ffff);
        if !is_number && self.is_pointer(value) {
            put(self.absolute(8, Kind::Dynamic, value));
        }
        Some(())
    }

    fn word(&self, mut put: impl FnMut(Site)) -> Option<()> {
        let value = self.word64(0)?;
        if self.is_pointer(value) {
            put(self.absolute(0, Kind::Word, value));
        }
        Some(())
    }

    fn is_pointer(&self, value: u64) -> bool {
        let least = if self.elf.is_fixed { MIN_FIXED_POINTER } else { MIN_POINTER };
        value >= least && self.elf.segments.is_mapped(value)
    }

    /// A search table of four-byte distances from its own start, after four bytes that say so.
    fn unwind_index(&self, mut put: impl FnMut(Site)) -> Option<()> {
        let place = self.at - self.area.origin;
        let distance = sign_extend(self.window.u32(self.at)?.into(), 32);
        let (base, at) = (self.area.address, self.area.address_of(self.at));
        let meaning = match place {
            0 | 8 => return None,
            4 => Meaning::Relative { target: at.wrapping_add(distance), bias: 0 },
            _ => Meaning::Based { target: base.wrapping_add(distance), base },
        };
        put(Site { at: self.at, form: Form::Signed32, kind: Kind::UnwindIndex, meaning });
        Some(())
    }
}
