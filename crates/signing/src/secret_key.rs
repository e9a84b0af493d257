//! Secret keys, as `minisign -G` keeps them: plain (`-W`), or encrypted with what scrypt makes of a
//! password.

use std::fmt;

use blake2::{Blake2b256, Blake2b512, Digest};
use ed25519_dalek::{Signer, SigningKey};

use crate::lines::Lines;
use crate::public_key::ALGORITHM;
use crate::signature::{DEFAULT_COMMENT, PREHASHED, Signature};
use crate::{KeyId, ParseError, PublicKey, UnlockError};

const NO_KDF: [u8; 2] = [0, 0];
const SCRYPT: [u8; 2] = *b"Sc";
/// scrypt's block size, as libsodium fixes it.
const SCRYPT_R: u32 = 8;
/// minisign's own keys take 2^20 blocks of 1 KiB.
const MAX_LOG_N: u8 = 21;
const MAX_P: u64 = 16;
/// Key ID, secret half, public half, checksum.
const SECRET_BYTES: usize = 8 + 32 + 32 + 32;

/// A file with a secret key, perhaps encrypted.
pub struct SecretKeyFile {
    kdf: Option<Kdf>,
    secret: [u8; SECRET_BYTES],
}

/// How the key of the encryption comes out of the password.
struct Kdf {
    salt: [u8; 32],
    operations: u64,
    memory_bytes: u64,
}

/// A key that signs.
pub struct SecretKey {
    id: KeyId,
    key: SigningKey,
}

impl SecretKeyFile {
    /// Reads a file as `minisign -G` makes it.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut lines = Lines::of(text)?;
        lines.untrusted_comment()?;
        let bytes: [u8; 54 + SECRET_BYTES] = lines.bytes("a secret key in base64")?;
        lines.end()?;
        let algorithm = |found: &[u8]| {
            Err(ParseError::Algorithm { found: String::from_utf8_lossy(found).into_owned() })
        };
        if bytes[..2] != ALGORITHM || bytes[4..6] != *b"B2" {
            return algorithm(&bytes[..6]);
        }
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let mut salt = [0; 32];
        salt.copy_from_slice(&bytes[6..38]);
        let kdf = match bytes[2..4] {
            ref kdf if *kdf == NO_KDF => None,
            ref kdf if *kdf == SCRYPT => {
                Some(Kdf { salt, operations: number(38), memory_bytes: number(46) })
            }
            ref other => return algorithm(other),
        };
        let mut secret = [0; SECRET_BYTES];
        secret.copy_from_slice(&bytes[54..]);
        Ok(Self { kdf, secret })
    }

    /// Whether a password is needed.
    pub fn is_encrypted(&self) -> bool {
        self.kdf.is_some()
    }

    /// The key itself.
    pub fn unlock(&self, password: Option<&[u8]>) -> Result<SecretKey, UnlockError> {
        let mut secret = self.secret;
        if let Some(kdf) = &self.kdf {
            let password = password.ok_or(UnlockError::NoPassword)?;
            let stream = kdf.derive(password)?;
            secret.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
        }
        let (id, rest) = secret.split_at(8);
        let (halves, checksum) = rest.split_at(64);
        let expected = Blake2b256::new().chain_update(ALGORITHM).chain_update(id);
        let expected = expected.chain_update(halves).finalize();
        // Keys without a password have no checksum.
        if self.is_encrypted() && expected[..] != *checksum {
            return Err(UnlockError::WrongPassword);
        }
        let halves: &[u8; 64] = halves.try_into().map_err(|_| UnlockError::Halves)?;
        let key = SigningKey::from_keypair_bytes(halves).map_err(|_| UnlockError::Halves)?;
        Ok(SecretKey { id: KeyId(id.try_into().map_err(|_| UnlockError::Halves)?), key })
    }
}

impl Kdf {
    fn derive(&self, password: &[u8]) -> Result<[u8; SECRET_BYTES], UnlockError> {
        let too_expensive = UnlockError::TooExpensive { memory_bytes: self.memory_bytes };
        let (log_n, p) = self.parameters().ok_or(too_expensive.clone())?;
        let parameters = scrypt::Params::new(log_n, SCRYPT_R, p);
        let parameters = parameters.map_err(|_| too_expensive.clone())?;
        let mut stream = [0; SECRET_BYTES];
        scrypt::scrypt(password, &self.salt, &parameters, &mut stream)
            .map_err(|_| too_expensive)?;
        Ok(stream)
    }

    /// What libsodium's `crypto_pwhash_scryptsalsa208sha256` makes of its two limits.
    fn parameters(&self) -> Option<(u8, u32)> {
        let r = u64::from(SCRYPT_R);
        let operations = self.operations.max(32_768);
        let log_n_of = |max_n: u64| (1u8..63).find(|log_n| 1u64 << log_n > max_n / 2);
        let (log_n, p) = if operations < self.memory_bytes / 32 {
            (log_n_of(operations / (r * 4))?, 1)
        } else {
            let log_n = log_n_of(self.memory_bytes / (r * 128))?;
            (log_n, ((operations / 4) >> log_n).min(0x3fff_ffff) / r)
        };
        (log_n <= MAX_LOG_N && p <= MAX_P).then_some((log_n, u32::try_from(p).ok()?))
    }
}

impl SecretKey {
    /// A key out of its secret half, which must be random.
    pub fn from_seed(id: KeyId, seed: &[u8; 32]) -> Self {
        Self { id, key: SigningKey::from_bytes(seed) }
    }

    /// How it is called.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What checks its signatures.
    pub fn public_key(&self, comment: &str) -> PublicKey {
        PublicKey { id: self.id, comment: comment.to_owned(), key: self.key.verifying_key() }
    }

    /// Signs a document, and a comment of one line beside it. The same makes the same.
    pub fn sign(&self, document: &[u8], trusted_comment: &str) -> Signature {
        let trusted_comment: String =
            trusted_comment.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        let signature = self.key.sign(&Blake2b512::digest(document)).to_bytes();
        let global = self.key.sign(&[&signature, trusted_comment.as_bytes()].concat()).to_bytes();
        Signature {
            algorithm: PREHASHED,
            key_id: self.id,
            signature,
            untrusted_comment: DEFAULT_COMMENT.to_owned(),
            trusted_comment,
            global,
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id)
    }
}

impl fmt::Debug for SecretKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKeyFile").field("is_encrypted", &self.is_encrypted()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kdf(operations: u64, memory_bytes: u64) -> Kdf {
        Kdf { salt: [0; 32], operations, memory_bytes }
    }

    #[test]
    fn limits_are_those_of_libsodium() {
        // Its interactive and its sensitive limits, by its own constants.
        assert_eq!(kdf(524_288, 16_777_216).parameters(), Some((14, 1)));
        assert_eq!(kdf(33_554_432, 1_073_741_824).parameters(), Some((20, 1)));
        assert_eq!(kdf(0, 1_073_741_824).parameters(), Some((10, 1)));
        assert_eq!(kdf(u64::MAX, 1 << 40).parameters(), None);
        assert_eq!(kdf(u64::MAX, 16_777_216).parameters(), None);
    }
}
