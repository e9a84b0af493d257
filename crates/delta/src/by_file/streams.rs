//! Matching of files that hold deflate streams, by what the streams hold.
//!
//! A stream that is in the old file too is copied as it is. For any other, what it holds is matched
//! with what its like holds, and it becomes a region, if that is smaller. The rest of the file, headers
//! and directories, is matched as bytes, with those streams cut out on both sides.

use std::collections::HashMap;
use std::ops::Range;

use super::CoverList;
use super::names::without_versions;
use crate::byte_match::cost::{compressed_bytes, estimate_bytes};
use crate::byte_match::{ByteCover, match_bytes};
use crate::cover::{Cover, OriginId};
use crate::deflate::{AnalyseLimits, Stream, analyse, find, inflate};
use crate::effort::Effort;
use crate::region::{Content, Deflate, Inflated, Region, Transform};

/// Streams within streams are matched to this depth.
const MAX_DEPTH: u32 = 3;
/// What a region costs beside its content: its operations, lengths and offsets.
const REGION_COST: usize = 16;
/// A region is said within one frame of a delta, which has room for more than this.
const MAX_REGION_COST: usize = 1 << 20;
/// What nothing is like is compressed better by the whole delta's literals than by itself.
const LITERAL_LEVEL: i32 = 15;

/// Old bytes, and where they are.
#[derive(Clone, Copy)]
pub(super) struct Old<'a> {
    pub(super) bytes: &'a [u8],
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

/// Matches `new` by its streams; `None` where it has none that are of use.
pub(super) fn match_streams(
    new: &[u8],
    old: Option<Old<'_>>,
    limits: StreamLimits,
) -> Option<StreamMatch> {
    FileMatch { new, old, limits, opened: 0 }.run()
}

/// Memory that [`match_streams`] takes, both files included.
pub(super) fn memory_bytes(old_bytes: u64, new_bytes: u64, limits: &StreamLimits) -> u64 {
    // A stream is analysed before it is matched with what is inflated; both may hold streams again.
    let of_stream = limits.plain_bytes.saturating_mul(8 * u64::from(MAX_DEPTH));
    let of_files = crate::byte_match::memory_bytes(old_bytes, new_bytes);
    of_files.saturating_add(old_bytes + new_bytes).saturating_add(of_stream) + (2 << 20)
}

#[derive(Clone, Copy)]
struct FileMatch<'a> {
    new: &'a [u8],
    old: Option<Old<'a>>,
    limits: StreamLimits,
    /// Streams around this file; as many inflated ones there are at most.
    opened: u32,
}

