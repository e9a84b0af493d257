//! Why layers could not be unpacked.

use std::io;
use std::path::PathBuf;

use crate::archive::FaultKind;
use crate::digest::DiffId;
use crate::tar_stream::TarError;

/// Layers could not be unpacked. Offsets are those of the uncompressed layer.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The directory is not empty, or cannot be used.
    #[error("cannot unpack to {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A layer could not be opened, or its end not be read.
    #[error("cannot read layer {layer}")]
    Open {
        /// The layer.
        layer: DiffId,
        /// What its reader said.
        source: io::Error,
    },
    /// A layer is no tar that can be read.
    #[error("cannot unpack layer {layer}")]
    Layer {
        /// The layer.
        layer: DiffId,
        /// What is wrong with it.
        source: TarError,
    },
    /// A member is one that no honest layer has, or that Silt does not unpack.
    #[error("layer {layer}: member {path:?} at offset {offset} {problem}")]
    Refused {
        /// The layer.
        layer: DiffId,
        /// The member's path, made printable.
        path: String,
        /// Where its header is.
        offset: u64,
        /// In what way.
        problem: &'static str,
    },
    /// A member could not be made.
    #[error("layer {layer}: cannot make {path:?}, at offset {offset}")]
    Make {
        /// The layer.
        layer: DiffId,
        /// The member's path, made printable.
        path: String,
        /// Where its header is.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The paths of a layer need more memory than is allowed.
    #[error("layer {layer}: the paths need more than {limit_bytes} bytes of memory")]
    TooManyPaths {
        /// The layer.
        layer: DiffId,
        /// What is allowed.
        limit_bytes: u64,
    },
}

impl UnpackError {
    /// What kind of failure this is.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Layer { source: TarError::Io { source, .. }, .. } | Self::Open { source, .. } => {
                kind_of_reading(source)
            }
            Self::Layer { .. } | Self::Refused { .. } => FaultKind::Damage,
            Self::TooManyPaths { .. } => FaultKind::Memory,
            Self::Directory { .. } | Self::Make { .. } => FaultKind::Io,
        }
    }
}

/// A layer that comes out of an archive may bring the archive's errors.
fn kind_of_reading(error: &io::Error) -> FaultKind {
    crate::archive::ArchiveError::of(error).map_or(FaultKind::Io, crate::ArchiveError::kind)
}

/// A path for messages, of at most a line.
pub(super) fn printable(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect()
}
