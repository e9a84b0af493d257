//! Bits in the order of deflate: low ones first.

use std::io::Write;

use super::RecreateError;

/// Reads bits; past the end, zeros, of which [`Self::is_past_end`] tells.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next byte that is not in `bits`.
    next: usize,
    bits: u64,
    count: u32,
    /// Zero bytes that were taken beyond the end.
    beyond: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, next: 0, bits: 0, count: 0, beyond: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = self.bytes.get(self.next).copied();
            match byte {
                Some(_) => self.next += 1,
                None => self.beyond += 1,
            }
            self.bits |= u64::from(byte.unwrap_or(0)) << self.count;
            self.count += 8;
        }
    }

    /// The next bits, at most 32, without taking them.
    pub(super) fn peek(&mut self, count: u32) -> u32 {
        if self.count < 32 {
            self.fill();
        }
        // Masked to at most 32 bits.
        u32::try_from(self.bits & ((1 << count) - 1)).unwrap_or(0)
    }

    /// Takes bits that were looked at.
    pub(super) fn skip(&mut self, count: u32) {
        self.bits >>= count;
        self.count -= count.min(self.count);
    }

    /// Takes the next bits, at most 32.
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// Takes the bits up to the next whole byte.
    pub(super) fn take_padding(&mut self) -> u32 {
        self.take(self.count % 8)
    }

    /// Whether more was taken than there is.
    pub(super) fn is_past_end(&self) -> bool {
        self.beyond * 8 > self.count as usize
    }

    /// Bytes that were taken, the last one maybe in part.
    pub(super) fn bytes_taken(&self) -> usize {
        (self.next + self.beyond).saturating_sub((self.count / 8) as usize)
    }

    /// Takes whole bytes, where the bits before are whole bytes; `None` where there are fewer.
    pub(super) fn take_bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let at = self.bytes_taken();
        let bytes = self.bytes.get(at..at.checked_add(length)?)?;
        *self = Self { next: at + length, ..Self::new(self.bytes) };
        Some(bytes)
    }
}

/// Written bytes are passed on when there are so many.
const BUFFER_BYTES: usize = 16 << 10;

/// Writes bits, no more than were announced.
pub(super) struct BitWriter<'a> {
    out: &'a mut dyn Write,
    expected: u64,
    left: u64,
    buffer: Vec<u8>,
    bits: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut dyn Write, expected_bytes: u64) -> Self {
        let buffer = Vec::with_capacity(BUFFER_BYTES + 8);
        Self { out, expected: expected_bytes, left: expected_bytes, buffer, bits: 0, count: 0 }
    }

    /// Writes the low bits of `value`, at most 32.
    pub(super) fn put(&mut self, value: u32, count: u32) -> Result<(), RecreateError> {
        self.bits |= (u64::from(value) & ((1 << count) - 1)) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.buffer.push(self.bits.to_le_bytes()[0]);
            self.bits >>= 8;
            self.count -= 8;
        }
        if self.buffer.len() >= BUFFER_BYTES { self.pass_on() } else { Ok(()) }
    }

    /// Writes zero bits up to the next whole byte.
    pub(super) fn pad(&mut self) -> Result<(), RecreateError> {
        self.put(0, (8 - self.count % 8) % 8)
    }

    /// Writes whole bytes, where the bits before are whole bytes.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), RecreateError> {
        self.pass_on()?;
        self.write(bytes)
    }

    fn pass_on(&mut self) -> Result<(), RecreateError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RecreateError> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or(RecreateError::Length { expected: self.expected })?;
        self.out.write_all(bytes).map_err(RecreateError::Write)
    }

    /// Pads, and checks that all that was announced was written.
    pub(super) fn finish(mut self) -> Result<(), RecreateError> {
        self.pad()?;
        self.pass_on()?;
        let expected = self.expected;
        if self.left == 0 { Ok(()) } else { Err(RecreateError::Length { expected }) }
    }
}
