//! Images as an engine sends them, where its folders cannot be read: copied, and read from there.

use std::collections::HashMap;
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tarball::ImageId;

use crate::error::EngineError;
use crate::place::{EngineKind, ImageRecord, LayerBytes};
use crate::spool::{SpooledImage, scratch_file};

/// An archive as it comes out of an engine.
pub(crate) type SaveStream = Box<dyn Read>;

/// An engine that sends images as archives.
pub(crate) trait SavedStream: Send + Sync {
    /// Begins an archive of one image.
    fn open(&self, image: &ImageRecord) -> Result<SaveStream, EngineError>;
}

/// What was copied so far.
pub(crate) struct SavedImages {
    kind: EngineKind,
    source: Box<dyn SavedStream>,
    scratch: Option<PathBuf>,
    images: Mutex<HashMap<ImageId, Arc<SpooledImage>>>,
}

impl SavedImages {
    pub(crate) fn new(
        kind: EngineKind,
        source: Box<dyn SavedStream>,
        scratch: Option<PathBuf>,
    ) -> Self {
        Self { kind, source, scratch, images: Mutex::default() }
    }

    pub(crate) fn config(&self, image: &ImageRecord) -> Result<Vec<u8>, EngineError> {
        Ok(self.image(image)?.config())
    }

    pub(crate) fn layer(
        &self,
        image: &ImageRecord,
        index: usize,
    ) -> Result<Arc<dyn LayerBytes>, EngineError> {
        self.image(image)?.layer(index)
    }

    fn image(&self, image: &ImageRecord) -> Result<Arc<SpooledImage>, EngineError> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spooled) = images.get(&image.id) {
            return Ok(spooled.clone());
        }
        let (mut file, folder) = scratch_file(self.scratch.as_deref())?;
        let mut sent = self.source.open(image)?;
        let copied = io::copy(&mut sent, &mut file).and_then(|_| file.rewind());
        copied.map_err(|error| match error.downcast::<EngineError>() {
            Ok(error) => error,
            Err(source) => EngineError::Spool { path: folder.clone(), source },
        })?;
        let spooled = Arc::new(SpooledImage::open(file, image.id, self.kind, &folder)?);
        images.insert(image.id, spooled.clone());
        Ok(spooled)
    }
}
