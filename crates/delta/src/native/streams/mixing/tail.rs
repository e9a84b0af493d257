//! The bytes before the one that is made.

/// As many are kept: instructions begun with the first of them are found again by the last.
const KEPT: usize = 32;

/// The last bytes that were made of a stretch in the frame at hand; zeros before them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::native) struct Tail([u8; KEPT]);

impl Tail {
    /// Takes in bytes that were made.
    pub(in crate::native) fn push(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(KEPT);
        self.0.copy_within(count.., 0);
        self.0[KEPT - count..].copy_from_slice(&bytes[bytes.len() - count..]);
    }

    pub(super) fn push_byte(&mut self, byte: u8) {
        self.0.copy_within(1.., 0);
        self.0[KEPT - 1] = byte;
    }

    /// The tail after the first bytes of a piece.
    pub(in crate::native) fn after(mut self, made: &[u8]) -> Self {
        self.push(made);
        self
    }

    /// All of them, the first one first.
    pub(in crate::native) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the last eight are text: printed characters of ASCII, tabs and ends of lines.
    pub(super) fn is_text(&self) -> bool {
        self.0[KEPT - 8..].iter().all(|byte| matches!(byte, 9..=13 | 32..=126))
    }

    /// The last six, the last one first.
    pub(super) fn last(&self) -> [u32; 6] {
        std::array::from_fn(|i| u32::from(self.0[KEPT - 1 - i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_however_they_come() {
        let bytes: Vec<u8> = (1..100).collect();
        for split in 0..bytes.len() {
            let mut tail = Tail::default().after(&bytes[..split]);
            tail.push(&bytes[split..]);
            assert_eq!(tail.bytes(), &bytes[bytes.len() - KEPT..], "{split}");
        }
        let mut tail = Tail::default().after(&[1, 2]);
        tail.push_byte(3);
        assert_eq!(tail.last(), [3, 2, 1, 0, 0, 0]);
    }
}
