//! An engine as a sink. Layers stream into it; it has its own check of each, and ours comes before.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use delta::read_at::{FileBasis, ReadAt};
use engine::{EngineError, ImageToPublish, Upload};
use store::{CommitReport, CommittedImage, LayerError, NewImage};
use tarball::{DiffId, Digester, ImageConfig};

use super::{EngineImages, EnginePlace};
use crate::progress::Progress;
use crate::sink::{ImageTransaction, SinkError};

/// Shared with the layer that is being written; `None` once the images are published.
type SharedUpload = Arc<Mutex<Option<Box<dyn Upload>>>>;

/// Images on their way into an engine.
pub(crate) struct EngineTransaction<'a> {
    place: &'a EnginePlace,
    images: EngineImages,
    upload: SharedUpload,
    /// Layers that will be read again, which an engine does not give back before its load is over.
    wanted: HashSet<DiffId>,
    /// Their copies.
    kept: HashMap<DiffId, Arc<File>>,
    written_bytes: u64,
}

/// A layer on its way.
pub(crate) struct EngineLayerWriter {
    expect: DiffId,
    size_bytes: u64,
    upload: SharedUpload,
    digester: Digester,
    copy: Option<File>,
}

/// Engines mend no layers.
pub(crate) enum NoRepair {}

impl<'a> EngineTransaction<'a> {
    pub(crate) fn begin(place: &'a EnginePlace) -> Result<Self, EngineError> {
        let images = place.images()?;
        let upload = Arc::new(Mutex::new(Some(place.engine().upload()?)));
        let (wanted, kept) = (HashSet::new(), HashMap::new());
        Ok(Self { place, images, upload, wanted, kept, written_bytes: 0 })
    }
}

impl ImageTransaction for EngineTransaction<'_> {
    type Layer = EngineLayerWriter;
    type Repair = NoRepair;

    /// Engines hold nothing: a layer that goes meanwhile fails the load, and another try works.
    fn hold(&mut self, layers: &[DiffId]) -> Result<Vec<DiffId>, SinkError> {
        let is_missing = |layer: &&DiffId| self.images.holder(**layer).is_none();
        Ok(layers.iter().filter(is_missing).copied().collect())
    }

    fn expect_reads(&mut self, layers: HashSet<DiffId>) {
        self.wanted = layers;
    }

    fn layer(
        &mut self,
        expect: DiffId,
        size_bytes: Option<u64>,
    ) -> Result<EngineLayerWriter, SinkError> {
        let size_bytes = size_bytes.ok_or(EngineError::LayerSize { layer: expect })?;
        let copy = match self.wanted.contains(&expect) {
            true => Some(
                tempfile::tempfile()
                    .map_err(|source| EngineError::Spool { path: std::env::temp_dir(), source })?,
            ),
            false => None,
        };
        with_upload(&self.upload, |upload| upload.begin_layer(expect, size_bytes))?;
        let (upload, digester) = (self.upload.clone(), Digester::new());
        Ok(EngineLayerWriter { expect, size_bytes, upload, digester, copy })
    }

    fn set_aside(&mut self, _: EngineLayerWriter) {}

    fn finish_layer(&mut self, layer: EngineLayerWriter) -> Result<(), SinkError> {
        let EngineLayerWriter { expect: expected, size_bytes, digester, copy, .. } = layer;
        let found_bytes = digester.length();
        if found_bytes != size_bytes {
            let (diff_id, expected_bytes, at_least) = (expected, size_bytes, false);
            Err(LayerError::WrongSize { diff_id, expected_bytes, found_bytes, at_least })?;
        }
        let found = DiffId(digester.finish());
        if found != expected {
            Err(LayerError::WrongDigest { expected, found })?;
        }
        with_upload(&self.upload, |upload| upload.end_layer())?;
        self.kept.extend(copy.map(|file| (expected, Arc::new(file))));
        self.written_bytes += size_bytes;
        Ok(())
    }

    fn replace(&mut self, _: DiffId) {}

    fn repair(&mut self, layer: DiffId) -> Result<NoRepair, SinkError> {
        Err(EngineError::NoRepair { layer }.into())
    }

    fn finish_repair(&mut self, repair: NoRepair, _: &dyn Progress) -> Result<u64, SinkError> {
        match repair {}
    }

    fn renew_digests(&mut self, layer: DiffId, _: &dyn Progress) -> Result<(), SinkError> {
        Err(EngineError::NoRepair { layer }.into())
    }

    fn open_layer(&self, layer: DiffId) -> Result<Option<Box<dyn ReadAt>>, SinkError> {
        if let Some(file) = self.kept.get(&layer) {
            let file = file.try_clone().and_then(FileBasis::new);
            let file =
                file.map_err(|source| EngineError::Spool { path: std::env::temp_dir(), source })?;
            return Ok(Some(Box::new(file)));
        }
        let found = self.place.find_layer(&self.images, layer)?;
        Ok(found.map(|layer| Box::new(layer) as Box<dyn ReadAt>))
    }

    fn changed_files(&self, layer: DiffId) -> Vec<String> {
        let found = self.place.find_layer(&self.images, layer).ok().flatten();
        found.map(|layer| layer.changed_files()).unwrap_or_default()
    }

    fn suspend(self) {}

    fn commit(self, images: Vec<NewImage>) -> Result<CommitReport, SinkError> {
        let mut committed = Vec::with_capacity(images.len());
        let mut published = Vec::with_capacity(images.len());
        for image in images {
            let config = ImageConfig::parse(image.config)
                .map_err(|source| EngineError::NotAConfig { source })?;
            let was_there = self.images.get(config.id).is_some();
            committed.push(CommittedImage { id: config.id, was_there, moved_names: Vec::new() });
            published.push(ImageToPublish {
                id: config.id,
                config: config.raw,
                diff_ids: config.diff_ids,
                names: image.names,
            });
        }
        if let Some(upload) = locked(&self.upload).take() {
            upload.publish(&published)?;
        }
        let written_bytes = self.written_bytes;
        Ok(CommitReport { images: committed, written_bytes, resumed_bytes: 0 })
    }
}

impl Write for EngineLayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // More than was announced would end up in the next member of an archive.
        let length = self.digester.length() + bytes.len() as u64;
        if length > self.size_bytes {
            return Err(io::Error::other(LayerError::WrongSize {
                diff_id: self.expect,
                expected_bytes: self.size_bytes,
                found_bytes: length,
                at_least: true,
            }));
        }
        with_upload(&self.upload, |upload| upload.write(bytes)).map_err(io::Error::other)?;
        self.digester.update(bytes);
        if let Some(copy) = &mut self.copy {
            copy.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for NoRepair {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}

fn locked(upload: &SharedUpload) -> MutexGuard<'_, Option<Box<dyn Upload>>> {
    // Whoever panicked while sending has broken the upload, which the engine will say.
    upload.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing is sent any more once the images are published.
fn with_upload(
    upload: &SharedUpload,
    send: impl FnOnce(&mut Box<dyn Upload>) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    locked(upload).as_mut().map_or(Ok(()), send)
}
