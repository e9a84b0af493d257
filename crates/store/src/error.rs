//! What can go wrong: one enum for each operation, over a few shared structs.
//!
//! A message never repeats its `source`; whoever prints an error walks the chain.

use std::io;
use std::path::PathBuf;

use tarball::{DiffId, Digest, ImageId, Name};

use crate::space;

/// A system call on a file that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// What was tried, as a verb: `write`, `rename`.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// What a full file system has no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// Blocks for data.
    Space,
    /// Inodes: room for another file, whatever its size.
    Inodes,
    /// The user's quota is used up.
    Quota,
}

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Space => "space",
            Self::Inodes => "inodes",
            Self::Quota => "quota",
        })
    }
}

/// The file system is full.
#[derive(Debug, thiserror::Error)]
#[error("no {lacking} left on {}", mount_point.display())]
pub struct NoSpace {
    /// What is used up.
    pub lacking: Lacking,
    /// Where the full file system is mounted.
    pub mount_point: PathBuf,
    /// The write that failed.
    pub source: FileError,
}

/// Another process held the store's lock for as long as this one was willing to wait.
#[derive(Debug, thiserror::Error)]
#[error("another process holds the store {} (waited {waited_seconds} s)", root.display())]
pub struct Busy {
    /// The store's root.
    pub root: PathBuf,
    /// How long this process waited.
    pub waited_seconds: u64,
}

/// A write that failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system is full, or the quota is.
    #[error(transparent)]
    NoSpace(NoSpace),
    /// Anything else that the system refused.
    #[error(transparent)]
    File(FileError),
}

impl From<FileError> for WriteError {
    fn from(error: FileError) -> Self {
        let lacking = match error.source.kind() {
            io::ErrorKind::QuotaExceeded => Lacking::Quota,
            io::ErrorKind::StorageFull if space::is_out_of_inodes(&error.path) => Lacking::Inodes,
            io::ErrorKind::StorageFull => Lacking::Space,
            _ => return Self::File(error),
        };
        Self::NoSpace(NoSpace {
            lacking,
            mount_point: space::mount_point(&error.path),
            source: error,
        })
    }
}

impl WriteError {
    /// Whether the file system or the quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace(_))
    }
}

/// Reading the index or a small blob failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that must be small is not.
    #[error("{} has {size_bytes} bytes, more than the {limit_bytes} that are allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// `index.json` is not an image index.
    #[error("the store's index {} is damaged", path.display())]
    DamagedIndex {
        /// The index.
        path: PathBuf,
        /// Where the JSON is wrong.
        source: serde_json::Error,
    },
    /// `index.json` can be read, and is not as Silt wrote it.
    #[error("the store's index {} is not as it was written: a name or a number in it may be wrong", path.display())]
    ChangedIndex {
        /// The index.
        path: PathBuf,
    },
    /// `oci-layout` does not say what it must.
    #[error("{} is damaged", path.display())]
    DamagedLayout {
        /// The file.
        path: PathBuf,
    },
    /// `index.json` has an entry that Silt did not write and cannot judge.
    #[error("entry {position} of {} was not written by Silt", path.display())]
    ForeignEntry {
        /// The index.
        path: PathBuf,
        /// The entry's place, from 0.
        position: usize,
    },
    /// A blob that the index or a manifest names is not there.
    #[error("blob {digest} is missing from the store")]
    MissingBlob {
        /// The blob.
        digest: Digest,
    },
    /// A blob is shorter or longer than it should be.
    #[error("blob {digest} is damaged: it has {found_bytes} bytes")]
    WrongSize {
        /// The blob.
        digest: Digest,
        /// The size of its file.
        found_bytes: u64,
    },
    /// A blob's bytes are not what its name says.
    #[error("blob {expected} is damaged: its bytes have digest {found}")]
    DamagedBlob {
        /// The blob's name.
        expected: Digest,
        /// The digest of its bytes.
        found: Digest,
    },
    /// A manifest has the right digest and is still not a manifest of a stored image.
    #[error("manifest {digest} is not one that Silt wrote")]
    NotAManifest {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A manifest belongs to another image than its entry in the index says.
    #[error("manifest {digest} belongs to image {found}, not to {expected}")]
    WrongImage {
        /// The manifest.
        digest: Digest,
        /// The image in the index.
        expected: ImageId,
        /// The image in the manifest.
        found: ImageId,
    },
}

impl ReadError {
    /// Whether stored bytes are wrong or gone, as against a system that could not read them.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::File(_))
    }
}

