//! Other stores that base layers are read from, such as that of the running system while the inactive
//! one is filled. Nothing is written there.

use std::path::PathBuf;

use store::{OpenMode, Pins, Snapshot, Store};
use tarball::{DiffId, ImageId};

use super::LoadError;

/// Further stores, in the order in which they are asked.
#[derive(Debug, Clone, Default)]
pub(super) struct BaseStores {
    stores: Vec<Store>,
}

/// What those stores hold while a load is planned.
#[derive(Debug, Default)]
pub(super) struct BaseSnapshots {
    snapshots: Vec<Snapshot>,
}

impl BaseStores {
    /// Opens the stores for reading alone.
    pub(super) fn open(roots: &[PathBuf]) -> Result<Self, LoadError> {
        let open = |root: &PathBuf| {
            let store = Store::open(root, OpenMode::ReadOnly)?;
            match store.exists() {
                true => Ok(store),
                false => Err(store::OpenError::Missing { root: root.clone() }),
            }
        };
        let stores = roots.iter().map(open).collect::<Result<_, _>>();
        Ok(Self { stores: stores.map_err(LoadError::BaseRoot)? })
    }

    /// Reads what images they have.
    pub(super) fn snapshots(&self) -> Result<BaseSnapshots, LoadError> {
        let snapshots = self.stores.iter().map(Store::snapshot).collect::<Result<_, _>>()?;
        Ok(BaseSnapshots { snapshots })
    }

    /// The first store that has the layer, and the layer's size.
    pub(super) fn find(&self, layer: DiffId) -> Result<Option<(&Store, u64)>, LoadError> {
        for store in &self.stores {
            if let Some(size_bytes) = store.layer_size(layer)? {
                return Ok(Some((store, size_bytes)));
            }
        }
        Ok(None)
    }

    /// Opens a layer of the first store that has it.
    pub(super) fn open_layer(&self, layer: DiffId) -> Result<Option<store::LayerFile>, LoadError> {
        Ok(match self.find(layer)? {
            Some((store, _)) => store.layer(layer)?,
            None => None,
        })
    }

    /// Keeps layers from being removed until the pins are dropped; gives the first that is not there.
    pub(super) fn hold(&self, layers: &[DiffId]) -> Result<(Vec<Pins>, Option<DiffId>), LoadError> {
        let mut missing = layers.to_vec();
        let mut held = Vec::new();
        for store in &self.stores {
            if missing.is_empty() {
                break;
            }
            let mut pins = store.pins();
            missing = pins.pin(&missing)?.missing;
            held.push(pins);
        }
        Ok((held, missing.first().copied()))
    }
}

impl BaseSnapshots {
    /// The layers of an image that one of the stores has.
    pub(super) fn image_layers(&self, image: ImageId) -> Option<Vec<DiffId>> {
        let stored = self.snapshots.iter().find_map(|snapshot| snapshot.get(image))?;
        Some(stored.layers.iter().map(|layer| layer.diff_id).collect())
    }
}
