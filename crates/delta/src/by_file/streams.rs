//! Matching of files that hold deflate streams, by what the streams hold.
//!
//! A stream that is in the old file too is copied as it is. For any other, what it holds is matched
//! with what its like holds, and it becomes a region, if that is smaller. The rest of the file, headers
//! and directories, is matched as bytes, with those streams cut out on both sides.

use std::ops::Range;

use rayon::prelude::*;

use super::CoverList;
use super::budget::Budget;
use super::old_streams::{OldStreams, list_bytes};
use super::pairs::read_range;
use super::pieces::{Pieces, split_cover};
use super::windows::{window_bytes, windows};
use crate::block_match::MatchError;
use crate::byte_match::cost::{compressed_bytes, estimate_bytes};
use crate::byte_match::{self, match_bytes};
use crate::cover::{Cover, OriginId};
use crate::deflate::{
    AnalyseLimits, InflateError, MAGIC_BYTES, Stream, analyse, find, inflate, may_hold_streams,
};
use crate::effort::Effort;
use crate::read_at::{ReadAt, ReadError};
use crate::references::WindowPair;
use crate::region::{Content, Deflate, Inflated, Region, Transform};

/// A stream that holds more than this many times what it is in is not matched by what it holds.
pub(super) const MAX_RATIO: u64 = 16;
/// Streams within streams are matched to this depth.
const MAX_DEPTH: u32 = 3;
/// What a region costs beside its content: its operations, lengths and offsets.
const REGION_COST: usize = 16;
/// Of what a content costs by itself, so much is saved where it is compressed with all others. Compressed
/// streams have nothing in common.
const SHARED_OF_CONTENT: usize = 4;
/// A region is said within one frame of a delta, which has room for more than this.
const MAX_REGION_COST: usize = 1 << 20;
/// What nothing is like is compressed better by the whole delta's literals than by itself.
const LITERAL_LEVEL: i32 = 15;
/// Of a budget, what regions of a whole file are left.
const KEPT_OF_BUDGET: u64 = 8;
/// Enough of a stream to tell what it starts with.
const HEAD_BYTES: u64 = 1 << 10;
/// What matching takes for each byte that a stream holds: it is taken apart before it is matched.
const BYTES_PER_BYTE: u64 = 8;

/// Old bytes, and where they are.
#[derive(Clone, Copy)]
pub(super) struct Old<'a> {
    pub(super) bytes: &'a dyn ReadAt,
    pub(super) origin: OriginId,
    /// Where they start in the origin.
    pub(super) at: u64,
}

/// What is not to be exceeded, and how much is to be tried.
#[derive(Clone, Copy)]
pub(super) struct StreamLimits {
    /// Memory that making a region takes.
    pub(super) region_bytes: u64,
    /// What a stream holds.
    pub(super) plain_bytes: u64,
    /// How much is tried.
    pub(super) effort: Effort,
}

/// How new bytes are made: covers and regions, both in order, and what they come to.
#[derive(Default)]
pub(super) struct StreamMatch {
    pub(super) covers: Vec<Cover>,
    pub(super) regions: Vec<Region>,
    cost: usize,
}

/// Matches `new` by its streams, one after the other; `None` where it has none that are of use.
pub(super) fn match_streams(
    new: &dyn ReadAt,
    old: Option<Old<'_>>,
    limits: StreamLimits,
) -> Result<Option<StreamMatch>, MatchError> {
    FileMatch { new, old, limits, opened: 0, budget: None }.run()
}

/// The same, of as many streams at once as fit in `memory_bytes`. A stream that never does is matched as any
/// other bytes, and what is no stream in windows.
pub(super) fn match_streams_within(
    memory_bytes: u64,
    new: &dyn ReadAt,
    old: Option<Old<'_>>,
    limits: StreamLimits,
) -> Result<Option<StreamMatch>, MatchError> {
    let file = FileMatch { new, old, limits, opened: 0, budget: None };
    let (streams, old_streams) = file.find()?;
    let lists = list_bytes(&streams) + list_bytes(&old_streams);
    let lists = lists + OldStreams::memory_bytes(&old_streams);
    if lists > memory_bytes / 2 {
        return Ok(None);
    }
    let budget = Budget::new(memory_bytes - lists - memory_bytes / KEPT_OF_BUDGET);
    FileMatch { budget: Some(&budget), ..file }.match_found(&streams, &old_streams)
}

