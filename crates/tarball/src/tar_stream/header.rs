//! One 512-byte header block.

use super::{BLOCK_LENGTH, Timestamp};

/// A block that passed its checksum.
pub(super) struct Header<'a>(&'a [u8; BLOCK_LENGTH]);

/// Whether these bytes start with a tar header: one that is not all zeros and passes its checksum.
pub(crate) fn is_header(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|block| Header::check(block).is_some())
}

impl<'a> Header<'a> {
    /// Checks the sum, which old tars computed over signed bytes.
    pub(super) fn check(block: &'a [u8; BLOCK_LENGTH]) -> Option<Self> {
        let stored = octal(&block[148..156])?;
        let sum = |value: fn(u8) -> i64| -> i64 {
            let outside = block[..148].iter().chain(&block[156..]);
            outside.map(|byte| value(*byte)).sum::<i64>() + 8 * i64::from(b' ')
        };
        let unsigned = sum(i64::from);
        let signed = sum(|byte| i64::from(byte.cast_signed()));
        let is_zero = block.iter().all(|byte| *byte == 0);
        let matches = [unsigned, signed].iter().any(|sum| u64::try_from(*sum) == Ok(stored));
        (matches && !is_zero).then_some(Self(block))
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// The name, with ustar's prefix.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        let prefix = until_nul(&self.0[345..500]);
        if self.is_ustar() && !prefix.is_empty() {
            return [prefix, b"/", name].concat();
        }
        name.to_vec()
    }

    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(&self.0[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Option<u32> {
        Some(u32::try_from(number(&self.0[100..108])? & 0o7777).unwrap_or(0))
    }

    pub(super) fn user_id(&self) -> Option<u64> {
        u64::try_from(number(&self.0[108..116])?).ok()
    }

    pub(super) fn group_id(&self) -> Option<u64> {
        u64::try_from(number(&self.0[116..124])?).ok()
    }

    pub(super) fn size(&self) -> Option<u64> {
        u64::try_from(number(&self.0[124..136])?).ok()
    }

    pub(super) fn mtime(&self) -> Option<Timestamp> {
        Some(Timestamp { seconds: number(&self.0[136..148])?, nanoseconds: 0 })
    }

    /// Major and minor; V7 has none.
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        if &self.0[257..262] != b"ustar" {
            return Some((0, 0));
        }
        let part = |field| u32::try_from(number(field)?).ok();
        Some((part(&self.0[329..337])?, part(&self.0[337..345])?))
    }

    /// Whether a GNU sparse header goes on in the next block.
    pub(super) fn sparse_is_extended(&self) -> bool {
        self.0[482] != 0
    }

    /// GNU's magic has a space where POSIX has a NUL, and other things where POSIX has the prefix.
    fn is_ustar(&self) -> bool {
        &self.0[257..263] == b"ustar\0"
    }
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// Octal digits between spaces and NULs, or base-256 where the first bit is set. `None` if it is
/// neither or does not fit.
fn number(field: &[u8]) -> Option<i64> {
    match field {
        [first, ..] if first & 0x80 != 0 => base_256(field),
        _ => i64::try_from(octal(field)?).ok(),
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_filler(byte));
    let digits = start.map_or(&[][..], |start| &field[start..]);
    let end = digits.iter().position(is_filler).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Two's complement, big-endian, without the very first bit.
fn base_256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = i128::from(field[0] & 0x3f) - if negative { 0x40 } else { 0 };
    let value = field[1..]
        .iter()
        .try_fold(first, |value, byte| value.checked_mul(256)?.checked_add(i128::from(*byte)))?;
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_spelling() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o7777_7777)),
            (b"0000648\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"\x80\0\0\x02\0\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(1 << 33)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn only_a_header_is_a_header() {
        let mut header = tar::Header::new_gnu();
        header.set_path("BZh9").unwrap();
        header.set_size(7);
        header.set_cksum();
        assert!(is_header(header.as_bytes()));
        assert!(!is_header(&header.as_bytes()[..511]));
        let mut damaged = *header.as_bytes();
        damaged[0] ^= 1;
        assert!(!is_header(&damaged));
        assert!(!is_header(&[0; 512]));
    }
}
