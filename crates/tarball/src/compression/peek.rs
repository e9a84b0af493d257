//! A buffered reader that can look ahead, counts, and remembers whether its source failed.

use std::io::{self, BufRead, ErrorKind, Read};

/// Enough to look at any header that tells formats apart, a tar block included.
const BUFFER_BYTES: usize = 64 << 10;

/// The decoders' input.
#[derive(Debug)]
pub(super) struct PeekReader<R> {
    source: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    consumed: u64,
    failed: bool,
}

impl<R: Read> PeekReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            consumed: 0,
            failed: false,
        }
    }

    /// The next `count` bytes, fewer only at the end. `count` is at most 1,024.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        debug_assert!(count <= 1024);
        if self.start + count > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < count && self.refill()? > 0 {}
        Ok(&self.buffer[self.start..self.end.min(self.start + count)])
    }

    /// How many bytes were taken out.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Whether an error came from the source and not from what a decoder made of its bytes.
    pub(super) fn source_failed(&self) -> bool {
        self.failed
    }

    fn refill(&mut self) -> io::Result<usize> {
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
    }
}

impl<R: Read> BufRead for PeekReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.refill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        self.consumed += count as u64;
    }
}

impl<R: Read> Read for PeekReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end && buffer.len() >= BUFFER_BYTES {
            let result = self.source.read(buffer);
            self.failed |= matches!(&result, Err(e) if e.kind() != ErrorKind::Interrupted);
            self.consumed += *result.as_ref().unwrap_or(&0) as u64;
            return result;
        }
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
