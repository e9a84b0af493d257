//! Removing the base of a delta once its target is there, for devices that have no room for both.
//!
//! Nothing of the base goes before the target is published: until then it is all that the device can go
//! back to. So the room that it takes is not room for the load.

use std::collections::BTreeSet;

use serde::Serialize;
use store::{EditError, RemoveOptions, ResolveError, Snapshot, Store};
use tarball::{ImageId, Name};

use super::plan::ImagePlan;
use super::{LoadError, LoadPlan, LoadReport};
use crate::delta_image::DeltaImage;
use crate::query::images_with;

/// A base that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeletedBase {
    /// The image.
    pub id: ImageId,
    /// The names that it had.
    pub untagged: Vec<Name>,
    /// Bytes of its files that nothing else needed.
    pub freed_bytes: u64,
}

/// The images here that are bases of deltas in the input: the one that a delta names, and any with the
/// layers that it lists. What the load itself makes or is asked for is none.
pub(super) fn bases_of(
    snapshot: &Snapshot,
    deltas: &[&DeltaImage],
    images: &[ImagePlan],
) -> Vec<ImageId> {
    let mut bases = BTreeSet::new();
    for delta in deltas {
        bases.extend(images_with(snapshot, delta.base, delta.base_layers.as_deref()));
    }
    bases.retain(|base| images.iter().all(|image| image.id != *base));
    bases.into_iter().collect()
}

/// Removes what the plan says. An image that is gone already is no failure.
pub(super) fn delete_bases(
    store: &Store,
    plan: &LoadPlan,
    mut report: LoadReport,
) -> Result<LoadReport, LoadError> {
    for id in &plan.deletes {
        match store.remove(&id.to_string(), RemoveOptions { force: true }) {
            Ok(removed) => report.deleted.push(DeletedBase {
                id: *id,
                untagged: removed.untagged,
                freed_bytes: removed.freed_bytes,
            }),
            Err(EditError::Resolve(ResolveError::NotFound { .. })) => {}
            Err(error) => {
                let (base, source) = (*id, Box::new(error));
                return Err(LoadError::DeleteBase { base, source });
            }
        }
    }
    Ok(report)
}
