//! Bytes that several deltas of a file share: one stream, which is decoded while a delta reads on in it.
//!
//! A delta reads what is shared from front to back, so nothing of it is kept but what was decoded
//! last, and nothing is written. One that goes back makes the decoder begin anew, and may not do so
//! for ever.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use delta::ReadError;
use delta::native::{LayerDecoder, Limits};
use delta::read_at::{ReadAt, check_range};

use super::LoadError;
use super::source::Candidate;
use crate::delta_image::DeltaFormat;
use crate::delta_layer::member_header;

/// What was decoded last and is kept.
const WINDOW_BYTES: usize = 4 << 20;
/// No frame makes more: ours make 1 MiB.
const MAX_FRAME_BYTES: usize = 2 << 20;
/// So often a delta may go back further than the window.
const MAX_RESTARTS: u32 = 16;

/// Memory that reading takes beside the decoder.
pub(super) const BUFFER_BYTES: u64 = (WINDOW_BYTES + MAX_FRAME_BYTES) as u64;

/// The shared bytes that a candidate carries in one of its layers.
pub(super) struct Pool<'a> {
    candidate: &'a Candidate<'a>,
    index: usize,
    size_bytes: u64,
    max_memory_bytes: u64,
    state: Mutex<State<'a>>,
}

type Decoder<'a> = LayerDecoder<Box<dyn Read + Send + 'a>>;

struct State<'a> {
    decoder: Option<Decoder<'a>>,
    /// Bytes of the pool from `start` on.
    window: Vec<u8>,
    start: u64,
    restarts: u32,
}

impl<'a> Pool<'a> {
    /// The bytes that layer `index` of the candidate makes, which must have been checked.
    pub(super) fn open(
        candidate: &'a Candidate<'a>,
        index: usize,
        max_memory_bytes: u64,
    ) -> Result<Self, LoadError> {
        let decoder = open_decoder(candidate, index, max_memory_bytes)?;
        let size_bytes = decoder.needs().output_bytes;
        let state = State { decoder: Some(decoder), window: Vec::new(), start: 0, restarts: 0 };
        Ok(Self { candidate, index, size_bytes, max_memory_bytes, state: Mutex::new(state) })
    }

    fn read(&self, state: &mut State<'a>, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if offset < state.start {
            self.restart(state)?;
        }
        while state.start + (state.window.len() as u64) < end {
            state.decode(offset)?;
        }
        let at = usize::try_from(offset - state.start).unwrap_or(usize::MAX);
        let found = state.window.get(at..at.saturating_add(buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn restart(&self, state: &mut State<'a>) -> io::Result<()> {
        state.restarts += 1;
        if state.restarts > MAX_RESTARTS {
            let why = "the delta goes back in what it shares with others again and again";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let decoder = open_decoder(self.candidate, self.index, self.max_memory_bytes);
        state.decoder = Some(decoder.map_err(io::Error::other)?);
        state.window.clear();
        state.start = 0;
        Ok(())
    }
}

impl State<'_> {
    /// Decodes one frame more, and forgets what lies too far before `offset`.
    fn decode(&mut self, offset: u64) -> io::Result<()> {
        let decoder = self.decoder.as_mut().ok_or(io::ErrorKind::UnexpectedEof)?;
        let before = self.window.len();
        let frame = decoder.next_frame(&[], &mut self.window).map_err(io::Error::other)?;
        if frame.is_none() || self.window.len() - before > MAX_FRAME_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let behind = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let surplus = self.window.len().saturating_sub(WINDOW_BYTES).min(behind);
        self.window.drain(..surplus);
        self.start += surplus as u64;
        Ok(())
    }
}

impl ReadAt for Pool<'_> {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        check_range(self.size_bytes, offset, buffer.len())?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.read(&mut state, buffer, offset);
        read.map_err(|source| ReadError::Io { offset, length: buffer.len() as u64, source })
    }
}

/// A decoder of the stream in the layer's one member, whose header is as ours are.
fn open_decoder<'a>(
    candidate: &'a Candidate<'a>,
    index: usize,
    max_memory_bytes: u64,
) -> Result<Decoder<'a>, LoadError> {
    let layer = candidate.diff_id(index);
    let mut tar = candidate.open_layer(index)?;
    let mut header = [0; 512];
    tar.read_exact(&mut header).map_err(|source| LoadError::ReadLayer { layer, source })?;
    let size_bytes = tar::Header::from_byte_slice(&header).entry_size().unwrap_or(0);
    if member_header(DeltaFormat::Silt, size_bytes) != header {
        return Err(LoadError::SharedLayer { layer });
    }
    let member: Box<dyn Read + Send + 'a> = Box::new(tar.take(size_bytes));
    let memory_bytes = candidate.left_memory_bytes(max_memory_bytes).saturating_sub(BUFFER_BYTES);
    let limits = Limits { memory_bytes, output_bytes: u64::MAX };
    let decode_error = |source| LoadError::Decode { layer, origins: Vec::new(), source };
    let decoder = LayerDecoder::new(member, &limits).map_err(decode_error)?;
    match decoder.needs().origins.is_empty() {
        true => Ok(decoder),
        false => Err(LoadError::SharedLayer { layer }),
    }
}
