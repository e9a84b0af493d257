//! The stored bytes of a layer in an archive.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use store::Store;
use tarball::write::BlobToWrite;
use tarball::{Compression, DiffId, Digest, Digester};

use super::{SaveError, compresses_layers};
use crate::delta_image::DeltaFormat;
use crate::gzip::GzipWriter;
use crate::scratch::scratch_file;

/// A layer as it will stand in the archive.
pub(super) struct SavedBlob {
    layer: DiffId,
    digest: Digest,
    size_bytes: u64,
    compression: Compression,
    file: Arc<File>,
}

impl SavedBlob {
    /// The uncompressed tar of a layer.
    pub(super) fn new(layer: DiffId, file: File, size_bytes: u64) -> Self {
        Self::shared(layer, Arc::new(file), size_bytes)
    }

    /// The same, in a file that others read too.
    pub(super) fn shared(layer: DiffId, file: Arc<File>, size_bytes: u64) -> Self {
        Self { layer, digest: layer.0, size_bytes, compression: Compression::None, file }
    }

    /// The layer as a delta of `format` should hold it: compressed where that pays.
    pub(super) fn packed_for(
        self,
        format: Option<DeltaFormat>,
        store: &Store,
    ) -> Result<Self, SaveError> {
        if !compresses_layers(format) {
            return Ok(self);
        }
        let scratch = scratch_file(store)?;
        let pack_error = |source| SaveError::Pack { layer: self.layer, source };
        let mut zipped = GzipWriter::new(Hashed { file: &scratch, digester: Digester::new() });
        io::copy(&mut self.open(), &mut zipped).map_err(pack_error)?;
        let Hashed { digester, .. } = zipped.finish().map_err(pack_error)?;
        let size_bytes = digester.length();
        if size_bytes >= self.size_bytes {
            return Ok(self);
        }
        Ok(Self {
            layer: self.layer,
            digest: digester.finish(),
            size_bytes,
            compression: Compression::Gzip,
            file: Arc::new(scratch),
        })
    }

    pub(super) fn to_write(&self) -> BlobToWrite<'_> {
        BlobToWrite {
            digest: self.digest,
            size: self.size_bytes,
            compression: self.compression,
            open: Box::new(|| Ok(Box::new(self.open()))),
        }
    }

    fn open(&self) -> FileReader<'_> {
        FileReader { file: &self.file, at: 0, end: self.size_bytes }
    }
}

/// Reads a file from its start, whoever else reads it.
struct FileReader<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for FileReader<'_> {
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
