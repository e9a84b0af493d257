//! The manifest that the store writes for an image: an OCI image manifest whose layers are the
//! uncompressed tars, so that each layer's digest is its diffID.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tarball::{DiffId, Digest, ImageId};

use crate::index::MEDIA_TYPE_MANIFEST;

/// The largest config or manifest that the store takes in and reads back.
pub const DOCUMENT_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

const MEDIA_TYPE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MEDIA_TYPE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Names the blob that holds the manifest with which the image came.
const ORIGINAL_MANIFEST: &str = "io.silt.original-manifest";

/// What another manifest is known by, as in the OCI `subject` field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// What kind of manifest it is.
    pub media_type: String,
    /// The manifest.
    pub digest: Digest,
    /// Its size.
    #[serde(rename = "size")]
    pub size_bytes: u64,
}

/// A layer of a stored image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// The size of its uncompressed tar.
    pub size_bytes: u64,
}

/// What a manifest of the store says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) image: ImageId,
    pub(crate) config_size_bytes: u64,
    pub(crate) layers: Vec<StoredLayer>,
    pub(crate) original: Option<Digest>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) subject: Option<Subject>,
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestDocument {
    schema_version: u8,
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
}

impl Manifest {
    /// Reads a manifest that the store wrote.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let document: ManifestDocument = serde_json::from_slice(bytes)?;
        let mut annotations = document.annotations;
        let original = annotations
            .remove(ORIGINAL_MANIFEST)
            .map(|text| text.parse::<Digest>().map_err(serde::de::Error::custom))
            .transpose()?;
        let layers = document
            .layers
            .into_iter()
            .map(|layer| StoredLayer { diff_id: DiffId(layer.digest), size_bytes: layer.size });
        Ok(Self {
            image: ImageId(document.config.digest),
            config_size_bytes: document.config.size,
            layers: layers.collect(),
            original,
            artifact_type: document.artifact_type,
            subject: document.subject,
            annotations,
        })
    }

    /// The bytes of the manifest: the same for the same content.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut annotations = self.annotations.clone();
        if let Some(original) = self.original {
            annotations.insert(ORIGINAL_MANIFEST.into(), original.to_string());
        }
        let layers = self.layers.iter().map(|layer| Descriptor {
            media_type: MEDIA_TYPE_LAYER.into(),
            digest: layer.diff_id.0,
            size: layer.size_bytes,
        });
        serde_json::to_vec(&ManifestDocument {
            schema_version: 2,
            media_type: MEDIA_TYPE_MANIFEST.into(),
            artifact_type: self.artifact_type.clone(),
            config: Descriptor {
                media_type: MEDIA_TYPE_CONFIG.into(),
                digest: self.image.0,
                size: self.config_size_bytes,
            },
            layers: layers.collect(),
            subject: self.subject.clone(),
            annotations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_as_it_was() {
        let manifest = Manifest {
            image: ImageId(Digest::of(b"config")),
            config_size_bytes: 6,
            layers: vec![StoredLayer { diff_id: DiffId::EMPTY_LAYER, size_bytes: 1024 }],
            original: Some(Digest::of(b"original")),
            artifact_type: Some("application/x".into()),
            subject: Some(Subject {
                media_type: MEDIA_TYPE_MANIFEST.into(),
                digest: Digest::of(b"subject"),
                size_bytes: 7,
            }),
            annotations: [("a".to_owned(), "b".to_owned())].into(),
        };
        assert_eq!(Manifest::parse(&manifest.to_json().unwrap()).unwrap(), manifest);
    }

    #[test]
    fn an_annotation_that_names_no_digest_is_refused() {
        let manifest = Manifest {
            image: ImageId(Digest::of(b"config")),
            config_size_bytes: 6,
            layers: vec![],
            original: None,
            artifact_type: None,
            subject: None,
            annotations: [(ORIGINAL_MANIFEST.to_owned(), "../etc/passwd".to_owned())].into(),
        };
        assert!(Manifest::parse(&manifest.to_json().unwrap()).is_err());
    }
}
