//! Members of a tar, with nothing in their headers that could differ from one run to the next.

use std::io::{self, Write};

use super::MemberSink;
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
pub fn member_header(name: &str, size: u64) -> io::Result<tar::Header> {
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

    /// Marks the end and flushes.
    pub(super) fn finish(self) -> io::Result<()> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()
    }
}

impl MemberSink for TarWriter<'_> {
    fn start(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.padding = usize::try_from(padding(size)).unwrap_or_default();
        self.out.write_all(member_header(name, size)?.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        let zeros = [0; 512];
        self.out.write_all(&zeros[..self.padding])
    }
}
