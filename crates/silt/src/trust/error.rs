//! What is wrong with a signature or a key.

use std::io;
use std::path::PathBuf;

use signing::{KeyId, ParseError, VerifyError};

use crate::failure::{Failure, FailureKind};

/// A file's signature is missing or wrong.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct SignatureError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: SignatureProblem,
}

/// In what way a signature is missing or wrong.
#[derive(Debug, thiserror::Error)]
pub enum SignatureProblem {
    /// There is none.
    #[error("it is not signed, and the policy requires a signature")]
    Unsigned,
    /// It is none.
    #[error("index.json.minisig is not a signature: {source}")]
    Malformed {
        /// Why not.
        source: ParseError,
    },
    /// It is one, in other words than those of which no byte can be changed.
    #[error(
        "index.json.minisig is not written as minisign writes it without a comment of one's own"
    )]
    NotExact,
    /// By a key that is not trusted here.
    #[error("it is signed with key {key_id}, which is not trusted here")]
    UnknownKey {
        /// The key, as the signature says.
        key_id: KeyId,
    },
    /// By a trusted key, as it says, and wrong.
    #[error("the signature with key {key_id} is wrong: {source}")]
    Wrong {
        /// The key.
        key_id: KeyId,
        /// In what way.
        source: VerifyError,
    },
}

impl Failure for SignatureError {
    fn kind(&self) -> FailureKind {
        FailureKind::Signature
    }

    fn hint(&self) -> Option<String> {
        match self.problem {
            SignatureProblem::UnknownKey { .. } => {
                Some("`silt trust ls` lists the keys that are trusted".into())
            }
            SignatureProblem::NotExact => {
                Some("`silt image sign --signature` puts a signature in as it must be".into())
            }
            _ => None,
        }
    }
}

/// Trusted keys could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried: a verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that should hold a key does not.
    #[error("{}: it is not a public key: {source}", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ParseError,
    },
    /// There is no such key.
    #[error("no trusted key is {asked:?}")]
    NoSuchKey {
        /// What was asked for.
        asked: String,
    },
}

impl Failure for TrustError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Io { .. } => FailureKind::Other,
            Self::NotAKey { .. } => FailureKind::Damaged,
            Self::NoSuchKey { .. } => FailureKind::NoSuchImage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchKey { .. } => {
                Some("`silt trust ls` lists the keys that are trusted".into())
            }
            _ => None,
        }
    }
}
