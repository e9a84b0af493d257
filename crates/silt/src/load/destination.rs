//! Where a load goes, as it was when the load is planned.

use std::sync::Arc;

use engine::Staging;
use store::{FreeSpace, Snapshot, Store, StoredLayer};
use tarball::{DiffId, ImageId, Name};

use super::LoadError;
use super::health::Health;
use crate::layer_digest::is_whole;
use crate::place::{DirectReading, EngineImages, EnginePlace, PlaceRef};
use crate::progress::Progress;

/// The place, and what it has.
pub(super) enum Destination<'a> {
    Store { store: &'a Store, snapshot: Snapshot },
    Engine { place: &'a EnginePlace, images: EngineImages },
}

/// A layer that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundLayer {
    pub(super) found_bytes: u64,
    /// The size that it should have.
    pub(super) expected_bytes: u64,
}

impl<'a> Destination<'a> {
    pub(super) fn open(place: PlaceRef<'a>) -> Result<Self, LoadError> {
        Ok(match place {
            PlaceRef::Store(store) => Self::Store { store, snapshot: store.snapshot()? },
            PlaceRef::Engine(place) => Self::Engine { place, images: place.images()? },
        })
    }

    /// The images of a store: what engines have is not removed with a load.
    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Store { snapshot, .. } => Some(snapshot),
            Self::Engine { .. } => None,
        }
    }

    /// The layers of an image that is there, damaged or not.
    pub(super) fn image_layers(&self, image: ImageId) -> Option<Arc<[DiffId]>> {
        match self {
            Self::Store { snapshot, .. } => {
                let stored = snapshot.get(image)?;
                Some(stored.layers.iter().map(|layer| layer.diff_id).collect())
            }
            Self::Engine { images, .. } => Some(images.get(image)?.diff_ids.as_slice().into()),
        }
    }

    /// The config of the image that has a name: `None` where none has, and nothing in it where that cannot
    /// be read.
    pub(super) fn config_of(&self, name: &Name) -> Result<Option<Option<Vec<u8>>>, LoadError> {
        Ok(match self {
            Self::Store { store, snapshot } => {
                let image = snapshot.images.iter().find(|image| image.names.contains(name));
                image.map(|image| store.read_config(image.id).ok())
            }
            Self::Engine { place, images } => {
                let image = images.images.iter().find(|image| image.names.contains(name));
                image.map(|image| place.engine().config(image).ok())
            }
        })
    }

    /// Looks for a layer.
    pub(super) fn find(&self, layer: DiffId) -> Result<Option<FoundLayer>, LoadError> {
        match self {
            Self::Store { store, snapshot } => {
                let Some(found) = store.layer(layer)? else { return Ok(None) };
                // A manifest that knows better than the block digests is one of an image that is there.
                if let Some(expected_bytes) = snapshot.layer_size(layer) {
                    return Ok(Some(FoundLayer { found_bytes: found.size_bytes, expected_bytes }));
                }
                // What no image has, and is damaged as far as can be told, is made again.
                let size = store.sound_layer_size(layer, snapshot)?;
                Ok(size.map(|size| FoundLayer { found_bytes: size, expected_bytes: size }))
            }
            Self::Engine { place, images } => {
                let found = place.find_layer(images, layer)?;
                Ok(found.map(|layer| {
                    let size = delta::read_at::ReadAt::size(&layer);
                    FoundLayer { found_bytes: size, expected_bytes: size }
                }))
            }
        }
    }

    /// Whether a layer is there, without a look at it.
    pub(super) fn lists(&self, layer: DiffId) -> Option<bool> {
        match self {
            Self::Store { .. } => None,
            Self::Engine { images, .. } => Some(images.holder(layer).is_some()),
        }
    }

    /// Whether a layer on top of others is there and needs nothing more. A store has each layer once; an
    /// engine has it for each stack, and one that it has for another stack must be sent again.
    pub(super) fn has_stack(&self, stack: &[DiffId]) -> Result<Option<bool>, LoadError> {
        match self {
            Self::Store { .. } => Ok(None),
            Self::Engine { place, images } => {
                Ok(Some(place.engine().has_stack(&images.images, stack)?))
            }
        }
    }

    /// Whether looking at the size of a layer costs no copy of it.
    pub(super) fn sizes_are_cheap(&self) -> bool {
        match self {
            Self::Store { .. } => true,
            Self::Engine { place, .. } => place.about().direct_reading == DirectReading::Works,
        }
    }

    /// Reads a layer to its end.
    pub(super) fn health(
        &self,
        layer: StoredLayer,
        progress: &dyn Progress,
    ) -> Result<Health, LoadError> {
        match self {
            Self::Store { store, .. } => Health::of(store, layer, progress),
            Self::Engine { .. } => Ok(match self.is_layer_whole(layer.diff_id)? {
                Some(true) => Health::Whole,
                _ => Health::Lost,
            }),
        }
    }

    /// Whether a layer has its bytes; `None` where it is not there.
    pub(super) fn is_layer_whole(&self, layer: DiffId) -> Result<Option<bool>, LoadError> {
        Ok(match self {
            Self::Store { store, .. } => store.layer(layer)?.map(|found| {
                let basis = delta::read_at::FileBasis::with_size(found.file, found.size_bytes);
                is_whole(&basis, layer)
            }),
            Self::Engine { place, images } => {
                place.find_layer(images, layer)?.map(|found| is_whole(&found, layer))
            }
        })
    }

    /// The files of a layer that were changed under an engine, as far as it noted what they had.
    pub(super) fn changed_files(&self, layer: DiffId) -> Result<Vec<String>, LoadError> {
        Ok(match self {
            Self::Store { .. } => Vec::new(),
            Self::Engine { place, images } => {
                let found = place.find_layer(images, layer)?;
                found.map(|layer| layer.changed_files()).unwrap_or_default()
            }
        })
    }

    /// What is free where layers will lie.
    pub(super) fn space(&self) -> Result<FreeSpace, LoadError> {
        match self {
            Self::Store { store, .. } => Ok(store::free_space(store.root())?),
            Self::Engine { place, .. } => {
                let root = &place.about().root;
                // The root of an engine that is elsewhere says nothing about this machine.
                match root.is_dir() {
                    true => Ok(store::free_space(root)?),
                    false => Ok(FreeSpace {
                        mount_point: root.clone(),
                        free_bytes: u64::MAX,
                        total_bytes: u64::MAX,
                        free_inodes: None,
                        block_size_bytes: 1,
                    }),
                }
            }
        }
    }

    /// Bytes that an interrupted load has left of a layer.
    pub(super) fn left_bytes(&self, layer: DiffId) -> Result<u64, LoadError> {
        match self {
            Self::Store { store, .. } => Ok(store.left_bytes(layer)?),
            Self::Engine { .. } => Ok(0),
        }
    }

    /// The store, where it is one.
    pub(super) fn store(&self) -> Option<&'a Store> {
        match self {
            Self::Store { store, .. } => Some(store),
            Self::Engine { .. } => None,
        }
    }

    /// Whether what is sent is staged before it is taken in.
    pub(super) fn stages(&self) -> bool {
        match self {
            Self::Store { .. } => false,
            Self::Engine { place, .. } => place.about().staging == Staging::Upload,
        }
    }

    /// What a plan calls the place that a layer is copied from.
    pub(super) fn root(&self) -> std::path::PathBuf {
        match self {
            Self::Store { store, .. } => store.root().to_owned(),
            Self::Engine { place, .. } => place.about().root.clone(),
        }
    }
}
