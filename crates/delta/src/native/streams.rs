//! The streams that operations are spread over, each compressed by itself, so that like stands
//! beside like. The compression context of a stream goes on from frame to frame.

use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

use super::varint;

/// What a stream holds. The number is its id in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamId {
    /// One byte for each operation.
    Operations = 0,
    /// Lengths of covers and literals.
    Lengths = 1,
    /// Where covers start in their origins, and changes of the origin.
    Offsets = 2,
    /// Bytes without a difference between two with one.
    Gaps = 3,
    /// Differences, target minus origin.
    Differences = 4,
    /// Bytes that have no like in any origin.
    Literals = 5,
    /// Fields of tar headers.
    Headers = 6,
}

pub(super) const STREAM_COUNT: usize = 7;

/// Base-2 logarithms of the windows that each stream may be given, for a large layer.
const WINDOW_LOGS: [u8; STREAM_COUNT] = [17, 18, 18, 19, 20, 23, 19];
/// The smallest and the largest window of the compression that are accepted.
const MIN_WINDOW_LOG: u8 = 10;
const MAX_WINDOW_LOG: u8 = 30;
/// What decoding a stream takes beside its window: zstd's context and its input and output blocks.
const CONTEXT_BYTES: u64 = 384 << 10;
/// Table sizes of the compressor at its high levels, as base-2 logarithms.
const MAX_HASH_LOG: u32 = 22;
const MAX_CHAIN_LOG: u32 = 24;
/// The id of the compression: [zstd, RFC 8878](https://www.rfc-editor.org/rfc/rfc8878).
const CODEC_ZSTD: u8 = 1;

/// The window of each stream, as base-2 logarithms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamTable([u8; STREAM_COUNT]);

impl StreamTable {
    /// Windows that are no larger than a target of `output_bytes` can profit from.
    pub(super) fn for_output(output_bytes: u64) -> Self {
        let useful = output_bytes.max(1).next_power_of_two().trailing_zeros();
        let useful = u8::try_from(useful).unwrap_or(MAX_WINDOW_LOG).max(MIN_WINDOW_LOG);
        Self(WINDOW_LOGS.map(|log| log.min(useful)))
    }

    /// Halves the largest window; false where all are as small as they get.
    pub(super) fn shrink(&mut self) -> bool {
        let largest = self.0.iter_mut().max();
        largest.filter(|log| **log > MIN_WINDOW_LOG).map(|log| *log -= 1).is_some()
    }

    /// Memory that decoding all streams at once takes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.0.iter().map(|log| (1u64 << log) + CONTEXT_BYTES).sum()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, STREAM_COUNT as u64);
        for (id, log) in (0u8..).zip(self.0) {
            out.extend([id, CODEC_ZSTD, log]);
        }
    }

    /// Version 0 has exactly the streams of [`StreamId`], in order.
    pub(super) fn take(rest: &mut &[u8]) -> Option<Self> {
        if varint::take(rest)? != STREAM_COUNT as u64 {
            return None;
        }
        let mut logs = [0; STREAM_COUNT];
        for (id, log) in (0u8..).zip(&mut logs) {
            let (entry, after) = rest.split_first_chunk::<3>()?;
            *rest = after;
            let is_known = entry[0] == id && entry[1] == CODEC_ZSTD;
            *log = entry[2];
            if !is_known || !(MIN_WINDOW_LOG..=MAX_WINDOW_LOG).contains(log) {
                return None;
            }
        }
        Some(Self(logs))
    }
}

/// Collects the streams of a frame, and compresses them when it ends.
pub(super) struct StreamWriters {
    raw: [Vec<u8>; STREAM_COUNT],
    encoders: Vec<Encoder<'static>>,
}

impl StreamWriters {
    pub(super) fn new(table: &StreamTable, level: i32) -> std::io::Result<Self> {
        let encoder = |log: &u8| {
            let mut encoder = Encoder::new(level)?;
            let log = u32::from(*log);
            encoder.set_parameter(CParameter::WindowLog(log))?;
            // For streams of unknown length zstd sizes its tables by the level alone: 80 MiB each.
            encoder.set_parameter(CParameter::HashLog((log + 1).min(MAX_HASH_LOG)))?;
            encoder.set_parameter(CParameter::ChainLog((log + 1).min(MAX_CHAIN_LOG)))?;
            encoder.set_parameter(CParameter::ContentSizeFlag(false))?;
            Ok(encoder)
        };
        let encoders = table.0.iter().map(encoder).collect::<std::io::Result<_>>()?;
        Ok(Self { raw: Default::default(), encoders })
    }

    /// The bytes of a stream in the frame at hand, to be appended to.
    pub(super) fn raw(&mut self, id: StreamId) -> &mut Vec<u8> {
        &mut self.raw[id as usize]
    }

    pub(super) fn put(&mut self, id: StreamId, value: u64) {
        varint::put(self.raw(id), value);
    }

    /// Bytes in the frame at hand, before compression.
    pub(super) fn raw_bytes(&self) -> usize {
        self.raw.iter().map(Vec::len).sum()
    }

    /// Appends the compressed streams to `out` (for each its raw and its stored length, then all
    /// stored bytes), adds the stored length of each to `stored`, and begins a new frame.
    pub(super) fn finish_frame(
        &mut self,
        out: &mut Vec<u8>,
        stored: &mut [u64; STREAM_COUNT],
    ) -> std::io::Result<()> {
        let mut chunks = Vec::new();
        for ((raw, encoder), total) in self.raw.iter_mut().zip(&mut self.encoders).zip(stored) {
            let start = chunks.len();
            if !raw.is_empty() {
                compress(encoder, raw, &mut chunks)?;
            }
            varint::put(out, raw.len() as u64);
            varint::put(out, (chunks.len() - start) as u64);
            *total += (chunks.len() - start) as u64;
            raw.clear();
        }
        out.extend(chunks);
        Ok(())
    }
}

