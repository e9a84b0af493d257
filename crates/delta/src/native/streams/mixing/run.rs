//! A mixed stream, frame by frame.

use super::arithmetic::{BitReader, BitWriter, ReadState};
use crate::native::streams::Result;

/// Mixes a stream as it is said.
pub(in crate::native::streams) struct MixedWriter<M> {
    model: M,
    bits: BitWriter,
}

impl<M> MixedWriter<M> {
    pub(in crate::native::streams) fn new(model: M) -> Box<Self> {
        Box::new(Self { model, bits: BitWriter::default() })
    }

    /// Writes something with the model.
    pub(in crate::native::streams) fn write<T>(
        &mut self,
        write: impl FnOnce(&mut M, &mut BitWriter) -> T,
    ) -> T {
        write(&mut self.model, &mut self.bits)
    }

    /// Appends the frame's bytes to `out` and begins the next.
    pub(in crate::native::streams) fn finish_frame(&mut self, out: &mut Vec<u8>) {
        out.extend(self.bits.finish());
    }
}

/// Gives a mixed stream back.
pub(in crate::native::streams) struct MixedReader<M> {
    model: M,
    state: ReadState,
}

impl<M> MixedReader<M> {
    pub(in crate::native::streams) fn new(model: M) -> Box<Self> {
        Box::new(Self { model, state: ReadState::default() })
    }

    /// Begins a frame, in which the stream has these bytes.
    pub(in crate::native::streams) fn begin_frame(&mut self, stored: &[u8]) {
        self.state = ReadState::new(stored);
    }

    /// Reads something with the model; `stored` are the stream's bytes of the frame, which are used up if that
    /// is the last.
    pub(in crate::native::streams) fn read<T>(
        &mut self,
        stored: &[u8],
        is_last: bool,
        read: impl FnOnce(&mut M, &mut BitReader<'_>) -> T,
    ) -> Result<T> {
        let made = read(&mut self.model, &mut BitReader::new(&mut self.state, stored));
        let is_whole = if is_last { ReadState::is_at_end } else { ReadState::is_possible };
        is_whole(&self.state, stored).map(|()| made)
    }
}
