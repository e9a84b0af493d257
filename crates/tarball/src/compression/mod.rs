//! Compressed streams: told apart by their first bytes, and read to their true end in bounded
//! memory.

mod decoder;
mod memory;
mod peek;
mod xz;
mod zstd_frame;

use std::fmt;
use std::io;

pub use decoder::{Decoder, open_decoder};
pub use memory::MemoryBudget;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)).
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz ([format 1.2](https://tukaani.org/xz/xz-file-format.txt)).
    Xz,
    /// zstd ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)).
    Zstd,
}

impl Compression {
    /// How many bytes [`Compression::detect`] wants to see.
    pub const DETECT_BYTES: usize = 512;

    /// Tells the format by the first bytes of a stream. A tar whose first name happens to begin
    /// like a compressed file is known by the checksum of its header.
    pub fn detect(head: &[u8]) -> Self {
        if crate::tar_stream::is_header(head) {
            return Self::None;
        }
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// A compressed stream could not be read. Offsets count compressed bytes.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The stream was made with a window that is larger than the limit.
    #[error("the {format} stream needs {needed_bytes} bytes of memory, {limit_bytes} are allowed")]
    NeedsMemory {
        /// Format of the stream.
        format: Compression,
        /// What it needs.
        needed_bytes: u64,
        /// What it may have.
        limit_bytes: u64,
    },
    /// The stream ends in the middle.
    #[error("the {format} stream ends early, after {offset} compressed bytes")]
    Truncated {
        /// Format of the stream.
        format: Compression,
        /// Where it ends.
        offset: u64,
    },
    /// The stream is not what its format allows, or fails its own checksum.
    #[error("the {format} stream is damaged before compressed byte {offset}")]
    Corrupt {
        /// Format of the stream.
        format: Compression,
        /// How far it was read.
        offset: u64,
        /// What the decoder said.
        source: io::Error,
    },
    /// After the end of the stream there is something else.
    #[error("{format} data ends at compressed byte {offset}, and something else follows")]
    TrailingBytes {
        /// Format of the stream.
        format: Compression,
        /// Where the other bytes start.
        offset: u64,
    },
}

impl CompressionError {
    /// The error that a [`Decoder`] wrapped to pass it through [`io::Read`].
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<CompressionError> for io::Error {
    fn from(error: CompressionError) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}
