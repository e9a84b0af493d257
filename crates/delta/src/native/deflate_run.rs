//! Applying what concerns compressed members: inflating old ones, making and compressing new ones.

use std::io::{self, Write};
use std::mem;

use super::error::DecodeError;
use super::frame_run::{FrameError, FrameRun, Inflated, Step};
use super::operations::MAX_DEPTH;
use super::streams::StreamId;
use super::stretch::Stretch;
use super::varint;
use super::work::{MAX_INFLATED, TOO_MUCH};
use crate::deflate::{self, Expected, InflateError, RecreateError};
use crate::region::{self, Content, Deflate};

impl FrameRun<'_> {
    /// Inflates a member of an origin; it is an origin then for the region that comes next.
    pub(super) fn open(&mut self) -> Step {
        self.read_origin_number()?;
        let origin = self.state.cursors.current();
        let at = varint::unzigzag(self.state.cursors.end(), self.number(StreamId::Offsets)?);
        let plain_bytes = self.number(StreamId::Lengths)?;
        if self.state.inflated.len() == MAX_INFLATED {
            return Err("too many members are inflated at once".into());
        }
        self.state.work.begin(plain_bytes)?;
        let resident_bytes = plain_bytes.saturating_add(deflate::INFLATE_STATE_BYTES);
        self.state.resident.take(resident_bytes)?;
        self.note_use(origin);
        let max_bytes = self.state.work.left();
        let inflated = deflate::inflate(self.origin(origin)?, at, plain_bytes, max_bytes);
        let (bytes, compressed_bytes) = inflated.map_err(|error| match error {
            InflateError::Read(source) => {
                FrameError::Failed(DecodeError::Origin { origin, source })
            }
            InflateError::TooLong { .. } => TOO_MUCH.into(),
            // The frame is whole, so it is the origin that is not what it was.
            _ => FrameError::Damaged,
        })?;
        self.state.work.go_on(compressed_bytes)?;
        let member = region::Inflated { origin, at, compressed_bytes, plain_bytes };
        self.note(|record| record.open(member))?;
        // Nothing but the bytes stays.
        self.state.resident.give(deflate::INFLATE_STATE_BYTES);
        self.state.cursors.advance(at.wrapping_add(compressed_bytes), self.stretch.position);
        self.state.inflated.push(Inflated { bytes, resident_bytes: plain_bytes });
        self.state.cursors.push();
        Ok(())
    }

    /// Makes a deflate stream: what it holds by operations, then the stream of that.
    pub(super) fn deflate(&mut self) -> Step {
        if self.depth == MAX_DEPTH {
            return Err("members are nested too deeply".into());
        }
        let compressed_bytes = self.length()?;
        let plain_bytes = self.number(StreamId::Lengths)?;
        self.state.work.begin(plain_bytes)?;
        self.state.resident.take(plain_bytes)?;
        let length = usize::try_from(plain_bytes).map_err(|_| "a member is too large")?;
        let start = self.stretch.position;
        self.note(|record| {
            record.begin_deflate();
            Ok(())
        })?;

        let outer = mem::replace(&mut self.stretch, Stretch::in_memory(length));
        let mine = mem::replace(&mut self.first_pending, self.state.inflated.len());
        self.depth += 1;
        self.make_stretch()?;
        self.depth -= 1;
        let plain = mem::replace(&mut self.stretch, outer).into_bytes();
        self.first_pending = mine;
        self.drop_inflated(mine);

        let deflate = self.compress(&plain, compressed_bytes)?;
        self.state.resident.give(plain_bytes);
        let target = start..self.stretch.position;
        self.note(|record| record.end_deflate(target, deflate, mine))
    }

    /// Makes the stream of `plain`, and gives how; of its content nothing is said.
    fn compress(&mut self, plain: &[u8], compressed_bytes: u64) -> Step<Deflate> {
        let count = self.number(StreamId::Lengths)?;
        let resident_bytes =
            count.saturating_add(deflate::recreate_memory_bytes(plain.len() as u64));
        self.state.resident.take(resident_bytes)?;
        let mut corrections = vec![0; usize::try_from(count).unwrap_or(0)];
        self.state.streams.bytes(StreamId::Corrections, self.bytes, &mut corrections)?;
        let max_steps = self.state.work.steps_left();
        let expected = Expected { compressed_bytes, max_steps };
        let mut out = Bounded { run: self, left: compressed_bytes, error: None };
        let made = deflate::recreate(plain, &corrections, &expected, &mut out);
        let (left, failed) = (out.left, out.error);
        let steps = match (failed, made) {
            (Some(error), _) => return Err(error),
            (None, Err(RecreateError::Steps { .. })) => return Err(TOO_MUCH.into()),
            (None, Ok(steps)) if left == 0 => steps,
            // The frame is whole, so it is an origin that is not what it was.
            (None, _) => return Err(FrameError::Damaged),
        };
        self.state.work.take_steps(steps)?;
        self.state.resident.give(resident_bytes);
        let plain_bytes = plain.len() as u64;
        let (inflated, content) = (Vec::new(), Content::default());
        Ok(Deflate { plain_bytes, corrections, steps, inflated, content })
    }

    /// Takes away the inflated origins from number `first` on.
    fn drop_inflated(&mut self, first: usize) {
        let dropped = self.state.inflated.drain(first..).map(|one| one.resident_bytes).sum();
        self.state.resident.give(dropped);
        self.state.cursors.truncate(self.layer_count() + first);
    }
}

/// Passes on as many bytes as a stream is to have, and refuses more.
struct Bounded<'a, 'b> {
    run: &'a mut FrameRun<'b>,
    left: u64,
    error: Option<FrameError>,
}

impl Write for Bounded<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            self.error = Some(FrameError::Damaged);
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.left = left;
        self.run.emit(bytes).map_err(|error| {
            self.error = Some(error);
            io::ErrorKind::Other
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
