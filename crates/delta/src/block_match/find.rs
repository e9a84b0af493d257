//! From candidates to covers: verified, extended to the byte, the best one taken.

use std::ops::Range;

use super::compare::{CompareError, Comparer, Places};
use super::table::Entry;
use super::windows::Windows;
use super::{BlockIndex, MatchError};
use crate::cover::{Cover, OriginId};
use crate::read_at::{ReadAt, ReadError};

/// How far candidates are compared to choose among them.
const CHOICE_BYTES: u64 = 4 << 10;
/// After a cover, how far its continuation behind a difference is looked for.
const RESUME_WINDOW_BYTES: u64 = 1 << 10;
/// The shortest continuation that is worth a cover of its own.
const RESUME_BYTES_MIN: u64 = 32;
/// Bytes that are compared in vain for each byte of the target, at most, on the average: it is
/// what keeps inputs that were made to collide from costing a block for each byte.
const VAIN_BYTES_PER_TARGET_BYTE: u64 = 16;
/// Bytes that may be compared in vain at once.
const VAIN_BYTES_AT_ONCE: u64 = 4 << 20;

/// A search for covers of a range of the target.
pub(super) struct Finder<'a> {
    index: &'a BlockIndex<'a>,
    target: &'a dyn ReadAt,
    end: u64,
    windows: Windows<'a>,
    comparer: Comparer,
    previous: Option<Cover>,
    /// Everything before is covered, or will not be.
    covered_to: u64,
    vain_credit_bytes: u64,
    /// How far credit was given.
    credited_to: u64,
}

impl<'a> Finder<'a> {
    pub(super) fn new(
        index: &'a BlockIndex<'a>,
        target: &'a dyn ReadAt,
        range: Range<u64>,
    ) -> Self {
        let block_size = usize::try_from(index.block_size_bytes()).unwrap_or(usize::MAX);
        Self {
            index,
            target,
            end: range.end,
            windows: Windows::new(target, range.clone(), block_size),
            comparer: Comparer::new(),
            previous: None,
            covered_to: range.start,
            vain_credit_bytes: VAIN_BYTES_AT_ONCE,
            credited_to: range.start,
        }
    }

    /// The next cover in the order of the target.
    pub(super) fn next_cover(&mut self) -> Result<Option<Cover>, MatchError> {
        let Some(found) = self.find()? else {
            return Ok(None);
        };
        self.previous = Some(found);
        self.covered_to = found.target_end();
        self.windows.seek(self.covered_to);
        Ok(Some(found))
    }

    /// A block right here, else the next one ahead, unless the previous cover goes on before that,
    /// behind a small difference.
    fn find(&mut self) -> Result<Option<Cover>, MatchError> {
        let table = &self.index.table;
        let here = self.windows.candidates_here(table).map_err(target_error)?;
        if let Some(cover) = self.best_of(here)? {
            return Ok(Some(cover));
        }
        let resumed = self.resume()?;
        let until = resumed.map_or(self.end, |(.., position)| position);
        while let Some(ahead) = self.windows.next_candidates(table, until).map_err(target_error)? {
            if let Some(cover) = self.best_of(ahead)? {
                return Ok(Some(cover));
            }
        }
        resumed.map(|(origin, at, position)| self.extend(origin, at, position)).transpose()
    }

    /// The cover that goes furthest from the window; among equals the one that goes on where the
    /// previous one ended, which costs least to say, or the first.
    fn best_of(&mut self, candidates: &[Entry]) -> Result<Option<Cover>, MatchError> {
        if candidates.is_empty() {
            return Ok(None);
        }
        let position = self.windows.position();
        let mut best: Option<(u64, usize, u64)> = None;
        let blocks = candidates.iter().map(|entry| self.index.blocks.place_of(entry.block));
        for (origin, at) in self.continuation(position).into_iter().chain(blocks) {
            let alike = self.verify(origin, at, position)?;
            if alike > best.map_or(0, |(alike, ..)| alike) {
                best = Some((alike, origin, at));
            }
        }
        match best {
            Some((_, origin, at)) => self.extend(origin, at, position).map(Some),
            None => Ok(None),
        }
    }

