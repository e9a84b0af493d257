//! Why an engine did not do what it was asked.

use std::io;
use std::path::PathBuf;

use tarball::{DiffId, ImageId, JsonError};

use crate::place::EngineKind;

/// An engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers.
    #[error("cannot reach {kind} at {address}: {why}")]
    Unreachable {
        /// Which engine.
        kind: EngineKind,
        /// Where it should be.
        address: String,
        /// Why not.
        why: Unreachable,
    },
    /// It was there, and went away.
    #[error("{kind} at {address} went away while it was {doing}")]
    Lost {
        /// Which engine.
        kind: EngineKind,
        /// Where it was.
        address: String,
        /// What it was doing.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It understood, and did not want to.
    #[error("{kind} refused to {action}: {message}")]
    Refused {
        /// Which engine.
        kind: EngineKind,
        /// What it was asked to do.
        action: String,
        /// Its own words.
        message: String,
    },
    /// It has no such image.
    #[error("{kind} has no image {reference}")]
    NoSuchImage {
        /// Which engine.
        kind: EngineKind,
        /// What was asked for.
        reference: String,
    },
    /// What it answers makes no sense.
    #[error("cannot understand what {kind} answers to {question}")]
    Answer {
        /// Which engine.
        kind: EngineKind,
        /// What it was asked.
        question: String,
        /// Why not.
        source: JsonError,
    },
    /// Its answer is no HTTP, or is longer than it may be.
    #[error("cannot understand what {kind} answers: {why}")]
    Protocol {
        /// Which engine.
        kind: EngineKind,
        /// What is wrong.
        why: &'static str,
    },
    /// It is too old.
    #[error("{product} {version} speaks API {api_version}, and at least 1.24 is needed")]
    TooOld {
        /// Its name.
        product: String,
        /// Its version.
        version: String,
        /// What it speaks.
        api_version: String,
    },
    /// It is too new.
    #[error(
        "{product} {version} speaks API {min_api_version} and later, and {known} is the last that Silt speaks"
    )]
    TooNew {
        /// Its name.
        product: String,
        /// Its version.
        version: String,
        /// The oldest that it speaks.
        min_api_version: String,
        /// The newest that is spoken here.
        known: String,
    },
    /// The address is of no kind that can be reached.
    #[error("{address:?} is no address of an engine that Silt can reach")]
    Address {
        /// The address.
        address: String,
    },
    /// A file of the engine could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What the engine keeps is damaged.
    #[error("the engine's own {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A layer of an image could not be found.
    #[error("{kind} lists image {image}, and layer {index} of it is not where it should be")]
    NoLayer {
        /// Which engine.
        kind: EngineKind,
        /// The image.
        image: ImageId,
        /// Which of its layers, counted from 0.
        index: usize,
    },
    /// What the engine sent could not be copied to where it is read.
    #[error("cannot copy what the engine sends into {}", path.display())]
    Spool {
        /// Where the copy was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The archive that the engine sent cannot be read.
    #[error("cannot read what {kind} sends")]
    Archive {
        /// Which engine.
        kind: EngineKind,
        /// Why not.
        source: Box<tarball::ArchiveError>,
    },
    /// The engine made another image of what it was sent.
    #[error("{kind} does not have image {image} after it was loaded")]
    NotPublished {
        /// Which engine.
        kind: EngineKind,
        /// The image that should be there.
        image: ImageId,
    },
    /// What is to be published is no config.
    #[error("the image that is to be loaded has no config that can be read")]
    NotAConfig {
        /// Why not.
        source: JsonError,
    },
    /// The size of a layer must be known before it is sent.
    #[error("layer {layer} cannot be sent to an engine: its size is not known")]
    LayerSize {
        /// The layer.
        layer: DiffId,
    },
    /// Engines mend no layers.
    #[error("layer {layer} is an engine's, and cannot be mended there")]
    NoRepair {
        /// The layer.
        layer: DiffId,
    },
}

/// Why nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// There is no socket or no program.
    Missing,
    /// There is a socket, and nobody listens.
    Stopped,
    /// This user may not.
    Forbidden,
    /// Another reason of the system.
    Other(io::ErrorKind),
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("there is nothing there"),
            Self::Stopped => f.write_str("nobody listens there"),
            Self::Forbidden => f.write_str("permission denied"),
            Self::Other(kind) => kind.fmt(f),
        }
    }
}

impl From<&io::Error> for Unreachable {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::ConnectionRefused => Self::Stopped,
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            kind => Self::Other(kind),
        }
    }
}

/// A layer could not be read where the engine keeps it.
#[derive(Debug, thiserror::Error)]
pub enum LayerReadError {
    /// The range goes past the end.
    #[error("bytes {offset} to {} were asked of {size}", offset.saturating_add(*length))]
    OutOfRange {
        /// Where the range starts.
        offset: u64,
        /// How long it is.
        length: u64,
        /// How many bytes there are.
        size: u64,
    },
    /// A file of the layer is not there any more.
    #[error("the file {file:?} of the layer is missing: it was removed under the engine")]
    FileMissing {
        /// The file, as the layer names it.
        file: String,
    },
    /// A file of the layer is longer or shorter than it was.
    #[error(
        "the file {file:?} of the layer has {found} bytes, not {expected}: it was changed under the engine"
    )]
    FileSize {
        /// The file, as the layer names it.
        file: String,
        /// What the layer says.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// A file of the layer could not be read.
    #[error("cannot read the file {file:?} of the layer")]
    File {
        /// The file, as the layer names it.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// What the engine noted about the tar is damaged.
    #[error("what the engine noted about the layer's tar is damaged")]
    Notes {
        /// What went wrong.
        source: io::Error,
    },
    /// A copy, or what an engine stores as one file, could not be read.
    #[error("cannot read the layer")]
    Io {
        /// What the system said.
        source: io::Error,
    },
}

impl LayerReadError {
    /// Whether it is the layer that is wrong, and not the machine.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::FileMissing { .. } | Self::FileSize { .. } | Self::Notes { .. } => true,
            Self::OutOfRange { .. } | Self::File { .. } | Self::Io { .. } => false,
        }
    }

    /// The same inside an error of the system's kind, where one was wrapped.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<LayerReadError> for io::Error {
    fn from(error: LayerReadError) -> Self {
        Self::other(error)
    }
}

/// Refuses ranges that go past the end of a layer, overflow included.
pub(crate) fn check_range(size: u64, offset: u64, length: usize) -> Result<(), LayerReadError> {
    let length = length as u64;
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(LayerReadError::OutOfRange { offset, length, size }),
    }
}
