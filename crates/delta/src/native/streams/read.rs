//! Giving the streams of a frame back, decompressed as far as they are asked for.

use std::io;
use std::ops::Range;

use super::codec::Decompressor;
use super::mixing::Tail;
use super::{CodeStreams, DifferenceSite, Result, STREAM_COUNT, StreamId, StreamTable};
use crate::native::varint;

/// Gives the streams of a frame back, decompressed as far as they are asked for.
pub(in crate::native) struct StreamReaders {
    streams: Vec<StreamReader>,
    /// For which code there are streams.
    pub(in crate::native) code: CodeStreams,
}

impl StreamReaders {
    pub(in crate::native) fn new(table: &StreamTable) -> io::Result<Self> {
        let streams = StreamId::ALL.iter().zip(&table.0).map(|(id, entry)| {
            let decompressor = Decompressor::new(entry.codec, *id, entry.window_log)?;
            Ok(StreamReader::new(decompressor))
        });
        Ok(Self { streams: streams.collect::<io::Result<_>>()?, code: table.code() })
    }

    /// Takes the table of lengths off the front of a frame's bytes and begins to read the streams.
    pub(in crate::native) fn begin_frame(&mut self, frame: &[u8], start: usize) -> Result {
        const TABLE: &str = "its stream lengths are not as specified";
        let mut rest = frame.get(start..).ok_or(TABLE)?;
        let mut lengths = [(0, 0); STREAM_COUNT];
        for (raw, stored) in lengths.iter_mut().take(self.streams.len()) {
            *raw = varint::take(&mut rest).ok_or(TABLE)?;
            *stored = varint::take(&mut rest).and_then(|n| usize::try_from(n).ok()).ok_or(TABLE)?;
        }
        let mut at = frame.len() - rest.len();
        for (stream, (raw, stored)) in self.streams.iter_mut().zip(lengths) {
            let end = at.checked_add(stored).filter(|end| *end <= frame.len()).ok_or(TABLE)?;
            stream.begin(at..end, raw, frame);
            at = end;
        }
        if at == frame.len() { Ok(()) } else { Err(TABLE) }
    }

    /// Whether all streams were read to their ends.
    pub(in crate::native) fn are_finished(&self) -> bool {
        self.streams.iter().all(|s| s.raw_left == 0 && s.next == s.filled && s.stored.is_empty())
    }

    /// Bytes that a stream still has in this frame.
    pub(in crate::native) fn left(&self, id: StreamId) -> u64 {
        let left = |s: &StreamReader| s.raw_left + (s.filled - s.next) as u64;
        self.streams.get(id as usize).map_or(0, left)
    }

    /// The next byte of a stream.
    pub(in crate::native) fn byte(&mut self, id: StreamId, frame: &[u8]) -> Result<u8> {
        let stream = self.stream(id)?;
        if stream.next == stream.filled {
            stream.refill(frame)?;
        }
        stream.next += 1;
        Ok(stream.block[stream.next - 1])
    }

