//! What can be wrong with an archive.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::compression::CompressionError;
use crate::digest::Digest;
use crate::json::JsonError;
use crate::name::ParseNameError;
use crate::platform::Platform;
use crate::tar_stream::TarError;

/// An archive could not be read: which, and why.
#[derive(Debug)]
pub struct ArchiveError {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong. Boxed, as it is large and rare.
    pub fault: Box<ArchiveFault>,
}

/// What is wrong with an archive. A *member* is a file in it, by its name there.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// The system could not open or read it.
    #[error("cannot read {what}")]
    Io {
        /// What was being read.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A pipe or a terminal. An archive is read at several places; store it first.
    #[error("is not a file that can be read at any place")]
    NotSeekable,
    /// Not an archive of any kind.
    #[error("is not an archive of images: {why}")]
    NotAnArchive {
        /// What it seems to be.
        why: &'static str,
    },
    /// The tar itself is damaged.
    #[error("damaged archive")]
    Tar(#[source] TarError),
    /// The compression of the archive or of a member could not be undone.
    #[error("cannot decompress {what}")]
    Compression {
        /// The archive or one of its members.
        what: String,
        /// Why.
        source: CompressionError,
    },
    /// A member's name, or where a link points, is outside the archive.
    #[error("member {member:?} {problem}")]
    UnsafeMember {
        /// The name, shortened to 200 bytes.
        member: String,
        /// In what way.
        problem: &'static str,
    },
    /// A member whose content nothing else vouches for is there twice.
    #[error("member {member:?} is in the archive twice")]
    Duplicate {
        /// The name.
        member: String,
    },
    /// A member that is named by another is missing.
    #[error("{wanted_by} names {member:?}, which is not in the archive")]
    Missing {
        /// The name.
        member: String,
        /// The member that names it.
        wanted_by: String,
    },
    /// A member has a form that Silt does not read.
    #[error("member {member:?} {problem}")]
    Unreadable {
        /// The name.
        member: String,
        /// In what way.
        problem: &'static str,
    },
    /// More of something than any honest archive has.
    #[error("has more {what} than the {limit} that are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// A JSON document is too large or not what it should be.
    #[error("member {member:?} cannot be read")]
    Json {
        /// The name.
        member: String,
        /// Why.
        source: JsonError,
    },
    /// The bytes are not those that their digest names.
    #[error("{what} should have digest {expected}, but has {found}")]
    Digest {
        /// The blob or layer.
        what: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// There are more or fewer bytes than a descriptor says.
    #[error("{what} should have {expected} bytes, but has {found}")]
    Size {
        /// The blob or layer.
        what: String,
        /// How many there should be.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// Manifest and config disagree about the number of layers.
    #[error("image {image} has {layers} layers but {diff_ids} diffIDs")]
    LayerCount {
        /// The image's ID.
        image: Digest,
        /// Layers in the manifest.
        layers: usize,
        /// DiffIDs in the config.
        diff_ids: usize,
    },
    /// A name in the manifest is none.
    #[error("the archive names an image impossibly")]
    Name(#[source] ParseNameError),
    /// Nothing in the archive fits the platform.
    #[error("has no image for {wanted}: there is {}", list(found))]
    Platform {
        /// What was asked for.
        wanted: Platform,
        /// What is there.
        found: Vec<Platform>,
    },
    /// It has a signature, and is not written as a signed archive is: something is not covered.
    #[error("is signed, and not as a signed archive is written: {why}, at byte {offset}")]
    NotCanonical {
        /// Where in the archive.
        offset: u64,
        /// What is not as it should be.
        why: &'static str,
    },
    /// A member of a signed archive is not what its index implies.
    #[error("member {member:?} is not what the signed index implies")]
    NotImplied {
        /// The name.
        member: String,
    },
    /// The archive has no image that Silt reads.
    #[error("holds no image")]
    NoImage,
}

/// What kind of failure an error is, for whoever must choose what to tell or to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The input is damaged, truncated, or nothing that Silt reads.
    Damage,
    /// More memory would be needed than is allowed.
    Memory,
    /// The system failed.
    Io,
    /// The archive is whole, but what was asked for is not in it.
    Absent,
}

impl ArchiveError {
    pub(crate) fn new(path: &Path, fault: Box<ArchiveFault>) -> Self {
        let path = path.to_owned();
        Self { path, fault }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> FaultKind {
        self.fault.kind()
    }

    /// The error that a reader of this crate passed through [`io::Read`].
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.fault)
    }
}

impl std::error::Error for ArchiveError {
    /// The fault is told already, so the chain goes on with what is behind it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.fault.source()
    }
}

impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> Self {
        let kind = match &*error.fault {
            ArchiveFault::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

impl ArchiveFault {
    /// What kind of failure this is.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Io { .. } | Self::NotSeekable => FaultKind::Io,
            Self::Compression { source: CompressionError::NeedsMemory { .. }, .. } => {
                FaultKind::Memory
            }
            Self::Platform { .. } => FaultKind::Absent,
            _ => FaultKind::Damage,
        }
    }

    /// An error of a reader: of the decompressor that it goes through, or of the system.
    pub(crate) fn reading(what: &str, error: io::Error) -> Box<Self> {
        let what = what.to_owned();
        Box::new(match error.downcast::<CompressionError>() {
            Ok(source) => Self::Compression { what, source },
            Err(source) => Self::Io { what, source },
        })
    }

    /// An error of the tar reader, sorted the same way.
    pub(crate) fn tar(error: TarError) -> Box<Self> {
        match error {
            TarError::Io { source, .. } => Self::reading("the archive", source),
            damage => Box::new(Self::Tar(damage)),
        }
    }
}

fn list(platforms: &[Platform]) -> impl fmt::Display {
    let names: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    match names.is_empty() {
        true => "none at all".to_owned(),
        false => names.join(", "),
    }
}
