//! Sending images: a docker-archive that is made while it is sent.
//!
//! It has only the layers that the engine does not have: graph drivers open no file for a layer that is
//! there. Images come without names, which are set when all is there.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use tarball::{DiffId, Digest};

use super::api::Api;
use crate::error::EngineError;
use crate::http::RequestBody;
use crate::place::{EngineKind, ImageToPublish, Upload};
use crate::tar_stream;

/// An archive on its way.
pub(super) struct DockerUpload {
    api: Arc<Api>,
    /// `None` before there is something to send.
    body: Option<RequestBody>,
    /// The size of the layer that is being sent.
    layer_bytes: u64,
}

/// An image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl DockerUpload {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self { api, body: None, layer_bytes: 0 }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.api.start_load()?,
        };
        match body.write_all(bytes) {
            Ok(()) => {
                self.body = Some(body);
                Ok(())
            }
            Err(error) => Err(self.api.broken_load(body, error)),
        }
    }

    fn send_documents(&mut self, images: &[&ImageToPublish]) -> Result<(), EngineError> {
        let mut documents = Vec::new();
        let written = write_documents(&mut documents, images);
        written.map_err(|source| EngineError::Spool { path: "memory".into(), source })?;
        self.send(&documents)?;
        match self.body.take() {
            Some(body) => self.api.finish_load(body),
            None => Ok(()),
        }
    }
}

impl Upload for DockerUpload {
    fn begin_layer(&mut self, diff_id: DiffId, size_bytes: u64) -> Result<(), EngineError> {
        self.layer_bytes = size_bytes;
        let header = tar_stream::header(&member_of(diff_id), size_bytes);
        let header =
            header.map_err(|source| EngineError::Spool { path: "memory".into(), source })?;
        self.send(&header)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.send(bytes)
    }

    fn end_layer(&mut self) -> Result<(), EngineError> {
        self.send(tar_stream::padding(self.layer_bytes))
    }

    fn publish(mut self: Box<Self>, images: &[ImageToPublish]) -> Result<(), EngineError> {
        let mut missing = Vec::new();
        for image in images {
            if !self.api.has_image(image.id)? {
                missing.push(image);
            }
        }
        if self.body.is_some() || !missing.is_empty() {
            self.send_documents(&missing)?;
        }
        for image in images {
            if !self.api.has_image(image.id)? {
                return Err(EngineError::NotPublished {
                    kind: EngineKind::Docker,
                    image: image.id,
                });
            }
        }
        for image in images {
            image.names.iter().try_for_each(|name| self.api.tag(image.id, name))?;
        }
        Ok(())
    }
}

fn member_of(layer: DiffId) -> String {
    format!("{}.tar", layer.0.hex())
}

fn write_documents(out: &mut dyn Write, images: &[&ImageToPublish]) -> io::Result<()> {
    let mut items = Vec::new();
    for image in images {
        let (raw, diff_ids) = match &image.carrier {
            Some(carrier) => (&carrier.config, &carrier.diff_ids),
            None => (&image.config, &image.diff_ids),
        };
        let config = format!("{}.json", Digest::of(raw).hex());
        tar_stream::write_member(out, &config, raw)?;
        let layers = diff_ids.iter().map(|layer| member_of(*layer)).collect();
        items.push(Item { config, repo_tags: None, layers });
    }
    let manifest = serde_json::to_vec(&items).map_err(io::Error::from)?;
    tar_stream::write_member(out, "manifest.json", &manifest)?;
    out.write_all(&tar_stream::END)
}
