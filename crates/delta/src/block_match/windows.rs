//! Windows of a block's size over the target, moved byte by byte until one may be a known block.

use std::ops::Range;

use super::rolling::RollingHash;
use super::table::{BlockTable, Entry};
use crate::read_at::{ReadAt, ReadError};

/// Bytes of the target that are read at once, besides a block.
const READ_BYTES: usize = 256 << 10;

/// The window, and the piece of the target around it.
pub(super) struct Windows<'a> {
    target: &'a dyn ReadAt,
    end: u64,
    block_size: usize,
    /// Target bytes from `buffer_at` on.
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Where the window starts in the buffer.
    start: usize,
    hash: Option<RollingHash>,
}

impl<'a> Windows<'a> {
    pub(super) fn new(target: &'a dyn ReadAt, range: Range<u64>, block_size: usize) -> Self {
        Self {
            target,
            end: range.end,
            block_size,
            buffer: Vec::new(),
            buffer_at: range.start,
            start: 0,
            hash: None,
        }
    }

    /// Offset of the window in the target.
    pub(super) fn position(&self) -> u64 {
        self.buffer_at + self.start as u64
    }

    /// Moves the window to `position`, which is not before where it is.
    pub(super) fn seek(&mut self, position: u64) {
        let ahead = usize::try_from(position - self.buffer_at);
        match ahead {
            Ok(start) if start <= self.buffer.len() => self.start = start,
            _ => {
                self.buffer.clear();
                self.buffer_at = position;
                self.start = 0;
            }
        }
        self.hash = None;
    }

    /// The blocks that may be like the window where it is.
    pub(super) fn candidates_here<'t>(
        &mut self,
        table: &'t BlockTable,
    ) -> Result<&'t [Entry], ReadError> {
        if !self.has_window()? {
            return Ok(&[]);
        }
        let spread = self.hash_here().spread();
        Ok(match table.may_have(spread) {
            true => table.candidates(spread),
            false => &[],
        })
    }

    /// Moves the window by at least one byte, to the next place before `until` where a block may be
    /// like it.
    pub(super) fn next_candidates<'t>(
        &mut self,
        table: &'t BlockTable,
        until: u64,
    ) -> Result<Option<&'t [Entry]>, ReadError> {
        while self.position() + 1 < until && self.has_next()? {
            let steps = until - self.position() - 1;
            if let Some(spread) = self.roll_to_hit(table, steps) {
                let candidates = table.candidates(spread);
                if !candidates.is_empty() {
                    return Ok(Some(candidates));
                }
            }
        }
        Ok(None)
    }

    /// Rolls on within the buffer, and no more than `steps`, until the filter lets a hash through.
    fn roll_to_hit(&mut self, table: &BlockTable, steps: u64) -> Option<u64> {
        let mut hash = self.hash_here();
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        let leaving = &self.buffer[self.start..];
        let entering = &self.buffer[self.start + self.block_size..];
        let mut rolled = 0;
        let mut hit = None;
        for (&leaving, &entering) in leaving.iter().zip(entering).take(steps) {
            hash.rotate(leaving, entering);
            rolled += 1;
            let spread = hash.spread();
            if table.may_have(spread) {
                hit = Some(spread);
                break;
            }
        }
        self.start += rolled;
        self.hash = Some(hash);
        hit
    }

    fn hash_here(&mut self) -> RollingHash {
        let window = &self.buffer[self.start..self.start + self.block_size];
        *self.hash.get_or_insert_with(|| RollingHash::of(window))
    }

    fn has_window(&mut self) -> Result<bool, ReadError> {
        self.buffer_ahead(self.block_size)
    }

    fn has_next(&mut self) -> Result<bool, ReadError> {
        self.buffer_ahead(self.block_size + 1)
    }

    /// Sees to it that `length` bytes from the window's start on are buffered; false at the end.
    fn buffer_ahead(&mut self, length: usize) -> Result<bool, ReadError> {
        if self.buffer.len() - self.start >= length {
            return Ok(true);
        }
        let position = self.position();
        if self.end.saturating_sub(position) < length as u64 {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        (self.buffer_at, self.start) = (position, 0);
        let kept = self.buffer.len();
        let left = self.end - position - kept as u64;
        let wanted = (self.block_size + READ_BYTES).max(length) - kept;
        let more = usize::try_from(left).map_or(wanted, |left| left.min(wanted));
        self.buffer.resize(kept + more, 0);
        self.target.read_exact_at(&mut self.buffer[kept..], position + kept as u64)?;
        Ok(true)
    }
}
