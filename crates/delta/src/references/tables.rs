//! References in tables of entries of one size: headers, relocations, symbols, pointers.

use std::ops::Range;

use super::Machine;
use super::elf::Layout;
use super::site::{Form, Kind, Meaning, Site, sign_extend};
use super::structure::{Area, AreaKind, Structure};
use super::window::Window;

/// Relocations whose addend is an address: `RELATIVE` and `IRELATIVE`.
fn is_relative(machine: Option<Machine>, kind: u64) -> bool {
    match machine {
        Some(Machine::X86_64) => matches!(kind, 8 | 37),
        Some(Machine::Aarch64) => matches!(kind, 1027 | 1032),
        Some(Machine::Arm | Machine::Python) | None => false,
    }
}

const STT_TLS: u8 = 6;

/// Finds the sites of a table that start in `range`, in order.
pub(super) fn find(
    structure: &Structure,
    area: &Area,
    window: &Window,
    range: &Range<u64>,
    sites: &mut Vec<Site>,
) {
    let layout = structure.layout();
    let word = layout.word();
    let (entry_bytes, first) = match area.kind {
        AreaKind::FileHeader => (layout.file_header, 0),
        AreaKind::ProgramHeaders => (layout.program_header, 0),
        AreaKind::SectionHeaders => (layout.section_header, 0),
        AreaKind::Relocations => (layout.relocation, 0),
        AreaKind::Symbols => (layout.symbol, 0),
        AreaKind::Dynamic => (2 * word, 0),
        AreaKind::Words => (word, area.address.wrapping_neg() & (word - 1)),
        AreaKind::UnwindIndex => (4, 0),
        AreaKind::ArmUnwindIndex => (8, 0),
        AreaKind::Code | AreaKind::Unwind | AreaKind::Objects | AreaKind::GoFunctions => return,
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
        let entry = Entry { structure, area, window, at };
        entry.sites(put);
        at += entry_bytes;
    }
}

struct Entry<'a> {
    structure: &'a Structure,
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
            AreaKind::ArmUnwindIndex => self.arm_unwind_index(put),
            AreaKind::Code | AreaKind::Unwind | AreaKind::Objects | AreaKind::GoFunctions => None,
        };
    }

    fn layout(&self) -> &'static Layout {
        self.structure.layout()
    }

    /// An address, or a number as long as one.
    fn number(&self, offset: u64) -> Option<u64> {
        self.window.number(self.at + offset, self.layout().word_bytes)
    }

    fn site(&self, offset: u64, kind: Kind, meaning: Meaning) -> Site {
        let form = if self.structure.is_wide { Form::Word64 } else { Form::Unsigned32 };
        Site { at: self.at + offset, form, kind, meaning }
    }

    fn absolute(&self, offset: u64, kind: Kind, target: u64) -> Site {
        self.site(offset, kind, Meaning::Absolute { target })
    }

    fn length(&self, offset: u64, kind: Kind, start: u64, length: u64) -> Site {
        self.site(offset, kind, Meaning::Length { start, end: start.wrapping_add(length) })
    }

    fn file_header(&self, mut put: impl FnMut(Site)) -> Option<()> {
        put(self.absolute(24, Kind::Header, self.number(24)?));
        let sections = 24 + 2 * self.layout().word();
        put(self.site(sections, Kind::Header, Meaning::FileOffset(self.number(sections)?)));
        Some(())
    }

    fn program_header(&self, mut put: impl FnMut(Site)) -> Option<()> {
        let fields = self.layout().program_fields;
        let [offset, address, physical, file_bytes, memory_bytes] = fields;
        let start = self.number(address)?;
        let (file_length, memory_length) = (self.number(file_bytes)?, self.number(memory_bytes)?);
        if start == 0 || file_length == 0 {
            return None;
        }
        put(self.site(offset, Kind::Header, Meaning::FileOffset(self.number(offset)?)));
        put(self.absolute(address, Kind::Header, start));
        put(self.absolute(physical, Kind::Header, start));
        put(self.length(file_bytes, Kind::Header, start, file_length));
        put(self.length(memory_bytes, Kind::Header, start, memory_length));
        Some(())
    }

    fn section_header(&self, mut put: impl FnMut(Site)) -> Option<()> {
        let [address, offset, size] = self.layout().section_fields;
        let (start, place, length) =
            (self.number(address)?, self.number(offset)?, self.number(size)?);
        if start != 0 {
            put(self.absolute(address, Kind::Header, start));
        }
        if place != 0 {
            put(self.site(offset, Kind::Header, Meaning::FileOffset(place)));
        }
        if start != 0 && length != 0 {
            put(self.length(size, Kind::Header, start, length));
        }
        Some(())
    }

    fn relocation(&self, mut put: impl FnMut(Site)) -> Option<()> {
        put(self.absolute(0, Kind::Relocation, self.number(0)?));
        // A 32-bit file has addends in the places that are relocated.
        let kind = self.number(8).filter(|_| self.structure.is_wide)? & 0xffff_ffff;
        if is_relative(self.structure.machine, kind) {
            put(self.absolute(16, Kind::Relocation, self.number(16)?));
        }
        Some(())
    }

    fn symbol(&self, mut put: impl FnMut(Site)) -> Option<()> {
        let [value_at, size_at, kind_at] = self.layout().symbol_fields;
        let (value, size) = (self.number(value_at)?, self.number(size_at)?);
        let is_place = self.window.u8(self.at + kind_at)? & 15 != STT_TLS;
        if value == 0 || !is_place || !self.structure.segments.is_mapped(value) {
            return None;
        }
        put(self.absolute(value_at, Kind::Symbol, value));
        if size != 0 {
            put(self.length(size_at, Kind::SymbolSize, value, size));
        }
        Some(())
    }

    /// Pairs of distances of 31 bits: to a function, and to how it is unwound unless that is said in place.
    fn arm_unwind_index(&self, mut put: impl FnMut(Site)) -> Option<()> {
        const IN_PLACE: u32 = 1 << 31;
        const CANNOT_UNWIND: u32 = 1;
        for offset in [0, 4] {
            let word = self.window.u32(self.at + offset)?;
            if word & IN_PLACE != 0 || offset == 4 && word == CANNOT_UNWIND {
                continue;
            }
            let distance = sign_extend(word.into(), 31);
            let address = self.area.address_of(self.at + offset);
            let meaning = Meaning::Relative { target: address.wrapping_add(distance), bias: 0 };
            let form = Form::ArmDistance31;
            put(Site { at: self.at + offset, form, kind: Kind::UnwindIndex, meaning });
        }
        Some(())
    }

    fn dynamic(&self, mut put: impl FnMut(Site)) -> Option<()> {
        /// Tags whose value is not an address: needed, lengths, names, flags, counts.
        const NUMBERS: [u64; 16] = [0, 1, 2, 7 + 1, 9, 10, 11, 14, 15, 18, 20, 24, 27, 28, 29, 30];
        let (tag, value) = (self.number(0)?, self.number(self.layout().word())?);
        let is_number = NUMBERS.contains(&tag)
            || matches!(tag, 0x6fff_fff9 | 0x6fff_fffa | 0x6fff_fffb | 0x6fff_fffd | 0x6fff_ffff);
        if !is_number && self.structure.is_pointer(value) {
            put(self.absolute(self.layout().word(), Kind::Dynamic, value));
        }
        Some(())
    }

    fn word(&self, mut put: impl FnMut(Site)) -> Option<()> {
        let value = self.number(0)?;
        if self.structure.is_pointer(value) {
            put(self.absolute(0, Kind::Word, value));
        }
        Some(())
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
