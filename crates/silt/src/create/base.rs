//! The images that a delta is made of, with their layers held.

use std::sync::Arc;

use delta::native::Origin;
use delta::read_at::ReadAt;
use rayon::prelude::*;
use store::{Store, Subject, Transaction};
use tarball::manifest::media_type;
use tarball::{DiffId, ImageConfig, ImageId, Manifest, Name};

use super::CreateError;
use super::layer_pool::{LayerPool, PooledLayer};
use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::layer_digest::compute_diff_id;

/// An image of the store, its layers held.
pub(super) struct StoredImageFiles {
    pub(super) config: ImageConfig,
    pub(super) names: Vec<Name>,
    pub(super) layers: Vec<OpenLayer>,
    /// The manifest with which it came, as a subject.
    pub(super) original_manifest: Option<Subject>,
}

/// A layer that can be read.
pub(super) struct OpenLayer {
    pub(super) diff_id: DiffId,
    pub(super) size_bytes: u64,
    basis: PooledLayer,
}

impl OpenLayer {
    pub(super) fn bytes(&self) -> &dyn ReadAt {
        &self.basis
    }

    /// Fails where the bytes are not what the diffID says.
    fn check(&self) -> Result<(), CreateError> {
        let layer = self.diff_id;
        let found = compute_diff_id(&self.basis);
        let found = found.map_err(|source| CreateError::ReadBase { layer, source })?;
        if found == layer { Ok(()) } else { Err(CreateError::DamagedBase { layer, found }) }
    }
}

impl StoredImageFiles {
    pub(super) fn open(
        store: &Store,
        pool: &Arc<LayerPool>,
        transaction: &mut Transaction,
        reference: &str,
    ) -> Result<Self, CreateError> {
        let snapshot = store.snapshot()?;
        let image = snapshot.resolve(reference)?;
        let raw = store.read_config(image.id)?;
        let config = ImageConfig::parse(raw)
            .map_err(|source| CreateError::Config { image: image.id, source })?;
        if let Ok(Some(_)) = DeltaImage::of(&config) {
            return Err(CreateError::IsADelta { image: image.id });
        }
        transaction.pin(&config.diff_ids)?;
        let open = |diff_id: &DiffId| match pool.layer(*diff_id)? {
            Some(basis) => Ok(OpenLayer { diff_id: *diff_id, size_bytes: basis.size(), basis }),
            None => Err(CreateError::MissingLayer { image: image.id, layer: *diff_id }),
        };
        let layers = config.diff_ids.iter().map(open).collect::<Result<_, _>>()?;
        let original_manifest = image.original_manifest.map(|digest| {
            let raw = store.read_manifest(digest)?;
            let size_bytes = raw.len() as u64;
            // Whoever looks for the subject asks for it by this type. Old manifests do not say it.
            let own = Manifest::parse(raw).ok().and_then(|manifest| manifest.media_type);
            let media_type = own.unwrap_or_else(|| media_type::MANIFEST.to_owned());
            Ok::<_, CreateError>(Subject { media_type, digest, size_bytes })
        });
        let original_manifest = original_manifest.transpose()?;
        Ok(Self { config, names: image.names.clone(), layers, original_manifest })
    }
}

/// All layers that a delta may read.
pub(super) struct Base {
    ids: Vec<ImageId>,
    /// Each layer once, in order; `starts` says where it begins in the concatenation.
    layers: Vec<OpenLayer>,
    starts: Vec<u64>,
    /// All layers in order, repeated ones as well: what a `balena` delta addresses.
    address_space: Vec<DiffId>,
}

impl Base {
    /// The layers of `images`, in order. A `balena` delta can name one image only.
    pub(super) fn of(
        images: Vec<StoredImageFiles>,
        format: DeltaFormat,
    ) -> Result<Self, CreateError> {
        if format == DeltaFormat::Balena && images.len() > 1 {
            return Err(CreateError::SeveralBases { images: images.len() });
        }
        let ids = images.iter().map(|image| image.config.id).collect();
        let mut base =
            Self { ids, layers: Vec::new(), starts: Vec::new(), address_space: Vec::new() };
        let mut start = 0;
        for layer in images.into_iter().flat_map(|image| image.layers) {
            base.address_space.push(layer.diff_id);
            let size_bytes = layer.size_bytes;
            if !base.has_layer(layer.diff_id) {
                base.layers.push(layer);
                base.starts.push(start);
            }
            start += size_bytes;
        }
        Ok(base)
    }

    /// Fails where a layer is damaged. A delta that read it would be proved by the same bytes, and
    /// refused by every device.
    pub(super) fn check(&self) -> Result<(), CreateError> {
        self.layers.par_iter().try_for_each(OpenLayer::check)
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

    /// Where each origin begins in the concatenation of all layers.
    pub(super) fn starts(&self) -> &[u64] {
        &self.starts
    }

    /// The bytes of each origin.
    pub(super) fn origin_bytes(&self) -> Vec<&dyn ReadAt> {
        self.layers.iter().map(OpenLayer::bytes).collect()
    }

    /// Each origin as a native delta lists it.
    pub(super) fn origins(&self) -> Vec<(Origin, &dyn ReadAt)> {
        let origin = |layer: &OpenLayer| Origin::Layer {
            diff_id: *layer.diff_id.0.as_bytes(),
            size: layer.size_bytes,
        };
        self.layers.iter().map(|layer| (origin(layer), layer.bytes())).collect()
    }

    /// The bytes of all layers in order, repeated ones as well.
    pub(super) fn concatenated(&self) -> Vec<&dyn ReadAt> {
        let find = |diff_id: &DiffId| self.layers.iter().find(|own| own.diff_id == *diff_id);
        self.address_space.iter().filter_map(find).map(OpenLayer::bytes).collect()
    }
}
