//! The JSON of an archive.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::{ArchiveFormat, BlobToWrite, ImageToWrite, ManifestToWrite, WriteError};
use crate::compression::Compression;
use crate::digest::{DiffId, Digest};
use crate::manifest::{Descriptor, IndexJson, Manifest, ManifestJson, annotation, media_type};
use crate::name::Name;

/// A member that is not a layer.
pub(super) struct Document {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// Where it is a blob.
    pub(super) digest: Option<Digest>,
}

/// What says that something is a layout.
pub const LAYOUT: &str = "oci-layout";
/// What names all else in a layout.
pub const INDEX: &str = "index.json";
/// The whole of `oci-layout`.
pub(crate) const LAYOUT_BYTES: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// One image of `manifest.json`. Docker's field order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The name of a blob in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// All documents, in the order in which they are written.
pub(super) fn make(
    format: ArchiveFormat,
    images: &[ImageToWrite<'_>],
) -> Result<Vec<Document>, WriteError> {
    let mut entries = Vec::new();
    let mut blobs = Vec::new();
    for image in images {
        check_layers(image)?;
        let (manifest, descriptor) = manifest(image)?;
        entries.extend(index_entries(format, image, &descriptor));
        blobs.push(blob(manifest));
        blobs.push(blob(image.config.raw.clone()));
    }
    let layout = LAYOUT_BYTES.to_vec();
    let mut documents = vec![plain(LAYOUT, layout), plain(INDEX, json(&index(entries))?)];
    if format == ArchiveFormat::DockerArchive {
        let entries: Vec<_> = images.iter().map(docker_entry).collect();
        documents.push(plain("manifest.json", json(&entries)?));
    }
    let mut written = HashSet::new();
    documents.extend(blobs.into_iter().filter(|blob| written.insert(blob.digest)));
    Ok(documents)
}

fn plain(name: &str, bytes: Vec<u8>) -> Document {
    Document { name: name.to_owned(), bytes, digest: None }
}

fn blob(bytes: Vec<u8>) -> Document {
    let digest = Digest::of(&bytes);
    Document { name: blob_name(&digest), bytes, digest: Some(digest) }
}

fn json(document: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    serde_json::to_vec(document).map_err(|error| WriteError::Document(error.into()))
}

fn check_layers(image: &ImageToWrite<'_>) -> Result<(), WriteError> {
    let diff_ids = &image.config.diff_ids;
    if diff_ids.len() != image.layers.len() {
        return Err(WriteError::LayerCount {
            image: image.config.id,
            layers: image.layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    for (layer, diff_id) in image.layers.iter().zip(diff_ids) {
        check_layer(image, layer, *diff_id)?;
    }
    Ok(())
}

fn check_layer(
    image: &ImageToWrite<'_>,
    layer: &BlobToWrite<'_>,
    diff_id: DiffId,
) -> Result<(), WriteError> {
    if layer.compression == Compression::None && layer.digest != diff_id.0 {
        return Err(WriteError::WrongLayer {
            image: image.config.id,
            expected: diff_id.0,
            found: layer.digest,
        });
    }
    Ok(())
}

fn manifest(image: &ImageToWrite<'_>) -> Result<(Vec<u8>, Descriptor), WriteError> {
    match &image.manifest {
        ManifestToWrite::Exact(raw) => exact_manifest(image, raw),
        ManifestToWrite::Make { artifact_type, subject, annotations } => new_manifest(
            image,
            artifact_type.clone(),
            subject.as_deref().cloned(),
            annotations.clone(),
        ),
    }
}

fn exact_manifest(
    image: &ImageToWrite<'_>,
    raw: &[u8],
) -> Result<(Vec<u8>, Descriptor), WriteError> {
    let id = image.config.id;
    let parsed = Manifest::parse(raw.to_vec()).map_err(WriteError::Document)?;
    let listed = parsed.layers.iter().map(|layer| (layer.digest, layer.size));
    let given = image.layers.iter().map(|layer| (layer.digest, layer.size));
    if parsed.config.digest != id.0 || !listed.eq(given) {
        return Err(WriteError::WrongManifest { image: id });
    }
    let media_type = parsed.media_type.as_deref().unwrap_or(media_type::MANIFEST);
    let mut descriptor = Descriptor::new(media_type, parsed.digest, raw.len() as u64);
    descriptor.artifact_type = parsed.artifact_type;
    Ok((parsed.raw, descriptor))
}

fn new_manifest(
    image: &ImageToWrite<'_>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    annotations: BTreeMap<String, String>,
) -> Result<(Vec<u8>, Descriptor), WriteError> {
    let config = image.config;
    let layers: Result<_, _> = image.layers.iter().map(layer_descriptor).collect();
    let manifest = ManifestJson {
        schema_version: 2,
        media_type: Some(media_type::MANIFEST.to_owned()),
        artifact_type: artifact_type.clone(),
        config: Descriptor::new(media_type::CONFIG, config.id.0, config.raw.len() as u64),
        layers: layers?,
        subject,
        annotations,
    };
    let raw = json(&manifest)?;
    let mut descriptor = Descriptor::new(media_type::MANIFEST, Digest::of(&raw), raw.len() as u64);
    descriptor.artifact_type = artifact_type;
    Ok((raw, descriptor))
}

fn layer_descriptor(layer: &BlobToWrite<'_>) -> Result<Descriptor, WriteError> {
    let media_type = match layer.compression {
        Compression::None => media_type::LAYER,
        Compression::Gzip => media_type::LAYER_GZIP,
        Compression::Zstd => media_type::LAYER_ZSTD,
        compression @ (Compression::Bzip2 | Compression::Xz) => {
            return Err(WriteError::LayerCompression { digest: layer.digest, compression });
        }
    };
    Ok(Descriptor::new(media_type, layer.digest, layer.size))
}

fn index(manifests: Vec<Descriptor>) -> IndexJson {
    IndexJson {
        schema_version: 2,
        media_type: Some(media_type::INDEX.to_owned()),
        manifests,
        annotations: BTreeMap::new(),
    }
}

/// One entry for each name, as there is one place for a name in an entry.
fn index_entries(
    format: ArchiveFormat,
    image: &ImageToWrite<'_>,
    descriptor: &Descriptor,
) -> Vec<Descriptor> {
    if image.names.is_empty() {
        return vec![descriptor.clone()];
    }
    let entry = |name: &Name| {
        let mut entry = descriptor.clone();
        let reference = match format {
            ArchiveFormat::DockerArchive => name.tag().to_owned(),
            ArchiveFormat::OciArchive => name.to_string(),
        };
        let notes = &mut entry.annotations;
        notes.insert(annotation::IMAGE_NAME.to_owned(), name.qualified());
        notes.insert(annotation::REF_NAME.to_owned(), reference);
        entry
    };
    image.names.iter().map(entry).collect()
}

fn docker_entry(image: &ImageToWrite<'_>) -> DockerEntry {
    let names: Vec<_> = image.names.iter().map(Name::to_string).collect();
    DockerEntry {
        config: blob_name(&image.config.id.0),
        repo_tags: (!names.is_empty()).then_some(names),
        layers: image.layers.iter().map(|layer| blob_name(&layer.digest)).collect(),
    }
}
