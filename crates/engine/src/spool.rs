//! Copies of what cannot be read in place, in files without a name.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tarball::archive::PartFile;
use tarball::{Archive, ImageId, PlatformChoice, ReadLimits};

use crate::error::{EngineError, LayerReadError, check_range};
use crate::place::{EngineKind, LayerBytes};

/// A file without a name, and the folder in which it is.
pub(crate) fn scratch_file(folder: Option<&Path>) -> Result<(File, PathBuf), EngineError> {
    let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
    match tempfile::tempfile_in(&folder) {
        Ok(file) => Ok((file, folder)),
        Err(source) => Err(EngineError::Spool { path: folder, source }),
    }
}

/// A part of a file, which is a layer.
#[derive(Debug, Clone)]
pub(crate) struct FileLayer {
    pub(crate) file: Arc<PartFile>,
    pub(crate) start: u64,
    pub(crate) size_bytes: u64,
}

impl LayerBytes for FileLayer {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), LayerReadError> {
        check_range(self.size_bytes, offset, buffer.len())?;
        let read = self.file.read_exact_at(buffer, self.start + offset);
        read.map_err(|source| LayerReadError::Io { source })
    }
}

/// An image in an archive that was copied from an engine.
pub(crate) struct SpooledImage {
    archive: Archive,
    index: usize,
    kind: EngineKind,
    folder: PathBuf,
    layers: Mutex<Vec<Option<FileLayer>>>,
}

impl SpooledImage {
    pub(crate) fn open(
        file: File,
        id: ImageId,
        kind: EngineKind,
        folder: &Path,
    ) -> Result<Self, EngineError> {
        let name = PathBuf::from(format!("what {kind} sends"));
        let limits = ReadLimits::default();
        let archive = Archive::open_file(file, &name, &PlatformChoice::Host, &limits);
        let archive =
            archive.map_err(|source| EngineError::Archive { kind, source: Box::new(source) })?;
        let index = archive.images().iter().position(|image| image.config.id == id);
        let index =
            index.ok_or_else(|| EngineError::NoSuchImage { kind, reference: id.to_string() })?;
        let layers = vec![None; archive.images()[index].layers.len()];
        Ok(Self { archive, index, kind, folder: folder.to_owned(), layers: Mutex::new(layers) })
    }

    pub(crate) fn config(&self) -> Vec<u8> {
        self.archive.images()[self.index].config.raw.clone()
    }

    /// A layer, whose uncompressed bytes are copied once more: the archive can only be read in order.
    pub(crate) fn layer(&self, index: usize) -> Result<Arc<dyn LayerBytes>, EngineError> {
        let image = &self.archive.images()[self.index];
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(place), Some(layer)) = (layers.get_mut(index), image.layers.get(index)) else {
            return Err(EngineError::NoLayer { kind: self.kind, image: image.config.id, index });
        };
        if let Some(layer) = place {
            return Ok(Arc::new(layer.clone()));
        }
        let archive_error =
            |source| EngineError::Archive { kind: self.kind, source: Box::new(source) };
        if let Some((file, start)) = self.archive.plain_layer(layer) {
            let size_bytes = layer.stored.map_or(0, |stored| stored.bytes);
            let found = FileLayer { file, start, size_bytes };
            *place = Some(found.clone());
            return Ok(Arc::new(found));
        }
        let mut reader = self.archive.open_layer(layer).map_err(archive_error)?;
        let found = spool(&mut reader, &self.folder)?;
        *place = Some(found.clone());
        Ok(Arc::new(found))
    }
}

/// Copies what `reader` gives.
pub(crate) fn spool(reader: &mut dyn io::Read, folder: &Path) -> Result<FileLayer, EngineError> {
    let (mut file, folder) = scratch_file(Some(folder))?;
    let error = |source| EngineError::Spool { path: folder.clone(), source };
    let size_bytes = io::copy(reader, &mut file).map_err(error)?;
    let file = PartFile::of(vec![file]).map_err(error)?;
    Ok(FileLayer { file: Arc::new(file), start: 0, size_bytes })
}
