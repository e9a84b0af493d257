//! The scan over the new bytes that turns exact matches into covers.

use super::ByteCover;
use super::cost::estimate_bytes;
use super::suffix::{Match, SuffixIndex, common_prefix};
use crate::effort::Effort;

/// How readily the scan changes alignment, and keeps a cover.
#[derive(Debug, Clone, Copy)]
struct Style {
    /// A match must agree in this many bytes more than the alignment in force to take its place.
    min_gain_bytes: usize,
    /// How many agreeing bytes make up for one that does not, when a cover is extended.
    difference_penalty: i64,
    /// What a cover costs, in tenths of a byte; a literal byte costs half a byte.
    cover_cost: usize,
    /// What a difference within a cover costs, in tenths of a byte.
    difference_cost: usize,
}

/// Measured on system libraries, which change by shifted references (the first serves them best),
/// and on extension modules that were compiled anew (the last): which one is cheaper is tried.
const STYLES: [Style; 2] = [
    Style { min_gain_bytes: 8, difference_penalty: 1, cover_cost: 40, difference_cost: 14 },
    Style { min_gain_bytes: 24, difference_penalty: 2, cover_cost: 60, difference_cost: 20 },
];

/// The same for executables whose references have become labels. Covers in pieces cost less there, since
/// what is unequal in them is no reference that moved.
const LABELLED_STYLES: [Style; 2] = [
    Style { min_gain_bytes: 8, difference_penalty: 1, cover_cost: 40, difference_cost: 14 },
    Style { min_gain_bytes: 16, difference_penalty: 2, cover_cost: 40, difference_cost: 14 },
];

/// With fewer covers than this, there is nothing to choose between styles.
const MIN_COVERS_TO_COMPARE: usize = 8;

/// The covers of `new` by `old`, in the order of `new`, none overlapping another, or `None` where
/// `old` is longer than [`super::MAX_OLD_BYTES`].
pub fn match_bytes(old: &[u8], new: &[u8], effort: Effort) -> Option<Vec<ByteCover>> {
    let styles = if effort == Effort::Fast { &STYLES[..1] } else { &STYLES };
    let matched = match_in_styles(old, new, styles)?;
    match matched.len() {
        1 => matched.into_iter().next(),
        _ => matched.into_iter().min_by_key(|covers| estimate_bytes(old, new, covers)),
    }
}

/// The covers of `new` by `old` in the first style: those that say best where what went.
pub(crate) fn match_to_vote(old: &[u8], new: &[u8]) -> Option<Vec<ByteCover>> {
    match_in_styles(old, new, &STYLES[..1])?.into_iter().next()
}

/// The covers of `new` by `old`, executables whose references have become labels, in one style or in
/// all, of which one is to be chosen.
pub(crate) fn match_labelled(old: &[u8], new: &[u8], all: bool) -> Option<Vec<Vec<ByteCover>>> {
    let styles = if all { &LABELLED_STYLES[..] } else { &LABELLED_STYLES[..1] };
    match_in_styles(old, new, styles)
}

/// The covers of `new` by `old` in each style, or in one where there is nothing to choose.
fn match_in_styles(old: &[u8], new: &[u8], styles: &[Style]) -> Option<Vec<Vec<ByteCover>>> {
    if let Some(whole) = nearly_equal(old, new) {
        return Some(vec![vec![whole]]);
    }
    let index = SuffixIndex::of(old)?;
    let mut matched: Vec<Vec<ByteCover>> = Vec::new();
    for style in styles {
        if matched.first().is_some_and(|first| first.len() < MIN_COVERS_TO_COMPARE) {
            break;
        }
        matched.push(scan_all(old, new, &index, *style));
    }
    Some(matched)
}

fn scan_all(old: &[u8], new: &[u8], index: &SuffixIndex<'_>, style: Style) -> Vec<ByteCover> {
    let (covers, last) = (Vec::new(), Match::default());
    let mut scan = Scan { old, new, index, style, covers, last, last_new: 0 };
    let mut position = 0;
    while position < new.len() {
        position = scan.advance(position);
    }
    scan.close_cover(new.len(), Match::default());
    scan.covers.retain(|cover| pays(old, new, cover, style));
    scan.covers
}

