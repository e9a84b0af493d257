//! The images that a delta is made of, with their layers held.

use delta::native::Origin;
use delta::read_at::ReadAt;
use rayon::prelude::*;
use tarball::{DiffId, ImageId};

use super::CreateError;
use crate::delta_image::DeltaFormat;
use crate::layer_digest::compute_diff_id;
use crate::place::{SourceImage, SourceLayer};

/// Fails where the bytes are not what the diffID says.
fn check(layer: &SourceLayer) -> Result<(), CreateError> {
    let diff_id = layer.diff_id;
    let found = compute_diff_id(layer);
    let found = found.map_err(|source| CreateError::ReadBase { layer: diff_id, source })?;
    match found == diff_id {
        true => Ok(()),
        false => {
            let files = layer.changed_files();
            Err(CreateError::DamagedBase { layer: diff_id, found, files })
        }
    }
}

/// All layers that a delta may read.
pub(super) struct Base {
    ids: Vec<ImageId>,
    /// Each layer once, in order; `starts` says where it begins in the concatenation.
    layers: Vec<SourceLayer>,
    starts: Vec<u64>,
    /// All layers in order, repeated ones as well: what a `balena` delta addresses.
    address_space: Vec<DiffId>,
}

impl Base {
    /// The layers of `images`, in order. A `balena` delta can name one image only.
    pub(super) fn of(images: Vec<SourceImage>, format: DeltaFormat) -> Result<Self, CreateError> {
        if format == DeltaFormat::Balena && images.len() > 1 {
            return Err(CreateError::SeveralBases { images: images.len() });
        }
        let ids = images.iter().map(|image| image.config.id).collect();
        let mut base =
            Self { ids, layers: Vec::new(), starts: Vec::new(), address_space: Vec::new() };
        let mut start = 0;
        for layer in images.into_iter().flat_map(|image| image.layers) {
            base.address_space.push(layer.diff_id);
            let size_bytes = layer.size();
            if !base.has_layer(layer.diff_id) {
                base.layers.push(layer);
                base.starts.push(start);
            }
            start += size_bytes;
        }
        Ok(base)
    }

    /// These layers, whatever image they are of.
    pub(super) fn of_layers(listed: Vec<SourceLayer>) -> Self {
        let (ids, starts) = (Vec::new(), Vec::new());
        let mut base = Self { ids, layers: Vec::new(), starts, address_space: Vec::new() };
        let mut start = 0;
        for layer in listed {
            if !base.has_layer(layer.diff_id) {
                base.address_space.push(layer.diff_id);
                base.starts.push(start);
                start += layer.size();
                base.layers.push(layer);
            }
        }
        base
    }

    /// Fails where a layer is damaged. A delta that read it would be proved by the same bytes, and
    /// refused by every device.
    pub(super) fn check(&self) -> Result<(), CreateError> {
        self.layers.par_iter().try_for_each(check)
    }

    pub(super) fn ids(&self) -> &[ImageId] {
        &self.ids
    }

    pub(super) fn has_layer(&self, layer: DiffId) -> bool {
        self.layers.iter().any(|own| own.diff_id == layer)
    }

    pub(super) fn address_space(&self) -> &[DiffId] {
        &self.address_space
    }

    /// The bytes of a layer.
    pub(super) fn layer(&self, diff_id: DiffId) -> Option<&dyn ReadAt> {
        self.layers.iter().find(|own| own.diff_id == diff_id).map(bytes_of)
    }

    /// Each origin once, in order.
    pub(super) fn layers(&self) -> impl Iterator<Item = (DiffId, &dyn ReadAt)> {
        self.layers.iter().map(|layer| (layer.diff_id, bytes_of(layer)))
    }

    /// Where each origin begins in the concatenation of all layers.
    pub(super) fn starts(&self) -> &[u64] {
        &self.starts
    }

    /// The bytes of each origin.
    pub(super) fn origin_bytes(&self) -> Vec<&dyn ReadAt> {
        self.layers.iter().map(bytes_of).collect()
    }

    /// Each origin as a native delta lists it.
    pub(super) fn origins(&self) -> Vec<(Origin, &dyn ReadAt)> {
        let origin = |layer: &SourceLayer| Origin::Layer {
            diff_id: *layer.diff_id.0.as_bytes(),
            size: layer.size(),
        };
        self.layers.iter().map(|layer| (origin(layer), bytes_of(layer))).collect()
    }

    /// The bytes of all layers in order, repeated ones as well.
    pub(super) fn concatenated(&self) -> Vec<&dyn ReadAt> {
        let find = |diff_id: &DiffId| self.layers.iter().find(|own| own.diff_id == *diff_id);
        self.address_space.iter().filter_map(find).map(bytes_of).collect()
    }
}

/// A layer as bytes alone.
pub(super) fn bytes_of(layer: &SourceLayer) -> &dyn ReadAt {
    layer
}
