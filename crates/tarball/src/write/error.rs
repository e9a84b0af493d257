//! Why an archive could not be written.

use std::io;

use crate::compression::Compression;
use crate::digest::{Digest, ImageId};
use crate::json::JsonError;

/// An archive could not be written. What was written of it is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output does not take the bytes.
    #[error("cannot write the archive")]
    Output(#[source] io::Error),
    /// A layer could not be opened or read.
    #[error("cannot read layer {digest}")]
    Layer {
        /// The layer's digest.
        digest: Digest,
        /// What the reader said.
        source: io::Error,
    },
    /// A layer has more or fewer bytes than was said. Of more, only some were counted.
    #[error("layer {digest} should have {expected} bytes, but has {found}")]
    LayerSize {
        /// The layer's digest.
        digest: Digest,
        /// What was said.
        expected: u64,
        /// What was read.
        found: u64,
    },
    /// A layer's bytes are not those that its digest names.
    #[error("layer {expected} has other bytes, with digest {found}")]
    LayerDigest {
        /// What was said.
        expected: Digest,
        /// What was read.
        found: Digest,
    },
    /// There is no OCI media type for a layer that is compressed so.
    #[error("layer {digest} is compressed by {compression}, which OCI images cannot be")]
    LayerCompression {
        /// The layer's digest.
        digest: Digest,
        /// How it is compressed.
        compression: Compression,
    },
    /// An uncompressed layer is not the one that the config names.
    #[error("image {image} should have layer {expected}, not {found}")]
    WrongLayer {
        /// The image.
        image: ImageId,
        /// The diffID in the config.
        expected: Digest,
        /// The layer's digest.
        found: Digest,
    },
    /// There are more or fewer layers than the config names.
    #[error("image {image} has {diff_ids} diffIDs, but {layers} layers were given")]
    LayerCount {
        /// The image.
        image: ImageId,
        /// Layers that were given.
        layers: usize,
        /// DiffIDs in the config.
        diff_ids: usize,
    },
    /// A manifest that should be kept is not about what is written.
    #[error("the manifest of image {image} is about another config or other layers")]
    WrongManifest {
        /// The image.
        image: ImageId,
    },
    /// A manifest could not be read or made.
    #[error("cannot read or make a manifest")]
    Document(#[source] JsonError),
}
