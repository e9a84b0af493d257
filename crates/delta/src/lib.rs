//! Binary deltas between byte streams: matching, encoding, applying.
//!
//! This crate knows bytes and tars; it knows nothing of images, files or terminals.
//!
//! - [`read_at`]: bytes that are read at random, and where they come from.
//! - [`cover`]: the one language that matchers speak: *target range ← origin, offset*.
//! - [`effort`]: how much is tried.
//! - [`references`]: executables, whose references move with what they refer to.
//! - [`librsync`]: the librsync delta and signature formats, read and written.
//! - [`block_match`]: the rsync-style matcher: a rolling sum finds, extension to the byte fits.

pub mod block_match;
pub mod by_file;
pub mod byte_match;
pub mod cover;
pub mod deflate;
pub mod effort;
pub mod exact;
pub mod kinds;
pub mod librsync;
pub mod merge;
pub mod native;
pub mod read_at;
pub mod references;
pub mod region;
pub mod tar_map;
mod varint;

pub use cover::{Cover, OriginId};
pub use effort::Effort;
pub use read_at::{ReadAt, ReadError};
