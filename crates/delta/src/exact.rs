//! Covers for an encoding that cannot say differences: their exact runs become COPY, the rest
//! LITERAL of a librsync delta.
//!
//! Before a run becomes a COPY it is extended over the bytes beside it, whatever covered them: a
//! COPY costs up to 17 bytes and its reader a seek, so few long ones beat many short ones.

use std::io::Write;

use crate::cover::Cover;
use crate::kinds::{How, KindMap, KindTotals, Ledger};
use crate::librsync::{DeltaReport, DeltaWriteError, DeltaWriter};
use crate::read_at::{ReadAt, ReadError};

/// How covers become copies.
#[derive(Debug, Clone, Copy)]
pub struct ExactOptions {
    /// A run that is shorter than this after extension is left to the literals.
    pub min_copy_bytes: u64,
}

impl Default for ExactOptions {
    /// 16 bytes: the literal around a shorter run costs less than the commands that it splits into.
    fn default() -> Self {
        Self { min_copy_bytes: 16 }
    }
}

/// What a delta consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactReport {
    /// Its commands.
    pub commands: DeltaReport,
    /// The same by sorts of files. What is stored is not compressed, and copies are estimated.
    pub kinds: Vec<KindTotals>,
}

/// What the command of a copy takes, more or less.
const COPY_COMMAND_BYTES: u64 = 8;

/// Why a delta could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExactError {
    /// The target or the basis could not be read.
    #[error("cannot read what a delta is made of")]
    Read(#[from] ReadError),
    /// The delta could not be written.
    #[error(transparent)]
    Write(#[from] DeltaWriteError),
}

/// Writes the librsync delta of `target` against `basis`, as `covers` say they are alike.
///
/// `covers` are in the order of the target, none overlapping another, their origins numbering
/// `origin_starts`: the offsets in `basis` at which the origins begin.
pub fn encode_exact<W: Write>(
    target: &dyn ReadAt,
    basis: &dyn ReadAt,
    origin_starts: &[u64],
    covers: &[Cover],
    options: &ExactOptions,
    out: W,
) -> Result<(W, ExactReport), ExactError> {
    let writer = DeltaWriter::new(out)?;
    let ledger = Ledger::new(KindMap::of(target)?);
    let mut encoder = Encoder { target, basis, options, writer, position: 0, ledger, spent: 0 };
    for cover in covers {
        let at = origin_starts[cover.origin.0 as usize] + cover.at;
        encoder.cover(Run { target: cover.target, at, length: cover.length })?;
    }
    encoder.literal_to(target.size())?;
    encoder.ledger.finish_frame([encoder.spent]);
    let (out, commands) = encoder.writer.finish()?;
    Ok((out, ExactReport { commands, kinds: encoder.ledger.finish() }))
}

/// A range of the target beside a range of the basis.
#[derive(Clone, Copy)]
struct Run {
    target: u64,
    at: u64,
    length: u64,
}

impl Run {
    fn skip(self, bytes: u64) -> Self {
        let bytes = bytes.min(self.length);
        Self { target: self.target + bytes, at: self.at + bytes, length: self.length - bytes }
    }
}

struct Encoder<'a, W> {
    target: &'a dyn ReadAt,
    basis: &'a dyn ReadAt,
    options: &'a ExactOptions,
    writer: DeltaWriter<W>,
    /// Target bytes that were written.
    position: u64,
    ledger: Ledger<1>,
    /// Bytes of the delta so far.
    spent: u64,
}

/// Bytes that are compared at a time: long runs first, the ends of runs later.
const LARGE_PIECE_BYTES: usize = 64 << 10;
const SMALL_PIECE_BYTES: usize = 256;

