//! A suffix array, and the longest match in it.

/// All suffixes of a string in lexical order, with a table of where each pair of bytes begins.
pub(super) struct SuffixIndex<'a> {
    text: &'a [u8],
    sorted: Vec<i32>,
    /// For each pair of leading bytes, the first suffix in `sorted` that is not below it.
    first_of_pair: Vec<u32>,
}

/// Where in the text the longest match of a needle starts, and its length; a length of 0 is none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Match {
    pub(super) at: usize,
    pub(super) length: usize,
}

impl<'a> SuffixIndex<'a> {
    /// Sorts the suffixes of `text`, or gives up where it is too long for 32-bit entries.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        let sorted = sort_suffixes(text)?;
        let mut first_of_pair = vec![0u32; PAIRS + 1];
        for pair in text.windows(2) {
            first_of_pair[pair_value(pair) + 1] += 1;
        }
        // The last suffix is one byte long and comes before all pairs that start with that byte.
        if let Some(last) = text.last() {
            first_of_pair[usize::from(*last) << 8] += 1;
        }
        let mut sum = 0;
        first_of_pair.iter_mut().for_each(|count| {
            sum += *count;
            *count = sum;
        });
        Some(Self { text, sorted, first_of_pair })
    }

    /// The longest prefix of `needle` that occurs in the text; shorter than 2 bytes counts as none.
    pub(super) fn longest_match(&self, needle: &[u8]) -> Match {
        if needle.len() < 2 {
            return Match::default();
        }
        let pair = pair_value(needle);
        let mut low = self.first_of_pair[pair] as usize;
        let mut high = self.first_of_pair[pair + 1] as usize;
        // Both ends keep the length that they share with the needle: what lies between shares at
        // least the smaller of the two, and is compared from there on.
        let mut best = Match::default();
        let (mut low_shared, mut high_shared) = (2, 2);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = usize::try_from(self.sorted[middle]).unwrap_or(0);
            let suffix = &self.text[at..];
            let known = low_shared.min(high_shared).min(suffix.len());
            let shared = known + common_prefix(&suffix[known..], &needle[known..]);
            if shared > best.length {
                best = Match { at, length: shared };
            }
            if shared == needle.len() {
                break;
            }
            if suffix.get(shared) < needle.get(shared) {
                low = middle + 1;
                low_shared = shared;
            } else {
                high = middle;
                high_shared = shared;
            }
        }
        best
    }
}

const PAIRS: usize = 1 << 16;

fn pair_value(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// How many leading bytes two strings share.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 16;
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let equal_chunks =
        a.chunks_exact(STEP).zip(b.chunks_exact(STEP)).take_while(|(x, y)| x == y).count();
    let start = equal_chunks * STEP;
    start + a[start..].iter().zip(&b[start..]).take_while(|(x, y)| x == y).count()
}

#[allow(unsafe_code)]
fn sort_suffixes(text: &[u8]) -> Option<Vec<i32>> {
    let length = i32::try_from(text.len()).ok()?;
    let mut sorted = vec![0i32; text.len()];
    if length == 0 {
        return Some(sorted);
    }
    // SAFETY: `text` and `sorted` are valid for `length` elements each, as libsais asks; no free
    // space (0) and no frequency table (null) are offered; it writes only to `sorted`.
    let status = unsafe {
        libsais_sys::libsais::libsais(
            text.as_ptr(),
            sorted.as_mut_ptr(),
            length,
            0,
            std::ptr::null_mut(),
        )
    };
    (status == 0).then_some(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_longest_match_is_as_long_as_the_naive_one(
            text in proptest::collection::vec(0u8..3, 0..200),
            needle in proptest::collection::vec(0u8..3, 0..20),
        ) {
            let found = SuffixIndex::of(&text).unwrap().longest_match(&needle);
            let naive = (0..text.len()).map(|at| common_prefix(&text[at..], &needle)).max().unwrap_or(0);
            prop_assert_eq!(found.length, if naive < 2 { 0 } else { naive });
            prop_assert!(text[found.at..].starts_with(&needle[..found.length]));
        }
    }
}
