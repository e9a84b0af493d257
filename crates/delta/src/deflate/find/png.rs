//! The data of a png image ([specification](https://www.w3.org/TR/png-3/)), where one chunk has all of it.

use super::{Found, measure};

pub(super) const MAGIC: &[u8; 4] = b"\x89PNG";
const SIGNATURE_BYTES: usize = 8;
/// Length and type before the data of a chunk, a checksum after it.
const CHUNK_HEAD_BYTES: usize = 8;
const CHUNK_TAIL_BYTES: usize = 4;
/// The header of a zlib stream.
const ZLIB_HEADER_BYTES: usize = 2;
/// Chunks before the data are few.
const MAX_CHUNKS: usize = 64;

/// Finds the one chunk of data.
pub(super) fn find(file: &[u8], found: &mut Found) {
    let mut at = SIGNATURE_BYTES;
    for _ in 0..MAX_CHUNKS {
        let head = file.get(at..).and_then(|rest| rest.first_chunk::<CHUNK_HEAD_BYTES>());
        let Some([a, b, c, d, kind @ ..]) = head else { return };
        let Ok(length) = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])) else { return };
        let start = at + CHUNK_HEAD_BYTES;
        let Some(end) = start.checked_add(length).filter(|end| *end <= file.len()) else { return };
        if kind == b"IDAT" {
            return one_chunk(file, start, end, found);
        }
        at = end + CHUNK_TAIL_BYTES;
    }
}

fn one_chunk(file: &[u8], start: usize, end: usize, found: &mut Found) {
    let Some(stream) = file[start..end].get(ZLIB_HEADER_BYTES..) else { return };
    // A stream that goes on in the next chunk has no end here.
    if let Some((length, plain_bytes)) = measure(stream, found.plain_limit_bytes) {
        let start = start + ZLIB_HEADER_BYTES;
        found.push(start..start + length, b"IDAT".to_vec(), plain_bytes);
    }
}
