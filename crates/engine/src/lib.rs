//! Container engines as places where images are.
//!
//! - [`Engine`]: what every engine can do; [`open`] finds one.
//! - [`LayerBytes`]: a layer's uncompressed tar, readable at random, without a copy of it.
//! - [`Upload`]: images on their way into an engine.
//! - [`tar_split`]: how engines note what a tar had beside its files' contents.
//!
//! What engines say and keep is bounded when it is read, and treated as possibly damaged.

mod containerd;
mod docker;
mod error;
mod files;
mod gzip_layer;
mod http;
mod piece_cache;
mod place;
mod podman;
mod program;
mod saved;
mod spool;
pub mod tar_split;
mod tar_stream;
mod zstd_layer;

pub use error::{EngineError, LayerReadError, Unreachable};
pub use place::{
    About, Carrier, DirectReading, Engine, EngineKind, ImageRecord, ImageToPublish, LayerBytes,
    Removed, Staging, Upload, Where,
};

/// Opens an engine and asks it what it is.
pub fn open(kind: EngineKind, place: &Where) -> Result<Box<dyn Engine>, EngineError> {
    match kind {
        EngineKind::Docker => Ok(Box::new(docker::Docker::open(place)?)),
        EngineKind::Podman => Ok(Box::new(podman::Podman::open(place)?)),
        EngineKind::Containerd => Ok(Box::new(containerd::Containerd::open(place)?)),
    }
}
