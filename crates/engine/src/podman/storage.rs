//! containers-storage's folders: `overlay-images/images.json` lists images, `overlay-layers/layers.json`
//! layers with their parents; the files of a layer are where the driver keeps them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tarball::config::MAX_CONFIG_BYTES;
use tarball::{DiffId, Digest, ImageConfig, ImageId};

use super::program::own_name;
use crate::error::EngineError;
use crate::files::{read_document, read_small};
use crate::place::{EngineKind, ImageRecord, LayerBytes};
use crate::tar_split::open_split_layer;

const KIND: EngineKind = EngineKind::Podman;
/// Lists of ten thousands of images and layers are smaller.
const MAX_LIST_BYTES: u64 = 64 << 20;
/// Lists of layers; the second has those that go with the machine's next start, in newer versions.
const LAYER_LISTS: [&str; 2] = ["layers.json", "volatile-layers.json"];

/// The folders of one storage.
pub(super) struct Storage {
    root: PathBuf,
    driver: String,
}

#[derive(Debug, Deserialize)]
struct ListedImage {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    layer: String,
}

#[derive(Debug, Clone, Deserialize)]
struct ListedLayer {
    id: String,
    #[serde(default)]
    parent: String,
    #[serde(rename = "diff-digest", default)]
    diff_digest: Option<DiffId>,
    #[serde(rename = "diff-size", default)]
    diff_size: u64,
}

impl Storage {
    pub(super) fn of(root: &Path, driver: &str) -> Self {
        Self { root: root.to_owned(), driver: driver.to_owned() }
    }

    /// Whether it is known where the driver keeps files.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.driver.as_str(), "overlay" | "vfs")
    }

    pub(super) fn images(&self) -> Result<Vec<ImageRecord>, EngineError> {
        let layers = self.layers()?;
        let listed: Vec<ListedImage> = self.list(&self.folder("images").join("images.json"))?;
        let mut records = Vec::new();
        for image in listed {
            // Images of old kinds have IDs that are no digests of configs, and cannot be rebuilt.
            if let Some(record) = self.record(image, &layers)? {
                records.push(record);
            }
        }
        Ok(records)
    }

    fn record(
        &self,
        image: ListedImage,
        layers: &HashMap<String, ListedLayer>,
    ) -> Result<Option<ImageRecord>, EngineError> {
        let Some(id) = Digest::from_hex(&image.id).map(ImageId) else { return Ok(None) };
        let Some(config) = self.find_config(id)? else { return Ok(None) };
        let Ok(config) = ImageConfig::parse(config) else { return Ok(None) };
        let stack = stack(&image.layer, layers);
        let names = image.names.unwrap_or_default();
        Ok(Some(ImageRecord {
            id,
            names: names.iter().filter_map(|name| own_name(name)).collect(),
            size_bytes: stack.iter().map(|layer| layer.diff_size).fold(0, u64::saturating_add),
            created: config.created,
            platform: config.platform,
            diff_ids: config.diff_ids,
            key: image.layer,
        }))
    }

    pub(super) fn config(&self, id: ImageId) -> Result<Vec<u8>, EngineError> {
        let reference = id.to_string();
        self.find_config(id)?.ok_or(EngineError::NoSuchImage { kind: KIND, reference })
    }

    /// The config of an image, which is kept under its digest; `None` where there is none.
    fn find_config(&self, id: ImageId) -> Result<Option<Vec<u8>>, EngineError> {
        let file = format!("={}", STANDARD.encode(id.to_string()));
        let path = self.folder("images").join(id.0.hex()).join(file);
        read_document(&path, id.0, MAX_CONFIG_BYTES)
    }

    pub(super) fn layer(
        &self,
        image: &ImageRecord,
        index: usize,
    ) -> Result<Arc<dyn LayerBytes>, EngineError> {
        let stack = stack(&image.key, &self.layers()?);
        let layer = stack.get(index).filter(|layer| {
            layer.diff_digest.is_some() && layer.diff_digest == image.diff_ids.get(index).copied()
        });
        let layer = layer.ok_or(EngineError::NoLayer { kind: KIND, image: image.id, index })?;
        let notes = self.folder("layers").join(format!("{}.tar-split.gz", layer.id));
        let files = match self.driver.as_str() {
            "vfs" => self.root.join("vfs/dir").join(&layer.id),
            _ => self.root.join("overlay").join(&layer.id).join("diff"),
        };
        Ok(Arc::new(open_split_layer(&notes, &files)?))
    }

    /// All layers by their IDs.
    fn layers(&self) -> Result<HashMap<String, ListedLayer>, EngineError> {
        let mut layers = HashMap::new();
        for list in LAYER_LISTS {
            let listed: Vec<ListedLayer> = self.list(&self.folder("layers").join(list))?;
            let is_plain = |id: &str| Digest::from_hex(id).is_some();
            // An ID becomes a part of a path.
            let listed = listed.into_iter().filter(|layer| is_plain(&layer.id));
            layers.extend(listed.map(|layer| (layer.id.clone(), layer)));
        }
        Ok(layers)
    }

    fn list<T: DeserializeOwned>(&self, path: &Path) -> Result<Vec<T>, EngineError> {
        let Some(bytes) = read_small(path, MAX_LIST_BYTES)? else { return Ok(Vec::new()) };
        let parsed: Result<Option<Vec<T>>, _> = serde_json::from_slice(&bytes);
        match parsed {
            Ok(list) => Ok(list.unwrap_or_default()),
            Err(error) => {
                Err(EngineError::Damaged { path: path.to_owned(), why: error.to_string() })
            }
        }
    }

    fn folder(&self, what: &str) -> PathBuf {
        self.root.join(format!("{}-{what}", self.driver))
    }
}

/// A layer and those below it, the lowest first. A circle, which no storage has, ends it.
fn stack(top: &str, layers: &HashMap<String, ListedLayer>) -> Vec<ListedLayer> {
    let (mut stack, mut seen, mut at) = (Vec::new(), HashSet::new(), top);
    while let Some(layer) = layers.get(at).filter(|layer| seen.insert(&layer.id)) {
        stack.push(layer.clone());
        at = &layer.parent;
    }
    stack.reverse();
    stack
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_circle_of_layers_ends() {
        let id = |digit: char| digit.to_string().repeat(64);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("overlay-layers")).unwrap();
        let list = format!(
            r#"[{{"id":"{}","parent":"{}"}},{{"id":"{}","parent":"{}"}},{{"id":"../x"}}]"#,
            id('a'),
            id('b'),
            id('b'),
            id('a')
        );
        fs::write(folder.path().join("overlay-layers/layers.json"), list).unwrap();
        let layers = Storage::of(folder.path(), "overlay").layers().unwrap();
        assert_eq!(layers.len(), 2);
        let ids: Vec<_> = stack(&id('a'), &layers).into_iter().map(|layer| layer.id).collect();
        assert_eq!(ids, [id('b'), id('a')]);
        assert!(stack("nothing", &layers).is_empty());
    }
}
