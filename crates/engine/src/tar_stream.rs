//! A docker-archive as it is sent: members one after the other.

use std::io::{self, Write};

use tarball::write::member_header;

/// The header of a regular file of so many bytes.
pub(crate) fn header(name: &str, size_bytes: u64) -> io::Result<[u8; 512]> {
    member_header(name, size_bytes).map(|header| *header.as_bytes())
}

/// The zeros after the contents of a member of so many bytes.
pub(crate) fn padding(size_bytes: u64) -> &'static [u8] {
    const ZEROS: [u8; 512] = [0; 512];
    let count = usize::try_from(size_bytes.wrapping_neg() % 512).unwrap_or(0);
    &ZEROS[..count]
}

/// Writes a whole member.
pub(crate) fn write_member(out: &mut dyn Write, name: &str, contents: &[u8]) -> io::Result<()> {
    let size_bytes = contents.len() as u64;
    out.write_all(&header(name, size_bytes)?)?;
    out.write_all(contents)?;
    out.write_all(padding(size_bytes))
}

/// The zeros that end an archive.
pub(crate) const END: [u8; 1024] = [0; 1024];
