//! `image inspect`: all that is known of images, in the shape of `docker inspect`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use silt::delta_image::DeltaImage;
use silt::place::{EngineImage, SourceLayer};
use silt::query::{self, DeltaSummary, ImageDetails};
use silt::{DiffId, Digest, ImageConfig, ImageId, Name};

use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::output;
use crate::places::{ImageReference, Places};

pub(crate) struct InspectOptions {
    pub(crate) images: Vec<String>,
}

pub(super) fn run(context: &Context, options: &InspectOptions) -> CommandResult {
    let places = Places::for_reading(context)?;
    let mut found = Vec::with_capacity(options.images.len());
    for reference in &options.images {
        found.extend(find(context, &places, reference)?);
    }
    output::print_json(&found.iter().map(InspectedImage::of).collect::<Vec<_>>())
}

/// An image, and what its place knows of it.
enum Found {
    Stored(Box<ImageDetails>),
    Elsewhere(Box<EngineImage>),
}

fn find(
    context: &Context,
    places: &Places<'_>,
    reference: &str,
) -> Result<Vec<Found>, CommandError> {
    Ok(match ImageReference::parse(reference, context.engine) {
        ImageReference::Store(name) => {
            let found = query::inspect(&places.scratch, &[name])?;
            found.into_iter().map(|details| Found::Stored(Box::new(details))).collect()
        }
        ImageReference::Engine(kind, name) => {
            let found = places.engine(kind)?.inspect(&[name])?;
            found.into_iter().map(|image| Found::Elsewhere(Box::new(image))).collect()
        }
        ImageReference::Archive { .. } => {
            let image = places.source(reference, context.reporter().as_ref())?;
            let sizes = image.layers.iter().map(SourceLayer::size_bytes);
            let size_bytes = sizes.fold(0, u64::saturating_add);
            let (id, names, config) = (image.config.id, image.names, image.config);
            vec![Found::Elsewhere(Box::new(EngineImage { id, names, size_bytes, config }))]
        }
    })
}

/// The fields of `docker inspect` that a store knows, and `Delta`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedImage<'a> {
    id: ImageId,
    repo_tags: &'a [Name],
    repo_digests: [String; 0],
    created: Option<&'a str>,
    architecture: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    os: Option<&'a str>,
    size: u64,
    config: Option<Box<RawValue>>,
    #[serde(rename = "RootFS")]
    rootfs: RootFs,
    #[serde(skip_serializing_if = "Option::is_none")]
    descriptor: Option<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Delta>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    r#type: &'static str,
    layers: Vec<DiffId>,
}

/// The store's own manifest, which other OCI tools see.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Delta {
    format: String,
    base: Option<ImageId>,
    base_layers: Option<Vec<DiffId>>,
    target: ImageId,
    target_names: Vec<Name>,
}

/// The part of a config that runtimes read, as it stands there.
#[derive(Deserialize)]
struct ConfigDocument {
    #[serde(default)]
    config: Option<Box<RawValue>>,
}

impl<'a> InspectedImage<'a> {
    fn of(found: &'a Found) -> Self {
        match found {
            Found::Stored(details) => Self::of_stored(details),
            Found::Elsewhere(image) => Self::of_other(image),
        }
    }

    fn of_stored(details: &'a ImageDetails) -> Self {
        let ImageDetails { image, config } = details;
        let descriptor = Descriptor {
            digest: image.manifest,
            size: image.manifest_size_bytes,
            artifact_type: image.artifact_type.clone(),
        };
        let size = image.compute_size_bytes();
        Self {
            descriptor: Some(descriptor),
            ..Self::of_config(image.id, &image.names, config, size)
        }
    }

    fn of_other(image: &'a EngineImage) -> Self {
        Self::of_config(image.id, &image.names, &image.config, image.size_bytes)
    }

    /// What is known wherever the image is.
    fn of_config(id: ImageId, names: &'a [Name], config: &'a ImageConfig, size: u64) -> Self {
        let document: Option<ConfigDocument> = serde_json::from_slice(&config.raw).ok();
        Self {
            id,
            repo_tags: names,
            repo_digests: [],
            created: config.created.as_deref(),
            architecture: config.platform.architecture.as_deref(),
            variant: config.platform.variant.as_deref(),
            os: config.platform.os.as_deref(),
            size,
            config: document.and_then(|document| document.config),
            rootfs: RootFs { r#type: "layers", layers: config.diff_ids.clone() },
            descriptor: None,
            delta: Delta::of(config),
        }
    }
}

impl Delta {
    /// `None` for a plain image, and for a delta that this program cannot read.
    fn of(config: &ImageConfig) -> Option<Self> {
        DeltaImage::of(config).ok().flatten().map(|delta| Self {
            format: DeltaSummary::of(&delta).format.to_string(),
            base: delta.base,
            target: delta.target.id,
            base_layers: delta.base_layers,
            target_names: delta.names,
        })
    }
}
