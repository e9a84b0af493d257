//! The two deltas, and which of their layers makes what.

use std::collections::HashMap;
use std::io::Read;

use delta::native::{LayerDecoder, Limits, Needs, read_needs};
use tarball::{DiffId, Digest};

use super::MergeError;
use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::delta_layer::with_member;
use crate::layer_digest::compute_diff_id;
use crate::place::{SourceImage, SourceLayer};
use crate::sequential::Sequential;

/// A delta that was opened.
pub(super) struct Delta {
    pub(super) image: DeltaImage,
    source: SourceImage,
}

/// Two deltas, of which the second goes on where the first ends.
pub(super) struct Chain {
    pub(super) first: Delta,
    pub(super) second: Delta,
}

impl Chain {
    pub(super) fn of(first: SourceImage, second: SourceImage) -> Result<Self, MergeError> {
        let chain = Self { first: Delta::of(first)?, second: Delta::of(second)? };
        let (first, second) = (&chain.first.image, &chain.second.image);
        if first.format != second.format {
            return Err(MergeError::Formats { first: first.format, second: second.format });
        }
        let has_layers =
            |layers: &Vec<DiffId>| layers.iter().all(|layer| first.target.diff_ids.contains(layer));
        let is_next = second.base == Some(first.target.id)
            || second.base_layers.as_ref().is_some_and(has_layers);
        if !is_next {
            return Err(MergeError::NotNeighbours { made: first.target.id, needed: second.base });
        }
        Ok(chain)
    }

    /// Whether an image that can be the base has this layer.
    pub(super) fn is_of_base(&self, layer: DiffId) -> bool {
        self.first.image.base_layers.as_ref().is_some_and(|layers| layers.contains(&layer))
    }

    /// Bytes of all layers of both.
    pub(super) fn bytes(&self) -> u64 {
        let layers = self.first.source.layers.iter().chain(&self.second.source.layers);
        layers.map(SourceLayer::size_bytes).sum()
    }
}

impl Delta {
    fn of(source: SourceImage) -> Result<Self, MergeError> {
        let image = source.config.id;
        let found = DeltaImage::of(&source.config)?.ok_or(MergeError::NotADelta { image })?;
        for layer in &source.layers {
            let diff_id = layer.diff_id;
            let read = compute_diff_id(layer);
            let read = read.map_err(|source| MergeError::Read { layer: diff_id, source })?;
            if read != diff_id {
                return Err(MergeError::Damaged { layer: diff_id, found: read });
            }
        }
        Ok(Self { image: found, source })
    }

    /// The layer that makes the target's layer of that number; `None` where it is empty.
    pub(super) fn layer(&self, index: usize) -> Option<&SourceLayer> {
        self.source.layers.get(index).filter(|layer| layer.diff_id != DiffId::EMPTY_LAYER)
    }

    /// What its layers make: layers of its target, and bytes that are shared with other deltas.
    pub(super) fn makes(&self) -> HashMap<DiffId, &SourceLayer> {
        let made = self.image.target.diff_ids.iter().chain(&self.image.shared).copied();
        let layers = made.enumerate().map(|(i, diff_id)| (diff_id, self.layer(i)));
        layers.filter_map(|(diff_id, layer)| Some((diff_id, layer?))).collect()
    }

    pub(super) fn is_shared(&self, bytes: DiffId) -> bool {
        self.image.shared.contains(&bytes)
    }
}

/// Calls `read` with the stream within a layer of a delta.
pub(super) fn with_stream<T>(
    format: DeltaFormat,
    layer: &SourceLayer,
    read: impl FnOnce(&mut dyn Read) -> Result<T, MergeError>,
) -> Result<T, MergeError> {
    with_member(format, layer.diff_id, &mut Sequential::new(layer), read)
}

/// The header of a native stream, all of whose frames are as they were written.
pub(super) fn checked_needs(layer: &SourceLayer, limits: &Limits) -> Result<Needs, MergeError> {
    let diff_id = layer.diff_id;
    let error = |source| MergeError::Decode { layer: diff_id, source };
    with_stream(DeltaFormat::Silt, layer, |stream| {
        let mut decoder = LayerDecoder::new(stream, limits).map_err(error)?;
        while decoder.check_frame().map_err(error)?.is_some() {}
        Ok(decoder.needs().clone())
    })
}

/// The header of a native stream.
pub(super) fn needs_of(layer: &SourceLayer) -> Result<Needs, MergeError> {
    let diff_id = layer.diff_id;
    let limits = Limits { memory_bytes: u64::MAX, output_bytes: u64::MAX };
    with_stream(DeltaFormat::Silt, layer, |stream| {
        read_needs(stream, &limits).map_err(|source| MergeError::Decode { layer: diff_id, source })
    })
}

/// The layers that a stream reads, in its order.
pub(super) fn origins_of(needs: &Needs) -> Vec<DiffId> {
    let origins = needs.origins.iter();
    origins.map(|origin| DiffId(Digest::from_bytes(*origin.diff_id()))).collect()
}
