//! Deflate streams (RFC 1951): found in files, inflated, and compressed again exactly as they were.
//!
//! A stream is its plain bytes and *corrections*: what a compressor of zlib's family chose otherwise
//! than is predicted. [`analyse`] makes them, [`recreate`] turns them into the stream again.

mod inflate;

pub use inflate::{INFLATE_STATE_BYTES, InflateError, inflate};

use std::io::{self, Write};

/// A deflate stream, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysed {
    /// What it holds.
    pub plain: Vec<u8>,
    /// How it is made out of that; the first byte says by which engine.
    pub corrections: Vec<u8>,
    /// Its length.
    pub compressed_bytes: usize,
}

/// What [`analyse`] takes on.
#[derive(Debug, Clone, Copy)]
pub struct AnalyseLimits {
    /// The most that a stream may hold.
    pub plain_bytes: usize,
}

/// The stream could not be made again.
#[derive(Debug, thiserror::Error)]
pub enum RecreateError {
    /// The corrections are none of ours, or not those of these bytes.
    #[error("the corrections of a deflate stream are wrong: {what}")]
    Corrections {
        /// In what way.
        what: &'static str,
    },
    /// The result has another length than it should.
    #[error("a deflate stream of {expected} bytes came out at another length")]
    Length {
        /// How long it should be.
        expected: u64,
    },
    /// The stream could not be written.
    #[error("a deflate stream cannot be written")]
    Write(#[source] io::Error),
}

/// The id of an engine that predicts nothing.
const VERBATIM: u8 = 0;

/// Takes apart the deflate stream that `compressed` starts with; `None` where there is none, where
/// it is beyond `limits`, and where it cannot be made again.
pub fn analyse(compressed: &[u8], limits: &AnalyseLimits) -> Option<Analysed> {
    let mut plain = Vec::new();
    plain.try_reserve(compressed.len().saturating_mul(2)).ok()?;
    let mut inflater = flate2::Decompress::new(false);
    loop {
        plain.reserve(64 << 10);
        let at = usize::try_from(inflater.total_in()).ok()?;
        let flush = flate2::FlushDecompress::None;
        let before = (inflater.total_in(), plain.len());
        let status = inflater.decompress_vec(&compressed[at..], &mut plain, flush).ok()?;
        if plain.len() > limits.plain_bytes {
            return None;
        }
        if status == flate2::Status::StreamEnd {
            break;
        }
        if before == (inflater.total_in(), plain.len()) {
            return None;
        }
    }
    let compressed_bytes = usize::try_from(inflater.total_in()).ok()?;
    let corrections = [&[VERBATIM], &compressed[..compressed_bytes]].concat();
    Some(Analysed { plain, corrections, compressed_bytes })
}

/// Writes the deflate stream of `compressed_bytes` that holds `plain`.
pub fn recreate(
    plain: &[u8],
    corrections: &[u8],
    compressed_bytes: u64,
    out: &mut dyn Write,
) -> Result<(), RecreateError> {
    let _ = plain;
    match corrections.split_first() {
        Some((&VERBATIM, stream)) if stream.len() as u64 == compressed_bytes => {
            out.write_all(stream).map_err(RecreateError::Write)
        }
        Some((&VERBATIM, _)) => Err(RecreateError::Length { expected: compressed_bytes }),
        _ => Err(RecreateError::Corrections { what: "their engine is not known" }),
    }
}

/// An upper bound of the memory that [`recreate`] takes beside its arguments.
pub fn recreate_memory_bytes(plain_bytes: u64) -> u64 {
    let _ = plain_bytes;
    1 << 20
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_stream_is_taken_apart_and_made_again() {
        let plain: Vec<u8> = (0u32..20_000).flat_map(|i| (i * i % 977).to_le_bytes()).collect();
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(&plain).unwrap();
        let compressed = encoder.finish().unwrap();
        let followed = [&compressed[..], b"more"].concat();

        let analysed = analyse(&followed, &AnalyseLimits { plain_bytes: plain.len() }).unwrap();
        assert_eq!(analysed.plain, plain);
        assert_eq!(analysed.compressed_bytes, compressed.len());
        let mut out = Vec::new();
        let length = compressed.len() as u64;
        recreate(&plain, &analysed.corrections, length, &mut out).unwrap();
        assert_eq!(out, compressed);

        assert!(analyse(&followed, &AnalyseLimits { plain_bytes: plain.len() - 1 }).is_none());
        assert!(recreate(&plain, &analysed.corrections, length + 1, &mut out).is_err());
        assert!(recreate(&plain, &[], length, &mut out).is_err());
    }
}
