//! Deflate streams (RFC 1951): found in files, inflated, and compressed again exactly as they were.
//!
//! A stream is its plain bytes and *corrections*: what a compressor of zlib's family chose otherwise
//! than is predicted. [`analyse`] makes them, [`recreate`] turns them into the stream again.

mod bits;
mod blocks;
mod corrections;
mod estimate;
mod find;
mod huffman;
mod inflate;
mod parse;
mod predict;
mod symbols;

pub use find::{MAGIC_BYTES, Stream, find, may_hold_streams, may_hold_streams_within};
pub use inflate::{INFLATE_STATE_BYTES, InflateError, inflate};

use std::io::{self, Write};

use parse::Parsed;

/// A deflate stream, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysed {
    /// What it holds.
    pub plain: Vec<u8>,
    /// How it is made out of that; the first byte says by which engine.
    pub corrections: Vec<u8>,
    /// Its length.
    pub compressed_bytes: usize,
    /// What making it again takes, as [`recreate`] counts it.
    pub steps: u64,
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
    /// It takes longer than it may.
    #[error("making a deflate stream takes more than the {allowed} steps that it may")]
    Steps {
        /// [`Expected::max_steps`].
        allowed: u64,
    },
    /// The stream could not be written.
    #[error("a deflate stream cannot be written")]
    Write(#[source] io::Error),
}

/// What is known of a stream that [`recreate`] makes.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Its length.
    pub compressed_bytes: u64,
    /// The most that making it may take.
    pub max_steps: u64,
}

/// The engine: a compressor of zlib's family is predicted, by the first version of [`predict`].
const ENGINE: u8 = 1;
/// Blocks of more tokens are not taken on; zlib's largest have a quarter as many.
const MAX_BLOCK_TOKENS: usize = 1 << 17;

/// Takes apart the deflate stream that `compressed` starts with; `None` where there is none, where
/// it is beyond `limits`, and where it cannot be made again.
pub fn analyse(compressed: &[u8], limits: &AnalyseLimits) -> Option<Analysed> {
    let parsed = parse::parse(compressed, limits)?;
    // What is longer than half of the stream is of no use.
    let corrections = estimate::best_corrections(&parsed, 64 + parsed.compressed_bytes / 2)?;
    let corrections = [&[ENGINE], &corrections[..]].concat();
    let Parsed { plain, tokens, compressed_bytes, .. } = parsed;
    drop(tokens);
    let mut check = Check { rest: &compressed[..compressed_bytes] };
    let expected = Expected::of_length(compressed_bytes as u64);
    let steps = recreate(&plain, &corrections, &expected, &mut check).ok()?;
    Some(Analysed { plain, corrections, compressed_bytes, steps })
}

/// An upper bound of the memory that [`analyse`] takes, its result included.
pub fn analyse_memory_bytes(limits: &AnalyseLimits) -> u64 {
    // A token is four bytes and may stand for one; a vector grows to twice its length.
    (limits.plain_bytes as u64).saturating_mul(10) + recreate_memory_bytes(u64::MAX)
}

/// Writes the deflate stream that holds `plain`, and gives the steps that took: places that were looked at for matches,
/// and 512 for each block.
///
/// Whatever the corrections are, it ends: each block that is not as predicted uses some of them
/// up, and no more is written than was announced.
pub fn recreate(
    plain: &[u8],
    corrections: &[u8],
    expected: &Expected,
    out: &mut dyn Write,
) -> Result<u64, RecreateError> {
    match corrections.split_first() {
        Some((&ENGINE, corrections)) => corrections::apply(plain, corrections, expected, out),
        _ => Err(RecreateError::Corrections { what: "their engine is not known" }),
    }
}

impl Expected {
    /// A stream of so many bytes, however long making it takes.
    pub fn of_length(compressed_bytes: u64) -> Self {
        Self { compressed_bytes, max_steps: u64::MAX }
    }
}

/// An upper bound of the memory that [`recreate`] takes beside its arguments.
pub fn recreate_memory_bytes(plain_bytes: u64) -> u64 {
    // The hash table and its chains, the tokens of a block, codes and the output buffer.
    const TABLES_BYTES: u64 = 4 * ((1 << 16) + (1 << 15));
    const OTHER_BYTES: u64 = 64 << 10;
    TABLES_BYTES + OTHER_BYTES + 4 * plain_bytes.min(MAX_BLOCK_TOKENS as u64)
}

/// Compares what is written with what it should be.
struct Check<'a> {
    rest: &'a [u8],
}

impl Write for Check<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