/// Memory that [`match_streams`] takes.
pub(super) fn memory_bytes(old_bytes: u64, new_bytes: u64, limits: &StreamLimits) -> u64 {
    let of_streams = memory_of_streams(limits.plain_bytes, limits.plain_bytes);
    memory_of_files(old_bytes, new_bytes).saturating_add(of_streams)
}

fn memory_of_files(old_bytes: u64, new_bytes: u64) -> u64 {
    let matching = byte_match::memory_bytes(old_bytes, new_bytes);
    matching.saturating_add(old_bytes).saturating_add(new_bytes) + (2 << 20)
}

/// What a stream takes that holds `plain_bytes`, and streams that hold so many.
fn memory_of_streams(plain_bytes: u64, within_bytes: u64) -> u64 {
    let of_inner = within_bytes.saturating_mul(u64::from(MAX_DEPTH) - 1);
    plain_bytes.saturating_add(of_inner).saturating_mul(BYTES_PER_BYTE)
}

#[derive(Clone, Copy)]
struct FileMatch<'a> {
    new: &'a dyn ReadAt,
    old: Option<Old<'a>>,
    limits: StreamLimits,
    /// Streams around this file; as many inflated ones there are at most.
    opened: u32,
    budget: Option<&'a Budget>,
}

/// Where a new stream may come from.
#[derive(Clone, Copy)]
struct Ancestor<'a> {
    /// An old stream of the same bytes.
    same: Option<&'a Stream>,
    /// An old stream of the same name.
    like: Option<&'a Stream>,
}

