//! Covers for an encoding that cannot say differences: their exact runs become COPY, the rest
//! LITERAL of a librsync delta.
//!
//! Before a run becomes a COPY it is extended over the bytes beside it, whatever covered them: a
//! COPY costs up to 17 bytes and its reader a seek, so few long ones beat many short ones.
//!
//! Where copies are limited, passes before the last find out what runs would save, and the last one writes those
//! that save most.

mod copies;
mod literal_cost;
mod runs;

use std::io::{self, Write};

use crate::cover::Cover;
use crate::kinds::{How, KindMap, KindTotals, Ledger};
use crate::librsync::{DeltaReport, DeltaWriteError, DeltaWriter};
use crate::read_at::{ReadAt, ReadError};

use copies::{Savings, Threshold};
use literal_cost::LiteralCost;
use runs::{Run, Source, piece_length};

/// How covers become copies.
#[derive(Debug, Clone, Copy)]
pub struct ExactOptions {
    /// A run that is shorter than this after extension is left to the literals.
    pub min_copy_bytes: u64,
    /// About so many copies of short runs there may be.
    pub max_copies: u64,
}

impl ExactOptions {
    /// For a layer of so many bytes: as many copies as stock balenaEngine makes in half the time that it
    /// takes to apply a delta of its own (docs/decisions/0003-exact-runs.md).
    pub fn for_layer(target_bytes: u64) -> Self {
        let max_copies = COPIES_OF_ANY_LAYER + (target_bytes >> 20) * COPIES_PER_MIB;
        Self { max_copies, ..Self::default() }
    }
}

const COPIES_OF_ANY_LAYER: u64 = 4000;
const COPIES_PER_MIB: u64 = 150;

impl Default for ExactOptions {
    /// 16 bytes: the literal around a shorter run costs less than the commands that it splits into.
    fn default() -> Self {
        Self { min_copy_bytes: 16, max_copies: u64::MAX }
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
    let source = Source { target, basis };
    let runs = || {
        covers.iter().map(|cover| {
            let at = origin_starts[cover.origin.0 as usize] + cover.at;
            Run { target: cover.target, at, length: cover.length }
        })
    };
    let kinds = KindMap::of(target)?;
    let mut threshold = Threshold::NONE;
    let trials = if options.max_copies < u64::MAX { TRIALS } else { 0 };
    for _ in 0..trials {
        let trial =
            Encoder::new(source, kinds.clone(), options.min_copy_bytes, threshold, io::sink())?;
        let (.., savings) = encode_runs(trial, runs())?;
        threshold = savings.threshold(options.max_copies);
        if threshold == Threshold::NONE {
            break;
        }
    }
    let chosen = Encoder::new(source, kinds, options.min_copy_bytes, threshold, out)?;
    let (out, report, _) = encode_runs(chosen, runs())?;
    Ok((out, report))
}

/// Passes that look for the threshold: what a run saves depends on what else became literals, so the
/// second sees what the first decided.
const TRIALS: usize = 2;

fn encode_runs<W: Write>(
    mut encoder: Encoder<'_, W>,
    runs: impl Iterator<Item = Run>,
) -> Result<(W, ExactReport, Savings), ExactError> {
    for run in runs {
        encoder.cover(run)?;
    }
    encoder.finish()
}

struct Encoder<'a, W> {
    source: Source<'a>,
    min_copy_bytes: u64,
    threshold: Threshold,
    savings: Savings,
    literals: LiteralCost,
    writer: DeltaWriter<W>,
    /// Target bytes that were written.
    position: u64,
    ledger: Ledger<1>,
    /// Bytes of the delta so far.
    spent: u64,
}

/// Literals that are written at a time.
const PIECE_BYTES: usize = 64 << 10;
/// A run from here on is copied whatever it holds, and does not count: balenaEngine, with its blocks of
/// 512 bytes, would have copied it too.
const LONG_RUN_BYTES: u64 = 768;

impl<'a, W: Write> Encoder<'a, W> {
    fn new(
        source: Source<'a>,
        kinds: KindMap,
        min_copy_bytes: u64,
        threshold: Threshold,
        out: W,
    ) -> Result<Self, ExactError> {
        Ok(Self {
            source,
            min_copy_bytes,
            threshold,
            savings: Savings::new(),
            literals: LiteralCost::new(),
            writer: DeltaWriter::new(out)?,
            position: 0,
            ledger: Ledger::new(kinds),
            spent: 0,
        })
    }

    fn finish(mut self) -> Result<(W, ExactReport, Savings), ExactError> {
        self.literal_to(self.source.target.size())?;
        self.ledger.finish_frame([self.spent]);
        let (out, commands) = self.writer.finish()?;
        let report = ExactReport { commands, kinds: self.ledger.finish() };
        Ok((out, report, self.savings))
    }

    /// Copies the exact runs of a cover, as far as it was not written yet.
    fn cover(&mut self, cover: Run) -> Result<(), ExactError> {
        let mut rest = cover;
        loop {
            rest = rest.skip(self.position.saturating_sub(rest.target));
            if rest.length == 0 {
                return Ok(());
            }
            let (equal, different) = self.source.next_run(rest)?;
            let run = Run { length: equal, ..rest };
            rest = rest.skip(equal + different);
            if equal > 0 {
                self.run(run, rest.length == 0 && different == 0)?;
            }
        }
    }

    /// Copies a run if with what is equal around it it is worth it.
    fn run(&mut self, run: Run, may_go_on: bool) -> Result<(), ExactError> {
        let before = self.source.equal_before(run, run.target - self.position)?;
        let after = if may_go_on { self.source.equal_after(run)? } else { 0 };
        let run = Run {
            target: run.target - before,
            at: run.at - before,
            length: before + run.length + after,
        };
        if !self.is_worth_it(run)? {
            return Ok(());
        }
        self.literal_to(run.target)?;
        self.writer.copy(run.at, run.length)?;
        self.position = run.target + run.length;
        self.spent += COPY_COMMAND_BYTES;
        self.ledger.said(How::Copied, self.position, [self.spent]);
        Ok(())
    }

    fn is_worth_it(&mut self, run: Run) -> Result<bool, ReadError> {
        let is_whole = run.target == 0 && run.length == self.source.target.size();
        if is_whole || run.length < self.min_copy_bytes {
            return Ok(is_whole);
        }
        if run.length >= LONG_RUN_BYTES {
            return Ok(true);
        }
        let mut bytes = vec![0; piece_length(run.length, PIECE_BYTES)];
        self.source.target.read_exact_at(&mut bytes, run.target)?;
        let cost = self.literals.of(&bytes);
        self.savings.add(cost);
        Ok(self.threshold.admits(cost))
    }

    fn literal_to(&mut self, end: u64) -> Result<(), ExactError> {
        let mut buffer = Vec::new();
        self.spent += end.saturating_sub(self.position);
        self.ledger.said(How::Literal, end, [self.spent]);
        while self.position < end {
            buffer.resize(piece_length(end - self.position, PIECE_BYTES), 0);
            self.source.target.read_exact_at(&mut buffer, self.position)?;
            self.literals.add(&buffer);
            self.writer.literal(&buffer)?;
            self.position += buffer.len() as u64;
        }
        Ok(())
    }
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
            max_copies in prop_oneof![0u64..10, Just(u64::MAX)],
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
            let options = ExactOptions { min_copy_bytes, max_copies };
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
