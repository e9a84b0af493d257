//! The parts of the API's answers that are read.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use tarball::{DiffId, ImageId, Name, Platform};

use crate::place::ImageRecord;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    #[serde(default)]
    pub(super) version: String,
    pub(super) api_version: String,
    #[serde(rename = "MinAPIVersion", default)]
    pub(super) min_api_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    #[serde(default)]
    pub(super) driver: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) driver_status: Vec<(String, String)>,
    #[serde(default)]
    pub(super) docker_root_dir: PathBuf,
    #[serde(default)]
    init_binary: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedImage {
    pub(super) id: ImageId,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InspectedImage {
    id: ImageId,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    os: String,
    #[serde(rename = "RootFS", default)]
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<DiffId>,
}

/// One thing that a removal did.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemovalStep {
    #[serde(default)]
    pub(super) untagged: Option<String>,
    #[serde(default)]
    pub(super) deleted: Option<String>,
}

/// What a refusal says.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) message: String,
}

/// One line of what a load says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LoadLine {
    pub(super) error: Option<String>,
}

impl Info {
    /// Its init is its own, whatever else it is called.
    pub(super) fn is_balena_engine(&self) -> bool {
        self.init_binary.contains("balena-engine")
    }

    /// Whether images are kept by a containerd, in another way than the engine's own.
    pub(super) fn has_containerd_images(&self) -> bool {
        let is_snapshotter = |(key, value): &(String, String)| {
            key == "driver-type" && value.contains("containerd.snapshotter")
        };
        self.driver_status.iter().any(is_snapshotter)
    }
}

impl InspectedImage {
    pub(super) fn into_record(self) -> ImageRecord {
        let some = |text: String| (!text.is_empty()).then_some(text);
        ImageRecord {
            id: self.id,
            // A name that is none is one that nobody can ask for.
            names: self.repo_tags.iter().filter_map(|name| name.parse::<Name>().ok()).collect(),
            diff_ids: self.rootfs.layers,
            created: self.created,
            size_bytes: self.size,
            platform: Platform {
                os: some(self.os),
                architecture: some(self.architecture),
                variant: some(self.variant),
            },
            key: self.id.to_string(),
        }
    }
}

/// Go writes `null` for what is empty.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
