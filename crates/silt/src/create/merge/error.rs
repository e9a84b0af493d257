//! Why two deltas were not merged.

use delta::ReadError;
use delta::librsync;
use delta::merge::FollowError;
use delta::native::DecodeError;
use tarball::{DiffId, ImageId};

use crate::create::CreateError;
use crate::delta_image::{DeltaFormat, DeltaImageError};
use crate::delta_layer::DeltaLayerError;
use crate::failure::{
    Failure, FailureKind, is_full, kind_of_decode, kind_of_input, kind_of_librsync_delta,
};
use crate::place::SourceError;

/// Why two deltas were not merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// One of them is a plain image.
    #[error("image {image} is not a delta")]
    NotADelta {
        /// The image.
        image: ImageId,
    },
    /// The config of one is damaged.
    #[error(transparent)]
    DeltaImage(#[from] DeltaImageError),
    /// A layer of one is no delta.
    #[error(transparent)]
    DeltaLayer(#[from] DeltaLayerError),
    /// They are of different formats.
    #[error("the first delta is of the format {first}, and the second of {second}")]
    Formats {
        /// Of the first.
        first: DeltaFormat,
        /// Of the second.
        second: DeltaFormat,
    },
    /// The second does not go on where the first ends.
    #[error("the first delta makes image {made}, and the second needs {}", image(needed))]
    NotNeighbours {
        /// What the first makes.
        made: ImageId,
        /// What the second was made against.
        needed: Option<ImageId>,
    },
    /// A layer of a delta could not be read.
    #[error("cannot read delta layer {layer}")]
    Read {
        /// The layer of the delta image.
        layer: DiffId,
        /// Why not.
        source: ReadError,
    },
    /// A layer of a delta is damaged.
    #[error("delta layer {layer} is damaged: its bytes are {found}")]
    Damaged {
        /// The layer of the delta image.
        layer: DiffId,
        /// What its bytes are.
        found: DiffId,
    },
    /// A delta cannot be read or applied.
    #[error("cannot apply the delta of layer {layer}")]
    Decode {
        /// The layer that it makes, or the delta's own.
        layer: DiffId,
        /// Why not.
        source: DecodeError,
    },
    /// A delta makes other bytes than it says.
    #[error("the delta of layer {layer} makes {made}")]
    WrongLayer {
        /// The layer that it should make.
        layer: DiffId,
        /// What it makes.
        made: DiffId,
    },
    /// Layers that need one another.
    #[error("layer {layer} is needed to make itself")]
    Circle {
        /// One of them.
        layer: DiffId,
    },
    /// What the deltas do not say stands in the base, and that is not here.
    #[error(
        "the base's layer {layer} is not here (image {}), and {layers} of the target's layers need it: \
         they are made of what the first delta makes",
        image(base)
    )]
    NoBase {
        /// The first that is missing.
        layer: DiffId,
        /// The base.
        base: Option<ImageId>,
        /// How many layers cannot be merged without.
        layers: usize,
    },
    /// What the deltas say could not be put together.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// Deltas of the format `balena` could not be put together.
    #[error("cannot merge the deltas")]
    Commands(#[from] librsync::merge::MergeError),
    /// An image could not be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The merged delta could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
}

fn image(id: &Option<ImageId>) -> String {
    id.map_or("of which it does not say the ID".to_owned(), |id| id.to_string())
}

fn kind_of_commands(error: &librsync::merge::MergeError) -> FailureKind {
    use librsync::DeltaWriteError;
    use librsync::merge::MergeError::{
        Aside, CopyPastEnd, Delta, Literal, Memory, TooLarge, Write,
    };
    match error {
        Delta(error) => kind_of_librsync_delta(error),
        TooLarge | CopyPastEnd { .. } | Write(DeltaWriteError::RangeOverflow { .. }) => {
            FailureKind::Damaged
        }
        Memory { .. } => FailureKind::NoRoom,
        Aside(source) | Write(DeltaWriteError::Write { source }) if is_full(source) => {
            FailureKind::NoRoom
        }
        Aside(_) | Literal(_) | Write(_) => FailureKind::Other,
    }
}

impl Failure for MergeError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NotADelta { .. } | Self::Formats { .. } | Self::NotNeighbours { .. } => {
                FailureKind::Usage
            }
            Self::Commands(error) => kind_of_commands(error),
            Self::DeltaLayer(DeltaLayerError::Read { source, .. }) => kind_of_input(source),
            Self::DeltaImage(_)
            | Self::DeltaLayer(_)
            | Self::Damaged { .. }
            | Self::WrongLayer { .. }
            | Self::Circle { .. } => FailureKind::Damaged,
            Self::Read { .. } | Self::Follow(FollowError::Read(_)) => FailureKind::Other,
            Self::Follow(FollowError::Memory { .. }) => FailureKind::NoRoom,
            Self::Decode { source, .. } => kind_of_decode(source),
            Self::NoBase { .. } => FailureKind::BaseMissing,
            Self::Source(error) => error.kind(),
            Self::Create(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoBase { .. } => {
                Some("name the image with --base, or save both deltas in one file".into())
            }
            Self::Follow(FollowError::Memory { .. })
            | Self::Commands(librsync::merge::MergeError::Memory { .. })
            | Self::Decode { source: DecodeError::Limit { .. }, .. } => {
                Some("allow more with --memory".into())
            }
            Self::NotNeighbours { .. } => {
                Some("the first delta's target must be the second one's base".into())
            }
            Self::Source(error) => error.hint(),
            Self::Create(error) => error.hint(),
            _ => None,
        }
    }
}
