//! What every engine can do, and what it tells of itself.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tarball::{DiffId, ImageId, Name, Platform};

use crate::error::{EngineError, LayerReadError};

/// The engines that there are adapters for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Docker, and balenaEngine, which speaks the same API.
    Docker,
    /// Podman, and whatever else keeps images in containers-storage.
    Podman,
    /// containerd.
    Containerd,
}

/// Where an engine is, as far as the user said.
#[derive(Debug, Clone, Default)]
pub struct Where {
    /// Docker: `unix://SOCKET` or `tcp://HOST:PORT`, as in `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// containerd: its socket, as in `CONTAINERD_ADDRESS`.
    pub containerd_address: Option<PathBuf>,
    /// containerd: the namespace, as in `CONTAINERD_NAMESPACE`.
    pub containerd_namespace: Option<String>,
    /// Where what cannot be read in place is copied to; the system's folder where nothing is said.
    pub scratch: Option<PathBuf>,
}

/// What an engine says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// Which engine.
    pub kind: EngineKind,
    /// Its own name: a balenaEngine is one of Docker's kind.
    pub product: String,
    /// Its version.
    pub version: String,
    /// How it is talked to: a socket or a program.
    pub address: String,
    /// The version of the API that is spoken, where there is one.
    pub api_version: Option<String>,
    /// The driver that keeps its layers.
    pub storage_driver: String,
    /// Where it keeps its data.
    pub root: PathBuf,
    /// Whether layers are read where they lie.
    pub direct_reading: DirectReading,
    /// What an image on its way in takes beside its own place.
    pub staging: Staging,
    /// Whether it applies `balena` deltas itself.
    pub applies_balena_deltas: bool,
}

/// Whether layers are read where they lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectReading {
    /// They are.
    Works,
    /// They come through the engine's API, and are copied first; with the reason.
    CopiedBecause(String),
}

/// What an engine stages of an image that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Staging {
    /// Nothing.
    Nothing,
    /// A copy of all that is sent, which goes when the load is over.
    Upload,
}

/// An image that an engine lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// The digest of its config.
    pub id: ImageId,
    /// What it is called; there may be no name.
    pub names: Vec<Name>,
    /// Its layers, the lowest first.
    pub diff_ids: Vec<DiffId>,
    /// When it was made, as its config says it (RFC 3339).
    pub created: Option<String>,
    /// Bytes of its files or of its layers, whichever the engine tells.
    pub size_bytes: u64,
    /// What it is for.
    pub platform: Platform,
    /// How the engine itself finds it: containerd's name, Podman's ID.
    pub key: String,
}

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Names that went.
    pub untagged: Vec<Name>,
    /// Whether the image went with them.
    pub is_deleted: bool,
}

/// An image whose layers the engine has or was sent.
#[derive(Debug, Clone)]
pub struct ImageToPublish {
    /// The digest of its config.
    pub id: ImageId,
    /// The exact bytes of its config.
    pub config: Vec<u8>,
    /// Its layers, the lowest first.
    pub diff_ids: Vec<DiffId>,
    /// What it is to be called.
    pub names: Vec<Name>,
    /// What is sent in its place, for an engine that makes the image of it.
    pub carrier: Option<Carrier>,
}

/// A delta image, of which an engine makes its target.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// The exact bytes of its config.
    pub config: Vec<u8>,
    /// Its layers: one for each of the target.
    pub diff_ids: Vec<DiffId>,
}

/// An engine that was reached.
pub trait Engine: Send + Sync {
    /// What it says of itself.
    fn about(&self) -> &About;

    /// All images that have names or that nothing is built on.
    fn images(&self) -> Result<Vec<ImageRecord>, EngineError>;

    /// The exact bytes of an image's config, checked against its ID.
    fn config(&self, image: &ImageRecord) -> Result<Vec<u8>, EngineError>;

    /// A layer of an image, counted from 0. The bytes are not checked.
    fn layer(&self, image: &ImageRecord, index: usize) -> Result<Arc<dyn LayerBytes>, EngineError>;

    /// Whether a stack of layers is there, so that none of them needs to be sent.
    fn has_stack(&self, images: &[ImageRecord], stack: &[DiffId]) -> Result<bool, EngineError> {
        Ok(images.iter().any(|image| image.diff_ids.starts_with(stack)))
    }

    /// Starts to send images.
    fn upload(&self) -> Result<Box<dyn Upload>, EngineError>;

    /// Gives an image one more name, which another image may lose by it.
    fn tag(&self, image: &ImageRecord, name: &Name) -> Result<(), EngineError>;

    /// Takes a name away, and the image with its last one; without a name, the image with all of them.
    fn remove(
        &self,
        image: &ImageRecord,
        name: Option<&Name>,
        is_forced: bool,
    ) -> Result<Removed, EngineError>;
}

/// A layer's uncompressed tar.
pub trait LayerBytes: Send + Sync {
    /// How many bytes there are.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), LayerReadError>;

    /// The files of the layer whose contents are not those that the engine noted when it took the layer
    /// in; empty where it noted nothing.
    fn changed_files(&self) -> Result<Vec<String>, LayerReadError> {
        Ok(Vec::new())
    }
}

/// Images on their way into an engine: layers one after the other, then the images. Dropped before the
/// end, it leaves no image.
pub trait Upload: Send {
    /// Starts a layer of so many bytes. No layer is sent twice.
    fn begin_layer(&mut self, diff_id: DiffId, size_bytes: u64) -> Result<(), EngineError>;

    /// Sends the next bytes of the layer.
    fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError>;

    /// Ends a layer, all of whose bytes were sent and have the digest that was promised.
    fn end_layer(&mut self) -> Result<(), EngineError>;

    /// Makes the images and then their names.
    fn publish(self: Box<Self>, images: &[ImageToPublish]) -> Result<(), EngineError>;
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
        })
    }
}
