//! Loading into containers-storage: an OCI layout in a temporary folder that has the new layers alone.
//! containers-storage opens no blob of a layer that it has, on whatever layers that lies.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tarball::manifest::media_type;
use tarball::{DiffId, Digest};
use tempfile::TempDir;

use super::program::Podman;
use crate::error::EngineError;
use crate::place::{EngineKind, ImageToPublish, Upload};

/// What the layout is called in its folder, and the image at first.
const LAYOUT: &str = "silt-load-layout";

/// A layout being written.
pub(super) struct PodmanUpload {
    program: Arc<Podman>,
    folder: TempDir,
    layer: Option<File>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

#[derive(Serialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    reference: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    manifests: Vec<Descriptor<'a>>,
}

impl PodmanUpload {
    pub(super) fn new(program: Arc<Podman>, scratch: Option<&Path>) -> Result<Self, EngineError> {
        let parent = scratch.map_or_else(std::env::temp_dir, Path::to_owned);
        let made = tempfile::Builder::new().prefix("silt-podman-").tempdir_in(&parent);
        let made = made.and_then(|folder| {
            let layout = folder.path().join(LAYOUT);
            fs::create_dir_all(layout.join("blobs/sha256"))?;
            fs::write(layout.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
            Ok(folder)
        });
        let folder = made.map_err(|source| EngineError::Spool { path: parent, source })?;
        Ok(Self { program, folder, layer: None })
    }

    fn error(&self, source: io::Error) -> EngineError {
        EngineError::Spool { path: self.folder.path().to_owned(), source }
    }

    fn layout(&self) -> PathBuf {
        self.folder.path().join(LAYOUT)
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.layout().join("blobs/sha256").join(digest.hex())
    }

    fn write_blob(&self, bytes: &[u8]) -> Result<Digest, EngineError> {
        let digest = Digest::of(bytes);
        fs::write(self.blob(digest), bytes).map_err(|source| self.error(source))?;
        Ok(digest)
    }

    fn write_json(&self, document: &impl Serialize) -> Result<(Digest, u64), EngineError> {
        let bytes = serde_json::to_vec(document).map_err(|error| self.error(error.into()))?;
        Ok((self.write_blob(&bytes)?, bytes.len() as u64))
    }

    /// Loads one image under a name of its own, which then goes: names are set when all are there.
    fn load(&self, image: &ImageToPublish) -> Result<(), EngineError> {
        let config = self.write_blob(&image.config)?;
        let descriptor =
            |media_type, digest, size| Descriptor { media_type, digest, size, annotations: None };
        let layer = |layer: &DiffId| {
            // Of a layer that is there, nobody looks at the size.
            let size = self.blob(layer.0).metadata().map_or(0, |found| found.len());
            descriptor(media_type::LAYER, layer.0, size)
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::MANIFEST,
            config: descriptor(media_type::CONFIG, config, image.config.len() as u64),
            layers: image.diff_ids.iter().map(layer).collect(),
        };
        let (digest, size) = self.write_json(&manifest)?;
        let reference = format!("silt-load-{}", &image.id.0.hex()[..32]);
        let annotations = Some(Annotations { reference: reference.clone() });
        let named = Descriptor { media_type: media_type::MANIFEST, digest, size, annotations };
        let index = Index { schema_version: 2, manifests: vec![named] };
        let bytes = serde_json::to_vec(&index).map_err(|error| self.error(error.into()))?;
        fs::write(self.layout().join("index.json"), bytes).map_err(|source| self.error(source))?;
        self.program.pull_layout(self.folder.path(), LAYOUT, &reference)?;
        let names = self.program.names(image.id)?;
        let mut ours = names.iter().filter(|name| name.contains(LAYOUT));
        ours.try_for_each(|name| self.program.untag(image.id, name))
    }
}

impl Upload for PodmanUpload {
    fn begin_layer(&mut self, diff_id: DiffId, _: u64) -> Result<(), EngineError> {
        let file = File::create_new(self.blob(diff_id.0)).map_err(|source| self.error(source))?;
        self.layer = Some(file);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let written = self.layer.as_mut().map_or(Ok(()), |layer| layer.write_all(bytes));
        written.map_err(|source| self.error(source))
    }

    fn end_layer(&mut self) -> Result<(), EngineError> {
        self.layer = None;
        Ok(())
    }

    fn publish(self: Box<Self>, images: &[ImageToPublish]) -> Result<(), EngineError> {
        for image in images {
            if !self.program.has_image(image.id)? {
                self.load(image)?;
                if !self.program.has_image(image.id)? {
                    let (kind, image) = (EngineKind::Podman, image.id);
                    return Err(EngineError::NotPublished { kind, image });
                }
            }
        }
        for image in images {
            image.names.iter().try_for_each(|name| self.program.tag(image.id, name))?;
        }
        Ok(())
    }
}
