//! OCI manifests, indexes and descriptors; Docker's schema 2 has the same shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::platform::Platform;

/// Largest manifest or index that is read: what registries accept.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// Media types, as in the
/// [OCI image spec](https://github.com/opencontainers/image-spec/blob/main/media-types.md).
pub mod media_type {
    /// An index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image's config.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// An uncompressed layer.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer compressed by gzip.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer compressed by zstd.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
}

/// Annotation keys that archives carry names in.
pub mod annotation {
    /// An image's full name, as containerd and Docker 25 write it.
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
    /// The name that a layout knows an image by: whatever the writer liked, often only a tag.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// BuildKit's mark on what stands beside an image but is none.
    pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
}

/// A reference to a blob: what it is, how large, and its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Kind of the blob; empty where the writer left it out.
    #[serde(default, deserialize_with = "json::or_default")]
    pub media_type: String,
    /// Digest of the stored bytes.
    pub digest: Digest,
    /// Number of stored bytes.
    pub size: u64,
    /// Of an artifact's manifest.
    #[serde(default, deserialize_with = "json::text", skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// In an index: what the image is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free notes.
    #[serde(default, deserialize_with = "json::map", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest: the exact bytes and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The exact bytes, which alone are ever stored or written.
    pub raw: Vec<u8>,
    /// Digest of `raw`.
    pub digest: Digest,
    /// As the manifest itself names it; older ones do not.
    pub media_type: Option<String>,
    /// Where the manifest is no image but an artifact, what kind.
    pub artifact_type: Option<String>,
    /// The config blob.
    pub config: Descriptor,
    /// The layer blobs, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    pub subject: Option<Descriptor>,
    /// Free notes.
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests: one image for several platforms, or all images of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The exact bytes.
    pub raw: Vec<u8>,
    /// What is listed, manifests and further indexes.
    pub manifests: Vec<Descriptor>,
    /// Free notes.
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Describes a blob without annotations or platform.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            artifact_type: None,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }
}

impl Manifest {
    /// Reads a manifest and computes its digest.
    pub fn parse(raw: Vec<u8>) -> Result<Self, JsonError> {
        let parsed: ManifestJson = json::parse(&raw, MAX_MANIFEST_BYTES)?;
        Ok(Self {
            digest: Digest::of(&raw),
            media_type: parsed.media_type,
            artifact_type: parsed.artifact_type,
            config: parsed.config,
            layers: parsed.layers,
            subject: parsed.subject,
            annotations: parsed.annotations,
            raw,
        })
    }
}

impl Index {
    /// Reads an index.
    pub fn parse(raw: Vec<u8>) -> Result<Self, JsonError> {
        let parsed: IndexJson = json::parse(&raw, MAX_MANIFEST_BYTES)?;
        Ok(Self { manifests: parsed.manifests, annotations: parsed.annotations, raw })
    }
}

/// A manifest as JSON, for reading and for writing new ones. The order of the fields is the order
/// in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestJson {
    #[serde(default)]
    pub(crate) schema_version: u32,
    #[serde(default, deserialize_with = "json::text", skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, deserialize_with = "json::text", skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    #[serde(default, deserialize_with = "json::list")]
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "json::map", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// An index as JSON, for reading and for writing new ones.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IndexJson {
    #[serde(default)]
    pub(crate) schema_version: u32,
    #[serde(default, deserialize_with = "json::text", skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(deserialize_with = "json::list")]
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, deserialize_with = "json::map", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_keeps_its_bytes_and_its_subject() {
        let digest = Digest::of(b"x");
        let raw = format!(
            r#"{{ "schemaVersion":2,"config":{{"mediaType":"c","digest":"{digest}","size":3}},
              "layers":null, "subject":{{"mediaType":"m","digest":"{digest}","size":7}},"x":1}}"#
        );
        let manifest = Manifest::parse(raw.clone().into_bytes()).unwrap();
        assert_eq!(manifest.digest, Digest::of(raw.as_bytes()));
        assert_eq!(manifest.subject.unwrap().size, 7);
        assert_eq!(manifest.config.digest, digest);
        assert!(manifest.layers.is_empty());
    }

    #[test]
    fn negative_sizes_and_foreign_digests_are_refused() {
        for (digest, size) in [("sha256:00", "1"), (&Digest::of(b"").to_string(), "-1")] {
            let raw = format!(
                r#"{{"manifests":[{{"mediaType":"m","digest":"{digest}","size":{size}}}]}}"#
            );
            assert!(Index::parse(raw.into_bytes()).is_err());
        }
    }
}
