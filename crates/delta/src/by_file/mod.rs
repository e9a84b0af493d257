//! Matching by file: which file of the old layers each file of a new layer came from.
//!
//! Identical contents are found by hash and never reach the byte matcher; what has a counterpart by
//! path, by name or by a sketch of its contents is matched with it byte by byte; what is left, and what does not fit the memory
//! budget, goes to the block matcher over all origins. The result is one list of covers.

mod budget;
mod index;
mod large;
mod large_regions;
mod likeness;
mod names;
mod pairs;
mod sides;
mod sketch;
mod streams;
mod table;
mod windows;

pub use index::FileIndex;

use std::ops::Range;

use crate::block_match::MatchError;
use crate::cover::{Cover, OriginId};
use crate::effort::Effort;
use crate::read_at::ReadAt;
use crate::region::{Content, Region};
use crate::tar_map::{BLOCK_BYTES, Member, TarMap, align};
use index::FileRef;
use pairs::{Pair, PairMatch};
use sides::Sides;

/// How a layer is to be matched.
#[derive(Debug, Clone, Copy)]
pub struct MatchOptions {
    /// Memory that all matching at once may use, in bytes.
    pub memory_bytes: u64,
    /// What the covers are for.
    pub aim: Aim,
    /// How much is tried.
    pub effort: Effort,
    /// Memory that making one region may take on the device, in bytes: what takes more is matched
    /// without a transform. 0 where the encoding has none.
    pub region_bytes: u64,
    /// The same for what is inflated, where the windows of the compression are better made smaller than
    /// the region left out.
    pub largest_region_bytes: u64,
}

impl MatchOptions {
    /// Beside what takes so much memory; lists of files without end are not to take all of it.
    fn beside(&self, bytes: u64) -> Self {
        let memory_bytes = self.memory_bytes.saturating_sub(bytes).max(self.memory_bytes / 2);
        Self { memory_bytes, ..*self }
    }

    fn without_large_regions(&self) -> Self {
        Self { largest_region_bytes: self.region_bytes, ..*self }
    }
}

/// What covers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// An encoding that sends differences: a cover may hold any number of them.
    Differences,
    /// An encoding that copies exact runs alone: covers are such runs, wherever they come from.
    ExactRuns,
}

/// Matches one new layer against the files of `index`, and against its own: the origin that comes after
/// those of the index is the layer itself, of which only what lies before is named.
///
/// Fails only where the target or an origin cannot be read.
pub fn match_layer(
    target: &dyn ReadAt,
    index: &FileIndex<'_>,
    options: &MatchOptions,
) -> Result<Content, MatchError> {
    let (map, choices) = choose(target, index, options)?;
    let sides = Sides { target, map: &map, index };
    let pairs: Vec<Pair> = (map.members.iter().zip(&choices))
        .filter_map(|(member, choice)| Pair::of(&sides, member, choice))
        .collect();
    let matched = pairs::match_all(&sides, &pairs, options)?;
    let matched = large_regions::keep_if_worthwhile(&sides, &pairs, matched, options)?;
    let mut matched = matched.into_iter();

    let mut covers = CoverList::default();
    let mut regions = Vec::new();
    for (member, choice) in map.members.iter().zip(&choices) {
        if let Some(header) = choice.header {
            covers.push(header_cover(&sides, member, header));
        }
        match choice.data {
            Some(Counterpart::Same(file)) => {
                covers.push(same_data_cover(&sides, member, file));
            }
            _ if Pair::of(&sides, member, choice).is_some() => {
                let PairMatch { covers: found, regions: made } = matched.next().unwrap_or_default();
                found.into_iter().for_each(|cover| covers.push(cover));
                regions.extend(made);
            }
            _ => {}
        }
    }
    if let Some(tail) = tail_cover(&sides, &choices) {
        covers.push(tail);
    }
    let covers = fill_gaps(&sides, covers.0, &regions, options)?;
    let headers = map.members.iter().map(|member| member.header).collect();
    Ok(Content { covers, headers, regions })
}

/// How one file of a layer is made.
#[derive(Debug)]
pub struct MatchedFile {
    /// Where its contents are in the layer.
    pub data: Range<u64>,
    /// Covers of them, in order.
    pub covers: Vec<Cover>,
    /// Regions of them, in order.
    pub regions: Vec<Region>,
}

/// Matches the files of a new layer that have bytes in one of the `wanted` ranges, which are in order and
/// do not overlap, against those of `index`.
pub fn match_files(
    target: &dyn ReadAt,
    index: &FileIndex<'_>,
    wanted: &[Range<u64>],
    options: &MatchOptions,
) -> Result<Vec<MatchedFile>, MatchError> {
    let options = &options.without_large_regions();
    let (map, choices) = choose(target, index, options)?;
    let sides = Sides { target, map: &map, index };
    let is_wanted = |member: &Member| {
        let next = wanted.partition_point(|range| range.end <= member.data.start);
        wanted.get(next).is_some_and(|range| range.start < member.data.end)
    };
    let (mut files, mut pairs, mut paired) = (Vec::new(), Vec::new(), Vec::new());
    for (member, choice) in map.members.iter().zip(&choices).filter(|(m, _)| is_wanted(m)) {
        let mut file =
            MatchedFile { data: member.data.clone(), covers: Vec::new(), regions: Vec::new() };
        if let Some(Counterpart::Same(old)) = choice.data {
            let cover = same_data_cover(&sides, member, old);
            file.covers
                .push(Cover { length: cover.length.min(pairs::length(&file.data)), ..cover });
        } else if let Some(pair) = Pair::of(&sides, member, choice) {
            paired.push(files.len());
            pairs.push(pair);
        }
        files.push(file);
    }
    let matched = pairs::match_all(&sides, &pairs, options)?;
    for (number, PairMatch { covers, regions }) in paired.into_iter().zip(matched) {
        (files[number].covers, files[number].regions) = (covers, regions);
    }
    Ok(files)
}

