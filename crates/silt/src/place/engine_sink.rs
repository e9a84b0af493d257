//! An engine as a sink. Layers stream into it; it has its own check of each, and ours comes before.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use delta::read_at::{FileBasis, ReadAt};
use engine::{Carrier, DirectReading, EngineError, ImageRecord, ImageToPublish, Upload};
use store::{CommitReport, CommittedImage, LayerError, NewImage};
use tarball::{DiffId, Digester, ImageConfig};

use super::transcode::{Reads, Transcoder, WatchedLayer};
use super::{EngineImages, EnginePlace};
use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::delta_layer::{MEMBER_OFFSET_BYTES, TAR_END_BYTES, member_header};
use crate::layer_digest::compute_diff_id;
use crate::progress::Progress;
use crate::sequential::Sequential;
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
    /// How many images were asked for, and the layers that were there for them.
    held: (usize, Vec<DiffId>),
    /// Where the engine applies deltas itself: the base, once it is chosen.
    base: Option<DeltaBase>,
    /// The layers of the delta that is sent, by those of its target.
    sent_deltas: HashMap<DiffId, DiffId>,
    written_bytes: u64,
}

/// The image that a delta on its way is applied to.
struct DeltaBase {
    image: ImageRecord,
    /// Where each of its layers begins in their concatenation.
    starts: HashMap<DiffId, u64>,
    reads: Arc<Reads>,
}

/// A layer on its way.
pub(crate) struct EngineLayerWriter {
    expect: DiffId,
    size_bytes: u64,
    upload: SharedUpload,
    /// Where the engine is sent a delta instead.
    transcoder: Option<Transcoder>,
    digester: Digester,
    copy: Option<File>,
}

/// Engines mend no layers.
pub(crate) enum NoRepair {}

impl<'a> EngineTransaction<'a> {
    pub(crate) fn begin(place: &'a EnginePlace) -> Result<Self, EngineError> {
        let images = place.images()?;
        let upload = Arc::new(Mutex::new(Some(place.engine().upload()?)));
        Ok(Self {
            place,
            images,
            upload,
            wanted: HashSet::new(),
            kept: HashMap::new(),
            held: (0, Vec::new()),
            base: None,
            sent_deltas: HashMap::new(),
            written_bytes: 0,
        })
    }

    /// Chooses the base of the delta that is sent: the image that has most of what the new layers are made
    /// of. Only one image at a time is sent as a delta, and only where layers are read in place.
    fn choose_base(&mut self) -> Result<(), EngineError> {
        let about = self.place.about();
        let is_direct = about.direct_reading == DirectReading::Works;
        let (images, layers) = std::mem::take(&mut self.held);
        if !about.applies_balena_deltas || !is_direct || images != 1 {
            return Ok(());
        }
        let count = |image: &ImageRecord| {
            layers.iter().filter(|layer| image.diff_ids.contains(layer)).count()
        };
        let best = self.images.images.iter().max_by_key(|image| count(image));
        let Some(best) = best.filter(|image| count(image) > 0).cloned() else { return Ok(()) };
        let (mut starts, mut at) = (HashMap::new(), 0u64);
        for (index, layer) in best.diff_ids.iter().enumerate() {
            starts.entry(*layer).or_insert(at);
            at = at.saturating_add(self.place.layer(&best, index)?.size_bytes());
        }
        let reads = Arc::new(Reads::default());
        self.base = Some(DeltaBase { image: best, starts, reads });
        Ok(())
    }

    fn scratch(&self) -> Result<File, EngineError> {
        let spool = |source| EngineError::Spool { path: std::env::temp_dir(), source };
        tempfile::tempfile().map_err(spool)
    }

    /// Sends the tar of a delta layer.
    fn send_delta(&mut self, target: DiffId, transcoder: Transcoder) -> Result<(), EngineError> {
        let spool = |source| EngineError::Spool { path: std::env::temp_dir(), source };
        let file = transcoder.finish().map_err(spool)?;
        let end = file.metadata().map_err(spool)?.len();
        let header = member_header(DeltaFormat::Balena, end - MEMBER_OFFSET_BYTES);
        file.write_all_at(&header, 0).map_err(spool)?;
        let size_bytes = end.next_multiple_of(512) + TAR_END_BYTES;
        file.set_len(size_bytes).map_err(spool)?;
        let tar = FileBasis::with_size(file, size_bytes);
        let diff_id = compute_diff_id(&tar).map_err(|error| spool(io::Error::other(error)))?;
        let is_new = !self.sent_deltas.values().any(|sent| *sent == diff_id);
        self.sent_deltas.insert(target, diff_id);
        if is_new {
            self.send_layer(diff_id, &tar)?;
        }
        Ok(())
    }

