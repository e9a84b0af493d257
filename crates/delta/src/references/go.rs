//! References in the table of functions that programs in Go have: where each is, its name, and its tables by place
//! in the code.

use std::ops::Range;

use super::site::{Form, Kind, Meaning, Site};
use super::structure::{Area, AreaKind, Structure};
use super::window::{Ahead, Window};
use crate::read_at::{ReadAt, ReadError};

/// The table's header: a magic number, two zeros, the smallest instruction, the size of an address.
const MAGIC_BYTES: u64 = 8;
/// From Go 1.18 on, and from 1.20 on.
const MAGIC_118: u64 = 0xffff_fff0;
const MAGIC_120: u64 = 0xffff_fff1;
/// Words after it: functions, files, the start of the code, and where the parts of the table are.
const WORDS: usize = 8;

/// The first fields of a function.
const ENTRY: u64 = 0;
const NAME: u64 = 4;
/// Stack, files and lines by place in the code.
const PLACES: [u64; 3] = [16, 20, 24];
const PLACE_TABLES: u64 = 28;

/// Of so many functions it is remembered where they begin, at most, and of each eighth.
const MAX_STARTS: u64 = 4096;
const MIN_SPACING: u64 = 8;

/// A function has no more tables than this.
const MAX_TABLES: u64 = 64;

/// What the header says: where things are in the file, and the addresses that offsets are counted from.
#[derive(Debug)]
pub(super) struct GoTable {
    /// The index of functions, sorted by place: in the file, and how many there are.
    index_at: u64,
    functions: u64,
    index: u64,
    code: u64,
    names: u64,
    places: u64,
    /// What functions' data is counted from, where that is known.
    data: Option<u64>,
    /// Bytes of a function before its tables.
    head_bytes: u64,
    /// Where each so-manieth function begins, counted from the index.
    starts: Vec<u32>,
    spacing: u64,
}

/// A file and where it is.
type File<'a> = (&'a dyn ReadAt, &'a Range<u64>);

/// The table's first bytes.
struct Header<'a> {
    area: &'a Area,
    magic: u64,
    words: [u64; WORDS],
}

impl<'a> Header<'a> {
    fn read(
        file: File<'_>,
        structure: &Structure,
        area: &'a Area,
    ) -> Result<Option<Self>, ReadError> {
        let width = structure.layout().word_bytes;
        let start = area.range.start;
        let bytes = MAGIC_BYTES + u64::from(width) * WORDS as u64;
        if area.range.end - start < bytes || start != area.origin {
            return Ok(None);
        }
        let mut window = Window::default();
        window.read(file.0, file.1, &(start..start + bytes))?;
        let mut words = [0; WORDS];
        for (word, i) in words.iter_mut().zip(0..) {
            let at = start + MAGIC_BYTES + i * u64::from(width);
            *word = window.number(at, width).unwrap_or(0);
        }
        let magic = window.number(start, 4).unwrap_or(0);
        Ok(Some(Self { area, magic, words }))
    }

    /// The part whose place one of the words says.
    fn part(&self, word: usize) -> u64 {
        self.area.address.wrapping_add(self.words[word])
    }

    fn names(&self) -> u64 {
        self.part(3)
    }

    /// From Go 1.26 on the start of the code is not said here.
    fn code(&self) -> Option<u64> {
        (self.words[2] != 0).then_some(self.words[2])
    }

    fn head_bytes(&self) -> Option<u64> {
        match self.magic {
            MAGIC_118 => Some(40),
            MAGIC_120 => Some(44),
            _ => None,
        }
    }

