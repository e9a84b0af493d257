//! Whose signatures count: keys, and what is asked of a file.
//!
//! A file is signed as `docs/formats/signed.md` says. Its signature is checked before anything else
//! of it is used, and then covers all of it.

mod directory;
mod error;

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use signing::{PublicKey, Signature};
use tarball::archive::SignedIndex;

pub(crate) use directory::read_bounded;
pub use directory::{TrustDirectory, TrustedKey};
pub use error::{SignatureError, SignatureProblem, TrustError};

/// The keys that count, and what a file must have.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// What is asked of a file.
    pub demand: Demand,
}

/// What is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demand {
    /// A signature need not be there. One that is must be by a trusted key, if any key is trusted.
    #[default]
    IfSigned,
    /// A signature by a trusted key.
    Signed,
    /// Whatever it is, it is only looked at. A wrong signature by a trusted key is an error all the
    /// same.
    Look,
}

/// Who signed a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// The key, as the signature says.
    #[serde(serialize_with = "display")]
    pub key_id: signing::KeyId,
    /// Whether the key is trusted here, and the signature right.
    pub is_trusted: bool,
    /// What the trusted key's file says of it.
    pub key_comment: Option<String>,
    /// What the signer wrote beside the signature; signed as well.
    pub comment: String,
}

impl Trust {
    /// Fails where a file without a signature will not do.
    pub(crate) fn check_unsigned(&self, path: &Path) -> Result<(), SignatureError> {
        match self.demand {
            Demand::Signed => Err(self.error(path, SignatureProblem::Unsigned)),
            Demand::IfSigned | Demand::Look => Ok(()),
        }
    }

    /// Checks the signature of an index. Nothing else of the file was looked at before.
    pub(crate) fn check(
        &self,
        path: &Path,
        signed: &SignedIndex,
    ) -> Result<Signer, SignatureError> {
        let error = |problem| self.error(path, problem);
        let signature = Signature::parse(&signed.signature)
            .map_err(|source| error(SignatureProblem::Malformed { source }))?;
        if !signature.is_exactly(&signed.signature) {
            return Err(error(SignatureProblem::NotExact));
        }
        let mut signer = Signer {
            key_id: signature.key_id,
            is_trusted: false,
            key_comment: None,
            comment: signature.trusted_comment.clone(),
        };
        // An ID can be forged: with two keys of one ID, each may be the one.
        let mut failure = None;
        for key in self.keys.iter().filter(|key| key.id == signature.key_id) {
            match signature.verify(key, &signed.index) {
                Ok(()) => {
                    signer.is_trusted = true;
                    signer.key_comment = Some(key.comment.clone());
                    return Ok(signer);
                }
                Err(source) => failure = Some(source),
            }
        }
        let key_id = signature.key_id;
        match failure {
            Some(source) => Err(error(SignatureProblem::Wrong { key_id, source })),
            None if self.demand == Demand::Look => Ok(signer),
            None if self.demand == Demand::IfSigned && self.keys.is_empty() => Ok(signer),
            None => Err(error(SignatureProblem::UnknownKey { key_id })),
        }
    }

    fn error(&self, path: &Path, problem: SignatureProblem) -> SignatureError {
        SignatureError { path: PathBuf::from(path), problem }
    }
}

fn display<T: std::fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
