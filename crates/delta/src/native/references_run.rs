//! Applying what concerns executables: regions that are made out of an old file and its references.

use super::code_run::{CodeRun, CodeRuns, Place};
use super::error::DecodeError;
use super::frame_run::{FrameError, FrameRun, State, Step, origin_of};
use super::operations::RightRun;
use super::streams::{StreamId, StreamReaders};
use super::work::EXECUTABLE_COVER;
use super::{PIECE_BYTES, varint};
use crate::cover::OriginId;
use crate::read_at::ReadError;
use crate::references::{Machine, Prediction, Predictor, ReferenceError, RegionCover, Residuals};
use crate::region::References;

const TOO_FAR: &str = "a cover is too far";

/// The executable that is being made; it may go on in the next frame.
pub(super) struct Executable {
    predictor: Predictor,
    origin: OriginId,
    /// Where the old one ends in its origin.
    old_end: u64,
    /// Where the region lies in the stretch at hand.
    start: u64,
    end: u64,
    resident_bytes: u64,
    /// Whether there are covers that the map does not have.
    has_unmapped: bool,
    /// Literals before the next such cover, where that is known.
    literals: Option<u64>,
    code_runs: CodeRuns,
    /// The literals at hand, if there are any: of code, or not.
    run: Option<Option<CodeRun>>,
}