impl<W: Write> Encoder<'_, W> {
    /// Copies the exact runs of a cover, as far as it was not written yet.
    fn cover(&mut self, cover: Run) -> Result<(), ExactError> {
        let mut rest = cover;
        loop {
            rest = rest.skip(self.position.saturating_sub(rest.target));
            if rest.length == 0 {
                return Ok(());
            }
            let (equal, different) = self.next_run(rest)?;
            let run = Run { length: equal, ..rest };
            rest = rest.skip(equal + different);
            if equal > 0 {
                self.run(run, rest.length == 0 && different == 0)?;
            }
        }
    }

    /// Copies a run if it is long enough with what is equal around it.
    fn run(&mut self, run: Run, may_go_on: bool) -> Result<(), ExactError> {
        let before = self.equal_before(run)?;
        let after = if may_go_on { self.equal_after(run)? } else { 0 };
        let run = Run {
            target: run.target - before,
            at: run.at - before,
            length: before + run.length + after,
        };
        let reaches_end = run.target + run.length == self.target.size();
        if run.length < self.options.min_copy_bytes && !(reaches_end && run.target == 0) {
            return Ok(());
        }
        self.literal_to(run.target)?;
        self.writer.copy(run.at, run.length)?;
        self.position = run.target + run.length;
        self.spent += COPY_COMMAND_BYTES;
        self.ledger.said(How::Copied, self.position, [self.spent]);
        Ok(())
    }

    fn literal_to(&mut self, end: u64) -> Result<(), ExactError> {
        let mut buffer = Vec::new();
        self.spent += end.saturating_sub(self.position);
        self.ledger.said(How::Literal, end, [self.spent]);
        while self.position < end {
            buffer.resize(piece_length(end - self.position, LARGE_PIECE_BYTES), 0);
            self.target.read_exact_at(&mut buffer, self.position)?;
            self.writer.literal(&buffer)?;
            self.position += buffer.len() as u64;
        }
        Ok(())
    }

    /// How many bytes from the start of `run` are equal, and how many after them are not.
    fn next_run(&self, run: Run) -> Result<(u64, u64), ReadError> {
        let equal = self.count_forward(run, |new, old| new == old)?;
        let different = self.count_forward(run.skip(equal), |new, old| new != old)?;
        Ok((equal, different))
    }

    fn equal_after(&self, run: Run) -> Result<u64, ReadError> {
        let (target, at) = (run.target + run.length, run.at + run.length);
        let length = (self.target.size() - target).min(self.basis.size() - at);
        self.count_forward(Run { target, at, length }, |new, old| new == old)
    }

    fn equal_before(&self, run: Run) -> Result<u64, ReadError> {
        let limit = (run.target - self.position).min(run.at);
        let (mut new, mut old) = ([0; SMALL_PIECE_BYTES], [0; SMALL_PIECE_BYTES]);
        let mut count = 0;
        while count < limit {
            let length = piece_length(limit - count, SMALL_PIECE_BYTES);
            let (new, old) = (&mut new[..length], &mut old[..length]);
            self.target.read_exact_at(new, run.target - count - length as u64)?;
            self.basis.read_exact_at(old, run.at - count - length as u64)?;
            let pairs = new.iter().rev().zip(old.iter().rev());
            let equal = pairs.take_while(|(new, old)| new == old).count();
            count += equal as u64;
            if equal < length {
                break;
            }
        }
        Ok(count)
    }

    /// How many leading pairs of bytes of `run` are as `wanted`. Pieces grow, since most runs are
    /// either a few bytes or a few million.
    fn count_forward(&self, run: Run, wanted: impl Fn(u8, u8) -> bool) -> Result<u64, ReadError> {
        let (mut new, mut old) = (Vec::new(), Vec::new());
        let mut piece = SMALL_PIECE_BYTES;
        let mut count = 0;
        while count < run.length {
            let length = piece_length(run.length - count, piece);
            new.resize(length, 0);
            old.resize(length, 0);
            self.target.read_exact_at(&mut new, run.target + count)?;
            self.basis.read_exact_at(&mut old, run.at + count)?;
            let matching = new.iter().zip(&old).take_while(|(new, old)| wanted(**new, **old));
            let matching = matching.count();
            count += matching as u64;
            if matching < length {
                break;
            }
            piece = (piece * 4).min(LARGE_PIECE_BYTES);
        }
        Ok(count)
    }
}

fn piece_length(bytes: u64, most: usize) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cover::OriginId;
    use crate::librsync::{ApplyLimits, apply};
    use proptest::prelude::*;

    proptest! {
        /// Whatever the covers claim, what comes out is the target.
        #[test]
        fn inexact_covers_still_make_the_target(
            basis in proptest::collection::vec(0u8..2, 1..500),
            target in proptest::collection::vec(0u8..2, 0..500),
            steps in proptest::collection::vec((0u64..40, 1u64..90, any::<u64>()), 0..12),
            min_copy_bytes in 1u64..30,
        ) {
            let mut covers = Vec::new();
            let mut next = 0;
            for (skip, length, at) in steps {
                let (start, at) = (next + skip, at % basis.len() as u64);
                if start >= target.len() as u64 { break; }
                let length = length.min(target.len() as u64 - start).min(basis.len() as u64 - at);
                covers.push(Cover { target: start, length, origin: OriginId(0), at });
                next = start + length;
            }
            let options = ExactOptions { min_copy_bytes };
            let (delta, _) = encode_exact(&target, &basis, &[0], &covers, &options, Vec::new()).unwrap();
            let mut made = Vec::new();
            apply(delta.as_slice(), &basis, &mut made, &ApplyLimits { max_output_bytes: 1000 }).unwrap();
            prop_assert_eq!(made, target);
        }
    }

    #[test]
    fn a_run_grows_over_what_no_cover_claims() {
        let basis: Vec<u8> = (0..=255).cycle().take(1000).map(|b: u8| b.wrapping_mul(31)).collect();
        let target = basis[100..900].to_vec();
        let cover = Cover { target: 300, length: 50, origin: OriginId(0), at: 400 };
        let options = ExactOptions::default();
        let (_, report) =
            encode_exact(&target, &basis, &[0], &[cover], &options, Vec::new()).unwrap();
        let commands = report.commands;
        assert_eq!((commands.copy_commands, commands.copied_bytes), (1, 800));
    }
}
