//! A part of a file, read at its own position: several can be read at once.

use std::io::{self, Read};
use std::sync::Arc;

use super::part_file::PartFile;
use crate::tar_stream::Skip;

/// Bytes `position..end` of a file.
#[derive(Debug, Clone)]
pub(super) struct FileRange {
    file: Arc<PartFile>,
    position: u64,
    end: u64,
}

impl FileRange {
    pub(super) fn new(file: Arc<PartFile>, offset: u64, length: u64) -> Self {
        Self { file, position: offset, end: offset.saturating_add(length) }
    }
}

impl Read for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end - self.position;
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Skip for FileRange {
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let skipped = count.min(self.end - self.position);
        self.position += skipped;
        Ok(skipped)
    }
}
