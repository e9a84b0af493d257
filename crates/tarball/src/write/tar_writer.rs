//! Members of a tar, with nothing in their headers that could differ from one run to the next.

use std::io::Write;

use super::WriteError;
use crate::tar_stream::BLOCK_BYTES;

/// Two blocks of zeros.
pub(super) const END_BYTES: u64 = 2 * BLOCK_BYTES;
/// The largest size in eleven octal digits.
const MAX_OCTAL_SIZE: u64 = 0o777_7777_7777;

/// Writes members one after the other.
pub(super) struct TarWriter<'a> {
    out: &'a mut dyn Write,
    padding: usize,
}

/// What a member takes in the archive.
pub(super) fn member_bytes(size: u64) -> u64 {
    size.saturating_add(BLOCK_BYTES + padding(size))
}

/// The one header that a member of this name and size has.
pub fn member_header(name: &str, size: u64) -> std::io::Result<tar::Header> {
    // ustar cannot say larger sizes; GNU can, and every reader understands both.
    let mut header = match size {
        0..=MAX_OCTAL_SIZE => tar::Header::new_ustar(),
        _ => tar::Header::new_gnu(),
    };
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header)
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK_BYTES
}

impl<'a> TarWriter<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, padding: 0 }
    }

    /// Writes a member's header. `size` bytes must follow.
    pub(super) fn start_member(&mut self, name: &str, size: u64) -> Result<(), WriteError> {
        self.padding = usize::try_from(padding(size)).unwrap_or_default();
        let header = member_header(name, size).map_err(WriteError::Output)?;
        self.write_data(header.as_bytes())
    }

    pub(super) fn write_data(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes).map_err(WriteError::Output)
    }

    pub(super) fn end_member(&mut self) -> Result<(), WriteError> {
        let zeros = [0; 512];
        self.write_data(&zeros[..self.padding])
    }

    /// Marks the end and flushes.
    pub(super) fn finish(mut self) -> Result<(), WriteError> {
        self.write_data(&[0; 1024])?;
        self.out.flush().map_err(WriteError::Output)
    }
}