impl FileMatch<'_> {
    fn run(&self) -> Result<Option<StreamMatch>, MatchError> {
        let (streams, old_streams) = self.find()?;
        self.match_found(&streams, &old_streams)
    }

    /// The streams of the new file, and those of the old one where there are any.
    fn find(&self) -> Result<(Vec<Stream>, Vec<Stream>), MatchError> {
        let streams = find(self.new, self.limits.plain_bytes).map_err(of_target)?;
        let old_streams = match self.old.filter(|_| !streams.is_empty()) {
            Some(old) => find(old.bytes, self.limits.plain_bytes).map_err(|e| old.error(e))?,
            None => Vec::new(),
        };
        Ok((streams, old_streams))
    }

    fn match_found(
        &self,
        streams: &[Stream],
        old_streams: &[Stream],
    ) -> Result<Option<StreamMatch>, MatchError> {
        let ancestors = self.ancestors(streams, old_streams)?;
        let regions = self.regions(streams, &ancestors)?;
        let mut made = StreamMatch::default();
        let (mut made_of, mut used) = (Vec::new(), Vec::new());
        for ((stream, ancestor), region) in streams.iter().zip(ancestors).zip(regions) {
            if let Some((old, same)) = self.old.zip(ancestor.same) {
                let length = stream.range.end - stream.range.start;
                made.covers.push(old.cover(stream.range.start, length, same.range.start));
                used.push(&same.range);
            } else if let Some((region, region_cost)) = region {
                used.extend(ancestor.like.map(|like| &like.range));
                made.regions.push(region);
                made.cost += region_cost;
            } else {
                continue;
            }
            made_of.push(&stream.range);
        }
        if made_of.is_empty() {
            return Ok(None);
        }
        self.match_rest(&made_of, used, &mut made)?;
        Ok(Some(made))
    }

    fn ancestors<'s>(
        &self,
        streams: &[Stream],
        old_streams: &'s [Stream],
    ) -> Result<Vec<Ancestor<'s>>, MatchError> {
        let Some(old) = self.old else {
            return Ok(vec![Ancestor { same: None, like: None }; streams.len()]);
        };
        let index = OldStreams::of(old.bytes, old_streams, streams).map_err(|e| old.error(e))?;
        let ancestor = |stream| {
            let like = index.like(stream);
            let same = index.same(self.new, stream, like).map_err(of_target)?;
            Ok(Ancestor { same, like })
        };
        streams.iter().map(ancestor).collect()
    }

    /// The region of each stream that is not copied, and what it costs.
    fn regions(
        &self,
        streams: &[Stream],
        ancestors: &[Ancestor<'_>],
    ) -> Result<Vec<Option<(Region, usize)>>, MatchError> {
        let region = |(stream, ancestor): (&Stream, &Ancestor<'_>)| match ancestor.same {
            Some(_) => Ok(None),
            None => self.budgeted_region(stream, self.old.zip(ancestor.like)),
        };
        match self.budget {
            Some(_) => streams.par_iter().zip(ancestors).map(region).collect(),
            None => streams.iter().zip(ancestors).map(region).collect(),
        }
    }

    fn budgeted_region(
        &self,
        stream: &Stream,
        old: Option<(Old<'_>, &Stream)>,
    ) -> Result<Option<(Region, usize)>, MatchError> {
        let Some(budget) = self.budget else { return self.region(stream, old) };
        let plain_bytes = stream.plain_bytes.max(old.map_or(0, |(_, like)| like.plain_bytes));
        let ratio = if self.holds_streams(stream)? { MAX_RATIO } else { 0 };
        let within = self.limits.plain_bytes.min(plain_bytes.saturating_mul(ratio));
        let limits = StreamLimits { plain_bytes: within, ..self.limits };
        let of_stream = memory_of_streams(plain_bytes, within);
        let needed = memory_of_files(plain_bytes, plain_bytes).saturating_add(of_stream);
        if !budget.allows(needed) {
            return Ok(None);
        }
        budget.with(needed, || FileMatch { limits, ..*self }.region(stream, old))
    }

    /// Whether what a stream holds starts like what may hold streams.
    fn holds_streams(&self, stream: &Stream) -> Result<bool, MatchError> {
        let head = stream.range.end.min(stream.range.start + HEAD_BYTES);
        let head = read_range(self.new, &(stream.range.start..head)).map_err(of_target)?;
        let mut magic = [0; MAGIC_BYTES];
        let mut inflater = flate2::Decompress::new(false);
        let inflated = inflater.decompress(&head, &mut magic, flate2::FlushDecompress::None);
        // What cannot be told is taken for more.
        let is_told = inflated.is_ok() && inflater.total_out() == MAGIC_BYTES as u64;
        Ok(!is_told || may_hold_streams(magic))
    }

    /// The region of a stream and what it costs, where that is less than without.
    fn region(
        &self,
        stream: &Stream,
        old: Option<(Old<'_>, &Stream)>,
    ) -> Result<Option<(Region, usize)>, MatchError> {
        let old_plain_bytes = old.map_or(0, |(_, old)| old.plain_bytes);
        if stream.plain_bytes.saturating_add(old_plain_bytes) > self.limits.region_bytes {
            return Ok(None);
        }
        let compressed = read_range(self.new, &stream.range).map_err(of_target)?;
        let Ok(plain_bytes) = usize::try_from(stream.plain_bytes) else { return Ok(None) };
        let analysed = analyse(&compressed, &AnalyseLimits { plain_bytes })
            .filter(|analysed| analysed.compressed_bytes == compressed.len());
        let Some(analysed) = analysed else { return Ok(None) };
        let Some(made) = self.content(&analysed.plain, old)? else { return Ok(None) };
        let (content, inflated, content_cost) = made;
        let cost = content_cost + REGION_COST + analysed.corrections.len();
        let unlike = match old {
            Some((old, like)) => unlike_bytes(&compressed, &old.read(&like.range)?),
            None => compressed.len(),
        };
        let deflate = Deflate {
            plain_bytes: analysed.plain.len() as u64,
            corrections: analysed.corrections,
            inflated,
            content,
        };
        let target = stream.range.clone();
        let region = Region { target, transform: Transform::Deflate(deflate) };
        let is_better = cost - content_cost / SHARED_OF_CONTENT < unlike
            && cost <= MAX_REGION_COST
            && region.resident_bytes() <= self.limits.region_bytes;
        Ok(is_better.then_some((region, cost)))
    }

    /// How what a stream holds is made, and what that costs.
    fn content(
        &self,
        plain: &[u8],
        old: Option<(Old<'_>, &Stream)>,
    ) -> Result<Option<MadeContent>, MatchError> {
        let Some((old, like)) = old else { return Ok(Some(literal_content(plain))) };
        let bytes = match inflate(old.bytes, like.range.start, like.plain_bytes) {
            Ok((bytes, _)) => bytes,
            Err(InflateError::Read(error)) => return Err(old.error(error)),
            Err(_) => return Ok(None),
        };
        let inner = Old { bytes: &bytes, origin: OriginId::inflated(self.opened), at: 0 };
        let opened = self.opened + 1;
        let file = FileMatch { new: &plain, old: Some(inner), opened, budget: None, ..*self };
        let matched = if opened < MAX_DEPTH { file.run()? } else { None };
        let matched = matched.or_else(|| as_bytes(&bytes, plain, &inner, self.limits.effort));
        let Some(StreamMatch { covers, regions, cost }) = matched else { return Ok(None) };
        if covers.is_empty() && regions.is_empty() {
            return Ok(Some(literal_content(plain)));
        }
        let at = old.at + like.range.start;
        let inflated = Inflated { origin: old.origin, at, plain_bytes: like.plain_bytes };
        Ok(Some((Content { covers, headers: Vec::new(), regions }, vec![inflated], cost)))
    }

    /// Adds covers of what is not `made_of` streams, by what is not `used`, and what that costs.
    fn match_rest(
        &self,
        made_of: &[&Range<u64>],
        mut used: Vec<&Range<u64>>,
        made: &mut StreamMatch,
    ) -> Result<(), MatchError> {
        let new_rest = Pieces::between(made_of.iter().copied(), self.new.size());
        let Some(old) = self.old else {
            made.cost += usize::try_from(new_rest.length()).unwrap_or(usize::MAX);
            return Ok(());
        };
        used.sort_by_key(|range| range.start);
        let old_rest = Pieces::between(used.into_iter(), old.bytes.size());
        for window in self.rest_windows(old_rest.length(), new_rest.length()) {
            let new_bytes = new_rest.read(self.new, &window.new).map_err(of_target)?;
            let old_bytes =
                old_rest.read(old.bytes, &window.old).map_err(|error| old.error(error))?;
            let found = match_bytes(&old_bytes, &new_bytes, self.limits.effort).unwrap_or_default();
            made.cost += estimate_bytes(&old_bytes, &new_bytes, &found);
            let (new_side, old_side) =
                ((&new_rest, window.new.start), (&old_rest, window.old.start));
            for cover in &found {
                split_cover(cover, new_side, old_side, |new, old_at, length| {
                    made.covers.push(old.cover(new, length, old_at));
                });
            }
        }
        made.covers.sort_by_key(|cover| cover.target);
        let mut list = CoverList::default();
        std::mem::take(&mut made.covers).into_iter().for_each(|cover| list.push(cover));
        made.covers = list.0;
        Ok(())
    }

    /// What of the rests is matched at once: all of it, where the budget allows that.
    fn rest_windows(&self, old_bytes: u64, new_bytes: u64) -> Vec<WindowPair> {
        let (new, old) = (0..new_bytes, 0..old_bytes);
        match self.budget {
            Some(budget) if !budget.allows(byte_match::memory_bytes(old_bytes, new_bytes)) => {
                windows(&new, &old, window_bytes(budget.total())).unwrap_or_default()
            }
            _ => vec![WindowPair { old, new }],
        }
    }
}

/// Content, the streams that are inflated for it, and what it costs.
type MadeContent = (Content, Vec<Inflated>, usize);

/// The content of a stream that nothing is like.
fn literal_content(plain: &[u8]) -> MadeContent {
    (Content::default(), Vec::new(), compressed_bytes(plain, LITERAL_LEVEL))
}

/// The match of what a stream holds, `new`, with the `bytes` of `old`.
fn as_bytes(bytes: &[u8], new: &[u8], old: &Old<'_>, effort: Effort) -> Option<StreamMatch> {
    let found = match_bytes(bytes, new, effort)?;
    let cost = estimate_bytes(bytes, new, &found);
    let cover = |c: &byte_match::ByteCover| old.cover(c.new as u64, c.length as u64, c.old as u64);
    Some(StreamMatch { covers: found.iter().map(cover).collect(), regions: Vec::new(), cost })
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

/// Bytes between the ends of `new` that `old` has too: what a change in the middle leaves to send.
fn unlike_bytes(new: &[u8], old: &[u8]) -> usize {
    let front = new.iter().zip(old).take_while(|(a, b)| a == b).count();
    let (new, old) = (&new[front..], &old[front..]);
    let back = new.iter().rev().zip(old.iter().rev()).take_while(|(a, b)| a == b).count();
    new.len() - back
}
