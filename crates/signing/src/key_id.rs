//! How a key is called.

use std::fmt;

/// Eight random bytes that were made with a key, in each of its files and signatures: by them the
/// key of a signature is found. minisign prints them as a number, the last one first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// Reads the 16 hex digits that [`fmt::Display`] writes, in either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_hex = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        Some(Self(number.to_le_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_spelled_as_minisign_does() {
        let id = KeyId([0xEA, 0x6D, 0x63, 0x30, 0x5B, 0xA0, 0x48, 0x09]);
        assert_eq!(id.to_string(), "0948A05B30636DEA");
        assert_eq!(KeyId::from_hex("0948a05b30636dea"), Some(id));
        for bad in ["", "948A05B30636DEA", "+948A05B30636DEA", "0948A05B30636DEA0"] {
            assert_eq!(KeyId::from_hex(bad), None);
        }
    }
}