/// Where a member of the target came from.
#[derive(Debug, Clone, Copy, Default)]
struct Choice {
    /// The old member whose header is most like this one's.
    header: Option<FileRef>,
    /// The old member whose contents are.
    data: Option<Counterpart>,
}

/// An old file for the contents of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counterpart {
    /// The contents are equal.
    Same(FileRef),
    /// The path or the name is.
    Like(FileRef),
}

/// Where each member of a new layer came from.
fn choose(
    target: &dyn ReadAt,
    index: &FileIndex<'_>,
    options: &MatchOptions,
) -> Result<(TarMap, Vec<Choice>), MatchError> {
    let map = TarMap::of(target).map_err(|source| MatchError::Target { source })?;
    let mut choices = index.choose_counterparts(target, &map)?;
    likeness::improve(&Sides { target, map: &map, index }, &mut choices, options)?;
    Ok((map, choices))
}

/// Covers in order; one that continues the last one becomes part of it.
#[derive(Default)]
struct CoverList(Vec<Cover>);

impl CoverList {
    fn push(&mut self, cover: Cover) {
        if cover.length == 0 {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.is_continued_by(&cover) => last.length += cover.length,
            _ => self.0.push(cover),
        }
    }
}

fn header_cover(sides: &Sides<'_, '_>, member: &Member, old: FileRef) -> Cover {
    let old_member = sides.member(old);
    let length = member.data.start - member.header;
    let length = length.min(old_member.data.start - old_member.header);
    Cover { target: member.header, length, origin: OriginId(old.origin), at: old_member.header }
}

/// Equal contents, and the padding after them where both have it: a tar may end without.
fn same_data_cover(sides: &Sides<'_, '_>, member: &Member, old: FileRef) -> Cover {
    let old_data = &sides.member(old).data;
    let data_length = member.data.end - member.data.start;
    let padded = align(member.data.end) - member.data.start;
    let fits = old_data.start.is_multiple_of(BLOCK_BYTES)
        && member.data.start.is_multiple_of(BLOCK_BYTES)
        && member.end() <= sides.target.size()
        && old_data.start + padded <= sides.origin(old.origin).size();
    let length = if fits { padded } else { data_length };
    Cover { target: member.data.start, length, origin: OriginId(old.origin), at: old_data.start }
}

/// The end-of-archive blocks, from the origin that served last.
fn tail_cover(sides: &Sides<'_, '_>, choices: &[Choice]) -> Option<Cover> {
    let origin = choices.iter().rev().find_map(|choice| choice.header)?.origin;
    let (target, at) = (sides.map.tail, sides.map_of(origin).tail);
    let length = (sides.target.size() - target).min(sides.origin(origin).size() - at);
    // A tail that is longer than the blocking of an archive is something else, for the gap filler.
    let is_plain = length <= 64 * BLOCK_BYTES;
    is_plain.then_some(Cover { target, length, origin: OriginId(origin), at })
}

/// Gaps that are shorter than this are not looked for elsewhere.
const MIN_GAP_BYTES: u64 = 512;

/// Looks for the bytes that no counterpart covers in all origins, by blocks.
fn fill_gaps(
    sides: &Sides<'_, '_>,
    covers: Vec<Cover>,
    regions: &[Region],
    options: &MatchOptions,
) -> Result<Vec<Cover>, MatchError> {
    let gaps = gaps_between(&covers, regions, sides.target.size());
    if gaps.is_empty() {
        return Ok(covers);
    }
    let Some(blocks) = sides.index.blocks(options.memory_bytes / 4)? else { return Ok(covers) };
    let mut all = covers;
    for gap in gaps {
        blocks.find_covers(sides.target, gap, &mut |cover| all.push(cover))?;
    }
    all.sort_by_key(|cover| cover.target);
    let mut list = CoverList::default();
    all.into_iter().for_each(|cover| list.push(cover));
    Ok(list.0)
}

/// What neither a cover nor a region makes.
fn gaps_between(covers: &[Cover], regions: &[Region], size: u64) -> Vec<Range<u64>> {
    let covered = covers.iter().map(|cover| cover.target..cover.target_end());
    let mut made: Vec<_> =
        covered.chain(regions.iter().map(|region| region.target.clone())).collect();
    made.sort_by_key(|range| range.start);
    let starts = std::iter::once(0).chain(made.iter().map(|range| range.end));
    let ends = made.iter().map(|range| range.start).chain([size]);
    let gaps = starts.zip(ends).filter(|(start, end)| end.saturating_sub(*start) >= MIN_GAP_BYTES);
    gaps.map(|(start, end)| start..end).collect()
}
