//! Applying the operations of one frame.

use std::collections::BTreeSet;

use super::error::DecodeError;
use super::header::Needs;
use super::operations::*;
use super::record::Record;
use super::references_run::Executable;
use super::resident::Resident;
use super::streams::{DifferenceSite, StreamId, StreamReaders};
use super::stretch::Stretch;
use super::tar_header::{HeaderContext, body_bytes};
use super::work::Work;
use super::{PIECE_BYTES, varint};
use crate::cover::OriginId;
use crate::read_at::ReadAt;
use crate::tar_map::{BLOCK_BYTES, Block, align};

/// What lives on from frame to frame.
pub(super) struct State {
    pub(super) streams: StreamReaders,
    pub(super) cursors: Cursors,
    headers: HeaderContext,
    piece: Vec<u8>,
    /// Members of origins, inflated for the regions at hand: the outermost region's come first.
    pub(super) inflated: Vec<Inflated>,
    /// The executable that is being made.
    pub(super) executable: Option<Executable>,
    pub(super) region_piece: Vec<u8>,
    /// The memory of regions.
    pub(super) resident: Resident,
    /// Their work.
    pub(super) work: Work,
    /// What the delta says, where that is to be known.
    pub(super) record: Option<Record>,
    /// Bytes of the whole layer.
    layer_bytes: u64,
}

/// A compressed member of an origin, inflated.
pub(super) struct Inflated {
    pub(super) bytes: Vec<u8>,
    /// What was counted for it.
    pub(super) resident_bytes: u64,
}

impl State {
    pub(super) fn new(streams: StreamReaders, needs: &Needs) -> Self {
        Self {
            streams,
            cursors: Cursors::new(needs.origins.len()),
            headers: HeaderContext::default(),
            piece: vec![0; PIECE_BYTES],
            inflated: Vec::new(),
            executable: None,
            region_piece: Vec::new(),
            resident: Resident::new(needs.resident_bytes),
            work: Work::of_layer(needs.output_bytes),
            record: None,
            layer_bytes: needs.output_bytes,
        }
    }
}

/// The two ways in which applying a frame goes wrong; the frame's number is added outside.
pub(super) enum FrameError {
    Invalid(&'static str),
    Failed(DecodeError),
    /// What was read of an origin is not what was there when the delta was made.
    Damaged,
}

impl From<&'static str> for FrameError {
    fn from(what: &'static str) -> Self {
        Self::Invalid(what)
    }
}

pub(super) type Step<T = ()> = Result<T, FrameError>;

/// One frame being applied.
pub(super) struct FrameRun<'a> {
    pub(super) state: &'a mut State,
    pub(super) bytes: &'a [u8],
    pub(super) origins: &'a [&'a dyn ReadAt],
    /// What is being made: the layer, or what a compressed member of it holds.
    pub(super) stretch: Stretch<'a>,
    /// The layers that were read.
    used: BTreeSet<u32>,
    equal: EqualRun,
    pub(super) right: RightRun,
    /// How many compressed members lie around what is being made.
    pub(super) depth: usize,
    /// The first of the inflated origins that belong to the region that comes next.
    pub(super) first_pending: usize,
}

