//! The bytes before the one that is made.

/// The last bytes that were made of a stretch in the frame at hand; zeros before them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::native) struct Tail(u64);

impl Tail {
    /// Takes in bytes that were made.
    pub(in crate::native) fn push(&mut self, bytes: &[u8]) {
        let last = bytes.len().saturating_sub(8);
        bytes[last..].iter().for_each(|byte| self.push_byte(*byte));
    }

    pub(super) fn push_byte(&mut self, byte: u8) {
        self.0 = self.0 << 8 | u64::from(byte);
    }

    /// The tail after the first bytes of a piece.
    pub(in crate::native) fn after(mut self, made: &[u8]) -> Self {
        self.push(made);
        self
    }

    /// The last bytes, the last one first.
    pub(super) fn last(self) -> [u32; 6] {
        let bytes = self.0.to_le_bytes();
        std::array::from_fn(|i| u32::from(bytes[i]))
    }
}
