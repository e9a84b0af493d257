//! Covers without differences.

use super::candidates::Match;
use super::suffix::SuffixIndex;
use super::{ByteCover, nearly_equal};

/// The covers of `new` that are equal to ranges of `old` and at least `min_bytes` long, for
/// encodings that cannot say differences: at each place the longest, from front to back.
///
/// `None` where `old` is longer than `i32::MAX` bytes.
pub fn match_exact_runs(old: &[u8], new: &[u8], min_bytes: usize) -> Option<Vec<ByteCover>> {
    if let Some(whole) = nearly_equal(old, new) {
        return Some(vec![whole]);
    }
    let index = SuffixIndex::of(old, min_bytes)?;
    let mut covers = Vec::new();
    let mut position = 0;
    while position < new.len() {
        let may_be = index.may_have(new, position, min_bytes);
        let found = if may_be { index.longest_match(&new[position..]) } else { Match::default() };
        if found.length < min_bytes {
            position += 1;
            continue;
        }
        covers.push(ByteCover { new: position, old: found.at, length: found.length });
        position += found.length;
    }
    Some(covers)
}