/// The covers of `new` that are equal to ranges of `old` and at least `min_bytes` long, for
/// encodings that cannot say differences: at each place the longest, from front to back.
///
/// `None` where `old` is longer than [`super::MAX_OLD_BYTES`].
pub fn match_exact_runs(old: &[u8], new: &[u8], min_bytes: usize) -> Option<Vec<ByteCover>> {
    if let Some(whole) = nearly_equal(old, new) {
        return Some(vec![whole]);
    }
    let index = SuffixIndex::of(old)?;
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

/// Strings of one length that agree nearly everywhere need no search: their diagonal is the cover.
fn nearly_equal(old: &[u8], new: &[u8]) -> Option<ByteCover> {
    if old.len() != new.len() || new.is_empty() {
        return None;
    }
    let different = old.iter().zip(new).filter(|(a, b)| a != b).count();
    (different <= new.len() / 256).then_some(ByteCover { new: 0, old: 0, length: new.len() })
}

/// Whether a cover costs less than sending its bytes: a rough model of what entropy coding leaves.
fn pays(old: &[u8], new: &[u8], cover: &ByteCover, style: Style) -> bool {
    let old = &old[cover.old..cover.old + cover.length];
    let new = &new[cover.new..cover.new + cover.length];
    let different = old.iter().zip(new).filter(|(a, b)| a != b).count();
    cover.length * 5 >= style.cover_cost + different * style.difference_cost
}

/// Over so many bytes the alignment in force is looked at before a better match is searched for.
const MAX_GAIN_BYTES: usize = 256;

struct Scan<'a> {
    old: &'a [u8],
    new: &'a [u8],
    index: &'a SuffixIndex<'a>,
    style: Style,
    covers: Vec<ByteCover>,
    /// The alignment in force: where its match starts in old …
    last: Match,
    /// … and in new.
    last_new: usize,
}