    /// What functions' data is counted from, of the module's fields.
    fn data(
        &self,
        mut field: impl FnMut(u64) -> Result<Option<u64>, ReadError>,
    ) -> Result<Option<u64>, ReadError> {
        if self.code().is_some() {
            return field(if self.magic == MAGIC_118 { MODULE_DATA_118 } else { MODULE_DATA_120 });
        }
        let bytes = self.area.range.end - self.area.range.start;
        for number in MODULE_DATA_IN_TABLE {
            let is_in_table = |data: &u64| data.wrapping_sub(self.area.address) < bytes;
            if let Some(data) = field(number)?.filter(is_in_table) {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl GoTable {
    /// Reads the header of the table in `area`, and the index; `None` where it is not one that is understood.
    pub(super) fn of(
        file: File<'_>,
        structure: &Structure,
        area: &Area,
    ) -> Result<Option<Self>, ReadError> {
        let Some(header) = Header::read(file, structure, area)? else { return Ok(None) };
        let Some(head_bytes) = header.head_bytes() else { return Ok(None) };
        let (functions, index) = (header.words[0], header.words[7]);
        let index_end = functions.checked_mul(8).and_then(|bytes| bytes.checked_add(index));
        if index_end.is_none_or(|end| end > area.range.end - area.range.start) {
            return Ok(None);
        }
        let module = Module::find(file, structure, &header)?;
        let code = header.code().or_else(|| module.as_ref().map(|module| module.code));
        let Some(code) = code else { return Ok(None) };
        let mut table = Self {
            index_at: area.range.start + index,
            functions,
            index: header.part(7),
            code,
            names: header.names(),
            places: header.part(6),
            data: module.and_then(|module| module.data),
            head_bytes,
            starts: Vec::new(),
            spacing: functions.div_ceil(MAX_STARTS).max(MIN_SPACING),
        };
        Ok(table.read_starts(file, area)?.then_some(table))
    }

    /// Reads through the index once; whether all functions begin after it, in order.
    fn read_starts(&mut self, file: File<'_>, area: &Area) -> Result<bool, ReadError> {
        let mut index = Ahead::new(file.0, file.1, area.range.end);
        let mut end = 8 * self.functions;
        for number in 0..self.functions {
            let Some(start) = self.start_of(&mut index, number)? else { return Ok(false) };
            if u64::from(start) < end {
                return Ok(false);
            }
            end = u64::from(start) + self.head_bytes;
            if number % self.spacing == 0 {
                self.starts.push(start);
            }
        }
        Ok(true)
    }

    /// Where a function begins, counted from the index.
    fn start_of(&self, index: &mut Ahead<'_>, number: u64) -> Result<Option<u32>, ReadError> {
        let at = self.index_at + 8 * number + 4;
        Ok(index.reach(at, 4)?.and_then(|window| window.u32(at)))
    }

    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = 2 * 4 * MAX_STARTS + 8 * Ahead::READ_BYTES;

    /// Finds the sites that start in `range`, in order.
    pub(super) fn find(
        &self,
        file: File<'_>,
        area: &Area,
        window: &Window,
        range: &Range<u64>,
        sites: &mut Vec<Site>,
    ) -> Result<(), ReadError> {
        let mut put = |site: Site| {
            if range.contains(&site.at) && site.end() <= area.range.end {
                sites.push(site);
            }
        };
        let index_end = self.index_at + 8 * self.functions;
        let first = range.start.saturating_sub(self.index_at) / 8;
        for at in (first..self.functions).map(|i| self.index_at + 8 * i) {
            if at >= range.end {
                break;
            }
            let number = |at| window.number(at, 4);
            if let (Some(entry), Some(function)) = (number(at), number(at + 4)) {
                put(site(at, Kind::FunctionPart, entry, self.code));
                put(site(at + 4, Kind::FunctionPart, function, self.index));
            }
        }
        if range.end > index_end {
            self.find_in_functions(file, area, range, &mut put)?;
        }
        Ok(())
    }

    fn find_in_functions(
        &self,
        file: File<'_>,
        area: &Area,
        range: &Range<u64>,
        put: &mut impl FnMut(Site),
    ) -> Result<(), ReadError> {
        let [mut index, mut functions] =
            [(); 2].map(|()| Ahead::new(file.0, file.1, area.range.end));
        let place = range.start.saturating_sub(self.index_at);
        let after = self.starts.partition_point(|start| u64::from(*start) <= place);
        let first = after.saturating_sub(1) as u64 * self.spacing;
        let mut next = self.start_of(&mut index, first)?;
        for number in first..self.functions {
            let Some(start) = next else { break };
            let start = self.index_at + u64::from(start);
            if start >= range.end {
                break;
            }
            next = if number + 1 < self.functions {
                self.start_of(&mut index, number + 1)?
            } else {
                None
            };
            let end = next.map_or(area.range.end, |next| self.index_at + u64::from(next));
            if end > range.start {
                let mut put_its = |site: Site| {
                    if site.end() <= end {
                        put(site)
                    }
                };
                self.function(&mut functions, start, &mut put_its)?;
            }
        }
        Ok(())
    }

    fn function(
        &self,
        ahead: &mut Ahead<'_>,
        start: u64,
        put: &mut impl FnMut(Site),
    ) -> Result<(), ReadError> {
        let Some(head) = ahead.reach(start, self.head_bytes)? else { return Ok(()) };
        let number = |at: u64| head.number(start + at, 4).unwrap_or(0);
        put(site(start + ENTRY, Kind::Function, number(ENTRY), self.code));
        put(site(start + NAME, Kind::FunctionPart, number(NAME), self.names));
        for at in PLACES {
            put_place(start + at, number(at), self.places, put);
        }
        let by_place = number(PLACE_TABLES);
        let of_data = u64::from(head.u8(start + self.head_bytes - 1).unwrap_or(0));
        if by_place > MAX_TABLES || of_data > MAX_TABLES {
            return Ok(());
        }
        let tables = start + self.head_bytes;
        let Some(window) = ahead.reach(tables, 4 * (by_place + of_data))? else { return Ok(()) };
        for at in (0..by_place).map(|i| tables + 4 * i) {
            put_place(at, window.number(at, 4).unwrap_or(0), self.places, put);
        }
        let Some(data) = self.data else { return Ok(()) };
        for at in (by_place..by_place + of_data).map(|i| tables + 4 * i) {
            let number = window.number(at, 4).unwrap_or(0);
            if number != 0xffff_ffff {
                put(site(at, Kind::FunctionPart, number, data));
            }
        }
        Ok(())
    }
}

fn site(at: u64, kind: Kind, number: u64, base: u64) -> Site {
    let meaning = Meaning::Based { target: base.wrapping_add(number), base };
    Site { at, form: Form::Unsigned32, kind, meaning }
}

/// 0 says that there is no table.
fn put_place(at: u64, number: u64, base: u64, put: &mut impl FnMut(Site)) {
    if number != 0 {
        put(site(at, Kind::FunctionPart, number, base));
    }
}

/// Words of what a program says of itself at run time, which begins with the addresses of the table and of its names.
struct Module {
    code: u64,
    data: Option<u64>,
}

/// The start of the code.
const MODULE_CODE: u64 = 22;
/// What functions' data is counted from: before Go 1.20, and before 1.26.
const MODULE_DATA_118: u64 = 38;
const MODULE_DATA_120: u64 = 40;
/// The same of 1.26 and of 1.27, which have it in the table itself.
const MODULE_DATA_IN_TABLE: [u64; 2] = [40, 43];

impl Module {
    fn find(
        file: File<'_>,
        structure: &Structure,
        table: &Header<'_>,
    ) -> Result<Option<Self>, ReadError> {
        let width = structure.layout().word_bytes;
        let word = u64::from(width);
        for area in structure.areas.iter().filter(|area| area.kind == AreaKind::Words) {
            let mut ahead = Ahead::new(file.0, file.1, area.range.end);
            let misaligned = area.address_of(area.range.start).wrapping_neg() & (word - 1);
            let mut at = area.range.start + misaligned;
            while let Some(window) = ahead.reach(at, 2 * word)? {
                let is_first = window.number(at, width) == Some(table.area.address);
                if is_first && window.number(at + word, width) == Some(table.names()) {
                    let mut field = |i: u64| {
                        let at = at + i * word;
                        Ok(ahead.reach(at, word)?.and_then(|window| window.number(at, width)))
                    };
                    let Some(code) = field(MODULE_CODE)? else { return Ok(None) };
                    return Ok(Some(Self { code, data: table.data(field)? }));
                }
                at += word;
            }
        }
        Ok(None)
    }
}
