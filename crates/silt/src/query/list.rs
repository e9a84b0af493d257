//! Which images and layers there are.

use serde::Serialize;
use store::{Snapshot, Store, StoredImage};
use tarball::{DiffId, ImageId, Name, Platform};

use super::{QueryError, details_of};
use crate::delta_image::{DeltaFormat, DeltaImage};

/// All images of a store.
#[derive(Debug, Default, Serialize)]
pub struct ImageList {
    /// Those that can be read, the one that was loaded or tagged last first.
    pub images: Vec<ImageSummary>,
    /// Those that are listed and cannot be read.
    pub unreadable: Vec<UnreadableImage>,
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Its ID.
    pub id: ImageId,
    /// What it is called; empty for an image that lost its last name.
    pub names: Vec<Name>,
    /// Whether it is one that runs, or a delta.
    pub kind: ImageKind,
    /// What a delta is for; `None` for a plain image, and for a delta that this program cannot read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<DeltaSummary>,
    /// When it was made, as its config says it (RFC 3339).
    pub created: Option<String>,
    /// The sum of its layers' uncompressed tars.
    pub size_bytes: u64,
    /// What it is for.
    pub platform: Platform,
    /// How many layers it has.
    pub layers: usize,
}

/// What an image is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// An image of files.
    Image,
    /// An image that carries a delta.
    Delta,
}

/// What a delta is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeltaSummary {
    /// How it says what changed.
    pub format: DeltaFormat,
    /// The image that it was made against.
    pub base: Option<ImageId>,
    /// The image that it makes.
    pub target: ImageId,
}

/// An image that is listed and cannot be read.
#[derive(Debug, Serialize)]
pub struct UnreadableImage {
    /// The image, where the index says which.
    pub id: Option<ImageId>,
    /// What it is called.
    pub names: Vec<Name>,
    /// Why it cannot be read.
    #[serde(serialize_with = "super::health::error_text")]
    pub why: QueryError,
}

/// A layer that some image uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerSummary {
    /// The layer.
    pub diff_id: DiffId,
    /// The size of its uncompressed tar.
    pub size_bytes: u64,
    /// The images that have it.
    pub images: Vec<ImageId>,
}

/// Lists the images. A damaged one does not hide the others.
pub fn list(store: &Store) -> Result<ImageList, QueryError> {
    let Snapshot { images, broken } = store.snapshot()?;
    let mut list = ImageList::default();
    for image in images.into_iter().rev() {
        let (id, names) = (Some(image.id), image.names.clone());
        match summary_of(store, image) {
            Ok(summary) => list.images.push(summary),
            Err(why) => list.unreadable.push(UnreadableImage { id, names, why }),
        }
    }
    for image in broken {
        let (id, names, why) = (image.id, image.names, image.why.into());
        list.unreadable.push(UnreadableImage { id, names, why });
    }
    Ok(list)
}

/// Lists the layers that are there, in order of their diffIDs.
pub fn layers(store: &Store) -> Result<Vec<LayerSummary>, QueryError> {
    let summary = |layer: store::LayerInfo| LayerSummary {
        diff_id: layer.diff_id,
        size_bytes: layer.size_bytes,
        images: layer.images,
    };
    Ok(store.layers()?.into_iter().map(summary).collect())
}

fn summary_of(store: &Store, image: StoredImage) -> Result<ImageSummary, QueryError> {
    let details = details_of(store, image)?;
    let delta = details.parse_delta();
    let is_delta = !matches!(delta, Ok(None));
    let (image, config) = (details.image, details.config);
    Ok(ImageSummary {
        id: image.id,
        kind: if is_delta { ImageKind::Delta } else { ImageKind::Image },
        delta: delta.ok().flatten().as_ref().map(DeltaSummary::of),
        created: config.created,
        size_bytes: image.compute_size_bytes(),
        platform: config.platform,
        layers: image.layers.len(),
        names: image.names,
    })
}

impl DeltaSummary {
    /// What a delta is for, without the target's config.
    pub fn of(delta: &DeltaImage) -> Self {
        Self { format: delta.format, base: delta.base, target: delta.target.id }
    }
}
