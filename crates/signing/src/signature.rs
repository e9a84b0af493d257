//! Signatures.

use blake2::{Blake2b512, Digest};
use ed25519_dalek::Signature as Ed25519Signature;

use crate::lines::{Lines, signature_text};
use crate::public_key::ALGORITHM;
use crate::{KeyId, ParseError, PublicKey};

/// What is signed is the document's BLAKE2b-512. Else ([`ALGORITHM`]) it is the document.
pub(crate) const PREHASHED: [u8; 2] = *b"ED";
/// What minisign writes where nobody says anything else.
pub(crate) const DEFAULT_COMMENT: &str = "signature from minisign secret key";

/// A signature of a document, and of a comment beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub(crate) algorithm: [u8; 2],
    /// The key that made it, as it says.
    pub key_id: KeyId,
    pub(crate) signature: [u8; 64],
    /// The comment that anybody can change.
    pub untrusted_comment: String,
    /// The comment that is signed as well.
    pub trusted_comment: String,
    pub(crate) global: [u8; 64],
}

/// A signature is not that of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It was made with another key.
    #[error("it was made with another key")]
    OtherKey,
    /// It is not one of the document.
    #[error("it does not fit the document")]
    Document,
    /// It is one of the document, and the comment beside it is another.
    #[error("it does not fit its comment")]
    Comment,
}

impl Signature {
    /// Reads the four lines that minisign writes.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut lines = Lines::of(text)?;
        let untrusted_comment = lines.untrusted_comment()?.to_owned();
        let bytes: [u8; 74] = lines.bytes("a signature in base64")?;
        let trusted_comment = lines.trusted_comment()?.to_owned();
        let global = lines.bytes("the comment's signature in base64")?;
        lines.end()?;
        let mut parsed = Self {
            algorithm: [bytes[0], bytes[1]],
            key_id: KeyId([0; 8]),
            signature: [0; 64],
            untrusted_comment,
            trusted_comment,
            global,
        };
        parsed.key_id.0.copy_from_slice(&bytes[2..10]);
        parsed.signature.copy_from_slice(&bytes[10..]);
        if ![ALGORITHM, PREHASHED].contains(&parsed.algorithm) {
            let found = String::from_utf8_lossy(&parsed.algorithm).into_owned();
            return Err(ParseError::Algorithm { found });
        }
        Ok(parsed)
    }

    /// Checks the signature of `document`, and that of the comment.
    pub fn verify(&self, key: &PublicKey, document: &[u8]) -> Result<(), VerifyError> {
        if self.key_id != key.id {
            return Err(VerifyError::OtherKey);
        }
        let check = |message: &[u8], signature: &[u8; 64]| {
            key.key.verify_strict(message, &Ed25519Signature::from_bytes(signature))
        };
        let signed = match self.algorithm {
            PREHASHED => check(&Blake2b512::digest(document), &self.signature),
            _ => check(document, &self.signature),
        };
        signed.map_err(|_| VerifyError::Document)?;
        let beside = [&self.signature, self.trusted_comment.as_bytes()].concat();
        check(&beside, &self.global).map_err(|_| VerifyError::Comment)
    }

    /// The four lines.
    pub fn to_text(&self) -> String {
        let signature = [&self.algorithm, &self.key_id.0[..], &self.signature].concat();
        signature_text(&self.untrusted_comment, &signature, &self.trusted_comment, &self.global)
    }

    /// The same with the one untrusted comment that nothing needs to vouch for: minisign's own.
    pub fn with_default_comment(self) -> Self {
        Self { untrusted_comment: DEFAULT_COMMENT.to_owned(), ..self }
    }

    /// Whether `text` is the one spelling of this signature, of which no byte could be another.
    pub fn is_exactly(&self, text: &[u8]) -> bool {
        self.untrusted_comment == DEFAULT_COMMENT && self.to_text().as_bytes() == text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    fn key() -> SecretKey {
        SecretKey::from_seed(KeyId(*b"a key id"), &[7; 32])
    }

    #[test]
    fn a_signature_is_of_a_document_and_its_comment() {
        let signature = key().sign(b"document", "a\tcom\nment");
        let public = key().public_key("");
        assert_eq!(signature.trusted_comment, "a\tcomment");
        assert_eq!(signature.verify(&public, b"document"), Ok(()));
        assert_eq!(signature.verify(&public, b"Document"), Err(VerifyError::Document));
        let other = Signature { trusted_comment: "b".into(), ..signature.clone() };
        assert_eq!(other.verify(&public, b"document"), Err(VerifyError::Comment));
        let stranger = SecretKey::from_seed(KeyId(*b"stranger"), &[7; 32]).public_key("");
        assert_eq!(signature.verify(&stranger, b"document"), Err(VerifyError::OtherKey));
        assert!(signature.is_exactly(signature.to_text().as_bytes()));
    }

    /// There is one text for a signature: whatever is changed is refused, or not exactly that text.
    #[test]
    fn every_changed_byte_is_found() {
        let text = key().sign(b"document", "comment").to_text().into_bytes();
        let public = key().public_key("");
        for at in 0..text.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64, 128] {
                let mut changed = text.clone();
                changed[at] ^= flip;
                let is_accepted = Signature::parse(&changed).is_ok_and(|signature| {
                    signature.is_exactly(&changed) && signature.verify(&public, b"document").is_ok()
                });
                assert!(!is_accepted, "byte {at}: {flip}");
            }
        }
    }
}
