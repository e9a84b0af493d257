//! The streams of a file, each found in the old one or made of its like, within the budget.

use rayon::prelude::*;

use super::old_streams::{OldStreams, list_bytes};
use super::region::MAX_DEPTH;
use super::{MAX_RATIO, Old, StreamLimits, StreamMatch, of_target};
use crate::block_match::MatchError;
use crate::by_file::budget::Budget;
use crate::by_file::windows::window_bytes;
use crate::byte_match;
use crate::deflate::{Stream, find, may_hold_streams_within};
use crate::read_at::ReadAt;
use crate::region::Region;

/// So many streams are given to the threads before it is asked whether there is room for more regions.
const AT_ONCE: usize = 256;
/// Of a budget, what regions of a whole file are left.
const KEPT_OF_BUDGET: u64 = 8;
/// What matching takes for each byte that a stream holds: it is taken apart before it is matched.
const BYTES_PER_BYTE: u64 = 8;

/// A new file and an old one, and the streams in them.
pub(super) struct FoundStreams<'a> {
    file: FileMatch<'a>,
    streams: Vec<Stream>,
    old_streams: Vec<Stream>,
}

/// What [`FoundStreams::match_one_by_one`] takes.
pub(super) struct Needs {
    pub(super) memory_bytes: u64,
    /// What a stream in a stream may hold.
    pub(super) inner_bytes: u64,
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

    /// Whether the new file has none.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// What matching them one after the other takes.
    pub(super) fn needs(&self) -> Result<Needs, MatchError> {
        let all = self.streams.iter().chain(&self.old_streams);
        let held = all.map(|stream| stream.plain_bytes);
        let most = held.filter(|held| *held <= self.file.limits.plain_bytes).max().unwrap_or(0);
        let mut inner_bytes = 0;
        for stream in &self.streams {
            inner_bytes = self.file.inner_bytes(stream, most)?;
            if inner_bytes > 0 {
                break;
            }
        }
        let old_bytes = self.file.old.map_or(0, |old| old.bytes.size());
        let of_files = memory_of_files(old_bytes, self.file.new.size());
        let memory_bytes = of_files.saturating_add(memory_of_streams(most, inner_bytes));
        Ok(Needs { memory_bytes, inner_bytes })
    }

    /// The match by streams, one after the other; `None` where there are none that are of use.
    pub(super) fn match_one_by_one(
        &self,
        inner_bytes: u64,
    ) -> Result<Option<StreamMatch>, MatchError> {
        let limits = StreamLimits { inner_bytes, ..self.file.limits };
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
        let Some(window_bytes) = window_bytes(left_bytes) else { return Ok(None) };
        let within = Within { budget: &Budget::new(left_bytes), window_bytes, region_bytes };
        FileMatch { within: Some(&within), ..self.file }
            .match_found(&self.streams, &self.old_streams)
    }
}

/// The memory for a file whose streams are matched side by side.
pub(super) struct Within<'a> {
    pub(super) budget: &'a Budget,
    /// What of the rest is matched at once, if that is not all of it.
    pub(super) window_bytes: u64,
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

/// A new file, and the old one.
#[derive(Clone, Copy)]
pub(super) struct FileMatch<'a> {
    pub(super) new: &'a dyn ReadAt,
    pub(super) old: Option<Old<'a>>,
    pub(super) limits: StreamLimits,
    /// Streams around this file; as many inflated ones there are at most.
    pub(super) opened: u32,
    /// Where streams are matched side by side.
    pub(super) within: Option<&'a Within<'a>>,
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
    /// How the file is made by its streams; `None` where there are none that are of use.
    pub(super) fn run(&self) -> Result<Option<StreamMatch>, MatchError> {
        let (streams, old_streams) = self.find()?;
        self.match_found(&streams, &old_streams)
    }

    /// The streams of the new file, and those of the old one where there are any.
    fn find(&self) -> Result<(Vec<Stream>, Vec<Stream>), MatchError> {
        let limit = self.limits.plain_bytes;
        let streams = find(self.new, limit).map_err(of_target)?;
        let old_streams = match self.old.filter(|_| !streams.is_empty()) {
            Some(old) => find(old.bytes, limit).map_err(|e| old.error(e))?,
            None => Vec::new(),
        };
        let old_bytes = self.old.map_or(0, |old| old.bytes.size());
        Ok((no_bombs(streams, self.new.size(), limit), no_bombs(old_streams, old_bytes, limit)))
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
        let limit = self.limits.plain_bytes;
        let index = OldStreams::of(old.bytes, old_streams, streams, limit);
        let index = index.map_err(|error| old.error(error))?;
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
            None if self.may_open(stream, ancestor.like) => {
                self.budgeted_region(stream, self.old.zip(ancestor.like))
            }
            _ => Ok(None),
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

    /// Whether neither a stream nor its like holds more than may be inflated.
    fn may_open(&self, stream: &Stream, like: Option<&Stream>) -> bool {
        plain_bytes(stream, like) <= self.limits.plain_bytes
    }

    fn budgeted_region(
        &self,
        stream: &Stream,
        old: Option<(Old<'_>, &Stream)>,
    ) -> Result<Option<(Region, usize)>, MatchError> {
        let Some(Within { budget, .. }) = self.within else { return self.region(stream, old) };
        let plain_bytes = plain_bytes(stream, old.map(|(_, like)| like));
        let inner_bytes = self.inner_bytes(stream, plain_bytes)?;
        let limits = StreamLimits { inner_bytes, ..self.limits };
        let of_stream = memory_of_streams(plain_bytes, inner_bytes);
        let needed = memory_of_files(plain_bytes, plain_bytes).saturating_add(of_stream);
        if !budget.allows(needed) {
            return Ok(None);
        }
        budget.with(needed, || FileMatch { limits, ..*self }.region(stream, old))
    }

    /// What streams may hold within this one, where it or its like holds so many bytes; 0 where there are none.
    fn inner_bytes(&self, stream: &Stream, plain_bytes: u64) -> Result<u64, MatchError> {
        let may_hold = self.may_open(stream, None)
            && may_hold_streams_within(self.new, stream).map_err(of_target)?;
        let most = self.limits.inner_bytes.min(plain_bytes.saturating_mul(MAX_RATIO));
        Ok(if may_hold { most } else { 0 })
    }
}

/// What a stream holds, or its like, if that holds more.
fn plain_bytes(stream: &Stream, like: Option<&Stream>) -> u64 {
    like.map_or(0, |like| like.plain_bytes).max(stream.plain_bytes)
}

/// The streams of a file of so many bytes, of those that hold no more than the limit only the first ones that hold
/// no more together than they may. The others are not opened.
fn no_bombs(mut streams: Vec<Stream>, file_bytes: u64, limit_bytes: u64) -> Vec<Stream> {
    let mut left = file_bytes.saturating_mul(MAX_RATIO);
    streams.retain(|stream| {
        if stream.plain_bytes > limit_bytes {
            return true;
        }
        let rest = left.checked_sub(stream.plain_bytes);
        left = rest.unwrap_or(left);
        rest.is_some()
    });
    streams
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
        // The last one is too large to be opened at all.
        let streams = vec![stream(0, 900), stream(20, 800), stream(40, 600), stream(60, 2000)];
        let kept = no_bombs(streams, 100, 1000);
        assert_eq!(kept, [stream(0, 900), stream(40, 600), stream(60, 2000)]);
    }
}
