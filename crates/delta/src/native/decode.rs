//! Applying a delta: one pass over its bytes, output strictly in order, memory as declared.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::error::DecodeError;
use super::header::{self, Limits, Needs};
use super::operations::*;
use super::streams::{StreamId, StreamReaders};
use super::tar_header::{HeaderContext, body_bytes};
use super::{PIECE_BYTES, varint};
use crate::cover::OriginId;
use crate::read_at::ReadAt;
use crate::tar_map::{BLOCK_BYTES, Block, align};

/// Bytes of a frame before its streams: two digests and two lengths.
pub(super) const FRAME_HEADER_BYTES: usize = 8 + 4 + 4 + 8;
/// Where in a frame the bytes begin that its first digest covers.
pub(super) const FRAME_DIGEST_BYTES: usize = 8;

/// Makes one target layer out of a delta and its origins, frame by frame.
pub struct LayerDecoder<R> {
    input: R,
    needs: Needs,
    /// Bytes of the delta that were read.
    offset: u64,
    /// Bytes of the target that were made.
    produced: u64,
    frame_number: u64,
    frame: Vec<u8>,
    state: State,
}

/// What lives on from frame to frame.
struct State {
    streams: StreamReaders,
    cursors: Cursors,
    headers: HeaderContext,
    piece: Vec<u8>,
}

/// A frame that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// Counted from 0.
    pub number: u64,
    /// Bytes of the delta up to its end.
    pub delta_bytes: u64,
    /// Bytes of the target up to its end.
    pub target_bytes: u64,
}

/// The two ways in which applying a frame goes wrong; the frame's number is added outside.
enum FrameError {
    Invalid(&'static str),
    Failed(DecodeError),
}

impl From<&'static str> for FrameError {
    fn from(what: &'static str) -> Self {
        Self::Invalid(what)
    }
}

impl<R: Read> LayerDecoder<R> {
    /// Reads the header of a delta and refuses what goes beyond `limits`.
    pub fn new(mut input: R, limits: &Limits) -> Result<Self, DecodeError> {
        let (needs, offset) = header::read(&mut input, limits)?;
        let streams = StreamReaders::new(&needs.streams).map_err(|_| DecodeError::Header {
            what: "its compression windows are not possible",
        })?;
        let state = State {
            streams,
            cursors: Cursors::new(needs.origins.len()),
            headers: HeaderContext::default(),
            piece: vec![0; PIECE_BYTES],
        };
        let (produced, frame_number, frame) = (0, 0, Vec::new());
        Ok(Self { input, needs, offset, produced, frame_number, frame, state })
    }

    /// What the header says.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Applies the next frame; `None` after the last one, when the delta has ended as it should.
    ///
    /// `origins` are those of [`Needs::origins`], in that order. On an error, what was written of
    /// the frame is of no use.
    pub fn next_frame(
        &mut self,
        origins: &[&dyn ReadAt],
        out: &mut dyn Write,
    ) -> Result<Option<FrameInfo>, DecodeError> {
        if self.frame_number == 0 {
            self.check_origins(origins)?;
        }
        if self.produced == self.needs.output_bytes {
            return self.expect_end().map(|()| None);
        }
        let frame_offset = self.offset;
        let (output_bytes, output_digest) = self.read_frame()?;
        let mut frame = FrameRun {
            state: &mut self.state,
            bytes: &self.frame,
            origins,
            out,
            position: self.produced,
            end: self.produced + u64::from(output_bytes),
            digest: Xxh3::new(),
            used: BTreeSet::new(),
            equal: EqualRun::default(),
        };
        frame.run().map_err(|error| match error {
            FrameError::Failed(error) => error,
            FrameError::Invalid(what) => {
                DecodeError::FrameInvalid { frame: self.frame_number, offset: frame_offset, what }
            }
        })?;
        if frame.digest.digest() != output_digest {
            let origins = frame.used.into_iter().map(OriginId).collect();
            return Err(DecodeError::OutputWrong { frame: self.frame_number, origins });
        }
        self.produced = frame.end;
        self.frame_number += 1;
        Ok(Some(self.frame_info()))
    }

    /// Reads the next frame and checks its stored bytes without applying it; `None` after the last.
    ///
    /// A decoder that checks does not apply: each of the two wants to see every frame.
    pub fn check_frame(&mut self) -> Result<Option<FrameInfo>, DecodeError> {
        if self.produced == self.needs.output_bytes {
            return self.expect_end().map(|()| None);
        }
        let (output_bytes, _) = self.read_frame()?;
        self.produced += u64::from(output_bytes);
        self.frame_number += 1;
        Ok(Some(self.frame_info()))
    }

    fn frame_info(&self) -> FrameInfo {
        FrameInfo {
            number: self.frame_number - 1,
            delta_bytes: self.offset,
            target_bytes: self.produced,
        }
    }

    fn check_origins(&self, origins: &[&dyn ReadAt]) -> Result<(), DecodeError> {
        for (id, origin) in (0u32..).zip(&self.needs.origins) {
            let expected = origin.size();
            let found = origins.get(id as usize).map_or(0, |origin| origin.size());
            if found != expected {
                return Err(DecodeError::OriginSize { origin: OriginId(id), expected, found });
            }
        }
        Ok(())
    }

