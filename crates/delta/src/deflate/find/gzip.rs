//! Members of gzip files ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)).

use super::{Found, measure, u16_at};

/// The magic number, and deflate as the method.
pub(super) const MAGIC: &[u8; 3] = b"\x1f\x8b\x08";

const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
/// The checksum and the length.
const TRAILER_BYTES: usize = 8;

/// Finds the members, named by their numbers.
pub(super) fn find(file: &[u8], found: &mut Found) {
    let mut at = 0;
    for number in 0u32.. {
        let rest = file.get(at..).filter(|rest| rest.starts_with(MAGIC));
        let Some(rest) = rest.filter(|_| !found.is_full()) else { return };
        let Some(start) = header_bytes(rest) else { return };
        let stream = rest.get(start..).unwrap_or_default();
        let Some((length, plain_bytes)) = measure(stream, found.plain_limit_bytes) else { return };
        let range = at + start..at + start + length;
        at = range.end.saturating_add(TRAILER_BYTES);
        found.push(range, number.to_le_bytes().to_vec(), plain_bytes);
    }
}

fn header_bytes(member: &[u8]) -> Option<usize> {
    let flags = *member.get(3)?;
    let mut end = 10;
    if flags & EXTRA != 0 {
        end += 2 + u16_at(member, end)?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            end += member.get(end..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    Some(if flags & HEADER_CRC != 0 { end + 2 } else { end })
}
