//! [minisign](https://jedisct1.github.io/minisign/)'s keys and signatures: Ed25519, in files of two or
//! four lines. What minisign writes is read here, and what is written here minisign reads.
//!
//! - [`PublicKey`]: what a device trusts.
//! - [`SecretKeyFile`], [`SecretKey`]: what signs; a file may be encrypted with a password.
//! - [`Signature`]: of a document, with a comment that it covers as well.
//!
//! Everything is read strictly: there is one spelling of a key and of a signature, so that a file in
//! which a signature stands has no byte that could be another.

mod base64;
mod key_id;
mod lines;
mod public_key;
mod secret_key;
mod signature;

pub use key_id::KeyId;
pub use public_key::PublicKey;
pub use secret_key::{SecretKey, SecretKeyFile};
pub use signature::{Signature, VerifyError};

/// Most bytes of a key or a signature. minisign's comments have at most 8 KiB.
pub const MAX_FILE_BYTES: u64 = 16 << 10;

/// Something that is not a key or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// There are more bytes than there may be.
    #[error("{bytes} bytes are more than a key or a signature has")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("it is not text")]
    NotText,
    /// A line is missing or is not what stands there.
    #[error("line {line} should be {expected}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// Another algorithm than Ed25519.
    #[error("the algorithm {found:?} is not Ed25519 as minisign writes it")]
    Algorithm {
        /// What it says.
        found: String,
    },
    /// The point is none of the curve, or one of those with which anything is signed.
    #[error("it is no usable Ed25519 key")]
    Point,
}

/// A secret key could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// It is encrypted.
    #[error("the key is encrypted, and there is no password")]
    NoPassword,
    /// The checksum is wrong: of a password that is, or of a damaged file.
    #[error("the password is wrong, or the key is damaged")]
    WrongPassword,
    /// The file asks for more work than any key of minisign's.
    #[error(
        "the key wants {memory_bytes} bytes of memory to be decrypted, which is more than minisign's keys do"
    )]
    TooExpensive {
        /// What it wants.
        memory_bytes: u64,
    },
    /// The secret half does not belong to the public one.
    #[error("the two halves of the key do not belong together")]
    Halves,
}
