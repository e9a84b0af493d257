//! Members of gzip files ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)).

use super::{Found, Stop, measure, read, u16_at};
use crate::read_at::ReadAt;

/// The magic number, and deflate as the method.
pub(super) const MAGIC: &[u8; 3] = b"\x1f\x8b\x08";

const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const HEADER_BYTES: u64 = 10;
/// The checksum and the length.
const TRAILER_BYTES: u64 = 8;
/// Names and comments that are longer are none.
const MAX_TEXT_BYTES: u64 = 64 << 10;

/// Finds the members, named by their numbers.
pub(super) fn find(file: &dyn ReadAt, found: &mut Found) -> Result<(), Stop> {
    let mut at = 0;
    for number in 0u32.. {
        if found.is_full() {
            break;
        }
        let start = end_of_header(file, at)?;
        let (length, plain_bytes) = measure(file, start, found.measured_bytes)?;
        at = start + length + TRAILER_BYTES;
        found.push(start..start + length, number.to_le_bytes().to_vec(), plain_bytes);
    }
    Ok(())
}

/// Where the header of the member at `at` ends.
fn end_of_header(file: &dyn ReadAt, at: u64) -> Result<u64, Stop> {
    let [a, b, c, flags] = read(file, at)?;
    if [a, b, c] != *MAGIC {
        return Err(Stop::Malformed);
    }
    let mut end = at + HEADER_BYTES;
    if flags & EXTRA != 0 {
        end += 2 + u64::from(u16_at(&read::<2>(file, end)?, 0));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            end = end_of_text(file, end)?;
        }
    }
    Ok(if flags & HEADER_CRC != 0 { end + 2 } else { end })
}

/// Where the text at `at` ends, its zero included.
fn end_of_text(file: &dyn ReadAt, at: u64) -> Result<u64, Stop> {
    for end in at..at + MAX_TEXT_BYTES {
        if read(file, end)? == [0] {
            return Ok(end + 1);
        }
    }
    Err(Stop::Malformed)
}
