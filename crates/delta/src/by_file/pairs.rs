//! Byte-level matching of files with their counterparts, in parallel within the memory budget.

use std::ops::Range;

use rayon::prelude::*;

use super::budget::Budget;
use super::index::FileRef;
use super::large::match_large_executables;
use super::streams::{Attempt, StreamPair};
use super::windows::match_in_windows;
use super::{Aim, Choice, Counterpart, MatchOptions, Sides};
use crate::block_match::MatchError;
use crate::byte_match::{self, ByteCover, match_bytes, match_exact_runs};
use crate::cover::{Cover, OriginId};
use crate::deflate::{MAGIC_BYTES, may_hold_streams};
use crate::read_at::{ReadAt, ReadError};
use crate::references::{self, Plan, RegionCover};
use crate::region::{References, Region, Transform};
use crate::tar_map::Member;

/// An exact run that is shorter costs a copying encoding as much as its bytes do.
const MIN_EXACT_BYTES: usize = 16;

/// A new file, and the old one that it is to be matched with, if there is one.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) new: Range<u64>,
    pub(super) old: Option<FileRef>,
}

impl Pair {
    /// The pair that a choice asks for, if it does.
    pub(super) fn of(sides: &Sides<'_, '_>, member: &Member, choice: &Choice) -> Option<Self> {
        let old = match choice.data {
            Some(Counterpart::Same(_)) => return None,
            Some(Counterpart::Like(old)) if !sides.member(old).data.is_empty() => Some(old),
            _ => None,
        };
        let has_data = member.is_file() && !member.data.is_empty();
        (old.is_some() || has_data).then(|| Self { new: member.data.clone(), old })
    }
}

/// How a new file is made: by covers, and regions of its own; both in order.
#[derive(Default)]
pub(super) struct PairMatch {
    pub(super) covers: Vec<Cover>,
    pub(super) regions: Vec<Region>,
}

/// How each pair matches, in order, in what the lists of files leave of the memory.
pub(super) fn match_all(
    sides: &Sides<'_, '_>,
    pairs: &[Pair],
    options: &MatchOptions,
) -> Result<Vec<PairMatch>, MatchError> {
    let options = &options.beside(sides.memory_bytes());
    let budget = Budget::new(options.memory_bytes);
    let matched = pairs.par_iter().map(|pair| match_pair(sides, pair, options, &budget));
    let matched = matched.collect::<Result<Vec<_>, _>>()?;
    let finish = |(pair, matched): (&Pair, Option<PairMatch>)| match matched {
        Some(found) => Ok(found),
        // Each of these has the budget for itself.
        None => match_alone(sides, pair, options, &budget),
    };
    pairs.iter().zip(matched).map(finish).collect()
}

/// Matches a file that the budget does not allow to be taken apart beside others.
fn match_alone(
    sides: &Sides<'_, '_>,
    pair: &Pair,
    options: &MatchOptions,
    budget: &Budget,
) -> Result<PairMatch, MatchError> {
    if let Some(streams) = stream_pair(sides, pair, options)?
        && let Some(found) = streams.match_alone(sides, options.memory_bytes)?
    {
        return Ok(found);
    }
    if let Some(old) = large_executable(sides, pair, options, budget)? {
        return Ok(match match_large_executables(sides, &pair.new, old, options) {
            Some(found) => found,
            None => plain(match_in_windows(sides, &pair.new, old, options, budget)?),
        });
    }
    match_plain(sides, pair, options, budget)
}

/// The pair, if it is of a file that may hold streams.
fn stream_pair<'a>(
    sides: &Sides<'_, '_>,
    pair: &'a Pair,
    options: &MatchOptions,
) -> Result<Option<StreamPair<'a>>, MatchError> {
    let is_own = pair.old.is_some_and(|old| old.origin == sides.itself());
    // Without regions nothing depends on what kind of file it is.
    if options.region_bytes == 0 || is_own {
        return Ok(None);
    }
    let may_hold = magic(sides.target, &pair.new)?.is_some_and(may_hold_streams);
    Ok(may_hold.then(|| StreamPair::new(sides, pair, options)))
}

/// The old file of an executable that the budget does not allow to be planned at once.
fn large_executable(
    sides: &Sides<'_, '_>,
    pair: &Pair,
    options: &MatchOptions,
    budget: &Budget,
) -> Result<Option<FileRef>, MatchError> {
    let Some(old) = pair.old.filter(|_| options.region_bytes > 0) else { return Ok(None) };
    let needed = references::memory_bytes(length(&sides.member(old).data), length(&pair.new));
    // Of ELF alone: a module of Python that is so large has more objects than are predicted.
    let is_large = !budget.allows(needed) && magic(sides.target, &pair.new)? == Some(*b"\x7fELF");
    Ok(is_large.then_some(old))
}

fn plain(covers: Vec<Cover>) -> PairMatch {
    PairMatch { covers, regions: Vec::new() }
}

/// Matches a file beside others; `None` where it is better done alone.
fn match_pair(
    sides: &Sides<'_, '_>,
    pair: &Pair,
    options: &MatchOptions,
    budget: &Budget,
) -> Result<Option<PairMatch>, MatchError> {
    if let Some(streams) = stream_pair(sides, pair, options)? {
        match streams.match_beside_others(sides, budget)? {
            Attempt::Matched(found) => return Ok(Some(found)),
            Attempt::TooLarge => return Ok(None),
            Attempt::Nothing => {}
        }
    }
    if large_executable(sides, pair, options, budget)?.is_some() {
        return Ok(None);
    }
    match_plain(sides, pair, options, budget).map(Some)
}

