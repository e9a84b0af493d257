//! Parts of a file, put together, and covers between two such wholes.

use std::ops::Range;

use crate::byte_match::ByteCover;
use crate::read_at::{ReadAt, ReadError};

/// Parts of a file, put together.
pub(super) struct Pieces {
    /// Where each part is in the file, and where it starts in the whole.
    parts: Vec<(Range<u64>, u64)>,
    length: u64,
}

impl Pieces {
    /// What is between ranges of a file of `length` bytes that are in order; they may overlap.
    pub(super) fn between<'a>(ranges: impl Iterator<Item = &'a Range<u64>>, length: u64) -> Self {
        let mut pieces = Self { parts: Vec::new(), length: 0 };
        let mut at = 0;
        for range in ranges {
            pieces.push(at..range.start);
            at = at.max(range.end);
        }
        pieces.push(at..length);
        pieces
    }

    fn push(&mut self, part: Range<u64>) {
        if part.start < part.end {
            let length = part.end - part.start;
            self.parts.push((part, self.length));
            self.length += length;
        }
    }

    /// Length of the whole.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes of `range` of the whole.
    pub(super) fn read(&self, file: &dyn ReadAt, range: &Range<u64>) -> Result<Vec<u8>, ReadError> {
        let length = range.end - range.start;
        let too_long = ReadError::OutOfRange { offset: range.start, length, size: self.length };
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| too_long)?];
        let (mut rest, mut at) = (&mut bytes[..], range.start);
        while !rest.is_empty() {
            let (offset, left) = self.locate(at);
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (piece, later) = rest.split_at_mut(now);
            file.read_exact_at(piece, offset)?;
            at += now as u64;
            rest = later;
        }
        Ok(bytes)
    }

    /// Where in the file a place of the whole is, and how many bytes of the part are from there on.
    fn locate(&self, at: u64) -> (u64, u64) {
        let number = self.parts.partition_point(|(_, whole)| *whole <= at).saturating_sub(1);
        let (part, whole) = &self.parts[number];
        let offset = part.start + (at - whole);
        (offset, part.end - offset)
    }
}

/// Splits a cover of wholes, found in what of them starts at `new_at` and `old_at`, into covers of files:
/// places in both and lengths.
pub(super) fn split_cover(
    cover: &ByteCover,
    (new, new_at): (&Pieces, u64),
    (old, old_at): (&Pieces, u64),
    mut part: impl FnMut(u64, u64, u64),
) {
    let (new_at, old_at) = (new_at + cover.new as u64, old_at + cover.old as u64);
    let (mut done, length) = (0, cover.length as u64);
    while done < length {
        let (new_place, new_left) = new.locate(new_at + done);
        let (old_place, old_left) = old.locate(old_at + done);
        let now = new_left.min(old_left).min(length - done);
        part(new_place, old_place, now);
        done += now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cover_of_wholes_is_split_where_either_is() {
        let file: Vec<u8> = (0..100).collect();
        let new = Pieces::between([10..20, 15..18, 50..60].iter(), 100);
        let old = Pieces::between(std::iter::once(&(0..70)), 100);
        assert_eq!((new.length(), old.length()), (80, 30));
        assert_eq!(new.read(&file, &(8..12)).unwrap(), [8, 9, 20, 21]);
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