    /// Origin and offset where the previous cover would be at `position`, had it gone on.
    fn continuation(&self, position: u64) -> Option<(usize, u64)> {
        let previous = self.previous?;
        let at = previous.at.checked_add(position - previous.target)?;
        let origin = usize::try_from(previous.origin.0).ok()?;
        (at < self.index.origins[origin].size()).then_some((origin, at))
    }

    /// Bytes that are alike from here on, up to what is needed for a choice; 0 where it is less
    /// than a block, or too much was compared in vain before.
    fn verify(&mut self, origin: usize, at: u64, position: u64) -> Result<u64, MatchError> {
        let earned = (position - self.credited_to.min(position)) * VAIN_BYTES_PER_TARGET_BYTE;
        self.vain_credit_bytes = VAIN_BYTES_AT_ONCE.min(self.vain_credit_bytes + earned);
        self.credited_to = self.credited_to.max(position);
        let block_size = u64::from(self.index.block_size_bytes());
        let limit = self.limit_forwards(origin, at, position);
        if limit < block_size || self.vain_credit_bytes < block_size {
            return Ok(0);
        }
        let choice = limit.min(CHOICE_BYTES.max(block_size));
        let alike = self.alike_forwards(origin, at, position, choice)?;
        if alike < block_size {
            self.vain_credit_bytes -= block_size;
            return Ok(0);
        }
        Ok(alike)
    }

    /// A whole cover around a place where bytes are alike.
    fn extend(&mut self, origin: usize, at: u64, position: u64) -> Result<Cover, MatchError> {
        let limit = self.limit_forwards(origin, at, position);
        let forwards = self.alike_forwards(origin, at, position, limit)?;
        let places = self.places(origin, at, position);
        let limit = at.min(position - self.covered_to);
        let backwards = self.comparer.alike_backwards(places, limit);
        let backwards = backwards.map_err(|error| compare_error(origin, error))?;
        Ok(Cover {
            target: position - backwards,
            length: backwards + forwards,
            origin: origin_id(origin),
            at: at - backwards,
        })
    }

    /// Origin, offset and position of the previous cover's continuation, where only a few bytes
    /// differ: a version, a time.
    fn resume(&mut self) -> Result<Option<(usize, u64, u64)>, MatchError> {
        let position = self.covered_to;
        let Some((origin, at)) = self.continuation(position) else {
            return Ok(None);
        };
        let length = self.limit_forwards(origin, at, position).min(RESUME_WINDOW_BYTES);
        let places = self.places(origin, at, position);
        let run = self.comparer.first_run(places, length, RESUME_BYTES_MIN);
        let distance = run.map_err(|error| compare_error(origin, error))?;
        Ok(distance.map(|distance| (origin, at + distance, position + distance)))
    }

    fn alike_forwards(
        &mut self,
        origin: usize,
        at: u64,
        position: u64,
        limit: u64,
    ) -> Result<u64, MatchError> {
        let places = self.places(origin, at, position);
        let alike = self.comparer.alike_forwards(places, limit);
        alike.map_err(|error| compare_error(origin, error))
    }

    /// Bytes that there are from both places on.
    fn limit_forwards(&self, origin: usize, at: u64, position: u64) -> u64 {
        let origin_left = self.index.origins[origin].size().saturating_sub(at);
        origin_left.min(self.end.saturating_sub(position))
    }

    fn places(&self, origin: usize, at: u64, target_at: u64) -> Places<'a> {
        let origin = self.index.origins[origin];
        Places { origin, at, target: self.target, target_at }
    }
}

fn origin_id(origin: usize) -> OriginId {
    // An index was built, so there are no more origins than 32 bits can number.
    OriginId(u32::try_from(origin).unwrap_or(u32::MAX))
}

fn target_error(source: ReadError) -> MatchError {
    MatchError::Target { source }
}

fn compare_error(origin: usize, error: CompareError) -> MatchError {
    match error {
        CompareError::Origin(source) => MatchError::Origin { origin: origin_id(origin), source },
        CompareError::Target(source) => MatchError::Target { source },
    }
}
