//! The scan over the new bytes for alignments with the old ones that may be worth a cover.

use super::suffix::{Match, SuffixIndex, common_prefix};

/// An alignment that agrees well somewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Where in new it matches …
    pub(super) new: usize,
    /// … and how far before that it agrees more than not.
    pub(super) start: usize,
    /// From an offset in new to the one beside it in old, modulo the size of the address space.
    pub(super) shift: usize,
}

impl Candidate {
    /// What is in force before all others.
    pub(super) const FIRST: Self = Self { new: 0, start: 0, shift: 0 };
}

/// Over so many bytes the alignment in force is looked at before a better match is searched for.
const MAX_GAIN_BYTES: usize = 256;

/// Where matches must gain so much there are few, and each is looked at as far back as it agrees. Where there are
/// many, one is near, and those by chance would keep others out of sight.
const RARE_GAIN_BYTES: usize = 8;

/// All candidates, in order. One stays in force until a match is found that agrees in more bytes.
pub(super) struct Candidates<'a> {
    old: &'a [u8],
    new: &'a [u8],
    index: &'a SuffixIndex<'a>,
    /// A match must agree in this many bytes more than the alignment in force to take its place.
    min_gain_bytes: usize,
    position: usize,
    in_force: Candidate,
}

impl Iterator for Candidates<'_> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        loop {
            // Where the alignment in force agrees there is nothing to look for: what beats it beats it by
            // as much where it stops agreeing.
            self.position += self.agreeing_run();
            if self.position >= self.new.len() {
                return None;
            }
            if let Some(found) = self.better_match() {
                let new = self.position;
                let is_rare = self.min_gain_bytes >= RARE_GAIN_BYTES;
                let start = if is_rare { new - self.agreeing_before(found.at) } else { new };
                self.in_force = Candidate { new, start, shift: found.at.wrapping_sub(new) };
                self.position += found.length;
                return Some(self.in_force);
            }
            self.position += 1;
        }
    }
}

impl<'a> Candidates<'a> {
    pub(super) fn new(
        old: &'a [u8],
        new: &'a [u8],
        index: &'a SuffixIndex<'a>,
        min_gain_bytes: usize,
    ) -> Self {
        let in_force = Candidate::FIRST;
        Self { old, new, index, min_gain_bytes, position: 0, in_force }
    }

    /// The longest match here, if it beats the alignment in force.
    fn better_match(&self) -> Option<Match> {
        if !self.index.may_have(self.new, self.position, self.bytes_to_gain()) {
            return None;
        }
        let needle = &self.new[self.position..];
        let (found, rank) = self.index.search(needle);
        let gain = found.length - self.count_agreeing(found.length);
        let expected = self.position.wrapping_add(self.in_force.shift);
        (gain > self.min_gain_bytes).then(|| self.index.nearest(needle, (found, rank), expected))
    }

    /// How long a match here is at least that beats the alignment in force: so long that there are
    /// enough bytes in which the latter disagrees.
    fn bytes_to_gain(&self) -> usize {
        let (old, new) = self.aligned(MAX_GAIN_BYTES);
        let mut left = self.min_gain_bytes + 1;
        for (i, (old, new)) in old.iter().zip(new).enumerate() {
            left -= usize::from(old != new);
            if left == 0 {
                return i + 1;
            }
        }
        // What old has not, past its end, disagrees.
        new.len() + left.min(MAX_GAIN_BYTES - new.len())
    }

    /// What the alignment in force puts beside at most `length` bytes from here on, and those; cut at old's end.
    fn aligned(&self, length: usize) -> (&[u8], &[u8]) {
        let new = &self.new[self.position..];
        let old = self.position.wrapping_add(self.in_force.shift).min(self.old.len());
        let length = length.min(new.len()).min(self.old.len() - old);
        (&self.old[old..old + length], &new[..length])
    }

    fn count_agreeing(&self, length: usize) -> usize {
        let (old, new) = self.aligned(length);
        old.iter().zip(new).filter(|(a, b)| a == b).count()
    }

    fn agreeing_run(&self) -> usize {
        let (old, new) = self.aligned(usize::MAX);
        common_prefix(old, new)
    }

    /// How far back from here, to the match before, the alignment with `at` agrees in more bytes than it does not, the most.
    fn agreeing_before(&self, at: usize) -> usize {
        let old = self.old[..at].iter().rev();
        let new = self.new[self.in_force.new..self.position].iter().rev();
        let (mut score, mut best, mut length) = (0i64, 0i64, 0);
        for (i, (old, new)) in old.zip(new).enumerate() {
            score += if old == new { 1 } else { -1 };
            if score > best {
                (best, length) = (score, i + 1);
            }
        }
        length
    }
}