    fn send_layer(&self, diff_id: DiffId, tar: &dyn ReadAt) -> Result<(), EngineError> {
        let spool = |source| EngineError::Spool { path: std::env::temp_dir(), source };
        with_upload(&self.upload, |upload| {
            upload.begin_layer(diff_id, tar.size())?;
            let (mut bytes, mut buffer) = (Sequential::new(tar), vec![0; 128 << 10]);
            loop {
                match bytes.read(&mut buffer).map_err(spool)? {
                    0 => return upload.end_layer(),
                    count => upload.write(&buffer[..count])?,
                }
            }
        })
    }

    /// The delta image of which the engine makes `target`.
    fn carrier(&self, target: &ImageConfig) -> Result<Option<Carrier>, EngineError> {
        let Some(base) = self.base.as_ref().filter(|_| !self.sent_deltas.is_empty()) else {
            return Ok(None);
        };
        let sent = |layer: &DiffId| self.sent_deltas.get(layer).copied();
        let layers = target.diff_ids.iter();
        let diff_ids: Vec<DiffId> =
            layers.map(|layer| sent(layer).unwrap_or(DiffId::EMPTY_LAYER)).collect();
        if diff_ids.contains(&DiffId::EMPTY_LAYER) {
            self.send_layer(DiffId::EMPTY_LAYER, &vec![0; 1024])?;
        }
        let delta = DeltaImage {
            format: DeltaFormat::Balena,
            target: target.clone(),
            base: Some(base.image.id),
            base_layers: Some(base.image.diff_ids.clone()),
            names: Vec::new(),
            kinds: Vec::new(),
            shared: Vec::new(),
        };
        Ok(delta.to_config(&diff_ids).map(|config| Carrier { config, diff_ids }))
    }
}

impl ImageTransaction for EngineTransaction<'_> {
    type Layer = EngineLayerWriter;
    type Repair = NoRepair;

    /// Engines hold nothing: a layer that goes meanwhile fails the load, and another try works.
    fn hold(&mut self, layers: &[DiffId]) -> Result<Vec<DiffId>, SinkError> {
        self.held.0 += 1;
        self.held.1.extend_from_slice(layers);
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
        self.choose_base()?;
        let copy = match self.wanted.contains(&expect) {
            true => Some(self.scratch()?),
            false => None,
        };
        let transcoder = match &self.base {
            Some(base) => {
                let started = Transcoder::new(self.scratch()?, base.reads.clone());
                let path = std::env::temp_dir();
                Some(started.map_err(|source| EngineError::Spool { path, source })?)
            }
            None => {
                with_upload(&self.upload, |upload| upload.begin_layer(expect, size_bytes))?;
                None
            }
        };
        let (upload, digester) = (self.upload.clone(), Digester::new());
        Ok(EngineLayerWriter { expect, size_bytes, upload, transcoder, digester, copy })
    }

    fn read_back(&self, layer: &EngineLayerWriter) -> Result<Option<Box<dyn ReadAt>>, SinkError> {
        let Some(copy) = &layer.copy else { return Ok(None) };
        let copy = copy
            .try_clone()
            .map_err(|source| EngineError::Spool { path: std::env::temp_dir(), source })?;
        Ok(Some(Box::new(FileBasis::with_size(copy, layer.size_bytes))))
    }

    fn set_aside(&mut self, _: EngineLayerWriter) {}

    fn finish_layer(&mut self, layer: EngineLayerWriter) -> Result<(), SinkError> {
        let EngineLayerWriter { expect: expected, size_bytes, digester, copy, transcoder, .. } =
            layer;
        let found_bytes = digester.length();
        if found_bytes != size_bytes {
            let (diff_id, expected_bytes, at_least) = (expected, size_bytes, false);
            Err(LayerError::WrongSize { diff_id, expected_bytes, found_bytes, at_least })?;
        }
        let found = DiffId(digester.finish());
        if found != expected {
            Err(LayerError::WrongDigest { expected, found })?;
        }
        match transcoder {
            Some(transcoder) => self.send_delta(expected, transcoder)?,
            None => with_upload(&self.upload, |upload| upload.end_layer())?,
        }
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
        let Some(found) = self.place.find_layer(&self.images, layer)? else { return Ok(None) };
        let base = self.base.as_ref();
        let watched = base.and_then(|base| Some((*base.starts.get(&layer)?, base.reads.clone())));
        Ok(Some(match watched {
            Some((start, reads)) => Box::new(WatchedLayer { layer: found, start, reads }),
            None => Box::new(found),
        }))
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
            let carrier = if was_there { None } else { self.carrier(&config)? };
            published.push(ImageToPublish {
                carrier,
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
        match &mut self.transcoder {
            Some(transcoder) => transcoder.write(bytes)?,
            None => {
                with_upload(&self.upload, |upload| upload.write(bytes)).map_err(io::Error::other)?
            }
        }
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
