//! Byte-level matching of files with their counterparts, in parallel within the memory budget.

use std::ops::Range;

use rayon::prelude::*;

use super::budget::Budget;
use super::index::{FileIndex, FileRef};
use super::{Aim, Choice, Counterpart, MatchOptions};
use crate::block_match::MatchError;
use crate::byte_match::{self, match_bytes, match_exact_runs};
use crate::cover::{Cover, OriginId};
use crate::read_at::{ReadAt, ReadError};
use crate::tar_map::Member;

/// An exact run that is shorter costs a copying encoding as much as its bytes do.
const MIN_EXACT_BYTES: usize = 16;

/// A new file and the old one that it is to be matched with.
pub(super) struct Pair {
    new: Range<u64>,
    old: FileRef,
}

impl Pair {
    /// The pair that a choice asks for, if it does.
    pub(super) fn of(index: &FileIndex<'_>, member: &Member, choice: &Choice) -> Option<Self> {
        match choice.data {
            Some(Counterpart::Like(old)) if !index.member(old).data.is_empty() => {
                Some(Self { new: member.data.clone(), old })
            }
            _ => None,
        }
    }
}

/// The covers of each pair, in order. A pair that the budget does not allow has none.
pub(super) fn match_all(
    target: &dyn ReadAt,
    index: &FileIndex<'_>,
    pairs: &[Pair],
    options: &MatchOptions,
) -> Result<Vec<Vec<Cover>>, MatchError> {
    let budget = Budget::new(options.memory_bytes);
    pairs.par_iter().map(|pair| match_pair(target, index, pair, options, &budget)).collect()
}

fn match_pair(
    target: &dyn ReadAt,
    index: &FileIndex<'_>,
    pair: &Pair,
    options: &MatchOptions,
    budget: &Budget,
) -> Result<Vec<Cover>, MatchError> {
    let old_range = &index.member(pair.old).data;
    let (old_bytes, new_bytes) = (length(old_range), length(&pair.new));
    let needed = byte_match::memory_bytes(old_bytes, new_bytes);
    if old_bytes > byte_match::MAX_OLD_BYTES || !budget.allows(needed) {
        return Ok(Vec::new());
    }
    budget.with(needed, || {
        let origin = OriginId(pair.old.origin);
        let old = read_range(index.origin(origin.0), old_range)
            .map_err(|source| MatchError::Origin { origin, source })?;
        let new = read_range(target, &pair.new).map_err(|source| MatchError::Target { source })?;
        let covers = match options.aim {
            Aim::Differences => match_bytes(&old, &new),
            Aim::ExactRuns => match_exact_runs(&old, &new, MIN_EXACT_BYTES),
        };
        let to_cover = |cover: byte_match::ByteCover| Cover {
            target: pair.new.start + cover.new as u64,
            length: cover.length as u64,
            origin,
            at: old_range.start + cover.old as u64,
        };
        Ok(covers.into_iter().flatten().map(to_cover).collect())
    })
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

fn read_range(from: &dyn ReadAt, range: &Range<u64>) -> Result<Vec<u8>, ReadError> {
    let offset = range.start;
    let too_long = ReadError::OutOfRange { offset, length: length(range), size: from.size() };
    let mut bytes = vec![0; usize::try_from(length(range)).map_err(|_| too_long)?];
    from.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