    /// Reads a frame whole and checks its stored bytes; gives its output's length and digest.
    fn read_frame(&mut self) -> Result<(u32, u64), DecodeError> {
        let (frame, offset) = (self.frame_number, self.offset);
        let invalid = |what| DecodeError::FrameInvalid { frame, offset, what };
        let mut head = [0; FRAME_HEADER_BYTES];
        header::fill(&mut self.input, &mut head, self.offset)?;
        let stored_bytes = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let output_bytes = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        if stored_bytes > self.needs.max_frame_stored_bytes {
            return Err(DecodeError::FrameDamaged { frame, offset });
        }
        self.frame.clear();
        self.frame.extend_from_slice(&head);
        self.frame.resize(FRAME_HEADER_BYTES + usize::try_from(stored_bytes).unwrap_or(0), 0);
        let body = &mut self.frame[FRAME_HEADER_BYTES..];
        header::fill(&mut self.input, body, self.offset + FRAME_HEADER_BYTES as u64)?;
        if xxh3_64(&self.frame[FRAME_DIGEST_BYTES..]).to_le_bytes() != head[..FRAME_DIGEST_BYTES] {
            return Err(DecodeError::FrameDamaged { frame, offset });
        }
        self.offset += self.frame.len() as u64;
        if output_bytes == 0 || output_bytes > self.needs.max_frame_output_bytes {
            return Err(invalid("its output is empty or larger than the header allows"));
        }
        if u64::from(output_bytes) > self.needs.output_bytes - self.produced {
            return Err(invalid("its output goes past the end of the target"));
        }
        let output_digest = <[u8; 8]>::try_from(&head[16..]).map_or(0, u64::from_le_bytes);
        let begun = self.state.streams.begin_frame(&self.frame, FRAME_HEADER_BYTES);
        begun.map_err(invalid)?;
        Ok((output_bytes, output_digest))
    }

    fn expect_end(&mut self) -> Result<(), DecodeError> {
        match header::fill(&mut self.input, &mut [0], self.offset) {
            Err(DecodeError::Truncated { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(DecodeError::TrailingBytes { offset: self.offset }),
        }
    }
}

/// One frame being applied.
struct FrameRun<'a> {
    state: &'a mut State,
    bytes: &'a [u8],
    origins: &'a [&'a dyn ReadAt],
    out: &'a mut dyn Write,
    /// Offset in the target of the next byte.
    position: u64,
    /// Offset in the target where the frame ends.
    end: u64,
    digest: Xxh3,
    /// The origins that were read.
    used: BTreeSet<u32>,
    equal: EqualRun,
}

type Step<T = ()> = Result<T, FrameError>;

