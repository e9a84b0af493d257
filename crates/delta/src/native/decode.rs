//! Applying a delta: one pass over its bytes, output strictly in order, memory as declared.

use std::io::{Read, Write};

use xxhash_rust::xxh3::xxh3_64;

use super::error::DecodeError;
use super::frame_run::{FrameError, FrameRun, State};
use super::header::{self, Limits, Needs, Origin};
use super::record::Record;
use super::streams::StreamReaders;
use super::stretch::Stretch;
use crate::cover::OriginId;
use crate::read_at::{Part, ReadAt};
use crate::region::Content;

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

impl<R: Read> LayerDecoder<R> {
    /// Reads the header of a delta and refuses what goes beyond `limits`.
    pub fn new(mut input: R, limits: &Limits) -> Result<Self, DecodeError> {
        let (needs, offset) = header::read(&mut input, limits)?;
        let streams = StreamReaders::new(&needs.streams).map_err(|_| DecodeError::Header {
            what: "its compression windows are not possible",
        })?;
        let state = State::new(streams, &needs);
        let (produced, frame_number, frame) = (0, 0, Vec::new());
        Ok(Self { input, needs, offset, produced, frame_number, frame, state })
    }

    /// What the header says.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Notes what the delta says from here on, in at most so many bytes of memory beside what decoding
    /// takes; [`Self::into_content`] gives it.
    pub fn record(&mut self, limit_bytes: u64) {
        self.state.record = Some(Record::new(self.needs.origins.len(), limit_bytes));
    }

    /// Memory that the notes take so far, in bytes.
    pub fn recorded_bytes(&self) -> u64 {
        self.state.record.as_ref().map_or(0, Record::used_bytes)
    }

    /// What was noted, with the origins numbered as in the header. Old headers are covers too; no list
    /// of headers is made.
    pub fn into_content(self) -> Content {
        self.state.record.map(Record::into_content).unwrap_or_default()
    }

    /// Applies the next frame; `None` after the last one, when the delta has ended as it should.
    ///
    /// `origins` are those of [`Needs::origins`], in that order. [`Origin::Itself`] is read up to the
    /// end of the frame before; `out` is flushed for it. On an error, what was written of the frame is of
    /// no use.
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
        if self.needs.reads_itself() {
            out.flush().map_err(DecodeError::Output)?;
        }
        let finished = self.finished(origins);
        let origins = self.readable(origins, &finished);
        let frame_offset = self.offset;
        let (output_bytes, output_digest) = self.read_frame()?;
        let end = self.produced + u64::from(output_bytes);
        let stretch = Stretch::of_layer(self.produced, end, out);
        let mut run = FrameRun::new(&mut self.state, &self.frame, &origins, stretch);
        let (made, origins) = (run.run(), run.used_origins());
        let frame = self.frame_number;
        let digest = made.map_err(|error| match error {
            FrameError::Failed(error) => error,
            FrameError::Invalid(what) => {
                DecodeError::FrameInvalid { frame, offset: frame_offset, what }
            }
            FrameError::Damaged => DecodeError::OutputWrong { frame, origins: origins.clone() },
        })?;
        if digest != output_digest {
            return Err(DecodeError::OutputWrong { frame, origins });
        }
        self.produced = end;
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

    /// The layer itself, up to the end of the last frame.
    fn finished<'a>(&self, origins: &[&'a dyn ReadAt]) -> Option<Part<'a>> {
        let itself = self.needs.origins.iter().position(Origin::is_itself)?;
        origins.get(itself).map(|layer| Part::new(*layer, 0..self.produced))
    }

    /// The origins, with no more of the layer itself than is made.
    fn readable<'a>(
        &self,
        origins: &[&'a dyn ReadAt],
        finished: &'a Option<Part<'_>>,
    ) -> Vec<&'a dyn ReadAt> {
        let readable = |(origin, bytes): (&Origin, &&'a dyn ReadAt)| match finished {
            Some(finished) if origin.is_itself() => finished as &dyn ReadAt,
            _ => *bytes,
        };
        self.needs.origins.iter().zip(origins).map(readable).collect()
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
