//! Making checksums right, so that what is behind them is reached.

use delta::tar_map::{self, Block};
use xxhash_rust::xxh3::xxh3_64;

/// The fixed part of a native delta's header: signature, version, length of the payload.
const HEADER_FIXED_BYTES: usize = 8 + 2 + 4;
/// Two digests and two lengths.
const FRAME_HEADER_BYTES: usize = 8 + 4 + 4 + 8;
const SIGNATURE: &[u8; 8] = b"\x89SILT\r\n\x1a";

/// Gives every block that stands where a tar header would stand a right checksum.
pub fn tar(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..at + 512) {
        if block.iter().any(|byte| *byte != 0) {
            seal_tar_header(block);
        }
        let has_data = !matches!(block[156], b'1'..=b'6');
        let size = tar_map::number(&block[124..136]).filter(|_| has_data).unwrap_or(0);
        let size = usize::try_from(size).unwrap_or(usize::MAX).checked_next_multiple_of(512);
        let Some(next) = size.and_then(|size| size.checked_add(at + 512)) else {
            break;
        };
        at = next;
    }
    tar
}

/// Writes the checksum of one header.
pub(crate) fn seal_tar_header(header: &mut [u8]) {
    if let Ok(block) = Block::try_from(&*header) {
        let sum = tar_map::checksum(&block);
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Gives a native delta its signature and makes the digests of its header and of the stored bytes of
/// its frames right; the last frame gets the length that is there.
pub fn native(data: &[u8]) -> Vec<u8> {
    let mut delta = data.to_vec();
    let Some(mut at) = seal_native_header(&mut delta) else {
        return delta;
    };
    while delta.len() - at > FRAME_HEADER_BYTES {
        at = seal_frame(&mut delta, at);
    }
    delta
}

/// Where the header ends; `None` where there is not all of it.
fn seal_native_header(delta: &mut [u8]) -> Option<usize> {
    delta.get_mut(..8)?.copy_from_slice(SIGNATURE);
    let length = u32::from_le_bytes(*delta.get(10..)?.first_chunk()?);
    let end = HEADER_FIXED_BYTES.checked_add(usize::try_from(length).ok()?)?;
    let digest = xxh3_64(delta.get(..end)?).to_le_bytes();
    delta.get_mut(end..end + 8)?.copy_from_slice(&digest);
    Some(end + 8)
}

/// Seals the frame at `at`, and says where the next one starts.
pub(crate) fn seal_frame(delta: &mut [u8], at: usize) -> usize {
    let left = delta.len() - at - FRAME_HEADER_BYTES;
    let claimed = u32::from_le_bytes(delta[at + 8..at + 12].try_into().unwrap_or_default());
    let stored = usize::try_from(claimed).unwrap_or(left).min(left);
    let length = u32::try_from(stored).unwrap_or(u32::MAX);
    delta[at + 8..at + 12].copy_from_slice(&length.to_le_bytes());
    let end = at + FRAME_HEADER_BYTES + stored;
    let digest = xxh3_64(&delta[at + 8..end]).to_le_bytes();
    delta[at..at + 8].copy_from_slice(&digest);
    end
}

/// Where the frames of a sealed delta start.
pub(crate) fn frame_starts(delta: &[u8]) -> Vec<usize> {
    let mut delta = delta.to_vec();
    let mut starts = Vec::new();
    let mut at = seal_native_header(&mut delta).unwrap_or(delta.len());
    while delta.len() - at > FRAME_HEADER_BYTES {
        starts.push(at);
        at = seal_frame(&mut delta, at);
    }
    starts
}

/// Says what the frame at `at` makes, and seals it again.
pub(crate) fn set_frame_output(delta: &mut [u8], at: usize, output: &[u8]) {
    delta[at + 16..at + 24].copy_from_slice(&xxh3_64(output).to_le_bytes());
    seal_frame(delta, at);
}
