//! References in `.eh_frame`: a sequence of records, each of which says how long it is.

use std::ops::Range;

use super::site::{Form, Kind, Meaning, Site, sign_extend};
use super::structure::Area;
use super::window::{Ahead, Window};
use crate::read_at::{ReadAt, ReadError};

/// Where some of the records start, so that those in any range are found without reading from the
/// beginning.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Offsets from the start of the area.
    starts: Vec<u32>,
    /// Rules of the common records that were seen last.
    rules: [Option<Rules>; 4],
    next_rules: usize,
}

const MAX_CHECKPOINTS: u64 = 16384;
const MIN_SPACING: u64 = 4096;

/// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`, the encoding that compilers use.
const RELATIVE: u8 = 0x1b;
const INDIRECT: u8 = 0x80;
const OMITTED: u8 = 0xff;

/// What a common record (CIE) says about those that refer to it.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// Offset of the record in the file.
    at: u64,
    function_encoding: u8,
    data_encoding: u8,
}

impl Checkpoints {
    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = MAX_CHECKPOINTS * 4 + 4 * Ahead::READ_BYTES;

    /// Reads through the area once.
    pub(super) fn of(
        origin: &dyn ReadAt,
        old: &Range<u64>,
        area: &Area,
    ) -> Result<Self, ReadError> {
        let length = area.range.end - area.range.start;
        let spacing = length.div_ceil(MAX_CHECKPOINTS).max(MIN_SPACING);
        let mut checkpoints = Self::default();
        let mut records = Records::new(origin, old, area, area.range.start);
        let mut next = 0;
        while let Some(record) = records.next()? {
            let place = record.at - area.range.start;
            if place >= next {
                checkpoints.starts.push(u32::try_from(place).unwrap_or(u32::MAX));
                next = place / spacing * spacing + spacing;
            }
        }
        Ok(checkpoints)
    }

    /// Finds the sites that start in `range`, in order.
    pub(super) fn find(
        &mut self,
        source: (&dyn ReadAt, &Range<u64>),
        area: &Area,
        window: &Window,
        range: &Range<u64>,
        sites: &mut Vec<Site>,
    ) -> Result<(), ReadError> {
        let place = range.start.saturating_sub(area.range.start);
        let after = self.starts.partition_point(|start| u64::from(*start) <= place);
        let Some(start) = after.checked_sub(1).map(|i| self.starts[i]) else { return Ok(()) };
        let mut records =
            Records::new(source.0, source.1, area, area.range.start + u64::from(start));
        while let Some(record) = records.next()? {
            if record.at >= range.end {
                break;
            }
            // References stand in the first bytes of a record, within the margin of the window.
            if record.is_end_mark() || record.at + HEAD_BYTES <= range.start {
                continue;
            }
            let mut put = |site: Site| {
                let end = site.at + 4;
                if range.contains(&site.at) && end <= record.end {
                    sites.push(site);
                }
            };
            let link = u64::from(window.u32(record.at + 4).unwrap_or(u32::MAX));
            if link == 0 {
                if let Some(personality) = parse_common(area, window, record.at).1 {
                    put(personality);
                }
                continue;
            }
            let Some(common) = (record.at + 4).checked_sub(link) else { continue };
            if common < area.range.start {
                continue;
            }
            let rules = self.rules_at(source, area, common)?;
            function_sites(area, window, &record, &rules, &mut put);
        }
        Ok(())
    }

    fn rules_at(
        &mut self,
        source: (&dyn ReadAt, &Range<u64>),
        area: &Area,
        at: u64,
    ) -> Result<Rules, ReadError> {
        if let Some(rules) = self.rules.iter().flatten().find(|rules| rules.at == at) {
            return Ok(*rules);
        }
        let mut window = Window::default();
        window.read(source.0, source.1, &(at..at))?;
        let rules = parse_common(area, &window, at).0;
        self.rules[self.next_rules] = Some(rules);
        self.next_rules = (self.next_rules + 1) % self.rules.len();
        Ok(rules)
    }
}

/// No reference of a record stands further from its start.
const HEAD_BYTES: u64 = 40;

/// Takes a LEB128 number off the front; its value is cut to 64 bits.
fn take_leb(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift < 64 {
            value |= u64::from(byte & 0x7f) << shift;
        }
        shift += 7;
        if byte < 0x80 {
            return Some(value);
        }
    }
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

