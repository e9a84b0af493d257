//! What several deltas to one layer share: bytes that more than one of them would carry itself are
//! carried once, as one more origin of each (`docs/formats/silt-1.md`, "Shared literals").

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::sync::Arc;

use delta::native::Origin;
use delta::read_at::{FileBasis, ReadAt};
use delta::region::{Content, Region};
use delta::{Cover, OriginId};
use tarball::{Digest, Digester};

use super::{CreateError, DeltaLayer};

/// Memory that decoding the shared bytes may take on the device, beside what the delta itself takes.
pub(super) const POOL_MEMORY_BYTES: u64 = 6 << 20;
/// Shorter runs cost as much to refer to as to carry.
const MIN_RUN_BYTES: u64 = 48;
/// A tar's block.
const BLOCK_BYTES: u64 = 512;

/// Bytes of one target layer, put together.
pub(super) struct Pool {
    /// Ranges of the target, in order, each with where it starts among the shared bytes.
    runs: Vec<(Range<u64>, u64)>,
    /// SHA-256 of the shared bytes.
    pub(super) digest: Digest,
    /// The shared bytes.
    pub(super) bytes: FileBasis,
    /// The delta layer that makes them.
    pub(super) layer: Option<DeltaLayer>,
}

/// Ranges that nothing of an origin makes, without tar headers, which are said by their fields.
pub(super) fn gaps_of(content: &Content, size: u64) -> Vec<Range<u64>> {
    let covers = content.covers.iter().map(|cover| cover.target..cover.target_end());
    let regions = content.regions.iter().map(|region| region.target.clone());
    let headers = content.headers.iter().map(|header| *header..header + BLOCK_BYTES);
    let mut made: Vec<Range<u64>> = covers.chain(regions).chain(headers).collect();
    made.sort_by_key(|range| range.start);
    made.push(size..size);
    let mut gaps = Vec::new();
    let mut end = 0;
    for range in made {
        if range.start > end {
            gaps.push(end..range.start);
        }
        end = range.end.max(end);
    }
    gaps
}

/// What of a content makes a range, as the content of that range alone. A region is whole in it or
/// not at all.
pub(super) fn part_of(content: &Content, range: &Range<u64>) -> Content {
    let covers = content.covers.iter().filter_map(|cover| {
        let (start, end) = (cover.target.max(range.start), cover.target_end().min(range.end));
        let at = cover.at + start.saturating_sub(cover.target);
        let length = end.checked_sub(start).filter(|length| *length > 0)?;
        Some(Cover { target: start - range.start, length, at, ..*cover })
    });
    let regions = content.regions.iter().filter(|region| is_within(&region.target, range));
    let regions = regions.map(|region| Region {
        target: region.target.start - range.start..region.target.end - range.start,
        transform: region.transform.clone(),
    });
    Content { covers: covers.collect(), headers: Vec::new(), regions: regions.collect() }
}

/// A content without what makes a range, which becomes a gap.
pub(super) fn without(content: &Content, range: &Range<u64>) -> Content {
    let mut left = Content { covers: Vec::new(), ..content.clone() };
    left.regions.retain(|region| !is_within(&region.target, range));
    for cover in &content.covers {
        let before = cover.target_end().min(range.start).saturating_sub(cover.target);
        if before > 0 {
            left.covers.push(Cover { length: before, ..*cover });
        }
        let skipped = range.end.saturating_sub(cover.target);
        if cover.target_end() > range.end {
            left.covers.push(Cover {
                target: cover.target + skipped,
                at: cover.at + skipped,
                length: cover.length - skipped,
                ..*cover
            });
        }
    }
    left
}

