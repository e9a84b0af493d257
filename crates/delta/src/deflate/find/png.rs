//! The data of a png image ([specification](https://www.w3.org/TR/png-3/)), where one chunk has all of it.

use super::{Found, Stop, measure, read};
use crate::read_at::{Part, ReadAt};

pub(super) const MAGIC: &[u8; 4] = b"\x89PNG";
const SIGNATURE_BYTES: u64 = 8;
/// Length and type before the data of a chunk, a checksum after it.
const CHUNK_HEAD_BYTES: u64 = 8;
const CHUNK_TAIL_BYTES: u64 = 4;
/// The header of a zlib stream.
const ZLIB_HEADER_BYTES: u64 = 2;
/// Chunks before the data are few.
const MAX_CHUNKS: usize = 64;

/// Finds the one chunk of data.
pub(super) fn find(file: &dyn ReadAt, found: &mut Found) -> Result<(), Stop> {
    let mut at = SIGNATURE_BYTES;
    for _ in 0..MAX_CHUNKS {
        let [a, b, c, d, kind @ ..] = read::<8>(file, at)?;
        let start = at + CHUNK_HEAD_BYTES;
        let end = start + u64::from(u32::from_be_bytes([a, b, c, d]));
        if end > file.size() {
            break;
        }
        if kind == *b"IDAT" {
            // A stream that goes on in the next chunk has no end here.
            let chunk = Part::new(file, 0..end);
            let start = start + ZLIB_HEADER_BYTES;
            let (length, plain_bytes) = measure(&chunk, start, found.measured_bytes)?;
            found.push(start..start + length, b"IDAT".to_vec(), plain_bytes);
            break;
        }
        at = end + CHUNK_TAIL_BYTES;
    }
    Ok(())
}