impl FrameRun<'_> {
    fn run(&mut self) -> Step {
        while self.position < self.end {
            let operation = self.state.streams.byte(StreamId::Operations, self.bytes)?;
            match operation {
                LITERAL => self.literal()?,
                PAD => self.pad()?,
                _ if operation & 0xf8 == COVER => self.cover(operation)?,
                _ if operation & 0xf0 == HEADER => self.header(operation)?,
                _ => return Err("there is no such operation".into()),
            }
        }
        if self.state.streams.are_finished() && self.equal.bytes == 0 {
            Ok(())
        } else {
            Err("its streams hold more than its operations use".into())
        }
    }

    fn number(&mut self, id: StreamId) -> Step<u64> {
        Ok(self.state.streams.number(id, self.bytes)?)
    }

    /// The next length; it is never 0 and never goes past the end of the frame.
    fn length(&mut self) -> Step<u64> {
        let length = self.number(StreamId::Lengths)?;
        if length == 0 || length > self.end - self.position {
            return Err("an operation is empty or goes past the end".into());
        }
        Ok(length)
    }

    fn literal(&mut self) -> Step {
        let length = self.length()?;
        self.pieces(length, |run, piece, _| {
            Ok(run.state.streams.bytes(StreamId::Literals, run.bytes, piece)?)
        })
    }

    fn pad(&mut self) -> Step {
        let length = align(self.position) - self.position;
        if length == 0 || length > self.end - self.position {
            return Err("padding is empty or goes past the end".into());
        }
        self.pieces(length, |_, piece, _| {
            piece.fill(0);
            Ok(())
        })
    }

    fn cover(&mut self, operation: u8) -> Step {
        let length = self.length()?;
        self.switch_origin(operation & COVER_ORIGIN != 0)?;
        let at = match operation & COVER_OFFSET {
            0 => self.state.cursors.predicted_cover(self.position),
            _ => varint::unzigzag(self.state.cursors.end(), self.number(StreamId::Offsets)?),
        };
        self.copy(at, length, operation & COVER_ADD != 0)
    }

    fn copy(&mut self, at: u64, length: u64, adds: bool) -> Step {
        let origin = self.state.cursors.current();
        self.pieces(length, |run, piece, done| {
            run.read_origin(origin, at.wrapping_add(done), piece)?;
            if adds { run.add_differences(piece) } else { Ok(()) }
        })?;
        self.state.cursors.advance(at.wrapping_add(length), self.position);
        Ok(())
    }

    fn header(&mut self, operation: u8) -> Step {
        if self.end - self.position < BLOCK_BYTES {
            return Err("a header goes past the end".into());
        }
        let old = self.old_header(operation)?;
        let template = self.template()?;
        let State { headers, streams, .. } = &mut *self.state;
        let bytes = self.bytes;
        let header = headers.rebuild(template, old.as_ref().map(|(_, block)| block), |field| {
            let length = streams.number(StreamId::Headers, bytes)?;
            let length = usize::try_from(length).ok().filter(|length| *length <= field.len());
            let length = length.ok_or("a field is longer than its place")?;
            streams.bytes(StreamId::Headers, bytes, &mut field[..length])
        })?;
        self.emit(&header)?;
        let Some((at, _)) = old else { return Ok(()) };
        let body_at = at.wrapping_add(BLOCK_BYTES);
        self.state.cursors.advance(body_at, self.position);
        match body_bytes(&header) {
            length @ 1.. if operation & HEADER_WITH_BODY != 0 => {
                if length > self.end - self.position {
                    return Err("a body goes past the end".into());
                }
                self.copy(body_at, length, false)
            }
            _ => Ok(()),
        }
    }

    /// Where the old header is, and its bytes.
    fn old_header(&mut self, operation: u8) -> Step<Option<(u64, Block)>> {
        if operation & HEADER_HAS_OLD == 0 {
            return match operation & !HEADER {
                0 => Ok(None),
                _ => Err("a header without an old one says where it is".into()),
            };
        }
        self.switch_origin(operation & HEADER_ORIGIN != 0)?;
        let predicted = self.state.cursors.predicted_header_block();
        let block = match operation & HEADER_OFFSET {
            0 => predicted,
            _ => varint::unzigzag(predicted, self.number(StreamId::Offsets)?),
        };
        let at = block.checked_mul(BLOCK_BYTES).ok_or("an old header lies beyond all origins")?;
        let mut old = [0; 512];
        self.read_origin(self.state.cursors.current(), at, &mut old)?;
        Ok(Some((at, old)))
    }

    fn template(&mut self) -> Step<u32> {
        let number = self.number(StreamId::Headers)?;
        if let Some(template) = self.state.headers.template(number) {
            return Ok(template);
        }
        if number != self.state.headers.template_count() {
            return Err("a header uses a template that was not sent".into());
        }
        let mut template = [0; 4];
        self.state.streams.bytes(StreamId::Headers, self.bytes, &mut template)?;
        let template = u32::from_le_bytes(template);
        self.state.headers.learn(template);
        Ok(template)
    }

    fn switch_origin(&mut self, to_another: bool) -> Step {
        let origin = match to_another {
            true => self.number(StreamId::Offsets)?,
            false => self.state.cursors.current().0.into(),
        };
        let known = u32::try_from(origin).is_ok_and(|origin| self.state.cursors.switch(origin));
        if known { Ok(()) } else { Err("an operation reads an origin that is not listed".into()) }
    }

    fn read_origin(&mut self, origin: OriginId, at: u64, piece: &mut [u8]) -> Step {
        self.used.insert(origin.0);
        let source = self.origins.get(origin.0 as usize).ok_or("an origin is not listed")?;
        source
            .read_exact_at(piece, at)
            .map_err(|source| FrameError::Failed(DecodeError::Origin { origin, source }))
    }

    /// Adds the differences of the frame to the next bytes of it that are copied with differences.
    fn add_differences(&mut self, mut piece: &mut [u8]) -> Step {
        while !piece.is_empty() {
            if !self.equal.is_known {
                self.equal.bytes = self.number(StreamId::Gaps)?;
                self.equal.is_known = true;
            }
            let equal = usize::try_from(self.equal.bytes).unwrap_or(usize::MAX).min(piece.len());
            self.equal.bytes -= equal as u64;
            piece = &mut piece[equal..];
            if let Some(byte) = piece.first_mut() {
                let difference = self.state.streams.byte(StreamId::Differences, self.bytes)?;
                *byte = byte.wrapping_add(difference);
                self.equal.is_known = false;
                piece = &mut piece[1..];
            }
        }
        Ok(())
    }

    /// Makes `length` bytes in pieces; `make` gets each piece's buffer and the bytes done before it.
    fn pieces(
        &mut self,
        length: u64,
        mut make: impl FnMut(&mut Self, &mut [u8], u64) -> Step,
    ) -> Step {
        let mut buffer = std::mem::take(&mut self.state.piece);
        let mut done = 0;
        let mut result = Ok(());
        while done < length && result.is_ok() {
            let count = usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len());
            let piece = &mut buffer[..count];
            result = make(self, piece, done).and_then(|()| self.emit(piece));
            done += count as u64;
        }
        self.state.piece = buffer;
        result
    }

    fn emit(&mut self, bytes: &[u8]) -> Step {
        self.digest.update(bytes);
        self.position += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|error| FrameError::Failed(DecodeError::Output(error)))
    }
}
