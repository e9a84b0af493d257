//! Public keys.

use ed25519_dalek::VerifyingKey;

use crate::lines::{Lines, key_text};
use crate::{KeyId, ParseError};

pub(crate) const ALGORITHM: [u8; 2] = *b"Ed";

/// A key that signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// How it is called.
    pub id: KeyId,
    /// What its file says of it. Nothing vouches for that but whoever keeps the file.
    pub comment: String,
    pub(crate) key: VerifyingKey,
}

impl PublicKey {
    /// Reads a file as `minisign -G` makes it, or its second line alone.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut lines = Lines::of(text)?;
        let has_comment = text.starts_with(b"untrusted comment:");
        let comment = if has_comment { lines.untrusted_comment()? } else { "" };
        let bytes: [u8; 42] = lines.bytes("a public key in base64")?;
        lines.end()?;
        let (algorithm, rest) = bytes.split_at(2);
        if algorithm != ALGORITHM {
            let found = String::from_utf8_lossy(algorithm).into_owned();
            return Err(ParseError::Algorithm { found });
        }
        let (id, key) = rest.split_at(8);
        Self::of(id, key, comment)
    }

    pub(crate) fn of(id: &[u8], key: &[u8], comment: &str) -> Result<Self, ParseError> {
        let id = KeyId(id.try_into().map_err(|_| ParseError::Point)?);
        let key: [u8; 32] = key.try_into().map_err(|_| ParseError::Point)?;
        let key = VerifyingKey::from_bytes(&key).ok().filter(|key| !key.is_weak());
        Ok(Self { id, comment: comment.trim().to_owned(), key: key.ok_or(ParseError::Point)? })
    }

    /// The key as a file.
    pub fn to_text(&self) -> String {
        key_text(&self.comment, &self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        [&ALGORITHM, &self.id.0[..], self.key.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "untrusted comment: minisign public key D948A05B30636DEA\n\
                        RWTqbWMwW6BI2R6NLUMgDnFXOzbh4SCb0yabTV+7ZsMbrS4MtJbQdO0Z\n";

    #[test]
    fn a_file_and_its_second_line_are_the_same_key() {
        let key = PublicKey::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(key.id.to_string(), "D948A05B30636DEA");
        assert_eq!(key.comment, "minisign public key D948A05B30636DEA");
        assert_eq!(key.to_text(), TEXT);
        let line = TEXT.lines().nth(1).unwrap();
        let short = PublicKey::parse(line.as_bytes()).unwrap();
        assert_eq!((short.id, short.key), (key.id, key.key));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let weak = format!("RWTqbWMwW6BI2{}", "A".repeat(43));
        for bad in ["", "untrusted comment: x\n", "x", &weak, &TEXT.replace("RWT", "RUT")] {
            assert!(PublicKey::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(PublicKey::parse(format!("{TEXT}more\n").as_bytes()).is_err());
        assert!(PublicKey::parse(&vec![b'\n'; 20_000]).is_err());
    }
}
