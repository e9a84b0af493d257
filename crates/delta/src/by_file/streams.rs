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
use super::windows::{MIN_WINDOW_BYTES, window_bytes, windows};
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

/// Streams that hold more than this many times what they are in are not matched by what they hold.
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
/// So many streams are given to the threads before it is asked whether there is room for more regions.
const AT_ONCE: usize = 256;
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

/// A new file and an old one, and the streams in them.
pub(super) struct FoundStreams<'a> {
    file: FileMatch<'a>,
    streams: Vec<Stream>,
    old_streams: Vec<Stream>,
}

impl<'a> FoundStreams<'a> {
    /// Finds the streams of both files.
    pub(super) fn find(
        new: &'a dyn ReadAt,
        old: Option<Old<'a>>,
        limits: StreamLimits,
    ) -> Result<Self, MatchError> {
        let file = FileMatch { new, old, limits, opened: 0, within: None };
        let (streams, old_streams) = file.find()?;
        Ok(Self { file, streams, old_streams })
    }

    /// Memory that [`Self::match_one_by_one`] takes.
    pub(super) fn memory_bytes(&self) -> Result<u64, MatchError> {
        let old_bytes = self.file.old.map_or(0, |old| old.bytes.size());
        let of_files = memory_of_files(old_bytes, self.file.new.size());
        let (plain_bytes, inner_bytes) = self.plain_bytes()?;
        Ok(of_files.saturating_add(memory_of_streams(plain_bytes, inner_bytes)))
    }

    /// The most that a stream holds, and that one in another may hold.
    fn plain_bytes(&self) -> Result<(u64, u64), MatchError> {
        let all = self.streams.iter().chain(&self.old_streams);
        let most = all.map(|stream| stream.plain_bytes).max().unwrap_or(0);
        for stream in &self.streams {
            if self.file.holds_streams(stream)? {
                return Ok((most, self.file.inner_bytes(most)));
            }
        }
        Ok((most, 0))
    }

    /// The match by streams, one after the other; `None` where there are none that are of use.
    pub(super) fn match_one_by_one(&self) -> Result<Option<StreamMatch>, MatchError> {
        let (_, plain_bytes) = self.plain_bytes()?;
        let limits = StreamLimits { plain_bytes, ..self.file.limits };
        FileMatch { limits, ..self.file }.match_found(&self.streams, &self.old_streams)
    }

    /// The same of as many streams at once as fit in `memory_bytes`. A stream that never does is matched as any
    /// other bytes, and what is no stream in windows.
    pub(super) fn match_side_by_side(
        &self,
        memory_bytes: u64,
    ) -> Result<Option<StreamMatch>, MatchError> {
        let lists = list_bytes(&self.streams) + list_bytes(&self.old_streams);
        let lists = lists + OldStreams::memory_bytes(&self.old_streams);
        let region_bytes = memory_bytes / KEPT_OF_BUDGET;
        let left_bytes = memory_bytes.saturating_sub(lists.saturating_add(region_bytes));
        if window_bytes(left_bytes) < MIN_WINDOW_BYTES {
            return Ok(None);
        }
        let within = Within { budget: &Budget::new(left_bytes), region_bytes };
        FileMatch { within: Some(&within), ..self.file }
            .match_found(&self.streams, &self.old_streams)
    }
}

/// The memory for a file whose streams are matched side by side.
struct Within<'a> {
    budget: &'a Budget,
    /// What all regions may take that wait to be encoded.
    region_bytes: u64,
}

fn memory_of_files(old_bytes: u64, new_bytes: u64) -> u64 {
    let matching = byte_match::memory_bytes(old_bytes, new_bytes);
    matching.saturating_add(old_bytes).saturating_add(new_bytes).saturating_add(2 << 20)
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
    within: Option<&'a Within<'a>>,
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
        let old_bytes = self.old.map_or(0, |old| old.bytes.size());
        Ok((no_bombs(streams, self.new.size()), no_bombs(old_streams, old_bytes)))
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
        let Some(within) = self.within else {
            return streams.iter().zip(ancestors).map(region).collect();
        };
        let (mut regions, mut region_bytes) = (Vec::new(), 0);
        // Whether there is room for more does not depend on how many are worked on at once.
        for (streams, ancestors) in streams.chunks(AT_ONCE).zip(ancestors.chunks(AT_ONCE)) {
            if region_bytes > within.region_bytes {
                break;
            }
            let made = streams.par_iter().zip(ancestors).map(region);
            let made = made.collect::<Result<Vec<_>, _>>()?;
            region_bytes +=
                made.iter().flatten().map(|(region, _)| region.own_bytes()).sum::<u64>();
            regions.extend(made);
        }
        regions.resize_with(streams.len(), || None);
        Ok(regions)
    }

    fn budgeted_region(
        &self,
        stream: &Stream,
        old: Option<(Old<'_>, &Stream)>,
    ) -> Result<Option<(Region, usize)>, MatchError> {
        let Some(Within { budget, .. }) = self.within else { return self.region(stream, old) };
        let plain_bytes = stream.plain_bytes.max(old.map_or(0, |(_, like)| like.plain_bytes));
        let inner_bytes =
            if self.holds_streams(stream)? { self.inner_bytes(plain_bytes) } else { 0 };
        let limits = StreamLimits { plain_bytes: inner_bytes, ..self.limits };
        let of_stream = memory_of_streams(plain_bytes, inner_bytes);
        let needed = memory_of_files(plain_bytes, plain_bytes).saturating_add(of_stream);
        if !budget.allows(needed) {
            return Ok(None);
        }
        budget.with(needed, || FileMatch { limits, ..*self }.region(stream, old))
    }

    /// What streams may hold within one that holds so many bytes.
    fn inner_bytes(&self, plain_bytes: u64) -> u64 {
        self.limits.plain_bytes.min(plain_bytes.saturating_mul(MAX_RATIO))
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
        let file = FileMatch { new: &plain, old: Some(inner), opened, within: None, ..*self };
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
        match self.within {
            Some(Within { budget, .. })
                if !budget.allows(byte_match::memory_bytes(old_bytes, new_bytes)) =>
            {
                windows(&new, &old, window_bytes(budget.total())).unwrap_or_default()
            }
            _ => vec![WindowPair { old, new }],
        }
    }
}

/// The first streams of a file of so many bytes that hold no more together than they may.
fn no_bombs(mut streams: Vec<Stream>, file_bytes: u64) -> Vec<Stream> {
    let mut left = file_bytes.saturating_mul(MAX_RATIO);
    streams.retain(|stream| {
        let rest = left.checked_sub(stream.plain_bytes);
        left = rest.unwrap_or(left);
        rest.is_some()
    });
    streams
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_memory_is_enough_for_what_cannot_be_matched() {
        assert_eq!(memory_of_files(1, 1 << 31), u64::MAX);
        assert_eq!(memory_of_streams(u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn of_streams_that_hold_much_the_first_are_kept() {
        let stream = |start: u64, plain_bytes| Stream {
            range: start..start + 10,
            name: Vec::new(),
            plain_bytes,
        };
        let streams = vec![stream(0, 900), stream(20, 800), stream(40, 600)];
        let kept = no_bombs(streams, 100);
        assert_eq!(kept, [stream(0, 900), stream(40, 600)]);
    }
}
