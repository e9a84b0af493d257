//! Telling sorts of files by their first bytes, and by their names where those say nothing.

use super::FileKind;

/// So many bytes of a file are looked at.
pub(super) const LOOKED_AT_BYTES: usize = 512;

/// What files begin with. The first that fits counts.
const BEGINNINGS: [(&[u8], FileKind); 26] = [
    (b"\x7fELF", FileKind::Elf),
    (b"MZ", FileKind::Executable),
    (b"\0asm", FileKind::Executable),
    (b"\xcf\xfa\xed\xfe", FileKind::Executable),
    (b"\xca\xfe\xba\xbe", FileKind::Java),
    (b"\xda\xda\xfe\xca", FileKind::Java), // jimage, little-endian
    (b"\x1f\x8b", FileKind::Gzip),
    (b"PK\x03\x04", FileKind::Zip),
    (b"PK\x05\x06", FileKind::Zip),
    (b"\xfd7zXZ\0", FileKind::Packed),
    (b"\x28\xb5\x2f\xfd", FileKind::Packed), // zstd
    (b"BZh", FileKind::Packed),
    (b"7z\xbc\xaf\x27\x1c", FileKind::Packed),
    (b"\x89PNG\r\n\x1a\n", FileKind::Media),
    (b"\xff\xd8\xff", FileKind::Media), // JPEG
    (b"GIF8", FileKind::Media),
    (b"RIFF", FileKind::Media),
    (b"OggS", FileKind::Media),
    (b"wOF2", FileKind::Media),
    (b"wOFF", FileKind::Media),
    (b"OTTO", FileKind::Media),
    (b"\0\x01\0\0\0", FileKind::Media), // TrueType
    (b"SQLite format 3\0", FileKind::Sqlite),
    (b"!<arch>\n", FileKind::Archive),
    (b"%PDF-", FileKind::Packed),
    (b"070701", FileKind::Archive), // cpio
];

/// The sort of the file that is called `path` and begins with `head`.
pub(super) fn classify(path: &[u8], head: &[u8]) -> FileKind {
    // The number of a compiled module changes with each Python; the end of it does not.
    if path.ends_with(b".pyc") && head.get(2..4) == Some(b"\r\n") {
        return FileKind::Pyc;
    }
    let known = BEGINNINGS.iter().find(|(beginning, _)| head.starts_with(beginning));
    match known {
        Some((_, kind)) => *kind,
        None if head.get(257..262) == Some(b"ustar") => FileKind::Archive,
        None if is_text(head) => FileKind::Text,
        None => FileKind::Other,
    }
}

/// Whether there are no other control characters than those that text has, and UTF-8 or Latin-1.
fn is_text(head: &[u8]) -> bool {
    !head.iter().any(|byte| matches!(byte, 0..=7 | 14..=26 | 28..=31 | 127))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let of = |path: &str, head: &[u8]| classify(path.as_bytes(), head);
        assert_eq!(of("bin/sh", b"\x7fELF\x02\x01"), FileKind::Elf);
        assert_eq!(of("a.jar", b"PK\x03\x04\x14\0"), FileKind::Zip);
        assert_eq!(of("m.cpython-311.pyc", b"\xa7\r\r\n\0\0\0\0"), FileKind::Pyc);
        assert_eq!(of("m.cpython-311.pyc", b"\xa7\r\0\0\0\0\0\0"), FileKind::Other);
        assert_eq!(of("README", "naïve\n".as_bytes()), FileKind::Text);
        assert_eq!(of("README", b"caf\xe9\n"), FileKind::Text);
        assert_eq!(of("cache", b"\0\0\0\0"), FileKind::Other);
        assert_eq!(of("empty", b""), FileKind::Text);
    }
}
