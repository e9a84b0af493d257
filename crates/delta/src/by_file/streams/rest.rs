//! What lies between the streams of a file: matched as bytes.

use std::ops::Range;

use super::file::FileMatch;
use super::{StreamMatch, of_target};
use crate::block_match::MatchError;
use crate::by_file::CoverList;
use crate::by_file::pairs::read_range;
use crate::by_file::windows::windows;
use crate::byte_match::cost::estimate_bytes;
use crate::byte_match::{ByteCover, match_bytes, memory_bytes};
use crate::read_at::{Concat, Part, ReadAt};
use crate::references::WindowPair;

/// Parts of a file, put together.
type Pieces<'a> = Concat<Part<'a>>;

impl FileMatch<'_> {
    /// Adds covers of what is not `made_of` streams, by what is not `used`, and what that costs.
    pub(super) fn match_rest(
        &self,
        made_of: &[&Range<u64>],
        mut used: Vec<&Range<u64>>,
        made: &mut StreamMatch,
    ) -> Result<(), MatchError> {
        let new_rest = between(self.new, made_of);
        let Some(old) = self.old else {
            made.cost += usize::try_from(new_rest.size()).unwrap_or(usize::MAX);
            return Ok(());
        };
        used.sort_by_key(|range| range.start);
        let old_rest = between(old.bytes, &used);
        for window in self.rest_windows(old_rest.size(), new_rest.size()) {
            let new_bytes = read_range(&new_rest, &window.new).map_err(of_target)?;
            let old_bytes = read_range(&old_rest, &window.old).map_err(|e| old.error(e))?;
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
            Some(within) if !within.budget.allows(memory_bytes(old_bytes, new_bytes)) => {
                windows(&new, &old, within.window_bytes)
            }
            _ => vec![WindowPair { old, new }],
        }
    }
}

/// What is between ranges of a file that are in order; they may overlap.
fn between<'a>(file: &'a dyn ReadAt, ranges: &[&Range<u64>]) -> Pieces<'a> {
    let mut at = 0;
    let mut parts = Vec::new();
    for next in ranges.iter().copied().chain([&(file.size()..u64::MAX)]) {
        if at < next.start {
            parts.push(Part::new(file, at..next.start));
        }
        at = at.max(next.end);
    }
    Concat::new(parts)
}

/// Splits a cover of pieces, found in what of them starts at `new_at` and `old_at`, into covers of files:
/// places in both and lengths.
fn split_cover(
    cover: &ByteCover,
    (new, new_at): (&Pieces<'_>, u64),
    (old, old_at): (&Pieces<'_>, u64),
    mut part: impl FnMut(u64, u64, u64),
) {
    let (new_at, old_at) = (new_at + cover.new as u64, old_at + cover.old as u64);
    let (mut done, length) = (0, cover.length as u64);
    while done < length {
        let (new_place, new_left) = place_in_file(new, new_at + done);
        let (old_place, old_left) = place_in_file(old, old_at + done);
        let now = new_left.min(old_left).min(length - done);
        part(new_place, old_place, now);
        done += now;
    }
}

/// Where in the file a place of its pieces is, and how many bytes of the piece are from there on.
fn place_in_file(pieces: &Pieces<'_>, at: u64) -> (u64, u64) {
    let (piece, within) = pieces.locate(at);
    (piece.range().start + within, piece.size() - within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cover_of_wholes_is_split_where_either_is() {
        let file: Vec<u8> = (0..100).collect();
        let new = between(&file, &[&(10..20), &(15..18), &(50..60)]);
        let old = between(&file, &[&(0..70)]);
        assert_eq!((new.size(), old.size()), (80, 30));
        assert_eq!(read_range(&new, &(8..12)).unwrap(), [8, 9, 20, 21]);
        let mut parts = Vec::new();
        let cover = ByteCover { new: 3, old: 1, length: 28 };
        split_cover(&cover, (&new, 5), (&old, 0), |new, old, length| {
            parts.push((new, old, length));
        });
        assert_eq!(parts, [(8, 71, 2), (20, 73, 26)]);
        let across = ByteCover { new: 38, old: 0, length: 4 };
        parts.clear();
        split_cover(&across, (&new, 0), (&old, 20), |new, old, length| {
            parts.push((new, old, length));
        });
        assert_eq!(parts, [(48, 90, 2), (60, 92, 2)]);
    }
}