/// Matches a file without regard to streams in it.
fn match_plain(
    sides: &Sides<'_, '_>,
    pair: &Pair,
    options: &MatchOptions,
    budget: &Budget,
) -> Result<PairMatch, MatchError> {
    let Some(old) = pair.old else { return Ok(PairMatch::default()) };
    let old_range = &sides.member(old).data;
    let (old_bytes, new_bytes) = (length(old_range), length(&pair.new));
    let with_references = references::memory_bytes(old_bytes, new_bytes);
    let may_be_planned = options.region_bytes > 0 && budget.allows(with_references);
    if may_be_planned && magic(sides.target, &pair.new)?.is_some_and(references::may_refer) {
        return budget.with(with_references, || match_executables(sides, &pair.new, old, options));
    }
    let needed = byte_match::memory_bytes(old_bytes, new_bytes);
    let covers = match budget.allows(needed) {
        true => {
            budget.with(needed, || match_ranges(sides, &pair.new, old.origin, old_range, options))
        }
        false => match_in_windows(sides, &pair.new, old, options, budget),
    };
    Ok(plain(covers?))
}

/// The covers of a range of the target by a range of an origin.
pub(super) fn match_ranges(
    sides: &Sides<'_, '_>,
    new: &Range<u64>,
    origin: u32,
    old: &Range<u64>,
    options: &MatchOptions,
) -> Result<Vec<Cover>, MatchError> {
    let (old_bytes, new_bytes) = read_both(sides, new, origin, old)?;
    let covers = match options.aim {
        Aim::Differences => match_bytes(&old_bytes, &new_bytes, options.effort),
        Aim::ExactRuns => match_exact_runs(&old_bytes, &new_bytes, MIN_EXACT_BYTES),
    };
    Ok(to_covers(covers.unwrap_or_default(), new, origin, old))
}

fn to_covers(
    covers: Vec<ByteCover>,
    new: &Range<u64>,
    origin: u32,
    old: &Range<u64>,
) -> Vec<Cover> {
    let to_cover = |cover: ByteCover| Cover {
        target: new.start + cover.new as u64,
        length: cover.length as u64,
        origin: OriginId(origin),
        at: old.start + cover.old as u64,
    };
    covers.into_iter().map(to_cover).collect()
}

/// Makes a new executable out of an old one: as a region where that is better than covers.
fn match_executables(
    sides: &Sides<'_, '_>,
    new_range: &Range<u64>,
    old_file: FileRef,
    options: &MatchOptions,
) -> Result<PairMatch, MatchError> {
    let old_range = &sides.member(old_file).data;
    let (old, new) = read_both(sides, new_range, old_file.origin, old_range)?;
    let origin = OriginId(old_file.origin);
    let plain = |covers| PairMatch {
        covers: to_covers(covers, new_range, old_file.origin, old_range),
        regions: Vec::new(),
    };
    let plan = references::plan(&old, &new, options.region_bytes, options.effort);
    let region = plan
        .and_then(|plan| executable_region(new_range, origin, old_range.clone(), plan))
        .filter(|region| region.resident_bytes() <= options.region_bytes);
    Ok(match region {
        Some(region) => PairMatch { covers: Vec::new(), regions: vec![region] },
        None => plain(match_bytes(&old, &new, options.effort).unwrap_or_default()),
    })
}

fn read_both(
    sides: &Sides<'_, '_>,
    new: &Range<u64>,
    origin: u32,
    old: &Range<u64>,
) -> Result<(Vec<u8>, Vec<u8>), MatchError> {
    let old = read_range(sides.origin(origin), old)
        .map_err(|source| MatchError::Origin { origin: OriginId(origin), source })?;
    let new = read_range(sides.target, new).map_err(|source| MatchError::Target { source })?;
    Ok((old, new))
}

/// The first bytes of a file that has as many.
pub(super) fn magic(
    target: &dyn ReadAt,
    new: &Range<u64>,
) -> Result<Option<[u8; MAGIC_BYTES]>, MatchError> {
    let mut magic = [0; MAGIC_BYTES];
    if length(new) < magic.len() as u64 {
        return Ok(None);
    }
    let read = target.read_exact_at(&mut magic, new.start);
    read.map(|()| Some(magic)).map_err(|source| MatchError::Target { source })
}

fn executable_region(
    new: &Range<u64>,
    origin: OriginId,
    old: Range<u64>,
    plan: Plan,
) -> Option<Region> {
    let covers = plan.covers.iter().map(RegionCover::of);
    let references = References {
        machine: plan.machine,
        origin,
        old,
        parameters: plan.parameters,
        covers: covers.collect::<Option<_>>()?,
        unmapped: Vec::new(),
    };
    Some(Region { target: new.clone(), transform: Transform::References(references) })
}

pub(super) fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

pub(super) fn read_range(from: &dyn ReadAt, range: &Range<u64>) -> Result<Vec<u8>, ReadError> {
    let offset = range.start;
    let too_long = ReadError::OutOfRange { offset, length: length(range), size: from.size() };
    let mut bytes = vec![0; usize::try_from(length(range)).map_err(|_| too_long)?];
    from.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