fn is_within(inner: &Range<u64>, outer: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Ranges that are in more than one of the lists, of which each is in order.
fn common(lists: &[Vec<Range<u64>>]) -> Vec<Range<u64>> {
    let mut edges: Vec<(u64, i32)> = Vec::new();
    for range in lists.iter().flatten() {
        edges.extend([(range.start, 1), (range.end, -1)]);
    }
    // An end before a start at the same place.
    edges.sort_unstable();
    let (mut depth, mut start, mut runs) = (0, 0, Vec::<Range<u64>>::new());
    for (at, step) in edges {
        let before = depth;
        depth += step;
        if before < 2 && depth >= 2 {
            start = at;
        } else if before >= 2 && depth < 2 && at > start {
            match runs.last_mut().filter(|run| run.end == start) {
                Some(run) => run.end = at,
                None => runs.push(start..at),
            }
        }
    }
    runs
}

impl Pool {
    /// Collects what several of the ways to make `target` have no origin for; `None` where that is
    /// nothing.
    pub(super) fn collect(
        target: &dyn ReadAt,
        gaps: &[Vec<Range<u64>>],
        file: File,
    ) -> Result<Option<Self>, CreateError> {
        let scratch_error = |source| CreateError::Scratch { source };
        let mut out = BufWriter::new(file.try_clone().map_err(scratch_error)?);
        let mut digester = Digester::new();
        let mut runs = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        for run in common(gaps) {
            let run = without_padding(target, run)?;
            if run.end - run.start < MIN_RUN_BYTES {
                continue;
            }
            runs.push((run.clone(), digester.length()));
            let mut at = run.start;
            while at < run.end {
                let left = usize::try_from(run.end - at).unwrap_or(usize::MAX);
                let part = left.min(buffer.len());
                let part = &mut buffer[..part];
                target.read_exact_at(part, at).map_err(CreateError::target)?;
                digester.update(part);
                out.write_all(part).map_err(scratch_error)?;
                at += part.len() as u64;
            }
        }
        out.flush().map_err(scratch_error)?;
        if runs.is_empty() {
            return Ok(None);
        }
        let bytes = FileBasis::with_size(file, digester.length());
        Ok(Some(Self { runs, digest: digester.finish(), bytes, layer: None }))
    }

    /// As the header of a delta lists it.
    pub(super) fn origin(&self) -> Origin {
        Origin::Layer { diff_id: *self.digest.as_bytes(), size: self.bytes.size() }
    }

    /// The same content with what is shared taken from there.
    pub(super) fn fill(&self, content: &Content, size: u64, origin: OriginId) -> Content {
        let mut filled = content.clone();
        for gap in gaps_of(content, size) {
            let first = self.runs.partition_point(|(run, _)| run.end <= gap.start);
            let touching = self.runs[first..].iter().take_while(|(run, _)| run.start < gap.end);
            for (run, at) in touching {
                let (start, end) = (run.start.max(gap.start), run.end.min(gap.end));
                if end - start >= MIN_RUN_BYTES {
                    let at = at + (start - run.start);
                    filled.covers.push(Cover { target: start, length: end - start, origin, at });
                }
            }
        }
        filled.covers.sort_by_key(|cover| cover.target);
        filled
    }

    /// Its file, for whoever makes the delta layer.
    pub(super) fn with_layer(self, layer: DeltaLayer) -> Arc<Self> {
        Arc::new(Self { layer: Some(layer), ..self })
    }
}

/// A range without the zeros that fill up the block in which a file ends: they are said as padding.
fn without_padding(target: &dyn ReadAt, run: Range<u64>) -> Result<Range<u64>, CreateError> {
    if !run.end.is_multiple_of(BLOCK_BYTES) {
        return Ok(run);
    }
    let length = (run.end - run.start).min(BLOCK_BYTES - 1);
    let mut bytes = [0; 511];
    let bytes = &mut bytes[..usize::try_from(length).unwrap_or(0)];
    target.read_exact_at(bytes, run.end - length).map_err(CreateError::target)?;
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count() as u64;
    Ok(run.start..run.end - zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_lists_have_is_common() {
        let lists = [vec![0..10, 20..30], vec![5..8, 8..25], vec![8..9, 28..40]];
        assert_eq!(common(&lists), [5..10, 20..25, 28..30]);
        assert_eq!(common(&lists[..1]), []);
        let joined = common(&[vec![0..5, 5..9], vec![0..4, 4..9]]);
        assert_eq!((joined.len(), &joined[0]), (1, &(0..9)));
    }

    #[test]
    fn a_range_is_cut_out_and_left_out() {
        let cover = |target, length, at| Cover { target, length, origin: OriginId(0), at };
        let content = Content {
            covers: vec![cover(0, 10, 100), cover(20, 30, 200), cover(60, 5, 300)],
            ..Content::default()
        };
        assert_eq!(part_of(&content, &(25..62)).covers, [cover(0, 25, 205), cover(35, 2, 300)]);
        let left = without(&content, &(25..30)).covers;
        let expected =
            [cover(0, 10, 100), cover(20, 5, 200), cover(30, 20, 210), cover(60, 5, 300)];
        assert_eq!(left, expected);
        assert_eq!(without(&content, &(0..70)).covers, []);
    }

    #[test]
    fn gaps_leave_out_headers() {
        let cover = |target, length| Cover { target, length, origin: OriginId(0), at: 0 };
        let content = Content {
            covers: vec![cover(600, 100), cover(3000, 96)],
            headers: vec![0, 1024],
            regions: Vec::new(),
        };
        assert_eq!(gaps_of(&content, 4000), [512..600, 700..1024, 1536..3000, 3096..4000]);
    }
}
