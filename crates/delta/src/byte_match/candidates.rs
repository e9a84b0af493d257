//! The scan over the new bytes for alignments with the old ones that may be worth a cover.

use super::common_prefix;

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

/// An alignment may be lost to sight where it disagrees for so long …
const LOST_AFTER_BYTES: usize = 32;
/// … while it stays in force, and comes back where it agrees in so many bytes on end.
const RETURNING_BYTES: usize = 24;

/// Where in the old bytes something matches, and how many bytes of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Match {
    pub(super) at: usize,
    pub(super) length: usize,
}

/// Where long matches in the old bytes are looked up.
pub(super) trait Index {
    /// The longest match of what comes next, if it beats the alignment in force; of some that are as long the one that
    /// is nearest to that. May bring the scan to where the match begins, if that is not where it is.
    fn better_match(&self, scan: &mut Scan<'_>) -> Option<Match>;
}

/// A place in the new bytes, and the alignment that is in force there.
pub(super) struct Scan<'a> {
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
    pub(super) position: usize,
    in_force: Candidate,
    /// Where it last agreed in some bytes on end.
    agreed_until: usize,
    /// A match must agree in this many bytes more than the alignment in force to take its place.
    min_gain_bytes: usize,
}

/// All candidates, in order. One stays in force until a match is found that agrees in more bytes.
pub(super) struct Candidates<'a, I> {
    scan: Scan<'a>,
    index: &'a I,
}

impl<I: Index> Iterator for Candidates<'_, I> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        let Self { scan, index } = self;
        loop {
            // Where the alignment in force agrees there is nothing to look for: what beats it beats it by
            // as much where it stops agreeing.
            if let Some(returning) = scan.follow() {
                return Some(returning);
            }
            if scan.position >= scan.new.len() {
                return None;
            }
            if let Some(found) = index.better_match(scan) {
                scan.take(found);
                return Some(scan.in_force);
            }
            scan.position += 1;
        }
    }
}

impl<'a, I: Index> Candidates<'a, I> {
    pub(super) fn new(scan: Scan<'a>, index: &'a I) -> Self {
        Self { scan, index }
    }
}

impl<'a> Scan<'a> {
    /// At the beginning.
    pub(super) fn new(old: &'a [u8], new: &'a [u8], min_gain_bytes: usize) -> Self {
        Self { old, new, position: 0, in_force: Candidate::FIRST, agreed_until: 0, min_gain_bytes }
    }

    /// What lies before it.
    pub(super) fn needle(&self) -> &'a [u8] {
        &self.new[self.position..]
    }

    /// Where in old the alignment in force puts a place of new.
    pub(super) fn expected(&self, position: usize) -> usize {
        position.wrapping_add(self.in_force.shift)
    }

    /// Whether a match of so many bytes from `start` on beats the alignment in force.
    pub(super) fn is_better(&self, length: usize, start: usize) -> bool {
        let (old, new) = self.aligned(start, length);
        let agreeing = old.iter().zip(new).filter(|(a, b)| a == b).count();
        length - agreeing > self.min_gain_bytes
    }

    /// Puts a match in force, and goes on behind it.
    fn take(&mut self, found: Match) {
        let new = self.position;
        let is_rare = self.min_gain_bytes >= RARE_GAIN_BYTES;
        let start = if is_rare { new - self.agreeing_before(found.at) } else { new };
        self.in_force = Candidate { new, start, shift: found.at.wrapping_sub(new) };
        self.position += found.length;
        self.agreed_until = self.position;
    }

    /// Goes on as far as the alignment in force agrees; that alignment, if it did not for long.
    fn follow(&mut self) -> Option<Candidate> {
        let (start, run) = (self.position, self.agreeing_run());
        self.position += run;
        if run < RETURNING_BYTES {
            return None;
        }
        let was_lost = start - self.agreed_until >= LOST_AFTER_BYTES;
        self.agreed_until = self.position;
        was_lost.then_some(Candidate { new: start, start, ..self.in_force })
    }

    /// How long a match here is at least that beats the alignment in force: so long that there are
    /// enough bytes in which the latter disagrees.
    pub(super) fn bytes_to_gain(&self) -> usize {
        let (old, new) = self.aligned(self.position, MAX_GAIN_BYTES);
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

    /// What the alignment in force puts beside at most `length` bytes from `start` on, and those; cut at old's end.
    fn aligned(&self, start: usize, length: usize) -> (&[u8], &[u8]) {
        let new = &self.new[start..];
        let old = self.expected(start).min(self.old.len());
        let length = length.min(new.len()).min(self.old.len() - old);
        (&self.old[old..old + length], &new[..length])
    }

    fn agreeing_run(&self) -> usize {
        let (old, new) = self.aligned(self.position, usize::MAX);
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