fn compress(encoder: &mut Encoder<'_>, raw: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut block = [0; 16 << 10];
    let mut input = InBuffer::around(raw);
    while input.pos() < raw.len() {
        let mut output = OutBuffer::around(&mut block[..]);
        encoder.run(&mut input, &mut output)?;
        out.extend_from_slice(output.as_slice());
    }
    loop {
        let mut output = OutBuffer::around(&mut block[..]);
        let left = encoder.flush(&mut output)?;
        out.extend_from_slice(output.as_slice());
        if left == 0 {
            return Ok(());
        }
    }
}

/// Gives the streams of a frame back, decompressed as far as they are asked for.
pub(super) struct StreamReaders {
    streams: Vec<StreamReader>,
}

impl StreamReaders {
    pub(super) fn new(table: &StreamTable) -> std::io::Result<Self> {
        let streams = table.0.iter().map(|log| StreamReader::new(*log));
        Ok(Self { streams: streams.collect::<std::io::Result<_>>()? })
    }

    /// Takes the table of lengths off the front of a frame's bytes and begins to read the streams.
    pub(super) fn begin_frame(&mut self, frame: &[u8], start: usize) -> Result<(), &'static str> {
        const TABLE: &str = "its stream lengths are not as specified";
        let mut rest = frame.get(start..).ok_or(TABLE)?;
        let mut lengths = [(0, 0); STREAM_COUNT];
        for (raw, stored) in &mut lengths {
            *raw = varint::take(&mut rest).ok_or(TABLE)?;
            *stored = varint::take(&mut rest).and_then(|n| usize::try_from(n).ok()).ok_or(TABLE)?;
        }
        let mut at = frame.len() - rest.len();
        for (stream, (raw, stored)) in self.streams.iter_mut().zip(lengths) {
            let end = at.checked_add(stored).filter(|end| *end <= frame.len()).ok_or(TABLE)?;
            stream.begin(at..end, raw);
            at = end;
        }
        if at == frame.len() { Ok(()) } else { Err(TABLE) }
    }

    /// Whether all streams were read to their ends.
    pub(super) fn are_finished(&self) -> bool {
        self.streams.iter().all(|s| s.raw_left == 0 && s.next == s.filled && s.stored.is_empty())
    }

    /// The next byte of a stream.
    pub(super) fn byte(&mut self, id: StreamId, frame: &[u8]) -> Result<u8, &'static str> {
        let stream = &mut self.streams[id as usize];
        if stream.next == stream.filled {
            stream.refill(frame)?;
        }
        stream.next += 1;
        Ok(stream.block[stream.next - 1])
    }

    /// The next bytes of a stream.
    pub(super) fn bytes(
        &mut self,
        id: StreamId,
        frame: &[u8],
        mut out: &mut [u8],
    ) -> Result<(), &'static str> {
        let stream = &mut self.streams[id as usize];
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

    /// The next number of a stream.
    pub(super) fn number(&mut self, id: StreamId, frame: &[u8]) -> Result<u64, &'static str> {
        varint::get(|| self.byte(id, frame))?.ok_or("a number does not fit 64 bits")
    }
}

struct StreamReader {
    decoder: Decoder<'static>,
    /// Where in the frame the stored bytes that were not yet decompressed are.
    stored: std::ops::Range<usize>,
    /// Bytes that are still to come out of them.
    raw_left: u64,
    block: Box<[u8]>,
    filled: usize,
    next: usize,
}

impl StreamReader {
    fn new(window_log: u8) -> std::io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(window_log.into()))?;
        let block = vec![0; 8 << 10].into_boxed_slice();
        Ok(Self { decoder, stored: 0..0, raw_left: 0, block, filled: 0, next: 0 })
    }

    fn begin(&mut self, stored: std::ops::Range<usize>, raw: u64) {
        self.stored = stored;
        self.raw_left = raw;
        (self.filled, self.next) = (0, 0);
    }

    fn refill(&mut self, frame: &[u8]) -> Result<(), &'static str> {
        if self.raw_left == 0 {
            return Err("a stream ends before its operations do");
        }
        let want = usize::try_from(self.raw_left).unwrap_or(usize::MAX).min(self.block.len());
        let (mut written, mut stuck) = (0, false);
        while written < want {
            let stored = &frame[self.stored.clone()];
            let mut input = InBuffer::around(stored);
            let mut output = OutBuffer::around(&mut self.block[written..want]);
            self.decoder.run(&mut input, &mut output).map_err(|_| "a stream is not valid zstd")?;
            let (read, count) = (input.pos(), output.pos());
            self.stored.start += read;
            written += count;
            if std::mem::replace(&mut stuck, read == 0 && count == 0) && stuck {
                return Err("a stream holds less than it claims");
            }
        }
        self.raw_left -= want as u64;
        (self.filled, self.next) = (want, 0);
        // The flush that ends a chunk may leave an empty block that makes no output.
        if self.raw_left == 0 && !self.stored.is_empty() {
            let mut input = InBuffer::around(&frame[self.stored.clone()]);
            let mut nothing = [0; 0];
            let mut output = OutBuffer::around(&mut nothing[..]);
            self.decoder.run(&mut input, &mut output).map_err(|_| "a stream is not valid zstd")?;
            self.stored.start += input.pos();
        }
        Ok(())
    }
}
