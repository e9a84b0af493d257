//! What is in the store, and what will be by the time that it is needed.

use std::collections::HashMap;
use std::sync::Arc;

use store::StoredLayer;
use tarball::{DiffId, ImageId};

use super::LoadError;
use super::bases::{BaseSnapshots, BaseStores};
use super::destination::Destination;
use super::health::Health;
use crate::delta_image::DeltaImage;
use crate::layer_digest::is_whole;
use crate::progress::Progress;

/// Layers and images that are there, or that an earlier part of the load makes.
pub(super) struct Known<'a> {
    destination: &'a Destination<'a>,
    bases: &'a BaseStores,
    base_snapshots: &'a BaseSnapshots,
    /// The layers that were asked for or are made.
    places: HashMap<DiffId, Place>,
    /// Those that were read to their ends.
    health: HashMap<DiffId, Health>,
    /// Images that this load makes, with their layers.
    planned: Vec<(ImageId, Arc<[DiffId]>)>,
}

/// Where a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Absent,
    /// In the store, with its size.
    Here(u64),
    /// In the store, and too short or too long; with the size that it should have.
    Cut(u64),
    /// In another store, from which it can be read.
    Elsewhere(u64),
    /// This load makes it or mends it.
    Planned(u64),
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
    pub(super) fn new(
        destination: &'a Destination<'a>,
        bases: &'a BaseStores,
        base_snapshots: &'a BaseSnapshots,
    ) -> Self {
        let (places, health, planned) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { destination, bases, base_snapshots, places, health, planned }
    }

    /// Where a layer is or will be.
    pub(super) fn place(&mut self, layer: DiffId) -> Result<Place, LoadError> {
        if let Some(place) = self.places.get(&layer) {
            return Ok(*place);
        }
        let place = self.find(layer)?;
        self.places.insert(layer, place);
        Ok(place)
    }

    fn find(&self, layer: DiffId) -> Result<Place, LoadError> {
        if let Some(found) = self.destination.find(layer)? {
            return Ok(match found.expected_bytes == found.found_bytes {
                true => Place::Here(found.found_bytes),
                false => Place::Cut(found.expected_bytes),
            });
        }
        let elsewhere = self.bases.find(layer)?;
        Ok(elsewhere.map_or(Place::Absent, |(_, size_bytes)| Place::Elsewhere(size_bytes)))
    }

    /// The size of a layer that is in the store, or will be.
    pub(super) fn layer_size(&mut self, layer: DiffId) -> Result<Option<u64>, LoadError> {
        Ok(match self.place(layer)? {
            Place::Here(size_bytes) | Place::Planned(size_bytes) => Some(size_bytes),
            Place::Absent | Place::Cut(_) | Place::Elsewhere(_) => None,
        })
    }

    /// The size of a layer that an engine has, though not on the layers on which it is wanted.
    pub(super) fn size_on_other_stack(&mut self, layer: DiffId) -> Result<Option<u64>, LoadError> {
        match self.destination.lists(layer) {
            Some(true) => self.layer_size(layer),
            _ => Ok(None),
        }
    }

    /// Where the place keeps its data.
    pub(super) fn root(&self) -> std::path::PathBuf {
        self.destination.root()
    }

    /// The size of a layer that can be read by the time that a delta needs it; `None` where it is
    /// nowhere. One that has lost its end is damaged, and not missing.
    pub(super) fn origin_size(&mut self, layer: DiffId) -> Result<Option<u64>, LoadError> {
        match self.place(layer)? {
            Place::Here(size) | Place::Planned(size) | Place::Elsewhere(size) => Ok(Some(size)),
            Place::Absent => Ok(None),
            Place::Cut(_) => Err(LoadError::BaseDamaged { layer, files: Vec::new() }),
        }
    }

    /// Whether the store has a file of the layer, damaged or not.
    pub(super) fn is_here(&mut self, layer: DiffId) -> Result<bool, LoadError> {
        Ok(matches!(self.place(layer)?, Place::Here(_) | Place::Cut(_) | Place::Planned(_)))
    }

    /// The size that a layer has when it is whole.
    pub(super) fn full_size(&mut self, layer: DiffId) -> Result<Option<u64>, LoadError> {
        Ok(match self.place(layer)? {
            Place::Absent => None,
            Place::Here(size) | Place::Cut(size) => Some(size),
            Place::Elsewhere(size) | Place::Planned(size) => Some(size),
        })
    }

    /// Notes that a layer will be made or mended.
    pub(super) fn add_layer(&mut self, layer: DiffId, size_bytes: u64) {
        self.places.insert(layer, Place::Planned(size_bytes));
    }

    /// Notes that an image will be made.
    pub(super) fn add_image(&mut self, image: ImageId, layers: &[DiffId]) {
        self.planned.push((image, layers.into()));
    }

    /// Reads a layer that is somewhere to its end, once. What is planned is as it should be.
    pub(super) fn health(
        &mut self,
        layer: DiffId,
        progress: &dyn Progress,
    ) -> Result<Health, LoadError> {
        let (store, size_bytes) = match self.place(layer)? {
            Place::Planned(_) => return Ok(Health::Whole),
            Place::Absent => return Ok(Health::Lost),
            Place::Here(size_bytes) | Place::Cut(size_bytes) => (None, size_bytes),
            Place::Elsewhere(_) => match self.bases.find(layer)? {
                Some((store, size_bytes)) => (Some(store), size_bytes),
                None => return Ok(Health::Lost),
            },
        };
        if let Some(health) = self.health.get(&layer) {
            return Ok(health.clone());
        }
        let stored = StoredLayer { diff_id: layer, size_bytes };
        let health = match store {
            Some(store) => Health::of(store, stored, progress)?,
            None => self.destination.health(stored, progress)?,
        };
        self.health.insert(layer, health.clone());
        Ok(health)
    }

    /// Fails where a layer that will be read or kept does not have its bytes.
    pub(super) fn expect_sound(
        &mut self,
        layers: &[DiffId],
        progress: &dyn Progress,
    ) -> Result<(), LoadError> {
        for layer in layers {
            if !self.health(*layer, progress)?.is_sound() {
                let files = self.destination.changed_files(*layer)?;
                return Err(LoadError::BaseDamaged { layer: *layer, files });
            }
        }
        Ok(())
    }

    /// Which of these layers are nowhere, and will not be.
    pub(super) fn missing(&mut self, layers: &[DiffId]) -> Result<Vec<DiffId>, LoadError> {
        let mut missing = Vec::new();
        for layer in layers {
            if self.is_absent(*layer)? {
                missing.push(*layer);
            }
        }
        Ok(missing)
    }

    /// Whether a layer is nowhere, and will not be.
    fn is_absent(&mut self, layer: DiffId) -> Result<bool, LoadError> {
        match (self.places.get(&layer), self.destination.lists(layer)) {
            (None, Some(true)) => Ok(false),
            _ => Ok(self.place(layer)? == Place::Absent),
        }
    }

    /// What needs not be made of a layer that lies on others: its size, where that is known; `None` where
    /// it is not there, or not on these.
    pub(super) fn present(&mut self, stack: &[DiffId]) -> Result<Option<Option<u64>>, LoadError> {
        let Some(layer) = stack.last().copied() else { return Ok(None) };
        match (self.places.get(&layer), self.destination.has_stack(stack)?) {
            (Some(Place::Planned(size_bytes)), _) => Ok(Some(Some(*size_bytes))),
            (_, None) => Ok(self.layer_size(layer)?.map(Some)),
            (_, Some(false)) => Ok(None),
            (_, Some(true)) if self.destination.sizes_are_cheap() => {
                self.layer_size(layer).map(Some)
            }
            (_, Some(true)) => Ok(Some(None)),
        }
    }

    /// Whether all these layers are in the store, or will be. An engine that lists an image has them.
    pub(super) fn has_all(&mut self, layers: &[DiffId]) -> Result<bool, LoadError> {
        if self.destination.has_stack(layers)? == Some(true) {
            return Ok(true);
        }
        for layer in layers {
            if self.layer_size(*layer)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the store has this image, or will have.
    pub(super) fn has_image(&self, image: ImageId) -> bool {
        self.is_listed(image) || self.planned.iter().any(|(id, _)| *id == image)
    }

    /// Whether the store has this image, damaged or not.
    pub(super) fn is_listed(&self, image: ImageId) -> bool {
        self.destination.image_layers(image).is_some()
    }

    /// The layers of an image that is somewhere or will be.
    pub(super) fn image_layers(&self, image: ImageId) -> Option<Arc<[DiffId]>> {
        if let Some((_, layers)) = self.planned.iter().find(|(id, _)| *id == image) {
            return Some(layers.clone());
        }
        match self.destination.image_layers(image) {
            Some(layers) => Some(layers),
            None => self.base_snapshots.image_layers(image).map(Arc::from),
        }
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
            // What matters of one that was cut is the size that the delta was made for.
            bytes = bytes.saturating_add(match self.place(*layer)? {
                Place::Absent => 0,
                Place::Here(size) | Place::Cut(size) => size,
                Place::Elsewhere(size) | Place::Planned(size) => size,
            });
        }
        Ok(Some(Base { layers, missing, bytes }))
    }

    /// Whether the file of a layer still has the layer's bytes.
    pub(super) fn is_layer_whole(&self, layer: DiffId) -> Result<bool, LoadError> {
        if let Some(is_whole) = self.destination.is_layer_whole(layer)? {
            return Ok(is_whole);
        }
        let Some(file) = self.bases.open_layer(layer)? else { return Ok(true) };
        let size_bytes = file.size_bytes;
        Ok(is_whole(&delta::read_at::FileBasis::with_size(file.file, size_bytes), layer))
    }
}
