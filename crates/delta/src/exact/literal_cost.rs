//! What bytes cost as literals, once the delta is compressed: an estimate.
//!
//! A run of zeros or of text that stood just before costs next to nothing as a literal, a run of code costs
//! most of its length. Which of the two it is shows in its sequences of four bytes: deflate finds those that it has
//! seen within its window.

/// How far deflate looks back.
const WINDOW_BYTES: u64 = 32 << 10;
const SLOTS_LOG2: u32 = 15;
/// Eighths of a byte: what a byte costs that starts a new sequence, and one that starts a known one.
const NEW_EIGHTHS: u64 = 7;
const KNOWN_EIGHTHS: u64 = 1;

/// The literals so far, as far as a compressor would remember them.
pub(super) struct LiteralCost {
    /// Where each sequence of four bytes was last: one more than the position, 0 for nowhere.
    last: Vec<u64>,
    /// Literal bytes so far.
    position: u64,
}

impl LiteralCost {
    pub(super) fn new() -> Self {
        Self { last: vec![0; 1 << SLOTS_LOG2], position: 0 }
    }

    /// Bytes that these would add to the compressed delta as literals.
    pub(super) fn of(&self, bytes: &[u8]) -> u64 {
        let mut eighths = bytes.len().min(3) as u64 * NEW_EIGHTHS;
        let mut before = None;
        for four in bytes.windows(4) {
            let is_known = before == Some(four) || self.is_recent(four);
            eighths += if is_known { KNOWN_EIGHTHS } else { NEW_EIGHTHS };
            before = Some(four);
        }
        eighths / 8
    }

    fn is_recent(&self, four: &[u8]) -> bool {
        let last = self.last[slot(four)];
        last > 0 && self.position + 1 - last <= WINDOW_BYTES
    }

    /// These became literals.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for (at, four) in (self.position..).zip(bytes.windows(4)) {
            self.last[slot(four)] = at + 1;
        }
        self.position += bytes.len() as u64;
    }
}

/// The slot of four bytes.
fn slot(four: &[u8]) -> usize {
    let bits = four.iter().fold(0, |bits: u32, byte| bits << 8 | u32::from(*byte));
    (bits.wrapping_mul(0x9e37_79b1) >> (32 - SLOTS_LOG2)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_and_what_repeats_costs_little() {
        let mixed: Vec<u8> =
            (0..200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut cost = LiteralCost::new();
        assert!(cost.of(&mixed) > 150, "{}", cost.of(&mixed));
        assert!(cost.of(&[0; 200]) < 30);
        cost.add(&mixed);
        assert!(cost.of(&mixed) < 30);
        cost.add(&vec![7; 40 << 10]);
        assert!(cost.of(&mixed) > 150);
    }
}
