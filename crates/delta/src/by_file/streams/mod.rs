//! Matching of files that hold deflate streams, by what the streams hold.
//!
//! A stream that is in the old file too is copied as it is. For any other, what it holds is matched
//! with what its like holds, and it becomes a region, if that is smaller. The rest of the file, headers
//! and directories, is matched as bytes, with those streams cut out on both sides.

mod file;
mod old_streams;
mod pair;
mod region;
mod rest;

pub(super) use pair::{Attempt, StreamPair};

use std::ops::Range;

use super::pairs::read_range;
use crate::block_match::MatchError;
use crate::cover::{Cover, OriginId};
use crate::effort::Effort;
use crate::read_at::{ReadAt, ReadError};
use crate::region::Region;

/// Streams that hold more than this many times what they are in are not matched by what they hold.
const MAX_RATIO: u64 = 16;

/// Old bytes, and where they are.
#[derive(Clone, Copy)]
struct Old<'a> {
    bytes: &'a dyn ReadAt,
    origin: OriginId,
    /// Where they start in the origin.
    at: u64,
}

/// What is not to be exceeded, and how much is to be tried.
#[derive(Clone, Copy)]
struct StreamLimits {
    /// Memory that making a region takes.
    region_bytes: u64,
    /// What a stream holds that is inflated.
    plain_bytes: u64,
    /// The same of one within another.
    inner_bytes: u64,
    /// How much is tried.
    effort: Effort,
}

/// How new bytes are made: covers and regions, both in order, and what they come to.
#[derive(Default)]
struct StreamMatch {
    covers: Vec<Cover>,
    regions: Vec<Region>,
    cost: usize,
}

impl Old<'_> {
    /// A cover of so many bytes of the target, by those from `at` on.
    fn cover(&self, target: u64, length: u64, at: u64) -> Cover {
        Cover { target, length, origin: self.origin, at: self.at + at }
    }

    fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, MatchError> {
        read_range(self.bytes, range).map_err(|source| self.error(source))
    }

    fn error(&self, source: ReadError) -> MatchError {
        MatchError::Origin { origin: self.origin, source }
    }
}

fn of_target(source: ReadError) -> MatchError {
    MatchError::Target { source }
}