/// The store could not be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no store.
    #[error("there is no store at {}", root.display())]
    Missing {
        /// Where it was looked for.
        root: PathBuf,
    },
    /// The directory holds something else; making a store there would mix the two.
    #[error("{} is not a store: it holds {found:?}", root.display())]
    NotAStore {
        /// The directory.
        root: PathBuf,
        /// A file in it that is not part of a store.
        found: String,
    },
    /// A newer Silt made the store.
    #[error(
        "the store {} has format version {found}; this Silt reads versions up to {supported}",
        root.display()
    )]
    NewerVersion {
        /// The store.
        root: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that this code knows.
        supported: u64,
    },
    /// `silt.json` does not say which version the store has.
    #[error("{} does not give the store's format version", path.display())]
    DamagedVersion {
        /// The file.
        path: PathBuf,
        /// Where the JSON is wrong.
        source: serde_json::Error,
    },
    /// Another process is making the store.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A reference that does not lead to exactly one whole image.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nothing has this name or ID.
    #[error("no such image: {reference}")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// Several images have IDs that start like this.
    #[error("{reference} fits {} images", candidates.len())]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// The images that it fits.
        candidates: Vec<ImageId>,
    },
    /// The image is listed, but its manifest is damaged or missing.
    #[error("image {id} is damaged: manifest {manifest} cannot be read")]
    Broken {
        /// The image.
        id: ImageId,
        /// Its manifest.
        manifest: Digest,
    },
}

/// A layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The store was opened for reading only.
    #[error("the store {} is open for reading only", root.display())]
    ReadOnly {
        /// The store.
        root: PathBuf,
    },
    /// The bytes are not the layer that was expected.
    #[error("layer {expected} came out with digest {found}")]
    WrongDigest {
        /// The layer that was to be written.
        expected: DiffId,
        /// What was written instead.
        found: DiffId,
    },
    /// The layer ended early or did not end where it should.
    #[error("layer {diff_id} has {}{found_bytes} bytes, not {expected_bytes}", if *.at_least { "at least " } else { "" })]
    WrongSize {
        /// The layer.
        diff_id: DiffId,
        /// The size that was announced.
        expected_bytes: u64,
        /// The size that was written, or tried.
        found_bytes: u64,
        /// Whether writing was stopped before the end.
        at_least: bool,
    },
    /// A layer cannot be mended block by block.
    #[error("layer {diff_id} has no block digests that can be read")]
    NoBlockDigests {
        /// The layer.
        diff_id: DiffId,
    },
    /// The layer that is there does not have its bytes, though it should by now.
    #[error("layer {diff_id} is damaged in the store: its bytes have another digest")]
    StillDamaged {
        /// The layer.
        diff_id: DiffId,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Images could not be published.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The config is not JSON with a `rootfs`.
    #[error("config {id} has no list of layers")]
    NotAConfig {
        /// The image.
        id: ImageId,
        /// Where the JSON is wrong.
        source: serde_json::Error,
    },
    /// A config or manifest is larger than the store reads back.
    #[error("a document of image {id} has {size_bytes} bytes, more than the {limit_bytes} allowed")]
    DocumentTooLarge {
        /// The image.
        id: ImageId,
        /// The document's size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A layer that the config names was neither written nor there.
    #[error("image {id} needs layer {diff_id}, which is not in the store")]
    MissingLayer {
        /// The image.
        id: ImageId,
        /// The layer.
        diff_id: DiffId,
    },
    /// Two images of one commit claim the same name.
    #[error("the name {name} is given to two images at once")]
    NameTwice {
        /// The name.
        name: Name,
    },
    /// Another process publishes.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The index could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A layer could not be put in place.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A name could not be set, an image not removed, or nothing pruned.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The store was opened for reading only.
    #[error("the store {} is open for reading only", root.display())]
    ReadOnly {
        /// The store.
        root: PathBuf,
    },
    /// The reference leads to no image, or to several.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// An image that is named several times is not removed by its ID unless that is forced.
    #[error("image {id} has {} names", names.len())]
    SeveralNames {
        /// The image.
        id: ImageId,
        /// Its names.
        names: Vec<Name>,
    },
    /// Another process publishes.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The index could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file could not be written or removed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Lets `?` turn a failed system call into each operation's own error.
macro_rules! from_file_error {
    ($($error:ident :: $variant:ident),*) => {$(
        impl From<FileError> for $error {
            fn from(error: FileError) -> Self {
                Self::$variant(error.into())
            }
        }
    )*};
}
from_file_error!(OpenError::Write, LayerError::Write, CommitError::Write, EditError::Write);
