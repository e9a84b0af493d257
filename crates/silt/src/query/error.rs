//! What can go wrong with a question.

use tarball::{ImageId, JsonError};

use crate::failure::{Failure, FailureKind};

/// A store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The index or a document could not be read.
    #[error(transparent)]
    Read(#[from] store::ReadError),
    /// A file or directory of the store could not be read.
    #[error(transparent)]
    File(#[from] store::FileError),
    /// The reference leads to no image, or to several.
    #[error(transparent)]
    Resolve(#[from] store::ResolveError),
    /// A config has the right digest and is still no config.
    #[error("the config of image {id} cannot be read")]
    Config {
        /// The image.
        id: ImageId,
        /// Why not.
        source: JsonError,
    },
}

impl Failure for QueryError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Read(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::Resolve(error) => error.kind(),
            // A commit takes in no such config, so it was not Silt that put it there.
            Self::Config { .. } => FailureKind::StoredDamaged,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Resolve(error) => error.hint(),
            Self::Config { .. } => None,
        }
    }
}
