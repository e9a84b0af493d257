//! Entries of zip archives (PKWARE's APPNOTE.TXT), found by the central directory.

use std::ops::Range;

use super::{
    Found, MAX_STORED_DEPTH, Stop, if_well_formed, read, read_bytes, u16_at, u32_at, u64_at,
};
use crate::read_at::{Part, ReadAround, ReadAt};

/// The signature of an entry's own header.
pub(super) const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";

const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const LOCATOR_64_BYTES: usize = 20;
/// The longest comment after the end record.
const MAX_COMMENT_BYTES: usize = u16::MAX as usize;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The flag of encrypted entries.
const ENCRYPTED: u16 = 1;
/// The extra field with numbers that need 64 bits, and the number that stands for it.
const EXTRA_64: u16 = 1;
const IN_EXTRA: u64 = 0xffff_ffff;

/// Finds the entries of the archive that `range` of `file` is, and of archives that are stored in it;
/// `prefix` is put before their names.
pub(super) fn find(
    file: &dyn ReadAt,
    range: Range<u64>,
    prefix: &[u8],
    depth: usize,
    found: &mut Found,
) -> Result<(), Stop> {
    let archive = &Part::new(file, range.clone());
    found.archives += 1;
    let (mut at, count) = directory(archive)?;
    let entries = ReadAround::new(archive);
    for _ in 0..count {
        let entry = Entry::read(&entries, at)?;
        at = entry.next;
        found.entries += 1;
        found.name_bytes += prefix.len() + entry.name.len();
        if found.is_full() {
            break;
        }
        let Some(data) = if_well_formed(entry.data(archive))? else { continue };
        let name = [prefix, &entry.name].concat();
        let data = range.start + data.start..range.start + data.end;
        match entry.method {
            DEFLATED => found.push(data, name, entry.plain_bytes),
            STORED if depth < MAX_STORED_DEPTH && starts_archive(file, &data)? => {
                let inner = find(file, data, &[&name[..], b"!"].concat(), depth + 1, found);
                if_well_formed(inner)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn starts_archive(file: &dyn ReadAt, data: &Range<u64>) -> Result<bool, Stop> {
    let is_long = data.end - data.start >= LOCAL_BYTES as u64;
    Ok(is_long && read(file, data.start)? == *LOCAL)
}

/// Where the central directory is, and how many entries it has.
fn directory(archive: &dyn ReadAt) -> Result<(u64, u64), Stop> {
    let last = archive.size().min((END_BYTES + MAX_COMMENT_BYTES) as u64);
    let tail_at = archive.size() - last;
    let tail = read_bytes(archive, tail_at, usize::try_from(last).unwrap_or(0))?;
    let end = tail.windows(END_BYTES).rposition(|window| window.starts_with(END));
    let end = end.ok_or(Stop::Malformed)?;
    let (count, offset) = (u64::from(u16_at(&tail, end + 10)), u32_at(&tail, end + 16));
    if offset == IN_EXTRA || count == 0xffff {
        let large = if_well_formed(directory_64(archive, tail_at + end as u64))?;
        return Ok(large.unwrap_or((offset, count)));
    }
    Ok((offset, count))
}

fn directory_64(archive: &dyn ReadAt, end: u64) -> Result<(u64, u64), Stop> {
    let at = end.checked_sub(LOCATOR_64_BYTES as u64).ok_or(Stop::Malformed)?;
    let locator: [u8; LOCATOR_64_BYTES] = read(archive, at)?;
    let record: [u8; END_64_BYTES] = read(archive, u64_at(&locator, 8))?;
    if !locator.starts_with(LOCATOR_64) || !record.starts_with(END_64) {
        return Err(Stop::Malformed);
    }
    Ok((u64_at(&record, 48), u64_at(&record, 32)))
}

/// An entry as the central directory has it.
struct Entry {
    name: Vec<u8>,
    method: u16,
    is_encrypted: bool,
    stored_bytes: u64,
    plain_bytes: u64,
    local: u64,
    next: u64,
}

impl Entry {
    fn read(archive: &dyn ReadAt, at: u64) -> Result<Self, Stop> {
        let header: [u8; CENTRAL_BYTES] = read(archive, at)?;
        if !header.starts_with(CENTRAL) {
            return Err(Stop::Malformed);
        }
        let [name, extra, comment] = [28, 30, 32].map(|field| usize::from(u16_at(&header, field)));
        let name_at = at + CENTRAL_BYTES as u64;
        let mut text = read_bytes(archive, name_at, name + extra)?;
        let extra = text.split_off(name);
        let mut entry = Self {
            name: text,
            method: u16_at(&header, 10),
            is_encrypted: u16_at(&header, 8) & ENCRYPTED != 0,
            stored_bytes: u32_at(&header, 20),
            plain_bytes: u32_at(&header, 24),
            local: u32_at(&header, 42),
            next: name_at + (name + extra.len() + comment) as u64,
        };
        entry.read_extra(&extra);
        Ok(entry)
    }

    /// The numbers that need 64 bits, those that are there in this order.
    fn read_extra(&mut self, mut extra: &[u8]) {
        while extra.len() >= 4 {
            let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
            let Some(field) = extra.get(4..4 + length) else { return };
            if id == EXTRA_64 {
                let wanted = [&mut self.plain_bytes, &mut self.stored_bytes, &mut self.local];
                let wanted = wanted.into_iter().filter(|number| **number == IN_EXTRA);
                for (number, value) in wanted.zip(field.chunks_exact(8)) {
                    *number = u64_at(value, 0);
                }
            }
            extra = &extra[4 + length..];
        }
    }

    /// Where its data are: after its own header, whose extra field may be another.
    fn data(&self, archive: &dyn ReadAt) -> Result<Range<u64>, Stop> {
        let header: [u8; LOCAL_BYTES] = read(archive, self.local)?;
        if self.is_encrypted || !header.starts_with(LOCAL) {
            return Err(Stop::Malformed);
        }
        let texts = u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        let start = self.local + LOCAL_BYTES as u64 + texts;
        let end = start.checked_add(self.stored_bytes).filter(|end| *end <= archive.size());
        Ok(start..end.ok_or(Stop::Malformed)?)
    }
}
