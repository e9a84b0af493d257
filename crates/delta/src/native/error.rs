//! Why a delta could not be decoded.

use std::io;

use crate::cover::OriginId;
use crate::read_at::ReadError;

/// Why a delta could not be decoded. Offsets are those of the delta stream, unless they say otherwise.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The first bytes are not those of a native delta.
    #[error("not a native delta: the first bytes are not its signature")]
    Signature,
    /// The stream is of another version.
    #[error("the delta is of format version {found}; this program reads version {supported}")]
    Version {
        /// What the stream says.
        found: u16,
        /// What is understood here.
        supported: u16,
    },
    /// The delta requires what this program cannot do.
    #[error("the delta requires features that this program does not know (bits {unknown:#x})")]
    Features {
        /// The feature bits that are set and not known.
        unknown: u64,
    },
    /// The header is not what its digest says, or says what cannot be.
    #[error("the header of the delta is damaged: {what}")]
    Header {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Decoding would take more than the limit.
    #[error("the delta needs {needed} bytes of {what}, and {allowed} are allowed")]
    Limit {
        /// Of what: memory, or output.
        what: &'static str,
        /// How many bytes the delta declares.
        needed: u64,
        /// How many the limit allows.
        allowed: u64,
    },
    /// The stream ends before it should.
    #[error("the delta is cut off at {offset}")]
    Truncated {
        /// How many bytes there are.
        offset: u64,
    },
    /// There are bytes after the last frame.
    #[error("the delta goes on at {offset}, where it should end")]
    TrailingBytes {
        /// Where the end should be.
        offset: u64,
    },
    /// The stored bytes of a frame are not what they were.
    #[error("frame {frame} of the delta, at {offset}, is damaged")]
    FrameDamaged {
        /// Counted from 0.
        frame: u64,
        /// Where the frame starts.
        offset: u64,
    },
    /// A frame is whole, but what it says is not possible: its writer was at fault.
    #[error("frame {frame} of the delta, at {offset}, is invalid: {what}")]
    FrameInvalid {
        /// Counted from 0.
        frame: u64,
        /// Where the frame starts.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An origin is not of the size that the delta was made for.
    #[error("origin {} has {found} bytes, and the delta was made for {expected}", origin.0)]
    OriginSize {
        /// Which of the origins that the header lists.
        origin: OriginId,
        /// The size in the header.
        expected: u64,
        /// The size it has.
        found: u64,
    },
    /// An origin could not be read.
    #[error("cannot read origin {}", origin.0)]
    Origin {
        /// Which of the origins that the header lists.
        origin: OriginId,
        /// Why not.
        source: ReadError,
    },
    /// All that was read was as it should be, but what came out is not: an origin is damaged, or
    /// was when the delta was made.
    #[error("frame {frame} of the delta made wrong bytes")]
    OutputWrong {
        /// Counted from 0.
        frame: u64,
        /// The origins that the frame read.
        origins: Vec<OriginId>,
    },
    /// The delta could not be read.
    #[error("cannot read the delta at {offset}")]
    Input {
        /// How many bytes were read before.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
    /// What was decoded could not be written.
    #[error("cannot write what the delta makes")]
    Output(#[source] io::Error),
}
