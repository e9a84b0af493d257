//! Loading into containerd: an oci-archive that is made while `ctr images import` reads it, without the
//! blobs that are there. Each blob goes into the content store as it comes.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin};
use std::sync::Arc;

use serde::Serialize;
use tarball::manifest::{annotation, media_type};
use tarball::{Descriptor, DiffId, Digest};

use super::program::{Ctr, import_refused};
use crate::error::EngineError;
use crate::place::{EngineKind, ImageToPublish, Upload};
use crate::tar_stream;

const KIND: EngineKind = EngineKind::Containerd;

/// An archive on its way.
pub(super) struct ContainerdUpload {
    program: Arc<Ctr>,
    /// Blobs of layers that are there or were sent.
    layers: HashMap<DiffId, Descriptor>,
    /// `None` before there is something to send.
    import: Option<Import>,
    layer_bytes: u64,
}

/// A running import; dropped before its end, it is ended, and no image appears.
struct Import {
    child: Child,
    input: Option<ChildStdin>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    manifests: Vec<Descriptor>,
}

impl ContainerdUpload {
    pub(super) fn new(program: Arc<Ctr>, layers: HashMap<DiffId, Descriptor>) -> Self {
        Self { program, layers, import: None, layer_bytes: 0 }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let import = match &mut self.import {
            Some(import) => import,
            None => self.import.insert(Import::start(&self.program)?),
        };
        let Some(input) = &mut import.input else { return Ok(()) };
        match input.write_all(bytes) {
            Ok(()) => Ok(()),
            // It ended, and says why.
            Err(source) => Err(match self.import.take().map(Import::finish) {
                Some(Err(error)) => error,
                _ => EngineError::Lost {
                    kind: KIND,
                    address: self.program.address(),
                    doing: "taking in an image",
                    source,
                },
            }),
        }
    }

    fn send_member(&mut self, name: &str, contents: &[u8]) -> Result<(), EngineError> {
        let mut member = Vec::with_capacity(contents.len() + 1024);
        tar_stream::write_member(&mut member, name, contents).map_err(memory_error)?;
        self.send(&member)
    }

    fn send_blob(&mut self, contents: &[u8]) -> Result<Digest, EngineError> {
        let digest = Digest::of(contents);
        self.send_member(&blob_name(digest), contents)?;
        Ok(digest)
    }

    /// Sends an image's documents; gives what the index says of it.
    fn send_image(&mut self, image: &ImageToPublish) -> Result<Descriptor, EngineError> {
        let config = self.send_blob(&image.config)?;
        let config = Descriptor::new(media_type::CONFIG, config, image.config.len() as u64);
        let mut layers = Vec::with_capacity(image.diff_ids.len());
        for (index, diff_id) in image.diff_ids.iter().enumerate() {
            let layer = self.layers.get(diff_id).cloned();
            layers.push(layer.ok_or(EngineError::NoLayer {
                kind: KIND,
                image: image.id,
                index,
            })?);
        }
        let manifest =
            Manifest { schema_version: 2, media_type: media_type::MANIFEST, config, layers };
        let manifest = serde_json::to_vec(&manifest).map_err(|e| memory_error(e.into()))?;
        let digest = self.send_blob(&manifest)?;
        let mut named = Descriptor::new(media_type::MANIFEST, digest, manifest.len() as u64);
        named.annotations.insert(annotation::IMAGE_NAME.to_owned(), first_name(image));
        Ok(named)
    }
}

/// containerd knows images by names alone: one that has none is called by its ID, as Kubernetes calls it.
fn first_name(image: &ImageToPublish) -> String {
    image.names.first().map_or_else(|| image.id.to_string(), tarball::Name::qualified)
}

fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn memory_error(source: io::Error) -> EngineError {
    EngineError::Spool { path: "memory".into(), source }
}

impl Import {
    fn start(program: &Ctr) -> Result<Self, EngineError> {
        let mut child = program.start_import()?;
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    fn finish(mut self) -> Result<(), EngineError> {
        self.input = None;
        let mut message = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            stderr.take(64 << 10).read_to_end(&mut message).map_err(memory_error)?;
        }
        match self.child.wait().map_err(memory_error)?.success() {
            true => Ok(()),
            false => Err(import_refused(&message)),
        }
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        // Its input ends with it; what it reads until then is no archive.
        if self.input.take().is_some() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Upload for ContainerdUpload {
    fn begin_layer(&mut self, diff_id: DiffId, size_bytes: u64) -> Result<(), EngineError> {
        self.layer_bytes = size_bytes;
        let blob = Descriptor::new(media_type::LAYER, diff_id.0, size_bytes);
        self.layers.insert(diff_id, blob);
        let header = tar_stream::header(&blob_name(diff_id.0), size_bytes);
        self.send(&header.map_err(memory_error)?)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.send(bytes)
    }

    fn end_layer(&mut self) -> Result<(), EngineError> {
        self.send(tar_stream::padding(self.layer_bytes))
    }

    /// The import makes all first names at its end, so none is there before all is.
    fn publish(mut self: Box<Self>, images: &[ImageToPublish]) -> Result<(), EngineError> {
        let mut manifests = Vec::with_capacity(images.len());
        for image in images {
            manifests.push(self.send_image(image)?);
        }
        let index = serde_json::to_vec(&Index { schema_version: 2, manifests });
        let index = index.map_err(|error| memory_error(error.into()))?;
        self.send_member("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.send_member("index.json", &index)?;
        self.send(&tar_stream::END)?;
        if let Some(import) = self.import.take() {
            import.finish()?;
        }
        for image in images {
            let first = first_name(image);
            let mut more = image.names.iter().skip(1);
            more.try_for_each(|name| self.program.tag(&first, &name.qualified()))?;
        }
        Ok(())
    }
}
