//! What came after the same bytes before.

use super::hash;

/// So many bytes have to be the same.
const MIN_LENGTH: usize = 4;
/// Longer ones are as good.
const MAX_LENGTH: usize = 63;
/// As much is compared to find out how long a repeat is.
const COMPARED: u32 = 32;

/// The last bytes of a stream, and where in them the same as just now came before.
pub(super) struct Repeats {
    /// A ring; its length is a power of two.
    history: Box<[u8]>,
    /// By hashes of four bytes: where they ended last, counted from the start of the stream.
    ends: Box<[u32]>,
    /// Bytes of the stream so far, modulo 2^32.
    position: u32,
    /// What is repeated at the moment goes on here, if anything is.
    next: u32,
    length: usize,
}

impl Repeats {
    /// A quarter of a table of `2^log` bytes is kept, and a sixteenth says where.
    pub(super) fn new(log: u8) -> Self {
        let history = vec![0; 1 << (log - 2)].into_boxed_slice();
        let ends = vec![0; 1 << (log - 6)].into_boxed_slice();
        Self { history, ends, position: 0, next: 0, length: 0 }
    }

    pub(super) fn memory_bytes(log: u8) -> u64 {
        (1 << (log - 2)) + (1 << (log - 4))
    }

    /// The byte that comes if what is repeated goes on, and how long it has; the length is not above 63.
    pub(super) fn expected(&self) -> Option<(u8, usize)> {
        (self.length > 0).then(|| (self.at(self.next), self.length))
    }

    /// Takes in the byte that came.
    pub(super) fn push(&mut self, byte: u8) {
        if self.length > 0 {
            let goes_on = self.at(self.next) == byte;
            self.length = if goes_on { (self.length + 1).min(MAX_LENGTH) } else { 0 };
            self.next = self.next.wrapping_add(1);
        }
        let ring = self.history.len() - 1;
        self.history[self.position as usize & ring] = byte;
        self.position = self.position.wrapping_add(1);
        let last = [4, 3, 2, 1].map(|back| self.at(self.position.wrapping_sub(back)));
        let bits = self.ends.len().trailing_zeros();
        let slot = (hash(u32::from_le_bytes(last), 0) >> (32 - bits)) as usize;
        if self.length == 0 {
            self.begin(self.ends[slot]);
        }
        self.ends[slot] = self.position;
    }

    /// Goes on from `end`, if the bytes before it are the same as the last ones.
    fn begin(&mut self, end: u32) {
        let distance = self.position.wrapping_sub(end) as usize;
        // As far back as that, the ring has what is to be compared and what comes.
        if end == 0 || distance == 0 || distance >= self.history.len() - COMPARED as usize {
            return;
        }
        let is_same = |back: u32| {
            back <= end
                && self.at(end.wrapping_sub(back)) == self.at(self.position.wrapping_sub(back))
        };
        let length = (1..=COMPARED).take_while(|back| is_same(*back)).count();
        if length >= MIN_LENGTH {
            (self.next, self.length) = (end, length);
        }
    }

    fn at(&self, position: u32) -> u8 {
        self.history[position as usize & (self.history.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_expected_again() {
        let mut repeats = Repeats::new(16);
        repeats.push_all(b"the quick brown fox; the qu");
        assert_eq!(repeats.expected(), Some((b'i', 6)));
        repeats.push(b'x');
        assert_eq!(repeats.expected(), None);
    }

    #[test]
    fn nothing_is_expected_from_beyond_the_ring() {
        // A ring of 1,024 bytes, of which 32 are kept for comparing.
        for (zeros, expected) in [(982, Some((b'e', 8))), (985, None)] {
            let mut repeats = Repeats::new(12);
            repeats.push_all(b"only once");
            repeats.push_all(&vec![0; zeros]);
            repeats.push_all(b"only onc");
            assert_eq!(repeats.expected(), expected, "{zeros}");
        }
    }

    impl Repeats {
        fn push_all(&mut self, bytes: &[u8]) {
            bytes.iter().for_each(|byte| self.push(*byte));
        }
    }
}
