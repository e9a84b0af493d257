//! Freeing what no name and no delta needs.

use std::collections::BTreeSet;

use serde::Serialize;
use store::{PruneOptions, PrunePlan, Store};
use tarball::{Digest, ImageId, Name};

use super::{QueryError, details_of, images_with};

/// What a prune frees, or would free.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    /// Images without a name.
    pub images: Vec<ImageId>,
    /// Blobs that no image needs without those.
    pub blobs: Vec<PrunedBlob>,
    /// Files that interrupted loads have left.
    pub leftovers: usize,
    /// The sum of all sizes.
    pub freed_bytes: u64,
    /// Files that nothing needs but a running load holds.
    pub held: usize,
    /// Images without a name that stay, because a delta with a name was made against them.
    pub kept_bases: Vec<ImageId>,
    /// Damaged images with a name: while what they need is unknown, no layer is freed.
    pub blocked_by: Vec<PruneBlock>,
}

/// A blob that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedBlob {
    /// The blob.
    pub digest: Digest,
    /// Its size, that of its block digests included.
    pub size_bytes: u64,
}

/// A damaged image that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PruneBlock {
    /// The image, where the index says which.
    pub id: Option<ImageId>,
    /// What it is called.
    pub names: Vec<Name>,
}

/// Finds what a prune would free now. Changes nothing.
pub fn plan_prune(store: &Store) -> Result<PruneReport, QueryError> {
    let options = PruneOptions { keep: bases_of_deltas(store)? };
    let plan = store.plan_prune(&options)?;
    Ok(PruneReport::of(plan, options.keep))
}

/// Frees images without a name, blobs that no image needs, and what interrupted loads have left. The
/// base of a delta that has a name is needed.
pub fn prune(store: &Store) -> Result<PruneReport, store::EditError> {
    let options = PruneOptions { keep: bases_of_deltas(store)? };
    let plan = store.prune(&options)?;
    Ok(PruneReport::of(plan, options.keep))
}

/// Images without a name against which a delta with a name was made. Without their layers the delta
/// is of no use here.
fn bases_of_deltas(store: &Store) -> Result<Vec<ImageId>, store::ReadError> {
    let snapshot = store.snapshot()?;
    let mut bases = BTreeSet::new();
    for image in snapshot.images.iter().filter(|image| !image.names.is_empty()) {
        // What cannot be read is not a delta that could be applied.
        let details = details_of(store, image.clone()).ok();
        let delta = details.and_then(|details| details.parse_delta().ok().flatten());
        if let Some(delta) = delta {
            bases.extend(images_with(&snapshot, delta.base, delta.base_layers.as_deref()));
        }
    }
    let is_unnamed = |id: &ImageId| snapshot.get(*id).is_some_and(|image| image.names.is_empty());
    Ok(bases.into_iter().filter(is_unnamed).collect())
}

impl PruneReport {
    fn of(plan: PrunePlan, kept_bases: Vec<ImageId>) -> Self {
        let blob = |(digest, size_bytes)| PrunedBlob { digest, size_bytes };
        let block = |image: store::BrokenImage| PruneBlock { id: image.id, names: image.names };
        Self {
            images: plan.images,
            blobs: plan.blobs.into_iter().map(blob).collect(),
            leftovers: plan.leftovers.len(),
            freed_bytes: plan.freed_bytes,
            held: plan.held.len(),
            kept_bases,
            blocked_by: plan.blocked_by.into_iter().map(block).collect(),
        }
    }
}
