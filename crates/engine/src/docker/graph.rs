//! Docker's own folders: configs under `image/DRIVER/imagedb`, layers under `image/DRIVER/layerdb`,
//! whose files are where the driver keeps them.

use std::path::PathBuf;
use std::sync::Arc;

use tarball::config::MAX_CONFIG_BYTES;
use tarball::{ChainId, ImageId};

use super::answers::Info;
use crate::error::EngineError;
use crate::files::{read_document, read_small};
use crate::place::{EngineKind, ImageRecord, LayerBytes};
use crate::tar_split::open_split_layer;

/// `cache-id` and `diff` have a digest's length.
const MAX_ID_BYTES: u64 = 200;

/// The folders of an engine whose driver is known.
pub(super) struct Graph {
    /// `image/DRIVER`.
    documents: PathBuf,
    root: PathBuf,
    driver: Driver,
}

/// How a driver keeps the files of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// `overlay2/<cache-id>/diff`: the layer's own.
    Overlay2,
    /// `vfs/dir/<cache-id>`: those of the layers below as well.
    Vfs,
}

impl Graph {
    /// The folders, or why they cannot be read.
    pub(super) fn open(info: &Info, is_local: bool) -> Result<Self, String> {
        if !is_local {
            return Err("the engine is on another machine".to_owned());
        }
        if info.has_containerd_images() {
            return Err("the engine keeps its images in containerd".to_owned());
        }
        let driver = match info.driver.as_str() {
            "overlay2" => Driver::Overlay2,
            "vfs" => Driver::Vfs,
            other => return Err(format!("the storage driver {other:?} is not known")),
        };
        let root = info.docker_root_dir.clone();
        let documents = root.join("image").join(&info.driver);
        match std::fs::read_dir(documents.join("layerdb/sha256")) {
            Ok(_) => Ok(Self { documents, root, driver }),
            Err(error) => Err(format!("{} cannot be read: {error}", documents.display())),
        }
    }

    /// The exact bytes of a config.
    pub(super) fn config(&self, id: ImageId) -> Result<Vec<u8>, EngineError> {
        let path = self.documents.join("imagedb/content/sha256").join(id.0.hex());
        let config = read_document(&path, id.0, MAX_CONFIG_BYTES)?;
        config.ok_or_else(|| EngineError::NoSuchImage {
            kind: EngineKind::Docker,
            reference: id.to_string(),
        })
    }

    pub(super) fn layer(
        &self,
        image: &ImageRecord,
        index: usize,
    ) -> Result<Arc<dyn LayerBytes>, EngineError> {
        let no_layer = || EngineError::NoLayer { kind: EngineKind::Docker, image: image.id, index };
        let chain = *ChainId::of_stack(&image.diff_ids).get(index).ok_or_else(no_layer)?;
        let folder = self.documents.join("layerdb/sha256").join(chain.0.hex());
        let diff_id = read_small(&folder.join("diff"), MAX_ID_BYTES)?.ok_or_else(no_layer)?;
        if diff_id != image.diff_ids[index].to_string().as_bytes() {
            let path = folder.join("diff");
            return Err(EngineError::Damaged { path, why: "it names another layer".to_owned() });
        }
        let cache_id = read_small(&folder.join("cache-id"), MAX_ID_BYTES)?.ok_or_else(no_layer)?;
        let cache_id = checked_id(&cache_id).ok_or_else(|| EngineError::Damaged {
            path: folder.join("cache-id"),
            why: "it is no name of a folder".to_owned(),
        })?;
        let files = match self.driver {
            Driver::Overlay2 => self.root.join("overlay2").join(cache_id).join("diff"),
            Driver::Vfs => self.root.join("vfs/dir").join(cache_id),
        };
        Ok(Arc::new(open_split_layer(&folder.join("tar-split.json.gz"), &files)?))
    }
}

/// An ID that leads out of no folder.
fn checked_id(id: &[u8]) -> Option<&str> {
    let id = std::str::from_utf8(id).ok()?;
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    (!id.is_empty() && id.bytes().all(is_plain)).then_some(id)
}
