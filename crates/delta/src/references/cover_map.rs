//! Where old bytes went: covers turned around.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::RegionCover;

/// Old bytes of which one cover, the longest of those that have them, says where they went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: u32,
    end: u32,
    /// Offset in the new file of what is like the byte at `start`.
    to: u32,
}

/// Maps offsets in the old file to offsets in the new one.
#[derive(Debug, Default)]
pub(super) struct CoverMap {
    /// By `start`, none overlapping another.
    runs: Vec<Run>,
}

/// An offset in the new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) offset: u64,
    /// Whether a cover has the old offset; else the nearest one was prolonged.
    pub(super) is_exact: bool,
}

impl CoverMap {
    /// Bytes that a map takes while it is built, for each cover: the runs, of which there are less
    /// than two, the order and the heap.
    pub(super) const BYTES_PER_COVER: u64 = 2 * size_of::<Run>() as u64 + 4 + 8;

    pub(super) fn new(covers: &[RegionCover]) -> Self {
        let mut order: Vec<u32> = (0..u32::try_from(covers.len()).unwrap_or(u32::MAX)).collect();
        let cover = |number: u32| &covers[number as usize];
        order.sort_unstable_by_key(|&number| (cover(number).old, number));
        let mut starting = order.iter().copied().peekable();
        // The longest cover first, of equal ones the first.
        let mut active: BinaryHeap<(u32, Reverse<u32>)> = BinaryHeap::new();
        let mut map = Self { runs: Vec::with_capacity(2 * covers.len()) };
        let mut at = 0;
        loop {
            if active.is_empty() {
                let Some(&next) = starting.peek() else { break };
                at = cover(next).old;
            }
            while let Some(number) = starting.next_if(|&number| cover(number).old <= at) {
                active.push((cover(number).length, Reverse(number)));
            }
            let Some(&(_, Reverse(top))) = active.peek() else { break };
            let top = cover(top);
            if top.old_end() <= at {
                active.pop();
                continue;
            }
            let next_start = starting.peek().map_or(u32::MAX, |&number| cover(number).old);
            let end = top.old_end().min(next_start);
            map.push(Run { start: at, end, to: top.target + (at - top.old) });
            at = end;
        }
        map.runs.shrink_to_fit();
        map
    }

    fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some(last) if last.end == run.start && last.to + (last.end - last.start) == run.to => {
                last.end = run.end;
            }
            _ => self.runs.push(run),
        }
    }

    /// Where the old byte at `offset` went.
    pub(super) fn map(&self, offset: u64) -> Mapped {
        let after = self.runs.partition_point(|run| u64::from(run.start) <= offset);
        let before = after.checked_sub(1).map(|i| &self.runs[i]);
        if let Some(run) = before.filter(|run| offset < run.end.into()) {
            return Mapped { offset: run.prolonged(offset), is_exact: true };
        }
        let nearest = match (before, self.runs.get(after)) {
            (Some(before), Some(after)) => {
                let from_before = offset - u64::from(before.end) + 1;
                let to_after = u64::from(after.start) - offset;
                Some(if from_before <= to_after { before } else { after })
            }
            (before, after) => before.or(after),
        };
        Mapped { offset: nearest.map_or(offset, |run| run.prolonged(offset)), is_exact: false }
    }
}

impl Run {
    /// Where `offset` would be if the run went on to it; wraps below zero.
    fn prolonged(&self, offset: u64) -> u64 {
        offset.wrapping_sub(self.start.into()).wrapping_add(self.to.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One old byte after the other, the plain way.
    fn naive(covers: &[RegionCover], offset: u32) -> Option<u64> {
        let has = covers.iter().filter(|c| (c.old..c.old_end()).contains(&offset));
        let longest = has.rev().max_by_key(|cover| cover.length)?;
        Some(u64::from(longest.target + (offset - longest.old)))
    }

    proptest! {
        #[test]
        fn the_longest_cover_says_where_a_byte_went(
            parts in proptest::collection::vec((0u32..5, 0u32..90, 1u32..30), 0..12),
        ) {
            let mut end = 0;
            let covers: Vec<_> = parts.iter().map(|&(gap, old, length)| {
                let cover = RegionCover { target: end + gap, old, length };
                end = cover.target_end();
                cover
            }).collect();
            let map = CoverMap::new(&covers);
            prop_assert!(map.runs.len() < 2 * covers.len().max(1));
            for offset in 0..130 {
                let mapped = map.map(offset.into());
                let expected = naive(&covers, offset);
                prop_assert_eq!(mapped.is_exact, expected.is_some(), "{}", offset);
                if let Some(expected) = expected {
                    prop_assert_eq!(mapped.offset, expected, "{}", offset);
                }
            }
        }
    }
}
