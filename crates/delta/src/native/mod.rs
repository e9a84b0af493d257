//! The native delta stream, draft version 0: one stream makes one target layer.
//!
//! The format is specified in `docs/formats/silt-0.md`; this is the reading order of the code:
//!
//! - [`header`](Needs): what a delta needs and gives, readable without the rest;
//! - `operations`: what a delta says, and how positions are predicted;
//! - `streams`: the compressed streams that operations are spread over;
//! - `tar_header`: a tar header said by its fields;
//! - [`encode`], over `emit`, and [`LayerDecoder`]: the two directions.

mod decode;
mod emit;
mod encode;
mod error;
mod header;
mod operations;
mod streams;
mod tar_header;
mod varint;

pub use decode::{FrameInfo, LayerDecoder};
pub use encode::{EncodeError, EncodeOptions, EncodeReport, encode};
pub use error::DecodeError;
pub use header::{Limits, Needs, Origin, read_needs};

/// The version of the format that this code writes and the only one that it reads.
pub const VERSION: u16 = 0;

/// The most target bytes that a frame makes.
const MAX_FRAME_OUTPUT_BYTES: u32 = 8 << 20;
/// A frame ends when its streams hold so many bytes before compression …
const FRAME_RAW_BYTES: usize = 1 << 20;
/// … which, a last piece and incompressible bytes allowed for, bounds what a frame stores.
const MAX_FRAME_STORED_BYTES: u32 = 3 << 19;
/// The target is worked on in pieces of at most so many bytes.
const PIECE_BYTES: usize = 64 << 10;
