//! What is in the store, and what will be by the time that it is needed.

use std::collections::HashMap;
use std::sync::Arc;

use store::{Snapshot, Store};
use tarball::{DiffId, ImageId};

use super::LoadError;
use crate::delta_image::DeltaImage;
use crate::layer_digest::is_whole;

/// Layers and images that are there, or that an earlier part of the load makes.
pub(super) struct Known<'a> {
    store: &'a Store,
    snapshot: &'a Snapshot,
    /// Sizes of the layers that were asked for or are made; `None` for those that are not there.
    sizes: HashMap<DiffId, Option<u64>>,
    /// Images that this load makes, with their layers.
    planned: Vec<(ImageId, Arc<[DiffId]>)>,
}

/// The layers of a delta's base.
pub(super) struct Base {
    /// All of them, in order.
    pub(super) layers: Arc<[DiffId]>,
    /// Those that are not here.
    pub(super) missing: Vec<DiffId>,
    /// Bytes of all of them, where none is missing.
    pub(super) bytes: u64,
}

impl<'a> Known<'a> {
    pub(super) fn new(store: &'a Store, snapshot: &'a Snapshot) -> Self {
        Self { store, snapshot, sizes: HashMap::new(), planned: Vec::new() }
    }

    /// The size of a layer that is there or will be.
    pub(super) fn layer_size(&mut self, layer: DiffId) -> Result<Option<u64>, LoadError> {
        if let Some(size) = self.sizes.get(&layer) {
            return Ok(*size);
        }
        let size = self.store.layer(layer)?.map(|layer| layer.size_bytes);
        self.sizes.insert(layer, size);
        Ok(size)
    }

    /// Notes that a layer will be made.
    pub(super) fn add_layer(&mut self, layer: DiffId, size_bytes: u64) {
        self.sizes.insert(layer, Some(size_bytes));
    }

    /// Notes that an image will be made.
    pub(super) fn add_image(&mut self, image: ImageId, layers: &[DiffId]) {
        self.planned.push((image, layers.into()));
    }

    /// Which of these layers are not there, and will not be.
    pub(super) fn missing(&mut self, layers: &[DiffId]) -> Result<Vec<DiffId>, LoadError> {
        let mut missing = Vec::new();
        for layer in layers {
            if self.layer_size(*layer)?.is_none() {
                missing.push(*layer);
            }
        }
        Ok(missing)
    }

    /// The layers of an image that is there or will be.
    pub(super) fn image_layers(&self, image: ImageId) -> Option<Arc<[DiffId]>> {
        let planned = self.planned.iter().find(|(id, _)| *id == image);
        planned.map(|(_, layers)| layers.clone()).or_else(|| {
            let stored = self.snapshot.get(image)?;
            Some(stored.layers.iter().map(|layer| layer.diff_id).collect())
        })
    }

    /// The base of a delta: the layers that its label lists, or those of the image that it names;
    /// `None` where it does not say, or that image is not here.
    pub(super) fn base_of(&mut self, delta: &DeltaImage) -> Result<Option<Base>, LoadError> {
        let of_label = delta.base_layers.as_ref().map(|layers| Arc::from(layers.as_slice()));
        let of_image = || self.image_layers(delta.base?);
        let Some(layers) = of_label.or_else(of_image) else { return Ok(None) };
        let missing = self.missing(&layers)?;
        let mut bytes = 0u64;
        for layer in layers.iter() {
            bytes = bytes.saturating_add(self.layer_size(*layer)?.unwrap_or(0));
        }
        Ok(Some(Base { layers, missing, bytes }))
    }

    /// Whether the store's file of a layer still has the layer's bytes.
    pub(super) fn is_layer_whole(&self, layer: DiffId) -> Result<bool, LoadError> {
        let Some(file) = self.store.layer(layer)? else { return Ok(true) };
        let size_bytes = file.size_bytes;
        Ok(is_whole(&delta::read_at::FileBasis::with_size(file.file, size_bytes), layer))
    }
}