impl Scan<'_> {
    /// Finds the next match from `start` on that beats the alignment in force, writes down the
    /// cover that it ends, and returns where to go on.
    fn advance(&mut self, start: usize) -> usize {
        let mut position = start;
        loop {
            // Where the alignment in force agrees there is nothing to look for: what beats it beats it by
            // as much where it stops agreeing.
            position += self.agreeing_run(position);
            if position >= self.new.len() {
                return position;
            }
            if let Some(found) = self.better_match(position) {
                self.close_cover(position, found);
                return position + found.length;
            }
            position += 1;
        }
    }

    /// The longest match at `position`, if it beats the alignment in force.
    fn better_match(&self, position: usize) -> Option<Match> {
        let min_bytes = self.bytes_to_gain(position);
        if !self.index.may_have(self.new, position, min_bytes) {
            return None;
        }
        let needle = &self.new[position..];
        let (found, rank) = self.index.search(needle);
        let gain = found.length - self.count_agreeing(position, position + found.length);
        let expected = self.last.at + (position - self.last_new);
        (gain > self.style.min_gain_bytes)
            .then(|| self.index.nearest(needle, (found, rank), expected))
    }

    /// How long a match at `position` is at least that beats the alignment in force: so long that there are
    /// enough bytes in which the latter disagrees.
    fn bytes_to_gain(&self, position: usize) -> usize {
        let (old, new) = self.aligned(position, self.new.len().min(position + MAX_GAIN_BYTES));
        let mut left = self.style.min_gain_bytes + 1;
        for (i, (old, new)) in old.iter().zip(new).enumerate() {
            left -= usize::from(old != new);
            if left == 0 {
                return i + 1;
            }
        }
        // What old has not, past its end, disagrees.
        new.len() + left.min(MAX_GAIN_BYTES - new.len())
    }

    /// The old range that the alignment in force puts beside `from..to` of new, cut at old's end.
    fn aligned(&self, from: usize, to: usize) -> (&[u8], &[u8]) {
        let old_from = (self.last.at + (from - self.last_new)).min(self.old.len());
        let length = (to - from).min(self.old.len() - old_from);
        (&self.old[old_from..old_from + length], &self.new[from..from + length])
    }

    fn count_agreeing(&self, from: usize, to: usize) -> usize {
        let (old, new) = self.aligned(from, to);
        old.iter().zip(new).filter(|(a, b)| a == b).count()
    }

    fn agreeing_run(&self, from: usize) -> usize {
        let (old, new) = self.aligned(from, self.new.len());
        common_prefix(old, new)
    }

    /// Ends the alignment in force at its best length, and begins the one of `found`.
    fn close_cover(&mut self, position: usize, found: Match) {
        let (old, new) = self.aligned(self.last_new, position);
        let mut forward = self.best_extension(old.iter().zip(new));
        let mut backward = 0;
        if position < self.new.len() {
            let old_before = self.old[..found.at].iter().rev();
            let new_before = self.new[self.last_new..position].iter().rev();
            backward = self.best_extension(old_before.zip(new_before));
            let between = position - self.last_new;
            if forward + backward > between {
                let overlap = forward + backward - between;
                let split = self.split_overlap(position - backward, overlap, position, found.at);
                forward = forward - overlap + split;
                backward -= split;
            }
        }
        if forward > 0 {
            self.covers.push(ByteCover { new: self.last_new, old: self.last.at, length: forward });
        }
        self.last = Match { at: found.at - backward, length: 0 };
        self.last_new = position - backward;
    }

    /// The length at which agreeing bytes outweigh disagreeing ones the most.
    fn best_extension<'b>(&self, pairs: impl Iterator<Item = (&'b u8, &'b u8)>) -> usize {
        let (mut score, mut best, mut length) = (0i64, 0i64, 0);
        for (i, (a, b)) in pairs.enumerate() {
            score += if a == b { 1 } else { -self.style.difference_penalty };
            if score > best {
                best = score;
                length = i + 1;
            }
        }
        length
    }

    /// How many of the `overlap` bytes from `start` on agree better with the ending alignment.
    fn split_overlap(&self, start: usize, overlap: usize, position: usize, at: usize) -> usize {
        let (mut score, mut best, mut split) = (0i64, 0i64, 0);
        for i in 0..overlap {
            let byte = self.new[start + i];
            let ending = self.old.get(self.last.at + (start + i - self.last_new)) == Some(&byte);
            let beginning = self.old[at - (position - (start + i))] == byte;
            score += i64::from(ending) - i64::from(beginning);
            if score > best {
                best = score;
                split = i + 1;
            }
        }
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(old: &[u8], new: &[u8]) -> Vec<ByteCover> {
        let covers = match_bytes(old, new, Effort::Default).unwrap();
        let mut end = 0;
        for cover in &covers {
            assert!(cover.new >= end && cover.length > 0, "{covers:?}");
            end = cover.new + cover.length;
            assert!(end <= new.len() && cover.old + cover.length <= old.len(), "{covers:?}");
        }
        covers
    }

    proptest! {
        #[test]
        fn covers_are_in_order_and_in_bounds(
            old in proptest::collection::vec(0u8..4, 0..400),
            new in proptest::collection::vec(0u8..4, 0..400),
        ) {
            check(&old, &new);
        }
    }

    /// Pseudo-random bytes (xorshift), so that nothing matches by chance.
    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()[3]
        })
        .take(length)
        .collect()
    }

    #[test]
    fn moved_blocks_are_found_whole() {
        let [a, b, c] = [noise(5000, 1), noise(3000, 2), noise(4000, 3)];
        let old = [&a[..], &b, &c].concat();
        let new = [&c[..], &a, &noise(100, 9), &b].concat();
        let covers = check(&old, &new);
        let covered: usize = covers.iter().map(|c| c.length).sum();
        assert_eq!(covers.len(), 3, "{covers:?}");
        assert!(covered >= 12000, "{covers:?}");
    }

    #[test]
    fn scattered_differences_stay_inside_one_cover() {
        let old = noise(20_000, 5);
        let mut new = old.clone();
        new.iter_mut().step_by(37).for_each(|byte| *byte ^= 1);
        new.extend(noise(10, 7));
        let covers = check(&old, &new);
        assert_eq!(covers.len(), 1, "{covers:?}");
        assert_eq!(covers[0].length, 20_000);
    }

    #[test]
    fn repetition_does_not_take_quadratic_time() {
        // Long runs on competing alignments: a scan byte by byte would compare 10^11 bytes here.
        let mut old = vec![0u8; 300_000];
        let mut new = old.clone();
        old.iter_mut().step_by(50_000).for_each(|byte| *byte = 1);
        new.iter_mut().step_by(49_999).for_each(|byte| *byte = 2);
        let covered: usize = check(&old, &new).iter().map(|cover| cover.length).sum();
        assert!(covered > 299_000);
    }
}