impl FileMatch<'_> {
    fn run(&self) -> Option<StreamMatch> {
        let streams = find(self.new, self.limits.plain_bytes);
        if streams.is_empty() {
            return None;
        }
        let old_streams = self.old.map(|old| find(old.bytes, self.limits.plain_bytes));
        let index = OldStreams::of(&self.old, old_streams.as_deref().unwrap_or_default());
        let (mut covers, mut regions, mut cost) = (Vec::new(), Vec::new(), 0);
        let (mut made, mut used) = (Vec::new(), Vec::new());
        for stream in &streams {
            let like = index.like(stream);
            if let Some((old, same)) =
                self.old.zip(index.same(&self.new[stream.range.clone()], like))
            {
                covers.push(cover_of(
                    stream.range.start,
                    stream.range.len(),
                    &old,
                    same.range.start,
                ));
                used.push(same.range.clone());
            } else if let Some((region, region_cost)) = self.region(stream, self.old.zip(like)) {
                used.extend(like.map(|like| like.range.clone()));
                regions.push(region);
                cost += region_cost;
            } else {
                continue;
            }
            made.push(stream.range.clone());
        }
        if made.is_empty() {
            return None;
        }
        let (rest, rest_cost) = self.match_rest(&made, used);
        covers.extend(rest);
        covers.sort_by_key(|cover| cover.target);
        let mut list = CoverList::default();
        covers.into_iter().for_each(|cover| list.push(cover));
        Some(StreamMatch { covers: list.0, regions, cost: cost + rest_cost })
    }

    /// The region of a stream and what it costs, where that is less than without.
    fn region(&self, stream: &Stream, old: Option<(Old<'_>, &Stream)>) -> Option<(Region, usize)> {
        let compressed = &self.new[stream.range.clone()];
        let old_plain_bytes = old.map_or(0, |(_, old)| old.plain_bytes);
        if stream.plain_bytes.saturating_add(old_plain_bytes) > self.limits.region_bytes {
            return None;
        }
        let limits = AnalyseLimits { plain_bytes: usize::try_from(stream.plain_bytes).ok()? };
        let analysed = analyse(compressed, &limits)?;
        if analysed.compressed_bytes != compressed.len() {
            return None;
        }
        let (content, inflated, content_cost) = self.content(&analysed.plain, old)?;
        let cost = content_cost + REGION_COST + analysed.corrections.len();
        let unlike = match old {
            Some((old, like)) => unlike_bytes(compressed, &old.bytes[like.range.clone()]),
            None => compressed.len(),
        };
        let deflate = Deflate {
            plain_bytes: analysed.plain.len() as u64,
            corrections: analysed.corrections,
            inflated,
            content,
        };
        let target = stream.range.start as u64..stream.range.end as u64;
        let region = Region { target, transform: Transform::Deflate(deflate) };
        let is_better = cost < unlike
            && cost <= MAX_REGION_COST
            && region.resident_bytes() <= self.limits.region_bytes;
        is_better.then_some((region, cost))
    }

    /// How what a stream holds is made, and what that costs.
    fn content(
        &self,
        plain: &[u8],
        old: Option<(Old<'_>, &Stream)>,
    ) -> Option<(Content, Vec<Inflated>, usize)> {
        let Some((old, like)) = old else { return self.literal_content(plain) };
        let at = like.range.start as u64;
        let (bytes, _) = inflate(&old.bytes, at, like.plain_bytes).ok()?;
        let inner = Old { bytes: &bytes, origin: OriginId::inflated(self.opened), at: 0 };
        let opened = self.opened + 1;
        let file = FileMatch { new: plain, old: Some(inner), limits: self.limits, opened };
        let matched = if opened < MAX_DEPTH { file.run() } else { None };
        let matched = matched.or_else(|| file.as_bytes())?;
        let StreamMatch { covers, regions, cost } = matched;
        if covers.is_empty() && regions.is_empty() {
            return self.literal_content(plain);
        }
        let inflated =
            Inflated { origin: old.origin, at: old.at + at, plain_bytes: like.plain_bytes };
        Some((Content { covers, headers: Vec::new(), regions }, vec![inflated], cost))
    }

    /// The content of a stream that nothing is like.
    fn literal_content(&self, plain: &[u8]) -> Option<(Content, Vec<Inflated>, usize)> {
        Some((Content::default(), Vec::new(), compressed_bytes(plain, LITERAL_LEVEL)))
    }

    /// The match of the file as bytes.
    fn as_bytes(&self) -> Option<StreamMatch> {
        let old = self.old?;
        let found = match_bytes(old.bytes, self.new, self.limits.effort)?;
        let cost = estimate_bytes(old.bytes, self.new, &found);
        let covers = found.iter().map(|c| cover_of(c.new, c.length, &old, c.old)).collect();
        Some(StreamMatch { covers, regions: Vec::new(), cost })
    }

    /// Covers of what is not `made` by what is not `used`, and what that costs.
    fn match_rest(
        &self,
        made: &[Range<usize>],
        mut used: Vec<Range<usize>>,
    ) -> (Vec<Cover>, usize) {
        let new_rest = Pieces::between(made, self.new.len());
        let new_bytes = new_rest.bytes(self.new);
        let Some(old) = self.old else { return (Vec::new(), new_bytes.len()) };
        used.sort_by_key(|range| range.start);
        let old_rest = Pieces::between(&used, old.bytes.len());
        let old_bytes = old_rest.bytes(old.bytes);
        let found = match_bytes(&old_bytes, &new_bytes, self.limits.effort).unwrap_or_default();
        let cost = estimate_bytes(&old_bytes, &new_bytes, &found);
        let mut covers = Vec::new();
        for cover in &found {
            split_cover(cover, &new_rest, &old_rest, |new, old_at, length| {
                covers.push(cover_of(new, length, &old, old_at));
            });
        }
        (covers, cost)
    }
}

fn cover_of(new: usize, length: usize, old: &Old<'_>, at: usize) -> Cover {
    let (target, length, at) = (new as u64, length as u64, old.at + at as u64);
    Cover { target, length, origin: old.origin, at }
}

/// Bytes between the ends of `new` that `old` has too: what a change in the middle leaves to send.
fn unlike_bytes(new: &[u8], old: &[u8]) -> usize {
    let front = new.iter().zip(old).take_while(|(a, b)| a == b).count();
    let (new, old) = (&new[front..], &old[front..]);
    let back = new.iter().rev().zip(old.iter().rev()).take_while(|(a, b)| a == b).count();
    new.len() - back
}

/// The old file's streams, by name and by their bytes.
struct OldStreams<'a> {
    streams: &'a [Stream],
    bytes: &'a [u8],
    by_bytes: HashMap<&'a [u8], &'a Stream>,
    by_name: HashMap<&'a [u8], &'a Stream>,
    by_plain_name: HashMap<Vec<u8>, &'a Stream>,
}

