//! Bytes that are read at random, read in order.

use std::io::{self, Read};

use delta::ReadError;
use delta::read_at::ReadAt;

/// Reads from the first byte to the last.
pub(crate) struct Sequential<'a> {
    bytes: &'a dyn ReadAt,
    at: u64,
}

impl<'a> Sequential<'a> {
    pub(crate) fn new(bytes: &'a dyn ReadAt) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.size() - self.at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        self.bytes.read_exact_at(&mut buffer[..count], self.at).map_err(|error| match error {
            ReadError::Io { source, .. } => source,
            error @ ReadError::OutOfRange { .. } => io::Error::other(error),
        })?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_read_in_order_and_then_nothing() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut read = Vec::new();
        let mut sequential = Sequential::new(&bytes);
        while sequential.by_ref().take(7).read_to_end(&mut read).unwrap() > 0 {}
        assert_eq!(read, bytes);
    }
}
