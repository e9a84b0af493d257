//! What an archive or a delta holds and needs, without a change to anything.

use std::collections::HashSet;

use delta::native::{Limits, read_needs};
use serde::{Serialize, Serializer};
use tarball::archive::{ArchivedImage, SkippedImage};
use tarball::{Compression, DiffId, Digest, ImageId, Name, Platform};

use crate::delta_image::{DeltaFormat, DeltaImage, KindShare};
use crate::delta_layer::with_member;
use crate::load::{LoadError, OpenedInput};

/// What an input holds.
#[derive(Debug, Clone, Serialize)]
pub struct Contents {
    /// How it is compressed as a whole.
    #[serde(serialize_with = "display")]
    pub compression: Compression,
    /// The images, in its order.
    pub images: Vec<ShownImage>,
    /// Images that are there for other platforms alone.
    pub skipped: Vec<ShownSkipped>,
}

/// One image of an input, plain or a delta.
#[derive(Debug, Clone, Serialize)]
pub struct ShownImage {
    /// The digest of its config.
    pub id: ImageId,
    /// The names that the input gives it.
    pub names: Vec<Name>,
    /// What it is for, as `OS/ARCH[/VARIANT]`.
    #[serde(serialize_with = "display")]
    pub platform: Platform,
    /// When it was made, as it says.
    pub created: Option<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<ShownLayer>,
    /// What it makes and needs, where it is a delta.
    pub delta: Option<ShownDelta>,
}

/// A layer of an input.
#[derive(Debug, Clone, Serialize)]
pub struct ShownLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// Bytes in the input; `None` where it leaves the layer out.
    pub stored_bytes: Option<u64>,
}

/// What a delta makes and needs.
#[derive(Debug, Clone, Serialize)]
pub struct ShownDelta {
    /// Its encoding.
    pub format: DeltaFormat,
    /// The image that it makes.
    pub target: ImageId,
    /// The names that the target will have; a `balena` delta does not say.
    pub target_names: Vec<Name>,
    /// When the target was made, as it says.
    pub target_created: Option<String>,
    /// The image that it was made against.
    pub base: Option<ImageId>,
    /// What it reads of other layers, all of which must be there.
    pub needs: Vec<DiffId>,
    /// Bytes that it makes; `None` where only applying it tells.
    pub output_bytes: Option<u64>,
    /// Memory that applying it takes; `None` where it is small and not declared.
    pub memory_bytes: Option<u64>,
    /// The sorts of files that it spends bytes on, as its maker estimated; a `balena` delta does not say.
    pub kinds: Vec<KindShare>,
}

/// An image that is not for the platform that was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct ShownSkipped {
    /// The names that the input gives it.
    pub names: Vec<Name>,
    /// What it is there for, each as `OS/ARCH[/VARIANT]`.
    pub platforms: Vec<String>,
}

/// Looks at an input. Plain layers are not read; those of deltas are, against their digests.
pub fn show(input: &OpenedInput) -> Result<Contents, LoadError> {
    let images = input.archive.images().iter().map(|image| show_image(input, image));
    let skipped = input.archive.skipped().iter().map(|image: &SkippedImage| ShownSkipped {
        names: image.names.clone(),
        platforms: image.platforms.iter().map(ToString::to_string).collect(),
    });
    Ok(Contents {
        compression: input.archive.compression(),
        images: images.collect::<Result<_, _>>()?,
        skipped: skipped.collect(),
    })
}

fn show_image(input: &OpenedInput, image: &ArchivedImage) -> Result<ShownImage, LoadError> {
    let layers = image.layers.iter().map(|layer| ShownLayer {
        diff_id: layer.diff_id,
        stored_bytes: layer.stored.map(|stored| stored.bytes),
    });
    let delta = match DeltaImage::of(&image.config)? {
        Some(delta) => Some(show_delta(input, image, &delta)?),
        None => None,
    };
    Ok(ShownImage {
        id: image.config.id,
        names: image.names.clone(),
        platform: image.config.platform.clone(),
        created: image.config.created.clone(),
        layers: layers.collect(),
        delta,
    })
}

fn show_delta(
    input: &OpenedInput,
    image: &ArchivedImage,
    delta: &DeltaImage,
) -> Result<ShownDelta, LoadError> {
    let mut shown = ShownDelta {
        format: delta.format,
        target: delta.target.id,
        target_names: delta.names.clone(),
        target_created: delta.target.created.clone(),
        base: delta.base,
        needs: Vec::new(),
        output_bytes: None,
        memory_bytes: None,
        kinds: delta.kinds.clone(),
    };
    match delta.format {
        DeltaFormat::Silt => add_native_needs(input, image, delta, &mut shown)?,
        DeltaFormat::Balena => shown.needs = delta.base_layers.clone().unwrap_or_default(),
    }
    Ok(shown)
}

/// A native delta needs the layers that its streams read, and those that it shares with its base.
fn add_native_needs(
    input: &OpenedInput,
    image: &ArchivedImage,
    delta: &DeltaImage,
    shown: &mut ShownDelta,
) -> Result<(), LoadError> {
    let (mut output_bytes, mut memory_bytes) = (0u64, 0);
    let mut known: HashSet<DiffId> = delta.shared.iter().copied().collect();
    let made = (image.layers.iter().zip(&delta.target.diff_ids))
        .filter(|(layer, _)| layer.diff_id != DiffId::EMPTY_LAYER)
        .map(|(_, target)| *target);
    known.extend(made);
    for (layer, target) in image.layers.iter().zip(&delta.target.diff_ids) {
        let mut layer_needs = vec![*target];
        if layer.diff_id != DiffId::EMPTY_LAYER && layer.stored.is_some() {
            let needs = head_of(input, layer, *target)?;
            output_bytes = needs.output_bytes.saturating_add(output_bytes);
            memory_bytes = memory_bytes.max(needs.memory_bytes);
            let origins = needs.origins.iter();
            let diff_id =
                |origin: &delta::native::Origin| DiffId(Digest::from_bytes(*origin.diff_id()));
            layer_needs = origins.map(diff_id).collect();
        }
        layer_needs.retain(|layer| known.insert(*layer));
        shown.needs.extend(layer_needs);
    }
    shown.output_bytes = Some(output_bytes);
    shown.memory_bytes = Some(memory_bytes);
    Ok(())
}

fn head_of(
    input: &OpenedInput,
    layer: &tarball::ArchivedLayer,
    target: DiffId,
) -> Result<delta::native::Needs, LoadError> {
    let limits = Limits { memory_bytes: u64::MAX, output_bytes: u64::MAX };
    let mut tar = input.archive.open_layer(layer)?;
    with_member(DeltaFormat::Silt, layer.diff_id, &mut tar, |member| {
        let error = |source| LoadError::Decode { layer: target, origins: Vec::new(), source };
        read_needs(member, &limits).map_err(error)
    })
}

fn display<T: std::fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
