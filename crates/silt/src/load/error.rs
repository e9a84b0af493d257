//! Why a load did not happen.

use std::io;
use std::path::{Path, PathBuf};

use delta::librsync;
use delta::native::DecodeError;
use engine::EngineError;
use tarball::archive::ArchiveError;
use tarball::{DiffId, ImageId, JsonError};

use crate::create::changed;
use crate::delta_image::DeltaImageError;
use crate::delta_layer::DeltaLayerError;
use crate::failure::{self, Failure, FailureKind};
use crate::parts::PartError;
use crate::place::SourceError;
use crate::policy::PolicyError;
use crate::scratch::ScratchError;
use crate::sink::SinkError;
use crate::trust::SignatureError;

/// Why a load did not happen. What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The input could not be opened or read.
    #[error("cannot read {}", path.display())]
    Open {
        /// The input.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pipe could not be copied to where it can be read twice.
    #[error("cannot copy the pipe into {}", path.display())]
    Spool {
        /// Where the copy was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The input is damaged, or not an archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// One of its parts is missing or wrong.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A folder has no update file.
    #[error("{} has no update file: nothing that is called *.tar, *.tar.gz or *.000", folder.display())]
    NoUpdate {
        /// The folder.
        folder: PathBuf,
    },
    /// None of the update files of a folder can be loaded here.
    #[error("no file there can be loaded; {}", named(path, why))]
    NothingApplies {
        /// The one that it says most about.
        path: PathBuf,
        /// Why that one cannot.
        why: Box<LoadError>,
    },
    /// Its signature is missing or wrong.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The policy does not let it in.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// What it holds is a delta, and not as it should be.
    #[error(transparent)]
    DeltaImage(#[from] DeltaImageError),
    /// A layer of a delta is not as it should be.
    #[error(transparent)]
    DeltaLayer(#[from] DeltaLayerError),
    /// The image to apply is no delta.
    #[error("image {image} is not a delta")]
    NotADelta {
        /// The image.
        image: ImageId,
    },
    /// A layer of a plain image is neither in the input nor here.
    #[error("layer {layer} of image {image} is neither in the input nor in the store")]
    MissingLayer {
        /// The image.
        image: ImageId,
        /// The layer.
        layer: DiffId,
    },
    /// The base of a delta is not here.
    #[error("the base of delta {delta} is not here: {}", describe_base(*base, missing))]
    BaseMissing {
        /// The delta.
        delta: ImageId,
        /// The image that it was made against.
        base: Option<ImageId>,
        /// The layers that are not here, as far as the delta says.
        missing: Vec<DiffId>,
    },
    /// A delta leaves out a layer as shared that its base does not have.
    #[error("delta {delta} has nothing for layer {layer}, and its base does not have it")]
    NotShared {
        /// The delta.
        delta: ImageId,
        /// The layer of the target.
        layer: DiffId,
    },
    /// A layer that was there when the load was planned is not there any more.
    #[error("layer {layer}, which image {image} needs, was removed meanwhile")]
    LayerGone {
        /// The image.
        image: ImageId,
        /// The layer.
        layer: DiffId,
    },
    /// A native delta reads a layer of its target that is not made yet.
    #[error("the delta for layer {layer} reads {origin}, which is not made before it")]
    OriginTooEarly {
        /// The layer of the target.
        layer: DiffId,
        /// The layer of the target that it wants to read.
        origin: DiffId,
    },
    /// What deltas share is not a stream of its own, or not the one that they read.
    #[error("layer {layer} does not hold what deltas of the input share")]
    SharedLayer {
        /// The layer of the delta.
        layer: DiffId,
    },
    /// The delta image in the store is damaged.
    #[error("layer {layer} of the delta is damaged in the store: its bytes have another digest")]
    StoredDelta {
        /// The layer of the delta.
        layer: DiffId,
    },
    /// One name was asked for, and there are several images.
    #[error("a tag was given, and the input holds {images} images")]
    TagForSeveral {
        /// How many there are.
        images: usize,
    },
    /// A layer of the input could not be read.
    #[error("cannot read layer {layer}")]
    ReadLayer {
        /// The layer.
        layer: DiffId,
        /// Why not.
        source: io::Error,
    },
    /// A native delta could not be decoded.
    #[error("cannot rebuild layer {layer}{}", describe_origins(origins))]
    Decode {
        /// The layer of the target.
        layer: DiffId,
        /// The layers of the base that are damaged, where that is why.
        origins: Vec<DiffId>,
        /// Why not.
        source: DecodeError,
    },
    /// A delta is for another layer than the one in whose place it stands.
    #[error("the delta for layer {layer} makes layer {made}")]
    WrongTarget {
        /// The layer of the target.
        layer: DiffId,
        /// What the delta claims to make.
        made: DiffId,
    },
    /// A librsync delta could not be applied.
    #[error("cannot rebuild layer {layer}")]
    Librsync {
        /// The layer of the target.
        layer: DiffId,
        /// Why not.
        source: librsync::ApplyError,
    },
    /// The base is whole by name, and its bytes are not what they were.
    #[error(
        "layer {layer} of the base is damaged: its bytes have another digest{}",
        changed(files)
    )]
    BaseDamaged {
        /// The layer of the base.
        layer: DiffId,
        /// The files that were changed under an engine, as far as it noted what they had.
        files: Vec<String>,
    },
    /// A layer of another store could not be read.
    #[error("cannot read layer {layer} of the base")]
    ReadBase {
        /// The layer.
        layer: DiffId,
        /// Why not.
        source: io::Error,
    },
    /// The images are there, and the base could not be removed.
    #[error("the images are loaded, but their base {base} cannot be removed")]
    DeleteBase {
        /// The base.
        base: ImageId,
        /// Why not.
        source: Box<store::EditError>,
    },
    /// Another store that was named cannot be opened.
    #[error("cannot take base layers from there")]
    BaseRoot(#[source] store::OpenError),
    /// Not all that is damaged can be mended with this input.
    #[error("cannot repair {}", describe_unrepaired(layers))]
    NotRepaired {
        /// The layers that are damaged still, and why.
        layers: Vec<(DiffId, String)>,
        /// The layers that were damaged and are whole now.
        repaired: Vec<super::RepairedLayer>,
    },
    /// There is not enough room.
    #[error(
        "{} bytes and {} files are needed on {}, and {} bytes and {} files are free",
        room.needed_bytes, room.needed_inodes, room.mount_point.display(), room.free_bytes,
        room.free_inodes.unwrap_or(u64::MAX)
    )]
    NoRoom {
        /// What is needed, and what is there.
        room: Box<super::Room>,
    },
    /// A config in the store cannot be read.
    #[error("the config of image {image} cannot be read")]
    StoredConfig {
        /// The image.
        image: ImageId,
        /// Why not.
        source: JsonError,
    },
    /// There is no such image, or more than one.
    #[error(transparent)]
    Resolve(#[from] store::ResolveError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] store::ReadError),
    /// A file of the store could not be opened.
    #[error(transparent)]
    File(#[from] store::FileError),
    /// The images could not be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A file for the copy of a pipe could not be made.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// An image that is here could not be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The engine did not do what it was asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store refuses to be written, or a layer is not what it should be.
    #[error(transparent)]
    Layer(#[from] store::LayerError),
}

const REPAIR_HINT: &str = "`silt image verify` lists all that is damaged, and `silt image load --repair` mends \
                           it from a file of that image";

const CHANGED_HINT: &str = "remove the image from the engine and load it anew: what an engine unpacked must not be changed";

fn describe_base(base: Option<ImageId>, missing: &[DiffId]) -> String {
    let base = base.map(|base| format!("image {base}"));
    let layers = match missing {
        [] => None,
        [one] => Some(format!("layer {one}")),
        [one, more @ ..] => Some(format!("layer {one} and {} more", more.len())),
    };
    match (base, layers) {
        (Some(base), Some(layers)) => format!("{layers} of {base}"),
        (base, layers) => layers.or(base).unwrap_or_else(|| "it has no name".into()),
    }
}

fn describe_unrepaired(layers: &[(DiffId, String)]) -> String {
    let described = layers.iter().map(|(layer, why)| format!("layer {layer}: {why}"));
    described.collect::<Vec<_>>().join("; ")
}

/// An error with the file that it is about, which most name by themselves.
fn named(path: &Path, error: &LoadError) -> String {
    let (path, text) = (path.display().to_string(), with_causes(error));
    if text.starts_with(&path) { text } else { format!("{path}: {text}") }
}

/// An error and all that caused it.
fn with_causes(error: &LoadError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn describe_origins(origins: &[DiffId]) -> String {
    match origins {
        [] => String::new(),
        damaged => {
            let names: Vec<String> = damaged.iter().map(ToString::to_string).collect();
            format!(": the base's layer {} is damaged", names.join(", "))
        }
    }
}

impl LoadError {
    /// Whether the input could not be read: its bytes were not wrong, they did not come.
    pub(super) fn is_input_unreadable(&self) -> bool {
        let is_of_input = match self {
            Self::Open { .. } | Self::ReadLayer { .. } | Self::Archive(_) => true,
            Self::DeltaLayer(DeltaLayerError::Read { .. }) => true,
            Self::Decode { source: DecodeError::Input { .. }, .. } => true,
            Self::Librsync { source, .. } => {
                matches!(source, librsync::ApplyError::Delta(librsync::DeltaError::Io { .. }))
            }
            _ => false,
        };
        is_of_input && self.kind() == FailureKind::Other
    }
}

impl Failure for LoadError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Open { source, .. } | Self::ReadLayer { source, .. } => {
                failure::kind_of_input(source)
            }
            Self::Spool { source, .. } if failure::is_full(source) => FailureKind::NoRoom,
            Self::Scratch(error) if failure::is_full(&error.source) => FailureKind::NoRoom,
            Self::Spool { .. } | Self::Scratch(_) => FailureKind::Other,
            Self::Archive(error) => Failure::kind(error),
            Self::Signature(error) => error.kind(),
            Self::Part(error) => error.kind(),
            Self::NoUpdate { .. } => FailureKind::Damaged,
            Self::NothingApplies { why, .. } => why.kind(),
            Self::Policy(error) => error.kind(),
            Self::DeltaLayer(DeltaLayerError::Read { source, .. }) => {
                failure::kind_of_input(source)
            }
            Self::DeltaImage(_)
            | Self::DeltaLayer(_)
            | Self::MissingLayer { .. }
            | Self::OriginTooEarly { .. }
            | Self::SharedLayer { .. }
            | Self::NotShared { .. } => FailureKind::Damaged,
            Self::NotADelta { .. } | Self::TagForSeveral { .. } => FailureKind::Usage,
            Self::BaseMissing { .. } => FailureKind::BaseMissing,
            // Delta and base are at odds: where the base is found whole, the delta is at fault.
            Self::Decode {
                source: DecodeError::OutputWrong { .. } | DecodeError::OriginSize { .. },
                origins,
                ..
            } if origins.is_empty() => FailureKind::Damaged,
            Self::Decode { source, .. } => failure::kind_of_decode(source),
            Self::WrongTarget { .. } => FailureKind::Damaged,
            Self::Librsync { source, .. } => failure::kind_of_librsync(source),
            Self::BaseDamaged { .. } | Self::StoredConfig { .. } | Self::StoredDelta { .. } => {
                FailureKind::StoredDamaged
            }
            Self::NotRepaired { .. } => FailureKind::StoredDamaged,
            Self::BaseRoot(error) => error.kind(),
            Self::DeleteBase { source, .. } => source.kind(),
            Self::LayerGone { .. } | Self::ReadBase { .. } => FailureKind::Other,
            Self::NoRoom { .. } => FailureKind::NoRoom,
            Self::Resolve(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::Sink(error) => error.kind(),
            Self::Source(error) => error.kind(),
            Self::Engine(error) => error.kind(),
            Self::Layer(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(error) => error.hint(),
            Self::Signature(error) => error.hint(),
            Self::Part(error) => error.hint(),
            Self::NothingApplies { why, .. } => why.hint(),
            Self::Policy(error) => error.hint(),
            Self::BaseMissing { .. } => {
                Some("load the image that the delta was made against first".into())
            }
            Self::BaseDamaged { files, .. } if !files.is_empty() => Some(CHANGED_HINT.into()),
            Self::BaseDamaged { .. } => Some(REPAIR_HINT.into()),
            Self::NotRepaired { .. } => {
                Some("an archive of a full image that has these layers repairs them".into())
            }
            Self::BaseRoot(_) => Some("--base-root names the root of another store".into()),
            Self::Decode { origins, .. } if !origins.is_empty() => Some(REPAIR_HINT.into()),
            Self::Decode { source, .. } => match source {
                DecodeError::Limit { .. } => Some("allow more with --max-memory".into()),
                DecodeError::Version { .. } | DecodeError::Features { .. } => {
                    Some("a newer silt reads it".into())
                }
                _ => None,
            },
            Self::DeltaImage(DeltaImageError::Version { .. }) => {
                Some("a newer silt reads it".into())
            }
            Self::NoRoom { .. } => Some("`silt system prune` frees what no name needs".into()),
            Self::TagForSeveral { .. } => Some("leave out --tag".into()),
            Self::Resolve(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Sink(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use delta::OriginId;

    #[test]
    fn a_delta_is_blamed_unless_the_base_is_known_to_be_damaged() {
        let layer = DiffId::EMPTY_LAYER;
        let wrong = || DecodeError::OutputWrong { frame: 0, origins: vec![OriginId(0)] };
        let size = || DecodeError::OriginSize { origin: OriginId(0), expected: 1, found: 2 };
        for source in [wrong(), size()] {
            let error = LoadError::Decode { layer, origins: Vec::new(), source };
            assert_eq!((error.kind(), error.hint()), (FailureKind::Damaged, None));
        }
        for source in [wrong(), size()] {
            let error = LoadError::Decode { layer, origins: vec![layer], source };
            assert_eq!(error.kind(), FailureKind::StoredDamaged);
            assert!(error.hint().is_some());
        }
    }
}
