//! An engine as a place of images.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use delta::ReadError;
use delta::read_at::ReadAt;
use engine::{
    About, DirectReading, Engine, EngineError, EngineKind, ImageRecord, LayerBytes, LayerReadError,
    Where,
};
use store::ResolveError;
use tarball::{DiffId, ImageId, Name};

use super::SourceError;

/// An engine that was reached.
pub struct EnginePlace {
    engine: Box<dyn Engine>,
    /// Layers that were opened: what is noted of one is read once.
    layers: Mutex<HashMap<DiffId, Arc<dyn LayerBytes>>>,
}

/// What an engine had at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct EngineImages {
    pub(crate) images: Vec<ImageRecord>,
}

impl EnginePlace {
    /// Reaches an engine.
    pub fn open(kind: EngineKind, place: &Where) -> Result<Self, EngineError> {
        Ok(Self::of(engine::open(kind, place)?))
    }

    pub(crate) fn of(engine: Box<dyn Engine>) -> Self {
        Self { engine, layers: Mutex::default() }
    }

    /// What the engine says of itself.
    pub fn about(&self) -> &About {
        self.engine.about()
    }

    /// Why layers are copied before they are read; `None` where they are read where they lie.
    pub fn why_copied(&self) -> Option<&str> {
        match &self.about().direct_reading {
            DirectReading::Works => None,
            DirectReading::CopiedBecause(why) => Some(why),
        }
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    pub(crate) fn images(&self) -> Result<EngineImages, EngineError> {
        Ok(EngineImages { images: self.engine.images()? })
    }

    /// Gives an image one more name.
    pub fn tag(&self, reference: &str, name: &Name) -> Result<(), SourceError> {
        let images = self.images()?;
        Ok(self.engine.tag(images.resolve(reference)?, name)?)
    }

    /// Which image a reference means.
    pub fn resolve(&self, reference: &str) -> Result<ImageId, SourceError> {
        Ok(self.images()?.resolve(reference)?.id)
    }

    /// A layer of an image, opened once.
    pub(crate) fn layer(
        &self,
        image: &ImageRecord,
        index: usize,
    ) -> Result<Arc<dyn LayerBytes>, EngineError> {
        let diff_id = image.diff_ids.get(index).copied();
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = diff_id.and_then(|layer| layers.get(&layer)) {
            return Ok(layer.clone());
        }
        let layer = self.engine.layer(image, index)?;
        layers.extend(diff_id.map(|diff_id| (diff_id, layer.clone())));
        Ok(layer)
    }

    /// A layer of any image; `None` where no image has it.
    pub(crate) fn find_layer(
        &self,
        images: &EngineImages,
        layer: DiffId,
    ) -> Result<Option<EngineLayer>, EngineError> {
        match images.holder(layer) {
            Some((image, index)) => Ok(Some(EngineLayer(self.layer(image, index)?))),
            None => Ok(None),
        }
    }
}

impl EngineImages {
    /// The image that a reference means.
    pub(crate) fn resolve(&self, reference: &str) -> Result<&ImageRecord, ResolveError> {
        let known: Vec<(ImageId, &[Name])> =
            self.images.iter().map(|image| (image.id, image.names.as_slice())).collect();
        let id = store::resolve(reference, &known)?;
        let found = self.images.iter().find(|image| image.id == id);
        found.ok_or_else(|| ResolveError::NotFound { reference: reference.to_owned() })
    }

    pub(crate) fn get(&self, id: ImageId) -> Option<&ImageRecord> {
        self.images.iter().find(|image| image.id == id)
    }

    /// An image that has a layer, and which of its layers that is.
    pub(crate) fn holder(&self, layer: DiffId) -> Option<(&ImageRecord, usize)> {
        self.images.iter().find_map(|image| {
            let index = image.diff_ids.iter().position(|own| *own == layer)?;
            Some((image, index))
        })
    }
}

/// A layer of an engine as bytes to read.
pub(crate) struct EngineLayer(pub(crate) Arc<dyn LayerBytes>);

impl EngineLayer {
    /// The files that were changed under the engine, as far as it noted what they had; for messages.
    pub(crate) fn changed_files(&self) -> Vec<String> {
        self.0.changed_files().unwrap_or_default()
    }
}

impl ReadAt for EngineLayer {
    fn size(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        self.0.read_exact_at(buffer, offset).map_err(|error| match error {
            LayerReadError::OutOfRange { offset, length, size } => {
                ReadError::OutOfRange { offset, length, size }
            }
            error => ReadError::Io { offset, length, source: io::Error::from(error) },
        })
    }
}

impl fmt::Debug for EnginePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnginePlace").field("about", self.about()).finish_non_exhaustive()
    }
}
