//! Entries of zip archives (PKWARE's APPNOTE.TXT), found by the central directory.

use super::{Found, MAX_STORED_DEPTH, u16_at, u32_at, u64_at};

/// The signature of an entry's own header.
pub(super) const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";

const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const LOCATOR_64_BYTES: usize = 20;
/// The longest comment after the end record.
const MAX_COMMENT_BYTES: usize = u16::MAX as usize;

const STORED: usize = 0;
const DEFLATED: usize = 8;
/// The flag of encrypted entries.
const ENCRYPTED: usize = 1;
/// The extra field with numbers that need 64 bits, and the number that stands for it.
const EXTRA_64: usize = 1;
const IN_EXTRA: u64 = 0xffff_ffff;

/// Finds the entries of the archive that is `file` from `start` on, and of archives that are stored
/// in it; `prefix` is put before their names.
pub(super) fn find(file: &[u8], start: usize, prefix: &[u8], depth: usize, found: &mut Found) {
    let Some(archive) = file.get(start..) else { return };
    found.archives += 1;
    let Some((mut at, count)) = directory(archive) else { return };
    for _ in 0..count {
        let Some(entry) = Entry::read(archive, at) else { return };
        at = entry.next;
        found.entries += 1;
        if found.is_full() {
            return;
        }
        let Some(data) = entry.data(archive) else { continue };
        let name = [prefix, entry.name].concat();
        let range = start + data.start..start + data.end;
        match entry.method {
            DEFLATED => found.push(range, name, entry.plain_bytes),
            STORED if depth < MAX_STORED_DEPTH && archive[data].starts_with(LOCAL) => {
                let inner = &file[..range.end];
                find(inner, range.start, &[&name[..], b"!"].concat(), depth + 1, found);
            }
            _ => {}
        }
    }
}

/// Where the central directory is, and how many entries it has.
fn directory(archive: &[u8]) -> Option<(usize, u64)> {
    let earliest = archive.len().saturating_sub(END_BYTES + MAX_COMMENT_BYTES);
    let tail = &archive[earliest..];
    let end = tail.windows(END.len()).rposition(|window| window == END)? + earliest;
    let count = u64::try_from(u16_at(archive, end + 10)?).ok()?;
    let offset = u32_at(archive, end + 16)?;
    let (count, offset) = match directory_64(archive, end) {
        Some(large) if offset == IN_EXTRA || count == 0xffff => large,
        _ => (count, offset),
    };
    Some((usize::try_from(offset).ok()?, count))
}

fn directory_64(archive: &[u8], end: usize) -> Option<(u64, u64)> {
    let locator = end.checked_sub(LOCATOR_64_BYTES)?;
    if !archive[locator..].starts_with(LOCATOR_64) {
        return None;
    }
    let record = archive.get(usize::try_from(u64_at(archive, locator + 8)?).ok()?..)?;
    if !record.starts_with(END_64) {
        return None;
    }
    Some((u64_at(record, 32)?, u64_at(record, 48)?))
}

/// An entry as the central directory has it.
struct Entry<'a> {
    name: &'a [u8],
    method: usize,
    is_encrypted: bool,
    stored_bytes: u64,
    plain_bytes: u64,
    local: u64,
    next: usize,
}

impl<'a> Entry<'a> {
    fn read(archive: &'a [u8], at: usize) -> Option<Self> {
        let header = archive.get(at..)?;
        if !header.starts_with(CENTRAL) {
            return None;
        }
        let name_end = CENTRAL_BYTES + u16_at(header, 28)?;
        let extra_end = name_end + u16_at(header, 30)?;
        let next = at.checked_add(extra_end + u16_at(header, 32)?)?;
        let mut entry = Self {
            name: header.get(CENTRAL_BYTES..name_end)?,
            method: u16_at(header, 10)?,
            is_encrypted: u16_at(header, 8)? & ENCRYPTED != 0,
            stored_bytes: u32_at(header, 20)?,
            plain_bytes: u32_at(header, 24)?,
            local: u32_at(header, 42)?,
            next,
        };
        entry.read_extra(header.get(name_end..extra_end)?);
        Some(entry)
    }

    /// The numbers that need 64 bits, those that are there in this order.
    fn read_extra(&mut self, mut extra: &[u8]) {
        while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
            let Some(field) = extra.get(4..4 + length) else { return };
            if id == EXTRA_64 {
                let wanted = [&mut self.plain_bytes, &mut self.stored_bytes, &mut self.local];
                let wanted = wanted.into_iter().filter(|number| **number == IN_EXTRA);
                for (i, number) in wanted.enumerate() {
                    *number = u64_at(field, 8 * i).unwrap_or(*number);
                }
            }
            extra = &extra[4 + length..];
        }
    }

    /// Where its data are: after its own header, whose extra field may be another.
    fn data(&self, archive: &[u8]) -> Option<std::ops::Range<usize>> {
        let local = usize::try_from(self.local).ok()?;
        let header = archive.get(local..)?;
        if self.is_encrypted || !header.starts_with(LOCAL) {
            return None;
        }
        let start = local + LOCAL_BYTES + u16_at(header, 26)? + u16_at(header, 28)?;
        let end = start.checked_add(usize::try_from(self.stored_bytes).ok()?)?;
        (end <= archive.len()).then_some(start..end)
    }
}
