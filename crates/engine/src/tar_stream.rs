//! A docker-archive as it is sent: members one after the other.

use std::io::{self, Write};

/// The largest size in eleven octal digits.
const MAX_OCTAL_SIZE: u64 = 0o777_7777_7777;

/// The header of a regular file of so many bytes.
pub(crate) fn header(name: &str, size_bytes: u64) -> io::Result<[u8; 512]> {
    // ustar cannot say larger sizes; GNU can, and every engine understands both.
    let mut header = match size_bytes {
        0..=MAX_OCTAL_SIZE => tar::Header::new_ustar(),
        _ => tar::Header::new_gnu(),
    };
    header.set_path(name)?;
    header.set_size(size_bytes);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
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