impl<'a> OldStreams<'a> {
    fn of(old: &'a Option<Old<'a>>, streams: &'a [Stream]) -> Self {
        let bytes = old.map_or(&[][..], |old| old.bytes);
        let each = || streams.iter().rev();
        Self {
            streams,
            bytes,
            by_bytes: each().map(|s| (&bytes[s.range.clone()], s)).collect(),
            by_name: each().map(|s| (s.name.as_slice(), s)).collect(),
            by_plain_name: each().map(|s| (without_versions(&s.name), s)).collect(),
        }
    }

    /// The stream of the same name, or of the same but for versions.
    fn like(&self, new: &Stream) -> Option<&'a Stream> {
        let by_name = || self.by_name.get(new.name.as_slice()).copied();
        let by_plain_name = || self.by_plain_name.get(&without_versions(&new.name)).copied();
        // Members of gzip files are numbered: a file's only one is like the only one.
        by_name()
            .or_else(by_plain_name)
            .or_else(|| self.streams.first().filter(|_| self.streams.len() == 1))
    }

    /// A stream of these very bytes: `like`, if it is one.
    fn same(&self, new: &[u8], like: Option<&'a Stream>) -> Option<&'a Stream> {
        let is_like = like.filter(|like| &self.bytes[like.range.clone()] == new);
        is_like.or_else(|| self.by_bytes.get(new).copied())
    }
}

/// Parts of a file, put together.
struct Pieces {
    /// For each where it starts in the file, and where in the whole.
    starts: Vec<(usize, usize)>,
    ranges: Vec<Range<usize>>,
}

impl Pieces {
    /// What is between ranges that are in order; they may overlap.
    fn between(ranges: &[Range<usize>], length: usize) -> Self {
        let mut pieces = Self { starts: Vec::new(), ranges: Vec::new() };
        let (mut at, mut whole) = (0, 0);
        for range in ranges.iter().chain([&(length..length)]) {
            if range.start > at {
                pieces.starts.push((at, whole));
                pieces.ranges.push(at..range.start);
                whole += range.start - at;
            }
            at = at.max(range.end);
        }
        pieces
    }

    fn bytes(&self, file: &[u8]) -> Vec<u8> {
        self.ranges.iter().flat_map(|range| &file[range.clone()]).copied().collect()
    }

    /// Where in the file a place of the whole is, and how many bytes of the piece are from there on.
    fn locate(&self, at: usize) -> (usize, usize) {
        let piece = self.starts.partition_point(|(_, whole)| *whole <= at).saturating_sub(1);
        let within = at - self.starts[piece].1;
        (self.starts[piece].0 + within, self.ranges[piece].len() - within)
    }
}

/// Splits a cover of wholes into covers of files.
fn split_cover(
    cover: &ByteCover,
    new: &Pieces,
    old: &Pieces,
    mut part: impl FnMut(usize, usize, usize),
) {
    let mut done = 0;
    while done < cover.length {
        let (new_at, new_left) = new.locate(cover.new + done);
        let (old_at, old_left) = old.locate(cover.old + done);
        let length = new_left.min(old_left).min(cover.length - done);
        part(new_at, old_at, length);
        done += length;
    }
}
