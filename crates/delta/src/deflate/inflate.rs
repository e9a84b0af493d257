//! Inflating a stream of an origin into memory.

use flate2::{Decompress, FlushDecompress, Status};

use crate::read_at::{ReadAt, ReadError};

/// Compressed bytes are read in pieces of this size.
const PIECE_BYTES: u64 = 16 << 10;

/// What [`inflate`] takes beside the plain bytes: a piece, the window and the tables.
pub const INFLATE_STATE_BYTES: u64 = 128 << 10;

/// A deflate stream of an origin could not be inflated.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// Its bytes cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// They are no deflate stream.
    #[error("there is no deflate stream at {at}")]
    Invalid {
        /// Where it should be.
        at: u64,
    },
    /// The stream holds more or less than it should.
    #[error("the deflate stream at {at} does not hold {expected} bytes")]
    Length {
        /// Where it is.
        at: u64,
        /// What it should hold.
        expected: u64,
    },
    /// The stream is longer than it may be.
    #[error("the deflate stream at {at} is longer than the {allowed} bytes that it may be")]
    TooLong {
        /// Where it is.
        at: u64,
        /// How long it may be.
        allowed: u64,
    },
    /// There is no memory for what it holds.
    #[error("no memory for the {bytes} bytes of a deflate stream")]
    Memory {
        /// What it holds.
        bytes: u64,
    },
}

/// What the deflate stream at `at` of `origin` holds: exactly `plain_bytes`. Gives its own length too, which is at most
/// `max_bytes`: a stream may be of any length and hold nothing.
///
/// That many bytes are allocated at once: a caller that does not trust the number compares it
/// with a limit first.
pub fn inflate(
    origin: &dyn ReadAt,
    at: u64,
    plain_bytes: u64,
    max_bytes: u64,
) -> Result<(Vec<u8>, u64), InflateError> {
    let no_memory = InflateError::Memory { bytes: plain_bytes };
    let wrong_length = InflateError::Length { at, expected: plain_bytes };
    let mut plain = Vec::new();
    match usize::try_from(plain_bytes) {
        Ok(bytes) if plain.try_reserve_exact(bytes).is_ok() => plain.resize(bytes, 0),
        _ => return Err(no_memory),
    }
    let mut inflater = Decompress::new(false);
    // One byte more than is expected shows a stream that is too long.
    let mut beyond = [0];
    let mut piece = Vec::new();
    loop {
        let (read, written) = (inflater.total_in(), inflater.total_out());
        let from = at.checked_add(read).ok_or(InflateError::Invalid { at })?;
        let length = PIECE_BYTES.min(origin.size().saturating_sub(from));
        piece.resize(usize::try_from(length).unwrap_or(0), 0);
        origin.read_exact_at(&mut piece, from)?;
        let done = usize::try_from(written).unwrap_or(usize::MAX).min(plain.len());
        let room = if done < plain.len() { &mut plain[done..] } else { &mut beyond[..] };
        let status = inflater.decompress(&piece, room, FlushDecompress::None);
        let status = status.map_err(|_| InflateError::Invalid { at })?;
        if inflater.total_out() > plain_bytes {
            return Err(wrong_length);
        }
        if inflater.total_in() > max_bytes {
            return Err(InflateError::TooLong { at, allowed: max_bytes });
        }
        if status == Status::StreamEnd {
            break;
        }
        if (inflater.total_in(), inflater.total_out()) == (read, written) {
            return Err(InflateError::Invalid { at });
        }
    }
    let compressed_bytes = inflater.total_in();
    if inflater.total_out() == plain_bytes {
        Ok((plain, compressed_bytes))
    } else {
        Err(wrong_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(9));
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_stream_in_the_middle_is_inflated() {
        let plain: Vec<u8> = (0u32..40_000).flat_map(|i| (i * i).to_le_bytes()).collect();
        for plain in [&plain[..], &plain[..10], b""] {
            let origin = [b"before", &deflated(plain)[..], b"after"].concat();
            let length = plain.len() as u64;
            let compressed_bytes = origin.len() as u64 - 11;
            assert_eq!(
                inflate(&origin, 6, length, compressed_bytes).unwrap(),
                (plain.to_vec(), compressed_bytes)
            );
            let error = inflate(&origin, 6, length, compressed_bytes - 1);
            assert!(matches!(error, Err(InflateError::TooLong { at: 6, .. })), "{error:?}");
            let error = inflate(&origin, 6, length + 1, u64::MAX);
            assert!(matches!(error, Err(InflateError::Length { at: 6, .. })), "{error:?}");
            if let Some(less) = length.checked_sub(1) {
                assert!(matches!(
                    inflate(&origin, 6, less, u64::MAX),
                    Err(InflateError::Length { .. })
                ));
            }
        }
    }

    #[test]
    fn what_is_no_stream_or_not_all_of_one_is_refused() {
        let stream = deflated(&b"some words ".repeat(1000));
        for cut in 0..stream.len() {
            assert!(inflate(&stream[..cut].to_vec(), 0, 11_000, u64::MAX).is_err(), "{cut}");
        }
        assert!(inflate(&vec![0xff; 100], 0, 10, u64::MAX).is_err());
        assert!(inflate(&stream, u64::MAX, 10, u64::MAX).is_err());
        assert!(inflate(&stream, 0, u64::MAX, u64::MAX).is_err());
    }
}
