//! Why an archive was not written.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tarball::write::WriteError;
use tarball::{DiffId, ImageId, JsonError};

use crate::failure::{Failure, FailureKind, is_engine_fault, is_full};
use crate::scratch::ScratchError;

/// Why an archive was not written. A file that was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// There is no such image, or more than one.
    #[error(transparent)]
    Resolve(#[from] store::ResolveError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] store::ReadError),
    /// A file of the store could not be opened.
    #[error(transparent)]
    File(#[from] store::FileError),
    /// The config of an image cannot be read.
    #[error("the config of image {image} cannot be read")]
    Config {
        /// The image.
        image: ImageId,
        /// Why not.
        source: JsonError,
    },
    /// A layer of an image is not in the store.
    #[error("layer {layer} of image {image} is missing from the store")]
    MissingLayer {
        /// The image.
        image: ImageId,
        /// The layer.
        layer: DiffId,
    },
    /// A layer could not be compressed.
    #[error("cannot compress layer {layer}")]
    Pack {
        /// The layer.
        layer: DiffId,
        /// Why not.
        source: io::Error,
    },
    /// A temporary file could not be made.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The archive could not be made.
    #[error(transparent)]
    Archive(#[from] WriteError),
    /// A key that should sign cannot be read.
    #[error("cannot read the key {}: {why}", path.display())]
    Key {
        /// The key.
        path: PathBuf,
        /// Why not.
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An archive that should be signed is for several platforms, of which others were left out.
    #[error("{} has images for several platforms, and one signature is of all", path.display())]
    SeveralPlatforms {
        /// The archive.
        path: PathBuf,
    },
    /// The archive could not be compressed or written.
    #[error("cannot compress the archive")]
    Compress {
        /// Why not.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where it should go.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SaveError {
    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    /// The same error, naming the output where that is what failed.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::Archive(WriteError::Output(source)) | Self::Compress { source } => {
                Self::write(path, source)
            }
            other => other,
        }
    }
}

impl Failure for SaveError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Resolve(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::Config { .. } | Self::MissingLayer { .. } => FailureKind::StoredDamaged,
            // The archive's documents are ours; what is checked on the way is the store's.
            Self::Archive(WriteError::LayerSize { .. } | WriteError::LayerDigest { .. }) => {
                FailureKind::StoredDamaged
            }
            Self::Archive(WriteError::Layer { source, .. }) | Self::Pack { source, .. }
                if is_engine_fault(source) =>
            {
                FailureKind::StoredDamaged
            }
            Self::Write { source, .. } | Self::Pack { source, .. } | Self::Compress { source }
                if is_full(source) =>
            {
                FailureKind::NoRoom
            }
            Self::Scratch(error) if is_full(&error.source) => FailureKind::NoRoom,
            _ => FailureKind::Other,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Archive(WriteError::LayerSize { .. } | WriteError::LayerDigest { .. })
            | Self::MissingLayer { .. } => {
                Some("`silt image verify` lists all that is damaged".into())
            }
            Self::Write { source, .. } if is_too_large(source) => {
                Some("FAT takes no file of 4 GiB: with --split 3900M there are parts".into())
            }
            _ => None,
        }
    }
}

/// Whether the file system takes no file of this size.
fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::FBIG.raw_os_error())
}
