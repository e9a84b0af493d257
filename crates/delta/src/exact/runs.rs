//! Where target and basis are alike, byte by byte.

use crate::read_at::{ReadAt, ReadError};

/// A range of the target beside a range of the basis.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) target: u64,
    pub(super) at: u64,
    pub(super) length: u64,
}

impl Run {
    pub(super) fn skip(self, bytes: u64) -> Self {
        let bytes = bytes.min(self.length);
        Self { target: self.target + bytes, at: self.at + bytes, length: self.length - bytes }
    }
}

/// What a delta is made of.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) target: &'a dyn ReadAt,
    pub(super) basis: &'a dyn ReadAt,
}

/// Bytes that are compared at a time: long runs first, the ends of runs later.
const LARGE_PIECE_BYTES: usize = 64 << 10;
const SMALL_PIECE_BYTES: usize = 256;

impl Source<'_> {
    /// How many bytes from the start of `run` are equal, and how many after them are not.
    pub(super) fn next_run(&self, run: Run) -> Result<(u64, u64), ReadError> {
        let equal = self.count_forward(run, |new, old| new == old)?;
        let different = self.count_forward(run.skip(equal), |new, old| new != old)?;
        Ok((equal, different))
    }

    /// How many bytes behind a run are equal.
    pub(super) fn equal_after(&self, run: Run) -> Result<u64, ReadError> {
        let (target, at) = (run.target + run.length, run.at + run.length);
        let length = (self.target.size() - target).min(self.basis.size() - at);
        self.count_forward(Run { target, at, length }, |new, old| new == old)
    }

    /// How many bytes before a run are equal, at most so many.
    pub(super) fn equal_before(&self, run: Run, limit: u64) -> Result<u64, ReadError> {
        let limit = limit.min(run.at);
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

/// Bytes as a length of a piece, which is at most so long.
pub(super) fn piece_length(bytes: u64, most: usize) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(most)
}
