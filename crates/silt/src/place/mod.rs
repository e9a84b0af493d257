//! Places where images are: the store, or an engine.
//!
//! - [`PlaceRef`]: either of them, for operations that work on both.
//! - [`EnginePlace`]: an engine that was reached.
//! - [`SourceImage`]: an image of any place, with its layers readable.

mod engine_place;
mod engine_sink;
mod layer_pool;
mod look;
mod source_image;
mod transcode;

use store::Store;

pub use engine::{About, DirectReading, EngineError, EngineKind, Staging, Unreachable, Where};
pub(crate) use engine_place::EngineImages;
pub use engine_place::EnginePlace;
pub(crate) use engine_sink::EngineTransaction;
pub(crate) use layer_pool::LayerPool;
pub use look::{EngineImage, RemovedFromEngine};
pub use source_image::{SourceError, SourceImage, SourceLayer, layers_of_store};

/// A place of images.
#[derive(Debug, Clone, Copy)]
pub enum PlaceRef<'a> {
    /// A directory of Silt's own.
    Store(&'a Store),
    /// An engine.
    Engine(&'a EnginePlace),
}

impl<'a> From<&'a Store> for PlaceRef<'a> {
    fn from(store: &'a Store) -> Self {
        Self::Store(store)
    }
}

impl<'a> From<&'a EnginePlace> for PlaceRef<'a> {
    fn from(engine: &'a EnginePlace) -> Self {
        Self::Engine(engine)
    }
}
