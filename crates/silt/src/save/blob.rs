//! The stored bytes of a layer in an archive.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use store::Store;
use tarball::write::BlobToWrite;
use tarball::{Compression, DiffId, Digest, Digester};

use super::{Compress, SaveError, compresses_layers};
use crate::create::DeltaLayer;
use crate::delta_image::DeltaFormat;
use crate::gzip::GzipWriter;
use crate::place::SourceLayer;
use crate::scratch::scratch_file;
use crate::sequential::Sequential;

/// A layer as it will stand in the archive.
pub(super) struct SavedBlob {
    layer: DiffId,
    digest: Digest,
    size_bytes: u64,
    compression: Compression,
    place: Place,
}

/// Where the bytes lie.
enum Place {
    /// In the store, which opens them when they are asked for: there may be more layers than a
    /// process may have files.
    Store(Store),
    /// From `start` on in a file that others read too.
    Part { file: Arc<File>, start: u64 },
    /// In any place, which reads them.
    Image(Arc<SourceLayer>),
}

/// A layer up to here is left to the compression of the archive, whose window it fits into: of its own it
/// would cost a digest that nothing else in the archive has.
const SMALL_LAYER_BYTES: u64 = 16 << 10;

/// One temporary file for all layers that are compressed.
pub(super) struct Packing {
    store: Store,
    file: Option<Arc<File>>,
    end: u64,
    /// Whether the archive is not compressed, so that small layers must be.
    packs_small: bool,
}

impl Packing {
    pub(super) fn new(store: &Store, archive: Option<Compress>) -> Self {
        let packs_small = archive == Some(Compress::None);
        Self { store: store.clone(), file: None, end: 0, packs_small }
    }

    fn file(&mut self) -> Result<Arc<File>, SaveError> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = Arc::new(scratch_file(&self.store)?);
        self.file = Some(file.clone());
        Ok(file)
    }
}

impl SavedBlob {
    /// The uncompressed tar of a layer of the store, which must be pinned; `None` where it is missing.
    pub(super) fn stored(store: &Store, layer: DiffId) -> Result<Option<Self>, SaveError> {
        let found = store.layer(layer)?;
        let place = Place::Store(store.clone());
        Ok(found.map(|found| Self::plain(layer, found.size_bytes, place)))
    }

    /// A layer of a delta that was just made.
    pub(super) fn created(layer: &DeltaLayer) -> Self {
        let place = Place::Part { file: layer.file.clone(), start: layer.start };
        Self::plain(layer.diff_id, layer.size_bytes, place)
    }

    /// A layer of an image of any place.
    pub(super) fn of_source(layer: Arc<SourceLayer>) -> Self {
        Self::plain(layer.diff_id, layer.size_bytes(), Place::Image(layer))
    }

    fn plain(layer: DiffId, size_bytes: u64, place: Place) -> Self {
        Self { layer, digest: layer.0, size_bytes, compression: Compression::None, place }
    }

    /// The layer as a delta of `format` should hold it: compressed where that pays.
    pub(super) fn packed_for(
        self,
        format: Option<DeltaFormat>,
        packing: &mut Packing,
    ) -> Result<Self, SaveError> {
        let is_left = self.size_bytes <= SMALL_LAYER_BYTES && !packing.packs_small;
        if is_left || !compresses_layers(format) {
            return Ok(self);
        }
        let (file, start) = (packing.file()?, packing.end);
        let packed = self.pack_into(&file, start);
        let (digest, size_bytes) =
            packed.map_err(|source| SaveError::Pack { layer: self.layer, source })?;
        if size_bytes >= self.size_bytes {
            return Ok(self);
        }
        packing.end += size_bytes;
        Ok(Self {
            layer: self.layer,
            digest,
            size_bytes,
            compression: Compression::Gzip,
            place: Place::Part { file, start },
        })
    }

    fn pack_into(&self, mut file: &File, start: u64) -> io::Result<(Digest, u64)> {
        file.seek(SeekFrom::Start(start))?;
        let mut zipped = GzipWriter::new(Hashed { file, digester: Digester::new() });
        io::copy(&mut self.open()?, &mut zipped)?;
        let Hashed { digester, .. } = zipped.finish()?;
        let size_bytes = digester.length();
        Ok((digester.finish(), size_bytes))
    }

    pub(super) fn to_write(&self) -> BlobToWrite<'_> {
        BlobToWrite {
            digest: self.digest,
            size: self.size_bytes,
            compression: self.compression,
            open: Box::new(|| self.open()),
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        let (file, at) = match &self.place {
            Place::Image(layer) => return Ok(Box::new(Sequential::new(layer.as_ref()))),
            Place::Part { file, start } => (file.clone(), *start),
            Place::Store(store) => {
                let found = store.layer(self.layer);
                let found = found.map_err(|error| io::Error::new(error.source.kind(), error))?;
                (Arc::new(found.ok_or(io::ErrorKind::NotFound)?.file), 0)
            }
        };
        Ok(Box::new(PartReader { file, at, end: at + self.size_bytes }))
    }
}

/// Reads a part of a file, whoever else reads it.
struct PartReader {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Hashes what goes into a file.
struct Hashed<'a> {
    file: &'a File,
    digester: Digester,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digester.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