impl<'a> FrameRun<'a> {
    pub(super) fn new(
        state: &'a mut State,
        bytes: &'a [u8],
        origins: &'a [&'a dyn ReadAt],
        stretch: Stretch<'a>,
    ) -> Self {
        let (used, equal, right) = (BTreeSet::new(), EqualRun::default(), RightRun::default());
        Self { state, bytes, origins, stretch, used, equal, right, depth: 0, first_pending: 0 }
    }

    /// Applies all operations; the frame's bytes are used up then. Gives the output's digest.
    pub(super) fn run(&mut self) -> Step<u64> {
        self.make_stretch()?;
        let runs_left = self.equal.bytes | self.right.sites;
        if self.state.streams.are_finished() && runs_left == 0 {
            Ok(self.stretch.digest())
        } else {
            Err("its streams hold more than its operations use".into())
        }
    }

    /// The layers that were read.
    pub(super) fn used_origins(&self) -> Vec<OriginId> {
        self.used.iter().copied().map(OriginId).collect()
    }

    /// How many layers can be read.
    pub(super) fn layer_count(&self) -> usize {
        self.origins.len()
    }

    /// Applies operations until the stretch at hand is made.
    pub(super) fn make_stretch(&mut self) -> Step {
        while self.stretch.left() > 0 {
            if let Some(executable) = self.state.executable.take() {
                self.go_on_with(executable)?;
                continue;
            }
            let operation = self.state.streams.byte(StreamId::Operations, self.bytes)?;
            match operation {
                LITERAL => self.literal()?,
                PAD => self.pad()?,
                OPEN => self.open()?,
                DEFLATE => self.deflate()?,
                REFERENCES => self.begin_executable(false)?,
                MANY_REFERENCES => self.begin_executable(true)?,
                _ if operation & 0xf8 == COVER => self.cover(operation)?,
                _ if operation & 0xf0 == HEADER => self.header(operation)?,
                _ => return Err("there is no such operation".into()),
            }
        }
        match self.state.inflated.len() == self.first_pending {
            true => Ok(()),
            false => Err("a member is inflated and not used".into()),
        }
    }

    pub(super) fn number(&mut self, id: StreamId) -> Step<u64> {
        Ok(self.state.streams.number(id, self.bytes)?)
    }

    /// The next length; it is never 0 and never goes past the end of the frame.
    pub(super) fn length(&mut self) -> Step<u64> {
        let length = self.number(StreamId::Lengths)?;
        if length == 0 || length > self.stretch.left() {
            return Err("an operation is empty or goes past the end".into());
        }
        Ok(length)
    }

    fn literal(&mut self) -> Step {
        let length = self.length()?;
        self.pieces(length, |run, piece, _| {
            Ok(run.state.streams.literals(run.bytes, run.stretch.tail, piece)?)
        })
    }

    fn pad(&mut self) -> Step {
        let length = align(self.stretch.position) - self.stretch.position;
        if length == 0 || length > self.stretch.left() {
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
            0 => self.state.cursors.predicted_cover(self.stretch.position),
            _ => varint::unzigzag(self.state.cursors.end(), self.number(StreamId::Offsets)?),
        };
        self.copy(at, length, operation & COVER_ADD != 0)
    }

    fn copy(&mut self, at: u64, length: u64, adds: bool) -> Step {
        let origin = self.state.cursors.current();
        let target = self.stretch.position;
        self.note(|record| record.cover(target, length, origin, at))?;
        self.pieces(length, |run, piece, done| {
            run.read_origin(origin, at.wrapping_add(done), piece)?;
            if adds { run.add_differences(piece) } else { Ok(()) }
        })?;
        self.state.cursors.advance(at.wrapping_add(length), self.stretch.position);
        Ok(())
    }

    fn header(&mut self, operation: u8) -> Step {
        if self.stretch.left() < BLOCK_BYTES {
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
        let (target, origin) = (self.stretch.position, self.state.cursors.current());
        self.emit(&header)?;
        let Some((at, _)) = old else { return Ok(()) };
        self.note(|record| record.cover(target, BLOCK_BYTES, origin, at))?;
        let body_at = at.wrapping_add(BLOCK_BYTES);
        self.state.cursors.advance(body_at, self.stretch.position);
        match body_bytes(&header) {
            length @ 1.. if operation & HEADER_WITH_BODY != 0 => {
                if length > self.stretch.left() {
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
        if to_another {
            return self.read_origin_number();
        }
        match self.state.cursors.has_current() {
            true => Ok(()),
            false => Err("an operation reads an origin that is not listed".into()),
        }
    }

    /// Makes the origin whose number comes next the current one.
    pub(super) fn read_origin_number(&mut self) -> Step {
        let origin = self.number(StreamId::Offsets)?;
        let known = u32::try_from(origin).is_ok_and(|origin| self.state.cursors.switch(origin));
        if known { Ok(()) } else { Err("an operation reads an origin that is not listed".into()) }
    }

    fn read_origin(&mut self, origin: OriginId, at: u64, piece: &mut [u8]) -> Step {
        self.note_use(origin);
        let read = self.origin(origin)?.read_exact_at(piece, at);
        read.map_err(|source| FrameError::Failed(DecodeError::Origin { origin, source }))
    }

    pub(super) fn note_use(&mut self, origin: OriginId) {
        if (origin.0 as usize) < self.origins.len() {
            self.used.insert(origin.0);
        }
    }

    /// The bytes of an origin: layers are numbered first, then what is inflated.
    pub(super) fn origin(&self, origin: OriginId) -> Step<&dyn ReadAt> {
        origin_of(self.origins, &self.state.inflated, origin)
    }

    /// Bytes of the layer that are still to be made, in this frame and after it.
    pub(super) fn layer_left(&self) -> u64 {
        self.state.layer_bytes - self.stretch.position
    }

    /// Adds the differences of the frame to the next bytes of it that are copied with differences.
    pub(super) fn add_differences(&mut self, piece: &mut [u8]) -> Step {
        let mut done = 0;
        while done < piece.len() {
            if !self.equal.is_known {
                self.equal.bytes = self.number(StreamId::Gaps)?;
                self.equal.is_known = true;
            }
            let left = piece.len() - done;
            let equal = usize::try_from(self.equal.bytes).unwrap_or(usize::MAX).min(left);
            self.equal.bytes -= equal as u64;
            done += equal;
            let (made, rest) = piece.split_at_mut(done);
            if !rest.is_empty() {
                let tail = self.stretch.tail;
                let site = || DifferenceSite::new(rest, tail.after(made));
                let difference = self.state.streams.difference(self.bytes, site)?;
                let byte = &mut rest[0];
                *byte = byte.wrapping_add(difference);
                self.equal.is_known = false;
                done += 1;
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

    /// Notes something, where what the delta says is to be known.
    pub(super) fn note(
        &mut self,
        note: impl FnOnce(&mut Record) -> Result<(), DecodeError>,
    ) -> Step {
        self.state.record.as_mut().map_or(Ok(()), note).map_err(FrameError::Failed)
    }

    pub(super) fn emit(&mut self, bytes: &[u8]) -> Step {
        self.stretch.push(bytes).map_err(FrameError::Failed)
    }
}

/// The bytes of an origin: layers are numbered first, then what is inflated.
pub(super) fn origin_of<'a>(
    layers: &[&'a dyn ReadAt],
    inflated: &'a [Inflated],
    origin: OriginId,
) -> Step<&'a dyn ReadAt> {
    let number = origin.0 as usize;
    if let Some(layer) = layers.get(number) {
        return Ok(*layer);
    }
    let inflated = inflated.get(number - layers.len());
    inflated.map(|inflated| &inflated.bytes as &dyn ReadAt).ok_or("an origin is not listed".into())
}
