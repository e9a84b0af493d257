//! The old bytes around a piece, read at once.

use std::ops::Range;

use crate::read_at::{ReadAt, ReadError};

/// How far before and after a piece its sites may look.
pub(super) const MARGIN_BYTES: u64 = 64;

/// A stretch of the old file that is gone through from front to back, read a little ahead.
pub(super) struct Ahead<'a> {
    origin: &'a dyn ReadAt,
    old: &'a Range<u64>,
    end: u64,
    window: Window,
    window_end: u64,
}

impl<'a> Ahead<'a> {
    /// How much is read at once.
    pub(super) const READ_BYTES: u64 = 4096;

    /// Of the stretch that ends at `end` of the old file, which lies at `old` of its origin.
    pub(super) fn new(origin: &'a dyn ReadAt, old: &'a Range<u64>, end: u64) -> Self {
        Self { origin, old, end, window: Window::default(), window_end: 0 }
    }

    /// Where the stretch ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// A window with the `length` bytes at `at`; `None` where the stretch ends before they do.
    pub(super) fn reach(&mut self, at: u64, length: u64) -> Result<Option<&Window>, ReadError> {
        let after = at.saturating_add(length);
        if after > self.end {
            return Ok(None);
        }
        if after > self.window_end {
            self.window_end = (at + Self::READ_BYTES).min(self.end);
            self.window.read(self.origin, self.old, &(at..self.window_end))?;
        }
        Ok(Some(&self.window))
    }
}

/// Bytes of the old file in memory.
#[derive(Debug, Default)]
pub(super) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Reads `range` of the old file and what lies around it; `old` is its place in its origin.
    pub(super) fn read(
        &mut self,
        origin: &dyn ReadAt,
        old: &Range<u64>,
        range: &Range<u64>,
    ) -> Result<(), ReadError> {
        self.start = range.start.saturating_sub(MARGIN_BYTES);
        let end = (range.end + MARGIN_BYTES).min(old.end - old.start);
        let length = usize::try_from(end.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.clear();
        self.bytes.resize(length, 0);
        origin.read_exact_at(&mut self.bytes, old.start + self.start)
    }

    /// The bytes from `at` on, as many as the window has.
    pub(super) fn from(&self, at: u64) -> &[u8] {
        let start = at.checked_sub(self.start).and_then(|start| usize::try_from(start).ok());
        start.and_then(|start| self.bytes.get(start..)).unwrap_or(&[])
    }

    fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        self.from(at).first_chunk().copied()
    }

    pub(super) fn u8(&self, at: u64) -> Option<u8> {
        self.from(at).first().copied()
    }

    pub(super) fn u32(&self, at: u64) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, at: u64) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// A little-endian number of 2, 4 or 8 bytes.
    pub(super) fn number(&self, at: u64, width: u8) -> Option<u64> {
        match width {
            2 => self.array(at).map(u16::from_le_bytes).map(u64::from),
            4 => self.u32(at).map(u64::from),
            _ => self.u64(at),
        }
    }
}
