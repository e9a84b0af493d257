//! Where old bytes went: covers turned around.

use super::RegionCover;

/// Of the covers that have an old byte, so many that start last are looked at to find the longest,
/// and the one that ends last.
const LOOK_BACK: usize = 8;

/// A cover, in the order of the old file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where it starts in the old file.
    old: u32,
    /// Its number.
    cover: u32,
    /// Number of the cover that ends last in the old file, of this and those before it.
    furthest: u32,
}

/// The old file is divided into as many parts, or up to twice as many, …
const PARTS: u32 = 2048;

/// Maps offsets in the old file to offsets in the new one.
#[derive(Debug, Default)]
pub(super) struct CoverMap {
    entries: Vec<Entry>,
    /// … and for each part, and for their end, this is how many covers start before it: what is searched then lies close together.
    before_parts: Vec<u32>,
    /// Bytes of a part, as a power of two.
    part_log: u32,
}

/// An offset in the new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) offset: u64,
    /// Whether a cover has the old offset; else the nearest one was prolonged.
    pub(super) is_exact: bool,
}

impl CoverMap {
    /// Bytes that a map takes for each cover.
    #[cfg(test)]
    pub(super) const BYTES_PER_COVER: u64 = size_of::<Entry>() as u64;
    /// And besides.
    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = (2 * PARTS as u64 + 1) * size_of::<u32>() as u64;

    pub(super) fn new(covers: &[RegionCover]) -> Self {
        let numbered = (0..u32::MAX).zip(covers);
        let entry =
            |(cover, at): (u32, &RegionCover)| Entry { old: at.old, cover, furthest: cover };
        let mut entries: Vec<Entry> = numbered.map(entry).collect();
        entries.sort_unstable_by_key(|entry| (entry.old, entry.cover));
        let mut furthest = (0, 0);
        for entry in &mut entries {
            let end = covers[entry.cover as usize].old_end();
            if end > furthest.0 {
                furthest = (end, entry.cover);
            }
            entry.furthest = furthest.1;
        }
        let last = entries.last().map_or(0, |entry| entry.old);
        let part_log = last.checked_ilog2().unwrap_or(0).saturating_sub(PARTS.ilog2());
        Self { before_parts: before_parts(&entries, part_log), entries, part_log }
    }

    /// How many covers start at `offset` or before it.
    fn started(&self, offset: u64) -> usize {
        let part = usize::try_from(offset >> self.part_log).unwrap_or(usize::MAX);
        let Some([first, last]) =
            part.checked_add(2).and_then(|end| self.before_parts.get(part..end))
        else {
            return self.entries.len();
        };
        let (first, last) = (*first as usize, *last as usize);
        first + self.entries[first..last].partition_point(|entry| u64::from(entry.old) <= offset)
    }

    /// Where the old byte at `offset` went, by the covers that the map was made of.
    pub(super) fn map(&self, covers: &[RegionCover], offset: u64) -> Mapped {
        let cover = |number: u32| &covers[number as usize];
        let after = self.started(offset);
        let before = &self.entries[..after];
        let furthest = before.last().map(|entry| cover(entry.furthest));
        if let Some(furthest) = furthest.filter(|cover| offset < cover.old_end().into()) {
            let recent = before.iter().rev().take(LOOK_BACK).map(|entry| cover(entry.cover));
            let has = recent.filter(|cover| offset < cover.old_end().into());
            let longest =
                has.fold(
                    furthest,
                    |longest, cover| {
                        if cover.length > longest.length { cover } else { longest }
                    },
                );
            return Mapped { offset: longest.prolonged(offset), is_exact: true };
        }
        let next = self.entries.get(after).map(|entry| cover(entry.cover));
        let nearest = match (furthest, next) {
            (Some(before), Some(after)) => {
                let from_before = offset - u64::from(before.old_end()) + 1;
                let to_after = u64::from(after.old) - offset;
                Some(if from_before <= to_after { before } else { after })
            }
            (before, after) => before.or(after),
        };
        Mapped { offset: nearest.map_or(offset, |cover| cover.prolonged(offset)), is_exact: false }
    }
}

/// How many of the sorted `entries` start before each part of `2^part_log` bytes, up to the end of that which the last one is in.
fn before_parts(entries: &[Entry], part_log: u32) -> Vec<u32> {
    let parts = entries.last().map_or(0, |entry| (entry.old >> part_log) + 1);
    let mut rest = entries.iter().peekable();
    let mut started = 0;
    let before = |part: u32| {
        while rest.next_if(|entry| entry.old >> part_log < part).is_some() {
            started += 1;
        }
        started
    };
    (0..=parts).map(before).collect()
}

impl RegionCover {
    /// Where the old `offset` would be if the cover went on to it; wraps below zero.
    fn prolonged(&self, offset: u64) -> u64 {
        offset.wrapping_sub(self.old.into()).wrapping_add(self.target.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_long_cover_says_where_a_byte_went(
            parts in proptest::collection::vec((0u32..5, 0u32..90, 1u32..30), 0..30),
        ) {
            let mut end = 0;
            let covers: Vec<_> = parts.iter().map(|&(gap, old, length)| {
                let cover = RegionCover { target: end + gap, old, length };
                end = cover.target_end();
                cover
            }).collect();
            let map = CoverMap::new(&covers);
            for offset in 0..130 {
                let mapped = map.map(&covers, offset.into());
                let has: Vec<_> =
                    covers.iter().filter(|c| (c.old..c.old_end()).contains(&offset)).collect();
                prop_assert_eq!(mapped.is_exact, !has.is_empty(), "{}", offset);
                let is_said = |c: &&&RegionCover| c.prolonged(offset.into()) == mapped.offset;
                let longest = has.iter().map(|cover| cover.length).max();
                if let Some(longest) = longest {
                    let said = has.iter().filter(is_said).map(|cover| cover.length).max();
                    let is_longest = said == Some(longest);
                    let started = covers.iter().filter(|cover| cover.old <= offset).count();
                    prop_assert!(is_longest || started > LOOK_BACK && said.is_some());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn covers_are_counted_by_parts_as_they_are_one_by_one(
            starts in proptest::collection::vec(0u32..1 << 30, 0..300),
            magnitude in 0u32..30,
            offsets in proptest::collection::vec(0u64..1 << 33, 100),
        ) {
            let starts: Vec<_> = starts.into_iter().map(|start| start >> magnitude).collect();
            let covers: Vec<_> =
                starts.iter().map(|old| RegionCover { target: 0, old: *old, length: 1 }).collect();
            let map = CoverMap::new(&covers);
            let at_starts = starts.iter().map(|start| u64::from(*start));
            for offset in at_starts.chain(offsets.into_iter().map(|at| at >> magnitude)) {
                let started = starts.iter().filter(|start| u64::from(**start) <= offset).count();
                prop_assert_eq!(map.started(offset), started, "{}", offset);
            }
            prop_assert!(map.before_parts.len() <= 2 * PARTS as usize + 1);
        }
    }

    #[test]
    fn between_covers_the_nearer_one_goes_on() {
        let at = |target, old| RegionCover { target, old, length: 10 };
        let covers = [at(100, 0), at(200, 20)];
        let map = CoverMap::new(&covers);
        let offset = |old| map.map(&covers, old).offset;
        assert_eq!([9, 10, 14, 15, 16, 29, 30].map(offset), [109, 110, 114, 195, 196, 209, 210]);
        let none = CoverMap::new(&[]).map(&[], 7);
        assert_eq!((none.offset, none.is_exact), (7, false));
    }
}
