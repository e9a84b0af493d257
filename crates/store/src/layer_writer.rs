//! Writing one layer into `tmp/`, hashed as it passes: each byte is written once and never read back.

use std::io::{self, Write};
use std::path::Path;

use rustix::fs::FallocateFlags;
use tarball::{DiffId, Digester};
use tempfile::NamedTempFile;

use crate::blocks::{BLOCK_SIZE, BlocksWriter};
use crate::durable::{self, failed};
use crate::error::{FileError, LayerError, NoSpace, WriteError};

/// Below this, reserving space costs more than it saves.
const PREALLOCATE_FROM_BYTES: u64 = 1024 * 1024;

/// A layer that is being written. Hand it to [`Transaction::finish_layer`] when all is there;
/// dropped before, it leaves nothing behind.
///
/// As a [`Write`] it wraps its own [`LayerError`] in the [`io::Error`]; [`LayerWriter::write_bytes`]
/// gives it plainly.
///
/// [`Transaction::finish_layer`]: crate::Transaction::finish_layer
pub struct LayerWriter {
    expect: DiffId,
    size_bytes: Option<u64>,
    layer: NamedTempFile,
    blocks: BlocksWriter,
    digester: Digester,
    block: Vec<u8>,
    taken_bytes: u64,
}

/// A layer whose digest was right, not yet synced or in its place.
pub(crate) struct FinishedLayer {
    pub(crate) diff_id: DiffId,
    pub(crate) size_bytes: u64,
    pub(crate) layer: NamedTempFile,
    pub(crate) blocks: NamedTempFile,
    pub(crate) blocks_size_bytes: u64,
}

impl LayerWriter {
    /// Starts a layer in the directory `temporary`. Where its size is known, its space is reserved at
    /// once, so that a full disk is found before anything is written.
    pub(crate) fn new(
        temporary: &Path,
        expect: DiffId,
        size_bytes: Option<u64>,
    ) -> Result<Self, LayerError> {
        let layer = durable::new_temporary(temporary, &format!("{}.layer.", expect.0.hex()))?;
        if let Some(size_bytes) = size_bytes.filter(|size| *size >= PREALLOCATE_FROM_BYTES) {
            preallocate(&layer, size_bytes)?;
        }
        Ok(Self {
            expect,
            size_bytes,
            blocks: BlocksWriter::new(temporary, expect)?,
            layer,
            digester: Digester::new(),
            block: Vec::with_capacity(BLOCK_SIZE),
            taken_bytes: 0,
        })
    }

    /// The layer that is expected.
    pub fn diff_id(&self) -> DiffId {
        self.expect
    }

    /// How many bytes were taken in so far.
    pub fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    /// Takes in the next bytes of the layer.
    pub fn write_bytes(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        let taken_bytes = self.taken_bytes.saturating_add(bytes.len() as u64);
        self.check_size(taken_bytes, true)?;
        self.taken_bytes = taken_bytes;
        while !bytes.is_empty() {
            let room = BLOCK_SIZE - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_SIZE {
                self.flush_block()?;
            }
        }
        Ok(())
    }

    /// Ends the layer and checks its size and digest.
    pub(crate) fn finish(mut self) -> Result<FinishedLayer, LayerError> {
        if !self.block.is_empty() {
            self.flush_block()?;
        }
        self.check_size(self.taken_bytes, false)?;
        let found = DiffId(self.digester.finish());
        if found != self.expect {
            return Err(LayerError::WrongDigest { expected: self.expect, found });
        }
        let (blocks, blocks_size_bytes) = self.blocks.finish(self.taken_bytes)?;
        Ok(FinishedLayer {
            diff_id: self.expect,
            size_bytes: self.taken_bytes,
            layer: self.layer,
            blocks,
            blocks_size_bytes,
        })
    }

    fn check_size(&self, found_bytes: u64, at_least: bool) -> Result<(), LayerError> {
        let Some(expected_bytes) = self.size_bytes else {
            return Ok(());
        };
        if found_bytes > expected_bytes || (!at_least && found_bytes < expected_bytes) {
            return Err(LayerError::WrongSize {
                diff_id: self.expect,
                expected_bytes,
                found_bytes,
                at_least,
            });
        }
        Ok(())
    }

    fn flush_block(&mut self) -> Result<(), FileError> {
        let written = self.layer.write_all(&self.block);
        written.map_err(|error| failed("write", self.layer.path())(error))?;
        self.digester.update(&self.block);
        self.blocks.block(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

impl Write for LayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_bytes(bytes).map_err(io_error)?;
        Ok(bytes.len())
    }

    /// Nothing is readable before the layer is finished, so there is nothing to flush.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The store's own error, as what a [`Write`] fails with.
pub(crate) fn io_error(error: LayerError) -> io::Error {
    io::Error::new(kind_of(&error), error)
}

fn kind_of(error: &LayerError) -> io::ErrorKind {
    match error {
        LayerError::Write(WriteError::File(file)) => file.source.kind(),
        LayerError::Write(WriteError::NoSpace(NoSpace { source, .. })) => source.source.kind(),
        _ => io::ErrorKind::InvalidData,
    }
}

/// Reserves the space without changing the file's size, which tells how far writing has come.
fn preallocate(file: &NamedTempFile, size_bytes: u64) -> Result<(), LayerError> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file.as_file(), FallocateFlags::KEEP_SIZE, 0, size_bytes) {
        // Only a full disk is of interest; a file system that cannot reserve is no error.
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => {
            Err(failed("reserve space for", file.path())(error.into()).into())
        }
        _ => Ok(()),
    }
}
