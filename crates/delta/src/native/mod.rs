//! The native delta stream, version 1: one stream makes one target layer.
//!
//! The format is specified in `docs/formats/silt-1.md`; this is the reading order of the code:
//!
//! - [`header`](Needs): what a delta needs and gives, readable without the rest;
//! - `operations`: what a delta says, and how positions are predicted;
//! - `streams`: the compressed streams that operations are spread over;
//! - `code_run`: which bytes of new code go to which stream, over `x86_64`;
//! - `tar_header`: a tar header said by its fields;
//! - [`encode`], over `emit`, and [`LayerDecoder`]: the two directions.

mod code_run;
mod decode;
mod deflate_run;
mod emit;
mod emit_deflate;
mod emit_references;
mod encode;
mod error;
mod frame_run;
mod header;
mod operations;
mod record;
mod references_run;
mod resident;
mod streams;
mod stretch;
mod tar_header;
mod timeline;
mod work;
mod x86_64;
use crate::varint;

pub use decode::{FrameInfo, LayerDecoder};
pub use encode::{EncodeError, EncodeOptions, EncodeReport, encode};
pub use error::DecodeError;
pub use header::{Limits, Needs, Origin, read_needs};
pub use streams::Compression;
pub use work::bounded;

/// The version of the format that this code writes and the only one that it reads.
pub const VERSION: u16 = 1;

/// The most target bytes that a frame makes.
const MAX_FRAME_OUTPUT_BYTES: u32 = 32 << 20;
/// A frame ends when its streams hold so many bytes before compression …
const FRAME_RAW_BYTES: usize = 1 << 20;
/// … which, a last piece and incompressible bytes allowed for, bounds what a frame stores.
const MAX_FRAME_STORED_BYTES: u32 = 3 << 19;
/// The same where there are regions, whose parts all lie in one frame.
const MAX_REGION_FRAME_BYTES: u32 = 5 << 19;
/// The target is worked on in pieces of at most so many bytes.
const PIECE_BYTES: usize = 64 << 10;
