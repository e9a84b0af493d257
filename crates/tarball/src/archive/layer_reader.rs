//! The one place where a layer's bytes are checked.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::container::{Container, check_digest, check_size};
use super::error::{ArchiveError, ArchiveFault};
use super::{ArchivedLayer, StoredLayer};
use crate::compression::{Compression, Decoder, MemoryBudget};
use crate::digest::{DiffId, Digest, Digester};

/// The uncompressed tar of a layer. Its end is reported only when the stored size, the stored
/// digest (where the archive names one) and the diffID were found right; anything else is an error
/// that wraps an [`ArchiveError`].
pub struct LayerReader {
    decoder: Decoder<StoredReader>,
    context: Context,
    diff_id: DiffId,
    /// `None` once the end was checked.
    digester: Option<Digester>,
}

/// The stored bytes of a layer, perhaps compressed. Its end is reported only when size and digest
/// (where the archive names one) were found right.
pub struct StoredReader {
    source: Box<dyn Read + Send>,
    context: Context,
    expected_bytes: u64,
    read_bytes: u64,
    digest: Option<Digest>,
    digester: Option<Digester>,
}

/// What messages name.
#[derive(Clone)]
struct Context {
    path: PathBuf,
    what: String,
}

pub(super) fn open_layer(
    container: &Container,
    path: &Path,
    layer: &ArchivedLayer,
    memory: &MemoryBudget,
) -> Result<LayerReader, Box<ArchiveFault>> {
    let stored = stored(layer)?;
    // The diffID covers the stored bytes of an uncompressed layer: no need to hash them twice.
    let is_same = stored.compression == Compression::None && layer.digest == Some(layer.diff_id.0);
    let digest = layer.digest.filter(|_| !is_same);
    let source = open_stored(container, path, layer, digest)?;
    Ok(LayerReader {
        context: source.context.clone(),
        decoder: Decoder::new(source, stored.compression, memory),
        diff_id: layer.diff_id,
        digester: Some(Digester::new()),
    })
}

pub(super) fn open_stored(
    container: &Container,
    path: &Path,
    layer: &ArchivedLayer,
    digest: Option<Digest>,
) -> Result<StoredReader, Box<ArchiveFault>> {
    let stored = stored(layer)?;
    let source = container.open(&layer.member)?;
    Ok(StoredReader {
        source: source.ok_or_else(|| missing(layer))?,
        context: Context { path: path.to_owned(), what: format!("layer {}", layer.diff_id) },
        expected_bytes: stored.bytes,
        read_bytes: 0,
        digest,
        digester: digest.map(|_| Digester::new()),
    })
}

fn stored(layer: &ArchivedLayer) -> Result<StoredLayer, Box<ArchiveFault>> {
    Ok(layer.stored.ok_or_else(|| missing(layer))?)
}

fn missing(layer: &ArchivedLayer) -> ArchiveFault {
    ArchiveFault::Missing {
        member: layer.member.clone(),
        wanted_by: format!("layer {}", layer.diff_id),
    }
}

impl Context {
    fn error(&self, fault: Box<ArchiveFault>) -> io::Error {
        ArchiveError::new(&self.path, fault).into()
    }

    /// An error that is named already passes.
    fn reading(&self, error: io::Error) -> io::Error {
        match ArchiveError::of(&error) {
            Some(_) => error,
            None if error.kind() == io::ErrorKind::Interrupted => error,
            None => self.error(ArchiveFault::reading(&self.what, error)),
        }
    }
}

impl Read for LayerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer).map_err(|error| self.context.reading(error))?;
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..count]);
        }
        if count == 0
            && !buffer.is_empty()
            && let Some(digester) = self.digester.take()
        {
            check_digest(&self.context.what, self.diff_id.0, digester.finish())
                .map_err(|fault| self.context.error(fault))?;
        }
        Ok(count)
    }
}

impl Read for StoredReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer).map_err(|error| self.context.reading(error))?;
        self.read_bytes += count as u64;
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..count]);
        }
        if count == 0 && !buffer.is_empty() {
            self.check().map_err(|fault| self.context.error(fault))?;
        }
        Ok(count)
    }
}

impl StoredReader {
    fn check(&mut self) -> Result<(), Box<ArchiveFault>> {
        check_size(&self.context.what, self.expected_bytes, self.read_bytes)?;
        if let (Some(expected), Some(digester)) = (self.digest, self.digester.take()) {
            check_digest(&self.context.what, expected, digester.finish())?;
        }
        Ok(())
    }
}