    /// The next bytes of a stream.
    pub(in crate::native) fn bytes(
        &mut self,
        id: StreamId,
        frame: &[u8],
        mut out: &mut [u8],
    ) -> Result {
        let stream = self.stream(id)?;
        while !out.is_empty() {
            if stream.next == stream.filled {
                stream.refill(frame)?;
            }
            let count = out.len().min(stream.filled - stream.next);
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&stream.block[stream.next..stream.next + count]);
            stream.next += count;
            out = later;
        }
        Ok(())
    }

    /// The next bytes of a stream, as many as `out` has room for or until one of which `is_last` holds: how many.
    pub(in crate::native) fn bytes_until(
        &mut self,
        id: StreamId,
        frame: &[u8],
        out: &mut [u8],
        mut is_last: impl FnMut(u8) -> bool,
    ) -> Result<usize> {
        let stream = self.stream(id)?;
        let mut count = 0;
        while count < out.len() {
            if stream.next == stream.filled {
                stream.refill(frame)?;
            }
            let (from, start) = (stream.next, count);
            for (to, byte) in out[start..].iter_mut().zip(&stream.block[from..stream.filled]) {
                *to = *byte;
                count += 1;
                if is_last(*byte) {
                    stream.next = from + count - start;
                    return Ok(count);
                }
            }
            stream.next = from + count - start;
        }
        Ok(count)
    }

    /// The next literals, which come after `tail`.
    pub(in crate::native) fn literals(
        &mut self,
        frame: &[u8],
        tail: Tail,
        out: &mut [u8],
    ) -> Result {
        let stream = self.stream(StreamId::Literals)?;
        let Decompressor::Literals(mixed) = &mut stream.decompressor else {
            return self.bytes(StreamId::Literals, frame, out);
        };
        let left = stream.raw_left.checked_sub(out.len() as u64).ok_or(TOO_SHORT)?;
        let stored = &frame[stream.stored.clone()];
        mixed.read(stored, left == 0, |model, bits| model.code(bits, tail, out))?;
        stream.set_left(left);
        Ok(())
    }

    /// The next difference.
    pub(in crate::native) fn difference(
        &mut self,
        frame: &[u8],
        site: impl FnOnce() -> DifferenceSite,
    ) -> Result<u8> {
        let stream = self.stream(StreamId::Differences)?;
        let Decompressor::Differences(mixed) = &mut stream.decompressor else {
            return self.byte(StreamId::Differences, frame);
        };
        let left = stream.raw_left.checked_sub(1).ok_or(TOO_SHORT)?;
        let stored = &frame[stream.stored.clone()];
        let difference =
            mixed.read(stored, left == 0, |model, bits| model.code(bits, site(), 0))?;
        stream.set_left(left);
        Ok(difference)
    }

    /// The next number of a stream.
    pub(in crate::native) fn number(&mut self, id: StreamId, frame: &[u8]) -> Result<u64> {
        varint::get(|| self.byte(id, frame))?.ok_or("a number does not fit 64 bits")
    }

    fn stream(&mut self, id: StreamId) -> Result<&mut StreamReader> {
        self.streams.get_mut(id as usize).ok_or("an operation reads a stream that is not listed")
    }
}

const TOO_SHORT: &str = "a stream ends before its operations do";

struct StreamReader {
    decompressor: Decompressor,
    /// Where in the frame the stored bytes that were not yet decompressed are.
    stored: Range<usize>,
    /// Bytes that are still to come out of them.
    raw_left: u64,
    block: Box<[u8]>,
    filled: usize,
    next: usize,
}

impl StreamReader {
    fn new(decompressor: Decompressor) -> Self {
        let block = vec![0; 8 << 10].into_boxed_slice();
        Self { decompressor, stored: 0..0, raw_left: 0, block, filled: 0, next: 0 }
    }

    fn begin(&mut self, stored: Range<usize>, raw: u64, frame: &[u8]) {
        match &mut self.decompressor {
            Decompressor::Literals(mixed) => mixed.begin_frame(&frame[stored.clone()]),
            Decompressor::Differences(mixed) => mixed.begin_frame(&frame[stored.clone()]),
            Decompressor::Zstd(_) | Decompressor::Lzma2(_) => {}
        }
        self.stored = stored;
        self.raw_left = raw;
        (self.filled, self.next) = (0, 0);
    }

    /// Notes how many bytes are still to come of what is mixed, which has no stored bytes left after the last.
    fn set_left(&mut self, raw_left: u64) {
        self.raw_left = raw_left;
        if raw_left == 0 {
            self.stored.start = self.stored.end;
        }
    }

    fn refill(&mut self, frame: &[u8]) -> Result {
        const INVALID: &str = "a stream is not validly compressed";
        if self.raw_left == 0 {
            return Err(TOO_SHORT);
        }
        let want = usize::try_from(self.raw_left).unwrap_or(usize::MAX).min(self.block.len());
        let (mut written, mut stuck) = (0, false);
        while written < want {
            let (stored, output) = (&frame[self.stored.clone()], &mut self.block[written..want]);
            let (read, count) = self.decompressor.run(stored, output).map_err(|_| INVALID)?;
            self.stored.start += read;
            written += count;
            if std::mem::replace(&mut stuck, read == 0 && count == 0) && stuck {
                return Err("a stream holds less than it claims");
            }
        }
        self.raw_left -= want as u64;
        (self.filled, self.next) = (want, 0);
        // What ends a chunk may make no output: an empty block, the last bytes of a range coder.
        if self.raw_left == 0 && !self.stored.is_empty() {
            let stored = &frame[self.stored.clone()];
            let (read, _) = self.decompressor.run(stored, &mut []).map_err(|_| INVALID)?;
            self.stored.start += read;
        }
        Ok(())
    }
}
