//! Why a delta was not made.

use std::io;

use delta::block_match::MatchError;
use delta::exact::ExactError;
use delta::librsync::{self, DeltaWriteError};
use delta::native::{DecodeError, EncodeError};
use tarball::{DiffId, ImageId, JsonError};

use crate::failure::{Failure, FailureKind, is_engine_damage, is_full};
use crate::place::SourceError;
use crate::scratch::ScratchError;
use crate::sink::SinkError;

/// Why a delta was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// An image could not be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The config of an image cannot be read.
    #[error("the config of image {image} cannot be read")]
    Config {
        /// The image.
        image: ImageId,
        /// Why not.
        source: JsonError,
    },
    /// The config of the target is not UTF-8, and a delta holds it as a string.
    #[error("the config of image {image} is not UTF-8")]
    ConfigText {
        /// The image.
        image: ImageId,
    },
    /// Deltas are made between images, not between deltas.
    #[error("image {image} is a delta itself")]
    IsADelta {
        /// The image.
        image: ImageId,
    },
    /// The target could not be read.
    #[error("cannot read the target")]
    Target {
        /// Why not.
        source: delta::ReadError,
    },
    /// None of the layers that a device has is in the store.
    #[error("none of the {listed} listed layers is in the store")]
    NoListedLayer {
        /// How many were listed.
        listed: usize,
    },
    /// A `balena` delta has one base.
    #[error("a balena delta can have one base, and {images} were given")]
    SeveralBases {
        /// How many.
        images: usize,
    },
    /// Threads could not be started.
    #[error("cannot start the threads")]
    Threads {
        /// Why not.
        source: rayon::ThreadPoolBuildError,
    },
    /// The layers could not be matched.
    #[error("cannot match the layers")]
    Match(#[from] MatchError),
    /// A native delta could not be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A `balena` delta could not be written.
    #[error(transparent)]
    Exact(#[from] ExactError),
    /// A temporary file could not be used.
    #[error("cannot use a temporary file")]
    Scratch {
        /// What the system said.
        source: io::Error,
    },
    /// A temporary file could not be made.
    #[error(transparent)]
    Temporary(#[from] ScratchError),
    /// What was written cannot be decoded, which is a fault of this program or of the machine.
    #[error("the delta that was made cannot be applied; it was thrown away")]
    UnprovenNative(#[from] DecodeError),
    /// The same for a `balena` delta.
    #[error("the delta that was made for layer {layer} cannot be applied; it was thrown away")]
    UnprovenBalena {
        /// The layer of the target.
        layer: DiffId,
        /// Why not.
        source: librsync::ApplyError,
    },
    /// A layer of the base could not be read.
    #[error("cannot read layer {layer}")]
    ReadBase {
        /// The layer.
        layer: DiffId,
        /// Why not.
        source: delta::ReadError,
    },
    /// A layer of the base is damaged.
    #[error("layer {layer} of the base is damaged: its bytes are {found}{}", changed(files))]
    DamagedBase {
        /// The layer.
        layer: DiffId,
        /// What its bytes are now.
        found: DiffId,
        /// The files that were changed under an engine, as far as it noted what they had.
        files: Vec<String>,
    },
    /// What was written makes other bytes: a stored layer is damaged, or the program at fault.
    #[error("the delta that was made for layer {layer} makes {made}; it was thrown away")]
    Unproven {
        /// The layer of the target.
        layer: DiffId,
        /// What came out.
        made: DiffId,
    },
    /// The delta could not be put into the store.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A temporary file could not be made, or a layer not be written.
    #[error(transparent)]
    Layer(#[from] store::LayerError),
}

impl CreateError {
    /// Whether it is the encoding that failed, not what it reads or writes.
    pub(super) fn target(source: delta::ReadError) -> Self {
        Self::Target { source }
    }

    pub(super) fn is_of_encoding(&self) -> bool {
        use EncodeError::{FrameTooLarge, Inflate, Promise, References};
        match self {
            Self::UnprovenNative(_) | Self::Unproven { .. } => true,
            Self::Encode(error) => {
                matches!(error, FrameTooLarge { .. } | Inflate(_) | References(_) | Promise { .. })
            }
            _ => false,
        }
    }

    /// An error of a layer writer, which carries the store's own.
    pub(super) fn of_writer(error: io::Error) -> Self {
        match error.downcast::<store::LayerError>() {
            Ok(error) => Self::Layer(error),
            Err(source) => Self::Scratch { source },
        }
    }
}

/// The files that were changed under an engine, in a message.
pub(crate) fn changed(files: &[String]) -> String {
    match files {
        [] => String::new(),
        [only] => format!("; the file {only:?} was changed under the engine"),
        [first, more @ ..] => {
            format!("; the file {first:?} and {} more were changed under the engine", more.len())
        }
    }
}

impl Failure for CreateError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Source(error) => error.kind(),
            Self::Temporary(error) => error.kind(),
            Self::ReadBase { source, .. } if is_engine_damage(source) => FailureKind::StoredDamaged,
            Self::Config { .. } | Self::DamagedBase { .. } | Self::Unproven { .. } => {
                FailureKind::StoredDamaged
            }
            Self::IsADelta { .. } | Self::SeveralBases { .. } => FailureKind::Usage,
            Self::UnprovenNative(DecodeError::Limit { .. }) => FailureKind::NoRoom,
            Self::Encode(EncodeError::Promise { .. }) => FailureKind::NoRoom,
            Self::Scratch { source }
            | Self::Encode(EncodeError::Write(source))
            | Self::Exact(ExactError::Write(DeltaWriteError::Write { source }))
                if is_full(source) =>
            {
                FailureKind::NoRoom
            }
            Self::Sink(error) => error.kind(),
            Self::Layer(error) => error.kind(),
            _ => FailureKind::Other,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Temporary(error) => error.hint(),
            Self::Sink(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::IsADelta { .. } => Some("`silt image apply` makes its image first".into()),
            Self::SeveralBases { .. } => Some("leave out --base, or use --format silt".into()),
            Self::DamagedBase { files, .. } if !files.is_empty() => {
                Some("load the image anew: what an engine unpacked must not be changed".into())
            }
            Self::DamagedBase { .. } | Self::Unproven { .. } => {
                Some("`silt image verify` lists what is damaged".into())
            }
            Self::Encode(EncodeError::Promise { .. }) => {
                Some("promise more with --apply-memory".into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_room_whatever_was_being_written() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        for error in [
            CreateError::Scratch { source: full() },
            CreateError::Encode(EncodeError::Write(full())),
            CreateError::Exact(DeltaWriteError::Write { source: full() }.into()),
        ] {
            assert_eq!(error.kind(), FailureKind::NoRoom, "{error:?}");
        }
    }
}
