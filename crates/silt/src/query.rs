//! What a store answers: lists, one image in detail, its health, what it takes and what can go.
//!
//! Nothing here writes but [`prune`] and [`unpack`]. References are names, image IDs, or at least
//! four digits that one image's ID begins with.

mod error;
mod health;
mod history;
mod list;
mod place;
mod prune;
mod unpack;
mod usage;

use store::{Snapshot, Store, StoredImage};
use tarball::{DiffId, ImageConfig, ImageId};

use crate::delta_image::{DeltaImage, DeltaImageError};

pub use error::QueryError;
pub use health::{ByteRange, CheckReport, Damage, DamagedPart, Verification, check, verify};
pub use history::{HistoryStep, history, history_of};
pub use list::{
    DeltaSummary, ImageKind, ImageList, ImageSummary, LayerSummary, UnreadableImage, layers, list,
};
pub use place::{DamagedFile, FilePart};
pub use prune::{PruneBlock, PruneReport, PrunedBlob, plan_prune, prune};
pub use unpack::{UnpackImageError, Unpacked, unpack};
pub use usage::{Usage, UsageOfKind, disk_usage};

/// An image with its config read.
#[derive(Debug, Clone)]
pub struct ImageDetails {
    /// What the store knows of it.
    pub image: StoredImage,
    /// Its config, checked against its ID.
    pub config: ImageConfig,
}

/// The image that a reference means.
pub fn resolve(store: &Store, reference: &str) -> Result<ImageId, QueryError> {
    Ok(store.snapshot()?.resolve(reference)?.id)
}

/// The images that the references mean, in their order.
pub fn resolve_all(store: &Store, references: &[String]) -> Result<Vec<ImageId>, QueryError> {
    let snapshot = store.snapshot()?;
    let resolve = |reference: &String| Ok(snapshot.resolve(reference)?.id);
    references.iter().map(resolve).collect()
}

/// The images that the references mean, in their order, with their configs.
pub fn inspect(store: &Store, references: &[String]) -> Result<Vec<ImageDetails>, QueryError> {
    let snapshot = store.snapshot()?;
    let details = |reference: &String| details_of(store, snapshot.resolve(reference)?.clone());
    references.iter().map(details).collect()
}

impl ImageDetails {
    /// What the config says of a delta; `None` for a plain image.
    pub fn parse_delta(&self) -> Result<Option<DeltaImage>, DeltaImageError> {
        DeltaImage::of(&self.config)
    }
}

fn details_of(store: &Store, image: StoredImage) -> Result<ImageDetails, QueryError> {
    let raw = store.read_config(image.id)?;
    let config =
        ImageConfig::parse(raw).map_err(|source| QueryError::Config { id: image.id, source })?;
    Ok(ImageDetails { image, config })
}

/// The images of `snapshot` that have this name or stack of layers.
pub(crate) fn images_with<'a>(
    snapshot: &'a Snapshot,
    id: Option<ImageId>,
    layers: Option<&'a [DiffId]>,
) -> impl Iterator<Item = ImageId> + use<'a> {
    let is_stack = move |image: &StoredImage| {
        let stack = image.layers.iter().map(|layer| layer.diff_id);
        layers.is_some_and(|layers| layers.iter().copied().eq(stack))
    };
    let is_wanted = move |image: &&StoredImage| Some(image.id) == id || is_stack(image);
    snapshot.images.iter().filter(is_wanted).map(|image| image.id)
}
