//! A carryless arithmetic coder of bits, as in PAQ.

use crate::native::streams::Result;

/// Codes bits; which direction, the model need not know.
pub(in crate::native::streams) trait BitCoder {
    /// A bit that is 1 with a probability of `probability` of 4096, which is neither 0 nor 4096. Reading gives
    /// the bit; writing takes `bit` and gives it back.
    fn code(&mut self, probability: u32, bit: u32) -> u32;
}

/// The numbers that the bytes so far leave.
#[derive(Clone, Copy)]
struct Range {
    low: u32,
    high: u32,
}

impl Default for Range {
    fn default() -> Self {
        Self { low: 0, high: u32::MAX }
    }
}

impl Range {
    /// The last number that stands for a 1.
    fn split(self, probability: u32) -> u32 {
        let share = (u64::from(self.high - self.low) * u64::from(probability)) >> 12;
        // Less than the range.
        self.low + u32::try_from(share).unwrap_or(0)
    }

    fn take(&mut self, bit: u32, split: u32) {
        match bit {
            1 => self.high = split,
            _ => self.low = split + 1,
        }
    }

    /// The first byte of all numbers that are left, which is then gone; none where they differ in it.
    fn settled(&mut self) -> Option<u8> {
        if (self.low ^ self.high) >> 24 != 0 {
            return None;
        }
        let byte = self.high.to_be_bytes()[0];
        (self.low, self.high) = (self.low << 8, self.high << 8 | 255);
        Some(byte)
    }
}

/// Writes the bits of a stream in one frame.
#[derive(Default)]
pub(in crate::native::streams) struct BitWriter {
    range: Range,
    out: Vec<u8>,
}

impl BitWriter {
    /// The bytes of the frame, and begins the next.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        // The least of what is left with this first byte; zeros follow, which are not written.
        self.out.push(self.range.high.to_be_bytes()[0]);
        self.range = Range::default();
        std::mem::take(&mut self.out)
    }
}

impl BitCoder for BitWriter {
    fn code(&mut self, probability: u32, bit: u32) -> u32 {
        let split = self.range.split(probability);
        self.range.take(bit, split);
        while let Some(byte) = self.range.settled() {
            self.out.push(byte);
        }
        bit
    }
}

/// Reads the bits of a stream in one frame.
pub(in crate::native::streams) struct BitReader<'a> {
    state: &'a mut ReadState,
    stored: &'a [u8],
}

/// Where reading stands in a frame's bytes.
#[derive(Default)]
pub(super) struct ReadState {
    range: Range,
    number: u32,
    /// Bytes that were taken in, zeros after the end counted.
    taken: usize,
}

impl ReadState {
    /// Begins a frame.
    pub(super) fn new(stored: &[u8]) -> Self {
        let mut state = Self::default();
        (0..4).for_each(|_| state.shift(stored));
        state
    }

    fn shift(&mut self, stored: &[u8]) {
        let byte = stored.get(self.taken).copied().unwrap_or(0);
        self.number = self.number << 8 | u32::from(byte);
        self.taken += 1;
    }

    /// Whether what was read can still be what was written: no more than three zeros are read after the end.
    pub(super) fn is_possible(&self, stored: &[u8]) -> Result {
        match self.taken <= stored.len() + 3 {
            true => Ok(()),
            false => Err("a mixed stream is shorter than what it should hold"),
        }
    }

    /// Whether a stream that ends here has the bytes that it should, no fewer and no more.
    pub(super) fn is_at_end(&self, stored: &[u8]) -> Result {
        match stored.len() + 3 == self.taken {
            true => Ok(()),
            false => Err("a mixed stream is not as long as what it holds"),
        }
    }
}

impl<'a> BitReader<'a> {
    pub(super) fn new(state: &'a mut ReadState, stored: &'a [u8]) -> Self {
        Self { state, stored }
    }
}

impl BitCoder for BitReader<'_> {
    fn code(&mut self, probability: u32, _: u32) -> u32 {
        let split = self.state.range.split(probability);
        let bit = u32::from(self.state.number <= split);
        self.state.range.take(bit, split);
        while self.state.range.settled().is_some() {
            self.state.shift(self.stored);
        }
        bit
    }
}
