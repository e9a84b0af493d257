//! Collecting the streams of a frame, and compressing them when it ends.

use std::io;

use super::codec::{Compression, Compressor};
use super::mixing::Tail;
use super::{CodeStreams, DifferenceSite, STREAM_COUNT, StreamId, StreamTable};
use crate::native::varint;

/// Collects the streams of a frame, and compresses them when it ends.
pub(in crate::native) struct StreamWriters {
    raw: [Vec<u8>; STREAM_COUNT],
    compressors: Vec<Compressor>,
    /// For which code there are streams.
    pub(in crate::native) code: CodeStreams,
}

impl StreamWriters {
    pub(in crate::native) fn new(
        table: &StreamTable,
        compression: Compression,
    ) -> io::Result<Self> {
        let compressors = StreamId::ALL
            .iter()
            .zip(&table.0)
            .map(|(id, entry)| Compressor::new(compression, *id, entry.window_log));
        let compressors = compressors.collect::<io::Result<_>>()?;
        Ok(Self { raw: Default::default(), compressors, code: table.code() })
    }

    /// The bytes of a stream in the frame at hand, to be appended to.
    pub(in crate::native) fn raw(&mut self, id: StreamId) -> &mut Vec<u8> {
        &mut self.raw[id as usize]
    }

    pub(in crate::native) fn put(&mut self, id: StreamId, value: u64) {
        varint::put(self.raw(id), value);
    }

    /// Says bytes that have no like, which come after `tail`.
    pub(in crate::native) fn literals(&mut self, bytes: &[u8], tail: Tail) {
        let id = StreamId::Literals as usize;
        let start = self.raw[id].len();
        self.raw[id].extend_from_slice(bytes);
        if let Some(Compressor::Literals(mixed)) = self.compressors.get_mut(id) {
            mixed.write(|model, bits| model.code(bits, tail, &mut self.raw[id][start..]));
        }
    }

    /// Says a difference. Only where differences are mixed it matters where it is.
    pub(in crate::native) fn difference(
        &mut self,
        difference: u8,
        site: impl FnOnce() -> DifferenceSite,
    ) {
        let id = StreamId::Differences as usize;
        self.raw[id].push(difference);
        if let Some(Compressor::Differences(mixed)) = self.compressors.get_mut(id) {
            mixed.write(|model, bits| model.code(bits, site(), difference));
        }
    }

    /// Bytes in the frame at hand, before compression.
    pub(in crate::native) fn raw_bytes(&self) -> usize {
        self.raw.iter().map(Vec::len).sum()
    }

    /// Bytes of each stream in the frame at hand, before compression.
    pub(in crate::native) fn held(&self) -> [u64; STREAM_COUNT] {
        std::array::from_fn(|i| self.raw[i].len() as u64)
    }

    /// Appends the compressed streams to `out` (for each its raw and its stored length, then all
    /// stored bytes), and begins a new frame; gives the stored length of each.
    pub(in crate::native) fn finish_frame(
        &mut self,
        out: &mut Vec<u8>,
    ) -> io::Result<[u64; STREAM_COUNT]> {
        let mut chunks = Vec::new();
        let mut stored = [0; STREAM_COUNT];
        let streams = self.raw.iter_mut().zip(&mut self.compressors).zip(&mut stored);
        for ((raw, compressor), stored) in streams {
            let start = chunks.len();
            if !raw.is_empty() {
                compressor.compress(raw, &mut chunks)?;
            }
            *stored = (chunks.len() - start) as u64;
            varint::put(out, raw.len() as u64);
            varint::put(out, *stored);
            raw.clear();
        }
        out.extend(chunks);
        Ok(stored)
    }
}
