//! Emitting executables: which old file and which covers first, then what differs.

use super::code_run::{CodeRun, CodeRuns, Place};
use super::emit::{Emitter, piece_length};
use super::encode::{EncodeError, Result};
use super::operations::{MANY_REFERENCES, REFERENCES};
use super::streams::StreamId;
use super::varint;
use crate::kinds::How;
use crate::read_at::ReadError;
use crate::references::{Prediction, Predictor, RegionCover, Residuals};
use crate::region::References;

impl Emitter<'_> {
    /// Says an executable of `length` bytes.
    pub(super) fn executable(&mut self, references: &References, length: u64) -> Result {
        self.make_readable(references.origin, references.old.end)?;
        self.make_room(Predictor::MAX_PIECE_BYTES)?;
        self.begin_executable(references, length);
        if self.plain.is_none() {
            self.executable_start = Some(self.position);
        }
        let predictor = Predictor::new(
            references.machine,
            self.origin(references.origin),
            references.old.clone(),
            &references.parameters,
            references.covers.clone(),
            length,
        );
        let mut predictor = predictor.map_err(EncodeError::References)?;
        let start = self.position;
        let end = start + length;
        let mut unmapped = references.unmapped.iter().copied().peekable();
        let (mut runs, mut piece) = (CodeRuns::default(), Vec::new());
        loop {
            let next = predictor.position().map_or(end, |target| start + target);
            let before = unmapped.next_if(|cover| start + u64::from(cover.target) < next);
            let stop = before.map_or(next, |cover| start + u64::from(cover.target));
            let literals = stop - self.position;
            if literals > 0 {
                self.make_room(CodeRun::MAX_UNIT_BYTES)?;
                let place = Place { at: self.position - start, left: literals };
                let mut run = runs.begin(&predictor, self.streams.code, &self.tail, place);
                self.literals_in_frame(&mut run, start, stop)?;
                if !references.unmapped.is_empty() {
                    self.streams.put(StreamId::RegionLengths, literals);
                }
                while self.position < stop {
                    self.make_room(CodeRun::MAX_UNIT_BYTES)?;
                    self.literals_in_frame(&mut run, start, stop)?;
                }
            }
            if self.position == end {
                break;
            }
            self.make_room(Predictor::MAX_PIECE_BYTES)?;
            if let Some(cover) = before {
                self.begin_unmapped(&mut predictor, cover, literals == 0)?;
            }
            self.predicted_piece(&mut predictor, references, start, &mut piece)?;
        }
        self.cursors.switch(references.origin.0);
        self.cursors.advance(references.old.end, end);
        Ok(())
    }

    fn begin_executable(&mut self, references: &References, length: u64) {
        let is_plain = references.unmapped.is_empty();
        let operation = if is_plain { REFERENCES } else { MANY_REFERENCES };
        self.streams.raw(StreamId::Operations).push(operation);
        self.streams.put(StreamId::RegionLengths, references.machine.id().into());
        self.name_origin(references.origin);
        let step = varint::zigzag(self.cursors.end(), references.old.start);
        self.streams.put(StreamId::Offsets, step);
        let lengths = [
            references.old.end - references.old.start,
            length,
            references.parameters.len() as u64,
            references.covers.len() as u64,
        ];
        lengths.into_iter().for_each(|length| self.streams.put(StreamId::RegionLengths, length));
        self.streams.raw(StreamId::Corrections).extend(&references.parameters);
        let (mut target_end, mut old_end) = (0, 0);
        for cover in &references.covers {
            let gap = u64::from(cover.target - target_end);
            self.streams.put(StreamId::RegionLengths, gap);
            self.streams.put(StreamId::Lengths, cover.length.into());
            let step = varint::zigzag(u64::from(old_end) + gap, cover.old.into());
            self.streams.put(StreamId::RegionOffsets, step);
            (target_end, old_end) = (cover.target_end(), cover.old_end());
        }
    }

    /// Says where a cover is that the map does not have; its first piece is to be in the same frame.
    fn begin_unmapped(
        &mut self,
        predictor: &mut Predictor,
        cover: RegionCover,
        is_first: bool,
    ) -> Result {
        if is_first {
            self.streams.put(StreamId::RegionLengths, 0);
        }
        self.streams.put(StreamId::Lengths, cover.length.into());
        let diagonal = predictor.diagonal(cover.target.into());
        let step = varint::zigzag(diagonal, cover.old.into());
        self.streams.put(StreamId::RegionOffsets, step);
        predictor.begin_unmapped(cover).map_err(EncodeError::References)
    }

    /// Says literals up to `end`, as many as the frame at hand takes.
    fn literals_in_frame(&mut self, run: &mut Option<CodeRun>, start: u64, end: u64) -> Result {
        let Some(run) = run else { return self.literal_bytes(end) };
        let first = self.position;
        while self.position < end && self.room() >= CodeRun::MAX_UNIT_BYTES && !self.is_full() {
            let place = Place { at: self.position - start, left: end - self.position };
            let mut piece = vec![0; piece_length(self.room().min(place.left))];
            self.target().read_exact_at(&mut piece, self.position)?;
            let said = run.say(&mut self.streams, &piece, place, self.tail);
            piece.truncate(said);
            self.take_piece(&piece);
            self.position += said as u64;
        }
        self.report.literal_bytes += self.position - first;
        self.account(How::Literal, self.position);
        Ok(())
    }

    fn predicted_piece(
        &mut self,
        predictor: &mut Predictor,
        references: &References,
        start: u64,
        piece: &mut Vec<u8>,
    ) -> Result {
        let mut new = vec![0; usize::try_from(predictor.next_piece_bytes()).unwrap_or(0)];
        self.target().read_exact_at(&mut new, self.position)?;
        let mut sites = std::mem::take(&mut self.sites);
        let mut truth = Truth { new: &new, start: self.position - start, sites: &mut sites };
        let made = predictor.next_piece(self.origin(references.origin), &mut truth, piece);
        made?;
        self.streams.raw(StreamId::ResidualGaps).append(&mut sites.gaps);
        self.streams.raw(StreamId::Residuals).append(&mut sites.residuals);
        self.sites = sites;

        new.truncate(piece.len());
        self.add_differences(&new, piece);
        self.report.added_bytes += new.len() as u64;
        self.take_piece(&new);
        self.position += new.len() as u64;
        self.account(How::Added, self.position);
        Ok(())
    }
}

/// What is to be said of the sites of a piece.
#[derive(Debug, Default)]
pub(super) struct SiteLog {
    gaps: Vec<u8>,
    residuals: Vec<u8>,
    /// Sites that were predicted rightly since the last one that was not.
    pub(super) right: u64,
}

/// The new bytes, which know what stands at each site.
struct Truth<'a> {
    new: &'a [u8],
    /// Where they start in the region.
    start: u64,
    sites: &'a mut SiteLog,
}

impl Residuals for Truth<'_> {
    type Error = ReadError;

    fn actual(&mut self, prediction: &Prediction) -> std::result::Result<u64, ReadError> {
        let actual = prediction.found_in(self.new, self.start)?;
        match prediction.residual(actual) {
            0 => self.sites.right += 1,
            residual => {
                varint::put(&mut self.sites.gaps, std::mem::take(&mut self.sites.right));
                varint::put(&mut self.sites.residuals, varint::zigzag(0, residual.cast_unsigned()));
            }
        }
        Ok(actual)
    }
}
