//! Files that are too large to be matched whole: window by window.

use std::ops::Range;

use super::budget::Budget;
use super::pairs::{length, match_ranges};
use super::{FileRef, MatchOptions, Sides};
use crate::block_match::MatchError;
use crate::byte_match;
use crate::cover::Cover;
use crate::references::WindowPair;

/// Old bytes that are searched for each new one: what was inserted or removed before moves a
/// place by less than half of that, as a rule.
const OLD_PER_NEW: u64 = 2;

/// With smaller windows the search finds too little to be worth its time.
const MIN_WINDOW_BYTES: u64 = 256 << 10;

/// The covers of a new file by an old one, where no window of the new file, and what of the old one lies
/// around the same place, takes more than the budget has.
pub(super) fn match_in_windows(
    sides: &Sides<'_, '_>,
    new: &Range<u64>,
    old: FileRef,
    options: &MatchOptions,
    budget: &Budget,
) -> Result<Vec<Cover>, MatchError> {
    let old_range = &sides.member(old).data;
    let mut covers = Vec::new();
    let Some(window_bytes) = window_bytes(budget.total()) else { return Ok(covers) };
    for WindowPair { old: old_window, new: new_window } in windows(new, old_range, window_bytes) {
        let needed = byte_match::memory_bytes(length(&old_window), length(&new_window));
        let found = budget
            .with(needed, || match_ranges(sides, &new_window, old.origin, &old_window, options));
        covers.extend(found?);
    }
    Ok(covers)
}

/// Windows of so many bytes of a new file, in order, each with what of the old one lies around the same
/// place.
pub(super) fn windows(new: &Range<u64>, old: &Range<u64>, window_bytes: u64) -> Vec<WindowPair> {
    let count = length(new).div_ceil(window_bytes);
    let pair = |number: u64| {
        let start = new.start + number * window_bytes;
        let window = start..new.end.min(start + window_bytes);
        WindowPair { old: around(new, &window, old, window_bytes * OLD_PER_NEW), new: window }
    };
    (0..count).map(pair).collect()
}

/// The largest window that the budget allows twice at once, so that two are worked on side by side; `None`
/// where that is too small.
pub(super) fn window_bytes(budget_bytes: u64) -> Option<u64> {
    // Index and bytes of the old window, bytes of the new one, twice where they get labels.
    let bytes_per_byte = 13 * OLD_PER_NEW / 2 + 2;
    let bytes = (budget_bytes / 2).saturating_sub(1 << 20) / bytes_per_byte;
    (bytes >= MIN_WINDOW_BYTES).then_some(bytes)
}

/// `size` bytes of the old file, around the place that is as far into it as the window is into the new one.
fn around(new: &Range<u64>, window: &Range<u64>, old: &Range<u64>, size: u64) -> Range<u64> {
    let size = size.min(length(old));
    let middle = (window.start - new.start) + length(window) / 2;
    let scaled = u128::from(middle) * u128::from(length(old)) / u128::from(length(new).max(1));
    let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
    let start = scaled.saturating_sub(size / 2).min(length(old) - size);
    old.start + start..old.start + start + size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_the_old_file_lie_within_it() {
        for (new_bytes, old_bytes, size) in [(1000, 400, 100), (400, 1000, 300), (50, 10, 100)] {
            let (new, old) = (70..70 + new_bytes, 5..5 + old_bytes);
            for start in new.clone() {
                let window = start..new.end.min(start + 40);
                let found = around(&new, &window, &old, size);
                assert!(old.start <= found.start && found.end <= old.end, "{found:?}");
                assert_eq!(length(&found), size.min(old_bytes));
            }
        }
    }

    #[test]
    fn two_windows_fit_the_budget() {
        for budget in [64u64 << 20, 512 << 20] {
            let window = window_bytes(budget).unwrap();
            assert!(window > 1 << 20);
            let needed = byte_match::memory_bytes(OLD_PER_NEW * window, window) + window;
            assert!(2 * needed <= budget);
        }
        assert_eq!(window_bytes(8 << 20), None);
    }
}