impl FrameRun<'_> {
    /// Begins an executable.
    pub(super) fn begin_executable(&mut self, has_unmapped: bool) -> Step {
        let (references, region_bytes) = self.read_executable()?;
        let resident_bytes = references.resident_bytes(region_bytes);
        let (start, old_end, origin) =
            (self.stretch.position, references.old.end, references.origin);
        let end = start + region_bytes;
        self.note_use(origin);
        self.note(|record| record.executable(start..end, references.clone()))?;
        let References { machine, old, parameters, covers, .. } = references;
        let bytes = self.origin(origin)?;
        let begun = Predictor::new(machine, bytes, old, &parameters, covers, region_bytes);
        let predictor = begun.map_err(|error| match error {
            ReferenceError::Read(source) => {
                FrameError::Failed(DecodeError::Origin { origin, source })
            }
            // The frame is whole: the old file is not what it was, or the writer was at fault.
            _ => FrameError::Damaged,
        })?;
        self.state.executable = Some(Executable {
            predictor,
            origin,
            old_end,
            start,
            end,
            resident_bytes,
            has_unmapped,
            literals: None,
            code_runs: CodeRuns::default(),
            run: None,
        });
        Ok(())
    }

    /// Which one it is, all covers of its map, and the length of the region. What it takes is counted.
    fn read_executable(&mut self) -> Step<(References, u64)> {
        let machine = u8::try_from(self.number(StreamId::RegionLengths)?);
        let machine = machine.ok().and_then(Machine::of_id).ok_or("there is no such machine")?;
        self.read_origin_number()?;
        let origin = self.state.cursors.current();
        let old_start = varint::unzigzag(self.state.cursors.end(), self.number(StreamId::Offsets)?);
        let old_bytes = self.number(StreamId::RegionLengths)?;
        let old_end = old_start.checked_add(old_bytes).ok_or("an executable is too large")?;
        let region_bytes = self.number(StreamId::RegionLengths)?;
        let room = if self.depth > 0 { self.stretch.left() } else { self.layer_left() };
        if region_bytes == 0 || region_bytes > room {
            return Err("an executable is empty or goes past the end".into());
        }
        self.state.work.begin(old_bytes)?;
        let parameter_bytes = self.number(StreamId::RegionLengths)?;
        let cover_count = self.number(StreamId::RegionLengths)?;
        // Each takes numbers of at least a byte: what is not there is not allocated for.
        let numbers = [StreamId::Lengths, StreamId::RegionLengths, StreamId::RegionOffsets];
        let numbers = numbers.map(|id| self.state.streams.left(id)).into_iter().min();
        if numbers.is_none_or(|numbers| cover_count > numbers)
            || parameter_bytes > self.state.streams.left(StreamId::Corrections)
        {
            return Err("a stream ends before its operations do".into());
        }
        let resident_bytes =
            Predictor::memory_bytes(region_bytes, cover_count).saturating_add(parameter_bytes);
        self.state.resident.take(resident_bytes)?;
        self.state.work.go_on(cover_count.saturating_mul(EXECUTABLE_COVER))?;
        let mut parameters = vec![0; usize::try_from(parameter_bytes).unwrap_or(0)];
        self.state.streams.bytes(StreamId::Corrections, self.bytes, &mut parameters)?;
        let covers = self.region_covers(cover_count)?;
        let (old, unmapped) = (old_start..old_end, Vec::new());
        Ok((References { machine, origin, old, parameters, covers, unmapped }, region_bytes))
    }

    fn region_covers(&mut self, count: u64) -> Step<Vec<RegionCover>> {
        let mut covers = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        let (mut target_end, mut old_end) = (0u64, 0u64);
        for _ in 0..count {
            let gap = self.number(StreamId::RegionLengths)?;
            let length = self.number(StreamId::Lengths)?;
            let step = self.number(StreamId::RegionOffsets)?;
            let target = target_end.wrapping_add(gap);
            let old = varint::unzigzag(old_end.wrapping_add(gap), step);
            covers.push(RegionCover::new(target, old, length).ok_or(TOO_FAR)?);
            // All three fit 32 bits.
            (target_end, old_end) = (target + length, old + length);
        }
        Ok(covers)
    }

    /// Makes as much of the executable at hand as belongs to the frame.
    pub(super) fn go_on_with(&mut self, mut executable: Executable) -> Step {
        let end = executable.end.min(self.stretch.end);
        let mut piece = std::mem::take(&mut self.state.region_piece);
        while self.stretch.position < end {
            let next = executable.predictor.position();
            let at = next.map_or(executable.end, |target| executable.start + target);
            match at.checked_sub(self.stretch.position) {
                Some(0) => {
                    (executable.literals, executable.run) = (None, None);
                    self.predicted_piece(&mut executable, &mut piece)?;
                }
                Some(gap) if executable.has_unmapped => {
                    match self.literals(&mut executable, gap)? {
                        0 => self.begin_unmapped(&mut executable)?,
                        literals => {
                            let made =
                                self.literal_piece(&mut executable, literals, end, &mut piece)?;
                            executable.literals = Some(literals - made);
                        }
                    }
                }
                Some(gap) => {
                    self.literal_piece(&mut executable, gap, end, &mut piece)?;
                }
                None => return Err("the covers of an executable are not possible".into()),
            }
        }
        self.state.region_piece = piece;
        if self.stretch.position < executable.end {
            self.state.executable = Some(executable);
        } else {
            self.state.resident.give(executable.resident_bytes);
            self.state.cursors.switch(executable.origin.0);
            self.state.cursors.advance(executable.old_end, executable.end);
        }
        Ok(())
    }

    /// How many literals come next in a gap of so many bytes.
    fn literals(&mut self, executable: &mut Executable, gap: u64) -> Step<u64> {
        if let Some(literals) = executable.literals {
            return Ok(literals);
        }
        let literals = self.number(StreamId::RegionLengths)?;
        if literals > gap {
            return Err("literals go past the next cover".into());
        }
        executable.literals = Some(literals);
        Ok(literals)
    }

    /// Begins a cover that the map does not have, where the stretch stands.
    fn begin_unmapped(&mut self, executable: &mut Executable) -> Step {
        let target = self.stretch.position - executable.start;
        let length = self.number(StreamId::Lengths)?;
        let step = self.number(StreamId::RegionOffsets)?;
        let old = varint::unzigzag(executable.predictor.diagonal(target), step);
        let cover = RegionCover::new(target, old, length).ok_or(TOO_FAR)?;
        self.state.work.go_on(EXECUTABLE_COVER)?;
        let begun = executable.predictor.begin_unmapped(cover);
        begun.map_err(|_| "the covers of an executable are not possible")?;
        (executable.literals, executable.run) = (None, None);
        self.note(|record| record.unmapped_cover(cover))
    }

    /// Emits literals of a run that has `left` bytes, not past `end`; how many those were.
    fn literal_piece(
        &mut self,
        executable: &mut Executable,
        left: u64,
        end: u64,
        piece: &mut Vec<u8>,
    ) -> Step<u64> {
        let place = Place { at: self.stretch.position - executable.start, left };
        let streams = &mut self.state.streams;
        let run = executable.run.get_or_insert_with(|| {
            let (runs, tail) = (&mut executable.code_runs, &self.stretch.tail);
            runs.begin(&executable.predictor, streams.code, tail, place)
        });
        let count = left.min(end - self.stretch.position).min(PIECE_BYTES as u64);
        piece.resize(usize::try_from(count).unwrap_or(0), 0);
        if let Some(run) = run {
            let is_last = count == end - self.stretch.position;
            let made = run.make(streams, self.bytes, piece, place, self.stretch.tail, is_last)?;
            if made == 0 {
                return Err("a frame ends where it cannot".into());
            }
            piece.truncate(made);
        } else {
            streams.literals(self.bytes, self.stretch.tail, piece)?;
        }
        self.emit(piece)?;
        Ok(piece.len() as u64)
    }

    fn predicted_piece(&mut self, executable: &mut Executable, piece: &mut Vec<u8>) -> Step {
        let origin = executable.origin;
        self.note_use(origin);
        let (layers, bytes) = (self.origins, self.bytes);
        let State { streams, inflated, .. } = &mut *self.state;
        let old = origin_of(layers, inflated, origin)?;
        let mut residuals = Source { streams, bytes, right: &mut self.right };
        let made = executable.predictor.next_piece(old, &mut residuals, piece);
        let made = made.map_err(|error| match error {
            SiteError::Invalid(what) => FrameError::Invalid(what),
            SiteError::Read(source) => FrameError::Failed(DecodeError::Origin { origin, source }),
        })?;
        let made = made.ok_or("the covers of an executable are not possible")?;
        if made.length > self.stretch.left() || made.length != piece.len() as u64 {
            return Err("a frame ends where it cannot".into());
        }
        self.add_differences(piece)?;
        self.emit(piece)
    }
}

/// The truth about sites, as the delta has it.
struct Source<'a> {
    streams: &'a mut StreamReaders,
    bytes: &'a [u8],
    right: &'a mut RightRun,
}

impl Residuals for Source<'_> {
    type Error = SiteError;

    fn actual(&mut self, prediction: &Prediction) -> Result<u64, SiteError> {
        if !self.right.is_known {
            self.right.sites = self.streams.number(StreamId::ResidualGaps, self.bytes)?;
            self.right.is_known = true;
        }
        if let Some(left) = self.right.sites.checked_sub(1) {
            self.right.sites = left;
            return Ok(prediction.predicted);
        }
        let residual = self.streams.number(StreamId::Residuals, self.bytes)?;
        self.right.is_known = false;
        Ok(prediction.actual(varint::unzigzag(0, residual).cast_signed()))
    }
}

/// Why the truth about a site cannot be had.
enum SiteError {
    Invalid(&'static str),
    Read(ReadError),
}

impl From<&'static str> for SiteError {
    fn from(what: &'static str) -> Self {
        Self::Invalid(what)
    }
}

impl From<ReadError> for SiteError {
    fn from(source: ReadError) -> Self {
        Self::Read(source)
    }
}
