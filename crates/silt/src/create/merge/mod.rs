//! Two deltas that follow one another, merged into one: A→B and B→C become A→C.
//!
//! A layer whose delta reads nothing that the first delta makes is taken over as it is. What the others copy
//! of such layers is followed to where the first delta has it from (`delta::merge`), for which the layers are
//! made in temporary files out of the base; the covers that come of it are encoded and proved
//! like those of any delta.

mod balena;
mod chain;
mod error;
mod made;
mod native;

use serde::Serialize;
use store::Store;

use super::base::Base;
use super::pack::Parts;
use super::{CreatedDelta, DeltaLayer, DeltaOptions, LayerReport, thread_pool};
use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::place::{SourceImage, layers_of_store};
use crate::progress::Progress;

pub use error::MergeError;

use chain::Chain;

/// What merging did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MergeCounts {
    /// Bytes of the layers of the two deltas.
    pub merged_bytes: u64,
    /// Layers whose deltas were taken over as they are.
    pub carried_layers: u64,
    /// Layers whose deltas were composed of both.
    pub composed_layers: u64,
    /// Of the composed layers, bytes that are copied …
    pub copied_bytes: u64,
    /// … copied with differences …
    pub added_bytes: u64,
    /// … and carried by the delta itself.
    pub literal_bytes: u64,
    /// Compressed members and executables that are made as one of the deltas makes them.
    pub carried_regions: u64,
    /// Files that could not be followed and were matched with the base anew …
    pub rematched_files: u64,
    /// … and their bytes.
    pub rematched_bytes: u64,
}

/// A merged delta, and how it came about.
pub struct MergedDelta {
    /// The delta.
    pub delta: CreatedDelta,
    /// What became of the two.
    pub counts: MergeCounts,
}

/// Merges `first`, which makes B of A, and `second`, which makes C of B. Where more than the two is
/// needed, the layers of A are taken from `bases` or, without any, from `store`, which also has the
/// temporary files. The delta is the same wherever they come from.
pub fn merge_deltas(
    first: SourceImage,
    second: SourceImage,
    bases: Vec<SourceImage>,
    store: &Store,
    options: &DeltaOptions,
    progress: &dyn Progress,
) -> Result<MergedDelta, MergeError> {
    let chain = Chain::of(first, second)?;
    let format = chain.first.image.format;
    let options = DeltaOptions { format, ..options.clone() };
    let mut listed = chain.first.image.base_layers.clone().unwrap_or_default();
    if listed.is_empty() && format == DeltaFormat::Balena {
        // balenaEngine's own do not say what the base has; what both images have is in what they make.
        listed.clone_from(&chain.first.image.target.diff_ids);
    }
    let base = match bases.is_empty() {
        true => Base::of_layers(layers_of_store(store, &listed)?),
        false => Base::of(bases, DeltaFormat::Silt)?,
    };
    let pool = thread_pool(&options)?;
    pool.install(|| match format {
        DeltaFormat::Silt => native::merge(&chain, &base, store, &options, progress),
        DeltaFormat::Balena => balena::merge(&chain, &base, store, &options, progress),
    })
}

/// Packs the layers as an image with what the two deltas say of base and target.
fn pack(
    chain: &Chain,
    options: &DeltaOptions,
    layers: Vec<(DeltaLayer, LayerReport)>,
    counts: MergeCounts,
) -> Result<MergedDelta, MergeError> {
    let (layers, reports): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
    let (first, second) = (&chain.first.image, &chain.second.image);
    let delta = DeltaImage {
        format: options.format,
        target: second.target.clone(),
        base: first.base,
        base_layers: first.base_layers.clone(),
        names: second.names.clone(),
        kinds: Vec::new(),
        shared: Vec::new(),
    };
    let scratch_bytes = layers.iter().map(|layer| layer.size_bytes).sum();
    let parts = Parts { layers, reports, shared: Vec::new(), scratch_bytes };
    let delta = parts.pack(delta, first.base.into_iter().collect())?;
    Ok(MergedDelta { delta, counts })
}