/// The rules of the common record at `at`, and the site of its personality routine.
fn parse_common(area: &Area, window: &Window, at: u64) -> (Rules, Option<Site>) {
    let mut rules = Rules { at, function_encoding: 0, data_encoding: OMITTED };
    let mut personality = None;
    // What does not fit the window is taken for absent.
    let _ = (|| {
        let all = window.from(at);
        let all = all.get(..usize::try_from(HEAD_BYTES).unwrap_or(0).min(all.len()))?;
        let mut bytes = all.get(8..)?;
        if all.get(4..8)? != [0; 4] {
            return None;
        }
        let version = take_byte(&mut bytes)?;
        let name_bytes = bytes.iter().position(|byte| *byte == 0)?;
        let name = &bytes[..name_bytes];
        bytes = &bytes[name_bytes + 1..];
        take_leb(&mut bytes)?;
        take_leb(&mut bytes)?;
        if version == 1 {
            take_byte(&mut bytes)?;
        } else {
            take_leb(&mut bytes)?;
        }
        if name.first() != Some(&b'z') {
            return None;
        }
        take_leb(&mut bytes)?;
        for letter in &name[1..] {
            match letter {
                b'R' => rules.function_encoding = take_byte(&mut bytes)?,
                b'L' => rules.data_encoding = take_byte(&mut bytes)?,
                b'P' => {
                    let encoding = take_byte(&mut bytes)? & !INDIRECT;
                    let place = at + (all.len() - bytes.len()) as u64;
                    if encoding == RELATIVE {
                        personality = relative(area, window, place);
                    }
                    bytes = bytes.get(if encoding & 7 == 3 { 4 } else { 8 }..)?;
                }
                _ => {}
            }
        }
        Some(())
    })();
    (rules, personality)
}

fn relative(area: &Area, window: &Window, at: u64) -> Option<Site> {
    let distance = sign_extend(window.u32(at)?.into(), 32);
    let target = area.address_of(at).wrapping_add(distance);
    Some(site(at, Kind::Unwind, Meaning::Relative { target, bias: 0 }))
}

fn site(at: u64, kind: Kind, meaning: Meaning) -> Site {
    Site { at, form: Form::Signed32, kind, meaning }
}

/// The sites of a function's record (FDE).
fn function_sites(
    area: &Area,
    window: &Window,
    record: &Record,
    rules: &Rules,
    put: &mut impl FnMut(Site),
) {
    let at = record.at;
    put(site(at + 4, Kind::UnwindLink, Meaning::Backward { target: area.address_of(rules.at) }));
    if rules.function_encoding != RELATIVE {
        return;
    }
    let Some(function) = relative(area, window, at + 8) else { return };
    put(function);
    let Meaning::Relative { target: start, .. } = function.meaning else { return };
    let Some(length) = window.u32(at + 12).filter(|length| *length > 0) else { return };
    let end = start.wrapping_add(length.into());
    put(site(at + 12, Kind::UnwindLength, Meaning::Length { start, end }));
    if rules.data_encoding != RELATIVE {
        return;
    }
    let mut bytes = window.from(at + 16);
    let before = bytes.len();
    if take_leb(&mut bytes).is_none() {
        return;
    }
    let place = at + 16 + (before - bytes.len()) as u64;
    // A distance of 0 says that there is no table.
    if window.u32(place).is_some_and(|distance| distance != 0) && place < at + HEAD_BYTES - 4 {
        relative(area, window, place).into_iter().for_each(put);
    }
}

/// A record: where it starts, and where it ends.
struct Record {
    at: u64,
    end: u64,
}

impl Record {
    /// Where the records of one object file end, or all: a length of 0, and no contents.
    fn is_end_mark(&self) -> bool {
        self.end - self.at == 4
    }
}

/// Goes from record to record.
struct Records<'a> {
    ahead: Ahead<'a>,
    at: u64,
}

impl<'a> Records<'a> {
    fn new(origin: &'a dyn ReadAt, old: &'a Range<u64>, area: &Area, at: u64) -> Self {
        Self { ahead: Ahead::new(origin, old, area.range.end), at }
    }

    /// The next record; none after one that is not possible.
    fn next(&mut self) -> Result<Option<Record>, ReadError> {
        if self.at + 8 > self.ahead.end() {
            return Ok(None);
        }
        let length = self.ahead.reach(self.at, 4)?.and_then(|window| window.u32(self.at));
        let record =
            length.map(|length| Record { at: self.at, end: self.at + 4 + u64::from(length) });
        let is_possible = |record: &Record| {
            record.is_end_mark() || (record.end >= record.at + 8 && record.end <= self.ahead.end())
        };
        let record = record.filter(is_possible);
        if let Some(record) = &record {
            self.at = record.end;
        }
        Ok(record)
    }
}
