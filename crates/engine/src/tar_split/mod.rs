//! tar-split: what Docker and containers-storage note about a layer's tar, so that it can be had again
//! byte for byte out of its unpacked files.
//!
//! The notes are JSON objects, one after the other, compressed by gzip
//! (<https://github.com/vbatts/tar-split>): *segments* are bytes of the tar itself (headers, padding, the
//! end), *files* stand for the contents of one, with its size and the CRC-64 that it had.
//!
//! - [`TarSplit`]: the notes, in memory and compressed, found by the offset in the tar.
//! - [`SplitLayer`]: the tar, read at random out of notes and files.

mod crc;
mod notes;
mod open;
mod pack;
mod read;

pub use notes::{NotesError, TarSplit};
pub(crate) use open::open_split_layer;
pub use read::SplitLayer;
