//! Whether a layer that is there has its bytes, and what is to be done where it has not.

use std::ops::Range;

use store::{LayerDamage, Store, StoredLayer};

use super::LoadError;
use crate::progress::{Progress, passed};

/// What reading all of a layer showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// It has its bytes, and its block digests.
    Whole,
    /// It has its bytes, and its block digests are damaged or gone.
    WithoutDigests,
    /// Parts of it are damaged, and its block digests tell which.
    Damaged(Vec<Range<u64>>),
    /// It is damaged, and which parts is not known.
    Lost,
}

impl Health {
    /// Whether the layer's bytes are right.
    pub(super) fn is_sound(&self) -> bool {
        matches!(self, Self::Whole | Self::WithoutDigests)
    }

    /// Reads a layer to its end.
    pub(super) fn of(
        store: &Store,
        layer: StoredLayer,
        progress: &dyn Progress,
    ) -> Result<Self, LoadError> {
        let checked = store.check_layer(layer, &mut |bytes| passed(progress, bytes))?;
        // One block has no digest beside the layer's own, and is written anew as a whole.
        if checked.damage.is_some() && layer.size_bytes <= store::BLOCK_SIZE_BYTES {
            return Ok(Self::Lost);
        }
        let blocks = checked.blocks.ok();
        let has_digests = blocks.is_some_and(|blocks| blocks.layer_size_bytes == layer.size_bytes);
        Ok(match (checked.damage, has_digests) {
            (None, true) => Self::Whole,
            (None, false) => Self::WithoutDigests,
            (Some(LayerDamage::WrongSize { ranges, .. }), true) => Self::Damaged(ranges),
            (Some(LayerDamage::Bytes { ranges, .. }), true) if !ranges.is_empty() => {
                Self::Damaged(ranges)
            }
            _ => Self::Lost,
        })
    }
}
