//! How far two ranges of bytes that are read at random are alike.

use crate::read_at::{ReadAt, ReadError};

/// Bytes that are read first; pieces double from there, since most comparisons end early.
const FIRST_PIECE_BYTES: usize = 512;
/// Bytes that are read at once at most.
const PIECE_BYTES_MAX: usize = 128 << 10;

/// Which of the two could not be read.
#[derive(Debug)]
pub(super) enum CompareError {
    Origin(ReadError),
    Target(ReadError),
}

/// Two sides that are compared, from the same pair of buffers each time.
pub(super) struct Comparer {
    origin_bytes: Vec<u8>,
    target_bytes: Vec<u8>,
}

/// A place in an origin and one in the target.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) origin: &'a dyn ReadAt,
    pub(super) at: u64,
    pub(super) target: &'a dyn ReadAt,
    pub(super) target_at: u64,
}

impl Comparer {
    pub(super) fn new() -> Self {
        Self { origin_bytes: vec![0; PIECE_BYTES_MAX], target_bytes: vec![0; PIECE_BYTES_MAX] }
    }

    /// Bytes that are alike from both places on; at most `limit`, which must be there.
    pub(super) fn alike_forwards(
        &mut self,
        places: Places<'_>,
        limit: u64,
    ) -> Result<u64, CompareError> {
        let mut alike = 0;
        let mut piece = FIRST_PIECE_BYTES;
        while alike < limit {
            let length = piece_of(piece, limit - alike);
            let (origin, target) = self.read(places, alike, length)?;
            match first_difference(origin, target) {
                Some(index) => return Ok(alike + index as u64),
                None => alike += length as u64,
            }
            piece = PIECE_BYTES_MAX.min(piece * 2);
        }
        Ok(limit)
    }

    /// Bytes that are alike just before both places; at most `limit`, which must be there.
    pub(super) fn alike_backwards(
        &mut self,
        places: Places<'_>,
        limit: u64,
    ) -> Result<u64, CompareError> {
        let mut alike = 0;
        let mut piece = FIRST_PIECE_BYTES;
        while alike < limit {
            let length = piece_of(piece, limit - alike);
            let back = alike + length as u64;
            let before =
                Places { at: places.at - back, target_at: places.target_at - back, ..places };
            let (origin, target) = self.read(before, 0, length)?;
            match last_difference(origin, target) {
                Some(index) => return Ok(alike + (length - 1 - index) as u64),
                None => alike = back,
            }
            piece = PIECE_BYTES_MAX.min(piece * 2);
        }
        Ok(limit)
    }

    /// Distance from both places to the first run of `run` like bytes within `length`, which must
    /// be there; no more than a piece is looked at.
    pub(super) fn first_run(
        &mut self,
        places: Places<'_>,
        length: u64,
        run: u64,
    ) -> Result<Option<u64>, CompareError> {
        let length = piece_of(PIECE_BYTES_MAX, length);
        let (origin, target) = self.read(places, 0, length)?;
        let mut alike = 0;
        for (distance, (a, b)) in (1_u64..).zip(origin.iter().zip(target)) {
            alike = if a == b { alike + 1 } else { 0 };
            if alike == run {
                return Ok(Some(distance - run));
            }
        }
        Ok(None)
    }

    fn read(
        &mut self,
        places: Places<'_>,
        skip: u64,
        length: usize,
    ) -> Result<(&[u8], &[u8]), CompareError> {
        let origin = &mut self.origin_bytes[..length];
        let target = &mut self.target_bytes[..length];
        places.origin.read_exact_at(origin, places.at + skip).map_err(CompareError::Origin)?;
        places
            .target
            .read_exact_at(target, places.target_at + skip)
            .map_err(CompareError::Target)?;
        Ok((origin, target))
    }
}

fn piece_of(piece: usize, left: u64) -> usize {
    usize::try_from(left).map_or(piece, |left| left.min(piece))
}

/// Slices are compared in blocks of this size, which the machine does at once.
const LANE_BYTES: usize = 64;

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let lanes = a.chunks(LANE_BYTES).zip(b.chunks(LANE_BYTES));
    let lane = lanes.enumerate().find(|(_, (a, b))| a != b);
    lane.and_then(|(lane, (a, b))| {
        let within = a.iter().zip(b).position(|(a, b)| a != b);
        within.map(|within| lane * LANE_BYTES + within)
    })
}

fn last_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let lanes = a.rchunks(LANE_BYTES).zip(b.rchunks(LANE_BYTES));
    let lane = lanes.enumerate().find(|(_, (a, b))| a != b);
    lane.and_then(|(lane, (lane_a, lane_b))| {
        let within = lane_a.iter().zip(lane_b).rposition(|(a, b)| a != b);
        let lane_end = a.len() - lane * LANE_BYTES;
        within.map(|within| lane_end - lane_a.len() + within)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn differences_are_where_a_plain_search_finds_them(
            a in prop::collection::vec(any::<u8>(), 1..400),
            changes in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut b = a.clone();
            for change in changes {
                b[change.index(a.len())] ^= 1;
            }
            let differs = |&index: &usize| a[index] != b[index];
            prop_assert_eq!(first_difference(&a, &b), (0..a.len()).find(differs));
            prop_assert_eq!(last_difference(&a, &b), (0..a.len()).rev().find(differs));
        }
    }
}
