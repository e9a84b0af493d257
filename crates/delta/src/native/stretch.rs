//! Where the bytes go that operations make: to the layer, or into memory to be compressed.

use std::io::Write;

use xxhash_rust::xxh3::Xxh3;

use super::error::DecodeError;
use super::streams::Tail;

/// A stretch of bytes being made from front to back.
pub(super) struct Stretch<'a> {
    /// Offset of the next byte: in the layer, or in what a compressed member holds.
    pub(super) position: u64,
    /// Offset where the frame, or the member, ends.
    pub(super) end: u64,
    /// The bytes before it, of those that were made here.
    pub(super) tail: Tail,
    sink: Sink<'a>,
}

enum Sink<'a> {
    Layer { out: &'a mut dyn Write, digest: Box<Xxh3> },
    Memory(Vec<u8>),
}

impl<'a> Stretch<'a> {
    /// A part of the layer.
    pub(super) fn of_layer(position: u64, end: u64, out: &'a mut dyn Write) -> Self {
        let sink = Sink::Layer { out, digest: Box::default() };
        Self { position, end, tail: Tail::default(), sink }
    }

    /// What a compressed member holds: `length` bytes, which the caller has accounted for.
    pub(super) fn in_memory(length: usize) -> Self {
        let sink = Sink::Memory(Vec::with_capacity(length));
        Self { position: 0, end: length as u64, tail: Tail::default(), sink }
    }

    /// Bytes that are still to be made.
    pub(super) fn left(&self) -> u64 {
        self.end - self.position
    }

    /// Takes the next bytes, which are no more than are left.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.position += bytes.len() as u64;
        self.tail.push(bytes);
        match &mut self.sink {
            Sink::Memory(made) => made.extend_from_slice(bytes),
            Sink::Layer { out, digest } => {
                digest.update(bytes);
                out.write_all(bytes).map_err(DecodeError::Output)?;
            }
        }
        Ok(())
    }

    /// The digest of the bytes that went to the layer.
    pub(super) fn digest(&self) -> u64 {
        match &self.sink {
            Sink::Layer { digest, .. } => digest.digest(),
            Sink::Memory(_) => 0,
        }
    }

    /// The bytes that were kept in memory.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self.sink {
            Sink::Memory(made) => made,
            Sink::Layer { .. } => Vec::new(),
        }
    }
}
